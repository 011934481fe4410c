/* The chain on simulated time: what a segment covers, when it is cut, who wins. */
#include "tests/unit/ingest/world.h"

#include <stdlib.h>

static struct world w;

static int open_world(void **state)
{
    (void)state;
    world_open(&w);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

static void put_many(int32_t partition, int from, int to)
{
    char id[20];
    int i;

    for (i = from; i < to; i++) {
        snprintf(id, sizeof id, "d%d", i);
        world_put(&w, partition, id, i % 2 ? "odd" : "even");
    }
}

static int64_t committed(int32_t partition)
{
    const char *topic = "none";
    const struct bus_consumer_options o = {
        .group = "tripline.ingest", .topics = &topic, .topic_count = 1};
    struct bus_consumer *c = NULL;
    int64_t at = -1;

    ok(bus_consumer_open(w.bus, &o, &c, &e));
    ok(bus_committed(c, TOPIC, partition, &at, &e));
    bus_consumer_free(c);
    return at;
}

static void test_all_offsets_are_covered(void **state)
{
    struct ingest *in = world_ingest(&w);
    struct chain_seen seen;

    (void)state;
    assert_false(w.ready);
    put_many(0, 0, 5);
    world_transaction(&w, 0, 3, false); /* 3 aborted records and a marker */
    put_many(0, 5, 8);
    world_transaction(&w, 0, 2, true);
    world_send(&w, 0, "d1", NULL, 0, NULL, NULL);
    world_send(&w, 0, "x", "{\"label\":1}", 11, NULL, NULL);
    world_transaction(&w, 0, 1, true); /* its marker is the last offset */
    world_run(&w, in, 4000);
    assert_true(w.ready);
    seen = world_check_all(&w, 0);
    assert_int_equal(seen.documents, 5 + 3 + 2 + 1);
    assert_int_equal(seen.tombstones, 1);
    assert_int_equal(seen.rejected, 1);
    assert_int_equal(seen.segments, 1);
    assert_int_equal(world_count(&w, "tripline.rejected.acme"), 1);
    assert_int_equal(committed(0), seen.next);
    ingest_free(in);
}

static void test_quiet_end_is_covered(void **state)
{
    struct ingest *in = world_ingest(&w);

    (void)state;
    put_many(0, 0, 2);
    world_run(&w, in, 4000);
    world_check_all(&w, 0);
    world_transaction(&w, 0, 3, false);
    world_run(&w, in, 12000);
    assert_int_equal(world_check_all(&w, 0).segments, 2);
    put_many(0, 2, 3);
    world_run(&w, in, 4000);
    assert_int_equal(world_check_all(&w, 0).documents, 3);
    ingest_free(in);

    in = world_ingest(&w); /* the chain's last record is two segments back or more */
    world_run(&w, in, 1000);
    assert_int_equal(world_logged(&w, "chain.begun"), 0);
    ingest_free(in);
}

static void test_seal_cuts_at_once(void **state)
{
    struct ingest *in = world_ingest(&w);
    struct chain_seen seen;

    (void)state;
    w.o.segment_age_ms = 60000;
    ingest_free(in);
    in = world_ingest(&w);
    world_run(&w, in, 500);
    put_many(0, 0, 3);
    world_seal(&w, 0);
    world_run(&w, in, 300);
    seen = world_check_all(&w, 0);
    assert_int_equal(seen.seals, 1);
    assert_int_equal(seen.segments, 1);
    put_many(1, 0, 3);
    world_run(&w, in, 300);
    assert_int_equal(world_check(&w, 0, 1).segments, 0);
    ingest_free(in);
}

static void test_rotation(void **state)
{
    struct ingest *in;
    char *value = malloc(200001);
    int i;

    (void)state;
    w.o.segment_records = 4;
    w.o.segment_age_ms = 60000;
    w.o.segment_bytes = 300000;
    in = world_ingest(&w);
    put_many(0, 0, 9);
    world_run(&w, in, 500);
    assert_int_equal(world_check(&w, 0, 0).segments, 2);
    assert_int_equal(world_check(&w, 0, 0).next, 8);
    for (i = 0; i < 3; i++) { /* incompressible enough */
        int n = snprintf(value, 200001, "{\"label\":%d,\"text\":\"", i), k;

        for (k = n; k < 200000 - 2; k++)
            value[k] = "abcdefghijklmnopqrstuvwxyz"[clock_random_u64(w.clock) % 26];
        memcpy(value + k, "\"}", 2);
        world_send(&w, 1, "big", value, 200000, NULL, NULL);
    }
    world_run(&w, in, 500);
    assert_int_equal(world_check(&w, 0, 1).next, 2); /* cut at the second, of 400 kB */
    ok(ingest_drain(in, &e));
    assert_int_equal(world_check_all(&w, 0).documents, 9);
    assert_int_equal(world_check_all(&w, 1).documents, 3);
    ingest_free(in);
    free(value);
}

static void test_rejects(void **state)
{
    static const char bad_utf8[] = "{\"id\":\"a\",\"label\":\"l\",\"text\":\"\xff\xfe\"}";
    static const struct {
        const char *key, *value, *header, *header_value, *reason;
    } cases[] = {
        {"k", bad_utf8, NULL, NULL, "FORMAT"},
        {NULL, "{\"label\":\"l\",\"text\":\"t\"}", NULL, NULL, "FORMAT: id: missing"},
        {"k", "{\"label\":[1],\"text\":\"t\"}", NULL, NULL, "FORMAT: label"},
        {"k", "not json", NULL, NULL, "FORMAT"},
        {"k", "{\"label\":1,\"text\":\"t\"}", "tripline-control", "stop", "UNSUPPORTED"},
        {"k", "{\"label\":1,\"text\":\"t\"}", "tripline-uri", "forged", "UNSUPPORTED"},
        {"k", "{\"label\":1,\"text\":\"t\"}", "content-type", "text/plain\n\xff", "UNSUPPORTED"},
        {"k", "{\"label\":1,\"uri\":\"owners/other/x\"}", NULL, NULL, "FORMAT: uri"},
        {"k", "{\"label\":1,\"uri\":\"s3://theirs/owners/acme/x\"}", NULL, NULL, "FORMAT: uri"},
        {"k", "{\"label\":1,\"uri\":\"owners/acme/none\"}", NULL, NULL, "NOT_FOUND: uri"},
        {"k", "{\"label\":1,\"uri\":\"owners/acme/large\"}", NULL, NULL, "LIMIT: uri"},
    };
    struct ingest *in;
    struct chain_seen seen;
    size_t i, n = sizeof cases / sizeof cases[0];

    (void)state;
    w.o.uri_bytes = 100;
    w.o.bucket = "ours";
    ok(blob_put(w.blob, "owners/acme/large", w.log.data ? w.log.data : "", 0, &e));
    ok(blob_put(w.blob, "owners/acme/large", (char[101]){0}, 101, &e));
    in = world_ingest(&w);
    for (i = 0; i < n; i++) {
        world_send(&w, 0, cases[i].key, cases[i].value, strlen(cases[i].value), cases[i].header,
                   cases[i].header_value);
        world_seal(&w, 0);
        world_run(&w, in, 500);
        seen = world_check_all(&w, 0);
        assert_int_equal(seen.rejected, i + 1);
        if (strncmp(seen.reason, cases[i].reason, strlen(cases[i].reason)) != 0)
            fail_msg("%s, not %s", seen.reason, cases[i].reason);
        assert_int_equal(world_count(&w, "tripline.rejected.acme"), i + 1);
    }
    ingest_free(in);
}

static const char *header_of(const struct bus_message *m, const char *name)
{
    static char text[700];
    size_t i;

    for (i = 0; i < m->header_count; i++)
        if (!strcmp(m->headers[i].name, name)) {
            snprintf(text, sizeof text, "%.*s", (int)m->headers[i].value_len,
                     (const char *)m->headers[i].value);
            return text;
        }
    return "";
}

static void test_reject_copy_is_the_original(void **state)
{
    struct ingest *in = world_ingest(&w);
    struct bus_message *m = NULL;

    (void)state;
    world_put(&w, 1, "a", "b");
    world_send(&w, 1, "key", "broken", 6, "mine", "kept");
    world_run(&w, in, 4000);
    ok(bus_read_at(w.bus, "tripline.rejected.acme", 0, 0, &m, &e));
    assert_non_null(m);
    assert_int_equal(m->value_len, 6);
    assert_memory_equal(m->value, "broken", 6);
    assert_memory_equal(m->key, "key", 3);
    assert_string_equal(header_of(m, "mine"), "kept");
    assert_string_equal(header_of(m, HEADER_REJECT_CODE), "FORMAT");
    assert_string_equal(header_of(m, HEADER_REJECT_TOPIC), TOPIC);
    assert_string_equal(header_of(m, HEADER_REJECT_PARTITION), "1");
    assert_string_equal(header_of(m, HEADER_REJECT_OFFSET), "1");
    assert_true(strlen(header_of(m, HEADER_REJECT_REASON)) > 5);
    bus_read_free(w.bus, m);
    ingest_free(in);
}

static void test_oversize_is_rejected(void **state)
{
    static const char *const big[] = {"max.message.bytes=33554432", NULL};
    const struct bus_topic t = {TOPIC, 2, big};
    struct ingest *in;
    char *value = malloc((size_t)20 << 20);

    (void)state;
    ok(bus_mem_delete_topic(w.bus, TOPIC, &e));
    ok(bus_create_topics(w.bus, &t, 1, &e));
    in = world_ingest(&w);
    memset(value, 'a', (size_t)20 << 20);
    world_put(&w, 0, "a", "l");
    world_send(&w, 0, "k", value, (size_t)20 << 20, NULL, NULL);
    world_put(&w, 0, "b", "l");
    /* the rejected topic takes 1 MiB: its copy has the headers only */
    world_run(&w, in, 30000);
    assert_int_equal(world_check_all(&w, 0).rejected, 1);
    assert_int_equal(world_check_all(&w, 0).documents, 2);
    assert_int_equal(world_count(&w, "tripline.rejected.acme"), 1);

    memcpy(value, "{\"label\":1,\"text\":\"", 19); /* one huge document is fine */
    memcpy(value + (3 << 20) - 2, "\"}", 2);
    world_send(&w, 0, "huge", value, (size_t)3 << 20, NULL, NULL);
    world_run(&w, in, 5000);
    assert_int_equal(world_check_all(&w, 0).documents, 3);
    ingest_free(in);
    free(value);
}

static void test_missing_rejected_topic(void **state)
{
    struct ingest *in = world_ingest(&w);

    (void)state;
    ok(bus_mem_delete_topic(w.bus, "tripline.rejected.acme", &e));
    world_send(&w, 0, "k", "broken", 6, NULL, NULL);
    put_many(1, 0, 3);
    world_run(&w, in, 40000);
    assert_int_equal(world_check_all(&w, 0).rejected, 1);
    assert_int_equal(world_check_all(&w, 1).documents, 3);
    assert_int_equal(world_count(&w, "tripline.rejected.acme"), 1);
    assert_int_equal(world_logged(&w, "topic.created"), 1);
    ingest_free(in);
}

static void test_uri_is_recorded(void **state)
{
    struct ingest *in = world_ingest(&w);
    char want[200], hash[SHA256_HEX];
    const char *value = "{\"label\":1,\"uri\":\"owners/acme/files/one\"}";
    struct chain_seen seen;

    (void)state;
    ok(blob_put(w.blob, "owners/acme/files/one", "content", 7, &e));
    world_send(&w, 0, "k", value, strlen(value), NULL, NULL);
    world_run(&w, in, 4000);
    seen = world_check_all(&w, 0);
    sha256_of("content", 7, hash);
    snprintf(want, sizeof want, "%s 7 owners/acme/files/one", hash);
    assert_string_equal(seen.uri, want);
    ingest_free(in);
}

static void test_zombie_loses(void **state)
{
    struct ingest *zombie = world_ingest(&w), *heir;

    (void)state;
    w.o.segment_age_ms = 5000;
    put_many(0, 0, 5);
    put_many(1, 0, 5);
    world_run(&w, zombie, 500); /* holds ten records, none written */
    heir = world_ingest(&w);
    clock_sleep_ms(w.clock, 15000); /* its session ends */
    world_run(&w, heir, 15000);
    assert_int_equal(world_check_all(&w, 0).documents, 5);
    put_many(0, 5, 8);
    world_run(&w, zombie, 20); /* wakes up and wants to write what it holds */
    assert_true(world_logged(&w, "segment.lost") >= 1);
    for (int i = 0; i < 400; i++) {
        world_run(&w, zombie, 20);
        world_run(&w, heir, 20);
    }
    assert_int_equal(world_check_all(&w, 0).documents, 8);
    assert_int_equal(world_check_all(&w, 1).documents, 5);
    ingest_free(zombie);
    ingest_free(heir);
}

static void test_two_share_and_part(void **state)
{
    struct ingest *a = world_ingest(&w), *b;
    int i;

    (void)state;
    w.o.segment_age_ms = 700;
    put_many(0, 0, 10);
    put_many(1, 0, 10);
    world_run(&w, a, 300);
    b = world_ingest(&w);
    for (i = 0; i < 200; i++) {
        if (i < 100)
            put_many(i % 2, 10 + i, 11 + i);
        world_run(&w, a, 20);
        world_run(&w, b, 20);
    }
    world_check_all(&w, 0);
    world_check_all(&w, 1);
    put_many(0, 200, 210);
    ingest_free(a); /* without a drain */
    world_run(&w, b, 5000);
    assert_int_equal(world_check_all(&w, 0).documents + world_check_all(&w, 1).documents, 130);
    ingest_free(b);
}

static void recreate(void)
{
    ok(bus_mem_delete_topic(w.bus, TOPIC, &e));
    world_topic(&w, TOPIC, 2);
}

static void test_recreated_shorter(void **state)
{
    struct ingest *in = world_ingest(&w);

    (void)state;
    put_many(0, 0, 10);
    world_run(&w, in, 4000);
    recreate();
    put_many(0, 100, 104);
    world_run(&w, in, 10000);
    assert_int_equal(world_logged(&w, "chain.begun"), 0); /* not before 30 s */
    world_run(&w, in, 40000);
    assert_int_equal(world_logged(&w, "chain.begun"), 1);
    assert_int_equal(world_check(&w, 1, 0).documents, 4);
    ingest_free(in);
    in = world_ingest(&w);
    put_many(0, 104, 106);
    world_run(&w, in, 5000);
    assert_int_equal(world_check(&w, 1, 0).documents, 6);
    ingest_free(in);
}

static void test_recreated_longer(void **state)
{
    struct ingest *in = world_ingest(&w);

    (void)state;
    put_many(0, 0, 10);
    world_run(&w, in, 4000);
    ingest_free(in);
    recreate();
    put_many(0, 100, 120);
    in = world_ingest(&w);
    world_run(&w, in, 5000);
    assert_int_equal(world_logged(&w, "chain.begun"), 1);
    assert_int_equal(world_check(&w, 1, 0).documents, 20);

    recreate(); /* while it is read, and nobody sees a gap */
    put_many(0, 200, 230);
    world_run(&w, in, 10000);
    assert_int_equal(world_check(&w, 2, 0).documents, 30);
    assert_int_equal(world_logged(&w, "segment.dropped"), 1);
    ingest_free(in);
}

static void test_retention_gap(void **state)
{
    struct ingest *in = world_ingest(&w);
    struct chain_seen seen;

    (void)state;
    put_many(0, 0, 10);
    world_run(&w, in, 4000);
    ingest_free(in);
    put_many(0, 10, 30);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 25, &e));
    in = world_ingest(&w);
    world_run(&w, in, 5000);
    seen = world_check_all(&w, 0);
    assert_int_equal(seen.documents, 15);
    assert_int_equal(seen.missing, 15);
    assert_int_equal(world_logged(&w, "records.missing"), 1);
    put_many(0, 30, 40);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 40, &e)); /* all gone, while it reads */
    world_run(&w, in, 5000);
    seen = world_check_all(&w, 0);
    assert_int_equal(seen.missing, 25);
    ingest_free(in);
}

