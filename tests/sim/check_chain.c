/*
 * Documents: every acknowledged record is in exactly one segment, as a record or
 * a rejection, or in a range that a segment states as missing because Kafka no
 * longer had it. Segments form one chain per incarnation, an incarnation holds
 * one life of its topic; or several, if each has no record before those of it that
 * are there: nothing tells such lives apart. Only a topic that was deleted takes
 * records with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/segment.h"
#include "tests/sim/sim.h"

struct chain {
    struct world *w;
    struct dataset *d;
    struct segment_name name;
    int begun;    /* the first life that the incarnation holds */
    int life;     /* and the last; -1: nothing of any */
    int past;     /* lives before this one are another incarnation's */
    int64_t base; /* what was gone before the incarnation began, its base.json says */
    int64_t next;
    size_t listed, segments;
    struct offset_range *missing; /* that its segments state */
    size_t missing_count;
};

static int count_segment(void *arg, const char *key, uint64_t size)
{
    struct chain *c = arg;
    struct segment_name name;

    (void)size;
    c->listed += key_segment_parse(key, &name);
    return 0;
}

static const char *place(const struct chain *c, char to[160])
{
    snprintf(to, 160, "%s/%s incarnation %llu partition %d", c->d->owner, c->d->name,
             (unsigned long long)c->name.incarnation, (int)c->name.partition);
    return to;
}

static bool fits(const struct sent *s, const struct segment_record *r)
{
    static const enum sent_kind kinds[] = {[SEGMENT_DOCUMENT] = SENT_DOCUMENT,
                                           [SEGMENT_TOMBSTONE] = SENT_TOMBSTONE,
                                           [SEGMENT_SEAL] = SENT_SEAL,
                                           [SEGMENT_REJECTED] = SENT_HOSTILE};
    const struct document_message *m = &r->message;

    if (!s->visible || s->kind != kinds[r->kind] || s->ms != r->timestamp_ms)
        return false;
    return r->kind == SEGMENT_REJECTED ||
           s->hash == sent_hash(m->key, m->key_len, m->value, m->value_len);
}

static struct sent *find(const struct chain *c, int life, int64_t offset)
{
    struct topic_life *l = &c->d->lives[life];
    size_t i;

    for (i = 0; i < l->count; i++)
        if (l->sent[i]->offset == offset && l->sent[i]->partition == c->name.partition)
            return l->sent[i];
    return NULL;
}

static const struct sent *first_record(const struct chain *c, int life)
{
    const struct topic_life *l = &c->d->lives[life];
    const struct sent *first = NULL;
    size_t i;

    for (i = 0; i < l->count; i++)
        if (l->sent[i]->visible && l->sent[i]->partition == c->name.partition &&
            (!first || l->sent[i]->offset < first->offset))
            first = l->sent[i];
    return first;
}

/* The chain may have gone on behind `s` in a later life that has no record up to there: nothing
 * told it from this one, whose end is gone with it. */
static bool end_unseen(const struct chain *c, int life, const struct sent *s)
{
    const struct topic_life *l = &c->d->lives[life];
    const struct sent *first;
    size_t i;

    for (i = 0; i < l->count; i++)
        if (l->sent[i]->partition == s->partition && l->sent[i]->seen &&
            l->sent[i]->offset > s->offset)
            return false;
    while (++life < c->d->life_count) {
        first = first_record(c, life);
        if (!first || first->offset > s->offset)
            return true;
    }
    return false;
}

/* Of the life that is there now nothing may be left out; of one that was deleted, the end may. */
static void check_covered(struct chain *c, int life)
{
    struct topic_life *l = &c->d->lives[life];
    bool deleted = life + 1 < c->d->life_count;
    char where[160];
    size_t i;

    for (i = 0; i < l->count; i++) {
        const struct sent *s = l->sent[i];

        if (s->seen && s->missing)
            world_violation(c->w, "%s: the record at offset %lld is there and stated as missing",
                            place(c, where), (long long)s->offset);
        if (!s->visible || s->partition != c->name.partition || s->seen || s->missing ||
            (deleted && (c->life != life || s->offset >= c->next)) ||
            (s->offset < c->base && s->offset < l->low[c->name.partition]) ||
            (deleted && end_unseen(c, life, s)))
            continue;
        world_violation(c->w, "%s: the record at offset %lld of the topic's life %d is lost",
                        place(c, where), (long long)s->offset, life);
        return;
    }
}

/* Kafka had nothing below `low` of one of the lives. That is the first it can have been; of the
 * others only those that the incarnation has records of. */
