/* One suite over both clocks, then what only one of them promises. */
#include "platform/clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include <cmocka.h>

#define NAPPERS 5

static int setup_real(void **state)
{
    struct err e = ERR_INIT;

    return clock_real((struct clock **)state, &e);
}

static int setup_sim(void **state)
{
    struct err e = ERR_INIT;

    return clock_sim((struct clock **)state, 7, &e);
}

static int teardown(void **state)
{
    clock_free(*state);
    return 0;
}

static void time_moves_forward(void **state)
{
    struct clock *c = *state;
    int64_t mono = clock_mono_ms(c), wall = clock_wall_ms(c);

    assert_true(wall > INT64_C(1700000000000));
    clock_sleep_ms(c, 30);
    assert_in_range(clock_mono_ms(c) - mono, 29, 2000);
    assert_in_range(clock_wall_ms(c) - wall, 29, 2000);
    clock_sleep_ms(c, 0);
    clock_sleep_ms(c, -5);
    assert_in_range(clock_mono_ms(c) - mono, 29, 2000);
}

struct napper {
    struct clock *clock;
    int64_t ms, woke_ms;
    atomic_int *awake;
};

static void nap(void *arg)
{
    struct napper *n = arg;

    clock_sleep_ms(n->clock, n->ms);
    n->woke_ms = clock_mono_ms(n->clock);
    atomic_fetch_add(n->awake, 1);
}

static void tasks_run_side_by_side(void **state)
{
    struct clock *c = *state;
    struct napper n[NAPPERS];
    struct task *t[NAPPERS];
    struct err e = ERR_INIT;
    atomic_int awake = 0;
    int64_t start = clock_mono_ms(c);
    int i;

    for (i = 0; i < NAPPERS; i++) {
        n[i] = (struct napper){.clock = c, .ms = 20 * (NAPPERS - i), .awake = &awake};
        assert_int_equal(clock_go(c, "nap", nap, &n[i], &t[i], &e), 0);
    }
    for (i = 0; i < NAPPERS; i++)
        clock_join(c, t[i]);
    assert_int_equal(atomic_load(&awake), NAPPERS);
    for (i = 0; i < NAPPERS; i++)
        assert_true(n[i].woke_ms - start >= n[i].ms - 1);
    clock_join(c, NULL);
}

static void detached_task_frees_itself(void **state)
{
    struct clock *c = *state;
    struct err e = ERR_INIT;
    atomic_int awake = 0;
    struct napper n = {.clock = c, .ms = 1, .awake = &awake};

    assert_int_equal(clock_go(c, "nap", nap, &n, NULL, &e), 0);
    while (!atomic_load(&awake))
        clock_sleep_ms(c, 1);
    clock_sleep_ms(c, 20); /* its last steps */
}

static void start_nested(void *arg)
{
    struct napper *n = arg;
    struct err e = ERR_INIT;
    struct task *t;

    assert_int_equal(clock_go(n->clock, "inner", nap, n, &t, &e), 0);
    clock_join(n->clock, t);
    atomic_fetch_add(n->awake, 1);
}

static void a_task_joins_a_task(void **state)
{
    struct clock *c = *state;
    struct err e = ERR_INIT;
    atomic_int awake = 0;
    struct napper n = {.clock = c, .ms = 5, .awake = &awake};
    struct task *t;

    assert_int_equal(clock_go(c, "outer", start_nested, &n, &t, &e), 0);
    clock_join(c, t);
    assert_int_equal(atomic_load(&awake), 2);
}

static void stop_wakes_sleepers(void **state)
{
    struct clock *c = *state;
    struct err e = ERR_INIT;
    atomic_int awake = 0;
    struct napper n = {.clock = c, .ms = 3600 * 1000, .awake = &awake};
    struct task *t;
    int64_t start = clock_mono_ms(c);

    assert_int_equal(clock_go(c, "nap", nap, &n, &t, &e), 0);
    assert_false(clock_stopping(c));
    clock_sleep_ms(c, 20);
    clock_stop(c);
    clock_stop(c);
    assert_true(clock_stopping(c));
    clock_join(c, t);
    assert_in_range(clock_mono_ms(c) - start, 0, 5000);
    start = clock_mono_ms(c);
    clock_sleep_ms(c, 3600 * 1000); /* short, and yet a pause */
    assert_in_range(clock_mono_ms(c) - start, 40, 5000);
}

static void random_is_not_constant(void **state)
{
    struct clock *c = *state;
    char a[33], b[33];
    unsigned char bytes[37] = {0}, zero[37] = {0};

    clock_nonce(c, a);
    clock_nonce(c, b);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_not_equal(a, b);
    assert_true(clock_random_u64(c) != clock_random_u64(c));
    clock_random(c, bytes, sizeof bytes);
    assert_memory_not_equal(bytes, zero, sizeof zero);
    clock_random(c, bytes, 0);
}

