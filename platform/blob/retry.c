#include "platform/blob/retry.h"

#include <string.h>

#include "platform/clock/clock.h"

#define BASE_MS     100
#define CAP_MS      5000
#define DRAIN_TRIES 4

void retry_start(struct retry *r, struct clock *clock, int64_t give_up_ms)
{
    memset(r, 0, sizeof *r);
    r->clock = clock;
    r->start_ms = clock_mono_ms(clock);
    r->give_up_ms = give_up_ms;
}

int64_t retry_left_ms(const struct retry *r)
{
    return r->give_up_ms - clock_mono_ms(r->clock);
}

bool retry_wait(struct retry *r, bool reached)
{
    int64_t wait = clock_backoff_ms(r->clock, r->attempt++, BASE_MS, CAP_MS);
    int64_t limit = r->give_up_ms;

    if (!reached && r->start_ms + RETRY_REACH_MS < limit)
        limit = r->start_ms + RETRY_REACH_MS;
    if (clock_mono_ms(r->clock) + wait >= limit)
        return false;
    if (clock_stopping(r->clock) && ++r->drain_tries > DRAIN_TRIES)
        return false;
    clock_sleep_ms(r->clock, wait);
    return true;
}
