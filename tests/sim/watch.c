/*
 * What was created conditionally never changes and never goes away: each write
 * is looked at, as the versions of a bucket would show it, and every thirty
 * minutes all such objects are compared with what they were. When each of them was
 * created is kept for other checkers.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { EVERY_MS = 1800000 };

static bool immutable(const char *key)
{
    char owner[KEY_NAME_MAX], name[KEY_NAME_MAX];
    struct segment_name segment;
    enum run_file file;
    uint64_t n;

    return key_segment_parse(key, &segment) || key_base_parse(key, &segment) ||
           key_run_parse(key, owner, name, &file) || key_attempt_parse(key, owner, name, &n) ||
           key_model_parse(key, owner, name, &n);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct watched *)a)->key, ((const struct watched *)b)->key);
}

static struct watched *find(const struct world *w, size_t known, const char *key)
{
    const struct watched want = {.key = (char *)(uintptr_t)key};

    return known ? bsearch(&want, w->watched, known, sizeof want, by_key) : NULL;
}

static void sort(struct world *w)
{
    if (w->watched_count)
        qsort(w->watched, w->watched_count, sizeof *w->watched, by_key);
}

static struct watched *add(struct world *w, const char *key, uint64_t hash)
{
    if (w->watched_count == w->watched_cap) {
        w->watched_cap = w->watched_cap ? w->watched_cap * 2 : 64;
        w->watched = realloc(w->watched, w->watched_cap * sizeof *w->watched);
        if (!w->watched)
            abort();
    }
    w->watched[w->watched_count] =
        (struct watched){.key = strdup(key), .created = ++w->moment, .hash = hash};
    if (!w->watched[w->watched_count].key)
        abort();
    return &w->watched[w->watched_count++];
}

static uint64_t hash_of(const void *bytes, size_t size)
{
    return sent_hash(NULL, 0, bytes ? bytes : "", size);
}

struct round {
    struct world *w;
    size_t known; /* when the round began: these are in order */
};

static int each(void *arg, const char *key, uint64_t size)
{
    struct round *r = arg;
    struct world *w = r->w;
    struct watched *at;
    struct err e = ERR_INIT;
    struct buf b;
    uint64_t hash;

    (void)size;
    if (!immutable(key))
        return 0;
    buf_init(&b, (size_t)64 << 20);
    world_must(blob_get(w->blob, key, &b, &e), &e);
    hash = hash_of(b.data, b.len);
    buf_release(&b);
    at = find(w, r->known, key);
    if (!at)
        at = add(w, key, hash);
    if (at->hash != hash)
        world_violation(w, "%s was changed", key);
    at->round = w->watch_round;
    return 0;
}

void watch_once(struct world *w)
{
    struct round r = {w, w->watched_count};
    struct err e = ERR_INIT;
    size_t i;

    sort(w);
    w->watch_round++;
    world_must(blob_list(w->blob, "owners/", NULL, each, &r, &e), &e);
    for (i = 0; i < w->watched_count; i++)
        if (w->watched[i].round != w->watch_round)
            world_violation(w, "%s is gone", w->watched[i].key);
    sort(w);
}

void watch_write(struct world *w, const char *key, const void *bytes, size_t size)
{
    struct err e = ERR_INIT;
    struct buf b;

    if (!immutable(key))
        return;
    buf_init(&b, (size_t)64 << 20);
    if (blob_get(w->blob, key, &b, &e) < 0) {
        if (bytes)
            add(w, key, hash_of(bytes, size));
    } else if (!bytes || b.len != size || (size && memcmp(b.data, bytes, size) != 0)) {
        world_violation(w, bytes ? "%s was changed" : "%s is gone", key);
    }
    buf_release(&b);
}

int watch_create(struct world *w, const char *key, const void *bytes, size_t size, struct err *e)
{
    struct err absent = ERR_INIT;
    bool first = immutable(key) && blob_head(w->blob, key, NULL, &absent) < 0;
    int rc = blob_create(w->blob, key, bytes, size, e);

    if (rc == 0 && first)
        add(w, key, hash_of(bytes, size));
    return rc;
}

uint64_t watch_created(const struct world *w, const char *key)
{
    const struct watched *at = find(w, w->watched_count, key);

    return at ? at->created : w->moment;
}

void watch_main(void *world)
{
    struct world *w = world;

    while (!w->closing) {
        watch_once(w);
        clock_sleep_ms(w->clock, EVERY_MS);
    }
}

void watch_release(struct world *w)
{
    size_t i;

    for (i = 0; i < w->watched_count; i++)
        free(w->watched[i].key);
    free(w->watched);
}
