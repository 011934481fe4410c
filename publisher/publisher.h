/*
 * The publisher: finished runs into model-ready events, exactly one committed
 * event a run, however often `done` names it.
 *
 * A partition p of `done` and the partition p of `published` go together: the
 * runs that hash to p. Whoever is assigned both
 *
 *   1. opens the producer with p's own transactional id: from here on no earlier
 *      owner of p can commit anything, and what it had open is aborted
 *   2. asks for p's committed offset on `done`
 *   3. reads p of `published` to its end: every run that has its event
 *   4. reads `done` from that offset; a run that is not known gets, in one
 *      transaction, the event, its key on `published`, the offset
 *
 *   watch.c     the consumer, rebalances, steps 1 to 3     known.c   the set of step 3
 *   announce.c  step 4: the transaction                    parked.c  runs that have to wait
 *   release.c   end.json, manifest, job: what is true of a run
 *   event.c     the CloudEvents record                     current.c the model in force
 *
 * A message on `done` is a hint: nothing of it is used but the run's name, all
 * else comes from S3. docs/protocol.md has the reasoning.
 *
 * A `publisher` belongs to one task. It reaches the world through the ports only.
 */
#ifndef PUBLISHER_PUBLISHER_H
#define PUBLISHER_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/base/err.h"

struct blob;
struct bus;
struct clock;
struct metrics;
struct publisher;

/* Of events; JOB: structured unless the job asks for binary. */
enum publisher_mode { PUBLISHER_JOB, PUBLISHER_STRUCTURED, PUBLISHER_BINARY };

struct publisher_options {
    const char *prefix;      /* NULL: "tripline" */
    int64_t partitions;      /* of `done` and `published` where they are not there yet */
    int mode;                /* enum publisher_mode */
    int64_t presign_ms;      /* presigned URLs last no longer, whatever a job asks for */
    int64_t retry_ms;        /* a run that had to wait is tried again after so long, doubling */
    int64_t retry_cap_ms;    /* ... at most */
    int64_t session_ms;      /* of the consumer group; 0: the port's default */
    int message_timeout_ms;  /* of messages and transactions; 0: 30000 */
    int metadata_refresh_ms; /* how soon a new topic is seen; 0: the port's default */
};
void publisher_options_init(struct publisher_options *o);

/* Borrowed; they outlive the publisher. */
struct publisher_ports {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct metrics *metrics; /* may be NULL */
    /* Told when it becomes ready or ceases to be (`why`); may be NULL. */
    void (*ready)(void *arg, bool ready, const char *why);
    void *ready_arg;
};

/* Strings of the options are borrowed. Speaks to no server. */
int publisher_new(struct publisher **out, const struct publisher_options *o,
                  const struct publisher_ports *p, struct err *e);
/* Leaves the group; an open transaction is left to its timeout, as by a crash. Accepts NULL. */
void publisher_free(struct publisher *pub);

/* Steps until clock_stopping; a step ends what it begins, so there is nothing to drain. 0, or the
 * error that ends the service. */
int publisher_run(struct publisher *pub, struct err *e);

/* One turn: what is due, then the messages that come within `wait_ms`. 0 or a fatal error. */
int publisher_step(struct publisher *pub, int wait_ms, struct err *e);

#endif
