/* The real program among real servers: killed in mid-stream, drained, checked. */
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/clock/clock.h"
#include "tests/unit/ingest/chain_check.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

enum {
    PARTITIONS = 2,
    PATIENCE_MS = 60000,
    TOPIC_BYTES = 18874368, /* of DOCUMENT_TOPIC_SIZE */
    RECORD_FRAME = 90,      /* at most what Kafka adds to the value of a batch's one record */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    PEAK_KIB = 1 << 20 /* it keeps what is freed for a while */
#else
    PEAK_KIB = 256 << 10
#endif
};

/* Names of its own: the servers are shared with other tests. */
static struct {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct bus_producer *producer;
    char prefix[40], owner[40], topic[KEY_MAX];
    struct keys keys;
    size_t sent, bad;
} t;

static const char *from_env(const char *name)
{
    const char *value = getenv(name);

    if (!value)
        fail_msg("%s is not set: run it by scripts/with-servers.sh", name);
    return value;
}

static void open_ports(void)
{
    struct bus_kafka_options k = {.brokers = from_env("TRIPLINE_KAFKA")};
    struct blob_s3_options s = {.endpoint = from_env("TRIPLINE_S3_ENDPOINT"),
                                .region = "us-east-1",
                                .bucket = from_env("TRIPLINE_S3_BUCKET"),
                                .access_key = from_env("AWS_ACCESS_KEY_ID"),
                                .secret_key = from_env("AWS_SECRET_ACCESS_KEY")};
    struct bus_producer_options p = {0};

    ok(clock_real(&t.clock, &e));
    ok(bus_kafka(&t.bus, &k, t.clock, &e));
    ok(blob_s3(&t.blob, &s, t.clock, &e));
    ok(bus_producer_open(t.bus, &p, NULL, NULL, &t.producer, &e));
}

static int setup(void **state)
{
    /* as `push` and `owner create` make them */
    static const char *const docs[] = {"message.timestamp.type=LogAppendTime", DOCUMENT_TOPIC_SIZE,
                                       NULL};
    static const char *const copies[] = {DOCUMENT_TOPIC_SIZE, NULL};
    struct bus_topic topics[2] = {{.partitions = PARTITIONS, .config = docs},
                                  {.partitions = 1, .config = copies}};
    char nonce[33], rejected[KEY_MAX];

    (void)state;
    memset(&t, 0, sizeof t);
    open_ports();
    clock_nonce(t.clock, nonce);
    snprintf(t.prefix, sizeof t.prefix, "it%.8s", nonce);
    snprintf(t.owner, sizeof t.owner, "it%.8s", nonce);
    ok(keys_init(&t.keys, t.prefix, &e));
    ok(topic_docs(&t.keys, t.owner, "news", t.topic, &e));
    ok(topic_of(&t.keys, TOPIC_REJECTED, t.owner, rejected, &e));
    topics[0].name = t.topic;
    topics[1].name = rejected;
    ok(bus_create_topics(t.bus, topics, 2, &e));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bus_producer_free(t.producer);
    blob_free(t.blob);
    bus_free(t.bus);
    clock_free(t.clock);
    return 0;
}

/* --- the program --- */

static pid_t launch(const char *const *more)
{
    char prefix[80];
    const char *argv[24] = {INGEST_PROGRAM,
                            "--set",
                            "http.address=127.0.0.1:0",
                            "--set",
                            prefix,
                            "--set",
                            "ingest.segment_age=400ms",
                            "--set",
                            "ingest.segment_records=700",
                            "--set",
                            "ingest.session_timeout=6s"};
    int i = 11;
    pid_t pid;

    snprintf(prefix, sizeof prefix, "tripline.prefix=%s", t.prefix);
    for (; more && *more; more++)
        argv[i++] = *more;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
    dup2(open("/dev/null", O_WRONLY), 1);
    if (!getenv("TRIPLINE_TEST_LOG"))
        dup2(1, 2);
    execv(INGEST_PROGRAM, (char *const *)argv);
    _exit(127);
}

