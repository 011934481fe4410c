#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "platform/json/base64.h"
#include "platform/json/json.h"

static json_t *parse(const char *text)
{
    struct err e = ERR_INIT;
    json_t *v;

    if (json_parse(text, strlen(text), NULL, &v, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return v;
}

static void refuses(const char *text, int code, const char *message)
{
    struct err e = ERR_INIT;
    json_t *v;

    assert_int_equal(json_parse(text, strlen(text), NULL, &v, &e), code);
    assert_null(v);
    assert_string_equal(e.text, message);
}

static void bad_texts(void **state)
{
    refuses("", ERR_FORMAT, "JSON: unexpected token near end of file (offset 0)");
    refuses("{\"a\":1,\"a\":2}", ERR_FORMAT, "JSON: duplicate object key near '\"a\"' (offset 10)");
    refuses("[1]x", ERR_FORMAT, "JSON: end of file expected near 'x' (offset 4)");
    refuses("[NaN]", ERR_FORMAT, "JSON: invalid token near 'NaN' (offset 4)");
    refuses("[1e999]", ERR_FORMAT, "JSON: real number overflow near '1e999' (offset 6)");
    refuses("\"a\\u0000b\"", ERR_FORMAT, "JSON: a NUL character in a string (offset 10)");
    refuses("\"\xff\"", ERR_FORMAT, "JSON: unable to decode byte 0xff near '\"' (offset 1)");
}

static void limits(void **state)
{
    const struct json_limits small = {40, 3, 8, 2};
    struct err e = ERR_INIT;
    json_t *v;

    assert_int_equal(json_parse("[[[[1]]]]", 9, &small, &v, &e), ERR_LIMIT);
    assert_string_equal(e.text, "JSON: nested deeper than 3 (offset 3)");
    assert_int_equal(json_parse("[1,2,3,4,5,6,7,8]", 17, &small, &v, &e), ERR_LIMIT);
    assert_string_equal(e.text, "JSON: more than 8 values (offset 14)");
    assert_int_equal(json_parse("[{},{},{}]", 10, &small, &v, &e), ERR_LIMIT);
    assert_string_equal(e.text, "JSON: more than 2 objects (offset 7)");
    assert_int_equal(json_parse("\"[[[[[[[,,,,,,{{{{\\\"[[\"", 23, &small, &v, &e), 0);
    json_decref(v);
    assert_int_equal(json_parse("[                                        ]", 42, &small, &v, &e),
                     ERR_LIMIT);
    assert_string_equal(e.text, "JSON: 42 bytes, at most 40");
}

static void writes(const char *text, enum json_form form, const char *expected)
{
    struct err e = ERR_INIT;
    json_t *v = parse(text);
    struct buf b;

    buf_init(&b, 4096);
    assert_int_equal(json_write(v, form, &b, &e), 0);
    assert_string_equal(b.data, expected);
    buf_release(&b);
    json_decref(v);
}

static void canonical(void **state)
{
    writes(" { \"b\" : [ 1 , 2.50, true, null ] , \"a\" : \"x\\u00e9\\n\", \"\": {} } ",
           JSON_CANONICAL, "{\"\":{},\"a\":\"x\xc3\xa9\\n\",\"b\":[1,2.5,true,null]}");
    writes("[0.1, 1.0, 1e300, -0.0, 3e-05, 0.30000000000000004, 5e-324]", JSON_CANONICAL,
           "[0.1,1.0,1e+300,-0.0,3e-05,0.30000000000000004,4.94065645841247e-324]");
    writes("{\"ab\":1,\"a\":2,\"B\":3}", JSON_CANONICAL, "{\"B\":3,\"a\":2,\"ab\":1}");
    writes("{\"b\":[1,{}],\"a\":[]}", JSON_READABLE,
           "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": []\n}\n");
}

static void not_finite(void **state)
{
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 100);
    json_t *v = json_pack("[i]", 1);
    assert_int_equal(json_write(v, JSON_CANONICAL, &b, &e), 0);
    json_decref(v);
    buf_release(&b);
    buf_init(&b, 3);
    v = json_pack("[i]", 1000);
    assert_int_equal(json_write(v, JSON_CANONICAL, &b, &e), ERR_LIMIT);
    json_decref(v);
    buf_release(&b);
}

static void getters(void **state)
{
    struct err e = ERR_INIT;
    json_t *v = parse("{\"a\":{\"b\":[10,\"x\",2.5]},\"t\":true,\"n\":null}"), *found;
    const char *text;
    int64_t number;
    double real;
    bool flag;

    assert_int_equal(json_int_at(v, "a.b.0", 0, 10, &number, &e), 0);
    assert_int_equal(number, 10);
    assert_int_equal(json_int_at(v, "a.b.0", 0, 9, &number, &e), ERR_FORMAT);
    assert_string_equal(e.text, "a.b.0: 10 is outside 0 to 9");
    assert_int_equal(json_string_at(v, "a.b.1", &text, &e), 0);
    assert_string_equal(text, "x");
    assert_int_equal(json_number_at(v, "a.b.2", &real, &e), 0);
    assert_true(real == 2.5);
    assert_int_equal(json_number_at(v, "a.b.0", &real, &e), 0);
    assert_int_equal(json_bool_at(v, "t", &flag, &e), 0);
    assert_true(flag);
    assert_int_equal(json_string_at(v, "a.b", &text, &e), ERR_FORMAT);
    assert_string_equal(e.text, "a.b: expected a string, got an array");
    assert_int_equal(json_object_at(v, "a.c", &found, &e), ERR_FORMAT);
    assert_string_equal(e.text, "a.c: missing");
    assert_int_equal(json_array_at(v, "a.b", &found, &e), 0);
    assert_int_equal(json_string_or(v, "n", "default", &text, &e), 0);
    assert_string_equal(text, "default");
    assert_int_equal(json_int_or(v, "t", 0, 1, 5, &number, &e), ERR_FORMAT);
    assert_int_equal(json_int_or(v, "none", 0, 1, 5, &number, &e), 0);
    assert_int_equal(number, 5);
    assert_int_equal(json_bool_or(v, "none.at.all", false, &flag, &e), 0);
    assert_int_equal(json_number_or(v, "a.b.7", 1.5, &real, &e), 0);
    assert_null(json_find(v, "t.b"));
    json_decref(v);
}

static void offsets(void **state)
{
    static const char text[] = " {\"a\": [1, {\"x\\u0079\" : \"}]\"}, 3] , \"b\":{} }";
    const struct json_step to_y[] = {{"a", 0}, {NULL, 1}, {"xy", 0}};
    const struct json_step last[] = {{"a", 0}, {NULL, 2}};
    const struct json_step gone[] = {{"b", 0}, {"nothing", 0}};

    assert_int_equal(json_offset(text, sizeof text - 1, NULL, 0), 1);
    assert_int_equal(text[json_offset(text, sizeof text - 1, to_y, 3)], '"');
    assert_int_equal(json_offset(text, sizeof text - 1, to_y, 3), strstr(text, "\"}]") - text);
    assert_int_equal(json_offset(text, sizeof text - 1, last, 2), strstr(text, "3]") - text);
    assert_int_equal(json_offset(text, sizeof text - 1, gone, 2), strstr(text, "{}") - text);
    assert_int_equal(json_offset(text, sizeof text - 1, gone + 1, 1), 1);
}

static void base64(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"}};
    static const char *const bad[] = {
        "Z", "Zg=", "Zg", "Zh==", "Zm9=", "Z===", "====", "Zm 9", "Zg==Zg==", "Zm9v\n"};
    char text[64], out[64];
    size_t i, at;

    for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        base64_encode(pairs[i][0], strlen(pairs[i][0]), text);
        assert_string_equal(text, pairs[i][1]);
        assert_int_equal(strlen(text), BASE64_LEN(strlen(pairs[i][0])));
        assert_int_equal(base64_decode(text, strlen(text), out, &at), strlen(pairs[i][0]));
        assert_memory_equal(out, pairs[i][0], strlen(pairs[i][0]));
    }
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), out, &at), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_texts),  cmocka_unit_test(limits),  cmocka_unit_test(canonical),
        cmocka_unit_test(not_finite), cmocka_unit_test(getters), cmocka_unit_test(offsets),
        cmocka_unit_test(base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
