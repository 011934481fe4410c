#include "bus_suite.h"

#include <stdio.h>
#include <stdlib.h>

/* --- helpers --- */

const char *suite_name(struct bus_suite *s, const char *name)
{
    char *to = s->name[s->names++ % 16];

    snprintf(to, sizeof s->name[0], "%s.%s", s->prefix, name);
    return to;
}

const char *suite_topic(struct bus_suite *s, const char *name, int partitions,
                        const char *const *config)
{
    const char *full = suite_name(s, name);
    struct bus_topic t = {full, partitions, config};

    ok(bus_create_topics(s->bus, &t, 1, &e));
    return full;
}

int suite_send(struct bus_suite *s, struct bus_producer *p, const char *topic, const char *key,
               const char *value)
{
    struct bus_message m = {.topic = topic, .partition = -1};
    struct err why = ERR_INIT;

    (void)s;
    m.key = key;
    m.key_len = key ? strlen(key) : 0;
    m.value = value;
    m.value_len = value ? strlen(value) : 0;
    return bus_send(p, &m, NULL, &why);
}

static struct bus_producer *producer(struct bus_suite *s, const char *id)
{
    struct bus_producer_options o = {.transactional_id = id, .message_timeout_ms = 20000};
    struct bus_producer *p = NULL;

    ok(bus_producer_open(s->bus, &o, NULL, NULL, &p, &e));
    return p;
}

static void put(struct bus_suite *s, struct bus_producer *p, const char *topic, const char *value)
{
    assert_int_equal(suite_send(s, p, topic, NULL, value), 0);
}

static void put_all(struct bus_suite *s, const char *topic, const char *values)
{
    struct bus_producer *p = producer(s, NULL);
    char one[2] = {0};

    for (; *values; values++) {
        one[0] = *values;
        put(s, p, topic, one);
    }
    ok(bus_flush(p, 20000, &e));
    bus_producer_free(p);
}

struct reader {
    struct bus_suite *s;
    struct bus_consumer *c;
    int assigns, revokes, held;
    int64_t start; /* -1: no seek; -2: to the committed offset */
};

static void on_assigned(void *arg, const struct bus_partition *list, size_t n)
{
    struct reader *r = arg;
    int64_t at;
    size_t i;

    r->assigns++;
    r->held = (int)n;
    for (i = 0; i < n && r->start != -1; i++) {
        at = r->start;
        if (at == -2)
            ok(bus_committed(r->c, list[i].topic, list[i].partition, &at, &e));
        ok(bus_seek(r->c, list[i].topic, list[i].partition, at < 0 ? 0 : at, &e));
    }
}

static void on_revoked(void *arg, const struct bus_partition *list, size_t n, bool lost)
{
    struct reader *r = arg;

    (void)list, (void)n, (void)lost;
    r->revokes++;
    r->held = 0;
}

static void reader_open(struct reader *r, struct bus_suite *s, const char *group, const char *topic,
                        int64_t start)
{
    struct bus_consumer_options o = {.group = group,
                                     .topics = &topic,
                                     .topic_count = 1,
                                     .session_timeout_ms = 6000,
                                     .metadata_refresh_ms = 500};

    memset(r, 0, sizeof *r);
    r->s = s;
    r->start = start;
    o.rebalance = (struct bus_rebalance){on_assigned, on_revoked, r};
    ok(bus_consumer_open(s->bus, &o, &r->c, &e));
}

/* The next message, or NULL when none comes within the time. Client trouble is given time. */
static struct bus_message *next(struct reader *r, int within_ms)
{
    struct bus_message *m = NULL;
    int64_t until = clock_mono_ms(r->s->clock) + within_ms;
    struct err e = ERR_INIT;
    int rc;

    do {
        rc = bus_poll(r->c, 100, &m, &e);
        if (rc < 0 && rc != ERR_PEER)
            fail_msg("bus_poll: %s", e.text);
    } while (!m && clock_mono_ms(r->s->clock) < until);
    return m;
}

static void expect_message(struct reader *r, const char *value, int64_t offset)
{
    struct bus_message *m = next(r, r->s->patience_ms);

    if (!m)
        fail_msg("no message, '%s' was expected", value);
    assert_int_equal(m->value_len, strlen(value));
    assert_memory_equal(m->value, value, m->value_len);
    if (offset >= 0)
        assert_int_equal(m->offset, offset);
    bus_message_free(r->c, m);
}

