#include "tests/chaos/oracle_int.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void violation(struct oracle *o, const char *format, ...)
{
    va_list args;

    o->tally.violations++;
    va_start(args, format);
    fputs("VIOLATION: ", o->out);
    vfprintf(o->out, format, args);
    fputc('\n', o->out);
    va_end(args);
}

void oracle_release(struct oracle *o)
{
    free(o->found);
    free(o->table);
    free(o->gaps);
}

void sent_hash(const void *key, size_t key_len, const void *value, size_t value_len,
               unsigned char hash[SHA256_SIZE])
{
    unsigned char parts[2 * SHA256_SIZE + 2] = {0};

    if (key)
        sha256(key, key_len, parts);
    if (value)
        sha256(value, value_len, parts + SHA256_SIZE);
    parts[2 * SHA256_SIZE] = key != NULL;
    parts[2 * SHA256_SIZE + 1] = value != NULL;
    sha256(parts, sizeof parts, hash);
}

/* ---- what was found, by hash --------------------------------------------------------------- */

static size_t slot_of(const struct oracle *o, const unsigned char hash[SHA256_SIZE])
{
    uint64_t h;
    size_t at;

    memcpy(&h, hash, sizeof h);
    for (at = h % o->slots; o->table[at]; at = (at + 1) % o->slots)
        if (!memcmp(o->found[o->table[at] - 1].hash, hash, SHA256_SIZE))
            break;
    return at;
}

const struct found *oracle_find(const struct oracle *o, const unsigned char hash[SHA256_SIZE])
{
    size_t at = o->slots ? o->table[slot_of(o, hash)] : 0;

    return at ? &o->found[at - 1] : NULL;
}

static int grow(struct oracle *o, struct err *e)
{
    size_t i, room = o->room ? 2 * o->room : 4096;
    struct found *more = realloc(o->found, room * sizeof *more);
    size_t *table = calloc(4 * room, sizeof *table);

    if (more)
        o->found = more;
    if (!more || !table) {
        free(table);
        return err_set(e, ERR_NOMEM, "%zu records", room);
    }
    free(o->table);
    o->room = room;
    o->table = table;
    o->slots = 4 * room;
    for (i = 0; i < o->count; i++)
        if (!o->found[i].rejected)
            o->table[slot_of(o, o->found[i].hash)] = i + 1;
    return 0;
}

/* A record of a segment. That it is there already is said at once. */
static int note(struct oracle *o, const struct found *f, struct err *e)
{
    const struct found *other;
    int rc;

    if (o->count == o->room && (rc = grow(o, e)) < 0)
        return rc;
    o->found[o->count] = *f;
    if (!f->rejected) {
        if ((other = oracle_find(o, f->hash)))
            violation(o,
                      "%s/%d offset %lld (incarnation %llu) is also in incarnation %llu of %s/%d, "
                      "offset %lld",
                      o->streams[f->stream].dataset, (int)f->partition, (long long)f->offset,
                      (unsigned long long)f->incarnation, (unsigned long long)other->incarnation,
                      o->streams[other->stream].dataset, (int)other->partition,
                      (long long)other->offset);
        else
            o->table[slot_of(o, f->hash)] = o->count + 1;
    }
    o->count++;
    return 0;
}

/* ---- chains ---------------------------------------------------------------------------------- */

static void name_of(const struct oracle *o, int stream, int32_t partition,
                    struct segment_name *name)
{
    const struct place *at = &o->places[stream][partition];

    memset(name, 0, sizeof *name);
    snprintf(name->owner, sizeof name->owner, "%s", o->owner);
    snprintf(name->dataset, sizeof name->dataset, "%s", o->streams[stream].dataset);
    name->incarnation = at->incarnation;
    name->partition = partition;
    name->first = at->next;
}

static int note_gaps(struct oracle *o, int stream, int32_t partition,
                     const struct segment_footer *f, struct err *e)
{
    struct gap *more;
    size_t i;

    for (i = 0; i < f->missing_count; i++) {
        if (!(more = realloc(o->gaps, (o->gap_count + 1) * sizeof *more)))
            return err_set(e, ERR_NOMEM, "gaps");
        o->gaps = more;
        o->gaps[o->gap_count++] =
            (struct gap){stream, partition, f->missing[i].first, f->missing[i].next};
    }
    return 0;
}

static int read_records(struct oracle *o, int stream, const struct segment_name *name,
                        struct segment_reader *r, struct err *e)
{
    const struct segment_footer *f = segment_reader_footer(r);
    struct found at = {
        .stream = stream, .incarnation = name->incarnation, .partition = name->partition};
    struct segment_record record;
    int64_t before = f->first - 1;
    int rc;