static void test_first_seen_after_retention(void **state)
{
    struct ingest *in;

    (void)state;
    put_many(0, 0, 10);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 4, &e));
    in = world_ingest(&w);
    world_run(&w, in, 5000);
    assert_int_equal(world_check_all(&w, 0).missing, 4);
    assert_int_equal(world_check_all(&w, 0).documents, 6);
    ingest_free(in);
}

static int store_down(void *arg, const char *call, const char *key, enum blob_mem_moment moment,
                      struct err *e)
{
    (void)arg, (void)key, (void)moment;
    return strcmp(call, "create") ? 0 : err_set(e, ERR_PEER, "the store is down");
}

static void test_memory_is_bounded(void **state)
{
    struct ingest *in;
    char *value = malloc(100000), id[20];
    int i, k, n;

    (void)state;
    w.o.memory_bytes = 1 << 20;
    w.o.segment_age_ms = 60000;
    in = world_ingest(&w);
    blob_mem_hook(w.blob, store_down, NULL);
    for (i = 0; i < 60; i++) {
        n = snprintf(value, 100000, "{\"label\":%d,\"text\":\"", i);
        for (k = n; k < 100000 - 2; k++)
            value[k] = "abcdefghijklmnopqrstuvwxyz"[clock_random_u64(w.clock) % 26];
        memcpy(value + k, "\"}", 2);
        snprintf(id, sizeof id, "d%d", i);
        world_send(&w, i % 2, id, value, 100000, NULL, NULL);
    }
    world_run(&w, in, 5000);
    assert_true(world_logged(&w, "segment.create_failed") > 1);
    assert_int_equal(world_check(&w, 0, 0).segments, 0);
    blob_mem_hook(w.blob, NULL, NULL);
    world_run(&w, in, 30000);
    ok(ingest_drain(in, &e));
    assert_int_equal(world_check_all(&w, 0).documents, 30);
    assert_int_equal(world_check_all(&w, 1).documents, 30);
    ingest_free(in);
    free(value);
}