static void expect_nothing(struct reader *r)
{
    assert_null(next(r, 300));
}

static void wait_assigned(struct reader *r, int count)
{
    int64_t until = clock_mono_ms(r->s->clock) + r->s->patience_ms;

    while (r->held != count && clock_mono_ms(r->s->clock) < until)
        assert_null(next(r, 0));
    assert_int_equal(r->held, count);
}

/* --- cases --- */

static void carries_all_of_a_message(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "whole", 1, NULL);
    struct bus_header headers[] = {
        {"content-type", "text/plain", 10}, {"empty", "", 0}, {"raw", "a\0b", 3}};
    struct bus_message m = {.topic = topic,
                            .partition = 0,
                            .timestamp_ms = 1600000000123,
                            .key = "k\0y",
                            .key_len = 3,
                            .value = "v\0\xff",
                            .value_len = 3,
                            .headers = headers,
                            .header_count = 3};
    struct bus_message tombstone = {.topic = topic, .partition = 0, .key = "k", .key_len = 1};
    struct bus_message empty = {.topic = topic, .partition = 0, .value = "", .value_len = 0};
    struct bus_producer *p = producer(s, NULL);
    struct bus_message *got;
    struct reader r;

    ok(bus_send(p, &m, NULL, &e));
    ok(bus_send(p, &tombstone, NULL, &e));
    ok(bus_send(p, &empty, NULL, &e));
    ok(bus_flush(p, 20000, &e));
    bus_producer_free(p);
    reader_open(&r, s, suite_name(s, "whole"), topic, 0);
    got = next(&r, s->patience_ms);
    assert_non_null(got);
    assert_string_equal(got->topic, topic);
    assert_int_equal(got->timestamp_ms, 1600000000123);
    assert_int_equal(got->key_len, 3);
    assert_memory_equal(got->key, "k\0y", 3);
    assert_int_equal(got->value_len, 3);
    assert_memory_equal(got->value, "v\0\xff", 3);
    assert_int_equal(got->header_count, 3);
    assert_string_equal(got->headers[0].name, "content-type");
    assert_int_equal(got->headers[0].value_len, 10);
    assert_int_equal(got->headers[1].value_len, 0);
    assert_string_equal(got->headers[2].name, "raw");
    assert_memory_equal(got->headers[2].value, "a\0b", 3);
    bus_message_free(r.c, got);
    got = next(&r, s->patience_ms);
    assert_non_null(got);
    assert_null(got->value);
    assert_int_equal(got->offset, 1);
    assert_true(got->timestamp_ms > 1600000000123);
    bus_message_free(r.c, got);
    got = next(&r, s->patience_ms);
    assert_non_null(got);
    assert_null(got->key);
    assert_non_null(got->value);
    assert_int_equal(got->value_len, 0);
    bus_message_free(r.c, got);
    bus_consumer_free(r.c);
}

static void log_append_time_is_the_brokers(void **state)
{
    struct bus_suite *s = *state;
    const char *config[] = {"message.timestamp.type=LogAppendTime", NULL};
    const char *topic = suite_topic(s, "times", 1, config);
    struct bus_message m = {.topic = topic,
                            .partition = 0,
                            .timestamp_ms = 1600000000123,
                            .value = "x",
                            .value_len = 1};
    struct bus_producer *p = producer(s, NULL);
    struct bus_message *got = NULL;

    ok(bus_send(p, &m, NULL, &e));
    ok(bus_flush(p, 20000, &e));
    bus_producer_free(p);
    ok(bus_read_at(s->bus, topic, 0, 0, &got, &e));
    assert_non_null(got);
    assert_true(llabs(got->timestamp_ms - clock_wall_ms(s->clock)) < 60000);
    bus_read_free(s->bus, got);
}

static void keys_choose_partitions_as_in_java(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "keys", 5, NULL);
    const char *keys[] = {"21", "foobar", "abc", "", "a-little-bit-longer-string"};
    struct bus_producer *p = producer(s, NULL);
    struct bus_message *got;
    int seen[5] = {0};
    size_t i;
    int part;

    for (i = 0; i < 5; i++)
        assert_int_equal(suite_send(s, p, topic, keys[i], "v"), 0);
    ok(bus_flush(p, 20000, &e));
    bus_producer_free(p);
    for (i = 0; i < 5; i++) {
        part = (int)(bus_murmur2(keys[i], strlen(keys[i])) % 5);
        ok(bus_read_at(s->bus, topic, part, seen[part], &got, &e));
        assert_non_null(got);
        assert_int_equal(got->key_len, strlen(keys[i]));
        assert_memory_equal(got->key, keys[i], got->key_len);
        seen[part]++;
        bus_read_free(s->bus, got);
    }
}