    while ((rc = segment_reader_next(r, &record, e)) > 0) {
        if (record.offset <= before || record.offset >= f->next)
            violation(o, "%s/%d: the segment [%lld, %lld) holds offset %lld behind %lld",
                      name->dataset, (int)name->partition, (long long)f->first, (long long)f->next,
                      (long long)record.offset, (long long)before);
        before = record.offset;
        at.offset = record.offset;
        at.rejected = record.kind == SEGMENT_REJECTED;
        if (!at.rejected)
            sent_hash(record.message.key, record.message.key_len, record.message.value,
                      record.message.value_len, at.hash);
        if ((rc = note(o, &at, e)) < 0)
            return rc;
    }
    return rc < 0 ? rc : note_gaps(o, stream, name->partition, f, e);
}

/* 1: the chain went on; 0: it ends here. */
static int read_segment(struct oracle *o, int stream, int32_t partition, struct err *e)
{
    struct place *at = &o->places[stream][partition];
    struct segment_reader *r = NULL;
    struct segment_name name;
    char key[KEY_MAX];
    struct buf bytes;
    int rc;

    if (at->closed)
        return 0;
    name_of(o, stream, partition, &name);
    if ((rc = key_segment(&name, key, e)) < 0)
        return rc;
    buf_init(&bytes, SEGMENT_BYTES_MAX);
    rc = blob_get(o->store, key, &bytes, e);
    if (rc == 0 && ((rc = segment_reader_new(&r, bytes.data, bytes.len, e)) < 0 ||
                    (rc = segment_footer_check(segment_reader_footer(r), &name, e)) < 0 ||
                    (rc = read_records(o, stream, &name, r, e)) < 0)) {
        violation(o, "%s: %s", key, e->text);
    } else if (rc == 0) {
        at->next = segment_reader_footer(r)->next;
        at->closed = segment_reader_footer(r)->closed;
        at->segments++;
        o->tally.segments++;
    }
    segment_reader_free(r);
    buf_release(&bytes);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

static int read_chain(struct oracle *o, int stream, int32_t partition, struct err *e)
{
    int rc;

    while ((rc = read_segment(o, stream, partition, e)) > 0)
        ;
    return rc;
}

/* The next incarnation is there: so the chain is closed, be it since the last look. */
static int check_closed(struct oracle *o, int stream, int32_t partition, struct err *e)
{
    int rc = read_chain(o, stream, partition, e);

    if (rc == 0 && !o->places[stream][partition].closed)
        violation(o, "%s/%d incarnation %llu is open, and the next one has begun",
                  o->streams[stream].dataset, (int)partition,
                  (unsigned long long)o->places[stream][partition].incarnation);
    return rc;
}

/* 1: another incarnation begins; 0: there is none. */
static int next_incarnation(struct oracle *o, int stream, int32_t partition, struct err *e)
{
    struct place *at = &o->places[stream][partition];
    struct segment_name name;
    struct chain_base base;
    struct arena arena;
    char key[KEY_MAX];
    struct buf bytes;
    int rc;

    name_of(o, stream, partition, &name);
    name.incarnation++;
    if ((rc = key_base(&name, key, e)) < 0)
        return rc;
    arena_init(&arena, 1 << 20);
    buf_init(&bytes, 1 << 16);
    if ((rc = blob_get(o->store, key, &bytes, e)) == 0 &&
        (rc = chain_base_read(&arena, bytes.data, bytes.len, RECORD_JSON, &base, e)) == 0 &&
        (rc = check_closed(o, stream, partition, e)) == 0) {
        *at = (struct place){.incarnation = name.incarnation, .next = base.first};
        o->tally.incarnations++;
        if (o->streams[stream].life == 0)
            violation(o, "%s/%d has incarnation %llu, and its topic was never re-created (%s)",
                      name.dataset, (int)partition, (unsigned long long)name.incarnation,
                      base.reason);
        rc = 1;
    }
    buf_release(&bytes);
    arena_release(&arena);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int oracle_read(struct oracle *o, int stream, struct err *e)
{
    int32_t p;
    int rc = 0;

    for (p = 0; p < o->streams[stream].partitions; p++)
        do {
            if ((rc = read_chain(o, stream, p, e)) == 0)
                rc = next_incarnation(o, stream, p, e);
            if (rc < 0)
                return rc;
        } while (rc > 0);
    return 0;
}

bool oracle_reached(const struct oracle *o, int stream, int32_t partition, int64_t high)
{
    return o->places[stream][partition].next >= high;
}

/* ---- segments beside a chain ----------------------------------------------------------------- */

struct listing {
    const char *dataset;
    size_t segments;
};

static int each_segment(void *arg, const char *key, uint64_t size)
{
    struct segment_name name;
    struct listing *l = arg;

    l->segments += key_segment_parse(key, &name) && !strcmp(name.dataset, l->dataset);
    return 0;
}

static int count_segments(struct oracle *o, struct err *e)
{
    char prefix[KEY_MAX];
    size_t all = 0;
    int i, rc;

    for (i = 0; i < o->stream_count; i++) {
        struct listing l = {o->streams[i].dataset, 0};

        if ((rc = key_segments_prefix(o->owner, l.dataset, prefix, e)) < 0 ||
            (rc = blob_list(o->store, prefix, NULL, each_segment, &l, e)) < 0)
            return rc;
        all += l.segments;
    }
    if (all != o->tally.segments)
        violation(o, "%zu segments are in the store, %zu of them in a chain", all,
                  o->tally.segments);
    return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

static bool is_stated(const struct oracle *o, const struct sent *s)
{
    size_t i;

    for (i = 0; i < o->gap_count; i++)
        if (o->gaps[i].stream == s->stream && o->gaps[i].partition == s->partition &&
            s->offset >= o->gaps[i].first && s->offset < o->gaps[i].next)
            return true;
    return false;
}

size_t oracle_awaits(const struct oracle *o, int stream, const struct sent *s, size_t n)
{
    size_t i, count = 0;

    for (i = 0; i < n; i++)
        if (s[i].stream == stream && s[i].life == o->streams[stream].life && s[i].offset >= 0)
            count += s[i].kind == SENT_GOOD ? !oracle_find(o, s[i].hash)
                                            : rejects_awaits(o, s, n, &s[i]);
    return count;
}

static void judge(struct oracle *o, const struct sent *s, const struct rejects *r)
{
    const struct stream *stream = &o->streams[s->stream];
    const struct found *f = s->kind == SENT_BAD ? NULL : oracle_find(o, s->hash);

    if (s->offset < 0) {
        o->tally.unanswered++;
        return;
    }
    o->tally.acknowledged++;
    if (f && (f->partition != s->partition || f->offset != s->offset || f->stream != s->stream))
        violation(o, "%s/%d offset %lld was acknowledged and lies at %s/%d offset %lld",
                  stream->dataset, (int)s->partition, (long long)s->offset,
                  o->streams[f->stream].dataset, (int)f->partition, (long long)f->offset);
    else if (f)
        o->tally.documents++;
    else if (s->kind == SENT_BAD && rejects_has(r, s))
        o->tally.rejected++;
    else if (is_stated(o, s))
        o->tally.missing++;
    else if (stream->abrupt[s->life])
        o->tally.gone++;
    else
        violation(o, "%s/%d offset %lld (life %d) was acknowledged, and no segment has it",
                  stream->dataset, (int)s->partition, (long long)s->offset, s->life);
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const struct sent *)a)->hash, ((const struct sent *)b)->hash, SHA256_SIZE);
}

