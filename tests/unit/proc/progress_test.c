/* On simulated time, into a pipe. */
#include "platform/proc/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/clock/clock.h"

struct world {
    struct clock *clock;
    int ends[2];
    char text[65536];
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e = ERR_INIT;

    *state = w;
    if (pipe(w->ends) < 0 || fcntl(w->ends[0], F_SETFL, O_NONBLOCK) < 0)
        return -1;
    return clock_sim(&w->clock, 1, &e);
}

static int teardown(void **state)
{
    struct world *w = *state;

    close(w->ends[0]);
    close(w->ends[1]);
    clock_free(w->clock);
    free(w);
    return 0;
}

static const char *output(struct world *w)
{
    ssize_t n = read(w->ends[0], w->text, sizeof w->text - 1);

    w->text[n < 0 ? 0 : n] = 0;
    return w->text;
}

static struct progress *fresh(struct world *w, enum progress_style style)
{
    struct err e = ERR_INIT;
    struct progress *p = NULL;

    assert_int_equal(progress_new(&p, w->clock, w->ends[1], style, &e), 0);
    return p;
}

static void lines_now_and_then(void **state)
{
    struct world *w = *state;
    struct progress *p = fresh(w, PROGRESS_AUTO); /* a pipe is no terminal */
    int i;

    progress_step(p, "Uploading", 25000, "documents");
    assert_string_equal(output(w), "");
    for (i = 1; i <= 250; i++) {
        clock_sleep_ms(w->clock, 100);
        progress_at(p, i * 100, i == 250 ? "last\x1bnote" : NULL);
    }
    progress_done(p, NULL);
    progress_done(p, NULL);
    progress_say(p, "%d files", 3);
    assert_string_equal(output(w),
                        "Uploading   40%  10,000 of 25,000 documents  1,000/s  15 s left\n"
                        "Uploading   80%  20,000 of 25,000 documents  1,000/s  5.0 s left\n"
                        "Uploading  100%  25,000 documents  1,000/s  last note  25 s\n"
                        "3 files\n");
    progress_free(p);
}

static void unknown_totals_and_bytes(void **state)
{
    struct world *w = *state;
    struct progress *p = fresh(w, PROGRESS_LINES);

    progress_step(p, "Reading", 0, "bytes");
    clock_sleep_ms(w->clock, 2000);
    progress_at(p, 3 << 20, NULL);
    progress_step(p, "Waiting", 0, NULL); /* ends the one before */
    clock_sleep_ms(w->clock, 130000);
    progress_done(p, "ready");
    assert_string_equal(output(w),
                        "Reading  3.0 MiB  1.5 MiB/s  2.0 s\nWaiting  ready  2 min 10 s\n");
    progress_free(p);
}

static void a_bar_redraws_itself(void **state)
{
    struct world *w = *state;
    struct progress *p = fresh(w, PROGRESS_BAR);

    progress_step(p, "Training", 10, "steps");
    assert_string_equal(output(w), "\r\x1b[KTraining  [....................]    0%  0 of 10 steps "
                                   " 0.0 s");
    clock_sleep_ms(w->clock, 10);
    progress_at(p, 1, NULL); /* too soon to be drawn */
    assert_string_equal(output(w), "");
    clock_sleep_ms(w->clock, 990);
    progress_at(p, 5, "loss 0.1");
    assert_string_equal(output(w), "\r\x1b[KTraining  [##########..........]   50%  5 of 10 steps "
                                   " 5.0/s  loss 0.1  1.0 s");
    progress_say(p, "hello");
    assert_int_equal(strncmp(output(w), "\r\x1b[Khello\n\r\x1b[KTraining", 22), 0);
    progress_at(p, 10, NULL);
    progress_done(p, "");
    assert_string_equal(output(w), "\r\x1b[KTraining  [####################]  100%  10 steps  "
                                   "10/s  1.0 s\n");
    progress_step(p, "A very long title that leaves hardly any room for the rest", 1000000,
                  "things with long names");
    assert_true(strlen(output(w)) <= 79 + 4);
    progress_free(p);
    assert_string_equal(output(w), "\n");
}

static void quiet_is_quiet(void **state)
{
    struct world *w = *state;
    struct progress *p = fresh(w, PROGRESS_QUIET);

    progress_step(p, "x", 1, "y");
    clock_sleep_ms(w->clock, 60000);
    progress_at(p, 1, NULL);
    progress_say(p, "z");
    progress_done(p, NULL);
    progress_free(p);
    progress_free(NULL);
    assert_string_equal(output(w), "");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(lines_now_and_then), CASE(unknown_totals_and_bytes),
                                       CASE(a_bar_redraws_itself), CASE(quiet_is_quiet)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
