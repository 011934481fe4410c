/* The suite over a real Kafka, and what only a network has: a broker that is not there. */
#include "tests/unit/bus/bus_suite.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#include "platform/bus/bus_kafka_int.h"

static struct bus_suite suite;
static const char *const fast[] = {"heartbeat.interval.ms=500", NULL};

/* Retention, hurried: DeleteRecords by the Admin API. */
static int trim(struct bus_suite *s, const char *topic, int32_t partition, int64_t low)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[200];
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_DeleteRecords_t *request;
    rd_kafka_queue_t *q;
    rd_kafka_event_t *ev;
    rd_kafka_t *rk;
    int rc;

    (void)s;
    rd_kafka_conf_set(conf, "bootstrap.servers", getenv("TRIPLINE_KAFKA"), why, sizeof why);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    q = rd_kafka_queue_new(rk);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = low;
    request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(rk, &request, 1, NULL, q);
    ev = rd_kafka_queue_poll(q, 20000);
    rc = !ev || rd_kafka_event_error(ev);
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
    return rc;
}

static int setup(void **state)
{
    struct bus_kafka_options o = {.brokers = getenv("TRIPLINE_KAFKA"), .extra = fast};
    struct err e = ERR_INIT;
    char nonce[33];

    memset(&suite, 0, sizeof suite);
    suite.patience_ms = 20000;
    suite.trim = trim;
    *state = &suite;
    if (clock_real(&suite.clock, &e) < 0)
        return -1;
    clock_nonce(suite.clock, nonce);
    snprintf(suite.prefix, sizeof suite.prefix, "bustest-%.12s", nonce);
    return bus_kafka(&suite.bus, &o, suite.clock, &e);
}

static int teardown(void **state)
{
    (void)state;
    bus_free(suite.bus);
    clock_free(suite.clock);
    return 0;
}

static void a_missing_broker_is_an_error_in_time(void **state)
{
    struct bus_suite *s = *state;
    struct bus_kafka_options o = {.brokers = "127.0.0.1:1", .timeout_ms = 1500};
    struct bus_producer_options po = {.message_timeout_ms = 1500};
    const char *topic = "t";
    struct bus_consumer_options co = {.group = "g", .topics = &topic, .topic_count = 1};
    struct bus_topic t = {"t", 1, NULL};
    struct bus_message m = {.topic = "t", .partition = -1, .value = "x", .value_len = 1};
    struct bus_message *got = NULL;
    struct bus_producer *p = NULL;
    struct bus_consumer *c = NULL;
    struct err why = ERR_INIT;
    struct bus *bus = NULL;
    int64_t low, high, began = clock_mono_ms(s->clock);
    int rc = 0;

    ok(bus_kafka(&bus, &o, s->clock, &e));
    rc = bus_watermarks(bus, "t", 0, &low, &high, &why);
    assert_int_equal(rc, ERR_PEER);
    assert_non_null(strstr(why.text, "127.0.0.1:1"));
    assert_non_null(strstr(why.text, "TRIPLINE_KAFKA"));
    fails(ERR_PEER, bus_create_topics(bus, &t, 1, &e));
    ok(bus_producer_open(bus, &po, NULL, NULL, &p, &e));
    ok(bus_send(p, &m, NULL, &e));
    fails(ERR_PEER, bus_flush(p, 5000, &e));
    ok(bus_send(p, &m, NULL, &e));
    bus_producer_free(p);
    po.transactional_id = "x";
    fails(ERR_PEER, bus_producer_open(bus, &po, NULL, NULL, &p, &e));
    ok(bus_consumer_open(bus, &co, &c, &e));
    for (rc = 0; rc == 0 && clock_mono_ms(s->clock) - began < 30000;)
        rc = bus_poll(c, 500, &got, &why);
    assert_int_equal(rc, ERR_PEER);
    bus_consumer_free(c);
    bus_free(bus);
    assert_true(clock_mono_ms(s->clock) - began < 20000);
}

static void count_assigned(void *arg, const struct bus_partition *list, size_t n)
{
    *(size_t *)arg = n;
}

/* Each seek is an assignment of all partitions; that they follow each other at once is no harm. */
static void seeks_may_follow_each_other_at_once(void **state)
{
    enum { PARTITIONS = 12, ROUNDS = 1500 };
    struct bus_suite *s = *state;
    char topic[80], group[80];
    const char *topics[] = {topic};
    struct bus_topic t = {topic, PARTITIONS, NULL};
    size_t assigned = 0;
    struct bus_consumer_options o = {.group = group,
                                     .topics = topics,
                                     .topic_count = 1,
                                     .rebalance = {count_assigned, NULL, &assigned}};
    int64_t until = clock_mono_ms(s->clock) + s->patience_ms;
    struct bus_message *got = NULL;
    struct bus_consumer *c = NULL;
    int i;

    snprintf(topic, sizeof topic, "%s-seeks", s->prefix);
    snprintf(group, sizeof group, "%s-seeks", s->prefix);
    ok(bus_create_topics(s->bus, &t, 1, &e));
    ok(bus_consumer_open(s->bus, &o, &c, &e));
    while (assigned < PARTITIONS && clock_mono_ms(s->clock) < until)
        ok(bus_poll(c, 100, &got, &e));
    assert_int_equal(assigned, PARTITIONS);
    for (i = 0; i < ROUNDS; i++) {
        ok(bus_seek(c, topic, i % PARTITIONS, 0, &e));
        ok(bus_poll(c, 0, &got, &e));
        assert_null(got);
    }
    bus_consumer_free(c);
}

