#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/base/log.h"
#include "tests/sim/sim.h"

enum {
    STREAM_WORLD = 10,
    BEGIN_MS = 1000, /* so that no time is 0 */
    ACTIVE_MS = 3600000,
    QUIET_MS = 2400000,
    EVENT_EVERY_MS = 60000,
    DOWN_MS = 180000,
    SETTLE_MS = 300000
};

void world_must(int rc, const struct err *e)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "the simulation itself failed: %s: %s\n", err_name(rc), e->text);
    abort();
}

int64_t world_now(const struct world *w)
{
    return clock_mono_ms(w->clock);
}

void world_violation(struct world *w, const char *format, ...)
{
    va_list args;
    size_t n;

    if (w->violation[0])
        return;
    w->broken = format;
    n = (size_t)snprintf(w->violation, sizeof w->violation,
                         "%lld s: ", (long long)(world_now(w) / 1000));
    va_start(args, format);
    vsnprintf(w->violation + n, sizeof w->violation - n, format, args);
    va_end(args);
    world_trace(w, "VIOLATION %s", w->violation);
}

void world_trace(struct world *w, const char *format, ...)
{
    int64_t now = world_now(w);
    va_list args;

    if (!w->o.trace)
        return;
    printf("%6lld.%03d ", (long long)(now / 1000), (int)(now % 1000));
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void log_line(void *arg, const char *line, unsigned long len)
{
    struct world *w = arg;
    int64_t now = world_now(w);

    const char *event = strstr(line, "\"event\"");

    (void)len;
    printf("%6lld.%03d     %s", (long long)(now / 1000), (int)(now % 1000), event ? event : line);
}

static void no_line(void *arg, const char *line, unsigned long len)
{
    (void)arg, (void)line, (void)len;
}

static int open_below(char *path)
{
    struct err e = ERR_INIT;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    char *slash = strrchr(path, '/');

    if (fd >= 0 || errno != ENOENT || !slash)
        return fd;
    *slash = '\0';
    world_must(file_mkdirs(path, &e), &e);
    *slash = '/';
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

void local_file(const char *path, const void *bytes, size_t size)
{
    char at[512];
    int fd;

    snprintf(at, sizeof at, "%s", path);
    fd = open_below(at);
    if (fd < 0 || (size && write(fd, bytes, size) != (ssize_t)size) || close(fd) < 0)
        abort();
}

/* --- what happens to servers --- */

static void events_main(void *world)
{
    struct world *w = world;
    uint64_t i;
    int s;

    for (i = 0; world_now(w) < w->active_ms; i++) {
        static const enum fault down[SERVERS] = {FAULT_BUS_DOWN, FAULT_BLOB_DOWN, FAULT_BOARD_DOWN};
        int64_t until = world_now(w) + (int64_t)fate_below(w, STREAM_WORLD, 2 * i, DOWN_MS);

        for (s = 0; s < SERVERS; s++)
            if (fate_event(w, STREAM_WORLD, i, down[s], 40, "world"))
                w->down_until_ms[s] = until;
        if (fate_event(w, STREAM_WORLD, i, FAULT_BLOB_SLOW, 40, "world"))
            w->slow_until_ms = until;
        if (fate_event(w, STREAM_WORLD, i, FAULT_FLUSH, 20, "world"))
            board_mem_flush(w->board);
        clock_sleep_ms(w->clock, (int64_t)fate_below(w, STREAM_WORLD, 2 * i + 1, EVENT_EVERY_MS));
    }
}

/* --- begin and end --- */

static int below(const struct world *w, uint64_t index, int n)
{
    return (int)fate_below(w, STREAM_WORLD + 1, index, (uint64_t)n);
}

static void add_seats(struct world *w, enum service service, const char *name, int count)
{
    int i;

    for (i = 0; i < count; i++) {
        struct seat *s = &w->seats[w->seat_count];

        s->w = w;
        s->service = service;
        s->number = w->seat_count++;
        snprintf(s->name, sizeof s->name, "%s-%d", name, i);
    }
}

static void plan(struct world *w)
{
    static const char *const owners[OWNERS] = {"acme", "acme-two"};
    static const int quanta[] = {500, 2000, 3000, 4000};
    int i;

    fate_open(w);
    w->quantum_ms = quanta[below(w, 0, 4)];
    w->active_ms = ACTIVE_MS;
    add_seats(w, INGEST, "ingest", 2 + below(w, 1, 2));
    add_seats(w, TRAINER, "trainer", 2 + below(w, 3, 2));
    add_seats(w, PUBLISHER, "publisher", 2);
    w->dataset_count = 1 + below(w, 2, DATASETS);
    for (i = 0; i < w->dataset_count; i++) {
        struct dataset *d = &w->datasets[i];
        struct err e = ERR_INIT;

        d->w = w;
        d->number = i;
        d->owner = owners[i % OWNERS];
        d->parts = 1 + below(w, 10 + (uint64_t)i, PARTS_MAX);
        snprintf(d->name, sizeof d->name, "data-%d", i);
        world_must(topic_docs(&w->keys, d->owner, d->name, d->topic, &e), &e);
    }
}

static void world_open(struct world *w)
{
    struct err e = ERR_INIT;

    log_init("sim", w->o.trace ? LOG_INFO : LOG_ERROR);
    log_sink(w->o.trace ? log_line : no_line, w);
    world_must(clock_sim(&w->clock, w->o.seed, &e), &e);
    clock_sleep_ms(w->clock, BEGIN_MS);
    world_must(bus_mem(&w->bus, w->clock, &e), &e);
    world_must(blob_mem(&w->blob, w->clock, &e), &e);
    world_must(board_mem(&w->board, w->clock, &e), &e);
    world_must(keys_init(&w->keys, NULL, &e), &e);
    snprintf(w->folder, sizeof w->folder, "%s/tripline-sim-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(w->folder))
        abort();
    plan(w);
    users_open(w);
}

static void release(struct world *w)
{
    struct err e = ERR_INIT;
    size_t i;
    int d;

    for (i = 0; i < w->grave_count; i++)
        w->bus->ops->consumer_free(w->graves[i]);
    free(w->graves);
    free(w->troubles);
    for (d = 0; d < w->dataset_count; d++)
        dataset_release(&w->datasets[d]);
    watch_release(w);
    board_free(w->board);
    blob_free(w->blob);
    bus_free(w->bus);
    clock_free(w->clock);
    world_must(file_remove_tree(w->folder, &e), &e);
    log_sink(NULL, NULL);
}

static void start(struct world *w, const char *name, void (*fn)(void *), void *arg,
                  struct task **task)
{
    struct err e = ERR_INIT;

    world_must(clock_go(w->clock, name, fn, arg, task, &e), &e);
}

/* Faults for a while, then fair servers until all that was begun must have ended. */
static void pass_time(struct world *w)
{
    struct task *events, *watch, *users;
    int i;

    start(w, "watch", watch_main, w, &watch);
    start(w, "events", events_main, w, &events);
    start(w, "users", users_main, w, &users);
    for (i = 0; i < w->dataset_count; i++)
        start(w, "people", dataset_main, &w->datasets[i], &w->datasets[i].task);
    for (i = 0; i < w->seat_count; i++)
        start(w, w->seats[i].name, seat_main, &w->seats[i], &w->seats[i].task);
    clock_join(w->clock, events);
    clock_join(w->clock, users);
    w->quiet = true;
    for (i = 0; i < w->dataset_count; i++)
        clock_join(w->clock, w->datasets[i].task);
    world_trace(w, "no more faults");
    clock_sleep_ms(w->clock, QUIET_MS);
    w->closing = true;
    w->closing_ms = world_now(w);
    for (i = 0; i < w->seat_count; i++)
        if (w->seats[i].node)
            w->seats[i].node->stopping = true;
    for (i = 0; i < w->seat_count; i++)
        clock_join(w->clock, w->seats[i].task);
    clock_join(w->clock, watch);
    clock_sleep_ms(w->clock, SETTLE_MS);
}

void world_run(const struct world_options *o, struct verdict *out)
{
    struct world *w = calloc(1, sizeof *w);

    if (!w)
        abort();
    w->o = *o;
    world_open(w);
    pass_time(w);
    watch_once(w);
    check_chains(w);
    check_copies(w);
    check_runs(w);
    *out = (struct verdict){.broken = w->broken,
                            .fired = w->fired,
                            .trace_hash = w->trace_hash,
                            .simulated_ms = world_now(w)};
    memcpy(out->violation, w->violation, sizeof out->violation);
    memcpy(out->counts, w->counts, sizeof out->counts);
    release(w);
    free(w);
}

void verdict_free(struct verdict *v)
{
    fired_free(&v->fired);
}
