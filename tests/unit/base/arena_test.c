#include "platform/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void memory_is_zeroed_and_aligned(void **state)
{
    struct arena a;
    size_t n, i;

    arena_init(&a, 1 << 22);
    for (n = 0; n < 300; n++) {
        unsigned char *p = arena_alloc(&a, n * 7);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (i = 0; i < n * 7; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xA5, n * 7); /* the next one must not be this one */
    }
    arena_release(&a);
    arena_release(&a);
}

static void the_maximum_holds(void **state)
{
    struct arena a;

    arena_init(&a, 64);
    assert_non_null(arena_alloc(&a, 33)); /* 48 of them */
    assert_null(arena_alloc(&a, 17));
    assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 1));
    arena_release(&a);
}

static void sizes_that_overflow_are_refused(void **state)
{
    struct arena a;

    arena_init(&a, SIZE_MAX);
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 15));
    assert_null(arena_dup(&a, "x", SIZE_MAX));
    assert_non_null(arena_array(&a, 0, 8));
    assert_non_null(arena_array(&a, 8, 0));
    arena_release(&a);
}

static void copies_are_terminated(void **state)
{
    struct arena a;
    char *p;

    arena_init(&a, 1000);
    p = arena_strndup(&a, "labels", 5);
    assert_string_equal(p, "label");
    p = arena_dup(&a, "a\0b", 3);
    assert_memory_equal(p, "a\0b", 4);
    p = arena_dup(&a, NULL, 0);
    assert_string_equal(p, "");
    arena_release(&a);
}

static void reset_starts_again_in_the_first_block(void **state)
{
    struct arena a;
    char *first, *again;
    size_t i;

    arena_init(&a, 1 << 20);
    first = arena_alloc(&a, 100);
    memset(first, 'x', 100);
    for (i = 0; i < 20; i++)
        assert_non_null(arena_alloc(&a, 5000));
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    again = arena_alloc(&a, 100);
    assert_ptr_equal(again, first);
    assert_int_equal(again[99], 0);
    arena_release(&a);

    arena_init(&a, 100);
    arena_reset(&a); /* nothing was allocated yet */
    assert_non_null(arena_alloc(&a, 1));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(the_maximum_holds),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(copies_are_terminated),
        cmocka_unit_test(reset_starts_again_in_the_first_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
