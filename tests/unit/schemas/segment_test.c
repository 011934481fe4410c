#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "platform/base/file.h"
#include "schemas/segment.h"
#include "schemas/segment_int.h"

#define GOLDEN "schemas/samples/golden.seg"

static const struct segment_name name = {"acme", "news", 1, 3, 100};
static struct err e;

static int setup(void **state)
{
    e = (struct err)ERR_INIT;
    return 0;
}

static struct segment_writer *begin(void)
{
    struct segment_writer *w;

    if (segment_writer_new(&w, &name, "nonce-1", 1767225600000, &e) < 0)
        fail_msg("%s", e.text);
    return w;
}

static int add(struct segment_writer *w, int64_t offset, const char *key, const char *value,
               const struct document_header *headers, size_t header_count)
{
    const struct document_message m = {
        key, key ? strlen(key) : 0, value, value ? strlen(value) : 0, headers, header_count};
    enum document_kind kind;
    struct document d;
    struct arena a;
    int rc;

    arena_init(&a, 1 << 26);
    if ((rc = document_admit(&m, name.owner, &a, &kind, &d, &e)) == 0)
        rc = segment_writer_add(w, offset, 1767225600000 + offset, &m, kind, &d, &e);
    arena_release(&a);
    return rc;
}

/* One of everything. */
static void fill(struct segment_writer *w)
{
    static const struct document_header headers[] = {{"content-type", "application/json", 16},
                                                     {"trace", "\0\1", 2},
                                                     {"empty", "", 0},
                                                     {"null", NULL, 0}};
    static const struct document_header seal = {"tripline-control", "seal", 4};
    struct err why = ERR_INIT;

    assert_int_equal(add(w, 100, "d1", "{\"label\":\"b\",\"text\":\"one\"}", NULL, 0), 0);
    assert_int_equal(add(w, 101, NULL,
                         "{\"id\":\"d2\",\"label\":-7,\"text\":\"two\",\"split\":\"eval\"}",
                         headers, 4),
                     0);
    err_set(&why, ERR_FORMAT, "label: missing (offset 0)");
    assert_int_equal(segment_writer_reject(w, 103, 5, &why, &e), 0);
    assert_int_equal(add(w, 104, "d1", NULL, NULL, 0), 0);
    assert_int_equal(segment_writer_missing(w, 105, 110, &e), 0);
    assert_int_equal(add(w, 110, "d3", "{\"label\":\"a\",\"text\":\"three\"}", NULL, 0), 0);
    assert_int_equal(add(w, 111, "d4", "{\"label\":\"b\",\"text\":\"four\"}", NULL, 0), 0);
    assert_int_equal(add(w, 112, NULL, NULL, &seal, 1), 0);
    assert_int_equal(segment_writer_cover(w, 120, &e), 0);
}

static void finish(struct segment_writer *w, struct buf *out)
{
    char sha[SHA256_HEX], again[SHA256_HEX];

    buf_init(out, SEGMENT_BYTES_MAX);
    if (segment_writer_finish(w, out, sha, &e) < 0)
        fail_msg("%s", e.text);
    sha256_of(out->data, out->len, again);
    assert_string_equal(sha, again);
    segment_writer_free(w);
}

static void next(struct segment_reader *r, struct segment_record *s)
{
    if (segment_reader_next(r, s, &e) != 1)
        fail_msg("%s", e.text);
}

static void check_footer(const struct segment_footer *f)
{
    assert_int_equal(f->first, 100);
    assert_int_equal(f->next, 120);
    assert_int_equal(f->documents, 4);
    assert_int_equal(f->tombstones, 1);
    assert_int_equal(f->seals, 1);
    assert_int_equal(f->rejected, 1);
    assert_int_equal(f->missing_count, 1);
    assert_int_equal(f->missing[0].next, 110);
    assert_int_equal(f->label_count, 3);
    assert_int_equal(f->labels[0].label.number, -7);
    assert_string_equal(f->labels[1].label.text, "a");
    assert_string_equal(f->labels[2].label.text, "b");
    assert_int_equal(f->labels[2].count, 2);
    assert_string_equal(f->nonce, "nonce-1");
    assert_int_equal(segment_footer_check(f, &name, &e), 0);
}

