/*
 * Ingest beside a raw librdkafka consumer, in turn, on the same messages of real
 * servers. Each is a process of its own: what it used comes from wait4, how long
 * it took from the events that it writes to stderr.
 *
 *   bench_ingest messages=1000000 bytes=297 partitions=4 level=0 rounds=1 formats=json,msgpack
 *
 * (level: of zstd, 0: ingest's own default; TRIPLINE_BENCH_INGEST: another program than this
 * build's) prints one JSON object; scripts/bench_ingest.py makes a table of it.
 */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include "platform/base/text.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/json/json.h"
#include "schemas/document.h"
#include "schemas/keys.h"
#include "tests/bench/ingest/raw.h"

enum { LINE_MAX_BYTES = 65536, FLUSH_MS = 120000, WORDS = 1000, LABELS = 77 };

struct bench {
    int64_t messages, bytes, partitions, rounds, level; /* level 0: ingest's own */
    const char *formats;
    const char *brokers;
    struct clock *clock;
    struct bus *bus;
    struct arena arena;
    char prefix[40];
};

/* What one process did. */
struct outcome {
    int64_t ms, stored; /* from its assignment to the last message; bytes in segments */
    double user_s, system_s;
    int64_t rss_kib;
};

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "bench_ingest: %s: %s\n", what, e->text);
    exit(err_exit_status(e->code));
}

/* --- messages --- */

/* Words of a made-up language, the first ones far more often: about as compressible as prose. */
static void put_words(uint64_t *state, struct buf *b, size_t until)
{
    static const char *const parts[] = {"ka", "lo", "mi", "ten", "sur", "a",  "ber", "in",
                                        "do", "qu", "re", "sha", "ul",  "vo", "na",  "est"};
    uint64_t word;
    int i;

    while (b->len < until) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        word = (*state >> 33) % WORDS * ((*state >> 50) % WORDS) / WORDS;
        for (i = 0; i < 2 + (int)(word % 3); i++)
            buf_str(b, parts[(word >> 3 * i) % 16]);
        buf_char(b, ' ');
    }
    b->len = until;
    b->data[until] = '\0';
}

/* A document of so many bytes in that format. */
static void put_document(struct bench *b, enum record_format format, int64_t n, struct buf *text,
                         struct buf *out)
{
    uint64_t state = (uint64_t)n + 1;
    struct err e = ERR_INIT;
    char id[24], label[24];
    struct document d;
    size_t over;

    arena_reset(&b->arena);
    document_init(&d);
    snprintf(id, sizeof id, "d%lld", (long long)n);
    snprintf(label, sizeof label, "label-%d", (int)(n % LABELS));
    d.id = id;
    d.label.text = label;
    buf_reset(text);
    put_words(&state, text, (size_t)b->bytes);
    do { /* the text is what is left beside the rest */
        d.text = text->data;
        buf_reset(out);
        if (document_write(&d, format, out, &e) < 0)
            die("a document", &e);
        over = out->len > (size_t)b->bytes ? out->len - (size_t)b->bytes : 0;
        text->len -= over;
        text->data[text->len] = '\0';
    } while (over);
}

/* As a push ends: segments are cut at once. */
static void seal(const struct bench *b, struct bus_producer *p, const char *topic)
{
    const struct bus_header h = {HEADER_CONTROL, CONTROL_SEAL, sizeof CONTROL_SEAL - 1};
    struct bus_message m = {.topic = topic, .headers = &h, .header_count = 1};
    struct err e = ERR_INIT;

    for (; m.partition < b->partitions; m.partition++)
        if (bus_send(p, &m, NULL, &e) < 0)
            die(topic, &e);
}

static void fill(struct bench *b, const char *topic, enum record_format format)
{
    static const char *const config[] = {"message.timestamp.type=LogAppendTime", NULL};
    static const char *const types[] = {"application/json", "application/msgpack"};
    const struct bus_topic t = {topic, (int)b->partitions, config};
    const struct bus_header h = {HEADER_CONTENT_TYPE, types[format], strlen(types[format])};
    struct bus_producer_options o = {.linger_ms = 20};
    struct bus_message m = {.topic = topic, .headers = &h, .header_count = 1};
    struct bus_producer *p = NULL;
    struct err e = ERR_INIT;
    struct buf text, value;
    int64_t i;

    buf_init(&text, 1 << 20);
    buf_init(&value, 1 << 20);
    if (bus_create_topics(b->bus, &t, 1, &e) < 0 ||
        bus_producer_open(b->bus, &o, NULL, NULL, &p, &e) < 0)
        die(topic, &e);
    for (i = 0; i < b->messages; i++) {
        put_document(b, format, i, &text, &value);
        m.partition = (int32_t)(i % b->partitions);
        m.value = value.data;
        m.value_len = value.len;
        if (bus_send(p, &m, NULL, &e) < 0)
            die(topic, &e);
    }
    seal(b, p, topic);
    if (bus_flush(p, FLUSH_MS, &e) < 0)
        die(topic, &e);
    bus_producer_free(p);
    buf_release(&text);
    buf_release(&value);
}