static void delivers_nothing_before_a_seek(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "seek", 1, NULL);
    struct reader r;

    put_all(s, topic, "abcdef");
    reader_open(&r, s, suite_name(s, "seek"), topic, -1);
    wait_assigned(&r, 1);
    expect_nothing(&r);
    ok(bus_seek(r.c, topic, 0, 4, &e));
    expect_message(&r, "e", 4);
    ok(bus_seek(r.c, topic, 0, 1, &e)); /* back, while later ones are fetched */
    expect_message(&r, "b", 1);
    expect_message(&r, "c", 2);
    ok(bus_seek(r.c, topic, 0, 5, &e));
    ok(bus_seek(r.c, topic, 0, 3, &e));
    expect_message(&r, "d", 3);
    expect_message(&r, "e", 4);
    expect_message(&r, "f", 5);
    expect_nothing(&r);
    fails(ERR_NOT_FOUND, bus_seek(r.c, topic, 7, 0, &e));
    fails(ERR_USAGE, bus_seek(r.c, topic, 0, -5, &e));
    bus_consumer_free(r.c);
}

static void pauses_and_resumes(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "pause", 1, NULL);
    struct reader r;

    put_all(s, topic, "abcdef");
    reader_open(&r, s, suite_name(s, "pause"), topic, 0);
    expect_message(&r, "a", 0);
    ok(bus_pause(r.c, topic, 0, true, &e));
    expect_nothing(&r);
    ok(bus_pause(r.c, topic, 0, false, &e));
    expect_message(&r, "b", 1);
    ok(bus_pause(r.c, topic, 0, true, &e));
    ok(bus_seek(r.c, topic, 0, 4, &e));
    expect_nothing(&r);
    ok(bus_pause(r.c, topic, 0, false, &e));
    expect_message(&r, "e", 4);
    expect_message(&r, "f", 5);
    bus_consumer_free(r.c);
}

static void a_pause_ends_with_the_assignment(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "unpause", 1, NULL);
    const char *group = suite_name(s, "unpause");
    struct bus_message *m = NULL;
    struct reader a, b;
    int64_t until;

    put_all(s, topic, "abc");
    reader_open(&a, s, group, topic, 0);
    expect_message(&a, "a", 0);
    ok(bus_pause(a.c, topic, 0, true, &e));
    expect_nothing(&a);
    reader_open(&b, s, group, topic, -1);
    until = clock_mono_ms(s->clock) + s->patience_ms;
    while (!a.revokes && clock_mono_ms(s->clock) < until) {
        m = next(&a, 0);
        assert_null(next(&b, 0));
    }
    assert_true(a.revokes >= 1);
    bus_consumer_free(b.c);
    if (!m)
        m = next(&a, s->patience_ms);
    assert_non_null(m);
    bus_message_free(a.c, m);
    bus_consumer_free(a.c);
}

static void commits_and_goes_on(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "commit", 1, NULL);
    const char *group = suite_name(s, "commit");
    struct bus_consumer_options plain = {.group = group, .topics = &topic, .topic_count = 1};
    struct reader r;
    int64_t at = 77;

    put_all(s, topic, "abc");
    reader_open(&r, s, group, topic, -2);
    expect_message(&r, "a", 0);
    ok(bus_committed(r.c, topic, 0, &at, &e));
    assert_int_equal(at, -1);
    ok(bus_commit(r.c, topic, 0, 1, &e));
    ok(bus_committed(r.c, topic, 0, &at, &e));
    assert_int_equal(at, 1);
    bus_consumer_free(r.c);
    reader_open(&r, s, group, topic, -2);
    expect_message(&r, "b", 1);
    bus_consumer_free(r.c);
    memset(&r, 0, sizeof r);
    r.s = s;
    ok(bus_consumer_open(s->bus, &plain, &r.c, &e)); /* no callbacks: from the committed offset */
    expect_message(&r, "b", 1);
    ok(bus_seek(r.c, topic, 0, 0, &e));
    expect_message(&r, "a", 0);
    bus_consumer_free(r.c);
    plain.group = suite_name(s, "commit-other");
    ok(bus_consumer_open(s->bus, &plain, &r.c, &e)); /* nothing committed: from the earliest */
    expect_message(&r, "a", 0);
    bus_consumer_free(r.c);
}

