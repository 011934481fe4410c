/*
 * The trainer: job messages into runs, runs into models. Three kinds of task over
 * the ports, each of which may end at any moment and be taken over elsewhere:
 *
 *   intake   job messages -> job.json, cancels -> end.json        intake.c
 *   worker   leases a run, makes one attempt at it                worker.c attempt.c
 *   sweep    finds in S3 what Redis or a dead process forgot      sweep.c
 *
 * Redis is a hint throughout: who leases a run still has to create its
 * attempts/<n>.json, and n is what fences an older attempt. A trainer reaches the
 * world through its ports and its work folder, which it must have for itself.
 */
#ifndef TRAINER_TRAINER_H
#define TRAINER_TRAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/base/err.h"
#include "platform/child/child.h"

struct blob;
struct board;
struct bus;
struct clock;
struct metrics;
struct trainer;

enum { TRAINER_CHECKPOINTS_MAX = 16 };

struct trainer_options {
    const char *prefix;  /* NULL: "tripline" */
    const char *name;    /* of this process in attempts and leases; NULL: a random one */
    const char *work;    /* folder: runs/ is emptied at the start, cache/ is kept */
    const char *program; /* absolute; started with --child FOLDER */
    int64_t work_bytes;  /* what one attempt may bring into the folder */
    int64_t cache_bytes; /* of backbones, kept between runs */
    int64_t lease_ms, heartbeat_ms;
    int64_t poll_ms;       /* between looks at an empty queue */
    int64_t sweep_ms;      /* between sweeps */
    int64_t wait_ms;       /* how long a snapshot waits for ingest */
    int64_t log_ms;        /* a log line is in S3 so soon */
    int64_t checkpoint_ms; /* between checkpoints, besides those the job asks for */
    int64_t checkpoints;   /* of an attempt that stay in S3, 1 to TRAINER_CHECKPOINTS_MAX */
    int64_t workers, threads;
    int64_t max_attempts; /* no job gets more, whatever it asks for */
    int64_t max_memory_bytes, max_time_ms;
    int sandbox;     /* of a training process: an enum child_policy */
    bool resume_any; /* go on from a checkpoint of another numeric fingerprint */
};
void trainer_options_init(struct trainer_options *o);

/* Borrowed; they outlive the trainer. */
struct trainer_ports {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct board *board;
    struct child_port *child;
    struct metrics *metrics;                               /* may be NULL */
    void (*ready)(void *arg, bool ready, const char *why); /* may be NULL */
    void *ready_arg;
};

/* Strings of the options are borrowed. Speaks to no server. */
int trainer_new(struct trainer **out, const struct trainer_options *o,
                const struct trainer_ports *p, struct err *e);
void trainer_free(struct trainer *t); /* accepts NULL */

/* All tasks, until the clock stops. 0: drained, running attempts were handed over. */
int trainer_run(struct trainer *t, struct err *e);
/* The same drain, of this trainer alone. */
void trainer_stop(struct trainer *t);

/* The program's other life: trains what FOLDER/child.json says; the process's exit status. */
int trainer_child(const char *folder);

#endif
