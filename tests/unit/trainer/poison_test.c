/* Runs that crash their training process, with real ones: tried max_attempts times over all
 * workers, then FAILED with what a person needs. And one whose worker is preempted. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/trainer/world.h"
#include "trainer/job.h"

#define MINUTE 60000

struct poison {
    const char *run, *limits;
    const char *reason[3]; /* all are in it; NULL: no more */
    bool shadowed;         /* no limit of memory holds with a sanitizer */
};

static void expect_failure(const struct poison *p)
{
    struct world w;
    struct node n[2];
    struct run_end end;
    struct arena a;
    char more[128];
    size_t i;

    world_open_real(&w, PROGRAM);
    world_documents(&w, 4, 4);
    snprintf(more, sizeof more, ",\"max_attempts\":2%s", p->limits);
    world_job(&w, p->run, more);
    node_start(&n[0], &w, "a", 0);
    node_start(&n[1], &w, "b", 0);
    assert_int_equal(world_until_end(&w, p->run, MINUTE), JOB_FAILED);
    arena_init(&a, 1 << 20);
    end = world_end(&w, p->run, &a);
    print_message("%s\n", end.reason);
    assert_int_equal(end.attempt, 2);
    assert_non_null(strstr(end.reason, "attempt 2 of 2"));
    assert_non_null(strstr(end.reason, "first words | in attempt of a run"));
    for (i = 0; i < 3 && p->reason[i]; i++)
        assert_non_null(strstr(end.reason, p->reason[i]));
    arena_release(&a);
    node_stop(&n[0]);
    node_stop(&n[1]);
    world_close(&w);
}

static void crashes_are_counted(void **state)
{
    static const struct poison poisons[] = {
        {"segfault", "", {"killed by SIGSEGV"}, false},
        {"oomkiller", "", {"killed by SIGKILL", "out of memory?"}, false},
        {"memory",
         ",\"limits\":{\"memory_bytes\":134217728}",
         {"out of memory", "exit status 70"},
         true},
        {"slow", ",\"limits\":{\"time_seconds\":1}", {"not done within its limit of 1 s"}, false}};
    size_t i;

    for (i = 0; i < sizeof poisons / sizeof poisons[0]; i++) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        if (poisons[i].shadowed)
            continue;
#endif
        expect_failure(&poisons[i]);
    }
}

static void a_preempted_worker_hands_over(void **state)
{
    struct world w;
    struct node n;
    int64_t at;
    int i;

    world_open_real(&w, PROGRAM);
    world_documents(&w, 4, 4);
    world_job(&w, "drained", ",\"max_attempts\":1");
    node_start(&n, &w, "a", 0);
    for (i = 0; i < 200; i++) {
        char phase[256];

        if (!strcmp(world_board(&w, "drained", "phase", phase), "training"))
            break;
        world_run(&w, 100);
    }
    at = clock_mono_ms(w.clock);
    node_stop(&n);
    assert_in_range(clock_mono_ms(w.clock) - at, 0, 10000);
    assert_int_equal(world_state(&w, "drained"), -1);
    assert_true(world_has(&w, "owners/acme/runs/drained/attempts/1/" ATTEMPT_RELEASED));
    assert_int_equal(world_count(&w, "owners/acme/runs/drained/attempts/1/checkpoints/"), 1);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crashes_are_counted),
        cmocka_unit_test(a_preempted_worker_hands_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
