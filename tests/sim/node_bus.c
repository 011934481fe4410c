/*
 * A process's messages. Consumers and producers are the world's, told to come
 * back through the node. What a producer sends is with Kafka once it is flushed
 * or some time has passed; a crash before that loses it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/bus/bus_int.h"
#include "tests/sim/sim.h"

enum { LINGER_MS = 2000, INIT_MS = 3000, LATE_MS = 60000 };
enum { STREAM_LATE = 901, STREAM_FETCHED = 5, STREAM_OFFSET = 6 };

#define LOST  (1u << FAULT_LOST)
#define TWICE (1u << FAULT_TWICE)
#define LATE  (1u << FAULT_LATE)

#define ENTER(the_bus, what, can)                                                                  \
    struct node *n = (struct node *)(void *)((char *)(the_bus)-offsetof(struct node, bus));        \
    const struct bus_ops *const real = n->w->bus->ops;                                             \
    enum fault f;                                                                                  \
    int rc = node_enter(n, SERVER_BUS, __func__ + 2, what, can, &f, e);                            \
    (void)real;                                                                                    \
    if (rc < 0)                                                                                    \
    return rc

static struct node *node_of(struct bus *b)
{
    return (struct node *)(void *)((char *)b - offsetof(struct node, bus));
}

/* --- what is not with Kafka yet --- */

static struct outbox *outbox_of(struct node *n, const struct bus_producer *p)
{
    struct outbox *o;

    for (o = n->outboxes; o && o->producer != p; o = o->next)
        ;
    return o; /* NULL: a transactional producer */
}

static void deliver(struct node *n, struct outbox *o)
{
    struct unsent *u;
    struct err e = ERR_INIT;

    while ((u = o->first)) {
        o->first = u->next;
        (void)n->w->bus->ops->send(o->producer, u->m, u->token, &e); /* flush reports it */
        free(u->m);
        free(u);
    }
    o->last = &o->first;
}

static void drop(struct outbox *o)
{
    struct unsent *u;

    while ((u = o->first)) {
        o->first = u->next;
        free(u->m);
        free(u);
    }
    o->last = &o->first;
}

static void linger(struct node *n)
{
    struct outbox *o;

    for (o = n->outboxes; o; o = o->next)
        if (o->first && world_now(n->w) - o->since_ms >= LINGER_MS)
            deliver(n, o);
}

/* --- a commit that reaches Kafka when its sender has given up --- */

struct late_commit {
    struct late_commit *next;
    struct world *w;
    struct bus_producer *producer;
    int64_t ms;
    bool overtaken; /* by a later request of the same producer */
    bool freed;     /* its owner is done with it */
};

static struct late_commit *late_of(struct world *w, const struct bus_producer *p)
{
    struct late_commit *l;

    for (l = w->late_commits; l && l->producer != p; l = l->next)
        ;
    return l;
}

static void overtake(struct world *w, const struct bus_producer *p)
{
    struct late_commit *l = late_of(w, p);

    if (l)
        l->overtaken = true;
}

static void late_main(void *arg)
{
    struct late_commit *l = arg, **at;
    struct world *w = l->w;
    struct err e = ERR_INIT;

    clock_sleep_ms(w->clock, l->ms);
    if (!l->overtaken && w->bus->ops->commit_transaction(l->producer, &e) == 0)
        world_trace(w, "a late commit takes effect");
    if (l->freed)
        w->bus->ops->producer_free(l->producer);
    for (at = &w->late_commits; *at != l; at = &(*at)->next)
        ;
    *at = l->next;
    free(l);
}

static int commit_later(struct node *n, struct bus_producer *p, struct err *e)
{
    struct world *w = n->w;
    struct late_commit *l = calloc(1, sizeof *l);
    uint64_t index = w->fired.count;
    uint64_t most = (uint64_t)LATE_MS >> fate_below(w, STREAM_LATE, 2 * index, 6);

    if (!l)
        abort();
    *l = (struct late_commit){.next = w->late_commits, .w = w, .producer = p};
    l->ms = (int64_t)fate_below(w, STREAM_LATE, 2 * index + 1, most);
    w->late_commits = l;
    world_must(clock_go(w->clock, "late", late_main, l, NULL, e), e);
    return err_set(e, ERR_PEER, "planted late effect");
}