static void shares_partitions_in_a_group(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "share", 4, NULL);
    const char *group = suite_name(s, "share");
    struct reader a, b;
    int64_t until;

    reader_open(&a, s, group, topic, 0);
    wait_assigned(&a, 4);
    reader_open(&b, s, group, topic, 0);
    until = clock_mono_ms(s->clock) + s->patience_ms;
    while ((a.held != 2 || b.held != 2) && clock_mono_ms(s->clock) < until) {
        assert_null(next(&a, 0));
        assert_null(next(&b, 0));
    }
    assert_int_equal(a.held, 2);
    assert_int_equal(b.held, 2);
    assert_true(a.revokes >= 1);
    bus_consumer_free(b.c);
    wait_assigned(&a, 4);
    bus_consumer_free(a.c);
}

static void finds_new_topics_by_pattern(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "docs.one", 1, NULL);
    char pattern[160];
    struct reader r;
    int64_t until;

    snprintf(pattern, sizeof pattern, "^%s\\.docs\\.[a-z]+$", s->prefix);
    put_all(s, topic, "a");
    reader_open(&r, s, suite_name(s, "pattern"), pattern, 0);
    expect_message(&r, "a", 0);
    suite_topic(s, "other", 1, NULL);
    topic = suite_topic(s, "docs.two", 2, NULL);
    until = clock_mono_ms(s->clock) + s->patience_ms;
    while (r.held != 3 && clock_mono_ms(s->clock) < until) {
        struct bus_message *m = next(&r, 0);

        if (m)
            bus_message_free(r.c, m);
    }
    assert_int_equal(r.held, 3);
    put_all(s, topic, "z");
    for (;;) {
        struct bus_message *m = next(&r, s->patience_ms);
        bool found;

        assert_non_null(m);
        found = !strcmp(m->topic, topic);
        bus_message_free(r.c, m);
        if (found)
            break;
    }
    bus_consumer_free(r.c);
}

static void shows_committed_transactions_only(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "tx", 1, NULL);
    struct bus_producer *p = producer(s, suite_name(s, "tx"));
    struct bus_message *got = NULL;
    int64_t low, high;
    struct reader r;

    reader_open(&r, s, suite_name(s, "tx"), topic, 0);
    ok(bus_begin(p, &e));
    put(s, p, topic, "a");
    put(s, p, topic, "b");
    ok(bus_flush(p, 20000, &e));
    expect_nothing(&r);
    ok(bus_watermarks(s->bus, topic, 0, &low, &high, &e));
    assert_int_equal(high, 0); /* the last stable offset */
    ok(bus_read_at(s->bus, topic, 0, 0, &got, &e));
    assert_null(got);
    ok(bus_commit_transaction(p, &e));
    expect_message(&r, "a", 0);
    expect_message(&r, "b", 1);
    ok(bus_begin(p, &e));
    put(s, p, topic, "x");
    ok(bus_flush(p, 20000, &e));
    ok(bus_abort_transaction(p, &e));
    ok(bus_begin(p, &e));
    put(s, p, topic, "c");
    ok(bus_commit_transaction(p, &e));
    expect_message(&r, "c", 5); /* 2: marker, 3: x, 4: marker */
    ok(bus_watermarks(s->bus, topic, 0, &low, &high, &e));
    assert_int_equal(low, 0);
    assert_int_equal(high, 7);
    ok(bus_read_at(s->bus, topic, 0, 2, &got, &e)); /* in a gap: the next record */
    assert_non_null(got);
    assert_int_equal(got->offset, 5);
    bus_read_free(s->bus, got);
    ok(bus_read_at(s->bus, topic, 0, 6, &got, &e)); /* only a marker is left */
    assert_null(got);
    ok(bus_read_at(s->bus, topic, 0, 7, &got, &e)); /* the end */
    assert_null(got);
    ok(bus_read_at(s->bus, topic, 0, 99, &got, &e));
    assert_null(got);
    bus_consumer_free(r.c);
    bus_producer_free(p);
}

