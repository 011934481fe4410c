/*
 * Documents: every acknowledged record is in exactly one segment, as a record or
 * a rejection, or in a range that a segment states as missing, and was gone from
 * Kafka when that segment was created. Segments form one chain per incarnation, an
 * incarnation holds one life of its topic; or several, if each has no record before
 * those of it that are there: nothing tells such lives apart. A new one begins only
 * after the topic was made anew. Only a topic that was deleted takes records with it:
 * those behind the last of it that was read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/segment.h"
#include "tests/sim/sim.h"

/* What a segment states as missing. */
struct stated {
    struct offset_range range;
    int first, last; /* lives that it can be of */
    uint64_t at;     /* when the segment was created: all of it was gone by then */
};

/* A segment. */
struct covered {
    int64_t next;
    uint64_t at;
};

struct chain {
    struct world *w;
    struct dataset *d;
    struct segment_name name;
    uint64_t begun; /* when base.json was created; 0: it needs none */
    int past;       /* lives before this one are another incarnation's */
    int life;       /* the last that the incarnation holds; -1: nothing of any */
    int64_t next;
    bool closed;        /* by its last segment */
    uint64_t at, after; /* when the segment was created, and the one before it */
    size_t listed;
    struct covered *segments;
    size_t segment_count;
    struct stated *missing;
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

/* When the incarnation had a segment whose range holds the offset. */
static uint64_t covered_at(const struct chain *c, int64_t offset)
{
    size_t i;

    for (i = 0; i < c->segment_count && c->segments[i].next <= offset; i++)
        ;
    return i < c->segment_count ? c->segments[i].at : 0;
}

/* The chain may have gone on behind `s` in a later life that has no record up to there: nothing
 * told it from this one, whose end is gone with it. That was so before the segment was there. */
static bool end_unseen(const struct chain *c, int life, const struct sent *s)
{
    const struct topic_life *l = &c->d->lives[life];
    uint64_t at = covered_at(c, s->offset);
    const struct sent *first;
    size_t i;

    if (!l->gone || l->gone > at)
        return false;
    for (i = 0; i < l->count; i++)
        if (l->sent[i]->partition == s->partition && l->sent[i]->seen &&
            l->sent[i]->offset > s->offset)
            return false;
    while (++life < c->d->life_count && c->d->lives[life].born < at) {
        first = first_record(c, life);
        if (!first || first->offset > s->offset)
            return true;
    }
    return false;
}

/* Below it Kafka had nothing at that moment, in that life. */
static int64_t low_at(const struct chain *c, int life, uint64_t at)
{
    const struct topic_life *l = &c->d->lives[life];
    int64_t low = 0;
    size_t i;

    for (i = 0; i < l->trim_count && l->trims[i].at < at; i++)
        if (l->trims[i].partition == c->name.partition)
            low = l->trims[i].low;
    return low;
}

/* `gone`: and Kafka did not have it any more. */
static bool is_stated(const struct chain *c, int life, const struct sent *s, bool gone)
{
    size_t i;

    for (i = 0; i < c->missing_count; i++) {
        const struct stated *m = &c->missing[i];

        if (m->range.first <= s->offset && s->offset < m->range.next && m->first <= life &&
            life <= m->last && (!gone || s->offset < low_at(c, life, m->at)))
            return true;
    }
    return false;
}

/* Of the life that is there now nothing may be left out; of one that was deleted, what lies at
 * `upto` and behind it may. */
static void check_covered(struct chain *c, int life, int64_t upto)
{
    struct topic_life *l = &c->d->lives[life];
    char where[160];
    size_t i;

    for (i = 0; i < l->count; i++) {
        const struct sent *s = l->sent[i];

        if (!s->visible || s->partition != c->name.partition)
            continue;
        if (s->seen && is_stated(c, life, s, false))
            world_violation(c->w, "%s: the record at offset %lld is there and stated as missing",
                            place(c, where), (long long)s->offset);
        if (s->seen || is_stated(c, life, s, true) || (l->gone && s->offset >= upto) ||
            end_unseen(c, life, s))
            continue;
        world_violation(c->w, "%s: the record at offset %lld of the topic's life %d is lost",
                        place(c, where), (long long)s->offset, life);
        return;
    }
}

/*
 * The ingester asked Kafka for its low watermark when the segment before was there and before it
 * created this one, and of a topic that was there then. It is a life between those of the records
 * before and behind.
 */
static void state_missing(struct chain *c, const struct offset_range *range, int last)
{
    struct stated m = {*range, c->life < 0 ? c->past : c->life, last, c->at};
    char where[160];
    bool gone = false;
    int l;

    while (m.first <= m.last && c->d->lives[m.first].gone && c->d->lives[m.first].gone < c->after)
        m.first++;
    while (m.last >= m.first && c->d->lives[m.last].born > c->at)
        m.last--;
    for (l = m.first; l <= m.last && !gone; l++)
        gone = low_at(c, l, c->at) >= range->next;
    if (!gone)
        world_violation(c->w, "%s: [%lld,%lld) is stated as missing, but Kafka had it",
                        place(c, where), (long long)range->first, (long long)range->next);
    c->missing = realloc(c->missing, (c->missing_count + 1) * sizeof *c->missing);
    if (!c->missing)
        abort();
    c->missing[c->missing_count++] = m;
}

/* Which life it is of. A later one than that of the record before begins with it: nothing tells
 * the two apart. */
static struct sent *whose(struct chain *c, const struct segment_record *r, int *life)
{
    struct sent *s;

