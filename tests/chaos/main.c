#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/base/text.h"
#include "tests/chaos/chaos.h"

enum { TICK_MS = 50, LOOK_MS = 1500, STUCK_MS = 180000, FAULTS_END_MS = 180000 };

struct chaos chaos = {.minutes = 5};

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("chaos: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void say(const char *format, ...)
{
    char line[600];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(chaos.log, "%9.3f  %s\n", (double)(now_ms() - chaos.start_ms) / 1000, line);
}

int64_t now_ms(void)
{
    return clock_mono_ms(chaos.clock);
}

const char *path_of(const char *name)
{
    static _Thread_local char paths[8][300];
    static _Thread_local int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", chaos.folder, name);
    return path;
}

uint64_t draw(uint64_t seed, uint64_t i)
{
    uint64_t z = seed * UINT64_C(0xd1342543de82ef95) + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- begin ----------------------------------------------------------------------------------- */

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {{"minutes", required_argument, NULL, 'm'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"folder", required_argument, NULL, 'f'},
                                            {"programs", required_argument, NULL, 'p'},
                                            {"scripts", required_argument, NULL, 'c'},
                                            {"defect", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    int64_t seed = -1;
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (o == 'm' && text_f64(optarg, 0.1, 240, &chaos.minutes) == 0)
            ;
        else if (o == 's' && text_i64(optarg, 0, INT64_MAX, &seed) == 0)
            ;
        else if (o == 'f')
            snprintf(chaos.folder, sizeof chaos.folder, "%s", optarg);
        else if (o == 'p')
            chaos.programs = optarg;
        else if (o == 'c')
            chaos.scripts = optarg;
        else if (o == 'd')
            chaos.defect = optarg;
        else
            die("--minutes 0.1 to 240, --seed 0 or more, --defect NAME (see ./dev chaos)");
    if (!chaos.programs || !chaos.scripts || !chaos.folder[0])
        die("run it by ./dev chaos");
    chaos.seed = seed >= 0 ? (uint64_t)seed : clock_random_u64(chaos.clock) % 1000000;
}

static void write_documents(void)
{
    struct err e = ERR_INIT;
    struct buf b;
    int i;

    buf_init(&b, 1 << 20);
    for (i = 0; i < 96; i++)
        buf_printf(&b, "%c%c %c%c,l%d\n", 'a' + i % 4, 'a' + i * 7 % 26, 'a' + i % 26,
                   'a' + i / 4 % 26, i % 4);
    if (file_write(path_of("train.csv"), b.data, b.len, &e) < 0)
        die("%s", e.text);
    buf_release(&b);
}

static void copy(const char *from, const char *to)
{
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 16 << 20);
    if (file_read(from, &b, &e) < 0 || file_write(path_of(to), b.data, b.len, &e) < 0)
        die("%s", e.text);
    buf_release(&b);
}

/* An owner, a tiny backbone, a dataset to train on: by the user's command. */
static void prepare(void)
{
    char tripline[300], tiny[300], train[300];
    struct err e = ERR_INIT;
    const char *owner[] = {tripline, "owner", "create", OWNER, NULL};
    const char *login[] = {tripline, "login", "--owner", OWNER, NULL};
    const char *backbone[] = {tripline, "backbone", "push", "tiny", tiny, NULL};
    const char *push[] = {tripline, "push", "train", train, NULL};

    snprintf(tripline, sizeof tripline, "%s/tripline", chaos.programs);
    snprintf(tiny, sizeof tiny, "%s/tiny", chaos.folder);
    snprintf(train, sizeof train, "%s/train.csv", chaos.folder);
    setenv("XDG_CONFIG_HOME", path_of("config"), 1);
    if (file_mkdirs(path_of("tiny/onnx"), &e) < 0)
        die("%s", e.text);
    copy("tests/golden/engine/bert-new.onnx", "tiny/onnx/model.onnx");
    copy("tests/e2e/letters_tokenizer.json", "tiny/tokenizer.json");
    write_documents();
    command_run(owner);
    command_run(login);
    command_run(backbone);
    command_run(push);
    if (!topic_create("steady", 2) || !topic_create("fickle", 2))
        die("the topics can't be created");
    load_stream("steady", 2);
    load_stream("fickle", 2);
}

static void begin(void)
{
    struct err e = ERR_INIT;

    if (file_mkdirs(chaos.folder, &e) < 0 || !(chaos.log = fopen(path_of("faults.log"), "we")))
        die("%s: %s", chaos.folder, e.code ? e.text : strerror(errno));
    setvbuf(chaos.log, NULL, _IOLBF, 0);
    chaos.start_ms = now_ms();
    servers_start();
    unsetenv("TRIPLINE_PREFIX");
    unsetenv("TRIPLINE_PROFILE");
    if (keys_init(&chaos.keys, NULL, &e) < 0)
        die("%s", e.text);
    servers_open();
    chaos.oracle = (struct oracle){.store = chaos.blob,
                                   .bus = chaos.bus,
                                   .keys = &chaos.keys,
                                   .owner = OWNER,
                                   .out = chaos.log,
                                   .streams = chaos.streams};
    prepare();
    disk_set_up();
    if (file_mkdirs(path_of("failpoints"), &e) < 0)
        die("%s", e.text);
    chaos.start_ms = now_ms();
    procs_start();
    load_start();
}

/* ---- quiet ----------------------------------------------------------------------------------- */

static bool stream_reached(int i, struct err *e)
{
    char topic[KEY_MAX];
    int64_t low, high;
    int p, count;

    if (oracle_read(&chaos.oracle, i, e) < 0)
        return false;
    if (chaos.streams[i].deleted)
        return true;
    if (topic_docs(&chaos.keys, OWNER, chaos.streams[i].dataset, topic, e) < 0 ||
        bus_partitions(chaos.bus, topic, &count, e) < 0)
        return false;
    for (p = 0; p < count; p++)
        if (bus_watermarks(chaos.bus, topic, p, &low, &high, e) < 0 ||
            !oracle_reached(&chaos.oracle, i, p, high)) {
            err_set(e, ERR_TIMEOUT, "%s/%d is not ingested to its end", topic, p);
            return false;
        }
    if (load_awaits(i)) {
        err_set(e, ERR_TIMEOUT, "%zu acknowledged records of %s are not in S3", load_awaits(i),
                topic);
        return false;
    }
    return true;
}

static int count_marker(void *arg, const char *key, uint64_t size)
{
    ++*(size_t *)arg;
    return 0;
}

/* What is left to do, and what was done: any change is progress. */
struct work {
    size_t runs, markers, streams, segments, records;
};

static int look_at_work(struct work *w, struct err *e)
{
    int i, rc;

    *w = (struct work){.runs = load_open_jobs()};
    if ((rc = blob_list(chaos.blob, KEYS_OPEN_PREFIX, NULL, count_marker, &w->markers, e)) < 0)
        return rc;
    if (w->markers)
        err_set(e, ERR_TIMEOUT, "%zu runs have no end, %zu a marker", w->runs, w->markers);
    for (i = 0; i < chaos.stream_count; i++)
        w->streams += !stream_reached(i, e);
    w->segments = chaos.oracle.tally.segments;
    w->records = chaos.oracle.count;
    return 0;
}

/* All servers and programs run, and nothing new comes: what was begun must come to an end. */
static void await_quiet(void)
{
    int64_t until = now_ms() + STUCK_MS, look = 0;
    struct work now, before = {0};
    struct err e = ERR_INIT;
    bool quiet = false;

    while (!quiet && now_ms() < until) {
        procs_tick();
        if (now_ms() >= look && look_at_work(&now, &e) == 0) {
            quiet = !now.runs && !now.markers && !now.streams;
            if (memcmp(&now, &before, sizeof now) != 0)
                until = now_ms() + STUCK_MS;
            before = now;
        }
        if (now_ms() >= look)
            look = now_ms() + LOOK_MS;
        clock_sleep_ms(chaos.clock, TICK_MS);
    }
    if (!quiet)
        violation(&chaos.oracle, "not quiet, and nothing came forward for %d s: %s",
                  STUCK_MS / 1000, e.text);
    else
        say("all is quiet");
}

static void run_faults(void)
{
    int64_t until = chaos.start_ms + (int64_t)(chaos.minutes * 60000);
    int64_t last = until + faults_more_ms();
    bool late = false, stop = false;

    while (!stop || !faults_over()) {
        late = now_ms() >= until;
        stop = stop || (late && faults_enough()) || now_ms() >= last;
        if (now_ms() > last + FAULTS_END_MS)
            die("the last faults do not end: see %s", path_of("faults.log"));
        faults_tick(late, stop);
        procs_tick();
        clock_sleep_ms(chaos.clock, TICK_MS);
    }
    say("the last fault is over");
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* The second deployment's bucket has chains of its own: parts of what was sent. */
static void judge_other(const struct sent *sent, size_t n)
{
    static struct oracle o;
    struct err e = ERR_INIT;
    int i;

    o = (struct oracle){.store = chaos.other,
                        .owner = OWNER,
                        .out = chaos.log,
                        .streams = chaos.streams,
                        .stream_count = chaos.stream_count};
    fprintf(chaos.log, "the second deployment's bucket:\n");
    for (i = 0; i < chaos.stream_count; i++)
        if (oracle_read(&o, i, &e) < 0)
            violation(&o, "%s can't be read: %s", chaos.streams[i].dataset, e.text);
    if (oracle_origin(&o, sent, n, &e) < 0)
        violation(&o, "records: %s", e.text);
    chaos.oracle.tally.violations += o.tally.violations;
    oracle_release(&o);
}

static void judge(void)
{
    struct err e = ERR_INIT;
    const struct sent *sent;
    struct asked *jobs;
    size_t n;
    int i;

    for (i = 0; i < chaos.stream_count; i++)
        if (oracle_read(&chaos.oracle, i, &e) < 0)
            violation(&chaos.oracle, "%s can't be read: %s", chaos.streams[i].dataset, e.text);
    sent = load_sent(&n);
    if (oracle_records(&chaos.oracle, sent, n, &e) < 0)
        violation(&chaos.oracle, "records: %s", e.text);
    if (oracle_copies(&chaos.oracle, sent, n, &e) < 0)
        violation(&chaos.oracle, "copies of rejected records: %s", e.text);
    judge_other(sent, n);
    jobs = load_jobs(&n);
    if (oracle_runs(&chaos.oracle, jobs, n, &e) < 0)
        violation(&chaos.oracle, "runs: %s", e.text);
}

static void print(void)
{
    const struct tally *t = &chaos.oracle.tally;
    struct proc *p;

    faults_print(stdout);
    printf(
        "\n  records   %zu acknowledged, %zu unanswered; %zu documents, %zu rejected, %zu stated "
        "missing, %zu gone with a deleted topic; %zu segments, %zu incarnations more\n",
        t->acknowledged, t->unanswered, t->documents, t->rejected, t->missing, t->gone, t->segments,
        t->incarnations);
    printf("  runs      %zu finished, %zu failed (%zu whose training always dies), %zu cancelled; "
           "%zu events\n",
           t->finished, t->failed, t->doomed, t->cancelled, t->events);
    printf("  lives    ");
    for (p = procs; p < procs + PROCS; p++)
        printf(" %s %d (%d by itself)%s", p->name, p->lives, p->exits,
               p == procs + PROCS - 1 ? "\n" : ",");
    printf("  seed %llu, %.1f minutes, violations: %zu\n", (unsigned long long)chaos.seed,
           chaos.minutes, t->violations);
}

static void print_log(void)
{
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 256 << 20);
    fflush(chaos.log);
    if (file_read(path_of("faults.log"), &b, &e) == 0)
        fwrite(b.data, 1, b.len, stdout);
    buf_release(&b);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;

    if (clock_real(&chaos.clock, &e) < 0)
        die("%s", e.text);
    read_options(argc, argv);
    begin();
    printf("chaos: seed %llu, %.1f minutes of faults, in %s\n", (unsigned long long)chaos.seed,
           chaos.minutes, chaos.folder);
    fflush(stdout);
    run_faults();
    load_stop();
    await_quiet();
    procs_drain();
    judge();
    print();
    if (chaos.oracle.tally.violations)
        print_log();
    procs_kill();
    servers_stop();
    disk_take_down();
    oracle_release(&chaos.oracle);
    return chaos.oracle.tally.violations ? 1 : 0;
}
