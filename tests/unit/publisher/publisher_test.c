/* The publisher on simulated time: what it publishes, what it refuses, what it puts off. */
#include "tests/unit/publisher/world.h"

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_open(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

static struct event_seen events(const char *owner, const char *run)
{
    return facts_events(&w.f, owner, run, &w.arena);
}

static int64_t current_n(const char *owner, const char *model)
{
    return facts_current(&w.f, owner, model, &w.arena).n;
}

/* Runs one publisher for so long. */
static void serve(int64_t ms)
{
    struct publisher *pub = world_publisher(&w);

    world_run(&w, pub, ms);
    publisher_free(pub);
}

static bool settled(void)
{
    const struct bus_consumer_options o = {.group = "tripline.publisher",
                                           .topics = (const char *const[]){"tripline.done"},
                                           .topic_count = 1};
    struct bus_consumer *c = NULL;
    int64_t low, high, at;
    bool all = true;
    int i;

    ok(bus_consumer_open(w.f.bus, &o, &c, &e));
    for (i = 0; i < 2; i++) {
        ok(bus_watermarks(w.f.bus, "tripline.done", i, &low, &high, &e));
        ok(bus_committed(c, "tripline.done", i, &at, &e));
        all &= at == high || (at == -1 && high == 0);
    }
    bus_consumer_free(c);
    return all;
}

static void test_event(void **state)
{
    struct event_seen seen;
    const struct model_data *d;

    (void)state;
    facts_run(&w.f, &(struct fact){.run = "r1", .gain = 0.15});
    facts_done(&w.f, "acme", "r1");
    assert_true(facts_open(&w.f, "acme", "r1"));
    serve(3000);
    assert_true(w.ready);
    seen = events("acme", "r1");
    d = seen.event.data;
    assert_int_equal(seen.count, 1);
    assert_false(seen.binary);
    assert_string_equal(seen.event.id, "acme/r1");
    assert_string_equal(seen.event.source, "/tripline/owners/acme");
    assert_string_equal(d->model, "search");
    assert_int_equal(d->artifact->file_count, 1);
    assert_string_equal(d->artifact->files[0].path, "onnx/model.onnx");
    assert_string_equal(d->artifact->url, "mem:///owners/acme/runs/r1/attempts/1/model/");
    assert_string_equal(d->artifact->files[0].url,
                        "mem:///owners/acme/runs/r1/attempts/1/model/onnx/model.onnx");
    assert_null(d->artifact->expires_at);
    assert_int_equal(d->dimension, 384);
    assert_int_equal(d->lineage->documents, 80);
    assert_non_null(d->lineage->snapshot_url);
    assert_int_equal(d->evaluation->documents, 20);
    assert_true(d->gate->passed);
    assert_string_equal(d->gate->metric, "map_at_k"); /* what judged the run */
    assert_true(d->reindex->required);
    assert_null(d->reindex->previous_run);
    assert_int_equal(current_n("acme", "search"), 1);
    assert_false(facts_open(&w.f, "acme", "r1"));
    assert_true(settled());
}

static void test_duplicates(void **state)
{
    int i;

    (void)state;
    facts_run(&w.f, &(struct fact){.run = "r1"});
    for (i = 0; i < 5; i++)
        facts_done(&w.f, "acme", "r1");
    serve(3000);
    facts_done(&w.f, "acme", "r1");
    facts_run(&w.f, &(struct fact){.run = "r1"}); /* its marker is there again */
    serve(3000);
    assert_int_equal(events("acme", NULL).count, 1);
    assert_int_equal(current_n("acme", "search"), 1);
    assert_false(facts_open(&w.f, "acme", "r1"));
    assert_true(settled());
}

static void test_binary_and_presign(void **state)
{
    struct event_seen seen;

    (void)state;
    facts_run(&w.f, &(struct fact){.run = "r1", .binary = true, .presign_s = 600});
    facts_done(&w.f, "acme", "r1");
    serve(3000);
    seen = events("acme", "r1");
    assert_int_equal(seen.count, 1);
    assert_true(seen.binary);
    assert_null(seen.event.data->artifact->expires_at); /* memory has no such URLs: it is said */
    assert_int_equal(world_logged(&w, "presign.impossible"), 1);
}

static void test_gate_and_order(void **state)
{
    (void)state;
    facts_run(&w.f, &(struct fact){.run = "r2", .time_ms = 90000000});
    facts_done(&w.f, "acme", "r2");
    serve(2000);
    facts_run(&w.f, &(struct fact){.run = "r1", .time_ms = 80000000}); /* ended before r2 */
    facts_run(&w.f, &(struct fact){.run = "r3", .time_ms = 95000000, .gain = 0.2});
    facts_done(&w.f, "acme", "r1");
    facts_done(&w.f, "acme", "r3");
    serve(2000);
    assert_int_equal(events("acme", NULL).count, 3);
    assert_int_equal(current_n("acme", "search"), 1);
    assert_false(events("acme", "r1").event.data->reindex->required);
    assert_false(events("acme", "r3").event.data->gate->passed);
    assert_non_null(events("acme", "r3").event.data->gate->reason);
    facts_run(&w.f, &(struct fact){
                        .run = "r5", .time_ms = 95500000, .gain = 0.1, .metric = "recall_at_k"});
    facts_done(&w.f, "acme", "r5");
    serve(2000);
    assert_false(events("acme", "r5").event.data->gate->passed); /* by another it gains nothing */
    assert_string_equal(events("acme", "r5").event.data->gate->metric, "recall_at_k");
    facts_run(&w.f, &(struct fact){.run = "r4", .time_ms = 96000000});
    facts_done(&w.f, "acme", "r4");
    serve(2000);
    assert_int_equal(current_n("acme", "search"), 2);
    assert_string_equal(events("acme", "r4").event.data->reindex->previous_run, "r2");
}

static void test_hostile(void **state)
{
    static const char other[] = "{\"owner\":\"other\",\"run\":\"r9\",\"state\":\"FAILED\","
                                "\"attempt\":1,\"time_ms\":1}";
    static char big[100000];

    (void)state;
    memset(big, 'x', sizeof big);
    facts_run(&w.f, &(struct fact){.run = "failed", .state = JOB_FAILED});
    facts_run(&w.f, &(struct fact){.run = "cancelled", .state = JOB_CANCELLED});
    facts_run(&w.f, &(struct fact){.run = "broken", .other_manifest = true});
    facts_run(&w.f, &(struct fact){.run = "escape", .file = "model/../../../end.json"});
    facts_run(&w.f, &(struct fact){.run = "empty", .file = "other"});
    facts_done(&w.f, "acme", "failed");
    facts_done(&w.f, "acme", "cancelled");
    facts_done(&w.f, "acme", "broken");
    facts_done(&w.f, "acme", "escape");
    facts_done(&w.f, "acme", "empty");
    facts_done(&w.f, "acme", "forged");
    facts_send(&w.f, "tripline.done", "acme/r9", "garbage", 7);
    facts_send(&w.f, "tripline.done", "../x", "{}", 2);
    facts_send(&w.f, "tripline.done", NULL, "{}", 2);
    facts_send(&w.f, "tripline.done", "acme/r9", NULL, 0);
    facts_send(&w.f, "tripline.done", "acme/r9", big, sizeof big);
    facts_send(&w.f, "tripline.done", "acme/r9", other, strlen(other));
    facts_run(&w.f, &(struct fact){.run = "good"});
    facts_done(&w.f, "acme", "good");
    serve(4000);
    assert_int_equal(events("acme", NULL).count, 1);
    assert_int_equal(events("acme", "good").count, 1);
    assert_int_equal(world_logged(&w, "done.skipped"), 3 + 6);
    assert_int_equal(world_logged(&w, "run.unpublishable"), 3);
    assert_non_null(strstr(w.log.data, "the key says acme/r9, the value other/r9"));
    assert_true(facts_open(&w.f, "acme", "broken")); /* an operator can still find it */
    assert_true(settled());
}

/* An owner without topics waits alone. */
static void test_missing_topic(void **state)
{
    struct publisher *pub = world_publisher(&w);
    char run[20];
    int i;

    (void)state;
    for (i = 0; i < 30; i++) {
        snprintf(run, sizeof run, "r%d", i);
        facts_run(&w.f, &(struct fact){.owner = "bare", .run = run, .model = run});
        facts_done(&w.f, "bare", run);
    }
    facts_run(&w.f, &(struct fact){.run = "good"});
    facts_done(&w.f, "acme", "good");
    world_run(&w, pub, 1500);
    assert_int_equal(events("acme", "good").count, 1);
    assert_true(w.ready);
    facts_topics(&w.f, "bare");
    world_run(&w, pub, 70000); /* more than retry_cap_ms */
    assert_int_equal(facts_events(&w.f, "bare", NULL, &w.arena).count, 30);
    for (i = 0; i < 30; i++) {
        snprintf(run, sizeof run, "r%d", i);
        assert_false(facts_open(&w.f, "bare", run));
        assert_int_equal(current_n("bare", run), 1);
    }
    publisher_free(pub);
    assert_true(settled());
}

/* What is put off survives the process by its marker: the sweep's `done` brings it back. */
static void test_parked_then_crash(void **state)
{
    char key[KEY_MAX];

    (void)state;
    facts_run(&w.f, &(struct fact){.owner = "bare", .run = "r1"});
    ok(key_open("bare", "r1", key, &e));
    ok(blob_remove(w.f.blob, key, &e));
    facts_done(&w.f, "bare", "r1");
    serve(1500);
    assert_true(facts_open(&w.f, "bare", "r1"));
    facts_topics(&w.f, "bare");
    serve(5000);
    assert_int_equal(facts_events(&w.f, "bare", "r1", &w.arena).count, 0);
    facts_done(&w.f, "bare", "r1");
    serve(2000);
    assert_int_equal(facts_events(&w.f, "bare", "r1", &w.arena).count, 1);
    assert_false(facts_open(&w.f, "bare", "r1"));
}

static void forget_offsets(void)
{
    const struct bus_consumer_options o = {.group = "tripline.publisher",
                                           .topics = (const char *const[]){"tripline.done"},
                                           .topic_count = 1};
    struct bus_consumer *c = NULL;
    struct bus_message *m = NULL;
    int i;

    ok(bus_consumer_open(w.f.bus, &o, &c, &e));
    ok(bus_poll(c, 0, &m, &e));
    if (m)
        bus_message_free(c, m);
    for (i = 0; i < 2; i++)
        ok(bus_commit(c, "tripline.done", i, 0, &e));
    bus_consumer_free(c);
}

/* The committed offset is lost; `published` alone must keep old runs from a second event. */
static void test_published_replay(void **state)
{
    char run[20];
    int i;

    (void)state;
    for (i = 0; i < 40; i++) {
        snprintf(run, sizeof run, "r%d", i);
        facts_run(&w.f, &(struct fact){.run = run});
        facts_done(&w.f, "acme", run);
    }
    serve(5000);
    assert_int_equal(events("acme", NULL).count, 40);
    forget_offsets();
    for (i = 0; i < 50; i++) {
        snprintf(run, sizeof run, "r%d", i);
        if (i >= 40)
            facts_run(&w.f, &(struct fact){.run = run});
        facts_done(&w.f, "acme", run);
    }
    serve(5000);
    assert_int_equal(events("acme", NULL).count, 50);
    assert_int_equal(current_n("acme", "search"), 50);
}

/* However long it is: the last record counts as the first. */
static void test_published_to_its_end(void **state)
{
    char id[40];
    int i;

    (void)state;
    for (i = 0; i < 2000; i++) {
        snprintf(id, sizeof id, "acme/old-%d", i);
        facts_send(&w.f, "tripline.published", id, "{}", 2);
    }
    facts_run(&w.f, &(struct fact){.run = "r1"});
    facts_send(&w.f, "tripline.published", "acme/r1", "{}", 2);
    facts_done(&w.f, "acme", "r1");
    serve(4000);
    assert_int_equal(events("acme", NULL).count, 0);
    assert_false(facts_open(&w.f, "acme", "r1"));
    assert_true(settled());
}

static void test_uneven_topics(void **state)
{
    struct publisher *pub = world_publisher(&w);
    struct err why = ERR_INIT;

    (void)state;
    ok(bus_mem_delete_topic(w.f.bus, "tripline.published", &e));
    ok(bus_create_topics(w.f.bus, &(struct bus_topic){"tripline.published", 3, NULL}, 1, &e));
    assert_int_equal(publisher_step(pub, 20, &why), ERR_CONFIG);
    publisher_free(pub);
}

/* --- zombies --- */

static struct publisher *second;

static void second_takes_over(struct world *x)
{
    int64_t until = clock_mono_ms(x->f.clock) + 15000; /* longer than the first's session */

    second = world_publisher(x);
    while (clock_mono_ms(x->f.clock) < until)
        ok(publisher_step(second, 20, &e));
}

/* A publisher sleeps before `call`, in a transaction or not; another does its work meanwhile. */
static void sleeper(const char *call)
{
    struct publisher *first = world_publisher(&w);

    facts_run(&w.f, &(struct fact){.run = "r1"});
    facts_run(&w.f, &(struct fact){.run = "r2"});
    w.hook_call = call;
    world_run(&w, first, 2000); /* both partitions are the first's */
    facts_done(&w.f, "acme", "r1");
    facts_done(&w.f, "acme", "r2");
    w.hook = second_takes_over;
    world_run(&w, first, 8000);
    assert_null(w.hook);
    publisher_free(first);
    world_run(&w, second, 15000);
    publisher_free(second);
    assert_int_equal(events("acme", "r1").count, 1);
    assert_int_equal(events("acme", "r2").count, 1);
    assert_int_equal(current_n("acme", "search"), 2);
    assert_true(settled());
}

static void test_zombie(void **state)
{
    static const char *const calls[] = {
        "blob_get",    "blob_create", "partitions",         "begin",       "send",
        "send_offset", "flush",       "commit_transaction", "blob_remove", "poll"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof calls / sizeof *calls; i++) {
        sleeper(calls[i]);
        world_close(&w);
        world_open(&w);
    }
}

/* Two that believe they own a partition: who opened the id last wins, the other begins again. */
static void test_open_transaction_of_the_dead(void **state)
{
    const struct bus_producer_options o = {.transactional_id = "tripline.publisher.0"};
    const struct bus_producer_options o1 = {.transactional_id = "tripline.publisher.1"};
    struct bus_message m = {
        .topic = "tripline.models.acme", .partition = 0, .value = "half", .value_len = 4};
    struct bus_producer *a = NULL, *b = NULL;
    int64_t began;

    (void)state;
    ok(bus_producer_open(w.f.bus, &o, NULL, NULL, &a, &e));
    ok(bus_producer_open(w.f.bus, &o1, NULL, NULL, &b, &e));
    ok(bus_begin(a, &e));
    ok(bus_send(a, &m, NULL, &e));
    ok(bus_begin(b, &e));
    ok(bus_send(b, &m, NULL, &e));
    bus_producer_free(a); /* killed: they stay open */
    bus_producer_free(b);
    facts_run(&w.f, &(struct fact){.run = "r1"});
    facts_done(&w.f, "acme", "r1");
    began = clock_mono_ms(w.f.clock);
    serve(3000);
    assert_int_equal(events("acme", NULL).count, 1); /* and nothing of "half" */
    assert_in_range(clock_mono_ms(w.f.clock) - began, 0, 10000);
}

/* --- an offset that reaches the group behind the end of its transaction --- */

static int32_t part_of(const char *id)
{
    return (int32_t)(bus_murmur2(id, strlen(id)) % 2);
}

static void arrive(int32_t partition, int64_t offset)
{
    char id[64];

    snprintf(id, sizeof id, "tripline.publisher.%d", (int)partition);
    ok(bus_mem_late_offset(w.f.bus, id, "tripline.publisher", "tripline.done", partition, offset,
                           &e));
}

static int64_t committed_of(int32_t partition)
{
    const struct bus_consumer_options o = {.group = "tripline.publisher",
                                           .topics = (const char *const[]){"tripline.done"},
                                           .topic_count = 1};
    struct bus_consumer *c = NULL;
    int64_t at;

    ok(bus_consumer_open(w.f.bus, &o, &c, &e));
    ok(bus_committed(c, "tripline.done", partition, &at, &e));
    bus_consumer_free(c);
    return at;
}

static void finish_runs(int from, int to)
{
    char run[20];

    for (; from < to; from++) {
        snprintf(run, sizeof run, "r%d", from);
        facts_run(&w.f, &(struct fact){.run = run});
        facts_done(&w.f, "acme", run);
    }
}

static void each_has_one_event(int runs)
{
    char run[20];

    assert_int_equal(events("acme", NULL).count, runs);
    while (runs-- > 0) {
        snprintf(run, sizeof run, "r%d", runs);
        assert_int_equal(events("acme", run).count, 1);
        assert_false(facts_open(&w.f, "acme", run));
    }
}

/* Nothing ends it by itself: the publisher does. */
static void test_pending_offset(void **state)
{
    (void)state;
    finish_runs(0, 10);
    serve(4000);
    arrive(0, 0);
    arrive(1, 0);
    finish_runs(10, 20);
    serve(200000); /* two partitions wait for a minute each */
    assert_int_equal(world_logged(&w, "offsets.cleared"), 2);
    each_has_one_event(20);
    assert_true(settled());
}

static int64_t late_offset;

static void arrives_behind_it(struct world *x)
{
    (void)x;
    arrive(part_of("acme/r10"), late_offset);
}

/* It comes into the next transaction, whose commit makes it the committed offset: all is read once
 * more. */
static void test_committed_backwards(void **state)
{
    (void)state;
    finish_runs(0, 10);
    serve(4000);
    assert_true(settled());
    finish_runs(10, 11);
    late_offset = 0;
    w.hook_call = "commit_transaction";
    w.hook = arrives_behind_it;
    serve(4000);
    assert_null(w.hook);
    assert_int_equal(committed_of(part_of("acme/r10")), 0);
    finish_runs(11, 20);
    serve(4000);
    each_has_one_event(20);
    assert_true(settled());
}

static void arrives_and_it_dies(struct world *x)
{
    arrives_behind_it(x);
    x->kind = FAULT_CRASH_AFTER;
    x->at = x->calls + 1;
}

/* One of an aborted transaction is ahead: its message is passed over, and its run's marker is
 * there. */
static void test_committed_forwards(void **state)
{
    struct publisher *pub;
    int64_t low, high;

    (void)state;
    finish_runs(10, 11);
    facts_run(&w.f, &(struct fact){.run = "r10b"});
    assert_int_equal(part_of("acme/r10b"), part_of("acme/r10"));
    facts_done(&w.f, "acme", "r10b");
    ok(bus_watermarks(w.f.bus, "tripline.done", part_of("acme/r10"), &low, &high, &e));
    assert_int_equal(high, 2);
    late_offset = high;
    w.hook_call = "commit_transaction";
    w.hook = arrives_and_it_dies;
    pub = world_publisher(&w);
    world_run(&w, pub, 4000);
    assert_true(w.dead);
    w.armed = true;
    publisher_free(pub);
    w.armed = w.dead = false;
    w.kind = FAULT_NONE;
    serve(15000); /* longer than the dead one's session */
    assert_int_equal(events("acme", "r10").count, 1);
    assert_int_equal(events("acme", "r10b").count, 0);
    assert_true(facts_open(&w.f, "acme", "r10b"));
    facts_done(&w.f, "acme", "r10b"); /* the trainers' sweep */
    serve(4000);
    assert_int_equal(events("acme", "r10b").count, 1);
    assert_int_equal(events("acme", NULL).count, 2);
    assert_true(settled());
}

/* --- races for a version --- */

static void put_version(struct world *x, int n)
{
    char body[400], key[80];

    snprintf(key, sizeof key, "owners/acme/models/search/%d.json", n);
    snprintf(body, sizeof body,
             "{\"owner\":\"acme\",\"model\":\"search\",\"n\":%d,\"run\":\"other\",\"attempt\":1,"
             "\"manifest_sha256\":"
             "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
             "\"nonce\":\"x\",\"time_ms\":1}",
             n);
    ok(blob_create(x->f.blob, key, body, strlen(body), &e));
}

static void rival(struct world *x)
{
    put_version(x, 1);
}

static void late_rival(struct world *x)
{
    put_version(x, 2);
}

static void test_version_race(void **state)
{
    (void)state;
    facts_run(&w.f, &(struct fact){.run = "r1"});
    facts_done(&w.f, "acme", "r1");
    w.hook_call = "blob_create";
    w.hook = rival;
    serve(3000);
    assert_null(w.hook);
    assert_int_equal(current_n("acme", "search"), 2);
    assert_string_equal(events("acme", "r1").event.data->reindex->previous_run, "other");
}

/* Version 2 is made, and perhaps told, while version 1 is on its way to the topic. */
static void test_told_in_the_wrong_order(void **state)
{
    (void)state;
    facts_run(&w.f, &(struct fact){.run = "r1"});
    facts_done(&w.f, "acme", "r1");
    w.hook_call = "flush";
    w.hook = late_rival;
    serve(3000);
    assert_null(w.hook);
    assert_int_equal(current_n("acme", "search"), 2);
}

/* The copy on the topic is behind: it is repaired at the start, from S3. */
static void test_repair(void **state)
{
    (void)state;
    facts_run(&w.f, &(struct fact){.run = "r1"});
    facts_done(&w.f, "acme", "r1");
    serve(2000);
    ok(bus_mem_delete_topic(w.f.bus, "tripline.current.acme", &e));
    facts_topics(&w.f, "acme");
    assert_int_equal(current_n("acme", "search"), 0);
    serve(2000);
    assert_int_equal(current_n("acme", "search"), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_event),
        CASE(test_duplicates),
        CASE(test_binary_and_presign),
        CASE(test_gate_and_order),
        CASE(test_hostile),
        CASE(test_missing_topic),
        CASE(test_parked_then_crash),
        CASE(test_published_replay),
        CASE(test_published_to_its_end),
        CASE(test_uneven_topics),
        CASE(test_zombie),
        CASE(test_open_transaction_of_the_dead),
        CASE(test_pending_offset),
        CASE(test_committed_backwards),
        CASE(test_committed_forwards),
        CASE(test_version_race),
        CASE(test_told_in_the_wrong_order),
        CASE(test_repair),
    };

    return cmocka_run_group_tests_name("publisher", tests, NULL, NULL);
}
