/*
 * Two readers of JSON, one verdict: what tree_read_json takes, jansson takes too
 * and with the same values; what it does not take, jansson refuses, unless it is
 * one of the rare forms that are left to jansson.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schemas/record_int.h"
#include "tests/unit/schemas/samples.h"

#define GOOD "schemas/samples/good"

static struct arena arena;
static int both, neither;

static int setup(void **state)
{
    arena_init(&arena, (size_t)96 << 20);
    return 0;
}

static int teardown(void **state)
{
    arena_release(&arena);
    return 0;
}

/* Is it read by the quick reader? Fails the test unless jansson agrees; `rare`: it may take more.
 */
static bool reads(const char *text, size_t n, bool rare)
{
    const struct json_limits limits = {RECORD_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_VALUES_MAX,
                                       RECORD_OBJECTS_MAX};
    struct err e = ERR_INIT;
    json_t *slow = NULL, *quick = NULL;
    char *exact = malloc(n ? n : 1); /* reading beyond it is seen */
    msgpack_object tree;
    bool is;
    int rc;

    memcpy(exact, text, n);
    arena_reset(&arena);
    is = tree_read_json(&arena, exact, n, &tree) == 1;
    rc = json_parse(exact, n, &limits, &slow, &e);
    if (is != (rc == 0) && (is || !rare))
        fail_msg("%s: '%.*s' (%s)", is ? "only the quick one" : "only jansson", (int)n, text,
                 e.text);
    if (is) {
        assert_int_equal(tree_to_json(&tree, &quick, &e), 0);
        if (!json_equal(quick, slow))
            fail_msg("other values: %.*s", (int)n, text);
        both++;
    } else {
        neither++;
    }
    json_decref(quick);
    json_decref(slow);
    free(exact);
    return is;
}

static const char *const good[] = {
    "0",
    "-0",
    "-0.0",
    " [ 1 , -2.5e3 , 1E-7 , 0.1e+2 , 999999999999999999 ] ",
    "{\"\":null,\"a\":[true,false,{}],\"b\":[]}",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00\"",
    "\"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \x7f\"",
    "{\"a\":{\"a\":{\"a\":1}},\"A\":2,\"aa\":3}",
    "1e-400",
    "[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]",
};
static const char *const bad[] = {
    "",
    " ",
    "nul",
    "nulll",
    "True",
    "NaN",
    "-Infinity",
    "01",
    "-",
    "+1",
    ".5",
    "1.",
    "1e",
    "1e+",
    "1e999",
    "-1e999",
    "0x10",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{\"a\":1,}",
    "{\"a\"}",
    "{a:1}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":1,\"\\u0061\":2}",
    "{\"a\":1 \"b\":2}",
    "[1}",
    "{\"a\":1]",
    "[1]]",
    "[1] x",
    "\"",
    "\"a",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\\u0000\"",
    "{\"\\u0000\":1}",
    "\"\\ud83d\"",
    "\"\\ud83d\\u0041\"",
    "\"\\ude00\"",
    "\"\xc0\xaf\"",
    "\"\xed\xa0\x80\"",
    "\"\xf5\x80\x80\x80\"",
    "\"\xe2\x82\"",
    "\"a\nb\"",
    "\"a\\\nb\"",
    "'a'",
    "\xef\xbb\xbf{}",
    "[1]\v",
    "/**/1",
    "[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]",
};
/* left to jansson: more digits than fit */
static const char *const rare[] = {
    "9223372036854775807", "-9223372036854775808", "9223372036854775808",
    "0.1234567890123456789012345678901234567890123456789012345678901234567890"};

static void forms(void **state)
{
    size_t i;

    for (i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(reads(good[i], strlen(good[i]), false));
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(reads(bad[i], strlen(bad[i]), false));
    for (i = 0; i < sizeof rare / sizeof rare[0]; i++)
        assert_false(reads(rare[i], strlen(rare[i]), true));
    assert_false(reads("\"a\0b\"", 5, false));
    assert_false(reads("1\0", 2, true)); /* a NUL that jansson takes for the end */
}

/* Each byte of a sample left out, doubled, and made another one. */
static void mutate(const char *text, size_t n)
{
    static const char other[] = "\"\\{}[]:,0-.eu\x01 \xc3\xa9";
    char *copy = malloc(n + 1);
    size_t i, k;

    for (i = 0; i < n; i++) {
        memcpy(copy, text, n);
        memmove(copy + i, copy + i + 1, n - i - 1);
        reads(copy, n - 1, true);
        memcpy(copy, text, i + 1);
        memcpy(copy + i + 1, text + i, n - i);
        reads(copy, n + 1, true);
        for (k = 0; k < sizeof other; k++) { /* with the NUL */
            memcpy(copy, text, n);
            copy[i] = other[k];
            reads(copy, n, true);
        }
    }
    free(copy);
}

static void read_and_mutate(const char *file, const struct buf *b)
{
    (void)file;
    assert_true(reads(b->data, b->len, false));
    mutate(b->data, b->len < 700 ? b->len : 700);
}

static void samples(void **state)
{
    both = neither = 0;
    assert_true(sample_each(GOOD, ".json", read_and_mutate) > 5);
    assert_true(both > 1000 && neither > 1000);
}

/* As many values, and objects, as the limits allow, and one more. */
static void counts(void **state)
{
    static const struct {
        const char *item;
        size_t max;
    } cases[] = {{"1", RECORD_VALUES_MAX - 1}, {"{}", RECORD_OBJECTS_MAX}};
    struct buf b;
    size_t i, k, more;

    for (i = 0; i < 2; i++) {
        for (more = 0; more < 2; more++) {
            buf_init(&b, RECORD_BYTES_MAX);
            buf_char(&b, '[');
            for (k = 0; k < cases[i].max + more; k++) {
                buf_str(&b, k ? "," : "");
                buf_str(&b, cases[i].item);
            }
            buf_char(&b, ']');
            assert_int_equal(reads(b.data, b.len, false), more == 0);
            buf_release(&b);
        }
    }
}

/* Many names: the order of the map stays, a second one of a name is found. */
static void names(void **state)
{
    struct buf b;
    int i, twice;

    for (twice = 0; twice < 2; twice++) {
        buf_init(&b, 1 << 20);
        for (i = 0; i < 5000; i++)
            buf_printf(&b, "%c\"n%d\":%d", i ? ',' : '{', (i * 7919) % 5000, i);
        buf_str(&b, twice ? ",\"n17\":0}" : "}");
        assert_int_equal(reads(b.data, b.len, false), !twice);
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(samples),
        cmocka_unit_test(counts),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
