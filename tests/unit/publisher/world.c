#include "tests/unit/publisher/world.h"

#include <stdlib.h>

/* --- faults: the bus's table of functions is replaced, so that all its calls pass here --- */

static struct world *faulty;
static const struct bus_ops *real;

/* Counts a call. < 0: it fails before its effect. */
static int before(const char *call, struct err *e)
{
    struct world *w = faulty;
    void (*hook)(struct world *) = w->hook;

    if (!w->armed)
        return 0;
    if (hook && !strcmp(call, w->hook_call)) {
        w->hook = NULL;
        w->armed = false; /* what the hook does is another process's doing */
        hook(w);
        w->armed = true;
    }
    w->calls++;
    if (w->calls == w->at && (w->kind == FAULT_BEFORE || w->kind == FAULT_CRASH_BEFORE)) {
        w->fired = true;
        w->dead = w->kind == FAULT_CRASH_BEFORE;
        return err_set(e, ERR_PEER, "planted failure of call %d, %s", w->at, call);
    }
    return w->dead ? err_set(e, ERR_PEER, "dead") : 0;
}

static int after(int rc, struct err *e)
{
    struct world *w = faulty;

    if (!w->armed || w->calls != w->at || w->dead || w->fired ||
        (w->kind != FAULT_AFTER && w->kind != FAULT_CRASH_AFTER))
        return rc;
    w->fired = true;
    w->dead = w->kind == FAULT_CRASH_AFTER;
    return err_set(e, ERR_PEER, "planted lost answer of call %d", w->at);
}

#define PASS(name, call)                                                                           \
    int rc = before(name, e);                                                                      \
    return rc < 0 ? rc : after(call, e)

static int fault_poll(struct bus_consumer *c, int ms, struct bus_message **out, struct err *e)
{
    int rc = before("poll", e);

    *out = NULL;
    return rc < 0 ? rc : real->poll(c, ms, out, e); /* has no effect whose answer could be lost */
}

static int fault_read_at(struct bus *b, const char *t, int32_t p, int64_t o,
                         struct bus_message **out, struct err *e)
{
    int rc = before("read_at", e);

    *out = NULL;
    return rc < 0 ? rc : real->read_at(b, t, p, o, out, e);
}

static int fault_seek(struct bus_consumer *c, const char *t, int32_t p, int64_t o, struct err *e)
{
    PASS("seek", real->seek(c, t, p, o, e));
}

static int fault_pause(struct bus_consumer *c, const char *t, int32_t p, bool yes, struct err *e)
{
    PASS("pause", real->pause(c, t, p, yes, e));
}

static int fault_committed(struct bus_consumer *c, const char *t, int32_t p, int64_t *o,
                           struct err *e)
{
    PASS("committed", real->committed(c, t, p, o, e));
}

static int fault_commit(struct bus_consumer *c, const char *t, int32_t p, int64_t o, struct err *e)
{
    PASS("commit", real->commit(c, t, p, o, e));
}

static int fault_watermarks(struct bus *b, const char *t, int32_t p, int64_t *low, int64_t *high,
                            struct err *e)
{
    PASS("watermarks", real->watermarks(b, t, p, low, high, e));
}

static int fault_partitions(struct bus *b, const char *t, int *count, struct err *e)
{
    PASS("partitions", real->partitions(b, t, count, e));
}

static int fault_producer(struct bus *b, const struct bus_producer_options *o, bus_delivered_fn fn,
                          void *arg, struct bus_producer **out, struct err *e)
{
    int rc = before("producer", e);

    if (rc < 0 || (rc = real->producer(b, o, fn, arg, out, e)) < 0 || (rc = after(0, e)) == 0)
        return rc;
    real->producer_free(*out); /* its effect: others with the id are fenced */
    *out = NULL;
    return rc;
}

static int fault_send(struct bus_producer *p, const struct bus_message *m, void *token,
                      struct err *e)
{
    PASS("send", real->send(p, m, token, e));
}

static int fault_flush(struct bus_producer *p, int ms, struct err *e)
{
    PASS("flush", real->flush(p, ms, e));
}

static int fault_begin(struct bus_producer *p, struct err *e)
{
    PASS("begin", real->begin(p, e));
}

static int fault_send_offset(struct bus_producer *p, struct bus_consumer *c, const char *t,
                             int32_t part, int64_t o, struct err *e)
{
    PASS("send_offset", real->send_offset(p, c, t, part, o, e));
}

