/* The oracle is silent about what is right, and says each kind of wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/clock/clock.h"
#include "schemas/job.h"
#include "schemas/model.h"
#include "schemas/run.h"
#include "tests/chaos/oracle.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

enum { COUNT = 6 };

/* One partition: offsets 0 to 5, of which 2 is rejected; two segments, [0, 3) and [3, 6). */
static struct {
    struct clock *clock;
    struct blob *blob;
    struct bus *bus;
    struct keys keys;
    struct oracle oracle;
    struct stream stream;
    struct sent sent[COUNT + 1];
    char said[4096];
    FILE *out;
} t;

static int setup(void **state)
{
    memset(&t, 0, sizeof t);
    ok(clock_sim(&t.clock, 1, &e));
    ok(blob_mem(&t.blob, t.clock, &e));
    ok(bus_mem(&t.bus, t.clock, &e));
    ok(keys_init(&t.keys, NULL, &e));
    t.out = fmemopen(t.said, sizeof t.said, "w");
    assert_non_null(t.out);
    setbuf(t.out, NULL);
    snprintf(t.stream.dataset, sizeof t.stream.dataset, "news");
    t.stream.partitions = 1;
    t.oracle = (struct oracle){.store = t.blob,
                               .bus = t.bus,
                               .keys = &t.keys,
                               .owner = "acme",
                               .out = t.out,
                               .streams = &t.stream,
                               .stream_count = 1};
    return 0;
}

static int teardown(void **state)
{
    oracle_release(&t.oracle);
    fclose(t.out);
    bus_free(t.bus);
    blob_free(t.blob);
    clock_free(t.clock);
    return 0;
}

static void text_of(int i, char key[16], char value[80])
{
    snprintf(key, 16, "d%d", i);
    snprintf(value, 80, "{\"id\":\"d%d\",\"label\":1,\"text\":\"number %d\"}", i, i);
}

static void send(int i, enum sent_kind kind, int64_t offset)
{
    char key[16], value[80];

    text_of(i, key, value);
    t.sent[i] = (struct sent){.kind = kind, .offset = offset};
    sent_hash(key, strlen(key), value, strlen(value), t.sent[i].hash);
}

static void add(struct segment_writer *w, int64_t offset, int i)
{
    char key[16], value[80];
    struct document_message m = {.key = key, .value = value};
    enum document_kind kind;
    struct document doc;
    struct arena arena;

    text_of(i, key, value);
    m.key_len = strlen(key);
    m.value_len = strlen(value);
    arena_init(&arena, 1 << 20);
    ok(document_admit(&m, "acme", &arena, &kind, &doc, &e));
    ok(segment_writer_add(w, offset, 1, &m, kind, &doc, &e));
    arena_release(&arena);
}

static void finish_segment(struct segment_writer *w, const struct segment_name *name)
{
    char key[KEY_MAX], hash[SHA256_HEX];
    struct buf b;

    buf_init(&b, SEGMENT_BYTES_MAX);
    ok(segment_writer_finish(w, &b, hash, &e));
    segment_writer_free(w);
    ok(key_segment(name, key, &e));
    ok(blob_put(t.blob, key, b.data, b.len, &e));
    buf_release(&b);
}

static void close_chain(uint64_t incarnation, int64_t end)
{
    const struct segment_name name = {"acme", "news", incarnation, 0, end};
    struct segment_writer *w = NULL;

    ok(segment_writer_new(&w, &name, "n", 1, &e));
    ok(segment_writer_close(w, &e));
    finish_segment(w, &name);
}

/* The records that `order` names, one an offset; -1: a rejected one, -2: none. */
static void put_segment(uint64_t incarnation, int64_t first, const int *order, size_t n)
{
    const struct segment_name name = {"acme", "news", incarnation, 0, first};
    const struct err why = {ERR_FORMAT, "label: missing"};
    struct segment_writer *w = NULL;
    size_t i;

    ok(segment_writer_new(&w, &name, "n", 1, &e));
    for (i = 0; i < n; i++)
        if (order[i] == -1)
            ok(segment_writer_reject(w, first + (int64_t)i, 1, &why, &e));
        else if (order[i] >= 0)
            add(w, first + (int64_t)i, order[i]);
    ok(segment_writer_cover(w, first + (int64_t)n, &e));
    finish_segment(w, &name);
}

