/*
 * Rejected records. A segment keeps only the place of one, and a topic that was created again has
 * each place again: to which of its lives an incarnation belongs is told by the documents in it.
 * The record itself is on the topic of rejected ones.
 */
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "tests/chaos/oracle_int.h"

enum { POLL_MS = 500, IDLE_MAX = 120 };

static int by_place(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->incarnation > y->incarnation) - (x->incarnation < y->incarnation);
}

static bool same_place(const struct found *a, const struct found *b)
{
    return a->stream == b->stream && a->partition == b->partition && a->offset == b->offset;
}

int rejects_init(struct rejects *r, const struct oracle *o, const struct sent *s, size_t n,
                 struct err *e)
{
    const struct found *f;
    size_t i;

    *r = (struct rejects){.sorted = malloc((o->count + 1) * sizeof *r->sorted),
                          .documents = malloc((n + 1) * sizeof *r->documents)};
    if (!r->sorted || !r->documents) {
        rejects_release(r);
        return err_set(e, ERR_NOMEM, "%zu records", n);
    }
    for (i = 0; i < o->count; i++)
        if (o->found[i].rejected)
            r->sorted[r->count++] = o->found[i];
    qsort(r->sorted, r->count, sizeof *r->sorted, by_place);
    for (i = 0; i < n; i++)
        if (s[i].kind == SENT_GOOD && (f = oracle_find(o, s[i].hash)))
            r->documents[r->document_count++] =
                (struct lived){f->stream, s[i].life, f->partition, f->incarnation};
    return 0;
}

void rejects_release(struct rejects *r)
{
    free(r->sorted);
    free(r->documents);
}

/* The incarnations that the record's life may have there: those between the lives before and behind
 * it, and a neighbour's own only as long as no document shows that the two differ. */
static void incarnations_of(const struct rejects *r, const struct sent *s, uint64_t *first,
                            uint64_t *last)
{
    uint64_t own_first = UINT64_MAX, own_last = 0;
    bool before = false, behind = false;
    size_t i;

    *first = 0;
    *last = UINT64_MAX;
    for (i = 0; i < r->document_count; i++) {
        const struct lived *d = &r->documents[i];

        if (d->stream != s->stream || d->partition != s->partition)
            continue;
        if (d->life < s->life && (!before || d->incarnation > *first)) {
            before = true;
            *first = d->incarnation;
        } else if (d->life > s->life && (!behind || d->incarnation < *last)) {
            behind = true;
            *last = d->incarnation;
        } else if (d->life == s->life) {
            own_first = d->incarnation < own_first ? d->incarnation : own_first;
            own_last = d->incarnation > own_last ? d->incarnation : own_last;
        }
    }
    if (own_first > own_last) /* none */
        return;
    *first += before && own_first > *first;
    *last -= behind && own_last < *last;
}

