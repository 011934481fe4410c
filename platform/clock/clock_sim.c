/*
 * Simulated time. Tasks are fibers of the calling thread; exactly one runs, and
 * it runs until it sleeps, joins or ends. Time stands still meanwhile and then
 * jumps to the earliest wake-up. Whoever wakes at the same moment is ordered by
 * the seed. Everything is derived from (seed, counter), so a run replays.
 */
#include "platform/clock/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock_int.h"
#include "platform/clock/fiber.h"

#define WALL_START_MS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

struct task {
    struct task *next; /* of the clock's list */
    struct fiber *fiber;
    void (*fn)(void *);
    void *arg;
    int64_t wake_us;
    uint64_t order;         /* among equal wake_us */
    struct task *waits_for; /* joining it; sleeps not */
    bool detached, ended;
};

struct clock_sim {
    struct clock clock;
    int64_t now_us;
    uint64_t seed, drawn, ordered; /* two streams: chance of tasks, order of wake-ups */
    bool stopping;
    struct task *tasks;
    struct task *current; /* NULL: the context that called clock_sim_run */
};

/* The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) over a counter. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t draw(const struct clock_sim *s, uint64_t stream, uint64_t counter)
{
    return mix(mix(mix(s->seed) + stream) + counter);
}

static int64_t sim_mono_ms(struct clock *c)
{
    return ((struct clock_sim *)c)->now_us / 1000;
}

static int64_t sim_wall_ms(struct clock *c)
{
    return WALL_START_MS + sim_mono_ms(c);
}

static void wake_at(struct clock_sim *s, struct task *t, int64_t us)
{
    t->wake_us = us;
    t->order = draw(s, 1, s->ordered++);
}

/* The next task to run, NULL: none can. */
static struct task *earliest(const struct clock_sim *s)
{
    struct task *best = NULL, *t;

    for (t = s->tasks; t; t = t->next) {
        if (t->ended || (t->waits_for && !t->waits_for->ended))
            continue;
        if (!best || t->wake_us < best->wake_us ||
            (t->wake_us == best->wake_us && t->order < best->order))
            best = t;
    }
    return best;
}

static void remove_task(struct clock_sim *s, struct task *t)
{
    struct task **p = &s->tasks;

    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
    fiber_free(t->fiber);
    free(t);
}

static void run_one(struct clock_sim *s, struct task *t)
{
    if (t->wake_us > s->now_us)
        s->now_us = t->wake_us;
    s->current = t;
    fiber_resume(t->fiber);
    s->current = NULL;
    t->ended = fiber_ended(t->fiber);
    if (t->detached && t->ended)
        remove_task(s, t);
}

static void run_until_us(struct clock_sim *s, int64_t until_us)
{
    struct task *t;

    assert(!s->current); /* only the outermost context drives the others */
    while ((t = earliest(s)) && t->wake_us <= until_us)
        run_one(s, t);
}

void clock_sim_run(struct clock *c, int64_t until_ms)
{
    struct clock_sim *s = (struct clock_sim *)c;
    int64_t until_us = until_ms > INT64_MAX / 1000 ? INT64_MAX : until_ms * 1000;

    run_until_us(s, until_us);
    if (earliest(s) && until_us > s->now_us)
        s->now_us = until_us; /* tasks are left: the time is up */
}

static void sim_sleep_ms(struct clock *c, int64_t ms)
{
    struct clock_sim *s = (struct clock_sim *)c;
    struct task *t = s->current;
    int64_t us;

    if (s->stopping && ms > CLOCK_DRAIN_SLEEP_MS)
        ms = CLOCK_DRAIN_SLEEP_MS;
    /* no sleep is free: a loop of empty ones must not stop the time */
    us = ms <= 0 ? 1 : ms < INT64_MAX / 4000 ? ms * 1000 : INT64_MAX / 4;
    if (!t) { /* outside of any task: the others run meanwhile */
        int64_t until = s->now_us + us;

        run_until_us(s, until);
        if (s->now_us < until)
            s->now_us = until;
        return;
    }
    wake_at(s, t, s->now_us + us);
    fiber_yield(t->fiber);
}

static void sim_random(struct clock *c, void *to, size_t n)
{
    struct clock_sim *s = (struct clock_sim *)c;
    unsigned char *p = to;

    while (n > 0) {
        uint64_t v = draw(s, 0, s->drawn++);
        size_t k = n < sizeof v ? n : sizeof v;

        memcpy(p, &v, k);
        p += k;
        n -= k;
    }
}

static void task_main(void *arg)
{
    struct task *t = arg;

    t->fn(t->arg);
}

static int sim_go(struct clock *c, const char *name, void (*fn)(void *), void *arg,
                  struct task **out, struct err *e)
{
    struct clock_sim *s = (struct clock_sim *)c;
    struct task *t = calloc(1, sizeof *t);
    int rc;

    if (!t)
        return err_set(e, ERR_NOMEM, "starting the task '%s'", name);
    if ((rc = fiber_new(&t->fiber, task_main, t, e)) < 0) {
        free(t);
        return err_wrap(e, "starting the task '%s'", name);
    }
    t->fn = fn;
    t->arg = arg;
    t->detached = out == NULL;
    wake_at(s, t, s->now_us);
    t->next = s->tasks;
    s->tasks = t;
    if (out)
        *out = t;
    return rc;
}

static void sim_join(struct clock *c, struct task *t)
{
    struct clock_sim *s = (struct clock_sim *)c;
    struct task *self = s->current, *next;

    if (!t)
        return;
    while (!t->ended) {
        if (self) {
            self->waits_for = t;
            fiber_yield(self->fiber);
            self->waits_for = NULL;
        } else {
            next = earliest(s);
            assert(next); /* tasks that wait for each other in a ring: a defect of the caller */
            run_one(s, next);
        }
    }
    remove_task(s, t);
}

static bool sim_stopping(struct clock *c)
{
    return ((struct clock_sim *)c)->stopping;
}

static void sim_stop(struct clock *c)
{
    struct clock_sim *s = (struct clock_sim *)c;
    struct task *t;

    if (s->stopping)
        return;
    s->stopping = true;
    for (t = s->tasks; t; t = t->next)
        if (t->wake_us > s->now_us)
            t->wake_us = s->now_us;
}

static void sim_free(struct clock *c)
{
    struct clock_sim *s = (struct clock_sim *)c;

    assert(!s->current);
    while (s->tasks)
        remove_task(s, s->tasks);
    free(s);
}

static const struct clock_ops sim_ops = {
    .wall_ms = sim_wall_ms,
    .mono_ms = sim_mono_ms,
    .sleep_ms = sim_sleep_ms,
    .random = sim_random,
    .go = sim_go,
    .join = sim_join,
    .stopping = sim_stopping,
    .stop = sim_stop,
    .free = sim_free,
};

int clock_sim(struct clock **out, uint64_t seed, struct err *e)
{
    struct clock_sim *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(e, ERR_NOMEM, "the simulated clock");
    s->clock.ops = &sim_ops;
    s->seed = seed;
    *out = &s->clock;
    return 0;
}