static void send_all(void)
{
    int i;

    for (i = 0; i < COUNT; i++)
        send(i, i == 2 ? SENT_BAD : SENT_GOOD, i);
}

static void judge(size_t n)
{
    ok(oracle_read(&t.oracle, 0, &e));
    ok(oracle_records(&t.oracle, t.sent, n, &e));
}

static void says(size_t violations, const char *what)
{
    if (t.oracle.tally.violations != violations || !strstr(t.said, what))
        fail_msg("%zu violations, not %zu with '%s':\n%s", t.oracle.tally.violations, violations,
                 what, t.said);
}

static const int head[] = {0, 1, -1}, tail[] = {3, 4, 5};

static void all_is_there(void **state)
{
    send_all();
    put_segment(0, 0, head, 3);
    put_segment(0, 3, tail, 3);
    judge(COUNT);
    says(0, "");
    assert_int_equal(t.oracle.tally.documents, COUNT - 1);
    assert_int_equal(t.oracle.tally.rejected, 1);
    assert_true(oracle_reached(&t.oracle, 0, 0, COUNT));
}

static void a_record_that_no_segment_has(void **state)
{
    static const int lacks[] = {3, -2, 5};

    send_all();
    put_segment(0, 0, head, 3);
    put_segment(0, 3, lacks, 3);
    judge(COUNT);
    says(1, "news/0 offset 4 (life 0) was acknowledged, and no segment has it");
}

static void a_rejected_record_that_is_nowhere(void **state)
{
    static const int lacks[] = {0, 1, -2};

    send_all();
    put_segment(0, 0, lacks, 3);
    put_segment(0, 3, tail, 3);
    judge(COUNT);
    says(1, "offset 2 (life 0) was acknowledged");
}

static void a_record_twice(void **state)
{
    static const int again[] = {3, 4, 4};

    send_all();
    send(5, SENT_GOOD, -1);
    put_segment(0, 0, head, 3);
    put_segment(0, 3, again, 3);
    judge(COUNT);
    says(1, "news/0 offset 5 (incarnation 0) is also in incarnation 0 of news/0, offset 4");
}

static void a_record_elsewhere(void **state)
{
    static const int swapped[] = {3, 5, 4};

    send_all();
    put_segment(0, 0, head, 3);
    put_segment(0, 3, swapped, 3);
    judge(COUNT);
    says(2, "was acknowledged and lies at");
}

static void a_record_that_nobody_sent(void **state)
{
    static const int more[] = {3, 4, 5, 6};

    send_all();
    put_segment(0, 0, head, 3);
    put_segment(0, 3, more, 4);
    judge(COUNT);
    says(1, "nobody sent that record");
}

static void a_segment_beside_the_chain(void **state)
{
    static const int gap[] = {-2};

    send_all();
    put_segment(0, 0, head, 3);
    put_segment(0, 3, tail, 3);
    put_segment(0, 9, gap, 1);
    judge(COUNT);
    says(1, "3 segments are in the store, 2 of them in a chain");
}

static void what_went_with_its_topic(void **state)
{
    send_all();
    put_segment(0, 0, head, 3);
    t.stream.life = 1;
    t.stream.abrupt[0] = true;
    judge(COUNT);
    says(0, "");
    assert_int_equal(t.oracle.tally.gone, 3);
}

/* ---- rejected records ------------------------------------------------------------------------ */

static void put_base(uint64_t incarnation)
{
    const struct segment_name name = {"acme", "news", incarnation, 0, 0};
    struct chain_base base;
    char key[KEY_MAX];
    struct buf b;

    chain_base_init(&base);
    base.owner = "acme";
    base.dataset = "news";
    base.incarnation = (int64_t)incarnation;
    base.partition = 0;
    base.first = 0;
    base.time_ms = 1;
    base.reason = "a test";
    base.nonce = "n";
    buf_init(&b, 1 << 16);
    ok(chain_base_write(&base, RECORD_JSON, &b, &e));
    ok(key_base(&name, key, &e));
    ok(blob_put(t.blob, key, b.data, b.len, &e));
    buf_release(&b);
}