static int fault_commit_transaction(struct bus_producer *p, struct err *e)
{
    PASS("commit_transaction", real->commit_transaction(p, e));
}

static int fault_abort_transaction(struct bus_producer *p, struct err *e)
{
    PASS("abort_transaction", real->abort_transaction(p, e));
}

static int fault_create_topics(struct bus *b, const struct bus_topic *t, size_t n, struct err *e)
{
    PASS("create_topics", real->create_topics(b, t, n, e));
}

static int fault_blob(void *arg, const char *call, const char *key, enum blob_mem_moment moment,
                      struct err *e)
{
    char name[40];

    (void)arg, (void)key;
    snprintf(name, sizeof name, "blob_%s", call);
    return moment == BLOB_MEM_BEFORE ? before(name, e) : after(0, e);
}

static void plant(struct world *w)
{
    static struct bus_ops ops;

    faulty = w;
    real = w->f.bus->ops;
    ops = *real;
    ops.poll = fault_poll;
    ops.read_at = fault_read_at;
    ops.seek = fault_seek;
    ops.pause = fault_pause;
    ops.committed = fault_committed;
    ops.commit = fault_commit;
    ops.watermarks = fault_watermarks;
    ops.partitions = fault_partitions;
    ops.producer = fault_producer;
    ops.send = fault_send;
    ops.flush = fault_flush;
    ops.begin = fault_begin;
    ops.send_offset = fault_send_offset;
    ops.commit_transaction = fault_commit_transaction;
    ops.abort_transaction = fault_abort_transaction;
    ops.create_topics = fault_create_topics;
    w->f.bus->ops = &ops;
    blob_mem_hook(w->f.blob, fault_blob, w);
}

/* --- the world --- */

static void keep_log(void *arg, const char *line, unsigned long len)
{
    struct world *w = arg;

    buf_add(&w->log, line, len);
    if (getenv("TRIPLINE_TEST_LOG"))
        fprintf(stderr, "%.*s", (int)len, line);
}

void world_open(struct world *w)
{
    struct bus_producer_options p = {0};
    struct bus_topic topics[2] = {{.name = "tripline.done", .partitions = 2},
                                  {.name = "tripline.published", .partitions = 2}};

    memset(w, 0, sizeof *w);
    buf_init(&w->log, 64 << 20);
    arena_init(&w->arena, 64 << 20);
    log_init("test", LOG_DEBUG);
    log_sink(keep_log, w);
    ok(clock_sim(&w->f.clock, 7, &e));
    clock_sleep_ms(w->f.clock, 100000000); /* as if it were some time after 1970 */
    ok(bus_mem(&w->f.bus, w->f.clock, &e));
    ok(blob_mem(&w->f.blob, w->f.clock, &e));
    plant(w);
    ok(bus_producer_open(w->f.bus, &p, NULL, NULL, &w->f.producer, &e));
    ok(keys_init(&w->f.keys, NULL, &e));
    ok(bus_create_topics(w->f.bus, topics, 2, &e));
    facts_topics(&w->f, "acme");
    publisher_options_init(&w->o);
    w->o.partitions = 2;
}

void world_close(struct world *w)
{
    bus_producer_free(w->f.producer);
    blob_free(w->f.blob);
    bus_free(w->f.bus);
    clock_free(w->f.clock);
    log_sink(NULL, NULL);
    buf_release(&w->log);
    arena_release(&w->arena);
}

static void ready(void *arg, bool is, const char *why)
{
    (void)why;
    ((struct world *)arg)->ready = is;
}

struct publisher *world_publisher(struct world *w)
{
    const struct publisher_ports p = {
        .clock = w->f.clock, .bus = w->f.bus, .blob = w->f.blob, .ready = ready, .ready_arg = w};
    struct publisher *pub = NULL;

    ok(publisher_new(&pub, &w->o, &p, &e));
    return pub;
}

void world_run(struct world *w, struct publisher *pub, int64_t ms)
{
    int64_t until = clock_mono_ms(w->f.clock) + ms;

    w->armed = true;
    while (clock_mono_ms(w->f.clock) < until && !w->dead)
        ok(publisher_step(pub, 20, &e));
    w->armed = false;
}

int world_logged(const struct world *w, const char *event)
{
    const char *at = w->log.data;
    char want[80];
    int n = 0;

    snprintf(want, sizeof want, "\"event\":\"%s\"", event);
    for (; at && (at = strstr(at, want)); at++)
        n++;
    return n;
}
