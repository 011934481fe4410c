#include "ingest/ingest_int.h"

#include <string.h>

#include "platform/base/failpoint.h"

enum { TAIL = 16 /* last segments that are remembered of a listing */ };

/* Lengths are hashed too, so that bytes can't move between key and value. */
static void hash_record(const void *key, size_t key_len, const void *value, size_t value_len,
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

void anchor_of(struct anchor *a, const struct bus_message *m)
{
    a->there = true;
    a->hashed = true;
    a->offset = m->offset;
    a->timestamp_ms = m->timestamp_ms;
    hash_record(m->key, m->key_len, m->value, m->value_len, a->hash);
}

bool anchor_equals(const struct anchor *a, const struct anchor *b)
{
    return a->there && b->there && a->offset == b->offset && a->timestamp_ms == b->timestamp_ms &&
           (!a->hashed || !b->hashed || !memcmp(a->hash, b->hash, sizeof a->hash));
}

bool anchor_matches(const struct anchor *a, const struct bus_message *m)
{
    struct anchor other;

    anchor_of(&other, m);
    return anchor_equals(a, &other);
}

static void take_anchor(struct anchor *a, const struct segment_record *r)
{
    const struct document_message *m = &r->message;

    a->there = true;
    a->offset = r->offset;
    a->timestamp_ms = r->timestamp_ms;
    a->hashed = r->kind != SEGMENT_REJECTED;
    if (a->hashed)
        hash_record(m->key, m->key_len, m->value, m->value_len, a->hash);
}

/* The last record of a segment up to an offset, and whether the footer is that of its key. */
static int read_segment(const struct buf *bytes, const struct segment_name *name, int64_t upto,
                        int64_t *next, struct anchor *anchor, struct err *e)
{
    struct segment_reader *r = NULL;
    struct segment_record record;
    struct anchor last = {0};
    int rc;

    if ((rc = segment_reader_new(&r, bytes->data, bytes->len, e)) < 0 ||
        (rc = segment_footer_check(segment_reader_footer(r), name, e)) < 0)
        goto done;
    while ((rc = segment_reader_next(r, &record, e)) > 0 && record.offset <= upto)
        take_anchor(&last, &record);
    if (rc < 0)
        goto done;
    *next = segment_reader_footer(r)->next;
    if (last.there)
        *anchor = last;
done:
    segment_reader_free(r);
    return rc;
}

/* 1: there, *next is set, and *anchor, if it has a record up to that offset; 0: no such segment. */
static int get_segment(struct ingest *in, const struct part *p, int64_t first, int64_t upto,
                       int64_t *next, struct anchor *anchor, struct err *e)
{
    struct segment_name name;
    char key[KEY_MAX];
    struct buf bytes;
    int rc;

    part_name(p, first, &name);
    if ((rc = key_segment(&name, key, e)) < 0)
        return rc;
    buf_init(&bytes, SEGMENT_BYTES_MAX);
    rc = blob_get(in->p.blob, key, &bytes, e);
    if (rc == 0)
        rc = read_segment(&bytes, &name, upto, next, anchor, e);
    buf_release(&bytes);
    if (rc == ERR_NOT_FOUND)
        return 0;
    return rc < 0 ? err_wrap(e, "%s", key) : 1;
}

/* --- from one incarnation to the next --- */

static int base_key(const struct part *p, uint64_t incarnation, char key[KEY_MAX], struct err *e)
{
    struct segment_name name;

    part_name(p, 0, &name);
    name.incarnation = incarnation;
    return key_base(&name, key, e);
}

/* 1: the incarnation begins at *first; 0: there is none. */
static int get_base(struct ingest *in, const struct part *p, uint64_t incarnation, int64_t *first,
                    struct err *e)
{
    struct chain_base base;
    struct arena arena;
    char key[KEY_MAX];
    struct buf bytes;
    int rc;

    if ((rc = base_key(p, incarnation, key, e)) < 0)
        return rc;
    arena_init(&arena, 1 << 20);
    buf_init(&bytes, 1 << 16);
    rc = blob_get(in->p.blob, key, &bytes, e);
    if (rc == 0)
        rc = chain_base_read(&arena, bytes.data, bytes.len, RECORD_JSON, &base, e);
    if (rc == 0 && (strcmp(base.owner, p->owner) || strcmp(base.dataset, p->dataset) ||
                    base.incarnation != (int64_t)incarnation || base.partition != p->partition))
        rc = err_set(e, ERR_FORMAT, "speaks of another chain");
    if (rc == 0)
        *first = base.first;
    buf_release(&bytes);
    arena_release(&arena);
    if (rc == ERR_NOT_FOUND)
        return 0;
    return rc < 0 ? err_wrap(e, "%s", key) : 1;
}

static int write_closing(struct ingest *in, const struct segment_name *name, struct buf *bytes,
                         struct err *e)
{
    struct segment_writer *w;
    char nonce[33], hash[SHA256_HEX];
    int rc;

    clock_nonce(in->p.clock, nonce);
    rc = segment_writer_new(&w, name, nonce, clock_wall_ms(in->p.clock), e);
    if (rc == 0 && (rc = segment_writer_close(w, e)) == 0)
        rc = segment_writer_finish(w, bytes, hash, e);
    segment_writer_free(w);
    return rc;
}

int chain_close(struct ingest *in, struct part *p, const char *reason, struct err *e)
{
    struct segment_name name;
    char key[KEY_MAX];
    struct buf bytes;
    int rc;

    if (DEFECT("ingest.begins-unclosed"))
        return 0;
    part_name(p, p->chain.next, &name);
    if ((rc = key_segment(&name, key, e)) < 0)
        return rc;
    buf_init(&bytes, SEGMENT_BYTES_MAX);
    if ((rc = write_closing(in, &name, &bytes, e)) == 0)
        rc = blob_create(in->p.blob, key, bytes.data, bytes.len, e);
    buf_release(&bytes);
    if (rc < 0)
        return rc == ERR_EXISTS ? rc : err_wrap(e, "%s", key);
    FAILPOINT("ingest.closed");
    log_event(LOG_WARN, "chain.closed", "owner", p->owner, "dataset", p->dataset, "key", key,
              "reason", reason, NULL);
    return 0;
}

/* At offset 0, as a topic does. What retention took of it before is stated as missing, like any
 * other gap; a low watermark that was asked for would be one of which topic? */
int chain_begin(struct ingest *in, struct part *p, const char *reason, struct err *e)
{
    struct chain_base base;
    char key[KEY_MAX], nonce[33];
    struct buf bytes;
    int rc;

    chain_base_init(&base);
    clock_nonce(in->p.clock, nonce);
    base.owner = p->owner;
    base.dataset = p->dataset;
    base.incarnation = (int64_t)p->chain.incarnation + 1;
    base.partition = p->partition;
    base.first = 0;
    base.reason = reason;
    base.nonce = nonce;
    base.time_ms = clock_wall_ms(in->p.clock);
    if ((rc = base_key(p, p->chain.incarnation + 1, key, e)) < 0)
        return rc;
    buf_init(&bytes, 1 << 16);
    rc = chain_base_write(&base, RECORD_JSON, &bytes, e);
    if (rc == 0)
        rc = blob_create(in->p.blob, key, bytes.data, bytes.len, e);
    FAILPOINT("ingest.begun");
    buf_release(&bytes);
    if (rc < 0 && rc != ERR_EXISTS)
        return err_wrap(e, "%s", key);
    metric_add(in->m.recreated, 1, p->owner, p->dataset, NULL);
    log_event(LOG_WARN, "chain.begun", "owner", p->owner, "dataset", p->dataset, "key", key,
              "incarnation", LOG_U(p->chain.incarnation + 1), "reason", reason, "by",
              rc == 0 ? "us" : "another", NULL);
    return 0;
}

/* --- the end of the chain --- */

/* The firsts of the last segments of a listing that begin at `upto` or before, in a ring. */
struct tail {
    int64_t upto;
    int64_t first[TAIL];
    size_t count;
};

static int each_segment(void *arg, const char *key, uint64_t size)
{
    struct tail *t = arg;
    struct segment_name name;

    (void)size;
    if (!key_segment_parse(key, &name))
        return 0;
    if (name.first > t->upto)
        return 1;
    t->first[t->count++ % TAIL] = name.first;
    return 0;
}

static int list_after(struct ingest *in, const struct part *p, int64_t after, struct tail *t,
                      struct err *e)
{
    struct segment_name name;
    char prefix[KEY_MAX], key[KEY_MAX];
    int rc;

    t->count = 0;
    part_name(p, after > 0 ? after : 0, &name);
    if ((rc = key_chain_prefix(&name, prefix, e)) < 0 || (rc = key_segment(&name, key, e)) < 0)
        return rc;
    rc = blob_list(in->p.blob, prefix, after > 0 ? key : NULL, each_segment, t, e);
    return rc < 0 ? rc : 0;
}

/* Listings can't be read backwards: look in growing windows before the hint. */
static int list_tail(struct ingest *in, const struct part *p, int64_t hint, struct tail *t,
                     struct err *e)
{
    int64_t window;
    int rc;

    for (window = 1 << 14; hint - window > 0; window *= 16) {
        if ((rc = list_after(in, p, hint - window, t, e)) < 0 || t->count)
            return rc;
    }
    return list_after(in, p, 0, t, e);
}

/* From the newest backwards until one holds a record. */
static int find_anchor(struct ingest *in, struct part *p, const struct tail *t, struct err *e)
{
    size_t i, n = t->count < TAIL ? t->count : TAIL;
    int64_t next = 0;
    int rc;

    for (i = 0; i < n && !p->chain.anchor.there; i++) {
        rc = get_segment(in, p, t->first[(t->count - 1 - i) % TAIL], INT64_MAX, &next,
                         &p->chain.anchor, e);
        if (rc < 0)
            return rc;
        if (i == 0 && rc > 0)
            p->chain.next = next;
    }
    return 0;
}

static int find_incarnation(struct ingest *in, struct part *p, struct err *e)
{
    struct chain *c = &p->chain;
    int64_t first;
    int rc;

    if (!c->known) {
        c->next = 0;
        c->anchor.there = false;
        if (c->incarnation && (rc = get_base(in, p, c->incarnation, &c->next, e)) <= 0)
            return rc < 0 ? rc
                          : err_set(e, ERR_FORMAT, "base.json of incarnation %llu is gone",
                                    (unsigned long long)c->incarnation);
        c->first = c->next;
    }
    while ((rc = get_base(in, p, c->incarnation + 1, &first, e)) > 0)
        *c = (struct chain){.incarnation = c->incarnation + 1, .first = first, .next = first};
    return rc;
}

int chain_find(struct ingest *in, struct part *p, int64_t hint, struct err *e)
{
    struct chain *c = &p->chain;
    struct tail tail = {.upto = INT64_MAX};
    int64_t next;
    int rc;

    if (DEFECT("ingest.chain-not-reread") && c->known)
        return 0;
    if ((rc = find_incarnation(in, p, e)) < 0)
        return rc;
    if (!c->known &&
        ((rc = list_tail(in, p, hint, &tail, e)) < 0 || (rc = find_anchor(in, p, &tail, e)) < 0))
        return rc;
    while ((rc = get_segment(in, p, c->next, INT64_MAX, &next, &c->anchor, e)) > 0 &&
           next > c->next)
        c->next = next;
    c->known = rc >= 0;
    return rc; /* there, and covers nothing: it closes the chain */
}

int chain_record(struct ingest *in, const struct part *p, int64_t offset, struct anchor *out,
                 struct err *e)
{
    struct tail tail = {.upto = offset};
    int64_t next = 0;
    int rc;

    *out = (struct anchor){0};
    if (offset < p->chain.first)
        return 0;
    if ((rc = list_tail(in, p, offset, &tail, e)) < 0)
        return rc;
    if (tail.count) {
        rc = get_segment(in, p, tail.first[(tail.count - 1) % TAIL], offset, &next, out, e);
        if (rc < 0)
            return rc;
    }
    if (next <= offset)
        return err_set(e, ERR_NOT_FOUND, "%s/%d: no segment covers offset %lld", p->topic,
                       (int)p->partition, (long long)offset);
    return out->there && out->offset == offset;
}

int chain_finished_record(const struct part *p, int64_t offset, struct anchor *out, struct err *e)
{
    struct segment_name name;
    int64_t next;
    int rc;

    *out = (struct anchor){0};
    part_name(p, p->size.first, &name);
    rc = read_segment(&p->body, &name, offset, &next, out, e);
    return rc < 0 ? rc : out->there && out->offset == offset;
}