static void moves_offsets_in_a_transaction(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "eos-in", 1, NULL);
    const char *to = suite_topic(s, "eos-out", 1, NULL);
    struct bus_producer *p = producer(s, suite_name(s, "eos"));
    int64_t at;
    struct reader r;

    put_all(s, topic, "ab");
    reader_open(&r, s, suite_name(s, "eos"), topic, -2);
    expect_message(&r, "a", 0);
    ok(bus_begin(p, &e));
    put(s, p, to, "A");
    ok(bus_send_offset(p, r.c, topic, 0, 1, &e));
    ok(bus_abort_transaction(p, &e));
    ok(bus_committed(r.c, topic, 0, &at, &e));
    assert_int_equal(at, -1);
    ok(bus_begin(p, &e));
    put(s, p, to, "A");
    ok(bus_send_offset(p, r.c, topic, 0, 1, &e));
    ok(bus_commit_transaction(p, &e));
    ok(bus_committed(r.c, topic, 0, &at, &e));
    assert_int_equal(at, 1);
    bus_consumer_free(r.c);
    bus_producer_free(p);
}

static void fences_a_zombie(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "fence", 1, NULL);
    const char *id = suite_name(s, "fence");
    struct bus_producer *old = producer(s, id), *new;
    struct bus_message *got = NULL;
    struct err why = ERR_INIT;
    int rc;

    ok(bus_begin(old, &e));
    put(s, old, topic, "zombie");
    ok(bus_flush(old, 20000, &e));
    new = producer(s, id);
    ok(bus_begin(new, &e));
    put(s, new, topic, "heir");
    ok(bus_commit_transaction(new, &e));
    rc = suite_send(s, old, topic, NULL, "late");
    assert_true(rc == 0 || rc == ERR_FENCED);
    rc = bus_commit_transaction(old, &why);
    if (rc != ERR_FENCED)
        fail_msg("%s: %s", err_name(rc), why.text);
    fails(ERR_FENCED, bus_begin(old, &e));
    bus_producer_free(old);
    bus_producer_free(new);
    ok(bus_read_at(s->bus, topic, 0, 0, &got, &e));
    assert_non_null(got);
    assert_memory_equal(got->value, "heir", 4);
    bus_read_free(s->bus, got);
}

static void knows_its_topics(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "known", 3, NULL);
    const char *missing = suite_name(s, "missing");
    const char *bad[] = {"no-equals-sign", NULL};
    struct bus_topic wrong = {suite_name(s, "wrong"), 1, bad};
    struct bus_message *got;
    int64_t low, high;
    int count = 0;

    suite_topic(s, "known", 3, NULL); /* exists: fine */
    ok(bus_partitions(s->bus, topic, &count, &e));
    assert_int_equal(count, 3);
    ok(bus_watermarks(s->bus, topic, 2, &low, &high, &e));
    assert_int_equal(low, 0);
    assert_int_equal(high, 0);
    fails(ERR_NOT_FOUND, bus_partitions(s->bus, missing, &count, &e));
    fails(ERR_NOT_FOUND, bus_watermarks(s->bus, missing, 0, &low, &high, &e));
    fails(ERR_NOT_FOUND, bus_watermarks(s->bus, topic, 3, &low, &high, &e));
    fails(ERR_NOT_FOUND, bus_read_at(s->bus, topic, 3, 0, &got, &e));
    fails(ERR_CONFIG, bus_create_topics(s->bus, &wrong, 1, &e));
}

struct told {
    int reports, failures, last_code;
    void *last_token;
    int64_t last_offset;
};

static void on_delivered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                         const char *why)
{
    struct told *t = arg;

    (void)partition;
    t->reports++;
    t->failures += code != 0;
    t->last_code = code;
    t->last_token = token;
    t->last_offset = offset;
    if (code)
        assert_true(why && *why);
}