static void check_records(struct segment_reader *r)
{
    struct segment_record s;

    next(r, &s);
    assert_int_equal(s.kind, SEGMENT_DOCUMENT);
    assert_int_equal(s.offset, 100);
    assert_int_equal(s.timestamp_ms, 1767225600100);
    assert_memory_equal(s.message.key, "d1", 2);
    assert_memory_equal(s.message.value, "{\"label\":\"b\"", 12);
    assert_string_equal(s.id, "d1");
    assert_string_equal(s.label.text, "b");
    next(r, &s);
    assert_null(s.message.key);
    assert_string_equal(s.id, "d2");
    assert_null(s.label.text);
    assert_int_equal(s.label.number, -7);
    assert_int_equal(s.split, SPLIT_EVAL);
    assert_int_equal(s.message.header_count, 4);
    assert_string_equal(s.message.headers[0].name, "content-type");
    assert_memory_equal(s.message.headers[1].value, "\0\1", 2);
    assert_non_null(s.message.headers[2].value);
    assert_null(s.message.headers[3].value);
    next(r, &s);
    assert_int_equal(s.kind, SEGMENT_REJECTED);
    assert_int_equal(s.offset, 103);
    assert_string_equal(s.code, "FORMAT");
    assert_string_equal(s.reason, "label: missing (offset 0)");
    next(r, &s);
    assert_int_equal(s.kind, SEGMENT_TOMBSTONE);
    assert_null(s.message.value);
    assert_string_equal(s.id, "d1");
    next(r, &s);
    next(r, &s);
    assert_int_equal(s.offset, 111);
    next(r, &s);
    assert_int_equal(s.kind, SEGMENT_SEAL);
    assert_null(s.id);
    assert_int_equal(segment_reader_next(r, &s, &e), 0);
    assert_int_equal(segment_reader_next(r, &s, &e), 0);
}

static void check_file(const struct buf *b)
{
    struct segment_reader *r;

    if (segment_reader_new(&r, b->data, b->len, &e) < 0)
        fail_msg("%s", e.text);
    check_footer(segment_reader_footer(r));
    check_records(r);
    segment_reader_free(r);
}

static void round_trip(void **state)
{
    struct segment_writer *w = begin();
    struct segment_size size;
    struct buf b;

    fill(w);
    segment_writer_size(w, &size);
    assert_int_equal(size.records, 7);
    assert_int_equal(size.next, 120);
    finish(w, &b);
    check_file(&b);
    if (getenv("TRIPLINE_WRITE_GOLDEN"))
        assert_int_equal(file_write(GOLDEN, b.data, b.len, &e), 0);
    buf_release(&b);
}

/* The committed file: what yesterday's program wrote is read today. */
static void golden(void **state)
{
    struct buf b;

    buf_init(&b, SEGMENT_BYTES_MAX);
    assert_int_equal(file_read(GOLDEN, &b, &e), 0);
    check_file(&b);
    buf_release(&b);
}

static void order(void **state)
{
    struct segment_writer *w = begin();
    char sha[SHA256_HEX];
    struct buf b;

    buf_init(&b, SEGMENT_BYTES_MAX);
    assert_int_equal(segment_writer_finish(w, &b, sha, &e), ERR_USAGE);
    assert_int_equal(add(w, 99, "k", "{\"label\":1,\"text\":\"x\"}", NULL, 0), ERR_INTERNAL);
    assert_int_equal(add(w, 105, "k", "{\"label\":1,\"text\":\"x\"}", NULL, 0), 0);
    assert_int_equal(add(w, 105, "k", "{\"label\":1,\"text\":\"x\"}", NULL, 0), ERR_INTERNAL);
    assert_int_equal(segment_writer_cover(w, 105, &e), ERR_INTERNAL);
    assert_int_equal(segment_writer_missing(w, 105, 107, &e), ERR_INTERNAL);
    assert_int_equal(segment_writer_missing(w, 108, 108, &e), ERR_INTERNAL);
    assert_int_equal(segment_writer_finish(w, &b, sha, &e), 0);
    segment_writer_free(w);
    buf_release(&b);
    assert_int_equal(
        segment_writer_new(&w, &(struct segment_name){"Acme", "x", 0, 0, 0}, "n", 0, &e),
        ERR_USAGE);
    assert_null(w);
}