static void backoff_grows_to_its_cap(void **state)
{
    struct clock *c = *state;
    int attempt, i;
    int64_t most = 0;

    for (attempt = 0; attempt < 80; attempt++) {
        int64_t top = attempt < 4 ? INT64_C(100) << attempt : 1000;

        for (i = 0; i < 50; i++) {
            int64_t ms = clock_backoff_ms(c, attempt, 100, 1000);

            assert_in_range(ms, 0, top);
            most = ms > most ? ms : most;
        }
    }
    assert_true(most > 800);
    assert_in_range(clock_backoff_ms(c, 3, INT64_MAX / 2, INT64_MAX), 0, INT64_MAX);
    assert_int_equal(clock_backoff_ms(c, 3, 0, 1000), 0);
}

static struct clock *alarmed;

static void on_alarm(int signum)
{
    clock_stop(alarmed);
}

static void stop_from_a_signal_handler(void **state)
{
    struct clock *c = *state;
    struct sigaction act = {.sa_handler = on_alarm}, old;
    int64_t start = clock_mono_ms(c);

    alarmed = c;
    sigaction(SIGALRM, &act, &old);
    ualarm(30000, 0);
    clock_sleep_ms(c, 60000);
    sigaction(SIGALRM, &old, NULL);
    assert_true(clock_stopping(c));
    assert_in_range(clock_mono_ms(c) - start, 20, 20000);
}

/* A trace of five tasks that sleep random times: what a seed must fix. */
struct tracer {
    struct clock *clock;
    char *trace;
    char name;
};

static void trace_task(void *arg)
{
    struct tracer *t = arg;
    int i;

    for (i = 0; i < 20; i++) {
        clock_sleep_ms(t->clock, (int64_t)(clock_random_u64(t->clock) % 4));
        strncat(t->trace, &t->name, 1);
    }
}

static void run_trace(uint64_t seed, char *trace)
{
    struct tracer tasks[NAPPERS];
    struct task *t[NAPPERS];
    struct err e = ERR_INIT;
    struct clock *c;
    int i;

    trace[0] = 0;
    assert_int_equal(clock_sim(&c, seed, &e), 0);
    for (i = 0; i < NAPPERS; i++) {
        tasks[i] = (struct tracer){c, trace, (char)('a' + i)};
        assert_int_equal(clock_go(c, "trace", trace_task, &tasks[i], &t[i], &e), 0);
    }
    clock_sim_run(c, 1000);
    for (i = 0; i < NAPPERS; i++)
        clock_join(c, t[i]);
    clock_free(c);
}

static void a_seed_replays(void **state)
{
    char a[128], b[128], other[128];

    run_trace(1, a);
    run_trace(1, b);
    run_trace(2, other);
    assert_int_equal(strlen(a), 20 * NAPPERS);
    assert_string_equal(a, b);
    assert_string_not_equal(a, other);
}

static void forever(void *arg)
{
    struct clock *c = arg;

    for (;;)
        clock_sleep_ms(c, 0);
}

/* A day passes in no time; a loop of empty sleeps doesn't stop the clock; unfinished tasks can be
 * dropped. */
static void simulated_time_jumps(void **state)
{
    struct err e = ERR_INIT;
    struct clock *c;
    atomic_int awake = 0;
    struct napper n = {.ms = 24 * 3600 * 1000, .awake = &awake};
    struct task *t;

    assert_int_equal(clock_sim(&c, 3, &e), 0);
    n.clock = c;
    assert_int_equal(clock_go(c, "nap", nap, &n, &t, &e), 0);
    clock_sim_run(c, 1000);
    assert_int_equal(clock_mono_ms(c), 1000);
    assert_int_equal(atomic_load(&awake), 0);
    clock_sim_run(c, INT64_MAX);
    assert_int_equal(clock_mono_ms(c), 24 * 3600 * 1000);
    assert_int_equal(atomic_load(&awake), 1);
    clock_join(c, t);
    assert_int_equal(clock_go(c, "forever", forever, c, NULL, &e), 0);
    clock_sleep_ms(c, 10);
    assert_int_equal(clock_mono_ms(c), 24 * 3600 * 1000 + 10);
    clock_free(c);
}

#define BOTH(test)                                                                                 \
    {#test " (real)", test, setup_real, teardown, NULL},                                           \
    {                                                                                              \
#test " (sim)", test, setup_sim, teardown, NULL                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(time_moves_forward),
        BOTH(tasks_run_side_by_side),
        BOTH(detached_task_frees_itself),
        BOTH(a_task_joins_a_task),
        BOTH(stop_wakes_sleepers),
        BOTH(random_is_not_constant),
        BOTH(backoff_grows_to_its_cap),
        {"stop_from_a_signal_handler", stop_from_a_signal_handler, setup_real, teardown, NULL},
        cmocka_unit_test(a_seed_replays),
        cmocka_unit_test(simulated_time_jumps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
