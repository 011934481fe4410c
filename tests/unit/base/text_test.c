#include "platform/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is valid of each: the rows of Unicode's table 3-7 at their edges. */
static const struct {
    const char *bytes;
    size_t len, valid;
} utf8[] = {
    {"", 0, 0},
    {"plain", 5, 5},
    {"\x00\x7F", 2, 2},
    {"a\xC3\xA9z", 4, 4},
    {"\xC2\x80\xDF\xBF", 4, 4},
    {"\xC1\xBF", 2, 0}, /* overlong */
    {"\xC0\x80", 2, 0}, /* overlong NUL */
    {"\xE0\xA0\x80\xEF\xBF\xBF", 6, 6},
    {"\xE0\x9F\xBF", 3, 0}, /* overlong */
    {"\xED\x9F\xBF\xEE\x80\x80", 6, 6},
    {"\xED\xA0\x80", 3, 0}, /* a surrogate */
    {"\xED\xBF\xBF", 3, 0},
    {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 8, 8},
    {"\xF0\x8F\xBF\xBF", 4, 0}, /* overlong */
    {"\xF4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
    {"\xF5\x80\x80\x80", 4, 0},
    {"\xFF", 1, 0},
    {"\x80", 1, 0},       /* nothing to continue */
    {"ab\xE2\x82", 4, 2}, /* cut */
    {"ab\xE2\x28\xA1", 5, 2},
    {"\xF0\x9F\x98\x80\xF0\x9F\x98", 7, 4},
    {"\xC3", 1, 0},
};

static void utf8_is_valid_up_to_the_first_wrong_byte(void **state)
{
    size_t i;

    for (i = 0; i < sizeof utf8 / sizeof utf8[0]; i++) {
        char *exact = malloc(utf8[i].len + 1); /* a read behind its end is seen by ASan */

        assert_non_null(exact);
        memcpy(exact, utf8[i].bytes, utf8[i].len);
        exact = realloc(exact, utf8[i].len ? utf8[i].len : 1);
        assert_non_null(exact);
        if (text_utf8_valid(exact, utf8[i].len) != utf8[i].valid)
            fail_msg("row %zu: %zu", i, text_utf8_valid(exact, utf8[i].len));
        free(exact);
    }
}

static void check_json(const char *text, size_t len, const char *want)
{
    struct buf b;

    buf_init(&b, 1000);
    text_json(&b, text, len);
    assert_string_equal(b.data, want);
    buf_release(&b);
}

static void json_strings_are_escaped(void **state)
{
    check_json("", 0, "\"\"");
    check_json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    check_json("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
    check_json("\x00\x01\x0B\x1F", 4, "\"\\u0000\\u0001\\u000b\\u001f\"");
    check_json("\x7F", 1, "\"\x7F\"");
    check_json("/", 1, "\"/\"");
    check_json("caf\xC3\xA9 \xF0\x9F\x98\x80", 10, "\"caf\xC3\xA9 \xF0\x9F\x98\x80\"");
    check_json("a\xFFz", 3, "\"a\xEF\xBF\xBDz\"");
    check_json("a\xE2\x82", 3, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void integers_are_strict(void **state)
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-",
                                      "1.0",
                                      "0x10",
                                      "1e3",
                                      "\n1",
                                      "--1",
                                      "abc",
                                      "1_0",
                                      "9223372036854775808"};
    int64_t v = 77;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (text_i64(bad[i], INT64_MIN, INT64_MAX, &v) == 0)
            fail_msg("'%s' was taken for %lld", bad[i], (long long)v);
    assert_int_equal(v, 77);
    assert_int_equal(text_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &v), 0);
    assert_true(v == INT64_MIN);
    assert_int_equal(text_i64("10", 0, 10, &v), 0);
    assert_int_equal(v, 10);
    assert_int_equal(text_i64("11", 0, 10, &v), -1);
    assert_int_equal(text_i64("-1", 0, 10, &v), -1);
}

static void reals_are_strict_and_finite(void **state)
{
    static const char *const bad[] = {"",    " 1",    "1 ",       "+1",    "nan",
                                      "inf", "-inf",  "infinity", "1e999", "0x1p3",
                                      ".",   "1.5.2", "e5",       "1e",    "-"};
    double v = 77;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (text_f64(bad[i], -1e300, 1e300, &v) == 0)
            fail_msg("'%s' was taken for %g", bad[i], v);
    assert_true(v == 77);
    assert_int_equal(text_f64("-2.5e-3", -1, 1, &v), 0);
    assert_true(v == -2.5e-3);
    assert_int_equal(text_f64(".5", 0, 1, &v), 0);
    assert_true(v == 0.5);
    assert_int_equal(text_f64("1.0001", 0, 1, &v), -1);
}

static void bytes_become_hex(void **state)
{
    char hex[9] = "????????";

    text_hex("", 0, hex);
    assert_string_equal(hex, "");
    text_hex("\x00\x7f\x80\xff", 4, hex);
    assert_string_equal(hex, "007f80ff");
}

static void names_are_narrow(void **state)
{
    static const char *const good[] = {"a", "0", "acme-two", "a-", "9-9"};
    static const char *const bad[] = {"", "-a", "A", "a.b", "a/b", "a_b", "a b", "\xC3\xA9", "a\n"};
    char longest[65];
    size_t i;

    for (i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(text_is_name(good[i], strlen(good[i])));
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(text_is_name(bad[i], strlen(bad[i])));
    assert_false(text_is_name("a\0b", 3));
    memset(longest, 'x', sizeof longest);
    assert_true(text_is_name(longest, 63));
    assert_false(text_is_name(longest, 64));
}

/* The first and last character of each length; what is written is valid and whole. */
static void characters_are_encoded(void **state)
{
    static const struct {
        uint32_t c;
        const char *bytes;
    } rows[] = {{0x24, "$"},
                {0x7f, "\x7f"},
                {0x80, "\xc2\x80"},
                {0x7ff, "\xdf\xbf"},
                {0x800, "\xe0\xa0\x80"},
                {0xffff, "\xef\xbf\xbf"},
                {0x10000, "\xf0\x90\x80\x80"},
                {0x10ffff, "\xf4\x8f\xbf\xbf"}};
    char to[4];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t n = text_utf8_encode(rows[i].c, to);

        assert_int_equal(n, strlen(rows[i].bytes));
        assert_memory_equal(to, rows[i].bytes, n);
        assert_int_equal(text_utf8_valid(to, n), n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_valid_up_to_the_first_wrong_byte),
        cmocka_unit_test(characters_are_encoded),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(integers_are_strict),
        cmocka_unit_test(reals_are_strict_and_finite),
        cmocka_unit_test(bytes_become_hex),
        cmocka_unit_test(names_are_narrow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
