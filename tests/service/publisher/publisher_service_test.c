/*
 * The real program among real servers: killed between its steps, stopped and
 * woken as a zombie; events are counted as a read_committed consumer sees them.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/publisher/facts.h"

enum { RUNS_MAX = 200, PATIENCE_MS = 90000, QUIET_MS = 1500, SWEEP_MS = 8000 };

/* Names of its own: the servers are shared with other tests. */
static struct {
    struct facts f;
    struct arena arena;
    char prefix[40], owner[40], done[KEY_MAX];
    int runs, events[RUNS_MAX], total;
    struct model_ready last;
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

    ok(clock_real(&t.f.clock, &e));
    ok(bus_kafka(&t.f.bus, &k, t.f.clock, &e));
    ok(blob_s3(&t.f.blob, &s, t.f.clock, &e));
    ok(bus_producer_open(t.f.bus, &p, NULL, NULL, &t.f.producer, &e));
}

static int setup(void **state)
{
    char nonce[33];

    (void)state;
    memset(&t, 0, sizeof t);
    arena_init(&t.arena, 256 << 20);
    open_ports();
    clock_nonce(t.f.clock, nonce);
    snprintf(t.prefix, sizeof t.prefix, "pt%.8s", nonce);
    snprintf(t.owner, sizeof t.owner, "pt%.8s", nonce);
    ok(keys_init(&t.f.keys, t.prefix, &e));
    topic_internal(&t.f.keys, TOPIC_DONE, t.done);
    facts_topics(&t.f, t.owner);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bus_producer_free(t.f.producer);
    blob_free(t.f.blob);
    bus_free(t.f.bus);
    clock_free(t.f.clock);
    arena_release(&t.arena);
    return 0;
}

/* --- the program --- */

