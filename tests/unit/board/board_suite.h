/*
 * One suite for every implementation of the board. The state of each case is a
 * struct board_suite with an empty board.
 */
#ifndef TESTS_UNIT_BOARD_BOARD_SUITE_H
#define TESTS_UNIT_BOARD_BOARD_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "platform/board/board.h"
#include "platform/clock/clock.h"

struct board_suite {
    struct board *board;
    struct clock *clock;
    char key[64];                        /* "...:{suite}:key": a key of one's own */
    struct board_queue queue;            /* names that nobody else uses */
    void (*flush)(struct board_suite *); /* what FLUSHALL does, to this suite's keys */
    char ring[64], prefix[64];
};

extern const struct CMUnitTest board_suite_cases[];
extern const size_t board_suite_count;

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

#define fails(code, call)                                                                          \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int fails_rc = (call);                                                                     \
        if (fails_rc != (code))                                                                    \
            fail_msg("%s: %s (%s), not %s", #call, err_name(fails_rc), e.text, err_name(code));    \
        assert_true(e.text[0]);                                                                    \
    } while (0)

#endif
