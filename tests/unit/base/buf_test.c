#include "platform/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void text_is_always_terminated(void **state)
{
    struct buf b;
    struct err e = ERR_INIT;

    buf_init(&b, 100);
    buf_str(&b, "ab");
    buf_char(&b, 'c');
    buf_add(&b, "", 0);
    buf_printf(&b, "%d-%s", 42, "x");
    assert_string_equal(b.data, "abc42-x");
    assert_int_equal(b.len, 7);
    assert_int_equal(buf_check(&b, "text", &e), 0);
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    buf_release(&b);
    buf_release(&b); /* a released one is a zeroed one */
}

static void integers_are_little_endian(void **state)
{
    static const unsigned char want[] = {0x04, 0x03, 0x02, 0x01, 0xEF, 0xCD,
                                         0xAB, 0x89, 0x67, 0x45, 0x23, 0x01};
    struct buf b;

    buf_init(&b, 100);
    buf_u32(&b, 0x01020304);
    buf_u64(&b, 0x0123456789ABCDEF);
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
    buf_release(&b);
}

static void the_maximum_holds_to_the_byte(void **state)
{
    struct buf b;
    struct err e = ERR_INIT;

    buf_init(&b, 5);
    buf_str(&b, "12345");
    assert_int_equal(buf_check(&b, "five", &e), 0);
    buf_char(&b, '6');
    assert_int_equal(buf_check(&b, "five", &e), ERR_LIMIT);
    assert_string_equal(e.text, "five: larger than 5 bytes");
    assert_string_equal(b.data, "12345");
    buf_reset(&b);
    buf_str(&b, "again");
    assert_int_equal(buf_check(&b, "five", &e), 0);
    buf_release(&b);
}

static void after_a_failure_nothing_is_appended(void **state)
{
    struct buf b;

    buf_init(&b, 4);
    buf_str(&b, "12345"); /* too long: not even its beginning */
    assert_int_equal(b.failed, ERR_LIMIT);
    buf_str(&b, "1");
    buf_printf(&b, "%d", 1);
    buf_u32(&b, 1);
    assert_int_equal(b.len, 0);
    assert_null(buf_reserve(&b, 1));
    buf_release(&b);
}

static void sizes_that_overflow_are_refused(void **state)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_str(&b, "x");
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(b.failed, ERR_LIMIT);
    buf_release(&b);

    buf_init(&b, SIZE_MAX);
    buf_str(&b, "x");
    assert_null(buf_reserve(&b, SIZE_MAX - 1)); /* with the NUL it is more than there are bytes */
    assert_true(b.failed == ERR_LIMIT || b.failed == ERR_NOMEM);
    assert_int_equal(b.len, 1);
    buf_release(&b);
}

static void growing_keeps_what_is_there(void **state)
{
    struct buf b;
    size_t i;

    buf_init(&b, 1 << 20);
    for (i = 0; i < 100000; i++)
        buf_char(&b, (char)('a' + i % 26));
    assert_int_equal(b.len, 100000);
    for (i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    buf_release(&b);
}

static void detaching_gives_the_memory_away(void **state)
{
    struct buf b;
    size_t len;
    char *data;

    buf_init(&b, 100);
    buf_str(&b, "mine");
    data = buf_detach(&b, &len);
    assert_string_equal(data, "mine");
    assert_int_equal(len, 4);
    free(data);
    assert_null(b.data);
    assert_int_equal(b.max, 100);
    buf_str(&b, "yours");
    assert_string_equal(b.data, "yours");
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_always_terminated),
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(the_maximum_holds_to_the_byte),
        cmocka_unit_test(after_a_failure_nothing_is_appended),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(growing_keeps_what_is_there),
        cmocka_unit_test(detaching_gives_the_memory_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
