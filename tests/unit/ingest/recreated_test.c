/*
 * A topic that is deleted and created anew: recognised by whatever record tells,
 * whenever it happens; and no topic is taken for another because of what
 * compaction and retention took from it.
 */
#include "tests/unit/ingest/world.h"

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

static void put_many(int from, int to)
{
    char id[20];
    int i;

    for (i = from; i < to; i++) {
        snprintf(id, sizeof id, "d%d", i);
        world_put(&w, 0, id, "l");
    }
}

static void recreate(void)
{
    ok(bus_mem_delete_topic(w.bus, TOPIC, &e));
    world_topic(&w, TOPIC, 2);
}

static void recreate_longer(void)
{
    recreate();
    put_many(100, 112);
}

/* Documents 0 to n, in segments of the chain. */
static void ingest_old(int n)
{
    struct ingest *in = world_ingest(&w);

    put_many(0, n);
    world_run(&w, in, 4000);
    assert_int_equal(world_check_all(&w, 0).documents, n);
    ingest_free(in);
}

/* An ingester with so many documents in the chain, and so many more in its open segment. */
static struct ingest *ingest_open(int in_chain, int open)
{
    struct ingest *in = world_ingest(&w);

    if (in_chain) {
        put_many(0, in_chain);
        world_run(&w, in, 4000);
    }
    put_many(in_chain, in_chain + open);
    world_run(&w, in, 500);
    return in;
}

static void run_anew(int64_t ms)
{
    struct ingest *in = world_ingest(&w);

    world_run(&w, in, ms);
    ingest_free(in);
}

/* The chain alone: its topic may be gone. */
static struct chain_seen chain_of(uint64_t incarnation)
{
    const struct segment_name name = {
        .owner = "acme", .dataset = "news", .incarnation = incarnation};
    struct chain_seen seen;

    chain_check(w.blob, NULL, TOPIC, &name, 0, &seen);
    return seen;
}

/* All of the topic is in that incarnation, which no other follows. */
static struct chain_seen whole_in(uint64_t incarnation)
{
    struct chain_seen seen = world_check(&w, incarnation, 0);
    int64_t low, high;

    ok(bus_watermarks(w.bus, TOPIC, 0, &low, &high, &e));
    assert_int_equal(seen.next, high);
    assert_int_equal(seen.first, 0);
    assert_int_equal(chain_of(incarnation + 1).segments, 0);
    return seen;
}

static void test_marker_in_its_place(void **state)
{
    (void)state;
    ingest_old(10); /* the last at offset 9 */
    recreate();
    put_many(100, 107);
    world_transaction(&w, 0, 2, true); /* 7, 8, and the marker at 9 */
    put_many(107, 110);
    run_anew(5000);
    assert_int_equal(whole_in(1).documents, 12);
}

static void test_record_in_a_gap(void **state)
{
    (void)state;
    put_many(0, 5);
    world_transaction(&w, 0, 3, false); /* offsets 5 to 8 hold nothing */
    run_anew(4000);
    assert_int_equal(world_check_all(&w, 0).documents, 5);
    recreate();
    put_many(100, 110);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 6, &e));
    run_anew(5000);
    assert_int_equal(whole_in(1).documents, 4);
    assert_int_equal(whole_in(1).missing, 6);
}

static void test_compacted(void **state)
{
    (void)state;
    w.o.segment_records = 3;
    ingest_old(20);
    w.compacted_from = 4; /* what is left is looked up in the midst of the chain */
    w.compacted_to = 20;
    put_many(20, 22);
    run_anew(5000);
    assert_int_equal(whole_in(0).documents, 22);

    w.compacted_from = 1; /* the new topic's begin is compared with the old chain's */
    w.compacted_to = 22;
    recreate();
    put_many(100, 130);
    run_anew(5000);
    assert_int_equal(whole_in(1).documents, 30);
}

static void test_same_after_retention(void **state)
{
    (void)state;
    w.o.segment_records = 3;
    ingest_old(20);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 20, &e)); /* nothing is left to compare */
    put_many(20, 25);
    run_anew(5000);
    assert_int_equal(chain_of(0).documents, 25);
    assert_int_equal(chain_of(1).segments, 0);
}