static void test_hint_far_away(void **state)
{
    struct ingest *in;
    struct bus_message *m = NULL;

    (void)state;
    w.o.segment_records = 3;
    in = world_ingest(&w);
    put_many(0, 0, 100);
    world_run(&w, in, 4000);
    ingest_free(in);
    put_many(0, 100, 101);
    in = world_ingest(&w);
    world_run(&w, in, 4000);
    assert_int_equal(world_check_all(&w, 0).documents, 101);
    assert_int_equal(bus_read_at(w.bus, TOPIC, 0, 101, &m, &(struct err)ERR_INIT), 0);
    ingest_free(in);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_all_offsets_are_covered),
        CASE(test_quiet_end_is_covered),
        CASE(test_seal_cuts_at_once),
        CASE(test_rotation),
        CASE(test_rejects),
        CASE(test_reject_copy_is_the_original),
        CASE(test_oversize_is_rejected),
        CASE(test_missing_rejected_topic),
        CASE(test_uri_is_recorded),
        CASE(test_zombie_loses),
        CASE(test_two_share_and_part),
        CASE(test_recreated_shorter),
        CASE(test_recreated_longer),
        CASE(test_retention_gap),
        CASE(test_first_seen_after_retention),
        CASE(test_memory_is_bounded),
        CASE(test_hint_far_away),
    };

    return cmocka_run_group_tests_name("ingest", tests, NULL, NULL);
}
