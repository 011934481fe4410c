/*
 * Every call that a publisher makes through its ports fails once, loses its
 * answer once, or is the last thing that the process does. Whatever it was:
 * each finished run has exactly one committed event in the end.
 */
#include "tests/unit/publisher/world.h"

enum { CALLS_MAX = 3000, RUNS = 3 };

static void fill(struct world *w)
{
    char run[20];
    int i;

    for (i = 0; i < RUNS; i++) {
        snprintf(run, sizeof run, "r%d", i);
        facts_run(&w->f, &(struct fact){.run = run});
        facts_done(&w->f, "acme", run);
    }
    facts_done(&w->f, "acme", "r0");
    facts_run(&w->f, &(struct fact){.run = "bad", .state = JOB_FAILED});
    facts_done(&w->f, "acme", "bad");
    facts_send(&w->f, "tripline.done", NULL, "x", 1);
}

/* A trainer's sweep: `done` again for whatever still has its marker. */
static void sweep_open(struct world *w)
{
    char run[20];
    int i;

    for (i = 0; i < RUNS; i++) {
        snprintf(run, sizeof run, "r%d", i);
        if (facts_open(&w->f, "acme", run))
            facts_done(&w->f, "acme", run);
    }
}

static void check(struct world *w)
{
    char run[20];
    int i;

    for (i = 0; i < RUNS; i++) {
        snprintf(run, sizeof run, "r%d", i);
        assert_int_equal(facts_events(&w->f, "acme", run, &w->arena).count, 1);
        assert_false(facts_open(&w->f, "acme", run));
    }
    assert_int_equal(facts_events(&w->f, "acme", NULL, &w->arena).count, RUNS);
    assert_int_equal(facts_current(&w->f, "acme", "search", &w->arena).n, RUNS);
}

/* False: the fault's call was never reached, all are tried. */
static bool one(enum fault_kind kind, int at)
{
    struct publisher *pub;
    struct world w;
    bool reached;

    world_open(&w);
    w.kind = kind;
    w.at = at;
    fill(&w);
    pub = world_publisher(&w);
    world_run(&w, pub, 1500);
    reached = w.calls >= at;
    if (w.dead) {
        w.armed = true; /* a dead process does nothing more */
        publisher_free(pub);
        w.armed = w.dead = false;
        w.kind = FAULT_NONE;
        pub = world_publisher(&w);
    }
    w.kind = FAULT_NONE;
    world_run(&w, pub, 4000);
    sweep_open(&w);
    world_run(&w, pub, 2000);
    check(&w);
    publisher_free(pub);
    world_close(&w);
    return reached;
}

static void sweep(enum fault_kind kind)
{
    int at = 1;

    while (at < CALLS_MAX && one(kind, at))
        at++;
    print_message("%d calls\n", at - 1);
    assert_in_range(at, 60, CALLS_MAX - 1);
}

static void test_failure(void **state)
{
    (void)state;
    sweep(FAULT_BEFORE);
}

static void test_lost_answer(void **state)
{
    (void)state;
    sweep(FAULT_AFTER);
}

static void test_crash_before(void **state)
{
    (void)state;
    sweep(FAULT_CRASH_BEFORE);
}

static void test_crash_after(void **state)
{
    (void)state;
    sweep(FAULT_CRASH_AFTER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_lost_answer),
        cmocka_unit_test(test_crash_before),
        cmocka_unit_test(test_crash_after),
    };

    return cmocka_run_group_tests_name("publisher faults", tests, NULL, NULL);
}
