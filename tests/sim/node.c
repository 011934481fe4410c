#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/ingest.h"
#include "publisher/publisher.h"
#include "tests/sim/sim.h"
#include "trainer/trainer.h"

enum {
    STREAM_SEAT = 1000,
    STREAMS = 16 /* of one life */,
    FOR_MS = 120000,
    SLOW_MS = 20000,
    AWAY_MS = 600000,
    RESTART_MS = 15000,
    SKEW_MS = 300000,
    WAIT_MS = 1200000, /* for ingest, of a run */
    AT_ONCE_MAX = 100000,
    DRAIN_MS = 1800000
};

void node_die(struct node *n)
{
    n->dead = true;
}

static uint64_t draw(struct node *n, uint64_t below)
{
    return fate_below(n->w, n->stream + 3, n->drawn++, below);
}

static int64_t for_ms(struct node *n, int64_t most)
{
    return (int64_t)draw(n, (uint64_t)(most >> draw(n, 6))) + 1;
}

/* Weighted by the seed's mix; FAULT_NONE where the call can't have the one that is drawn. */
static enum fault choose(struct node *n, unsigned can)
{
    const struct world *w = n->w;
    uint32_t at = (uint32_t)draw(n, w->weight_sum ? w->weight_sum : 1);
    int k;

    for (k = FAULT_NONE + 1; k < FAULT_CALLS; k++) {
        if (at < w->weights[k])
            return can >> k & 1 ? (enum fault)k : FAULT_NONE;
        at -= w->weights[k];
    }
    return FAULT_NONE;
}

#define CAN_ALWAYS                                                                                 \
    (1u << FAULT_SLOW | 1u << FAULT_FAIL | 1u << FAULT_CUT | 1u << FAULT_PAUSE |                   \
     1u << FAULT_CRASH_BEFORE | 1u << FAULT_CRASH_AFTER | 1u << FAULT_SKEW | 1u << FAULT_DRAIN)

/* Polls are many and end nothing; of the calls on which a promise hangs there are few, and one that
 * takes effect when its sender goes on without it tests more than one that does not. */
static uint32_t rate_of(const struct world *w, const char *call)
{
    if (strcmp(call, "poll") == 0)
        return w->poll_rate;
    return strcmp(call, "commit_transaction") == 0 ? 8 * w->rate : w->rate;
}

static enum fault befalls(struct node *n, const char *call, const char *what, unsigned can)
{
    struct world *w = n->w;
    uint64_t call_number = n->calls++;
    uint32_t rate = rate_of(w, call);
    uint64_t id = (uint64_t)n->stream << 32 | call_number;
    char where[700];
    enum fault f;

    if (w->quiet || fate_below(w, n->stream, call_number, 100000) >= rate)
        return FAULT_NONE;
    f = can >> FAULT_LATE & 1 && draw(n, 3) == 0 ? FAULT_LATE : choose(n, can | CAN_ALWAYS);
    if (!f)
        return f;
    snprintf(where, sizeof where, "%s/%llu %s", n->seat->name, (unsigned long long)n->seat->lives,
             call);
    return fate_fires(w, id, f, where, what) ? f : FAULT_NONE;
}

/* What never ends is a verdict, too. */
static void bound(struct node *n)
{
    struct world *w = n->w;
    int64_t now = world_now(w);

    n->at_once = now == n->moment_ms ? n->at_once + 1 : 0;
    n->moment_ms = now;
    if (n->at_once < AT_ONCE_MAX && (!w->closing || now - w->closing_ms < DRAIN_MS))
        return;
    if (w->closing)
        world_violation(w, "%s does not drain", n->seat->name);
    else
        world_violation(w, "%s spins: %d calls in one moment", n->seat->name, AT_ONCE_MAX);
    node_die(n);
}

/* --- what a trainer goes through: nothing that befalls Redis alone, no answer that comes twice ---
 */

struct trouble {
    uint64_t at;
    bool drain;
};