/* --- an offset that reaches the group behind the end of its transaction --- */

struct late_offset {
    struct late_offset *next;
    struct world *w;
    char topic[KEY_MAX];
    int32_t partition;
    int64_t offset, ms;
    bool arrived;
};

static void arrive(struct late_offset *l)
{
    char number[16], id[KEY_MAX], group[KEY_MAX];
    struct world *w = l->w;
    struct err e = ERR_INIT;

    if (l->arrived)
        return;
    l->arrived = true;
    snprintf(number, sizeof number, "%d", (int)l->partition);
    key_group(&w->keys, KEY_PUBLISHER, group);
    world_must(key_transaction(&w->keys, number, id, &e), &e);
    world_must(bus_mem_late_offset(w->bus, id, group, l->topic, l->partition, l->offset, &e), &e);
    world_trace(w, "offset %lld of %s %s comes late", (long long)l->offset, l->topic, number);
}

static void late_offset_main(void *arg)
{
    struct late_offset *l = arg, **at;

    clock_sleep_ms(l->w->clock, l->ms);
    arrive(l);
    for (at = &l->w->late_offsets; *at != l; at = &(*at)->next)
        ;
    *at = l->next;
    free(l);
}

static uint64_t offset_draw(const struct node *n, uint64_t which, uint64_t below)
{
    return fate_below(n->w, n->stream + STREAM_OFFSET, 4 * n->calls + which, below);
}

static void offset_later(struct node *n, const char *topic, int32_t partition, int64_t offset)
{
    struct late_offset *l = calloc(1, sizeof *l);
    struct world *w = n->w;
    struct err e = ERR_INIT;

    if (!l)
        abort();
    *l = (struct late_offset){
        .next = w->late_offsets, .w = w, .partition = partition, .offset = offset};
    snprintf(l->topic, sizeof l->topic, "%s", topic);
    l->ms = (int64_t)offset_draw(n, 0, (uint64_t)LATE_MS >> offset_draw(n, 1, 6));
    w->late_offsets = l;
    world_must(clock_go(w->clock, "late", late_offset_main, l, NULL, &e), &e);
}

/* What is on its way may come right behind another offset, whose commit takes it along. */
static int send_offset(struct node *n, struct bus_producer *p, struct bus_consumer *c,
                       const char *topic, int32_t partition, int64_t offset, struct err *e)
{
    struct late_offset *l = n->w->late_offsets;
    int rc = n->w->bus->ops->send_offset(p, c, topic, partition, offset, e);

    if (rc < 0 || offset_draw(n, 2, 2))
        return rc;
    for (; l; l = l->next)
        if (l->partition == partition && !strcmp(l->topic, topic))
            arrive(l);
    return rc;
}

/* --- consumers --- */

static int n_consumer(struct bus *b, const struct bus_consumer_options *o,
                      struct bus_consumer **out, struct err *e)
{
    ENTER(b, o->group, CALL_LOCAL);
    if ((rc = real->consumer(n->w->bus, o, out, e)) == 0)
        (*out)->bus = b;
    return rc;
}

/* A member that died stays one until its session is over. */
static void n_consumer_free(struct bus_consumer *c)
{
    struct node *n = node_of(c->bus);
    struct world *w = n->w;

    if (!n->dead) {
        w->bus->ops->consumer_free(c);
        return;
    }
    w->graves = realloc(w->graves, (w->grave_count + 1) * sizeof *w->graves);
    if (!w->graves)
        abort();
    w->graves[w->grave_count++] = c;
}

/* What was fetched ends anywhere, and comes when it comes: there may be none for now where the
 * topic has more, and where another question would find it. */
static bool fetched(struct node *n)
{
    return n->w->quiet || fate_below(n->w, n->stream + STREAM_FETCHED, n->calls, 4) != 0;
}

