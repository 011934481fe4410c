/*
 * Golden messages: every file of schemas/samples/good decodes, survives the trip
 * JSON -> struct -> msgpack -> struct -> JSON, and every cut of it is refused;
 * every file of schemas/samples/bad is refused with the message that
 * expected.txt has for it. A file's name begins with its type.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "schemas/document.h"
#include "schemas/record.h"
#include "tests/unit/schemas/samples.h"

#define SAMPLES "schemas/samples/"

static void each_file(const char *folder, void (*each)(const char *file, const struct buf *))
{
    int seen = sample_each(folder, ".json", each) + sample_each(folder, ".msgpack", each);

    assert_true(seen > 10);
}

static void check_good(const char *file, const struct buf *b)
{
    const struct record *r = sample_type(file);
    struct buf json, packed, again;

    buf_init(&json, 1 << 20);
    buf_init(&packed, 1 << 20);
    buf_init(&again, 1 << 20);
    sample_rewrite(r, b, RECORD_JSON, &json);
    sample_rewrite(r, &json, RECORD_MSGPACK, &packed);
    sample_rewrite(r, &packed, RECORD_JSON, &again);
    assert_string_equal(json.data, again.data);
    buf_reset(&again);
    sample_rewrite(r, &packed, RECORD_MSGPACK, &again);
    assert_int_equal(packed.len, again.len);
    assert_memory_equal(packed.data, again.data, again.len);
    buf_release(&json);
    buf_release(&packed);
    buf_release(&again);
}

static void good(void **state)
{
    each_file(SAMPLES "good", check_good);
}

/* Each cut in a block of its own, so that reading beyond it is seen. */
static void check_cuts(const char *file, const struct buf *b)
{
    const struct record *r = sample_type(file);
    void *record = malloc(r->size);
    struct err e = ERR_INIT;
    struct arena a;
    size_t n, end = b->len;

    while (end && b->data[end - 1] == '\n')
        end--;
    arena_init(&a, 1 << 24);
    for (n = 0; n < end; n++) {
        char *cut = malloc(n ? n : 1);

        memcpy(cut, b->data, n);
        assert_true(record_read(r, &a, cut, n, RECORD_SNIFF, record, &e) < 0);
        assert_true(e.text[0] != 0);
        arena_reset(&a);
        free(cut);
    }
    arena_release(&a);
    free(record);
}

static void cuts(void **state)
{
    each_file(SAMPLES "good", check_cuts);
}

/* Memory that runs out gives an error, and no leak, wherever it happens. */
static void check_memory(const char *file, const struct buf *b)
{
    const struct record *r = sample_type(file);
    void *record = malloc(r->size);
    struct err e = ERR_INIT;
    struct arena a;
    size_t max;
    int rc = -1;

    for (max = 0; max < 1 << 20 && rc < 0; max += 48) {
        arena_init(&a, max);
        rc = record_read(r, &a, b->data, b->len, RECORD_SNIFF, record, &e);
        assert_true(rc == 0 || e.code == ERR_NOMEM);
        arena_release(&a);
    }
    assert_int_equal(rc, 0);
    free(record);
}

static void memory(void **state)
{
    each_file(SAMPLES "good", check_memory);
}

static struct buf expected;
static int refused;

static void check_bad(const char *file, const struct buf *b)
{
    const struct record *r = sample_type(file);
    void *record = malloc(r->size);
    char wanted[800];
    struct err e = ERR_INIT;
    struct arena a;

    arena_init(&a, 1 << 24);
    assert_true(record_read(r, &a, b->data, b->len, RECORD_SNIFF, record, &e) < 0);
    snprintf(wanted, sizeof wanted, "%s: %s\n", file, e.text);
    if (!strstr(expected.data, wanted))
        fail_msg("expected.txt lacks: %s", wanted);
    refused++;
    arena_release(&a);
    free(record);
}

static void bad(void **state)
{
    struct err e = ERR_INIT;
    const char *s;
    int lines = 0;

    buf_init(&expected, 1 << 20);
    assert_int_equal(file_read(SAMPLES "bad/expected.txt", &expected, &e), 0);
    each_file(SAMPLES "bad", check_bad);
    for (s = expected.data; *s; s++)
        lines += *s == '\n';
    assert_int_equal(lines, refused);
    buf_release(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(cuts),
        cmocka_unit_test(memory),
        cmocka_unit_test(bad),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
