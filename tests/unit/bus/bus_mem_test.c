/* The suite over the bus in memory, and what only it has: simulated time, deletion, expiry. */
#include "bus_suite.h"

#include <stdio.h>

#include "platform/bus/bus_int.h"

static int trim(struct bus_suite *s, const char *topic, int32_t partition, int64_t low)
{
    struct err e = ERR_INIT;

    return bus_mem_trim(s->bus, topic, partition, low, &e);
}

static struct bus_suite suite;

static int setup(void **state)
{
    struct err e = ERR_INIT;

    memset(&suite, 0, sizeof suite);
    snprintf(suite.prefix, sizeof suite.prefix, "test");
    suite.patience_ms = 3000;
    suite.trim = trim;
    *state = &suite;
    return clock_real(&suite.clock, &e) < 0 || bus_mem(&suite.bus, suite.clock, &e) < 0;
}

static int teardown(void **state)
{
    (void)state;
    bus_free(suite.bus);
    clock_free(suite.clock);
    return 0;
}

/* org.apache.kafka.common.utils.UtilsTest */
static void murmur2_is_javas(void **state)
{
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(bus_murmur2(known[i].key, strlen(known[i].key)),
                         (uint32_t)known[i].hash & 0x7fffffffu);
}

/* --- fibers on simulated time: two consumers, one of which stops polling --- */

struct world {
    struct clock *clock;
    struct bus *bus;
    int received[2];
    bool lost;
};

struct member {
    struct world *w;
    struct bus_consumer *c;
    int number;
    int64_t sleeps_at; /* after so many messages; -1: never */
};

static void on_assigned(void *arg, const struct bus_partition *list, size_t n)
{
    struct member *m = arg;
    struct err e = ERR_INIT;
    int64_t at;
    size_t i;

    for (i = 0; i < n; i++) {
        assert_int_equal(bus_committed(m->c, list[i].topic, list[i].partition, &at, &e), 0);
        assert_int_equal(bus_seek(m->c, list[i].topic, list[i].partition, at < 0 ? 0 : at, &e), 0);
    }
}

static void on_revoked(void *arg, const struct bus_partition *list, size_t n, bool lost)
{
    struct member *m = arg;

    (void)list, (void)n;
    if (lost)
        m->w->lost = true;
}

static void consume(void *arg)
{
    struct member *m = arg;
    const char *topic = "t";
    struct bus_consumer_options o = {.group = "g", .topics = &topic, .topic_count = 1};
    struct err e = ERR_INIT;
    struct bus_message *msg;
    int rc;

    o.rebalance = (struct bus_rebalance){on_assigned, on_revoked, m};
    assert_int_equal(bus_consumer_open(m->w->bus, &o, &m->c, &e), 0);
    while (!clock_stopping(m->w->clock)) {
        rc = bus_poll(m->c, 500, &msg, &e);
        assert_true(rc >= 0);
        if (!msg)
            continue;
        if (m->w->received[m->number] == m->sleeps_at) {
            clock_sleep_ms(m->w->clock, 30000); /* longer than its session */
            rc = bus_commit(m->c, msg->topic, msg->partition, msg->offset + 1, &e);
            assert_int_equal(rc, ERR_FENCED);
        } else {
            assert_int_equal(bus_commit(m->c, msg->topic, msg->partition, msg->offset + 1, &e), 0);
        }
        m->w->received[m->number]++;
        bus_message_free(m->c, msg);
    }
    bus_consumer_free(m->c);
}

static void produce(void *arg)
{
    struct world *w = arg;
    struct bus_producer_options o = {0};
    struct bus_producer *p = NULL;
    struct err e = ERR_INIT;
    int i;

    assert_int_equal(bus_producer_open(w->bus, &o, NULL, NULL, &p, &e), 0);
    for (i = 0; i < 200; i++) {
        struct bus_message m = {.topic = "t", .partition = i % 2, .value = "x", .value_len = 1};

        assert_int_equal(bus_send(p, &m, NULL, &e), 0);
        assert_int_equal(bus_flush(p, 1000, &e), 0);
        clock_sleep_ms(w->clock, 100);
    }
    bus_producer_free(p);
    clock_sleep_ms(w->clock, 60000);
    clock_stop(w->clock);
}