/* --- a contestant --- */

static pid_t launch(char *const *argv, FILE **events)
{
    int ends[2];
    pid_t pid;

    if (pipe(ends) < 0 || (pid = fork()) < 0) {
        perror("bench_ingest");
        exit(71);
    }
    if (pid == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        execv(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    *events = fdopen(ends[0], "r");
    return pid;
}

static void end(pid_t pid, int signal_number, struct outcome *o)
{
    struct rusage used;
    int status;

    if (signal_number)
        kill(pid, signal_number);
    if (wait4(pid, &status, 0, &used) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "bench_ingest: a contestant failed (status %d)\n", status);
        exit(70);
    }
    o->user_s = (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6;
    o->system_s = (double)used.ru_stime.tv_sec + (double)used.ru_stime.tv_usec / 1e6;
    o->rss_kib = used.ru_maxrss;
}

/* The next event of that name on the process's stderr; NULL at its end. */
static json_t *next_event(FILE *events, const char *const *names)
{
    static char line[LINE_MAX_BYTES];
    struct err e = ERR_INIT;
    const char *name;
    json_t *v;
    int i;

    while (fgets(line, sizeof line, events)) {
        if (json_parse(line, strlen(line), NULL, &v, &e) < 0) {
            fputs(line, stderr);
            continue;
        }
        name = json_string_value(json_object_get(v, "event"));
        for (i = 0; name && names[i]; i++)
            if (!strcmp(name, names[i]))
                return v;
        json_decref(v);
    }
    return NULL;
}

static int64_t number(const json_t *v, const char *name)
{
    return json_integer_value(json_object_get(v, name));
}

static void run_raw(struct bench *b, const char *topic, struct outcome *o)
{
    static const char *const names[] = {"raw", NULL};
    char count[24];
    char *argv[] = {"/proc/self/exe", "raw", (char *)topic, count, NULL};
    FILE *events;
    pid_t pid;
    json_t *v;

    snprintf(count, sizeof count, "%lld", (long long)b->messages);
    pid = launch(argv, &events);
    if ((v = next_event(events, names)))
        o->ms = number(v, "ms");
    json_decref(v);
    end(pid, 0, o);
    fclose(events);
}

/* From the first partition that is read to the segment that ends the last one. */
static void run_ingest(struct bench *b, const char *prefix, struct outcome *o)
{
    static const char *const names[] = {"partition.reading", "segment.created", NULL};
    const char *other = getenv("TRIPLINE_BENCH_INGEST");
    const int64_t all = b->messages + b->partitions; /* with the seals */
    char names_set[80], level[40];
    char *argv[] = {other ? (char *)other : INGEST_PROGRAM,
                    "--set",
                    names_set,
                    "--set",
                    "http.address=127.0.0.1:0",
                    b->level ? "--set" : NULL,
                    level,
                    NULL};
    int64_t began = 0, covered = 0;
    FILE *events;
    pid_t pid;
    json_t *v;

    snprintf(names_set, sizeof names_set, "tripline.prefix=%s", prefix);
    snprintf(level, sizeof level, "ingest.compression=%lld", (long long)b->level);
    pid = launch(argv, &events);
    while (covered < all && (v = next_event(events, names))) {
        if (!began)
            began = clock_mono_ms(b->clock);
        if (!strcmp(json_string_value(json_object_get(v, "event")), names[1])) {
            covered += number(v, "next") - number(v, "first");
            o->stored += number(v, "bytes");
        }
        json_decref(v);
    }
    o->ms = clock_mono_ms(b->clock) - began;
    end(pid, SIGTERM, o);
    fclose(events);
    if (covered != all) {
        fprintf(stderr, "bench_ingest: segments cover %lld of %lld\n", (long long)covered,
                (long long)all);
        exit(70);
    }
}

/* --- results --- */

static json_t *outcome_json(const struct bench *b, const struct outcome *o)
{
    double millions = (double)b->messages / 1e6;

    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "messages_per_s",
                     (double)b->messages * 1000 / (double)(o->ms ? o->ms : 1), "cpu_s_per_million",
                     (o->user_s + o->system_s) / millions, "user_s_per_million",
                     o->user_s / millions, "system_s_per_million", o->system_s / millions,
                     "rss_mib", (double)o->rss_kib / 1024, "stored_bytes_per_message",
                     (double)o->stored / (double)b->messages);
}

static json_t *round_of(struct bench *b, enum record_format format, int round)
{
    struct outcome raw = {0}, ingest = {0};
    struct err e = ERR_INIT;
    struct keys keys;
    char prefix[64], topic[KEY_MAX], owner[KEY_NAME_MAX];

    /* objects have no prefix: the owner is this round's own, too */
    snprintf(prefix, sizeof prefix, "%s-%d-%d", b->prefix, (int)format, round);
    snprintf(owner, sizeof owner, "%s", prefix);
    if (keys_init(&keys, prefix, &e) < 0 || topic_docs(&keys, owner, "bench", topic, &e) < 0)
        die(prefix, &e);
    fill(b, topic, format);
    if (round % 2)
        run_ingest(b, prefix, &ingest);
    run_raw(b, topic, &raw);
    if (round % 2 == 0)
        run_ingest(b, prefix, &ingest);
    return json_pack("{s:s,s:i,s:o,s:o,s:f}", "format", format == RECORD_JSON ? "json" : "msgpack",
                     "round", round, "raw", outcome_json(b, &raw), "ingest",
                     outcome_json(b, &ingest), "rate_ratio",
                     (double)raw.ms / (double)(ingest.ms ? ingest.ms : 1));
}

static void report(struct bench *b, json_t *rounds)
{
    struct err e = ERR_INIT;
    struct buf out;
    json_t *v =
        json_pack("{s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:o}", "messages", (json_int_t)b->messages, "bytes",
                  (json_int_t)b->bytes, "partitions", (json_int_t)b->partitions, "compression",
                  (json_int_t)b->level, "tripline", TRIPLINE_VERSION, "librdkafka",
                  rd_kafka_version_str(), "zstd", ZSTD_versionString(), "rounds", rounds);

    buf_init(&out, 1 << 20);
    if (!v || json_write(v, JSON_CANONICAL, &out, &e) < 0)
        die("the result", &e);
    puts(out.data);
    buf_release(&out);
    json_decref(v);
}

/* --- main --- */

static const char *from_env(const char *name)
{
    const char *value = getenv(name);

    if (value)
        return value;
    fprintf(stderr, "bench_ingest: %s is not set: run it by ./dev bench ingest\n", name);
    exit(64);
}

static void parse(struct bench *b, int argc, char **argv)
{
    const struct {
        const char *name;
        int64_t *to, min, max;
    } numbers[] = {{"messages=", &b->messages, 1, 100000000},
                   {"bytes=", &b->bytes, 100, 100000},
                   {"partitions=", &b->partitions, 1, 1000},
                   {"level=", &b->level, 0, 19},
                   {"rounds=", &b->rounds, 1, 100}};
    size_t k, n = sizeof numbers / sizeof numbers[0];
    int i;

    for (i = 1; i < argc; i++) {
        for (k = 0; k < n && strncmp(argv[i], numbers[k].name, strlen(numbers[k].name)); k++)
            ;
        if (k < n && text_i64(argv[i] + strlen(numbers[k].name), numbers[k].min, numbers[k].max,
                              numbers[k].to) == 0)
            continue;
        if (!strncmp(argv[i], "formats=", 8)) {
            b->formats = argv[i] + 8;
            continue;
        }
        fprintf(stderr, "bench_ingest: '%s' is not understood\n", argv[i]);
        exit(64);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.messages = 1000000,
                      .bytes = 297,
                      .partitions = 4,
                      .level = 0,
                      .rounds = 1,
                      .formats = "json,msgpack"};
    struct bus_kafka_options k = {.brokers = from_env("TRIPLINE_KAFKA")};
    struct err e = ERR_INIT;
    json_t *rounds = json_array();
    char nonce[33];
    int i;

    if (argc == 4 && !strcmp(argv[1], "raw"))
        return raw_main(k.brokers, argv[2], atoll(argv[3]));
    parse(&b, argc, argv);
    if (clock_real(&b.clock, &e) < 0 || bus_kafka(&b.bus, &k, b.clock, &e) < 0)
        die("the ports", &e);
    arena_init(&b.arena, 1 << 24);
    clock_nonce(b.clock, nonce);
    snprintf(b.prefix, sizeof b.prefix, "bench%.8s", nonce);
    for (i = 0; i < b.rounds; i++) {
        if (strstr(b.formats, "json"))
            json_array_append_new(rounds, round_of(&b, RECORD_JSON, i));
        if (strstr(b.formats, "msgpack"))
            json_array_append_new(rounds, round_of(&b, RECORD_MSGPACK, i));
    }
    report(&b, rounds);
    arena_release(&b.arena);
    bus_free(b.bus);
    clock_free(b.clock);
    return 0;
}
