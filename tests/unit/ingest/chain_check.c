#include "tests/unit/ingest/chain_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct checker {
    struct blob *store;
    struct bus *bus;
    const char *topic;
    struct segment_name name;
    struct chain_seen *seen;
    struct bus_message *ahead; /* the topic's next record that no segment was seen to hold */
    int64_t from;
    size_t listed;
};

static int count_segment(void *arg, const char *key, uint64_t size)
{
    struct checker *c = arg;
    struct segment_name name;

    (void)size;
    c->listed += key_segment_parse(key, &name);
    return 0;
}

static void next_record(struct checker *c, int64_t from)
{
    struct err e = ERR_INIT;
    int rc;

    if (c->ahead)
        bus_read_free(c->bus, c->ahead);
    c->ahead = NULL;
    rc = bus_read_at(c->bus, c->topic, c->name.partition, from, &c->ahead, &e);
    if (rc < 0)
        fail_msg("%s", e.text);
}

static bool is_missing(const struct segment_footer *f, int64_t offset)
{
    size_t i;

    for (i = 0; i < f->missing_count; i++)
        if (offset >= f->missing[i].first && offset < f->missing[i].next)
            return true;
    return false;
}

/* The topic's record at that place, and no other before it. */
static void compare(struct checker *c, const struct segment_footer *f,
                    const struct segment_record *r)
{
    const struct document_message *m = &r->message;

    if (!c->bus || r->offset < c->from)
        return;
    while (c->ahead && c->ahead->offset < r->offset && is_missing(f, c->ahead->offset))
        next_record(c, c->ahead->offset + 1);
    assert_non_null(c->ahead);
    assert_int_equal(c->ahead->offset, r->offset);
    assert_int_equal(c->ahead->timestamp_ms, r->timestamp_ms);
    if (r->kind != SEGMENT_REJECTED) {
        assert_int_equal(c->ahead->key_len, m->key_len);
        assert_int_equal(c->ahead->value_len, m->value_len);
        assert_int_equal(c->ahead->value == NULL, m->value == NULL);
        if (m->key)
            assert_memory_equal(c->ahead->key, m->key, m->key_len);
        if (m->value)
            assert_memory_equal(c->ahead->value, m->value, m->value_len);
    }
    next_record(c, r->offset + 1);
}

static void note(struct chain_seen *seen, const struct segment_record *r)
{
    const struct document_message *m = &r->message;
    size_t i;

    seen->documents += r->kind == SEGMENT_DOCUMENT;
    seen->tombstones += r->kind == SEGMENT_TOMBSTONE;
    seen->seals += r->kind == SEGMENT_SEAL;
    seen->rejected += r->kind == SEGMENT_REJECTED;
    if (r->kind == SEGMENT_REJECTED)
        snprintf(seen->reason, sizeof seen->reason, "%s: %s", r->code, r->reason);
    for (i = 0; i < m->header_count; i++)
        if (!strcmp(m->headers[i].name, HEADER_URI))
            snprintf(seen->uri, sizeof seen->uri, "%.*s", (int)m->headers[i].value_len,
                     (const char *)m->headers[i].value);
}

/* False: no such segment, or a closing one: the chain ends. */
static bool read_one(struct checker *c)
{
    struct segment_reader *r = NULL;
    const struct segment_footer *f;
    struct segment_record record;
    struct err e = ERR_INIT;
    char key[KEY_MAX];
    struct buf bytes;
    size_t i;
    int rc;

    c->name.first = c->seen->next;
    assert_int_equal(key_segment(&c->name, key, &e), 0);
    buf_init(&bytes, SEGMENT_BYTES_MAX);
    rc = blob_get(c->store, key, &bytes, &e);
    if (rc == ERR_NOT_FOUND)
        return false;
    assert_int_equal(rc, 0);
    if (segment_reader_new(&r, bytes.data, bytes.len, &e) < 0)
        fail_msg("%s", e.text);
    f = segment_reader_footer(r);
    assert_int_equal(segment_footer_check(f, &c->name, &e), 0);
    while ((rc = segment_reader_next(r, &record, &e)) > 0) {
        compare(c, f, &record);
        note(c->seen, &record);
    }
    assert_int_equal(rc, 0);
    for (i = 0; i < f->missing_count; i++)
        c->seen->missing += f->missing[i].next - f->missing[i].first;
    if (c->bus && c->ahead && c->ahead->offset >= c->from)
        assert_true(c->ahead->offset >= f->next);
    c->seen->next = f->next;
    c->seen->closed = f->closed;
    c->seen->segments++;
    segment_reader_free(r);
    buf_release(&bytes);
    return !c->seen->closed;
}

static int64_t base_first(struct checker *c)
{
    struct err e = ERR_INIT;
    struct chain_base base;
    struct arena arena;
    char key[KEY_MAX];
    struct buf bytes;
    int64_t first = 0;

    assert_int_equal(key_base(&c->name, key, &e), 0);
    buf_init(&bytes, 1 << 16);
    arena_init(&arena, 1 << 20);
    if (blob_get(c->store, key, &bytes, &e) == 0) {
        assert_int_equal(chain_base_read(&arena, bytes.data, bytes.len, RECORD_JSON, &base, &e), 0);
        first = base.first;
    }
    arena_release(&arena);
    buf_release(&bytes);
    return first;
}

static size_t count_segments(struct checker *c)
{
    struct err e = ERR_INIT;
    char prefix[KEY_MAX];

    c->listed = 0;
    assert_int_equal(key_chain_prefix(&c->name, prefix, &e), 0);
    assert_int_equal(blob_list(c->store, prefix, NULL, count_segment, c, &e), 0);
    return c->listed;
}

void chain_check(struct blob *store, struct bus *bus, const char *topic,
                 const struct segment_name *name, int64_t from, struct chain_seen *out)
{
    struct checker c = {.store = store, .bus = bus, .topic = topic, .name = *name, .from = from};
    size_t before;

    memset(out, 0, sizeof *out);
    c.seen = out;
    before = count_segments(&c);
    out->first = out->next = base_first(&c);
    if (bus)
        next_record(&c, from > out->first ? from : out->first);
    while (read_one(&c))
        ;
    if (c.ahead)
        bus_read_free(bus, c.ahead);
    /* None lies beside the chain. An ingester may have written one meanwhile. */
    assert_true(before <= out->segments);
    assert_true(count_segments(&c) >= out->segments);
    if (c.listed == before)
        assert_int_equal(before, out->segments);
}