static pid_t launch(const char *const *more)
{
    char prefix[80];
    const char *argv[24] = {
        PUBLISHER_PROGRAM,        "--set", "http.address=127.0.0.1:0",    "--set", prefix, "--set",
        "publisher.partitions=2", "--set", "publisher.session_timeout=6s"};
    int i = 9;
    pid_t pid;

    snprintf(prefix, sizeof prefix, "tripline.prefix=%s", t.prefix);
    for (; more && *more; more++)
        argv[i++] = *more;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    if (!getenv("TRIPLINE_TEST_LOG"))
        dup2(open("/dev/null", O_WRONLY), 2);
    execv(PUBLISHER_PROGRAM, (char *const *)argv);
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

/* The program makes its topics. */
static void wait_topics(void)
{
    int64_t until = clock_mono_ms(t.f.clock) + PATIENCE_MS;
    struct err why = ERR_INIT;
    int count;

    while (bus_partitions(t.f.bus, t.done, &count, &why) < 0) {
        assert_true(clock_mono_ms(t.f.clock) < until);
        clock_sleep_ms(t.f.clock, 100);
    }
    assert_int_equal(count, 2);
}

/* --- runs --- */

static const char *run_name(int i)
{
    static char name[20];

    snprintf(name, sizeof name, "r%d", i);
    return name;
}

static void more_runs(int count)
{
    while (count-- > 0) {
        facts_run(&t.f, &(struct fact){.owner = t.owner, .run = run_name(t.runs)});
        facts_done(&t.f, t.owner, run_name(t.runs));
        t.runs++;
    }
}

static int open_runs(int from)
{
    int i, n = 0;

    for (i = from; i < t.runs; i++)
        n += facts_open(&t.f, t.owner, run_name(i));
    return n;
}

/* As a trainer's sweep does: who died behind its commit left a marker. */
static void sweep(int from)
{
    int i;

    for (i = from; i < t.runs; i++)
        if (facts_open(&t.f, t.owner, run_name(i)))
            facts_done(&t.f, t.owner, run_name(i));
}

/* Waits until not more than `most` of the runs from `from` on have their markers. */
static void wait_open(int from, int most)
{
    int64_t now = clock_mono_ms(t.f.clock), until = now + PATIENCE_MS, next = now + SWEEP_MS;

    while (open_runs(from) > most) {
        now = clock_mono_ms(t.f.clock);
        if (now > until)
            fail_msg("%d runs of %d wait for their event", open_runs(from), t.runs - from);
        if (now > next) {
            sweep(from);
            next = now + SWEEP_MS;
        }
        clock_sleep_ms(t.f.clock, 10);
    }
}

/* --- what a consumer sees --- */

static void look(const struct bus_message *m)
{
    struct model_ready_header headers[16];
    char values[16][300];
    int64_t run;
    size_t i;

    assert_in_range(m->header_count, 1, 16);
    for (i = 0; i < m->header_count; i++) {
        snprintf(values[i], sizeof values[i], "%.*s", (int)m->headers[i].value_len,
                 (const char *)m->headers[i].value);
        headers[i] = (struct model_ready_header){m->headers[i].name, values[i]};
    }
    ok(model_ready_from(headers, m->header_count, m->value, m->value_len, &t.arena, &t.last, &e));
    run = strtol(t.last.subject + 1, NULL, 10);
    assert_in_range(run, 0, RUNS_MAX - 1);
    t.events[run]++;
    t.total++;
}

static void count_events(const char *owner)
{
    char topic[KEY_MAX], group[80];
    const char *topics[] = {topic};
    struct bus_consumer_options o = {.group = group, .topics = topics, .topic_count = 1};
    struct bus_consumer *c = NULL;
    struct bus_message *m;
    int64_t quiet;
    int rc = 0;

    memset(t.events, 0, sizeof t.events);
    t.total = 0;
    snprintf(group, sizeof group, "%s.count.%lld", t.prefix, (long long)clock_mono_ms(t.f.clock));
    ok(topic_of(&t.f.keys, TOPIC_MODELS, owner, topic, &e));
    ok(bus_consumer_open(t.f.bus, &o, &c, &e));
    quiet = clock_mono_ms(t.f.clock) + 10000; /* it has to join first */
    while (clock_mono_ms(t.f.clock) < quiet) {
        struct err e = ERR_INIT;

        if ((rc = bus_poll(c, 200, &m, &e)) <= 0)
            continue;
        look(m);
        bus_message_free(c, m);
        quiet = clock_mono_ms(t.f.clock) + QUIET_MS;
    }
    bus_consumer_free(c);
}

static int each_version(void *arg, const char *key, uint64_t size)
{
    char owner[KEY_NAME_MAX], model[KEY_NAME_MAX];
    uint64_t n, *newest = arg;

    (void)size;
    if (key_model_parse(key, owner, model, &n) && n > *newest)
        *newest = n;
    return 0;
}

static void check_all(void)
{
    uint64_t newest = 0;
    char prefix[KEY_MAX];
    int i;

    count_events(t.owner);
    print_message("%d runs, %d events\n", t.runs, t.total);
    for (i = 0; i < t.runs; i++)
        if (t.events[i] != 1)
            fail_msg("run %d has %d events", i, t.events[i]);
    ok(key_model_prefix(t.owner, "search", prefix, &e));
    ok(blob_list(t.f.blob, prefix, NULL, each_version, &newest, &e));
    assert_true(newest >= 1 && newest <= (uint64_t)t.runs);
    assert_int_equal(facts_current(&t.f, t.owner, "search", &t.arena).n, newest);
}

/* --- cases --- */

static void test_killed_between_steps(void **state)
{
    int round, first, i;
    pid_t pid;

    (void)state;
    for (round = 0; round < 6; round++) {
        pid = launch(NULL);
        wait_topics();
        first = t.runs;
        more_runs(12);
        for (i = 0; i < 6 && first; i++)
            facts_done(&t.f, t.owner,
                       run_name((int)(clock_random_u64(t.f.clock) % (uint64_t)first)));
        /* from its first event on: the others are in work */
        wait_open(first, 11);
        usleep((useconds_t)(clock_random_u64(t.f.clock) % 60000));
        assert_true(WIFSIGNALED(finish(pid, SIGKILL)));
        print_message("killed with %d of 12 open\n", open_runs(first));
    }
    pid = launch(NULL);
    for (i = 0; i < t.runs; i++)
        facts_done(&t.f, t.owner, run_name(i)); /* as a sweep may, and as it must not matter */
    wait_open(0, 0);
    assert_int_equal(finish(pid, SIGTERM), 0);
    check_all();
}

static void test_zombie(void **state)
{
    pid_t a = launch(NULL), b;

    (void)state;
    wait_topics();
    more_runs(2);
    wait_open(0, 0);
    more_runs(30);
    wait_open(2, 25);
    assert_int_equal(kill(a, SIGSTOP), 0); /* with a transaction open, as likely as not */
    b = launch(NULL);
    wait_open(0, 0);
    more_runs(4);
    assert_int_equal(kill(a, SIGCONT), 0); /* it believes that it has its partitions */
    more_runs(10);
    wait_open(0, 0);
    assert_int_equal(finish(a, SIGTERM), 0);
    more_runs(4);
    wait_open(0, 0);
    assert_int_equal(finish(b, SIGTERM), 0);
    check_all();
}

static void test_owner_without_topic(void **state)
{
    pid_t pid = launch(NULL);
    char bare[60];

    (void)state;
    wait_topics();
    snprintf(bare, sizeof bare, "%s-bare", t.owner);
    facts_run(&t.f, &(struct fact){.owner = bare, .run = "r0"});
    facts_done(&t.f, bare, "r0");
    more_runs(6);
    wait_open(0, 0);
    assert_true(facts_open(&t.f, bare, "r0"));
    facts_topics(&t.f, bare);
    while (facts_open(&t.f, bare, "r0"))
        clock_sleep_ms(t.f.clock, 100);
    assert_int_equal(finish(pid, SIGTERM), 0);
    count_events(bare);
    assert_int_equal(t.total, 1);
    check_all();
}

static void test_presigned_and_binary(void **state)
{
    pid_t pid = launch(NULL);
    const struct model_artifact *a;

    (void)state;
    wait_topics();
    facts_run(&t.f,
              &(struct fact){.owner = t.owner, .run = "r0", .presign_s = 600, .binary = true});
    facts_done(&t.f, t.owner, "r0");
    t.runs = 1;
    wait_open(0, 0);
    assert_int_equal(finish(pid, SIGTERM), 0);
    count_events(t.owner);
    assert_int_equal(t.total, 1);
    a = t.last.data->artifact;
    assert_non_null(a->expires_at);
    assert_non_null(strstr(a->files[0].https_url, "X-Amz-Signature="));
    assert_memory_equal(a->files[0].url, "s3://", 5);
}

static void test_check_and_wrong_settings(void **state)
{
    static const char *const check[] = {"--check", NULL};
    static const char *const broker[] = {"--check", "--set", "kafka.brokers=127.0.0.1:1", NULL};
    const struct bus_topic uneven[2] = {{.name = t.done, .partitions = 3},
                                        {.name = "", .partitions = 2}};
    char published[KEY_MAX];
    struct bus_topic topics[2];
    int status;

    (void)state;
    assert_int_equal(finish(launch(check), 0), 0);
    status = finish(launch(broker), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), err_exit_status(ERR_PEER));
    memcpy(topics, uneven, sizeof topics);
    topic_internal(&t.f.keys, TOPIC_PUBLISHED, published);
    topics[1].name = published;
    ok(bus_create_topics(t.f.bus, topics, 2, &e));
    status = finish(launch(NULL), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), err_exit_status(ERR_CONFIG));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_killed_between_steps),     CASE(test_zombie),
        CASE(test_owner_without_topic),      CASE(test_presigned_and_binary),
        CASE(test_check_and_wrong_settings),
    };

    return cmocka_run_group_tests_name("publisher service", tests, NULL, NULL);
}