static void runs_in_fibers_on_simulated_time(void **state)
{
    struct world w = {0};
    struct member a = {&w, NULL, 0, 20}, b = {&w, NULL, 1, -1};
    struct bus_topic topic = {"t", 2, NULL};
    struct task *task[3];

    (void)state;
    ok(clock_sim(&w.clock, 42, &e));
    ok(bus_mem(&w.bus, w.clock, &e));
    ok(bus_create_topics(w.bus, &topic, 1, &e));
    ok(clock_go(w.clock, "a", consume, &a, &task[0], &e));
    ok(clock_go(w.clock, "b", consume, &b, &task[1], &e));
    ok(clock_go(w.clock, "p", produce, &w, &task[2], &e));
    clock_sim_run(w.clock, 600000);
    assert_true(w.lost);
    assert_true(w.received[0] > 20);
    assert_true(w.received[0] + w.received[1] >= 200); /* at least once */
    bus_free(w.bus);
    clock_free(w.clock);
}

static void an_open_transaction_expires(void **state)
{
    struct bus_producer_options o = {.transactional_id = "x"};
    struct bus_topic topic = {"t", 1, NULL};
    struct bus_message m = {.topic = "t", .partition = 0, .value = "x", .value_len = 1};
    struct bus_producer *crashed = NULL, *slow = NULL;
    struct clock *clock;
    struct bus *bus;
    int64_t low, high;

    (void)state;
    ok(clock_sim(&clock, 1, &e));
    ok(bus_mem(&bus, clock, &e));
    ok(bus_create_topics(bus, &topic, 1, &e));
    ok(bus_producer_open(bus, &o, NULL, NULL, &crashed, &e));
    o.transactional_id = "y";
    ok(bus_producer_open(bus, &o, NULL, NULL, &slow, &e));
    ok(bus_begin(crashed, &e));
    ok(bus_send(crashed, &m, NULL, &e));
    bus_producer_free(crashed); /* as a crash leaves it */
    ok(bus_begin(slow, &e));
    ok(bus_send(slow, &m, NULL, &e));
    ok(bus_watermarks(bus, "t", 0, &low, &high, &e));
    assert_int_equal(high, 0);
    clock_sleep_ms(clock, 61000);
    ok(bus_watermarks(bus, "t", 0, &low, &high, &e));
    assert_int_equal(high, 4); /* two records, two markers */
    fails(ERR_FENCED, bus_commit_transaction(slow, &e));
    bus_producer_free(slow);
    bus_free(bus);
    clock_free(clock);
}

/* --- an offset that comes behind the end of its transaction --- */

struct late {
    struct clock *clock;
    struct bus *bus;
    struct bus_consumer *c;
    struct bus_producer *p;
};

static void late_open(struct late *l)
{
    const struct bus_consumer_options c = {
        .group = "g", .topics = (const char *const[]){"t"}, .topic_count = 1};
    struct bus_topic topic = {"t", 1, NULL};

    ok(clock_sim(&l->clock, 1, &e));
    ok(bus_mem(&l->bus, l->clock, &e));
    ok(bus_create_topics(l->bus, &topic, 1, &e));
    ok(bus_consumer_open(l->bus, &c, &l->c, &e));
    l->p = NULL;
}

static void late_close(struct late *l)
{
    bus_producer_free(l->p);
    bus_consumer_free(l->c);
    bus_free(l->bus);
    clock_free(l->clock);
}

static void reopen(struct late *l)
{
    const struct bus_producer_options o = {.transactional_id = "x"};

    bus_producer_free(l->p);
    ok(bus_producer_open(l->bus, &o, NULL, NULL, &l->p, &e));
}

static void arrive(struct late *l, int64_t offset)
{
    ok(bus_mem_late_offset(l->bus, "x", "g", "t", 0, offset, &e));
}

static void begin(struct late *l, int64_t offset)
{
    ok(bus_begin(l->p, &e));
    if (offset >= 0)
        ok(bus_send_offset(l->p, l->c, "t", 0, offset, &e));
}

static void still_pending(struct late *l)
{
    int64_t at, began = clock_mono_ms(l->clock);

    fails(ERR_TIMEOUT, bus_committed(l->c, "t", 0, &at, &e));
    assert_in_range(clock_mono_ms(l->clock) - began, BUS_STABLE_MS, BUS_STABLE_MS + 1000);
}

static void settled_at(struct late *l, int64_t offset)
{
    int64_t at;

    ok(bus_committed(l->c, "t", 0, &at, &e));
    assert_int_equal(at, offset);
}