static void reports_deliveries(void **state)
{
    struct bus_suite *s = *state;
    const char *config[] = {"max.message.bytes=1000", NULL};
    const char *topic = suite_topic(s, "small", 1, config);
    struct bus_producer_options o = {.message_timeout_ms = 20000};
    struct bus_producer *p = NULL;
    struct told t = {0};
    char *big = calloc(1, 20000);
    struct bus_message m = {.topic = topic, .partition = 0, .value = "x", .value_len = 1};
    struct err why = ERR_INIT;
    int i, rc;

    for (i = 0; i < 20000; i++)
        big[i] = (char)(i * 7919 >> 3); /* compression must not save it */
    ok(bus_producer_open(s->bus, &o, on_delivered, &t, &p, &e));
    ok(bus_send(p, &m, &m, &e));
    ok(bus_flush(p, 20000, &e));
    assert_int_equal(t.reports, 1);
    assert_ptr_equal(t.last_token, &m);
    assert_int_equal(t.last_code, 0);
    assert_int_equal(t.last_offset, 0);
    m.value = big;
    m.value_len = 20000;
    ok(bus_send(p, &m, NULL, &e));
    fails(ERR_LIMIT, bus_flush(p, 20000, &e));
    assert_int_equal(t.last_code, ERR_LIMIT);
    m.value_len = 1;
    ok(bus_send(p, &m, NULL, &e));
    ok(bus_flush(p, 20000, &e)); /* goes on afterwards */
    m.topic = suite_name(s, "nowhere");
    rc = bus_send(p, &m, NULL, &why);
    if (rc == 0)
        rc = bus_flush(p, 20000, &why);
    if (rc != ERR_NOT_FOUND)
        fail_msg("%s: %s", err_name(rc), why.text);
    assert_int_equal(t.last_code, t.reports == 4 ? ERR_NOT_FOUND : 0);
    bus_producer_free(p);
    free(big);
}

static void a_failed_transaction_is_aborted(void **state)
{
    struct bus_suite *s = *state;
    const char *config[] = {"max.message.bytes=1000", NULL};
    const char *topic = suite_topic(s, "txfail", 1, config);
    struct bus_producer *p = producer(s, suite_name(s, "txfail"));
    struct bus_message *got = NULL;
    struct err why = ERR_INIT;
    char big[20000];
    unsigned dice = 99;
    int rc, tries;
    size_t i;

    for (i = 0; i < sizeof big - 1; i++) { /* compression must not save it */
        dice = dice * 1103515245 + 12345;
        big[i] = (char)('!' + (dice >> 16) % 90);
    }
    big[i] = '\0';
    ok(bus_begin(p, &e));
    put(s, p, topic, "a");
    ok(bus_flush(p, 20000, &e));
    put(s, p, topic, big);
    fails(ERR_LIMIT, bus_flush(p, 20000, &e));
    fails(ERR_LIMIT, bus_commit_transaction(p, &e));
    ok(bus_abort_transaction(p, &e));
    ok(bus_begin(p, &e));
    put(s, p, topic, big); /* not flushed before */
    fails(ERR_LIMIT, bus_commit_transaction(p, &e));
    ok(bus_abort_transaction(p, &e));
    rc = ERR_PEER;
    for (tries = 0; rc < 0 && tries < 3; tries++) { /* librdkafka may need a second one */
        ok(bus_begin(p, &e));
        put(s, p, topic, "b");
        if ((rc = bus_commit_transaction(p, &why)) < 0)
            ok(bus_abort_transaction(p, &e));
    }
    if (rc < 0)
        fail_msg("%s", why.text);
    ok(bus_read_at(s->bus, topic, 0, 0, &got, &e));
    assert_non_null(got);
    assert_memory_equal(got->value, "b", 1);
    bus_read_free(s->bus, got);
    bus_producer_free(p);
}

/* Whatever is fetched meanwhile: after a seek, exactly the records from there on. */
static void seeks_at_random_are_exact(void **state)
{
    enum { PARTS = 3, RECORDS = 200, ROUNDS = 30 };
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "random", PARTS, NULL);
    struct bus_producer *p = producer(s, NULL);
    int64_t want[PARTS] = {0};
    unsigned dice = 12345;
    struct bus_message *m;
    struct reader r;
    int i, k, part;

    for (i = 0; i < PARTS * RECORDS; i++) {
        struct bus_message one = {
            .topic = topic, .partition = i % PARTS, .value = "x", .value_len = 1};

        ok(bus_send(p, &one, NULL, &e));
    }
    ok(bus_flush(p, 20000, &e));
    bus_producer_free(p);
    reader_open(&r, s, suite_name(s, "random"), topic, 0);
    m = next(&r, s->patience_ms);
    assert_non_null(m);
    want[m->partition]++;
    bus_message_free(r.c, m);
    for (i = 0; i < ROUNDS; i++) {
        for (k = (int)(dice >> 16) % 3; k >= 0; k--) {
            dice = dice * 1103515245 + 12345;
            part = (int)(dice >> 16) % PARTS;
            want[part] = (dice >> 8) % (RECORDS - 60);
            ok(bus_seek(r.c, topic, part, want[part], &e));
        }
        for (k = (int)(dice >> 20) % 15; k >= 0; k--) {
            m = next(&r, s->patience_ms);
            assert_non_null(m);
            assert_int_equal(m->offset, want[m->partition]);
            want[m->partition]++;
            bus_message_free(r.c, m);
        }
    }
    bus_consumer_free(r.c);
}