/* One look, and another one later: the bus in memory would look every few milliseconds. */
static int n_poll(struct bus_consumer *c, int timeout_ms, struct bus_message **out, struct err *e)
{
    bool some;

    *out = NULL;
    c->failed.topic = NULL;
    ENTER(c->bus, "", 0);
    linger(n);
    some = fetched(n);
    if (some)
        rc = real->poll(c, 0, out, e);
    if (rc == 0 && timeout_ms > 0) {
        clock_sleep_ms(&n->clock, timeout_ms);
        if (n->dead)
            return err_set(e, ERR_PEER, "dead");
        if (some)
            rc = real->poll(c, 0, out, e);
    }
    if (f == FAULT_CRASH_AFTER)
        node_die(n);
    return rc;
}
static void n_message_free(struct bus_consumer *c, struct bus_message *m)
{
    node_of(c->bus)->w->bus->ops->message_free(c, m);
}
static int n_seek(struct bus_consumer *c, const char *topic, int32_t partition, int64_t offset,
                  struct err *e)
{
    ENTER(c->bus, topic, LOST | TWICE);
    CALL(real->seek(c, topic, partition, offset, e));
}
static int n_pause(struct bus_consumer *c, const char *topic, int32_t partition, bool paused,
                   struct err *e)
{
    ENTER(c->bus, topic, LOST | TWICE);
    CALL(real->pause(c, topic, partition, paused, e));
}
static int n_committed(struct bus_consumer *c, const char *topic, int32_t partition,
                       int64_t *offset, struct err *e)
{
    ENTER(c->bus, topic, LOST);
    CALL(real->committed(c, topic, partition, offset, e));
}
static int n_commit(struct bus_consumer *c, const char *topic, int32_t partition, int64_t offset,
                    struct err *e)
{
    ENTER(c->bus, topic, LOST | TWICE);
    CALL(real->commit(c, topic, partition, offset, e));
}

/* --- questions --- */

static int n_watermarks(struct bus *b, const char *topic, int32_t partition, int64_t *low,
                        int64_t *high, struct err *e)
{
    ENTER(b, topic, LOST);
    CALL(bus_watermarks(n->w->bus, topic, partition, low, high, e));
}
static int n_partitions(struct bus *b, const char *topic, int *count, struct err *e)
{
    ENTER(b, topic, LOST);
    CALL(bus_partitions(n->w->bus, topic, count, e));
}
static int n_read_at(struct bus *b, const char *topic, int32_t partition, int64_t offset,
                     struct bus_message **out, struct err *e)
{
    *out = NULL;
    ENTER(b, topic, 0);
    rc = bus_read_at(n->w->bus, topic, partition, offset, out, e);
    if (f != FAULT_CRASH_AFTER)
        return rc;
    if (rc > 0)
        bus_read_free(n->w->bus, *out);
    *out = NULL;
    return node_leave(n, f, rc, e);
}
static void n_read_free(struct bus *b, struct bus_message *m)
{
    bus_read_free(node_of(b)->w->bus, m);
}
static int n_create_topics(struct bus *b, const struct bus_topic *t, size_t count, struct err *e)
{
    ENTER(b, t->name, LOST | TWICE);
    CALL(bus_create_topics(n->w->bus, t, count, e));
}

/* --- producers --- */

static int n_producer(struct bus *b, const struct bus_producer_options *o, bus_delivered_fn fn,
                      void *arg, struct bus_producer **out, struct err *e)
{
    struct outbox *box;

    ENTER(b, o->transactional_id ? o->transactional_id : "",
          o->transactional_id ? LOST : CALL_LOCAL);
    if (o->transactional_id && !n->w->quiet) /* Kafka settles what is open, and answers then */
        clock_sleep_ms(n->w->clock, (int64_t)fate_below(n->w, n->stream + 4, n->calls, INIT_MS));
    if ((rc = real->producer(n->w->bus, o, fn, arg, out, e)) < 0)
        return rc;
    if ((rc = node_leave(n, f, 0, e)) < 0) {
        real->producer_free(*out); /* its effect: others with the id are fenced */
        *out = NULL;
        return rc;
    }
    (*out)->bus = b;
    if (o->transactional_id)
        return 0;
    if (!(box = calloc(1, sizeof *box)))
        abort();
    box->producer = *out;
    box->last = &box->first;
    box->next = n->outboxes;
    n->outboxes = box;
    return 0;
}