static void trouble(struct world *w, bool drain)
{
    if (w->trouble_count == w->trouble_cap) {
        w->trouble_cap = w->trouble_cap ? w->trouble_cap * 2 : 64;
        if (!(w->troubles = realloc(w->troubles, w->trouble_cap * sizeof *w->troubles)))
            abort();
    }
    w->troubles[w->trouble_count++] = (struct trouble){w->moment, drain};
}

struct troubles node_troubles(const struct world *w, uint64_t from, uint64_t to)
{
    struct troubles sum = {0};
    size_t i;

    for (i = 0; i < w->trouble_count && w->troubles[i].at < to; i++)
        if (w->troubles[i].at >= from) {
            sum.drains += w->troubles[i].drain;
            sum.used_up += !w->troubles[i].drain;
        }
    return sum;
}

static void note_trouble(struct node *n, enum server s, enum fault f)
{
    const unsigned process =
        1u << FAULT_PAUSE | 1u << FAULT_CRASH_BEFORE | 1u << FAULT_CRASH_AFTER | 1u << FAULT_DRAIN;
    const unsigned store =
        1u << FAULT_SLOW | 1u << FAULT_FAIL | 1u << FAULT_LOST | 1u << FAULT_LATE | 1u << FAULT_CUT;

    if (n->seat->service == TRAINER && (process | (s == SERVER_BLOB ? store : 0)) >> f & 1)
        trouble(n->w, f == FAULT_DRAIN);
}

static int no_answer(struct err *e, const char *why)
{
    return err_set(e, ERR_PEER, "%s", why);
}

static void slow(struct node *n)
{
    clock_sleep_ms(n->w->clock, for_ms(n, SLOW_MS));
}

/* Those that concern the process, not the call. */
static void befallen(struct node *n, enum server s, enum fault f)
{
    int64_t now = world_now(n->w);

    switch (f) {
    case FAULT_CUT:
        n->cut_until_ms[s] = now + for_ms(n, FOR_MS);
        break;
    case FAULT_PAUSE:
        n->paused_until_ms = now + for_ms(n, FOR_MS);
        break;
    case FAULT_SKEW:
        n->skew_ms = (int64_t)draw(n, 2 * SKEW_MS) - SKEW_MS;
        break;
    case FAULT_DRAIN:
        n->stopping = true;
        break;
    case FAULT_CRASH_BEFORE:
        node_die(n);
        break;
    default:
        break;
    }
}

int node_enter(struct node *n, enum server s, const char *call, const char *what, unsigned can,
               enum fault *f, struct err *e)
{
    struct world *w = n->w;

    *f = FAULT_NONE;
    node_gate(n);
    bound(n);
    if (n->dead)
        return no_answer(e, "dead");
    *f = befalls(n, call, what, can);
    befallen(n, s, *f);
    note_trouble(n, s, *f);
    if (*f == FAULT_SLOW && draw(n, 2) == 0) {
        slow(n);
        *f = FAULT_NONE; /* else behind its effect */
    }
    if (s == SERVER_BLOB && world_now(w) < w->slow_until_ms) {
        note_trouble(n, s, FAULT_SLOW);
        clock_sleep_ms(w->clock, for_ms(n, SLOW_MS));
    }
    node_gate(n);
    if (n->dead)
        return no_answer(e, "dead");
    if (can & CALL_LOCAL)
        return 0;
    if (!w->quiet && (world_now(w) < w->down_until_ms[s] || world_now(w) < n->cut_until_ms[s])) {
        note_trouble(n, s, FAULT_CUT);
        return no_answer(e, "unreachable");
    }
    return *f == FAULT_FAIL ? no_answer(e, "planted failure") : 0;
}

int node_leave(struct node *n, enum fault f, int rc, struct err *e)
{
    if (f == FAULT_SLOW)
        slow(n);
    if (f == FAULT_CRASH_AFTER)
        node_die(n);
    node_gate(n);
    if (n->dead)
        return no_answer(e, "dead");
    return f == FAULT_LOST && rc >= 0 ? no_answer(e, "planted lost answer") : rc;
}

/* --- seats --- */

