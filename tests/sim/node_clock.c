/*
 * A process's clock. Its timers are coarse: a sleep takes at least the world's
 * quantum, which is what makes hours cheap. The dead don't wait for the world:
 * their time passes quickly, so that the code unwinds.
 */
#include "tests/sim/sim.h"

#include <string.h>

enum { SLICE_MS = 5000 /* how late a stop is noticed */, DEAD_MS = 1000 };

#define NODE struct node *n = (struct node *)(void *)((char *)c - offsetof(struct node, clock))

void node_gate(struct node *n)
{
    int64_t left;

    while (!n->dead && (left = n->paused_until_ms - world_now(n->w)) > 0)
        clock_sleep_ms(n->w->clock, left);
}

static int64_t n_wall_ms(struct clock *c)
{
    NODE;
    return clock_wall_ms(n->w->clock) + n->skew_ms + n->dead_ms;
}

static int64_t n_mono_ms(struct clock *c)
{
    NODE;
    return world_now(n->w) + n->dead_ms;
}

static void n_sleep_ms(struct clock *c, int64_t ms)
{
    NODE;
    struct world *w = n->w;
    int64_t until;

    if (n->dead) {
        n->dead_ms += ms > DEAD_MS ? ms : DEAD_MS;
        clock_sleep_ms(w->clock, DEAD_MS / 10); /* its other tasks come to know it, too */
        return;
    }
    if (ms < w->quantum_ms)
        ms = w->quantum_ms;
    ms += (int64_t)fate_below(w, n->stream + 1, n->slept++, (uint64_t)w->quantum_ms / 4 + 1);
    until = world_now(w) + ms;
    while (!n->dead && (ms = until - world_now(w)) > 0) {
        clock_sleep_ms(w->clock, ms < SLICE_MS ? ms : SLICE_MS);
        if (n->stopping)
            break;
    }
    node_gate(n);
}

static void n_random(struct clock *c, void *to, size_t size)
{
    NODE;
    unsigned char *p = to;

    while (size > 0) {
        uint64_t v = fate_draw(n->w, n->stream + 2, n->drawn++);
        size_t k = size < sizeof v ? size : sizeof v;

        memcpy(p, &v, k);
        p += k;
        size -= k;
    }
}

static int n_go(struct clock *c, const char *name, void (*fn)(void *), void *arg, struct task **out,
                struct err *e)
{
    NODE;
    return clock_go(n->w->clock, name, fn, arg, out, e);
}

static void n_join(struct clock *c, struct task *t)
{
    NODE;
    clock_join(n->w->clock, t);
}

static bool n_stopping(struct clock *c)
{
    NODE;
    return n->stopping || n->dead;
}

static void n_stop(struct clock *c)
{
    NODE;
    n->stopping = true;
}

static const struct clock_ops ops = {
    .wall_ms = n_wall_ms,
    .mono_ms = n_mono_ms,
    .sleep_ms = n_sleep_ms,
    .random = n_random,
    .go = n_go,
    .join = n_join,
    .stopping = n_stopping,
    .stop = n_stop,
};

void node_clock_init(struct node *n)
{
    n->clock.ops = &ops;
}
