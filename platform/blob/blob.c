#include "platform/blob/blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/blob/ends.h"
#include "platform/clock/clock.h"

/* What keys and prefixes share: length, UTF-8, no control characters (they neither survive XML
 * listings nor belong into a log line). */
static int check_text(const char *what, const char *text, size_t n, struct err *e)
{
    size_t i;

    if (n > BLOB_KEY_MAX)
        return err_set(e, ERR_USAGE, "%s '%.40s...': %zu bytes, more than %d", what, text, n,
                       BLOB_KEY_MAX);
    if (text_utf8_valid(text, n) != n)
        return err_set(e, ERR_USAGE, "%s '%s': not UTF-8", what, text);
    for (i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return err_set(e, ERR_USAGE, "%s '%s': has a control character", what, text);
    return 0;
}

static bool bad_segment(const char *at, size_t n)
{
    return n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.');
}

/* Every segment that a '/' ends, and the last one when `last` counts too. */
static int check_segments(const char *what, const char *text, bool last, struct err *e)
{
    const char *at = text, *slash;

    while ((slash = strchr(at, '/'))) {
        if (bad_segment(at, (size_t)(slash - at)))
            return err_set(e, ERR_USAGE, "%s '%s': has an empty, '.' or '..' segment", what, text);
        at = slash + 1;
    }
    if (last && bad_segment(at, strlen(at)))
        return err_set(e, ERR_USAGE, "%s '%s': has an empty, '.' or '..' segment", what, text);
    return 0;
}

int blob_key_check(const char *key, struct err *e)
{
    int rc = check_text("key", key, strlen(key), e);

    return rc < 0 ? rc : check_segments("key", key, true, e);
}

int blob_prefix_check(const char *prefix, struct err *e)
{
    int rc = check_text("prefix", prefix, strlen(prefix), e);

    return rc < 0 ? rc : check_segments("prefix", prefix, false, e);
}

#define RACERS 64

struct racer {
    struct blob *blob;
    struct clock *clock;
    const char *key;
    int64_t start_ms;
    char body[64];
    struct task *task;
    int rc;
    struct err err;
};

/* All sleep until the same moment, so that the creates meet in the server. */
static void race(void *arg)
{
    struct racer *r = arg;
    int64_t wait = r->start_ms - clock_mono_ms(r->clock);

    if (wait > 0)
        clock_sleep_ms(r->clock, wait);
    r->rc = blob_create(r->blob, r->key, r->body, strlen(r->body), &r->err);
}

static int judge(const struct racer *racers, const char *key, struct err *e)
{
    int i, winners = 0;

    for (i = 0; i < RACERS; i++)
        winners += racers[i].rc == 0;
    if (winners > 1)
        return err_set(
            e, ERR_CONFIG,
            "the store let %d of %d creates of one key win: it ignores If-None-Match and "
            "would lose data; use a server that has conditional writes",
            winners, RACERS);
    for (i = 0; i < RACERS; i++) {
        if (racers[i].rc < 0 && racers[i].rc != ERR_EXISTS) {
            *e = racers[i].err;
            return err_wrap(e, "racing creates of %s", key);
        }
    }
    if (winners == 0)
        return err_set(e, ERR_CONFIG, "none of %d creates of %s won, though it did not exist",
                       RACERS, key);
    return 0;
}

int blob_check_create(struct blob *b, struct clock *c, const char *prefix, struct err *e)
{
    struct racer *racers = calloc(RACERS, sizeof *racers);
    char nonce[33], key[BLOB_KEY_MAX + 1];
    struct err ignored = ERR_INIT;
    int64_t start;
    int i, rc = 0;

    if (!racers)
        return err_set(e, ERR_NOMEM, "no memory to check the store");
    clock_nonce(c, nonce);
    if (snprintf(key, sizeof key, "%s%s", prefix, nonce) >= (int)sizeof key) {
        rc = err_set(e, ERR_USAGE, "prefix '%.40s...' is too long", prefix);
        goto done;
    }
    start = clock_mono_ms(c) + 50;
    for (i = 0; i < RACERS && rc == 0; i++) {
        struct racer *r = &racers[i];

        r->blob = b;
        r->clock = c;
        r->key = key;
        r->start_ms = start;
        clock_nonce(c, nonce);
        snprintf(r->body, sizeof r->body, "%d %s", i, nonce);
        rc = clock_go(c, "blob-check", race, r, &r->task, e);
    }
    for (i = 0; i < RACERS; i++)
        if (racers[i].task)
            clock_join(c, racers[i].task);
    if (rc == 0)
        rc = judge(racers, key, e);
    blob_remove(b, key, &ignored); /* a leftover of a few bytes is no reason to fail */
done:
    free(racers);
    return rc;
}