/* The closing segment of a chain. */
static void closing(void **state)
{
    struct segment_writer *w = begin();
    struct segment_record s;
    struct segment_reader *r;
    char sha[SHA256_HEX];
    struct buf b;

    assert_int_equal(segment_writer_close(w, &e), 0);
    finish(w, &b);
    assert_int_equal(segment_reader_new(&r, b.data, b.len, &e), 0);
    assert_true(segment_reader_footer(r)->closed);
    assert_int_equal(segment_reader_footer(r)->first, 100);
    assert_int_equal(segment_reader_footer(r)->next, 100);
    assert_int_equal(segment_footer_check(segment_reader_footer(r), &name, &e), 0);
    assert_int_equal(segment_reader_next(r, &s, &e), 0);
    segment_reader_free(r);
    buf_release(&b);

    buf_init(&b, SEGMENT_BYTES_MAX);
    w = begin();
    assert_int_equal(segment_writer_close(w, &e), 0);
    assert_int_equal(add(w, 100, "k", "{\"label\":1,\"text\":\"x\"}", NULL, 0), 0);
    assert_int_equal(segment_writer_finish(w, &b, sha, &e), ERR_FORMAT);
    segment_writer_free(w);
    w = begin();
    assert_int_equal(segment_writer_cover(w, 101, &e), 0);
    assert_int_equal(segment_writer_close(w, &e), ERR_INTERNAL);
    segment_writer_free(w);
    buf_release(&b);
}

/* Many blocks, and values that don't compress: full before 64 MiB. */
static void large(void **state)
{
    struct segment_writer *w = begin();
    size_t n = 1 << 20, i, count = 0, read = 0;
    char *value = malloc(n);
    uint64_t x = 1;
    struct document_message m = {"k", 1, value, n, NULL, 0};
    struct document d;
    struct segment_reader *r;
    struct segment_record s;
    struct buf b;

    document_init(&d);
    d.id = "k";
    d.label.number = 5;
    while (segment_writer_fits(w, n)) {
        for (i = 0; i + 8 <= n; i += 8, x = x * 6364136223846793005u + 1442695040888963407u)
            memcpy(value + i, &x, 8);
        if (segment_writer_add(w, 100 + (int64_t)count++, 0, &m, DOCUMENT_PUT, &d, &e) < 0)
            fail_msg("%s", e.text);
    }
    assert_int_equal(segment_writer_add(w, 1000, 0, &m, DOCUMENT_PUT, &d, &e), ERR_LIMIT);
    assert_true(count > 50 && count < 64);
    finish(w, &b);
    assert_true(b.len <= SEGMENT_BYTES_MAX);
    assert_int_equal(segment_reader_new(&r, b.data, b.len, &e), 0);
    while (segment_reader_next(r, &s, &e) == 1)
        read++;
    assert_int_equal(read, count);
    segment_reader_free(r);
    buf_release(&b);
    free(value);
}

static void too_many_headers(void **state)
{
    struct document_header headers[SEGMENT_HEADERS_MAX + 1];
    struct segment_writer *w = begin();
    size_t i;

    for (i = 0; i <= SEGMENT_HEADERS_MAX; i++)
        headers[i] = (struct document_header){"h", "v", 1};
    assert_int_equal(
        add(w, 100, "k", "{\"label\":1,\"text\":\"x\"}", headers, SEGMENT_HEADERS_MAX + 1),
        ERR_LIMIT);
    assert_int_equal(add(w, 100, "k", "{\"label\":1,\"text\":\"x\"}", headers, SEGMENT_HEADERS_MAX),
                     0);
    segment_writer_free(w);
}

/* Reads all; < 0 when any of it is refused. */
static int read_all(const void *bytes, size_t n)
{
    struct segment_reader *r;
    struct segment_record s;
    int rc = segment_reader_new(&r, bytes, n, &e);

    while (rc >= 0 && (rc = segment_reader_next(r, &s, &e)) == 1)
        ;
    segment_reader_free(r);
    return rc;
}

/* As a forger would: the file's hash made right again. */
static void rehash(char *bytes, size_t n)
{
    sha256(bytes, n - 8 - SHA256_SIZE, (unsigned char *)bytes + n - 8 - SHA256_SIZE);
}