/* Offsets 0 to 2 in life 0, then again in life 1; 2 is the rejected one of both. */
static void send_two_lives(void)
{
    int i;

    for (i = 0; i < COUNT; i++) {
        send(i, i % 3 == 2 ? SENT_BAD : SENT_GOOD, i % 3);
        t.sent[i].life = i / 3;
    }
    t.stream.life = 1;
}

static void each_life_has_its_rejected_one(void **state)
{
    static const int second[] = {3, 4, -1};

    send_two_lives();
    put_segment(0, 0, head, 3);
    close_chain(0, 3);
    put_base(1);
    ok(oracle_read(&t.oracle, 0, &e));
    assert_int_equal(oracle_awaits(&t.oracle, 0, t.sent, COUNT), 3);
    put_segment(1, 0, second, 3);
    judge(COUNT);
    says(0, "");
    assert_int_equal(t.oracle.tally.rejected, 2);
    assert_int_equal(oracle_awaits(&t.oracle, 0, t.sent, COUNT), 0);
}

static void the_rejected_one_of_another_life(void **state)
{
    static const int lacks[] = {3, 4, -2};

    send_two_lives();
    put_segment(0, 0, head, 3);
    close_chain(0, 3);
    put_base(1);
    put_segment(1, 0, lacks, 3);
    judge(COUNT);
    says(1, "news/0 offset 2 (life 1) was acknowledged, and no segment has it");
    assert_int_equal(oracle_awaits(&t.oracle, 0, t.sent, COUNT), 1);
}

static void a_rejected_one_alone_in_its_life(void **state)
{
    static const int second[] = {-2, -2, -1};

    send_two_lives();
    send(3, SENT_GOOD, -1);
    send(4, SENT_GOOD, -1);
    put_segment(0, 0, head, 3);
    close_chain(0, 3);
    put_base(1);
    ok(oracle_read(&t.oracle, 0, &e));
    assert_int_equal(oracle_awaits(&t.oracle, 0, t.sent, COUNT), 1);
    put_segment(1, 0, second, 3);
    judge(COUNT);
    says(0, "");
    assert_int_equal(oracle_awaits(&t.oracle, 0, t.sent, COUNT), 0);
}

static void an_incarnation_behind_an_open_chain(void **state)
{
    static const int second[] = {3, 4, -1};

    send_two_lives();
    put_segment(0, 0, head, 3);
    put_base(1);
    put_segment(1, 0, second, 3);
    judge(COUNT);
    says(1, "news/0 incarnation 0 is open, and the next one has begun");
}

/* Between two looks a chain may have grown, been closed, and the next one begun. */
static void a_chain_that_is_closed_between_two_looks(void **state)
{
    static const int second[] = {-1};

    send_all();
    send(5, SENT_BAD, 0);
    t.sent[5].life = 1;
    put_segment(0, 0, head, 3);
    ok(oracle_read(&t.oracle, 0, &e));
    put_segment(0, 3, tail, 2);
    close_chain(0, 5);
    ok(oracle_read(&t.oracle, 0, &e));
    ok(oracle_read(&t.oracle, 0, &e));
    t.stream.life = 1;
    put_base(1);
    put_segment(1, 0, second, 1);
    judge(COUNT);
    says(0, "");
    assert_int_equal(t.oracle.tally.segments, 4);
}

static struct bus_header header(const char *name, const char *value)
{
    return (struct bus_header){name, value, strlen(value)};
}

static void put_copy(int i, const char *offset)
{
    const struct bus_header headers[] = {header(HEADER_REJECT_TOPIC, "tripline.docs.acme.news"),
                                         header(HEADER_REJECT_PARTITION, "0"),
                                         header(HEADER_REJECT_OFFSET, offset)};
    const struct bus_producer_options options = {0};
    char topic[KEY_MAX], key[16], value[80];
    const struct bus_topic made = {topic, 1, NULL};
    struct bus_message m = {.topic = topic,
                            .partition = -1,
                            .key = key,
                            .value = value,
                            .headers = headers,
                            .header_count = 3};
    struct bus_producer *p;

    text_of(i, key, value);
    m.key_len = strlen(key);
    m.value_len = strlen(value);
    ok(topic_of(&t.keys, TOPIC_REJECTED, "acme", topic, &e));
    ok(bus_create_topics(t.bus, &made, 1, &e));
    ok(bus_producer_open(t.bus, &options, NULL, NULL, &p, &e));
    ok(bus_send(p, &m, NULL, &e));
    ok(bus_flush(p, 1000, &e));
    bus_producer_free(p);
}