static void test_other_after_retention(void **state)
{
    (void)state;
    put_many(0, 20);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 10, &e));
    run_anew(4000);
    assert_int_equal(world_check_all(&w, 0).missing, 10);
    w.compacted_from = 5; /* records at 0 to 4, which the chain states as missing */
    w.compacted_to = 20;
    recreate();
    put_many(100, 130);
    run_anew(5000);
    assert_int_equal(whole_in(1).documents, 30);
}

static void test_empty(void **state)
{
    struct ingest *in;

    (void)state;
    ingest_old(10);
    recreate();
    in = world_ingest(&w);
    world_run(&w, in, 20000);
    assert_int_equal(world_logged(&w, "chain.begun"), 0); /* a broker may not know all yet */
    world_run(&w, in, 40000);
    assert_int_equal(world_logged(&w, "chain.begun"), 1);
    put_many(100, 103);
    world_run(&w, in, 5000);
    assert_int_equal(whole_in(1).documents, 3);
    ingest_free(in);
}

static void test_of_equal_length(void **state)
{
    struct ingest *in = world_ingest(&w);

    (void)state;
    put_many(0, 10);
    world_run(&w, in, 4000);
    recreate();
    put_many(100, 110); /* the consumer stands at its end, and hears nothing */
    world_run(&w, in, 20000);
    assert_int_equal(whole_in(1).documents, 10);
    assert_int_equal(chain_of(0).documents, 10);
    ingest_free(in);
}

static void test_between_read_and_cut(void **state)
{
    struct ingest *in = ingest_open(10, 2);

    (void)state;
    recreate();
    put_many(100, 120);
    world_run(&w, in, 10000);
    assert_int_equal(world_logged(&w, "segment.dropped"), 1);
    assert_int_equal(chain_of(0).documents, 10);
    assert_int_equal(whole_in(1).documents, 20);
    ingest_free(in);
}

/* What is open may be of a topic between the two. */
static void test_shorter_before_the_cut(void **state)
{
    struct ingest *in = ingest_open(10, 2);

    (void)state;
    recreate();
    put_many(100, 104);
    world_run(&w, in, 60000);
    assert_int_equal(chain_of(0).documents, 10);
    assert_int_equal(whole_in(1).documents, 4);
    ingest_free(in);
}

static void test_before_the_first_cut(void **state)
{
    struct ingest *in = ingest_open(0, 5);

    (void)state;
    recreate();
    put_many(100, 112);
    world_run(&w, in, 10000);
    assert_int_equal(world_logged(&w, "segment.dropped"), 1);
    assert_int_equal(whole_in(0).documents, 12); /* nothing of the old one was there */
    ingest_free(in);
}

/* What was read first is gone: a record in the midst of the open segment tells. */
static void test_before_the_first_cut_and_trimmed(void **state)
{
    struct ingest *in = ingest_open(0, 5);

    (void)state;
    recreate();
    put_many(100, 112);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 3, &e));
    world_run(&w, in, 10000);
    assert_int_equal(world_logged(&w, "segment.dropped"), 1);
    assert_int_equal(whole_in(0).documents, 9);
    assert_int_equal(whole_in(0).missing, 3);
    ingest_free(in);
}

static void test_same_and_trimmed(void **state)
{
    struct ingest *in = ingest_open(0, 5);

    (void)state;
    ok(bus_mem_trim(w.bus, TOPIC, 0, 3, &e));
    world_run(&w, in, 10000);
    assert_int_equal(world_logged(&w, "segment.dropped"), 0);
    assert_int_equal(whole_in(0).documents, 5);
    ingest_free(in);
}

static void begin_incarnation_1(void)
{
    const struct segment_name name = {.owner = "acme", .dataset = "news", .incarnation = 1};
    struct chain_base base;
    char key[KEY_MAX];
    struct buf b;

    chain_base_init(&base);
    base.owner = name.owner;
    base.dataset = name.dataset;
    base.incarnation = 1;
    base.partition = 0;
    base.first = 0;
    base.time_ms = clock_wall_ms(w.clock);
    base.reason = "another saw the proof";
    base.nonce = "0123456789abcdef0123456789abcdef";
    ok(key_base(&name, key, &e));
    buf_init(&b, 1 << 16);
    ok(chain_base_write(&base, RECORD_JSON, &b, &e));
    ok(blob_create(w.blob, key, b.data, b.len, &e));
    buf_release(&b);
}