static int run_ingest(struct node *n, struct err *e)
{
    const struct ingest_ports p = {.clock = &n->clock, .bus = &n->bus, .blob = &n->blob};
    struct ingest_options o;
    struct ingest *in = NULL;
    int rc;

    ingest_options_init(&o);
    o.segment_records = 2 + (int64_t)fate_below(n->w, STREAM_SEAT, 1, 20);
    if ((rc = ingest_new(&in, &o, &p, e)) == 0)
        rc = ingest_run(in, e);
    ingest_free(in);
    return rc;
}

static int run_trainer(struct node *n, struct err *e)
{
    const struct trainer_ports p = {.clock = &n->clock,
                                    .bus = &n->bus,
                                    .blob = &n->blob,
                                    .board = &n->board,
                                    .child = n->child};
    struct trainer_options o;
    struct trainer *t = NULL;
    char work[128];
    int rc;

    trainer_options_init(&o);
    snprintf(work, sizeof work, "%s/%s", n->w->folder, n->seat->name);
    o.name = n->seat->name;
    o.work = work;
    o.program = "/bin/true"; /* child_mem starts none */
    o.wait_ms = WAIT_MS;
    o.workers = 1 + (int64_t)fate_below(n->w, STREAM_SEAT, 2, 2);
    if ((rc = trainer_new(&t, &o, &p, e)) == 0)
        rc = trainer_run(t, e);
    trainer_free(t);
    return rc;
}

static int run_publisher(struct node *n, struct err *e)
{
    const struct publisher_ports p = {.clock = &n->clock, .bus = &n->bus, .blob = &n->blob};
    struct publisher_options o;
    struct publisher *pub = NULL;
    int rc;

    publisher_options_init(&o);
    o.partitions = 2;
    if ((rc = publisher_new(&pub, &o, &p, e)) == 0)
        rc = publisher_run(pub, e);
    publisher_free(pub);
    return rc;
}

static int (*const run_service[SERVICES])(struct node *, struct err *) = {
    [INGEST] = run_ingest, [TRAINER] = run_trainer, [PUBLISHER] = run_publisher};

static void live(struct seat *s)
{
    struct world *w = s->w;
    struct node n = {.w = w, .seat = s};
    struct err e = ERR_INIT;
    int rc = 0;

    n.stream = STREAM_SEAT + (uint32_t)(s->number * 4096 + (int)(s->lives % 4096) + 1) * STREAMS;
    node_clock_init(&n);
    node_stores_init(&n);
    node_bus_init(&n);
    s->node = &n;
    world_trace(w, "%s/%llu begins", s->name, (unsigned long long)s->lives);
    world_must(child_mem(&n.child, &n.clock, train, &n, &e), &e);
    rc = run_service[s->service](&n, &e);
    world_trace(w, "%s/%llu %s%s%s", s->name, (unsigned long long)s->lives,
                n.dead       ? "is dead"
                : n.stopping ? "has drained"
                             : "ended",
                rc < 0 ? ": " : "", rc < 0 ? e.text : "");
    if (!n.dead && !n.stopping)
        world_violation(w, "%s ended by itself: %s", s->name, rc < 0 ? e.text : "without an error");
    if (n.stopping && !n.dead && rc < 0 && err_class(rc) == ERR_CLASS_STOP)
        world_violation(w, "%s could not drain: %s", s->name, e.text);
    s->node = NULL;
    child_port_free(n.child);
}

void seat_main(void *seat)
{
    struct seat *s = seat;
    struct world *w = s->w;
    uint32_t stream = STREAM_SEAT + (uint32_t)s->number;
    int64_t away;

    for (; !w->closing; s->lives++) {
        live(s);
        if (w->closing)
            break;
        away = (int64_t)fate_below(w, stream, s->lives, w->quiet ? 1000 : RESTART_MS);
        if (fate_event(w, stream, s->lives, FAULT_LEAVE, 6, s->name))
            away += (int64_t)fate_below(w, stream, s->lives + 1000000, AWAY_MS);
        for (; away > 0 && !w->closing; away -= 5000)
            clock_sleep_ms(w->clock, away < 5000 ? away : 5000);
        if (w->quiet)
            continue;
    }
}