static void copies(size_t violations, const char *what)
{
    send_all();
    put_segment(0, 0, head, 3);
    put_segment(0, 3, tail, 3);
    judge(COUNT);
    ok(oracle_copies(&t.oracle, t.sent, COUNT, &e));
    says(violations, what);
}

static void a_rejected_record_has_copies(void **state)
{
    put_copy(2, "2");
    put_copy(2, "2");
    copies(0, "");
}

static void a_rejected_record_without_copy(void **state)
{
    put_copy(1, "1");
    copies(2, "news/0 offset 2 is rejected in a segment, and has no copy");
    says(2, "tripline.rejected.acme/0 offset 0 is no record that was to be rejected");
}

/* Life 1 went before ingest saw it; life 0's entry at the same place is not its own. */
static void a_record_that_is_gone_needs_no_copy(void **state)
{
    send_two_lives();
    send(3, SENT_GOOD, -1);
    send(4, SENT_GOOD, -1);
    t.stream.abrupt[1] = true;
    put_segment(0, 0, head, 3);
    put_copy(2, "2");
    judge(COUNT);
    ok(oracle_copies(&t.oracle, t.sent, COUNT, &e));
    says(0, "");
}

static void a_copy_from_elsewhere(void **state)
{
    put_copy(2, "3");
    copies(1, "does not name the place of its original");
}

/* ---- runs ------------------------------------------------------------------------------------ */

static char manifest_sha256[SHA256_HEX];
static const char *reason = "a test";

static void put_end(enum job_state state, const char *nonce)
{
    struct run_end end;
    char key[KEY_MAX];
    struct buf b;

    run_end_init(&end);
    end.owner = "acme";
    end.run = "r";
    end.state = state;
    end.attempt = 1;
    end.nonce = nonce;
    end.time_ms = 1;
    if (state == JOB_FINISHED)
        end.manifest_sha256 = manifest_sha256;
    else
        end.reason = reason;
    buf_init(&b, 1 << 16);
    ok(run_end_write(&end, RECORD_JSON, &b, &e));
    ok(key_run("acme", "r", RUN_END, key, &e));
    ok(blob_put(t.blob, key, b.data, b.len, &e));
    buf_release(&b);
}

static void make_models_topic(void)
{
    char topic[KEY_MAX];
    const struct bus_topic made = {topic, 1, NULL};

    ok(topic_of(&t.keys, TOPIC_MODELS, "acme", topic, &e));
    ok(bus_create_topics(t.bus, &made, 1, &e));
}

static struct asked ask(void)
{
    return (struct asked){.run = "r", .acknowledged = true, .valid = true};
}

static void a_run_without_an_end(void **state)
{
    struct asked job = ask();

    make_models_topic();
    ok(oracle_runs(&t.oracle, &job, 1, &e));
    says(1, "run r was asked for and has no end");
}

static void an_end_that_changed(void **state)
{
    struct asked job = ask();

    make_models_topic();
    job.valid = false;
    put_end(JOB_FAILED, "one");
    assert_int_equal(oracle_end(&t.oracle, &job, &(struct err)ERR_INIT), 1);
    ok(oracle_runs(&t.oracle, &job, 1, &e));
    says(0, "");
    put_end(JOB_FAILED, "another");
    ok(oracle_runs(&t.oracle, &job, 1, &e));
    says(1, "run r: its end changed");
}

static void an_end_is_judged(int state, const char *verdict)
{
    struct asked job = ask();

    make_models_topic();
    put_end(state, "n");
    ok(oracle_runs(&t.oracle, &job, 1, &e));
    says(1, verdict);
}

static void a_cancel_that_nobody_asked_for(void **state)
{
    an_end_is_judged(JOB_CANCELLED, "run r is CANCELLED, and nobody cancelled it");
}

static void a_good_run_that_failed(void **state)
{
    an_end_is_judged(JOB_FAILED, "run r is FAILED, and its job was valid: a test");
}