static void says_which_position_is_gone(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "gone", 1, NULL);
    struct bus_message *m = NULL;
    struct err why = ERR_INIT;
    struct reader r;
    int64_t until = clock_mono_ms(s->clock) + s->patience_ms;
    int rc = 0;

    put_all(s, topic, "abcdef");
    assert_int_equal(s->trim(s, topic, 0, 3), 0);
    reader_open(&r, s, suite_name(s, "gone"), topic, 1);
    while (rc == 0 && clock_mono_ms(s->clock) < until)
        rc = bus_poll(r.c, 200, &m, &why);
    assert_int_equal(rc, ERR_NOT_FOUND);
    assert_non_null(r.c->failed.topic);
    assert_string_equal(r.c->failed.topic, topic);
    assert_int_equal(r.c->failed.partition, 0);
    assert_int_equal(r.c->failed_offset, 1);
    assert_non_null(strstr(why.text, topic));
    expect_nothing(&r);
    ok(bus_read_at(s->bus, topic, 0, 0, &m, &e)); /* the first that is left */
    assert_non_null(m);
    assert_int_equal(m->offset, 3);
    bus_read_free(s->bus, m);
    ok(bus_seek(r.c, topic, 0, 3, &e));
    expect_message(&r, "d", 3);
    ok(bus_seek(r.c, topic, 0, 60, &e));
    for (rc = 0; rc == 0 && clock_mono_ms(s->clock) < until;)
        rc = bus_poll(r.c, 200, &m, &why);
    assert_int_equal(rc, ERR_NOT_FOUND);
    assert_int_equal(r.c->failed_offset, 60);
    bus_consumer_free(r.c);
}

static void ends_with_work_in_hand(void **state)
{
    struct bus_suite *s = *state;
    const char *topic = suite_topic(s, "ends", 1, NULL);
    struct bus_producer *p = producer(s, suite_name(s, "ends"));
    struct bus_producer *q = producer(s, NULL);
    struct bus_message *m;
    struct reader r;

    put_all(s, topic, "abc");
    ok(bus_begin(p, &e));
    put(s, p, topic, "open");
    put(s, q, topic, "unflushed");
    reader_open(&r, s, suite_name(s, "ends"), topic, 0);
    m = next(&r, s->patience_ms);
    assert_non_null(m);
    bus_producer_free(p);
    bus_producer_free(q);
    bus_message_free(r.c, m);
    bus_consumer_free(r.c);
}

const struct CMUnitTest bus_suite_cases[] = {
    cmocka_unit_test(carries_all_of_a_message),
    cmocka_unit_test(log_append_time_is_the_brokers),
    cmocka_unit_test(keys_choose_partitions_as_in_java),
    cmocka_unit_test(delivers_nothing_before_a_seek),
    cmocka_unit_test(pauses_and_resumes),
    cmocka_unit_test(a_pause_ends_with_the_assignment),
    cmocka_unit_test(commits_and_goes_on),
    cmocka_unit_test(shares_partitions_in_a_group),
    cmocka_unit_test(finds_new_topics_by_pattern),
    cmocka_unit_test(shows_committed_transactions_only),
    cmocka_unit_test(moves_offsets_in_a_transaction),
    cmocka_unit_test(fences_a_zombie),
    cmocka_unit_test(knows_its_topics),
    cmocka_unit_test(reports_deliveries),
    cmocka_unit_test(a_failed_transaction_is_aborted),
    cmocka_unit_test(seeks_at_random_are_exact),
    cmocka_unit_test(says_which_position_is_gone),
    cmocka_unit_test(ends_with_work_in_hand),
};
const size_t bus_suite_count = sizeof bus_suite_cases / sizeof *bus_suite_cases;