int oracle_origin(struct oracle *o, const struct sent *s, size_t n, struct err *e)
{
    struct sent *sorted = malloc((n + 1) * sizeof *sorted), key;
    size_t i;

    if (!sorted)
        return err_set(e, ERR_NOMEM, "%zu records", n);
    memcpy(sorted, s, n * sizeof *s);
    qsort(sorted, n, sizeof *sorted, by_hash);
    for (i = 0; i < o->count; i++) {
        const struct found *f = &o->found[i];

        memcpy(key.hash, f->hash, SHA256_SIZE);
        if (!f->rejected && !bsearch(&key, sorted, n, sizeof key, by_hash))
            violation(o, "%s/%d offset %lld: nobody sent that record",
                      o->streams[f->stream].dataset, (int)f->partition, (long long)f->offset);
    }
    free(sorted);
    return count_segments(o, e);
}

int oracle_records(struct oracle *o, const struct sent *s, size_t n, struct err *e)
{
    struct rejects r;
    size_t i;
    int rc = rejects_init(&r, o, s, n, e);

    if (rc < 0)
        return rc;
    rejects_twice(&r, o);
    for (i = 0; i < n; i++)
        judge(o, &s[i], &r);
    rejects_release(&r);
    return oracle_origin(o, s, n, e);
}
