/*
 * A run's life, as schemas/job.h draws it. Its state is what objects say: job.json
 * (CREATED), attempts/<n>.json (STARTED), end.json (the other three). job_change is
 * the one function that creates any of them. Redis gets a copy for people.
 *
 * An actor is a task that does so, with its own producer. One task at a time.
 */
#ifndef TRAINER_JOB_H
#define TRAINER_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/base/arena.h"
#include "schemas/job.h"
#include "schemas/keys.h"
#include "schemas/run.h"
#include "schemas/status.h"

/* Handed over in good order, or lost to another while it was well: not one of max_attempts. */
#define ATTEMPT_RELEASED "released.json"
#define JOB_CHECKPOINTS  2

struct bus_producer;
struct trainer;

struct actor {
    struct trainer *t;
    struct bus_producer *producer; /* opened at the first use */
};
void actor_release(struct actor *a);

struct job_ref {
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX];
};
int job_ref_set(struct job_ref *r, const char *owner, const char *run, struct err *e);

bool job_may(enum job_state from, enum job_state to);

/*
 * Conditionally creates the object that makes the run `to`: job.json, attempts/<n>.json or
 * end.json at `key`. ERR_EXISTS: another process was first, read it and obey.
 */
int job_change(struct trainer *t, const struct job_ref *r, enum job_state from, enum job_state to,
               const char *key, const struct buf *body, struct err *e);

/* ERR_NOT_FOUND: there is none. ERR_FORMAT: it is broken. */
int job_load(struct trainer *t, const struct job_ref *r, struct arena *a, struct job *out,
             struct err *e);
int job_end_load(struct trainer *t, const struct job_ref *r, struct arena *a, struct run_end *out,
                 struct err *e);

struct job_checkpoint {
    uint64_t attempt, step;
};
/* What the attempts of a run left in S3. */
struct job_attempts {
    uint64_t highest;                                   /* 0: none */
    uint64_t count;                                     /* attempts that were not handed over */
    uint64_t released;                                  /* the others */
    struct job_checkpoint checkpoints[JOB_CHECKPOINTS]; /* of different steps, newest first */
    size_t checkpoint_count;
};
int job_attempts(struct trainer *t, const struct job_ref *r, struct job_attempts *out,
                 struct err *e);

/*
 * Ends the run as `end` says (owner, run, nonce, time are filled in), or, when another end was
 * first, reads that into *end. Then settles it.
 */
int job_end(struct actor *a, const struct job_ref *r, enum job_state from, const struct job *job,
            struct arena *arena, struct run_end *end, struct err *e);
/* Tells of an end that is there: the status, a message on done; a marker without use goes. `job`
 * may be NULL. What fails is told again by a sweep. */
int job_settle(struct actor *a, const struct job_ref *r, const struct job *job,
               const struct run_end *end, struct err *e);

/* --- Redis: never fails a run ---------------------------------------------------------------- */

/* False for a while after Redis did not answer, so that nothing waits for it again and again. */
bool job_board_usable(struct trainer *t);
/* Remembers a failure; true when rc is fine. */
bool job_board_fine(struct trainer *t, int rc, const struct err *e);

void job_status_of(const struct job_ref *r, const struct job *job, struct run_status *out);
void job_status_put(struct trainer *t, const struct job_ref *r, const struct run_status *s);
void job_queue(struct trainer *t, const struct job_ref *r, const struct job *job);

/* A message to `topic`, acknowledged. */
struct bus_message;
int job_send(struct actor *a, const struct bus_message *m, struct err *e);

#endif
