/*
 * When a call to a server is tried again, and when it gives up: full jitter
 * until the deadline; a server that was never reached is given up after
 * RETRY_REACH_MS, since the usual reason is a wrong address. Once the process
 * drains, waits return at once, so only a few more tries are made.
 *
 * A struct retry lives on the stack of one call.
 */
#ifndef PLATFORM_BLOB_RETRY_H
#define PLATFORM_BLOB_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#define RETRY_REACH_MS 5000

struct clock;

struct retry {
    struct clock *clock; /* borrowed */
    int64_t start_ms, give_up_ms;
    int attempt, drain_tries;
};

void retry_start(struct retry *r, struct clock *clock, int64_t give_up_ms);
int64_t retry_left_ms(const struct retry *r);

/* Waits before the next try; false: it is time to give up. `reached`: there was a connection. */
bool retry_wait(struct retry *r, bool reached);

#endif
