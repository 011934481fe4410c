/*
 * Time, chance and tasks: the port through which services wait, read the time,
 * make random numbers and run loops side by side. No service calls time(),
 * rand() or pthread_create() by itself, so that a whole deployment can run as
 * fibers of one process on simulated time under one seed.
 *
 *   clock_real   the machine's clocks, getrandom(2), POSIX threads
 *   clock_sim    fibers on simulated time (tests); chance comes from the seed
 *
 * All calls may be made from any task of the clock.
 */
#ifndef PLATFORM_CLOCK_CLOCK_H
#define PLATFORM_CLOCK_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

struct clock;
struct task;

struct clock_ops {
    int64_t (*wall_ms)(struct clock *);                 /* milliseconds since 1970; may jump */
    int64_t (*mono_ms)(struct clock *);                 /* milliseconds, never goes back */
    void (*sleep_ms)(struct clock *, int64_t ms);       /* ends early once stopping, see below */
    void (*random)(struct clock *, void *to, size_t n); /* unpredictable in clock_real */
    int (*go)(struct clock *, const char *name, void (*fn)(void *), void *arg, struct task **out,
              struct err *);
    void (*join)(struct clock *, struct task *); /* waits for its end and frees it */
    bool (*stopping)(struct clock *);            /* a drain was asked for (SIGTERM) */
    void (*stop)(struct clock *);                /* asks for it; async-signal-safe */
    void (*free)(struct clock *);
};

struct clock {
    const struct clock_ops *ops;
};

int clock_real(struct clock **out, struct err *e);

/*
 * Simulated: tasks are fibers that switch only where they sleep or join; time starts at 0 and jumps
 * to the next wake-up. The thread that made it is the only one that may use it. clock_sim_run, and
 * a sleep or join outside of any task, run the tasks meanwhile.
 */
int clock_sim(struct clock **out, uint64_t seed, struct err *e);
/* Runs all tasks until none is left or clock_mono_ms has reached until_ms. */
void clock_sim_run(struct clock *c, int64_t until_ms);

static inline int64_t clock_wall_ms(struct clock *c)
{
    return c->ops->wall_ms(c);
}
static inline int64_t clock_mono_ms(struct clock *c)
{
    return c->ops->mono_ms(c);
}
/*
 * A stop ends every sleep at once; a sleep that begins after it still takes up to 50 ms, so that a
 * drain that retries does not spin. 0 lets other simulated tasks run.
 */
static inline void clock_sleep_ms(struct clock *c, int64_t ms)
{
    c->ops->sleep_ms(c, ms);
}
static inline bool clock_stopping(struct clock *c)
{
    return c->ops->stopping(c);
}
static inline void clock_stop(struct clock *c)
{
    c->ops->stop(c);
}
static inline void clock_random(struct clock *c, void *to, size_t n)
{
    c->ops->random(c, to, n);
}
static inline void clock_free(struct clock *c)
{
    if (c)
        c->ops->free(c);
}

/* Starts fn(arg) as a task; `out` NULL: nobody will join it, it frees itself. */
static inline int clock_go(struct clock *c, const char *name, void (*fn)(void *), void *arg,
                           struct task **out, struct err *e)
{
    return c->ops->go(c, name, fn, arg, out, e);
}
static inline void clock_join(struct clock *c, struct task *t)
{
    c->ops->join(c, t);
}

/* Helpers over the port (clock.c). */
uint64_t clock_random_u64(struct clock *c);
void clock_nonce(struct clock *c, char hex[33]); /* 128 random bits in hex */

/*
 * Exponential back-off with full jitter (Brooker, AWS Architecture Blog 2015):
 * attempt 0, 1, 2, ... -> a random wait in [0, min(cap, base * 2^attempt)] ms.
 */
int64_t clock_backoff_ms(struct clock *c, int attempt, int64_t base_ms, int64_t cap_ms);

#endif
