#include "tests/unit/ingest/world.h"

#include <stdlib.h>

/* --- faults: the bus's table of functions is replaced, so that its consumers pass here too --- */

static struct world *faulty;
static const struct bus_ops *real;

/* Counts a call. < 0: it fails before its effect. */
static int before(struct err *e)
{
    struct world *w = faulty;

    if (!w->armed)
        return 0;
    w->calls++;
    if (w->calls == w->at && (w->kind == FAULT_BEFORE || w->kind == FAULT_CRASH_BEFORE)) {
        w->fired = true;
        w->dead = w->kind == FAULT_CRASH_BEFORE;
        return err_set(e, ERR_PEER, "planted failure of call %d", w->at);
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

static int fault_poll(struct bus_consumer *c, int ms, struct bus_message **out, struct err *e)
{
    int rc = before(e);

    *out = NULL;
    return rc < 0 ? rc : real->poll(c, ms, out, e); /* a poll has no effect whose answer is lost */
}

static int fault_seek(struct bus_consumer *c, const char *t, int32_t p, int64_t o, struct err *e)
{
    int rc = before(e);

    return rc < 0 ? rc : after(real->seek(c, t, p, o, e), e);
}

static int fault_committed(struct bus_consumer *c, const char *t, int32_t p, int64_t *o,
                           struct err *e)
{
    int rc = before(e);

    return rc < 0 ? rc : after(real->committed(c, t, p, o, e), e);
}

static int fault_commit(struct bus_consumer *c, const char *t, int32_t p, int64_t o, struct err *e)
{
    int rc = before(e);

    return rc < 0 ? rc : after(real->commit(c, t, p, o, e), e);
}

static int fault_watermarks(struct bus *b, const char *t, int32_t p, int64_t *low, int64_t *high,
                            struct err *e)
{
    int rc = before(e);

    return rc < 0 ? rc : after(real->watermarks(b, t, p, low, high, e), e);
}

static int fault_read_at(struct bus *b, const char *t, int32_t p, int64_t o,
                         struct bus_message **out, struct err *e)
{
    struct world *w = faulty;
    void (*event)(void) = w->armed ? w->on_read : NULL;
    int rc = before(e);

    *out = NULL;
    if (event) {
        w->on_read = NULL;
        event();
    }
    if (rc < 0)
        return rc;
    rc = real->read_at(b, t, p, o, out, e);
    if (rc > 0 && w->armed && (*out)->offset >= w->compacted_from &&
        (*out)->offset < w->compacted_to) {
        real->read_free(b, *out);
        rc = real->read_at(b, t, p, w->compacted_to, out, e);
    }
    return rc;
}

static int fault_send(struct bus_producer *p, const struct bus_message *m, void *token,
                      struct err *e)
{
    int rc = before(e);

    return rc < 0 ? rc : after(real->send(p, m, token, e), e);
}

static int fault_flush(struct bus_producer *p, int ms, struct err *e)
{
    int rc = before(e);

    return rc < 0 ? rc : after(real->flush(p, ms, e), e);
}

static int fault_blob(void *arg, const char *call, const char *key, enum blob_mem_moment moment,
                      struct err *e)
{
    struct world *w = arg;
    void (*event)(void) = w->armed && !strcmp(call, "create") ? w->on_create : NULL;

    (void)key;
    if (event) {
        w->on_create = NULL;
        event();
    }
    return moment == BLOB_MEM_BEFORE ? before(e) : after(0, e);
}

static void plant(struct world *w)
{
    static struct bus_ops ops;

    faulty = w;
    real = w->bus->ops;
    ops = *real;
    ops.poll = fault_poll;
    ops.seek = fault_seek;
    ops.committed = fault_committed;
    ops.commit = fault_commit;
    ops.watermarks = fault_watermarks;
    ops.read_at = fault_read_at;
    ops.send = fault_send;
    ops.flush = fault_flush;
    w->bus->ops = &ops;
    blob_mem_hook(w->blob, fault_blob, w);
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

    memset(w, 0, sizeof *w);
    buf_init(&w->log, 64 << 20);
    log_init("test", LOG_DEBUG);
    log_sink(keep_log, w);
    ok(clock_sim(&w->clock, 7, &e));
    clock_sleep_ms(w->clock, 1000); /* so that no timestamp is 0 */
    ok(bus_mem(&w->bus, w->clock, &e));
    ok(blob_mem(&w->blob, w->clock, &e));
    plant(w);
    ok(bus_producer_open(w->bus, &p, NULL, NULL, &w->producer, &e));
    ingest_options_init(&w->o);
    w->o.segment_age_ms = 2000;
    world_topic(w, TOPIC, 2);
    world_topic(w, "tripline.rejected.acme", 1);
}

void world_close(struct world *w)
{
    bus_producer_free(w->producer);
    blob_free(w->blob);
    bus_free(w->bus);
    clock_free(w->clock);
    log_sink(NULL, NULL);
    buf_release(&w->log);
}

void world_topic(struct world *w, const char *topic, int partitions)
{
    const struct bus_topic t = {.name = topic, .partitions = partitions};

    ok(bus_create_topics(w->bus, &t, 1, &e));
}

static void ready(void *arg, bool is, const char *why)
{
    (void)why;
    ((struct world *)arg)->ready = is;
}

struct ingest *world_ingest(struct world *w)
{
    const struct ingest_ports p = {
        .clock = w->clock, .bus = w->bus, .blob = w->blob, .ready = ready, .ready_arg = w};
    struct ingest *in = NULL;

    ok(ingest_new(&in, &w->o, &p, &e));
    return in;
}

void world_run(struct world *w, struct ingest *in, int64_t ms)
{
    int64_t until = clock_mono_ms(w->clock) + ms;

    w->armed = true;
    while (clock_mono_ms(w->clock) < until && !w->dead)
        ok(ingest_step(in, 20, &e));
    w->armed = false;
}

static void send_one(struct world *w, struct bus_producer *p, int32_t partition, const char *key,
                     const void *value, size_t value_len, const struct bus_header *h)
{
    const struct bus_message m = {.topic = TOPIC,
                                  .partition = partition,
                                  .timestamp_ms = clock_wall_ms(w->clock),
                                  .key = key,
                                  .key_len = key ? strlen(key) : 0,
                                  .value = value,
                                  .value_len = value_len,
                                  .headers = h,
                                  .header_count = h ? 1 : 0};

    ok(bus_send(p, &m, NULL, &e));
}

void world_send(struct world *w, int32_t partition, const char *key, const void *value,
                size_t value_len, const char *header, const char *header_value)
{
    const struct bus_header h = {header, header_value, header ? strlen(header_value) : 0};

    send_one(w, w->producer, partition, key, value, value_len, header ? &h : NULL);
    ok(bus_flush(w->producer, 1000, &e));
}

static size_t document(char *to, size_t size, const char *id, const char *label)
{
    return (size_t)snprintf(to, size, "{\"id\":\"%s\",\"label\":\"%s\",\"text\":\"text of %s\"}",
                            id, label, id);
}

void world_put(struct world *w, int32_t partition, const char *id, const char *label)
{
    char value[400];

    world_send(w, partition, id, value, document(value, sizeof value, id, label), NULL, NULL);
}

void world_seal(struct world *w, int32_t partition)
{
    world_send(w, partition, NULL, "", 0, HEADER_CONTROL, CONTROL_SEAL);
}

void world_transaction(struct world *w, int32_t partition, int count, bool commit)
{
    const struct bus_producer_options o = {.transactional_id = "t"};
    struct bus_producer *p = NULL;
    char id[20], value[200];
    int i;

    ok(bus_producer_open(w->bus, &o, NULL, NULL, &p, &e));
    ok(bus_begin(p, &e));
    for (i = 0; i < count; i++) {
        snprintf(id, sizeof id, "t%d", i);
        send_one(w, p, partition, id, value, document(value, sizeof value, id, "t"), NULL);
    }
    if (commit)
        ok(bus_commit_transaction(p, &e));
    else
        ok(bus_abort_transaction(p, &e));
    bus_producer_free(p);
}

struct chain_seen world_check(struct world *w, uint64_t incarnation, int32_t partition)
{
    const struct segment_name name = {
        .owner = "acme", .dataset = "news", .incarnation = incarnation, .partition = partition};
    struct chain_seen seen;
    int64_t low, high;

    ok(bus_watermarks(w->bus, TOPIC, partition, &low, &high, &e));
    chain_check(w->blob, w->bus, TOPIC, &name, low, &seen);
    return seen;
}

struct chain_seen world_check_all(struct world *w, int32_t partition)
{
    struct chain_seen seen = world_check(w, 0, partition);
    int64_t low, high;

    ok(bus_watermarks(w->bus, TOPIC, partition, &low, &high, &e));
    assert_int_equal(seen.next, high);
    return seen;
}

size_t world_count(struct world *w, const char *topic)
{
    struct bus_message *m;
    int64_t at = 0;
    size_t n = 0;
    struct err e = ERR_INIT;

    while (bus_read_at(w->bus, topic, 0, at, &m, &e) > 0) {
        at = m->offset + 1;
        n++;
        bus_read_free(w->bus, m);
    }
    return n;
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
