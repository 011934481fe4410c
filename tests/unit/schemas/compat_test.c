/*
 * Bytes that were written once stay readable. tests/golden/records has every kind
 * of record as 0.1.0 wrote it, tests/golden/segments a segment of several blocks
 * and one that closes its chain: files there are never changed, only added (TRIPLINE_WRITE_GOLDEN=1
 * writes those that are missing). And what a later version adds, this one keeps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/json/json.h"
#include "schemas/record.h"
#include "schemas/segment.h"
#include "tests/unit/schemas/samples.h"

#define SAMPLES "schemas/samples/good"
#define RECORDS "tests/golden/records"
#define SEGMENT "tests/golden/segments/0.1.0-blocks.seg"
#define CLOSING "tests/golden/segments/0.1.0-closing.seg"

enum { DOCUMENTS = 4000 };

static struct err e;

static json_t *parse(const struct buf *b)
{
    json_t *v;

    if (json_parse(b->data, b->len, NULL, &v, &e) < 0)
        fail_msg("%s", e.text);
    return v;
}

/* Is all of `old` in `now`, at the same places? A later version may add members. */
static bool holds(const json_t *old, const json_t *now)
{
    const char *name;
    json_t *value;
    size_t i;

    if (json_is_object(old)) {
        json_object_foreach((json_t *)old, name, value)
        {
            if (!holds(value, json_object_get(now, name)))
                return false;
        }
        return json_is_object(now);
    }
    if (!json_is_array(old) || !json_is_array(now))
        return json_equal(old, now);
    if (json_array_size(old) != json_array_size(now))
        return false;
    for (i = 0; i < json_array_size(old); i++)
        if (!holds(json_array_get(old, i), json_array_get(now, i)))
            return false;
    return true;
}

/* --- later fields --- */

static void add_fields(const char *file, const struct buf *b)
{
    static const char later[] = "{\"a\":[1,-2,0.5,\"b\",null,true],\"\":{}}";
    const struct record *r = sample_type(file);
    json_t *v = parse(b), *added, *back;
    struct buf text, packed, again;

    assert_int_equal(json_parse(later, strlen(later), NULL, &added, &e), 0);
    json_put(&v, "later_field", json_incref(added));
    buf_init(&text, 1 << 22);
    assert_int_equal(json_write(v, JSON_CANONICAL, &text, &e), 0);
    buf_init(&packed, 1 << 22);
    sample_rewrite(r, &text, RECORD_MSGPACK, &packed);
    buf_init(&again, 1 << 22);
    sample_rewrite(r, &packed, RECORD_JSON, &again);
    back = parse(&again);
    if (!json_equal(json_object_get(back, "later_field"), added))
        fail_msg("%s: %s", file, again.data);
    json_decref(added);
    json_decref(back);
    json_decref(v);
    buf_release(&text);
    buf_release(&packed);
    buf_release(&again);
}

static void unknown_fields_are_kept(void **state)
{
    assert_true(sample_each(SAMPLES, ".json", add_fields) > 15);
}

/* --- records of earlier versions --- */

static void freeze(const char *file, const struct buf *b)
{
    static const char *const endings[] = {"json", "msgpack"};
    const struct record *r = sample_type(file);
    char path[600];
    struct buf out;
    int i;

    for (i = 0; i < 2; i++) {
        snprintf(path, sizeof path, RECORDS "/%.*s-0.1.0.%s", (int)strcspn(file, "."), file,
                 endings[i]);
        if (access(path, F_OK) == 0)
            continue;
        buf_init(&out, 1 << 22);
        sample_rewrite(r, b, i ? RECORD_MSGPACK : RECORD_JSON, &out);
        assert_int_equal(file_write(path, out.data, out.len, &e), 0);
        buf_release(&out);
    }
}

static void check_record(const char *file, const struct buf *b)
{
    const struct record *r = sample_type(file);
    json_t *old, *now;
    struct buf out;

    buf_init(&out, 1 << 22);
    sample_rewrite(r, b, RECORD_JSON, &out);
    old = parse(b);
    now = parse(&out);
    if (!holds(old, now))
        fail_msg("%s reads as %s", file, out.data);
    json_decref(old);
    json_decref(now);
    buf_release(&out);
}

/* The same record in both formats. */
static void check_packed(const char *file, const struct buf *b)
{
    const struct record *r = sample_type(file);
    struct buf json, out;
    json_t *old, *now;
    char path[600];

    snprintf(path, sizeof path, RECORDS "/%.*s.json", (int)(strrchr(file, '.') - file), file);
    buf_init(&json, 1 << 20);
    assert_int_equal(file_read(path, &json, &e), 0);
    buf_init(&out, 1 << 22);
    sample_rewrite(r, b, RECORD_JSON, &out);
    old = parse(&json);
    now = parse(&out);
    if (!holds(old, now))
        fail_msg("%s reads as %s", file, out.data);
    json_decref(old);
    json_decref(now);
    buf_release(&json);
    buf_release(&out);
}

