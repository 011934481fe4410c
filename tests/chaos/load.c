/*
 * Two threads: one sends documents, one sends jobs and cancels and looks whether
 * runs have ended. What the broker acknowledged is what the oracle believes.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/job.h"
#include "tests/chaos/chaos.h"

enum {
    PAUSE_MS = 40, /* between two documents */
    FLUSH_MS = 90000,
    JOBS_MAX = 8192,
    JOB_EVERY_MS = 3500,
    LOOK_EVERY_MS = 1000,
    OPEN_MAX = 12, /* no new job while so many have no end */
    NEW_TOPIC_DOCUMENTS = 60,
};

/* Jobs and documents: the lock guards what both the main thread and the senders use. */
static struct {
    struct task *documents, *jobs;
    atomic_bool stop;

    pthread_mutex_t lock; /* the lists, `held` to `renew` */
    struct sent *sent;
    size_t sent_count, sent_room;
    bool held[STREAMS_MAX];
    int settle;                    /* turns that flush, until what was held is not under way */
    bool renew;                    /* another producer, please: a topic of this one is gone */
    struct bus_producer *producer; /* the document thread's, as the next two */
    uint64_t number;
    size_t to_new[STREAMS_MAX];

    struct asked asked[JOBS_MAX]; /* the job thread's until load_stop, as all below */
    size_t asked_count, open;
    struct oracle eyes;
    atomic_int answer; /* of the last job message: 1 acknowledged, -1 not */
} load = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- documents ------------------------------------------------------------------------------- */

static void delivered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                      const char *why)
{
    pthread_mutex_lock(&load.lock);
    if (code == 0) {
        load.sent[(size_t)token - 1].partition = partition;
        load.sent[(size_t)token - 1].offset = offset;
    }
    pthread_mutex_unlock(&load.lock);
}

static void *remember(const struct bus_message *m, int stream, enum sent_kind kind)
{
    struct sent *s;
    size_t n;

    pthread_mutex_lock(&load.lock);
    if (load.sent_count == load.sent_room) {
        load.sent_room = load.sent_room ? 2 * load.sent_room : 4096;
        if (!(load.sent = realloc(load.sent, load.sent_room * sizeof *load.sent)))
            die("out of memory");
    }
    s = &load.sent[load.sent_count++];
    *s = (struct sent){.stream = stream,
                       .life = chaos.streams[stream].life,
                       .kind = kind,
                       .partition = -1,
                       .offset = -1};
    sent_hash(m->key, m->key_len, m->value, m->value_len, s->hash);
    n = load.sent_count;
    pthread_mutex_unlock(&load.lock);
    return (void *)n;
}

/* Documents, tombstones, seals, records that will be rejected. */
static void send_one(int stream)
{
    const struct bus_header seal = {HEADER_CONTROL, CONTROL_SEAL, strlen(CONTROL_SEAL)};
    uint64_t n = load.number++, what = draw(chaos.seed ^ 0x6c6f6164, n) % 100;
    bool bad = what < 5, tombstone = what >= 5 && what < 8, is_seal = what == 8;
    char topic[KEY_MAX], key[40], value[200];
    struct bus_message m = {.topic = topic, .partition = -1, .key = key, .value = value};
    struct err e = ERR_INIT;

    if (topic_docs(&chaos.keys, OWNER, chaos.streams[stream].dataset, topic, &e) < 0)
        die("%s", e.text);
    m.key_len = (size_t)snprintf(key, sizeof key, "%llx-%llu", (unsigned long long)chaos.seed,
                                 (unsigned long long)n);
    m.value_len = (size_t)snprintf(value, sizeof value,
                                   "{\"id\":\"%s\",\"%s\":%llu,\"text\":\"document %llu of a "
                                   "stream\"}",
                                   key, bad ? "lable" : "label", (unsigned long long)(n % 7),
                                   (unsigned long long)n);
    if (tombstone || is_seal) {
        m.value = NULL;
        m.value_len = 0;
    }
    if (is_seal) {
        m.headers = &seal;
        m.header_count = 1;
    }
    (void)bus_send(load.producer, &m, remember(&m, stream, bad ? SENT_BAD : SENT_GOOD), &e);
}

