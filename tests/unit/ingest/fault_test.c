/*
 * Every call that ingest makes through its ports fails once, loses its answer
 * once, or is the last thing that the process does. Whatever it was: each record
 * is in exactly one segment in the end.
 */
#include "tests/unit/ingest/world.h"

enum { CALLS_MAX = 3000 };

static void fill(struct world *w)
{
    char id[20];
    int i;

    for (i = 0; i < 7; i++) {
        snprintf(id, sizeof id, "d%d", i);
        world_put(w, i % 2, id, "l");
    }
    world_transaction(w, 0, 2, false);
    world_send(w, 0, "bad", "broken", 6, NULL, NULL);
    world_transaction(w, 0, 2, true);
    world_seal(w, 0);
    world_send(w, 1, "d1", NULL, 0, NULL, NULL);
}

static bool whole(struct world *w)
{
    const struct segment_name name = {.owner = "acme", .dataset = "news"};
    struct chain_seen seen;
    int64_t low, high;

    ok(bus_watermarks(w->bus, TOPIC, 0, &low, &high, &e));
    chain_check(w->blob, NULL, TOPIC, &name, 0, &seen);
    return seen.next == high;
}

/* False: the fault's call was never reached, all are tried. */
static bool one(enum fault_kind kind, int at)
{
    struct ingest *in;
    struct world w;
    bool fired;
    int i;

    world_open(&w);
    w.o.segment_age_ms = 400;
    w.o.segment_records = 3;
    w.kind = kind;
    w.at = at;
    fill(&w);
    in = world_ingest(&w);
    for (i = 0; i < 40 && !w.dead && !(whole(&w) && i > 10); i++)
        world_run(&w, in, 100);
    fired = w.fired;
    w.armed = w.dead; /* a dead process does nothing more */
    if (w.dead) {
        ingest_free(in);
        w.armed = w.dead = false;
        w.kind = FAULT_NONE;
        in = world_ingest(&w);
    }
    world_run(&w, in, 3000);
    assert_int_equal(world_check_all(&w, 0).rejected, 1);
    assert_int_equal(world_check_all(&w, 0).documents, 4 + 2);
    assert_int_equal(world_check_all(&w, 0).seals, 1);
    assert_int_equal(world_check_all(&w, 1).documents, 3);
    assert_int_equal(world_check_all(&w, 1).tombstones, 1);
    assert_true(world_count(&w, "tripline.rejected.acme") >= 1);
    ingest_free(in);
    world_close(&w);
    return fired;
}

static void sweep(enum fault_kind kind)
{
    int at = 1, quiet = 0;

    /* some calls have no answer to lose: the end is several in a row without a fault */
    for (; at < CALLS_MAX && quiet < 60; at++)
        quiet = one(kind, at) ? 0 : quiet + 1;
    print_message("%d calls\n", at - quiet);
    assert_true(at - quiet > 40);
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

    return cmocka_run_group_tests_name("ingest faults", tests, NULL, NULL);
}
