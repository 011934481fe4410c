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

/* A segment of incarnation 0 that another ingester creates: up to `next` all is missing; it closes
 * the chain if it covers nothing. */
static void another_appends(int64_t first, int64_t next)
{
    const struct segment_name name = {.owner = "acme", .dataset = "news", .first = first};
    struct segment_writer *s = NULL;
    char key[KEY_MAX], hash[SHA256_HEX];
    struct buf b;

    buf_init(&b, SEGMENT_BYTES_MAX);
    ok(segment_writer_new(&s, &name, "another's", 1, &e));
    if (next == first)
        ok(segment_writer_close(s, &e));
    else
        ok(segment_writer_missing(s, first, next, &e));
    ok(segment_writer_finish(s, &b, hash, &e));
    ok(key_segment(&name, key, &e));
    ok(blob_create(w.blob, key, b.data, b.len, &e));
    segment_writer_free(s);
    buf_release(&b);
}

static void another_closes(void)
{
    another_appends(10, 10);
}

static void another_begins(void)
{
    another_closes();
    begin_incarnation_1();
}

/* An ingester whose chain ends at 10 reads five records of a new topic, of which retention leaves
 * those from `low` on: none tells it. `befalls` the store when it is about to create its segment.
 */
static void append_unknowing(int64_t low, void (*befalls)(void))
{
    struct ingest *in;

    ingest_old(10);
    in = world_ingest(&w);
    world_run(&w, in, 500);
    recreate();
    put_many(100, 110);
    ok(bus_mem_trim(w.bus, TOPIC, 0, 10, &e)); /* another saw a record of these */
    put_many(110, 115);
    world_run(&w, in, 500);
    ok(bus_mem_trim(w.bus, TOPIC, 0, low, &e));
    w.on_create = befalls;
    world_run(&w, in, 10000);
    assert_null(w.on_create);
    assert_int_equal(world_logged(&w, "segment.lost"), 1);
    assert_int_equal(world_logged(&w, "chain.begun"), befalls == another_closes);
    assert_int_equal(chain_of(0).documents, 10);
    assert_true(chain_of(0).closed);
    assert_int_equal(whole_in(1).documents, 15 - low);
    assert_int_equal(whole_in(1).missing, low);
    ingest_free(in);
}

static void test_another_begins_before_the_create(void **state)
{
    (void)state;
    append_unknowing(12, another_begins);
}

/* The oldest record that Kafka has is the open segment's: it tells nothing of the chain. */
static void test_another_begins_and_the_open_one_agrees(void **state)
{
    (void)state;
    append_unknowing(10, another_begins);
}

static void test_another_closes_before_the_create(void **state)
{
    (void)state;
    append_unknowing(12, another_closes);
}

static void die_behind_it(void)
{
    w.kind = FAULT_CRASH_AFTER;
    w.at = w.calls + 1;
}

/* Before it begins the next incarnation; another does. */
static void test_the_closer_dies(void **state)
{
    (void)state;
    ingest_old(10);
    recreate();
    put_many(100, 115);
    w.on_create = die_behind_it;
    run_anew(5000);
    assert_true(w.dead);
    assert_true(chain_of(0).closed);
    assert_int_equal(world_logged(&w, "chain.begun"), 0);

    w.dead = false;
    w.kind = FAULT_NONE;
    run_anew(5000);
    assert_int_equal(world_logged(&w, "chain.begun"), 1);
    assert_int_equal(chain_of(0).documents, 10);
    assert_int_equal(whole_in(1).documents, 15);
}

static void another_takes_all(void)
{
    ok(bus_mem_trim(w.bus, TOPIC, 0, 15, &e));
    another_appends(10, 15);
}

static void another_takes_some(void)
{
    another_appends(10, 12);
}

/* Who is about to close the chain for what it saw of the new topic, when another appends to it. */
static void close_late(void (*befalls)(void))
{
    ingest_old(10);
    recreate();
    put_many(100, 115);
    w.on_create = befalls;
    run_anew(5000);
    assert_null(w.on_create);
}

/* It looks again, and there is nothing to be seen any more: the chain goes on. */
static void test_the_closer_loses(void **state)
{
    (void)state;
    close_late(another_takes_all);
    assert_int_equal(world_logged(&w, "chain.begun"), 0);
    put_many(115, 118);
    run_anew(5000);
    assert_false(chain_of(0).closed);
    assert_int_equal(chain_of(0).missing, 5);
    assert_int_equal(whole_in(0).documents, 13);
}

static void test_the_closer_loses_and_closes(void **state)
{
    (void)state;
    close_late(another_takes_some);
    assert_int_equal(world_logged(&w, "chain.begun"), 1);
    assert_int_equal(chain_of(0).next, 12);
    assert_true(chain_of(0).closed);
    assert_int_equal(whole_in(1).documents, 15);
}

/* Chains of earlier versions are closed by the next one's begin. */
static void test_followed_without_a_closing_segment(void **state)
{
    (void)state;
    ingest_old(10);
    begin_incarnation_1();
    recreate();
    put_many(100, 115);
    run_anew(5000);
    assert_int_equal(world_logged(&w, "chain.begun"), 0);
    assert_int_equal(chain_of(0).documents, 10);
    assert_int_equal(whole_in(1).documents, 15);
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
        CASE(test_another_begins_before_the_create),
        CASE(test_another_begins_and_the_open_one_agrees),
        CASE(test_another_closes_before_the_create),
        CASE(test_the_closer_dies),
        CASE(test_the_closer_loses),
        CASE(test_the_closer_loses_and_closes),
        CASE(test_followed_without_a_closing_segment),
        CASE(test_deleted_before_the_cut),
        CASE(test_while_its_end_is_looked_at),
        CASE(test_deleted_while_its_end_is_looked_at),
        CASE(test_while_it_is_placed),
        CASE(test_while_its_gap_is_noted),
    };

    return cmocka_run_group_tests_name("ingest, re-created topics", tests, NULL, NULL);
}