static void check_missing(struct chain *c, const struct offset_range *range)
{
    int last = c->life < 0 ? c->d->life_count : c->life + 1;
    char where[160];
    int64_t at;
    int l, of;

    for (of = c->past; of < last && c->d->lives[of].low[c->name.partition] < range->next; of++)
        ;
    if (of >= last) {
        world_violation(c->w, "%s: [%lld,%lld) is stated as missing, but Kafka had it",
                        place(c, where), (long long)range->first, (long long)range->next);
        return;
    }
    for (at = range->first; at < range->next; at++)
        for (l = of; l < last; l++) {
            struct sent *s = find(c, l, at);

            if (s && (l == of || (c->life >= 0 && l >= c->begun)) &&
                at < c->d->lives[l].low[c->name.partition])
                s->missing = true;
        }
}

static void state_missing(struct chain *c, const struct offset_range *range)
{
    c->missing = realloc(c->missing, (c->missing_count + 1) * sizeof *c->missing);
    if (!c->missing)
        abort();
    c->missing[c->missing_count++] = *range;
}

/* Of the segments so far. */
static void check_stated(struct chain *c)
{
    size_t i;

    for (i = 0; i < c->missing_count; i++)
        check_missing(c, &c->missing[i]);
    c->missing_count = 0;
}

/* The first record of a later life, which nothing tells from the life before. */
static struct sent *begins_unseen(struct chain *c, const struct segment_record *r)
{
    struct sent *s;
    int life;

    for (life = c->life + 1; life < c->d->life_count; life++) {
        s = find(c, life, r->offset);
        if (!s || !fits(s, r) || s != first_record(c, life))
            continue;
        check_stated(c); /* retention takes none of a new life before a segment has one */
        check_covered(c, c->life);
        c->life = life;
        return s;
    }
    return NULL;
}

static void take(struct chain *c, const struct segment_record *r)
{
    struct sent *s = NULL;
    char where[160];
    int life;

    for (life = c->life < 0 ? c->past : c->life; life < c->d->life_count; life++) {
        s = find(c, life, r->offset);
        if (s && fits(s, r))
            break;
        s = NULL;
        if (c->life >= 0)
            break;
    }
    if (!s && c->life >= 0) {
        s = begins_unseen(c, r);
        life = c->life;
    }
    if (!s) {
        world_violation(c->w, "%s: the record at offset %lld was never sent so", place(c, where),
                        (long long)r->offset);
        return;
    }
    c->begun = c->life < 0 ? life : c->begun;
    c->life = life;
    if (s->seen++)
        world_violation(c->w, "%s: the record at offset %lld is in two segments", place(c, where),
                        (long long)r->offset);
}

/* False: the chain ends here. */
static bool read_segment(struct chain *c)
{
    struct segment_reader *r = NULL;
    const struct segment_footer *f;
    struct segment_record record;
    struct err e = ERR_INIT;
    char key[KEY_MAX], where[160];
    struct buf b;
    size_t i;
    int rc;

    c->name.first = c->next;
    world_must(key_segment(&c->name, key, &e), &e);
    buf_init(&b, SEGMENT_BYTES_MAX);
    if ((rc = blob_get(c->w->blob, key, &b, &e)) == ERR_NOT_FOUND)
        return false;
    world_must(rc, &e);
    world_must(segment_reader_new(&r, b.data, b.len, &e), &e);
    f = segment_reader_footer(r);
    if (segment_footer_check(f, &c->name, &e) < 0 || f->next <= f->first)
        world_violation(c->w, "%s: %s", place(c, where), e.text);
    while ((rc = segment_reader_next(r, &record, &e)) > 0)
        take(c, &record);
    world_must(rc, &e);
    for (i = 0; i < f->missing_count; i++)
        state_missing(c, &f->missing[i]);
    c->segments++;
    rc = f->next > c->next;
    c->next = f->next;
    segment_reader_free(r);
    buf_release(&b);
    return rc;
}

static bool begin(struct chain *c)
{
    struct err e = ERR_INIT;
    struct chain_base base;
    struct arena arena;
    char key[KEY_MAX];
    struct buf b;
    int rc;

    if (c->name.incarnation == 0)
        return true;
    world_must(key_base(&c->name, key, &e), &e);
    buf_init(&b, 1 << 16);
    arena_init(&arena, 1 << 20);
    if ((rc = blob_get(c->w->blob, key, &b, &e)) == 0) {
        world_must(chain_base_read(&arena, b.data, b.len, RECORD_JSON, &base, &e), &e);
        c->next = c->base = base.first;
    }
    arena_release(&arena);
    buf_release(&b);
    return rc == 0;
}