static bool has_between(const struct rejects *r, const struct sent *s, uint64_t first,
                        uint64_t last)
{
    const struct found key = {
        .stream = s->stream, .partition = s->partition, .offset = s->offset, .incarnation = first};
    size_t low = 0, high = r->count, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (by_place(&r->sorted[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->count && same_place(&r->sorted[low], &key) &&
           r->sorted[low].incarnation <= last;
}

bool rejects_has(const struct rejects *r, const struct sent *s)
{
    uint64_t first, last;

    incarnations_of(r, s, &first, &last);
    return has_between(r, s, first, last);
}

/* In an incarnation that has documents of its life, and of no other. */
static bool has_surely(const struct rejects *r, const struct sent *s)
{
    uint64_t first = UINT64_MAX, last = 0;
    const struct lived *d;

    for (d = r->documents; d < r->documents + r->document_count; d++)
        if (d->stream == s->stream && d->partition == s->partition && d->life == s->life) {
            first = d->incarnation < first ? d->incarnation : first;
            last = d->incarnation > last ? d->incarnation : last;
        }
    for (d = r->documents; d < r->documents + r->document_count; d++)
        if (d->stream == s->stream && d->partition == s->partition && d->life != s->life &&
            d->incarnation >= first && d->incarnation <= last)
            return false;
    return first <= last && has_between(r, s, first, last);
}

void rejects_twice(const struct rejects *r, struct oracle *o)
{
    size_t i;

    for (i = 1; i < r->count; i++)
        if (by_place(&r->sorted[i - 1], &r->sorted[i]) == 0)
            violation(o, "%s/%d offset %lld (incarnation %llu) is rejected twice",
                      o->streams[r->sorted[i].stream].dataset, (int)r->sorted[i].partition,
                      (long long)r->sorted[i].offset, (unsigned long long)r->sorted[i].incarnation);
}

/* Where a record of this life may be rejected: from the first incarnation that has documents of it,
 * else behind the last that has some of a life before it. */
static uint64_t first_incarnation(const struct oracle *o, const struct sent *s, size_t n,
                                  const struct sent *one)
{
    uint64_t own = UINT64_MAX, behind = 0;
    const struct found *f;
    size_t i;

    for (i = 0; i < n; i++) {
        if (s[i].stream != one->stream || s[i].partition != one->partition ||
            s[i].life > one->life || s[i].kind != SENT_GOOD || !(f = oracle_find(o, s[i].hash)))
            continue;
        if (s[i].life == one->life && f->incarnation < own)
            own = f->incarnation;
        if (s[i].life < one->life && f->incarnation >= behind)
            behind = f->incarnation + 1;
    }
    return own < UINT64_MAX ? own : behind;
}

bool rejects_awaits(const struct oracle *o, const struct sent *s, size_t n, const struct sent *one)
{
    uint64_t first = first_incarnation(o, s, n, one);
    const struct found *f;
    size_t i;

    for (i = 0; i < o->count; i++) {
        f = &o->found[i];
        if (f->rejected && f->stream == one->stream && f->partition == one->partition &&
            f->offset == one->offset && f->incarnation >= first)
            return false;
    }
    return true;
}

/* ---- copies ---------------------------------------------------------------------------------- */

struct copies {
    const struct sent **bad; /* by hash */
    bool *seen;
    size_t count;
};

static int by_hash(const void *a, const void *b)
{
    const struct sent *const *x = a, *const *y = b;

    return memcmp((*x)->hash, (*y)->hash, SHA256_SIZE);
}

static int collect(struct copies *c, const struct sent *s, size_t n, struct err *e)
{
    size_t i;

    *c = (struct copies){malloc((n + 1) * sizeof *c->bad), calloc(n + 1, 1), 0};
    if (!c->bad || !c->seen)
        return err_set(e, ERR_NOMEM, "%zu records", n);
    for (i = 0; i < n; i++)
        if (s[i].kind == SENT_BAD)
            c->bad[c->count++] = &s[i];
    qsort(c->bad, c->count, sizeof *c->bad, by_hash);
    return 0;
}

static bool header_is(const struct bus_message *m, const char *name, const char *text)
{
    size_t i;

    for (i = 0; i < m->header_count; i++)
        if (!strcmp(m->headers[i].name, name))
            return m->headers[i].value_len == strlen(text) &&
                   !memcmp(m->headers[i].value, text, strlen(text));
    return false;
}

/* Jobs that were refused have copies there too. */
static void note_copy(struct oracle *o, struct copies *c, const struct bus_message *m,
                      const char *jobs)
{
    struct sent key;
    const struct sent *to = &key, **at;
    char topic[KEY_MAX], partition[24], offset[24];
    struct err e = ERR_INIT;

    if (header_is(m, HEADER_REJECT_TOPIC, jobs))
        return;
    sent_hash(m->key, m->key_len, m->value, m->value_len, key.hash);
    if (!(at = bsearch(&to, c->bad, c->count, sizeof *c->bad, by_hash))) {
        violation(o, "%s/%d offset %lld is no record that was to be rejected", m->topic,
                  (int)m->partition, (long long)m->offset);
        return;
    }
    c->seen[at - c->bad] = true;
    if ((*at)->offset < 0)
        return;
    snprintf(partition, sizeof partition, "%d", (int)(*at)->partition);
    snprintf(offset, sizeof offset, "%lld", (long long)(*at)->offset);
    if (topic_docs(o->keys, o->owner, o->streams[(*at)->stream].dataset, topic, &e) < 0 ||
        !header_is(m, HEADER_REJECT_TOPIC, topic) ||
        !header_is(m, HEADER_REJECT_PARTITION, partition) ||
        !header_is(m, HEADER_REJECT_OFFSET, offset))
        violation(o, "%s/%d offset %lld does not name the place of its original", m->topic,
                  (int)m->partition, (long long)m->offset);
}

/* Where the topic ends now: `high` of each partition; how many of them have messages. */
static int find_ends(struct oracle *o, const char *topic, int64_t high[PARTITIONS_MAX],
                     struct err *e)
{
    int64_t low;
    int p, count, full = 0, rc;

    if ((rc = bus_partitions(o->bus, topic, &count, e)) < 0)
        return rc;
    for (p = 0; p < count && p < PARTITIONS_MAX; p++) {
        if ((rc = bus_watermarks(o->bus, topic, p, &low, &high[p], e)) < 0)
            return rc;
        full += high[p] > low;
    }
    return full;
}

static int read_to_ends(struct oracle *o, struct copies *c, struct bus_consumer *consumer,
                        const char *jobs, const int64_t high[PARTITIONS_MAX], int left,
                        struct err *e)
{
    struct bus_message *m;
    int rc, idle = 0;

    while (left && idle < IDLE_MAX) {
        if ((rc = bus_poll(consumer, POLL_MS, &m, e)) < 0 && rc != ERR_PEER)
            return rc;
        idle = rc > 0 ? 0 : idle + 1;
        if (rc <= 0)
            continue;
        note_copy(o, c, m, jobs);
        left -= m->offset + 1 == high[m->partition];
        bus_message_free(consumer, m);
    }
    return left ? err_set(e, ERR_TIMEOUT, "%d partitions could not be read to their ends", left)
                : 0;
}

static int read_copies(struct oracle *o, struct copies *c, struct err *e)
{
    char topic[KEY_MAX], jobs[KEY_MAX];
    const char *const topics[] = {topic};
    const struct bus_consumer_options options = {
        .group = "oracle", .topics = topics, .topic_count = 1};
    struct bus_consumer *consumer = NULL;
    int64_t high[PARTITIONS_MAX];
    int rc, full;

    if ((rc = topic_of(o->keys, TOPIC_REJECTED, o->owner, topic, e)) < 0 ||
        (rc = topic_of(o->keys, TOPIC_JOBS, o->owner, jobs, e)) < 0 ||
        (rc = full = find_ends(o, topic, high, e)) < 0 ||
        (rc = bus_consumer_open(o->bus, &options, &consumer, e)) < 0)
        return rc;
    rc = read_to_ends(o, c, consumer, jobs, high, full, e);
    bus_consumer_free(consumer);
    return rc;
}

int oracle_copies(struct oracle *o, const struct sent *s, size_t n, struct err *e)
{
    struct copies c = {NULL, NULL, 0};
    struct rejects r = {NULL, 0, NULL, 0};
    size_t i;
    int rc;

    if ((rc = collect(&c, s, n, e)) == 0 && (rc = rejects_init(&r, o, s, n, e)) == 0)
        rc = read_copies(o, &c, e);
    for (i = 0; rc == 0 && i < c.count; i++)
        if (c.bad[i]->offset >= 0 && !c.seen[i] && has_surely(&r, c.bad[i]))
            violation(o, "%s/%d offset %lld is rejected in a segment, and has no copy",
                      o->streams[c.bad[i]->stream].dataset, (int)c.bad[i]->partition,
                      (long long)c.bad[i]->offset);
    rejects_release(&r);
    free(c.bad);
    free(c.seen);
    return rc;
}