/* Most to steady, a third to fickle; a new topic gets its first documents in between. */
static int next_stream(void)
{
    uint64_t x = draw(chaos.seed ^ 0x7768, load.number);
    int i, count;

    pthread_mutex_lock(&load.lock);
    count = chaos.stream_count;
    pthread_mutex_unlock(&load.lock);
    i = count - 1;
    if (i >= 2 && load.to_new[i] < NEW_TOPIC_DOCUMENTS && x % 2 == 0) {
        load.to_new[i]++;
        return i;
    }
    return x % 3 == 0;
}

static void producer_open(void)
{
    const struct bus_producer_options o = {.message_timeout_ms = 60000};
    struct err e = ERR_INIT;

    bus_producer_free(load.producer);
    if (bus_producer_open(chaos.bus, &o, delivered, NULL, &load.producer, &e) < 0)
        die("a producer: %s", e.text);
}

/* Unless it is held. */
static bool take(int stream)
{
    bool taken;

    pthread_mutex_lock(&load.lock);
    taken = !load.held[stream];
    pthread_mutex_unlock(&load.lock);
    return taken;
}

static void let_go(void)
{
    bool settle, renew;
    struct err e = ERR_INIT;

    pthread_mutex_lock(&load.lock);
    settle = load.settle > 0;
    renew = load.renew;
    load.renew = false;
    pthread_mutex_unlock(&load.lock);
    if (settle || renew)
        (void)bus_flush(load.producer, FLUSH_MS, &e);
    if (renew)
        producer_open();
    pthread_mutex_lock(&load.lock);
    if (load.settle)
        load.settle--;
    pthread_mutex_unlock(&load.lock);
}

static void send_documents(void *arg)
{
    struct err e = ERR_INIT;
    int stream;

    producer_open();
    while (!atomic_load(&load.stop)) {
        stream = next_stream();
        if (take(stream))
            send_one(stream);
        else
            load.number++;
        let_go();
        clock_sleep_ms(chaos.clock, PAUSE_MS);
    }
    (void)bus_flush(load.producer, FLUSH_MS, &e);
    bus_producer_free(load.producer);
}

void load_hold(int stream, bool on)
{
    pthread_mutex_lock(&load.lock);
    load.held[stream] = on;
    if (on) /* the turn that is on now, and one that began after the hold */
        load.settle = 2;
    pthread_mutex_unlock(&load.lock);
}

bool load_is_held(void)
{
    bool is;

    pthread_mutex_lock(&load.lock);
    is = load.settle == 0;
    pthread_mutex_unlock(&load.lock);
    return is;
}

void load_new_life(int stream)
{
    pthread_mutex_lock(&load.lock);
    chaos.streams[stream].life++;
    load.renew = true;
    pthread_mutex_unlock(&load.lock);
}

size_t load_awaits(int stream)
{
    size_t n;

    pthread_mutex_lock(&load.lock);
    n = oracle_awaits(&chaos.oracle, stream, load.sent, load.sent_count);
    pthread_mutex_unlock(&load.lock);
    return n;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void answered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                     const char *why)
{
    atomic_store(&load.answer, code == 0 ? 1 : -1);
}

static bool send_job(struct bus_producer *p, const char *run, const char *text)
{
    char topic[KEY_MAX];
    struct bus_message m = {.topic = topic,
                            .partition = -1,
                            .key = run,
                            .key_len = strlen(run),
                            .value = text,
                            .value_len = strlen(text)};
    struct err e = ERR_INIT;

    if (topic_of(&chaos.keys, TOPIC_JOBS, OWNER, topic, &e) < 0)
        die("%s", e.text);
    atomic_store(&load.answer, 0);
    return bus_send(p, &m, NULL, &e) == 0 && bus_flush(p, FLUSH_MS, &e) == 0 &&
           atomic_load(&load.answer) == 1;
}

/* One in eight is invalid, one in four is sent twice, as a producer does that got no answer. The
 * training of each eighth never comes to its end within the second that it is given. */