static int n_send(struct bus_producer *p, const struct bus_message *m, void *token, struct err *e)
{
    struct outbox *o;
    struct unsent *u;

    ENTER(p->bus, m->topic, LOST);
    if (!(o = outbox_of(n, p)))
        CALL(real->send(p, m, token, e));
    if (!(u = calloc(1, sizeof *u)) || !(u->m = bus_message_copy(m)))
        abort();
    u->token = token;
    if (!o->first)
        o->since_ms = world_now(n->w);
    *o->last = u;
    o->last = &u->next;
    return node_leave(n, f, 0, e);
}
static int n_flush(struct bus_producer *p, int timeout_ms, struct err *e)
{
    struct outbox *o;

    ENTER(p->bus, "", LOST);
    if ((o = outbox_of(n, p)))
        deliver(n, o);
    CALL(real->flush(p, timeout_ms, e));
}
static int n_begin(struct bus_producer *p, struct err *e)
{
    ENTER(p->bus, "", LOST);
    overtake(n->w, p);
    CALL(real->begin(p, e));
}
static int n_send_offset(struct bus_producer *p, struct bus_consumer *c, const char *topic,
                         int32_t partition, int64_t offset, struct err *e)
{
    ENTER(p->bus, topic, LOST | TWICE);
    if (!n->w->late_every || !fate_event(n->w, n->stream + STREAM_OFFSET, n->calls,
                                         FAULT_OFFSET_LATE, n->w->late_every, n->seat->name))
        CALL(send_offset(n, p, c, topic, partition, offset, e));
    if (offset_draw(n, 3, 2)) /* a copy of it went astray */
        rc = send_offset(n, p, c, topic, partition, offset, e);
    else
        rc = err_set(e, ERR_PEER, "planted late offset");
    offset_later(n, topic, partition, offset);
    return node_leave(n, f, rc, e);
}
static int n_commit_transaction(struct bus_producer *p, struct err *e)
{
    ENTER(p->bus, "", LOST | LATE);
    if (f == FAULT_LATE)
        return commit_later(n, p, e);
    CALL(real->commit_transaction(p, e));
}
static int n_abort_transaction(struct bus_producer *p, struct err *e)
{
    ENTER(p->bus, "", LOST);
    overtake(n->w, p);
    CALL(real->abort_transaction(p, e));
}

static void forget(struct node *n, const struct bus_producer *p)
{
    struct outbox **at, *o;

    for (at = &n->outboxes; *at && (*at)->producer != p; at = &(*at)->next)
        ;
    if (!(o = *at))
        return;
    *at = o->next;
    drop(o);
    free(o);
}

static void n_producer_free(struct bus_producer *p)
{
    struct node *n = node_of(p->bus);
    struct late_commit *l = late_of(n->w, p);

    forget(n, p);
    if (l)
        l->freed = true;
    else
        n->w->bus->ops->producer_free(p);
}

static const struct bus_ops table = {.consumer = n_consumer,
                                     .poll = n_poll,
                                     .message_free = n_message_free,
                                     .seek = n_seek,
                                     .pause = n_pause,
                                     .committed = n_committed,
                                     .commit = n_commit,
                                     .consumer_free = n_consumer_free,
                                     .watermarks = n_watermarks,
                                     .partitions = n_partitions,
                                     .read_at = n_read_at,
                                     .read_free = n_read_free,
                                     .producer = n_producer,
                                     .send = n_send,
                                     .flush = n_flush,
                                     .begin = n_begin,
                                     .send_offset = n_send_offset,
                                     .commit_transaction = n_commit_transaction,
                                     .abort_transaction = n_abort_transaction,
                                     .producer_free = n_producer_free,
                                     .create_topics = n_create_topics};

void node_bus_init(struct node *n)
{
    n->bus.ops = &table;
}