/* librdkafka does not end while a message of it is held. */
static void a_consumer_that_cannot_end_is_left(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "left", 1, NULL);
    struct bus_consumer_options o = {
        .group = suite_name(s, "left"), .topics = &topic, .topic_count = 1};
    struct bus_producer_options po = {0};
    struct bus_producer *p = NULL;
    struct bus_consumer *c = NULL;
    rd_kafka_message_t *held = NULL;
    int64_t began = clock_mono_ms(s->clock), until = began + s->patience_ms;

    ok(bus_producer_open(s->bus, &po, NULL, NULL, &p, &e));
    assert_int_equal(suite_send(s, p, topic, NULL, "a"), 0);
    ok(bus_flush(p, 20000, &e));
    bus_producer_free(p);
    ok(bus_consumer_open(s->bus, &o, &c, &e));
    while (!held && clock_mono_ms(s->clock) < until) {
        held = rd_kafka_consumer_poll(kafka_consumer_rk(c), 100);
        if (held && held->err) {
            rd_kafka_message_destroy(held);
            held = NULL;
        }
    }
    assert_non_null(held);
    began = clock_mono_ms(s->clock);
    bus_consumer_free(c);
    assert_true(clock_mono_ms(s->clock) - began < 12000);
    rd_kafka_message_destroy(held);
}

static void grow(const char *topic, size_t partitions)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_NewPartitions_t *request;
    rd_kafka_queue_t *q;
    rd_kafka_event_t *ev;
    rd_kafka_t *rk;
    char why[200];

    rd_kafka_conf_set(conf, "bootstrap.servers", getenv("TRIPLINE_KAFKA"), why, sizeof why);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    q = rd_kafka_queue_new(rk);
    request = rd_kafka_NewPartitions_new(topic, partitions, why, sizeof why);
    assert_non_null(request);
    rd_kafka_CreatePartitions(rk, &request, 1, NULL, q);
    ev = rd_kafka_queue_poll(q, 20000);
    assert_non_null(ev);
    assert_int_equal(rd_kafka_event_error(ev), 0);
    rd_kafka_event_destroy(ev);
    rd_kafka_NewPartitions_destroy(request);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
}

static void an_added_partition_is_seen_soon(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "grown", 1, NULL);
    int64_t until, low, high;
    struct err why;
    int rc;

    ok(bus_watermarks(s->bus, topic, 0, &low, &high, &e));
    why = (struct err)ERR_INIT;
    assert_int_equal(bus_watermarks(s->bus, topic, 1, &low, &high, &why), ERR_NOT_FOUND);
    grow(topic, 2);
    until = clock_mono_ms(s->clock) + s->patience_ms;
    do {
        why = (struct err)ERR_INIT;
        rc = bus_watermarks(s->bus, topic, 1, &low, &high, &why);
    } while (rc == ERR_NOT_FOUND && clock_mono_ms(s->clock) < until);
    assert_int_equal(rc, 0);
    assert_int_equal(high, 0);
}

static void wrong_settings_are_refused(void **state)
{
    struct bus_suite *s = *state;
    const char *extra[] = {"no.such.property=1", NULL};
    const char *bad = "^(";
    struct bus_kafka_options o = {.brokers = getenv("TRIPLINE_KAFKA"), .extra = extra};
    struct bus_kafka_options none = {.brokers = ""};
    struct bus_consumer_options co = {.group = "g", .topics = &bad, .topic_count = 1};
    struct bus_consumer *c = NULL;
    struct bus *bus = NULL;

    fails(ERR_CONFIG, bus_kafka(&bus, &o, s->clock, &e));
    fails(ERR_CONFIG, bus_kafka(&bus, &none, s->clock, &e));
    fails(ERR_CONFIG, bus_consumer_open(s->bus, &co, &c, &e));
}

static void grants_what_it_can(void **state)
{
    struct bus_suite *s = *state;
    struct bus_acl acl[] = {
        {"User:acme", "tripline.docs.acme.", BUS_ACL_TOPIC, true, BUS_ACL_WRITE | BUS_ACL_DESCRIBE},
        {"User:acme", "acme", BUS_ACL_GROUP, false, BUS_ACL_READ},
        {"User:acme", "acme", BUS_ACL_TRANSACTION, false, BUS_ACL_WRITE},
    };

    ok(bus_create_acls(s->bus, acl, 2, &e));
    fails(ERR_UNSUPPORTED, bus_create_acls(s->bus, acl, 3, &e));
}

static const struct CMUnitTest own_cases[] = {
    cmocka_unit_test(a_missing_broker_is_an_error_in_time),
    cmocka_unit_test(seeks_may_follow_each_other_at_once),
    cmocka_unit_test(a_consumer_that_cannot_end_is_left),
    cmocka_unit_test(an_added_partition_is_seen_soon),
    cmocka_unit_test(wrong_settings_are_refused),
    cmocka_unit_test(grants_what_it_can),
};

int main(void)
{
    int failed;

    if (!getenv("TRIPLINE_KAFKA")) {
        printf("skipped: TRIPLINE_KAFKA is not set (a Kafka to test with)\n");
        return 77;
    }
    failed =
        _cmocka_run_group_tests("bus_kafka", bus_suite_cases, bus_suite_count, setup, teardown);
    return failed + cmocka_run_group_tests_name("bus_kafka only", own_cases, setup, teardown);
}