static void ask(struct bus_producer *p)
{
    struct asked *a = &load.asked[load.asked_count];
    uint64_t x = draw(chaos.seed ^ 0x6a6f62, load.asked_count);
    char text[600], limits[64] = "\"max_attempts\":1000";
    int epochs = (int)(10 + (x >> 16) % 30);

    a->valid = x % 8 != 0;
    if (load.asked_count % 8 == 5) {
        a->doomed = a->valid ? 2 + (int)((x >> 32) % 2) : 0;
        epochs = 10000;
        snprintf(limits, sizeof limits, "\"max_attempts\":%d,\"limits\":{\"time_seconds\":1}",
                 a->doomed ? a->doomed : 1);
    }
    snprintf(a->run, sizeof a->run, "run-%zu", load.asked_count);
    snprintf(text, sizeof text,
             "{\"kind\":\"fit\",\"run\":\"%s\",\"dataset\":\"train\",\"model\":\"m%llu\",%s"
             "%s,\"parameters\":{\"epochs\":%d,\"batch_classes\":4,"
             "\"items_per_class\":4,\"max_length\":16,\"learning_rate\":0.001,"
             "\"checkpoint_steps\":20}}",
             a->run, (unsigned long long)(x >> 8) % 3, a->valid ? "\"backbone\":\"tiny\"," : "",
             limits, epochs);
    load.asked_count++;
    a->acknowledged = send_job(p, a->run, text);
    if ((x >> 24) % 4 == 0)
        a->acknowledged |= send_job(p, a->run, text);
}

static void cancel_some(struct bus_producer *p)
{
    size_t back = 1 + (size_t)(draw(chaos.seed ^ 0x63, load.asked_count) % 3);
    struct asked *a;
    char text[160];

    if (load.asked_count < back || draw(chaos.seed ^ 0x64, load.asked_count) % 5)
        return;
    a = &load.asked[load.asked_count - back];
    if (!a->valid)
        return;
    a->cancelled = true;
    snprintf(text, sizeof text, "{\"kind\":\"cancel\",\"run\":\"%s\",\"reason\":\"chaos\"}",
             a->run);
    (void)send_job(p, a->run, text);
}

static void look(void)
{
    struct err e = ERR_INIT;
    size_t i, open = 0;

    for (i = 0; i < load.asked_count; i++) {
        struct asked *a = &load.asked[i];

        if (a->ended || !a->acknowledged)
            continue;
        if (oracle_end(&load.eyes, a, &e) < 0)
            say("looking at %s: %s", a->run, e.text);
        open += !a->ended;
    }
    load.open = open;
}

static void send_jobs(void *arg)
{
    const struct bus_producer_options o = {.message_timeout_ms = 60000};
    struct bus_producer *p = NULL;
    struct err e = ERR_INIT;
    int64_t next = 0;

    if (bus_producer_open(chaos.bus, &o, answered, NULL, &p, &e) < 0)
        die("a producer: %s", e.text);
    while (!atomic_load(&load.stop)) {
        if (now_ms() >= next && load.asked_count < JOBS_MAX && load.open < OPEN_MAX) {
            ask(p);
            cancel_some(p);
            next = now_ms() + JOB_EVERY_MS;
        }
        look();
        clock_sleep_ms(chaos.clock, LOOK_EVERY_MS);
    }
    bus_producer_free(p);
}

/* ---- begin and end --------------------------------------------------------------------------- */

int load_stream(const char *dataset, int partitions)
{
    struct stream *s;
    int i;

    pthread_mutex_lock(&load.lock);
    i = chaos.stream_count;
    s = &chaos.streams[i];
    snprintf(s->dataset, sizeof s->dataset, "%s", dataset);
    s->partitions = partitions;
    chaos.oracle.stream_count = ++chaos.stream_count;
    pthread_mutex_unlock(&load.lock);
    return i;
}

void load_start(void)
{
    struct err e = ERR_INIT;

    load.eyes = (struct oracle){.store = chaos.blob, .owner = OWNER, .out = chaos.log};
    if (clock_go(chaos.clock, "documents", send_documents, NULL, &load.documents, &e) < 0 ||
        clock_go(chaos.clock, "jobs", send_jobs, NULL, &load.jobs, &e) < 0)
        die("the load: %s", e.text);
}

void load_stop(void)
{
    atomic_store(&load.stop, true);
    clock_join(chaos.clock, load.documents);
    clock_join(chaos.clock, load.jobs);
}

const struct sent *load_sent(size_t *n)
{
    *n = load.sent_count;
    return load.sent;
}

struct asked *load_jobs(size_t *n)
{
    chaos.oracle.tally.violations += load.eyes.tally.violations;
    load.eyes.tally.violations = 0;
    *n = load.asked_count;
    return load.asked;
}

size_t load_open_jobs(void)
{
    look();
    return load.open;
}