    for (*life = c->life < 0 ? c->past : c->life; *life < c->d->life_count; ++*life) {
        s = find(c, *life, r->offset);
        if (s && fits(s, r) && (c->life < 0 || *life == c->life || s == first_record(c, *life)))
            return s;
    }
    return NULL;
}

static void take(struct chain *c, struct sent *s, int life)
{
    char where[160];

    if (c->life >= 0 && life != c->life)
        check_covered(c, c->life, s->offset);
    c->life = life;
    if (s->seen++)
        world_violation(c->w, "%s: the record at offset %lld is in two segments", place(c, where),
                        (long long)s->offset);
}

/* Its records, and what is missing between them. */
static void read_records(struct chain *c, struct segment_reader *r)
{
    const struct segment_footer *f = segment_reader_footer(r);
    struct segment_record record;
    struct err e = ERR_INIT;
    char where[160];
    struct sent *s;
    size_t i = 0;
    int rc, life;

    while ((rc = segment_reader_next(r, &record, &e)) > 0) {
        if (!(s = whose(c, &record, &life))) {
            world_violation(c->w, "%s: the record at offset %lld was never sent so",
                            place(c, where), (long long)record.offset);
            continue;
        }
        for (; i < f->missing_count && f->missing[i].first <= record.offset; i++)
            state_missing(c, &f->missing[i], life);
        take(c, s, life);
    }
    world_must(rc, &e);
    for (; i < f->missing_count; i++)
        state_missing(c, &f->missing[i], c->d->life_count - 1);
}

static void add_segment(struct chain *c, const char *key, int64_t next)
{
    c->after = c->at;
    c->at = watch_created(c->w, key);
    c->segments = realloc(c->segments, (c->segment_count + 1) * sizeof *c->segments);
    if (!c->segments)
        abort();
    c->segments[c->segment_count++] = (struct covered){next, c->at};
}

/* False: the chain ends here. */
static bool read_segment(struct chain *c)
{
    struct segment_reader *r = NULL;
    const struct segment_footer *f;
    struct err e = ERR_INIT;
    char key[KEY_MAX], where[160];
    struct buf b;
    int rc;

    c->name.first = c->next;
    world_must(key_segment(&c->name, key, &e), &e);
    buf_init(&b, SEGMENT_BYTES_MAX);
    if ((rc = blob_get(c->w->blob, key, &b, &e)) == ERR_NOT_FOUND)
        return false;
    world_must(rc, &e);
    world_must(segment_reader_new(&r, b.data, b.len, &e), &e);
    f = segment_reader_footer(r);
    if (segment_footer_check(f, &c->name, &e) < 0)
        world_violation(c->w, "%s: %s", place(c, where), e.text);
    add_segment(c, key, f->next);
    read_records(c, r);
    c->closed = f->closed;
    c->next = f->next;
    segment_reader_free(r);
    buf_release(&b);
    return !c->closed;
}

/* Was a topic made anew between two moments? */
static bool made_anew(const struct chain *c, uint64_t from, uint64_t to)
{
    int life;

    for (life = 1; life < c->d->life_count; life++)
        if (c->d->lives[life].born > from && c->d->lives[life].born < to)
            return true;
    return false;
}

/* False: there is no such incarnation. */
static bool begin(struct chain *c)
{
    uint64_t before = c->begun;
    struct err e = ERR_INIT;
    struct chain_base base;
    struct arena arena;
    char key[KEY_MAX], where[160];
    struct buf b;
    int rc;

    if (c->name.incarnation == 0)
        return true;
    world_must(key_base(&c->name, key, &e), &e);
    buf_init(&b, 1 << 16);
    arena_init(&arena, 1 << 20);
    if ((rc = blob_get(c->w->blob, key, &b, &e)) == 0) {
        world_must(chain_base_read(&arena, b.data, b.len, RECORD_JSON, &base, &e), &e);
        c->next = base.first;
        c->begun = c->at = watch_created(c->w, key);
        if (!c->closed)
            world_violation(c->w, "%s: begins, and the chain before it is open", place(c, where));
        if (!made_anew(c, before, c->begun))
            world_violation(c->w, "%s was begun, and the topic had not been made anew",
                            place(c, where));
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
        c.listed = c.segment_count = c.missing_count = 0;
        c.closed = false;
        while (read_segment(&c))
            ;
        world_must(key_chain_prefix(&c.name, prefix, &e), &e);
        world_must(blob_list(w->blob, prefix, NULL, count_segment, &c, &e), &e);
        if (c.listed != c.segment_count)
            world_violation(w, "%s: %zu segments, %zu of them form a chain", place(&c, where),
                            c.listed, c.segment_count);
        if (c.life >= 0)
            check_covered(&c, c.life, c.next);
        c.name.incarnation++;
    }
    c.name.incarnation--;
    if (d->life_count)
        check_covered(&c, d->life_count - 1, c.next);
    free(c.segments);
    free(c.missing);
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
