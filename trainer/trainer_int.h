/*
 * Shared by the trainer's tasks.
 */
#ifndef TRAINER_TRAINER_INT_H
#define TRAINER_TRAINER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "platform/board/board.h"
#include "platform/proc/metrics.h"
#include "trainer/job.h"
#include "trainer/trainer.h"

#define TRAINER_JSON_MAX   ((size_t)64 << 20) /* of an object that is read whole */
#define TRAINER_ARENA_MAX  ((size_t)512 << 20)
#define TRAINER_NAME_MAX   128
#define TRAINER_PATH_MAX   4096
#define TRAINER_KEEP_MS    (INT64_C(7) * 86400 * 1000) /* of an ended run's status and logs */
#define TRAINER_LINES_KEEP 2000                        /* of a log in Redis */

struct worker;

struct trainer_metrics {
    struct metric *jobs, *runs, *attempts, *fenced, *crashes, *steps, *rate, *running, *open;
};

struct trainer {
    struct trainer_options o;
    struct trainer_ports p;
    struct keys keys;
    char name[TRAINER_NAME_MAX], life[16];
    char ring[KEY_MAX], group[KEY_MAX];
    struct board_queue queue;
    struct trainer_metrics m;
    _Atomic bool stop;
    _Atomic int64_t board_after_ms; /* Redis is left alone until then */
    pthread_mutex_t lock;           /* the cache's folder; the failure */
    struct err failure;             /* the first that ends the service */
    struct worker *workers;         /* o.workers of them */
};

bool trainer_stopping(struct trainer *t);
/* Sleeps in pieces, so that a stop of this trainer ends it. */
void trainer_sleep(struct trainer *t, int64_t ms);
/* Ends the service with this error. */
void trainer_fail(struct trainer *t, const struct err *e);

/* The tasks; each returns once trainer_stopping. */
void intake_task(void *trainer);
void sweep_task(void *trainer);

struct worker {
    struct trainer *t;
    int number;
    struct task *task;
    char holder[TRAINER_NAME_MAX + 48];
    struct actor actor;
    char cached[SHA256_HEX]; /* the cache entry in use; under the trainer's lock */
};
void worker_task(void *worker);

/* One sweep, for tests and for the task. `rebuild`: Redis was empty. */
int sweep_once(struct actor *a, struct err *e);

#endif