/* `done` told of it and nobody published it; its manifest is not there either. */
static void a_finished_run_without_event_and_files(void **state)
{
    struct asked job = ask();

    make_models_topic();
    sha256_of("x", 1, manifest_sha256);
    put_end(JOB_FINISHED, "n");
    ok(oracle_runs(&t.oracle, &job, 1, &e));
    says(2, "run r is FINISHED and has 0 committed events");
    says(2, "is not the manifest that its end names");
}

/* Attempts 1 to `made`, `trained` of them with documents, the last `released` of these handed over.
 */
static void put_attempts(uint64_t made, uint64_t trained, uint64_t released)
{
    static const char snapshot[] = "{\"event\":\"snapshot\"}\n", waited[] = "{\"event\":\"end\"}\n";
    char key[KEY_MAX], file[KEY_FILE_MAX];
    uint64_t n;

    attempt_series_file(ATTEMPT_LOG, 0, file);
    for (n = 1; n <= made; n++) {
        const char *log = n <= trained ? snapshot : waited;

        ok(key_attempt("acme", "r", n, key, &e));
        ok(blob_put(t.blob, key, "{}", 2, &e));
        ok(key_attempt_file("acme", "r", n, file, key, &e));
        ok(blob_put(t.blob, key, log, strlen(log), &e));
        if (n > trained || n + released <= trained)
            continue;
        ok(key_attempt_file("acme", "r", n, "released.json", key, &e));
        ok(blob_put(t.blob, key, "{}", 2, &e));
    }
}

static void the_doomed_is_judged(int state, const char *why, size_t violations, const char *verdict)
{
    struct asked job = ask();

    make_models_topic();
    job.doomed = 2;
    reason = why;
    put_end(state, "n");
    reason = "a test";
    ok(oracle_runs(&t.oracle, &job, 1, &e));
    says(violations, verdict);
}

static void a_doomed_run_that_was_tried_as_often(void **state)
{
    put_attempts(4, 3, 1); /* one handed over, one waited for the others to end */
    the_doomed_is_judged(JOB_FAILED, "attempt 2 of 2: the time is up", 0, "");
}

static void a_doomed_run_that_was_tried_too_often(void **state)
{
    put_attempts(3, 3, 0);
    the_doomed_is_judged(JOB_FAILED, "attempt 2 of 2: the time is up", 1,
                         "run r was trained 3 times that count, and 2 are allowed");
}

static void a_doomed_run_that_was_given_up(void **state)
{
    put_attempts(1, 1, 0);
    the_doomed_is_judged(JOB_FAILED, "1 attempts were made, none came to an end", 1,
                         "run r was given up after 1 attempts of 2");
}

static void a_doomed_run_without_a_reason(void **state)
{
    put_attempts(2, 2, 0);
    the_doomed_is_judged(JOB_FAILED, "attempt 1 of 2: the time is up", 1,
                         "run r, of which each training dies, is FAILED: attempt 1 of 2");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_is_there),
        TEST(a_record_that_no_segment_has),
        TEST(a_rejected_record_that_is_nowhere),
        TEST(a_record_twice),
        TEST(a_record_elsewhere),
        TEST(a_record_that_nobody_sent),
        TEST(a_segment_beside_the_chain),
        TEST(what_went_with_its_topic),
        TEST(each_life_has_its_rejected_one),
        TEST(the_rejected_one_of_another_life),
        TEST(a_rejected_one_alone_in_its_life),
        TEST(an_incarnation_behind_an_open_chain),
        TEST(a_chain_that_is_closed_between_two_looks),
        TEST(a_rejected_record_has_copies),
        TEST(a_rejected_record_without_copy),
        TEST(a_record_that_is_gone_needs_no_copy),
        TEST(a_copy_from_elsewhere),
        TEST(a_run_without_an_end),
        TEST(an_end_that_changed),
        TEST(a_cancel_that_nobody_asked_for),
        TEST(a_good_run_that_failed),
        TEST(a_finished_run_without_event_and_files),
        TEST(a_doomed_run_that_was_tried_as_often),
        TEST(a_doomed_run_that_was_tried_too_often),
        TEST(a_doomed_run_that_was_given_up),
        TEST(a_doomed_run_without_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
