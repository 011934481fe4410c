#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/counter.h"
#include "tests/sim/sim.h"

enum { STREAM_SWARM = 1, EVENT_SEAT = 1u << 30 };

const char *const fault_texts[FAULT_KINDS] = {"none",
#define X(name, text) text,
                                              FAULTS(X)
#undef X
};

void fired_free(struct fired_list *l)
{
    free(l->items);
    *l = (struct fired_list){0};
}

static void note(struct fired_list *l, uint64_t id, enum fault kind)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        if (!(l->items = realloc(l->items, l->cap * sizeof *l->items)))
            abort();
    }
    l->items[l->count++] = (struct fired){id, kind};
}

static bool has(const struct fired_list *l, uint64_t id)
{
    size_t i;

    for (i = 0; i < l->count; i++)
        if (l->items[i].id == id)
            return true;
    return false;
}

uint64_t fate_draw(const struct world *w, uint32_t stream, uint64_t index)
{
    return counter_u64(w->o.seed, 0, stream, index);
}

uint64_t fate_below(const struct world *w, uint32_t stream, uint64_t index, uint64_t n)
{
    return counter_below(fate_draw(w, stream, index), n);
}

static void hash_in(uint64_t *h, uint64_t v)
{
    *h = (*h ^ v) * UINT64_C(0x100000001b3);
    *h ^= *h >> 29;
}

bool fate_fires(struct world *w, uint64_t id, enum fault kind, const char *where, const char *what)
{
    if (w->o.only && !has(w->o.only, id))
        return false;
    note(&w->fired, id, kind);
    w->counts[kind]++;
    hash_in(&w->trace_hash, id);
    hash_in(&w->trace_hash, (uint64_t)kind);
    hash_in(&w->trace_hash, (uint64_t)world_now(w));
    world_trace(w, "%s %s: %s", where, what, fault_texts[kind]);
    return true;
}

bool fate_event(struct world *w, uint32_t stream, uint64_t index, enum fault kind, uint64_t n,
                const char *where)
{
    uint64_t id = (uint64_t)(EVENT_SEAT + stream) << 32 | ((uint64_t)kind << 24) | index;

    if (w->quiet || fate_below(w, stream + ((uint32_t)kind << 16), index, n) != 0)
        return false;
    return fate_fires(w, id, kind, where, "");
}

/* Each seed has its own mix: some faults often, some never (swarm testing). */
void fate_open(struct world *w)
{
    static const uint32_t rates[] = {200, 1000, 4000, 10000};
    static const uint32_t late[] = {0, 4, 10, 40};
    int k;

    for (k = FAULT_NONE + 1; k < FAULT_CALLS; k++) {
        uint64_t v = fate_below(w, STREAM_SWARM, (uint64_t)k, 8);

        w->weights[k] = v < 3 ? 0 : (uint32_t)v;
        w->weight_sum += w->weights[k];
    }
    w->rate = rates[fate_below(w, STREAM_SWARM, 100, 4)];
    w->poll_rate = w->rate / 20;
    w->late_every = late[fate_below(w, STREAM_SWARM, 101, 4)];
    w->trace_hash = UINT64_C(0xcbf29ce484222325);
}