static void records(void **state)
{
    if (getenv("TRIPLINE_WRITE_GOLDEN"))
        sample_each(SAMPLES, ".json", freeze);
    assert_true(sample_each(RECORDS, ".json", check_record) > 15);
    assert_true(sample_each(RECORDS, ".msgpack", check_packed) > 15);
}

/* --- segments --- */

static size_t document(char *to, size_t size, int i)
{
    return (size_t)snprintf(to, size, "{\"label\":%d,\"text\":\"%0300d\"}", i % 7, i);
}

static void keep(struct segment_writer *w, const char *path)
{
    char sha[SHA256_HEX];
    struct buf b;

    buf_init(&b, SEGMENT_BYTES_MAX);
    assert_int_equal(segment_writer_finish(w, &b, sha, &e), 0);
    assert_int_equal(file_write(path, b.data, b.len, &e), 0);
    buf_release(&b);
    segment_writer_free(w);
}

/* A golden segment, which `write` makes where it is missing; the reader borrows the bytes. */
static struct segment_reader *open_golden(const char *path, void (*write)(void), struct buf *b)
{
    struct segment_reader *r;

    if (getenv("TRIPLINE_WRITE_GOLDEN") && access(path, F_OK) != 0)
        write();
    buf_init(b, SEGMENT_BYTES_MAX);
    assert_int_equal(file_read(path, b, &e), 0);
    if (segment_reader_new(&r, b->data, b->len, &e) < 0)
        fail_msg("%s", e.text);
    return r;
}

static void write_segment(void)
{
    static const struct segment_name name = {"acme", "news", 0, 2, 10};
    char value[400], id[20];
    struct segment_writer *w;
    struct document d;
    int i;

    assert_int_equal(segment_writer_new(&w, &name, "nonce-1", 1767225600000, &e), 0);
    document_init(&d);
    for (i = 0; i < DOCUMENTS; i++) {
        struct document_message m = {.value = value, .value_len = document(value, 400, i)};

        snprintf(id, sizeof id, "d%d", i);
        d.id = id;
        d.label.number = i % 7;
        assert_int_equal(segment_writer_add(w, 10 + i, 1767225600000, &m, DOCUMENT_PUT, &d, &e), 0);
    }
    keep(w, SEGMENT);
}

static void segments(void **state)
{
    const struct segment_footer *f;
    struct segment_reader *r;
    struct segment_record s;
    char value[400], id[20];
    struct buf b;
    int i;

    r = open_golden(SEGMENT, write_segment, &b);
    f = segment_reader_footer(r);
    assert_int_equal(f->documents, DOCUMENTS);
    assert_int_equal(f->label_count, 7);
    assert_int_equal(f->next, 10 + DOCUMENTS);
    for (i = 0; i < DOCUMENTS; i++) {
        assert_int_equal(segment_reader_next(r, &s, &e), 1);
        snprintf(id, sizeof id, "d%d", i);
        assert_string_equal(s.id, id);
        assert_int_equal(s.label.number, i % 7);
        assert_int_equal(s.message.value_len, document(value, sizeof value, i));
        assert_memory_equal(s.message.value, value, s.message.value_len);
    }
    assert_int_equal(segment_reader_next(r, &s, &e), 0);
    segment_reader_free(r);
    b.data[8]++; /* a version that is not known: refused by name, not misread */
    assert_int_equal(segment_reader_new(&r, b.data, b.len, &e), ERR_UNSUPPORTED);
    buf_release(&b);
}

static void write_closing(void)
{
    static const struct segment_name name = {"acme", "news", 1, 2, 4010};
    struct segment_writer *w;

    assert_int_equal(segment_writer_new(&w, &name, "nonce-1", 1767225600000, &e), 0);
    assert_int_equal(segment_writer_close(w, &e), 0);
    keep(w, CLOSING);
}

static void closing_segments(void **state)
{
    const struct segment_footer *f;
    struct segment_reader *r;
    struct segment_record s;
    struct buf b;

    r = open_golden(CLOSING, write_closing, &b);
    f = segment_reader_footer(r);
    assert_true(f->closed);
    assert_int_equal(f->incarnation, 1);
    assert_int_equal(f->first, 4010);
    assert_int_equal(f->next, 4010);
    assert_int_equal(segment_reader_next(r, &s, &e), 0);
    segment_reader_free(r);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_fields_are_kept),
        cmocka_unit_test(records),
        cmocka_unit_test(segments),
        cmocka_unit_test(closing_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