/* No record is left that tells, but another ingester saw one and began anew: what was read is its.
 */
static void test_another_saw_the_proof(void **state)
{
    struct ingest *in;

    (void)state;
    ingest_old(10);
    in = world_ingest(&w);
    world_run(&w, in, 500);
    put_many(10, 15);
    world_run(&w, in, 500);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 12, &e));
    begin_incarnation_1();
    world_run(&w, in, 10000);
    assert_int_equal(world_logged(&w, "segment.lost"), 1);
    assert_int_equal(chain_of(0).documents, 10);
    assert_int_equal(whole_in(1).documents, 3);
    assert_int_equal(whole_in(1).missing, 12);
    ingest_free(in);
}

static void test_deleted_before_the_cut(void **state)
{
    struct ingest *in = ingest_open(0, 5);

    (void)state;
    recreate(); /* and what is read on may be another topic's */
    put_many(100, 112);
    world_run(&w, in, 300);
    ok(bus_mem_delete_topic(w.bus, TOPIC, &e));
    world_run(&w, in, 4000);
    assert_int_equal(chain_of(0).documents, 0);
    ingest_free(in);
}

/* `befalls` the topic between the question for its end and the look at it. */
static void while_its_end_is_looked_at(void (*befalls)(void))
{
    struct ingest *in = world_ingest(&w);

    put_many(0, 5);
    world_run(&w, in, 4000);
    put_many(5, 6);
    world_run(&w, in, 100);
    clock_sleep_ms(w.clock, 3000);
    put_many(6, 7); /* not read yet when the segment is cut */
    w.on_read = befalls;
    world_run(&w, in, 100);
    assert_null(w.on_read);
    assert_int_equal(chain_of(0).next, 5);
    ingest_free(in);
}

/* The end was asked for, then the topic was re-created: that nothing is read there says nothing. */
static void test_while_its_end_is_looked_at(void **state)
{
    (void)state;
    while_its_end_is_looked_at(recreate);
}

static void delete_topic(void)
{
    ok(bus_mem_delete_topic(w.bus, TOPIC, &e));
}

static void recreate_and_delete(void)
{
    recreate();
    w.on_read = delete_topic;
}

/* The end was looked at in the new topic, and nothing is there to compare. */
static void test_deleted_while_its_end_is_looked_at(void **state)
{
    (void)state;
    while_its_end_is_looked_at(recreate_and_delete);
}

/* The low watermark was the old topic's. */
static void test_while_it_is_placed(void **state)
{
    (void)state;
    ingest_old(10);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 5, &e));
    w.on_read = recreate_longer;
    run_anew(5000);
    assert_null(w.on_read);
    assert_int_equal(whole_in(1).documents, 12);
    assert_int_equal(whole_in(1).missing, 0);
}

/* As before, of a chain without a segment: what the old one no longer had is not the new one's gap.
 */
static void test_while_its_gap_is_noted(void **state)
{
    (void)state;
    put_many(0, 10);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 8, &e));
    w.on_read = recreate_longer;
    run_anew(5000);
    assert_null(w.on_read);
    assert_int_equal(whole_in(0).documents, 12);
    assert_int_equal(whole_in(0).missing, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_marker_in_its_place),
        CASE(test_record_in_a_gap),
        CASE(test_compacted),
        CASE(test_same_after_retention),
        CASE(test_other_after_retention),
        CASE(test_empty),
        CASE(test_of_equal_length),
        CASE(test_between_read_and_cut),
        CASE(test_shorter_before_the_cut),
        CASE(test_before_the_first_cut),
        CASE(test_before_the_first_cut_and_trimmed),
        CASE(test_same_and_trimmed),
        CASE(test_another_saw_the_proof),
        CASE(test_deleted_before_the_cut),
        CASE(test_while_its_end_is_looked_at),
        CASE(test_deleted_while_its_end_is_looked_at),
        CASE(test_while_it_is_placed),
        CASE(test_while_its_gap_is_noted),
    };

    return cmocka_run_group_tests_name("ingest, re-created topics", tests, NULL, NULL);
}
