#include "platform/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

static void one_line_and_its_code(void **state)
{
    struct err e = ERR_INIT;

    assert_int_equal(err_set(&e, ERR_FORMAT, "row %d:\nno label\r", 7), ERR_FORMAT);
    assert_int_equal(e.code, ERR_FORMAT);
    assert_string_equal(e.text, "row 7: no label ");
}

/* What a producer wrote does not steer the terminal on which it is quoted. */
static void no_control_characters(void **state)
{
    struct err e = ERR_INIT;

    err_set(&e, ERR_FORMAT, "near '%s'", "\x1b]0;x\a\x7f\tb\xc2\x9b[31m \xc2\xa0\xc3\xa4");
    assert_string_equal(e.text, "near '?]0;x?? b??[31m \xc2\xa0\xc3\xa4'");
    err_wrap(&e, "%s", "\x1b[2J.csv:1");
    assert_memory_equal(e.text, "?[2J.csv:1: near", 16);
}

static void long_messages_are_cut(void **state)
{
    struct err e = ERR_INIT;
    char text[2000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&e, ERR_IO, "%s", text);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_int_equal(err_wrap(&e, "%s", text), ERR_IO);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    errno = ENOSPC;
    err_errno(&e, ERR_IO, "%s", text);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
}

static void wrapping_says_where(void **state)
{
    struct err e = ERR_INIT;

    err_set(&e, ERR_NOT_FOUND, "no such object");
    assert_int_equal(err_wrap(&e, "segment %d", 3), ERR_NOT_FOUND);
    assert_string_equal(e.text, "segment 3: no such object");
}

/* Of a path that does not fit its end is kept, and what there is to say. */
static void a_long_place_loses_its_front(void **state)
{
    struct err e = ERR_INIT;
    char text[2000];
    size_t i;

    for (i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 2); /* a letter of two bytes */
    text[i] = '\0';
    err_set(&e, ERR_FORMAT, "no label");
    err_wrap(&e, "/%s/a.csv:12", text);
    assert_memory_equal(e.text, "...\xc3\xa4", 5);
    assert_string_equal(strrchr(e.text, '/'), "/a.csv:12: no label");
    assert_in_range(strlen(e.text), sizeof e.text - 2, sizeof e.text - 1);
}

static void errno_gives_its_text_and_advice(void **state)
{
    struct err e = ERR_INIT;

    errno = ENOSPC;
    assert_int_equal(err_errno(&e, ERR_IO, "out.bin"), ERR_IO);
    assert_string_equal(
        e.text, "out.bin: No space left on device (free some space or choose another folder)");
    errno = EACCES;
    err_errno(&e, ERR_IO, "out.bin");
    assert_non_null(strstr(e.text, "(check the permissions)"));
    errno = ENOENT;
    err_errno(&e, ERR_IO, "out.bin");
    assert_string_equal(e.text, "out.bin: No such file or directory");
}

/* The table is looked up by position: each code must find its own row. */
static void every_code_finds_its_row(void **state)
{
#define X(name, code, klass, text, status)                                                         \
    assert_string_equal(err_name(ERR_##name), #name);                                              \
    assert_string_equal(err_text(code), text);                                                     \
    assert_int_equal(err_class(code), ERR_CLASS_##klass);                                          \
    assert_int_equal(err_exit_status(code), status);                                               \
    assert_in_range(status, 1, 125);
    ERR_CODES(X)
#undef X
}

static void a_code_outside_the_table_stops(void **state)
{
    static const int codes[] = {1, -17, -1000, INT32_MIN, INT32_MAX};
    size_t i;

    for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        assert_string_equal(err_name(codes[i]), "UNKNOWN");
        assert_int_equal(err_class(codes[i]), ERR_CLASS_STOP);
        assert_int_equal(err_exit_status(codes[i]), 70);
    }
    assert_int_equal(err_exit_status(0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_and_its_code),
        cmocka_unit_test(no_control_characters),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(wrapping_says_where),
        cmocka_unit_test(a_long_place_loses_its_front),
        cmocka_unit_test(errno_gives_its_text_and_advice),
        cmocka_unit_test(every_code_finds_its_row),
        cmocka_unit_test(a_code_outside_the_table_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
