/* The suite over the board in memory, each case on a board of its own. */
#include "board_suite.h"

#include <stdio.h>
#include <stdlib.h>

static struct board_suite suite;

static void flush(struct board_suite *s)
{
    board_mem_flush(s->board);
}

static int setup(void **state)
{
    struct err e = ERR_INIT;

    memset(&suite, 0, sizeof suite);
    snprintf(suite.key, sizeof suite.key, "tripline:{suite}:key");
    suite.queue = (struct board_queue){"tripline:ring", "tripline:{", "}"};
    suite.flush = flush;
    *state = &suite;
    return clock_real(&suite.clock, &e) < 0 || board_mem(&suite.board, suite.clock, &e) < 0;
}

static int teardown(void **state)
{
    (void)state;
    board_free(suite.board);
    clock_free(suite.clock);
    return 0;
}

int main(void)
{
    struct CMUnitTest *cases = calloc(board_suite_count, sizeof *cases);
    size_t i;
    int failed;

    for (i = 0; cases && i < board_suite_count; i++) {
        cases[i] = board_suite_cases[i];
        cases[i].setup_func = setup;
        cases[i].teardown_func = teardown;
    }
    failed = _cmocka_run_group_tests("board_mem", cases, board_suite_count, NULL, NULL);
    free(cases);
    return failed;
}