static int finish(pid_t pid, int signal_number)
{
    int status = 0;

    if (signal_number)
        assert_int_equal(kill(pid, signal_number), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* --- documents --- */

static void send_one(struct bus_producer *p, int32_t partition, const char *value,
                     const struct bus_header *h)
{
    const struct bus_message m = {.topic = t.topic,
                                  .partition = partition,
                                  .value = value,
                                  .value_len = strlen(value),
                                  .headers = h,
                                  .header_count = h != NULL};

    ok(bus_send(p, &m, NULL, &e));
}

static void push(struct bus_producer *p, int count)
{
    char value[400];
    int i;

    for (i = 0; i < count; i++) {
        const bool bad = t.sent % 100 == 99;

        snprintf(value, sizeof value,
                 "{\"id\":\"%zu\",%s:%zu,\"text\":\"document %zu of a stream\"}", t.sent,
                 bad ? "\"lable\"" : "\"label\"", t.sent % 7, t.sent);
        send_one(p, (int32_t)(t.sent % PARTITIONS), value, NULL);
        t.sent++;
        t.bad += bad;
    }
    ok(bus_flush(p, 30000, &e));
}

static void seal(void)
{
    const struct bus_header h = {HEADER_CONTROL, CONTROL_SEAL, strlen(CONTROL_SEAL)};
    int32_t i;

    for (i = 0; i < PARTITIONS; i++)
        send_one(t.producer, i, "", &h);
    ok(bus_flush(t.producer, 30000, &e));
}

static int64_t end_of(int32_t partition)
{
    int64_t low, high;

    ok(bus_watermarks(t.bus, t.topic, partition, &low, &high, &e));
    return high;
}

static struct chain_seen look(int32_t partition, bool compare)
{
    struct segment_name name = {.dataset = "news", .partition = partition};
    struct chain_seen seen;

    snprintf(name.owner, sizeof name.owner, "%s", t.owner);
    chain_check(t.blob, compare ? t.bus : NULL, t.topic, &name, 0, &seen);
    return seen;
}

/* Waits until both chains reach the ends of their partitions. */
static void wait_covered(void)
{
    int64_t until = clock_mono_ms(t.clock) + PATIENCE_MS;
    int32_t i;

    for (i = 0; i < PARTITIONS; i++) {
        while (look(i, false).next != end_of(i)) {
            if (clock_mono_ms(t.clock) > until)
                fail_msg("partition %d: the chain ends at %lld, the topic at %lld", (int)i,
                         (long long)look(i, false).next, (long long)end_of(i));
            clock_sleep_ms(t.clock, 200);
        }
    }
}

/* --- cases --- */

static void test_killed_in_mid_stream(void **state)
{
    size_t documents = 0, rejected = 0, segments = 0;
    struct chain_seen seen;
    int round, i;
    pid_t pid;

    (void)state;
    for (round = 0; round < 6; round++) {
        pid = launch(NULL);
        /* the first second or two it finds its partitions: kills fall before, in and after that */
        for (i = 0; i < 4 + 4 * round; i++) {
            push(t.producer, 300);
            clock_sleep_ms(t.clock, 60 + (int64_t)(clock_random_u64(t.clock) % 120));
        }
        assert_true(WIFSIGNALED(finish(pid, SIGKILL)));
    }
    pid = launch(NULL);
    push(t.producer, 300);
    seal();
    wait_covered();
    assert_int_equal(finish(pid, SIGTERM), 0);
    for (i = 0; i < PARTITIONS; i++) {
        seen = look(i, false);
        documents += seen.documents;
        rejected += seen.rejected;
        segments += seen.segments;
        assert_int_equal(seen.seals, 1);
        assert_int_equal(seen.missing, 0);
        assert_int_equal(seen.next, end_of(i));
    }
    print_message("%zu sent, %zu documents, %zu rejected, %zu segments\n", t.sent, documents,
                  rejected, segments);
    assert_int_equal(documents, t.sent - t.bad);
    assert_int_equal(rejected, t.bad);
}

static void transaction(bool commit)
{
    const struct bus_producer_options o = {.transactional_id = t.prefix};
    struct bus_producer *p = NULL;

    ok(bus_producer_open(t.bus, &o, NULL, NULL, &p, &e));
    ok(bus_begin(p, &e));
    push(p, 4);
    if (commit)
        ok(bus_commit_transaction(p, &e));
    else
        ok(bus_abort_transaction(p, &e));
    bus_producer_free(p);
}

static void test_transactions_and_two_processes(void **state)
{
    pid_t a = launch(NULL), b;
    int32_t i;

    (void)state;
    push(t.producer, 6);
    transaction(false);
    push(t.producer, 6);
    b = launch(NULL);
    transaction(true); /* its markers are the last offsets */
    wait_covered();
    assert_int_equal(finish(a, SIGTERM), 0);
    push(t.producer, 6);
    wait_covered();
    assert_int_equal(finish(b, SIGTERM), 0);
    for (i = 0; i < PARTITIONS; i++) {
        assert_int_equal(look(i, true).documents, (6 + 6 + 4 + 6) / 2);
        assert_int_equal(look(i, true).next, end_of(i));
    }
}

static void test_drain_writes_what_is_open(void **state)
{
    static const char *const slow[] = {"--set", "ingest.segment_age=1h", NULL};
    pid_t pid = launch(slow);
    int64_t until = clock_mono_ms(t.clock) + PATIENCE_MS;

    (void)state;
    push(t.producer, 200);
    seal(); /* from here on it reads */
    wait_covered();
    push(t.producer, 200);
    clock_sleep_ms(t.clock, 1500); /* not a wait for anything: a drain may find more or less */
    assert_int_equal(finish(pid, SIGTERM), 0);
    assert_true(clock_mono_ms(t.clock) < until);
    pid = launch(NULL);
    push(t.producer, 2); /* that they are covered tells that it runs */
    wait_covered();
    assert_int_equal(finish(pid, SIGTERM), 0);
    assert_int_equal(look(0, false).documents + look(1, false).documents, t.sent - t.bad);
}

/* A producer that compresses, as librdkafka itself does it. */
static void push_compressed(const char *codec, int count)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[200], value[300];
    rd_kafka_t *rk;
    int i, n;

    rd_kafka_conf_set(conf, "bootstrap.servers", from_env("TRIPLINE_KAFKA"), why, sizeof why);
    rd_kafka_conf_set(conf, "linger.ms", "50", why, sizeof why); /* batches of several */
    if (rd_kafka_conf_set(conf, "compression.codec", codec, why, sizeof why) != RD_KAFKA_CONF_OK)
        fail_msg("%s", why);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert_non_null(rk);
    for (i = 0; i < count; i++) {
        n = snprintf(value, sizeof value, "{\"id\":\"%s-%d\",\"label\":1,\"text\":\"%0100d\"}",
                     codec, i, i);
        assert_int_equal(
            rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(t.topic), RD_KAFKA_V_PARTITION(i % PARTITIONS),
                              RD_KAFKA_V_VALUE(value, (size_t)n),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
            0);
    }
    assert_int_equal(rd_kafka_flush(rk, 30000), 0);
    rd_kafka_destroy(rk);
}

static void test_compressed_batches(void **state)
{
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    pid_t pid = launch(NULL);
    size_t i;

    (void)state;
    for (i = 0; i < sizeof codecs / sizeof codecs[0]; i++)
        push_compressed(codecs[i], 100);
    seal();
    wait_covered();
    assert_int_equal(finish(pid, SIGTERM), 0);
    for (i = 0; i < PARTITIONS; i++) {
        const struct chain_seen seen = look((int32_t)i, true);

        assert_int_equal(seen.documents, 250);
        assert_int_equal(seen.rejected, 0);
    }
}

/* What tests/unit/ingest/hostile_test.c has in full, once each through real servers. */
static void test_hostile(void **state)
{
    static const struct {
        const char *value, *header, *header_value;
    } bad[] = {
        {"{\"id\":\"a\",\"label\":NaN,\"text\":\"x\"}", NULL, NULL},
        {"{\"id\":\"a\",\"label\":1,\"text\":\"\xff\"}", NULL, NULL},
        {"{\"id\":\"a\",\"label\":1,\"text\":\"x\"}", "content-type", "text/csv"},
        {"{\"id\":\"a\",\"label\":1,\"text\":\"x\"}", HEADER_CONTROL, "stop"},
        {"{\"id\":\"a\",\"label\":1,\"text\":\"x\"}", HEADER_URI, "forged"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "content-type", "application/json"},
        {"{", HEADER_REJECT_OFFSET, "999"},
    };
    const struct bus_message removal = {.topic = t.topic, .partition = 0, .key = "a", .key_len = 1},
                             nothing = {.topic = t.topic, .partition = 0};
    const size_t n = sizeof bad / sizeof bad[0];
    struct chain_seen seen;
    pid_t pid = launch(NULL);
    size_t i;

    (void)state;
    for (i = 0; i < n; i++) {
        const struct bus_header h = {bad[i].header, bad[i].header_value,
                                     bad[i].header ? strlen(bad[i].header_value) : 0};

        send_one(t.producer, 0, bad[i].value, h.name ? &h : NULL);
        push(t.producer, PARTITIONS); /* good ones between them */
    }
    ok(bus_send(t.producer, &removal, NULL, &e));
    ok(bus_send(t.producer, &nothing, NULL, &e));
    transaction(false);
    seal();
    wait_covered();
    assert_int_equal(finish(pid, SIGTERM), 0);
    seen = look(0, true);
    assert_int_equal(seen.documents, n);
    assert_int_equal(seen.rejected, n + 1);
    assert_int_equal(seen.tombstones, 1);
    assert_int_equal(seen.seals, 1);
    seen = look(1, true);
    assert_int_equal(seen.documents, n);
    assert_int_equal(seen.rejected, 0);
}

/* A document of n bytes that no codec makes smaller, so that the broker's limit is met too. */
static char *large(size_t n)
{
    static const char head[] = "{\"id\":\"l\",\"label\":1,\"text\":\"x\",\"meta\":\"",
                      tail[] = "\"}",
                      alphabet[] =
                          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *value = malloc(n + 1);
    uint64_t x = n;
    size_t i;

    assert_non_null(value);
    memcpy(value, head, sizeof head - 1);
    for (i = sizeof head - 1; i < n - sizeof tail + 1; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        value[i] = alphabet[x >> 58];
    }
    memcpy(value + i, tail, sizeof tail);
    assert_int_equal(strlen(value), n);
    return value;
}

/* Most that a process ever had in memory. */
static long peak_kib(pid_t pid)
{
    char path[64], line[256];
    long kib = -1;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    assert_non_null(f = fopen(path, "re"));
    while (fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %ld", &kib) != 1)
        ;
    fclose(f);
    return kib;
}

/* The copy of the record at `offset`: whole, or without the value that had no room. */
static void expect_copy(int64_t at, int64_t offset, const char *value, const char *reason)
{
    struct bus_message *m = NULL;
    char topic[KEY_MAX], place[24];
    size_t i, seen = 0;

    ok(topic_of(&t.keys, TOPIC_REJECTED, t.owner, topic, &e));
    ok(bus_read_at(t.bus, topic, 0, at, &m, &e));
    assert_non_null(m);
    snprintf(place, sizeof place, "%lld", (long long)offset);
    for (i = 0; i < m->header_count; i++) {
        const struct bus_header *h = &m->headers[i];

        if (!strcmp(h->name, HEADER_REJECT_OFFSET))
            seen += h->value_len == strlen(place) && !memcmp(h->value, place, h->value_len);
        if (!strcmp(h->name, HEADER_REJECT_REASON)) {
            assert_int_equal(h->value_len, strlen(reason));
            assert_memory_equal(h->value, reason, h->value_len);
            seen++;
        }
    }
    assert_int_equal(seen, 2);
    assert_int_equal(m->value_len, value ? strlen(value) : 0);
    if (value)
        assert_memory_equal(m->value, value, m->value_len);
    bus_read_free(t.bus, m);
}

/*
 * At the limit of a document, one byte to either side, and as large as the topic takes: there its
 * copy, which has headers more, is too large for the rejected topic. A small document behind each
 * tells that the partition goes on. Each large one is more than a fetch asks for, and than what
 * ingest may keep of unwritten segments.
 */
static void test_sizes(void **state)
{
    static const char *const little[] = {"--set", "ingest.memory=16M", NULL};
    const size_t limit = DOCUMENT_BYTES_MAX, most = TOPIC_BYTES - RECORD_FRAME,
                 sizes[] = {limit - 1, limit, limit + 1, most};
    char *values[4], reason[200];
    struct chain_seen seen;
    pid_t pid = launch(little);
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        values[i] = large(sizes[i]);
        send_one(t.producer, 0, values[i], NULL);
        ok(bus_flush(t.producer, 60000, &e)); /* a batch of its own */
        push(t.producer, PARTITIONS);
    }
    seal();
    wait_covered();
    assert_in_range(peak_kib(pid), 1, PEAK_KIB);
    assert_int_equal(finish(pid, SIGTERM), 0);
    seen = look(0, true); /* what was accepted is there byte for byte */
    assert_int_equal(seen.documents, 2 + 4);
    assert_int_equal(seen.rejected, 2);
    assert_int_equal(seen.missing, 0);
    snprintf(reason, sizeof reason, "LIMIT: %zu bytes, at most %zu", most, limit);
    assert_string_equal(seen.reason, reason);
    snprintf(reason, sizeof reason, "%zu bytes, at most %zu", limit + 1, limit);
    expect_copy(0, 4, values[2], reason);
    snprintf(reason, sizeof reason,
             "%zu bytes, at most %zu (%zu bytes left out: too large for this topic)", most, limit,
             most);
    expect_copy(1, 6, NULL, reason);
    for (i = 0; i < 4; i++)
        free(values[i]);
}

static void test_check_and_wrong_settings(void **state)
{
    static const char *const check[] = {"--check", NULL};
    static const char *const broker[] = {"--check", "--set", "kafka.brokers=127.0.0.1:1", NULL};
    static const char *const secret[] = {"--check", "--set", "s3.secret_key=wrong", NULL};
    int status;

    (void)state;
    status = finish(launch(check), 0);
    assert_int_equal(status, 0);
    status = finish(launch(broker), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), err_exit_status(ERR_PEER));
    status = finish(launch(secret), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), err_exit_status(ERR_DENIED));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_killed_in_mid_stream),
        CASE(test_transactions_and_two_processes),
        CASE(test_drain_writes_what_is_open),
        CASE(test_compressed_batches),
        CASE(test_hostile),
        CASE(test_sizes),
        CASE(test_check_and_wrong_settings),
    };

    return cmocka_run_group_tests_name("ingest service", tests, NULL, NULL);
}
