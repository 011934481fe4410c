#include "trainer/data/vocab.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    uint32_t tag; /* upper hash bits; compared before the bytes */
    uint32_t at;  /* entry + 1; 0: empty */
};

struct entry {
    uint32_t offset; /* into bytes */
    uint32_t len;
    int32_t id;
};

struct vocab {
    struct slot *slots; /* mask + 1 of them, at most half of them used */
    struct entry *entries;
    char *bytes;
    size_t mask, count, room, used, cap, longest;
};

/* Bytes roll into one word; `spread` then mixes it for both the place and the tag. */
#define ROLL(h, c) (((h) + (unsigned char)(c) + 1) * UINT64_C(0x9E3779B97F4A7C15))

static uint64_t spread(uint64_t h)
{
    return (h ^ h >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
}

struct vocab *vocab_new(size_t count)
{
    struct vocab *v = calloc(1, sizeof *v);
    size_t slots = 16;

    if (!v || count > UINT32_MAX / 4)
        goto fail;
    while (slots < count * 2)
        slots *= 2;
    v->mask = slots - 1;
    v->room = count;
    v->slots = calloc(slots, sizeof *v->slots);
    v->entries = calloc(count ? count : 1, sizeof *v->entries);
    if (v->slots && v->entries)
        return v;
fail:
    vocab_free(v);
    return NULL;
}

void vocab_free(struct vocab *v)
{
    if (!v)
        return;
    free(v->slots);
    free(v->entries);
    free(v->bytes);
    free(v);
}

/* The slot of a key with this hash, or the empty one where it belongs. */
static struct slot *lookup(const struct vocab *v, uint64_t rolled, const char *key, size_t len)
{
    uint64_t h = spread(rolled);
    uint32_t tag = (uint32_t)(h >> 32);
    size_t i = (size_t)h & v->mask;

    for (;; i = (i + 1) & v->mask) {
        struct slot *s = &v->slots[i];
        const struct entry *en;

        if (!s->at)
            return s;
        if (s->tag != tag)
            continue;
        en = &v->entries[s->at - 1];
        if (en->len == len && memcmp(v->bytes + en->offset, key, len) == 0)
            return s;
    }
}

static uint64_t roll(const char *key, size_t len)
{
    uint64_t h = 0;
    size_t i;

    for (i = 0; i < len; i++)
        h = ROLL(h, key[i]);
    return h;
}

static int keep(struct vocab *v, const char *key, size_t len, struct err *e)
{
    size_t cap = v->cap ? v->cap : 4096;
    char *bytes;

    while (cap - v->used < len)
        cap *= 2;
    if (cap > UINT32_MAX)
        return err_set(e, ERR_LIMIT, "the vocabulary holds more than 4 GiB");
    if (cap != v->cap) {
        bytes = realloc(v->bytes, cap);
        if (!bytes)
            return err_set(e, ERR_NOMEM, "vocabulary of %zu bytes", cap);
        v->bytes = bytes;
        v->cap = cap;
    }
    memcpy(v->bytes + v->used, key, len);
    v->used += len;
    return 0;
}

int vocab_add(struct vocab *v, const char *key, size_t len, int32_t id, struct err *e)
{
    uint64_t h = roll(key, len);
    struct slot *s;
    int rc;

    if (len == 0 || len > VOCAB_KEY_MAX)
        return err_set(e, ERR_LIMIT, "a vocabulary entry has %zu bytes; 1 to %d are possible", len,
                       VOCAB_KEY_MAX);
    if (v->count >= v->room)
        return err_set(e, ERR_LIMIT, "more than %zu vocabulary entries", v->room);
    s = lookup(v, h, key, len);
    if (s->at)
        return err_set(e, ERR_EXISTS, "the vocabulary entry \"%.*s\" is there twice", (int)len,
                       key);
    if ((rc = keep(v, key, len, e)) < 0)
        return rc;
    v->entries[v->count].offset = (uint32_t)(v->used - len);
    v->entries[v->count].len = (uint32_t)len;
    v->entries[v->count].id = id;
    s->tag = (uint32_t)(spread(h) >> 32);
    s->at = (uint32_t)++v->count;
    if (len > v->longest)
        v->longest = len;
    return 0;
}

int32_t vocab_find(const struct vocab *v, const char *key, size_t len)
{
    const struct slot *s;

    if (len > v->longest)
        return -1;
    s = lookup(v, roll(key, len), key, len);
    return s->at ? v->entries[s->at - 1].id : -1;
}

int32_t vocab_longest(const struct vocab *v, const char *text, size_t len, size_t *n)
{
    uint64_t rolled[VOCAB_KEY_MAX];
    uint64_t h = 0;
    size_t i;

    if (len > v->longest)
        len = v->longest;
    for (i = 0; i < len; i++)
        rolled[i] = h = ROLL(h, text[i]);
    for (i = len; i > 0; i--) {
        const struct slot *s = lookup(v, rolled[i - 1], text, i);

        if (s->at) {
            *n = i;
            return v->entries[s->at - 1].id;
        }
    }
    return -1;
}