static void damage(void **state)
{
    struct segment_writer *w = begin();
    char *copy;
    struct buf b;
    size_t i;
    int bit;

    fill(w);
    finish(w, &b);
    assert_int_equal(read_all(b.data, b.len), 0);
    copy = malloc(b.len);
    for (i = 0; i < b.len; i++) {
        memcpy(copy, b.data, b.len);
        assert_true(read_all(copy, i) < 0); /* cut */
        copy[i] ^= 1;
        assert_true(read_all(copy, b.len) < 0);
        for (bit = 0; bit < 8; bit++) {
            memcpy(copy, b.data, b.len);
            copy[i] = (char)(copy[i] ^ 1 << bit);
            rehash(copy, b.len);
            read_all(copy, b.len); /* refused or read: nothing worse */
        }
    }
    free(copy);
    buf_release(&b);
}

/* A frame that claims to be small and isn't, and one that claims to be huge. */
static void bombs(void **state)
{
    struct segment_writer *w = begin();
    uint32_t raw;
    struct buf b;

    fill(w);
    finish(w, &b);
    memcpy(&raw, b.data + SEGMENT_HEADER, 4);
    raw++;
    memcpy(b.data + SEGMENT_HEADER, &raw, 4);
    rehash(b.data, b.len);
    assert_int_equal(read_all(b.data, b.len), ERR_FORMAT);
    assert_string_equal(e.text, "segment: a zstd frame of another size (offset 16)");
    raw = 0x7fffffff;
    memcpy(b.data + SEGMENT_HEADER, &raw, 4);
    rehash(b.data, b.len);
    assert_int_equal(read_all(b.data, b.len), ERR_FORMAT);
    assert_string_equal(e.text, "segment: a block's lengths are wrong (offset 16)");
    b.data[8] = 2;
    assert_int_equal(read_all(b.data, b.len), ERR_UNSUPPORTED);
    buf_release(&b);
}

/* Another footer in place of a file's own, whose blocks stay. */
static void forge(struct buf *b, const char *footer)
{
    size_t n = strlen(footer), end = b->len - SEGMENT_TRAILER;
    char trailer[SEGMENT_TRAILER];
    uint64_t at;

    memcpy(trailer, b->data + end, SEGMENT_TRAILER);
    memcpy(&at, trailer, sizeof at);
    memcpy(trailer + 8, &(uint32_t){(uint32_t)n}, 4);
    b->len = (size_t)at;
    buf_add(b, footer, n);
    buf_add(b, trailer, sizeof trailer);
    rehash(b->data, b->len);
}

/* Footers that say closed, of a file with a record. */
static void closed_with_records(void **state)
{
#define FOOTER(next, documents)                                                                    \
    "{\"closed\":true,\"content_sha256\":"                                                         \
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","                        \
    "\"created_ms\":1,\"dataset\":\"news\",\"documents\":" documents                               \
    ",\"first\":100,\"incarnation\":1,\"next\":" next                                              \
    ",\"nonce\":\"n\",\"owner\":\"acme\",\"partition\":3,\"rejected\":0,\"schema\":1,"             \
    "\"seals\":0,\"tombstones\":0}"
    static const char *const footers[] = {FOOTER("100", "0"), FOOTER("100", "1"),
                                          FOOTER("101", "1"), FOOTER("101", "0")};
    struct segment_writer *w;
    struct buf b;
    size_t i;

    for (i = 0; i < 4; i++) {
        w = begin();
        assert_int_equal(add(w, 100, "k", "{\"label\":1,\"text\":\"x\"}", NULL, 0), 0);
        finish(w, &b);
        forge(&b, footers[i]);
        assert_int_equal(read_all(b.data, b.len), ERR_FORMAT);
        assert_non_null(
            strstr(e.text, i ? "closed: such a segment covers nothing" : "out of order"));
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(golden),
        cmocka_unit_test(order),
        cmocka_unit_test(closing),
        cmocka_unit_test(large),
        cmocka_unit_test(too_many_headers),
        cmocka_unit_test(damage),
        cmocka_unit_test(bombs),
        cmocka_unit_test(closed_with_records),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