static void check_partition(struct world *w, struct dataset *d, int32_t partition)
{
    struct chain c = {.w = w, .d = d};
    struct err e = ERR_INIT;
    char prefix[KEY_MAX], where[160];

    snprintf(c.name.owner, sizeof c.name.owner, "%s", d->owner);
    snprintf(c.name.dataset, sizeof c.name.dataset, "%s", d->name);
    c.name.partition = partition;
    c.life = -1;
    while (begin(&c)) {
        c.past = c.life >= 0 ? c.life + 1 : c.past;
        c.life = -1;
        c.listed = c.segments = 0;
        while (read_segment(&c))
            ;
        check_stated(&c);
        world_must(key_chain_prefix(&c.name, prefix, &e), &e);
        world_must(blob_list(w->blob, prefix, NULL, count_segment, &c, &e), &e);
        if (c.listed != c.segments)
            world_violation(w, "%s: %zu segments, %zu of them form a chain", place(&c, where),
                            c.listed, c.segments);
        if (c.life >= 0)
            check_covered(&c, c.life);
        c.name.incarnation++;
    }
    free(c.missing);
    c.name.incarnation--;
    if (d->life_count)
        check_covered(&c, d->life_count - 1);
}

void check_chains(struct world *w)
{
    int i, p;

    for (i = 0; i < w->dataset_count; i++)
        for (p = 0; p < w->datasets[i].parts; p++)
            check_partition(w, &w->datasets[i], p);
}

/* --- copies of rejections --- */

struct copies {
    uint64_t *items;
    size_t count, cap;
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static uint64_t copy_id(const char *topic, int64_t partition, int64_t offset, uint64_t hash)
{
    char text[KEY_MAX + 64];
    int n = snprintf(text, sizeof text, "%s/%lld/%lld/%llx", topic, (long long)partition,
                     (long long)offset, (unsigned long long)hash);

    return sent_hash(text, (size_t)n, NULL, 0);
}

static void note_copy(struct copies *c, const struct bus_message *m)
{
    char topic[KEY_MAX] = "";
    long long partition = -1, offset = -1;
    size_t i;

    for (i = 0; i < m->header_count; i++) {
        const struct bus_header *h = &m->headers[i];

        if (!strcmp(h->name, HEADER_REJECT_TOPIC))
            snprintf(topic, sizeof topic, "%.*s", (int)h->value_len, (const char *)h->value);
        if (!strcmp(h->name, HEADER_REJECT_PARTITION))
            partition = atoll(h->value);
        if (!strcmp(h->name, HEADER_REJECT_OFFSET))
            offset = atoll(h->value);
    }
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 64;
        if (!(c->items = realloc(c->items, c->cap * sizeof *c->items)))
            abort();
    }
    c->items[c->count++] =
        copy_id(topic, partition, offset, sent_hash(m->key, m->key_len, m->value, m->value_len));
}

static void read_copies(struct world *w, const char *owner, struct copies *c)
{
    struct bus_message *m;
    struct err e = ERR_INIT;
    char topic[KEY_MAX];
    int count = 0, i;
    int64_t at;

    world_must(topic_of(&w->keys, TOPIC_REJECTED, owner, topic, &e), &e);
    if (bus_partitions(w->bus, topic, &count, &e) < 0)
        return; /* nothing was rejected */
    for (i = 0; i < count; i++)
        for (at = 0; bus_read_at(w->bus, topic, i, at, &m, &e) > 0;) {
            at = m->offset + 1;
            note_copy(c, m);
            bus_read_free(w->bus, m);
        }
}

/* Whatever a segment lists as rejected has a copy on its owner's topic. */
static void check_dataset_copies(struct world *w, struct dataset *d)
{
    struct copies c = {0};
    int life;
    size_t i;

    read_copies(w, d->owner, &c);
    if (c.count)
        qsort(c.items, c.count, sizeof *c.items, by_value);
    for (life = 0; life < d->life_count; life++)
        for (i = 0; i < d->lives[life].count; i++) {
            const struct sent *s = d->lives[life].sent[i];
            uint64_t id = copy_id(d->topic, s->partition, s->offset, s->hash);

            if (s->kind != SENT_HOSTILE || !s->seen ||
                (c.count && bsearch(&id, c.items, c.count, sizeof id, by_value)))
                continue;
            world_violation(w, "%s[%d] offset %lld is rejected in a segment, without a copy",
                            d->topic, (int)s->partition, (long long)s->offset);
        }
    free(c.items);
}

void check_copies(struct world *w)
{
    int i;

    for (i = 0; i < w->dataset_count; i++)
        check_dataset_copies(w, &w->datasets[i]);
}