static void a_late_offset_stays_pending(void **state)
{
    struct late l;

    (void)state;
    late_open(&l);
    reopen(&l);
    begin(&l, 5);
    ok(bus_commit_transaction(l.p, &e));
    arrive(&l, 3);
    still_pending(&l);
    begin(&l, -1); /* the coordinator hears nothing of it */
    ok(bus_abort_transaction(l.p, &e));
    still_pending(&l);
    reopen(&l); /* of what is not open, neither */
    still_pending(&l);
    begin(&l, 0);
    ok(bus_abort_transaction(l.p, &e));
    settled_at(&l, 5);
    bus_producer_free(l.p);
    l.p = NULL;
    arrive(&l, 4); /* nobody has the id now */
    still_pending(&l);
    reopen(&l);
    begin(&l, 6);
    ok(bus_commit_transaction(l.p, &e)); /* its own came after */
    settled_at(&l, 6);
    late_close(&l);
}

static void a_late_offset_may_be_committed(void **state)
{
    struct late l;

    (void)state;
    late_open(&l);
    reopen(&l);
    begin(&l, 5);
    arrive(&l, 3);
    ok(bus_commit_transaction(l.p, &e));
    settled_at(&l, 3);
    begin(&l, 7);
    arrive(&l, 4);
    reopen(&l); /* which aborts it */
    settled_at(&l, 3);
    late_close(&l);
}

static void a_deleted_topic_is_gone(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "deleted", 1, NULL);
    struct bus_producer_options o = {.transactional_id = "d"};
    struct bus_message m = {.topic = topic, .partition = 0, .value = "x", .value_len = 1};
    struct bus_producer *p = NULL;
    int64_t low, high;

    ok(bus_producer_open(s->bus, &o, NULL, NULL, &p, &e));
    ok(bus_begin(p, &e));
    ok(bus_send(p, &m, NULL, &e));
    ok(bus_mem_delete_topic(s->bus, topic, &e));
    fails(ERR_NOT_FOUND, bus_watermarks(s->bus, topic, 0, &low, &high, &e));
    fails(ERR_NOT_FOUND, bus_mem_delete_topic(s->bus, topic, &e));
    suite_topic(s, "deleted", 1, NULL);
    ok(bus_commit_transaction(p, &e));
    ok(bus_watermarks(s->bus, topic, 0, &low, &high, &e));
    assert_int_equal(high, 0);
    bus_producer_free(p);
}

/* --- real threads --- */

static void burst(void *arg)
{
    struct bus_suite *s = arg;
    struct bus_producer_options o = {0};
    struct bus_producer *p = NULL;
    struct err e = ERR_INIT;
    int i;

    assert_int_equal(bus_producer_open(s->bus, &o, NULL, NULL, &p, &e), 0);
    for (i = 0; i < 500; i++)
        assert_int_equal(suite_send(s, p, "test.threads", NULL, "x"), 0);
    assert_int_equal(bus_flush(p, 1000, &e), 0);
    bus_producer_free(p);
}

static void threads_share_a_bus(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "threads", 3, NULL);
    struct bus_consumer_options o = {.group = "threads", .topics = &topic, .topic_count = 1};
    struct bus_consumer *c = NULL;
    struct bus_message *m;
    struct task *task[4];
    int i, got = 0;

    for (i = 0; i < 4; i++)
        ok(clock_go(s->clock, "burst", burst, s, &task[i], &e));
    ok(bus_consumer_open(s->bus, &o, &c, &e));
    for (i = 0; got < 2000 && i < 10000; i++) {
        ok(bus_poll(c, 100, &m, &e));
        if (m) {
            got++;
            bus_message_free(c, m);
        }
    }
    assert_int_equal(got, 2000);
    for (i = 0; i < 4; i++)
        clock_join(s->clock, task[i]);
    bus_consumer_free(c);
}

static const struct CMUnitTest own_cases[] = {
    cmocka_unit_test(murmur2_is_javas),
    cmocka_unit_test(runs_in_fibers_on_simulated_time),
    cmocka_unit_test(an_open_transaction_expires),
    cmocka_unit_test(a_late_offset_stays_pending),
    cmocka_unit_test(a_late_offset_may_be_committed),
    cmocka_unit_test(a_deleted_topic_is_gone),
    cmocka_unit_test(threads_share_a_bus),
};

int main(void)
{
    int failed =
        _cmocka_run_group_tests("bus_mem", bus_suite_cases, bus_suite_count, setup, teardown);

    return failed + cmocka_run_group_tests_name("bus_mem only", own_cases, setup, teardown);
}
