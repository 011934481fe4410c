/*
 * One attempt at a run: from its attempts/<n>.json to a result or a handing over.
 * Everything it writes lies below attempts/<n>/ and in its work folder. A task of
 * its own renews the lease and looks whether another attempt or an end exists;
 * what it finds stops the attempt at the next attempt_go_on.
 */
#ifndef TRAINER_ATTEMPT_H
#define TRAINER_ATTEMPT_H

#include <stdatomic.h>

#include "platform/json/json.h"
#include "schemas/snapshot.h"
#include "trainer/snapshot.h"
#include "trainer/trainer_int.h"

/* Log lines of the attempt, numbered 0, 1, ...: JSON objects with attempt, n, time_ms, event and
 * what belongs to it. They are shown in Redis once their chunk is in S3. */
struct lines {
    struct buf pending; /* lines with '\n' */
    uint64_t first, next;
    int64_t since_ms; /* of the oldest pending one */
};

/* The checkpoint that is on its way, and the one behind it. */
struct upload {
    struct task *task;  /* NULL: none is */
    _Atomic bool done;  /* the task is about to end; rc and e are valid */
    int64_t step, next; /* next -1: none */
    int rc;
    struct err e;
};

struct attempt {
    struct worker *w;
    struct trainer *t;
    struct job_ref ref;
    uint64_t n;
    bool last; /* max_attempts were made already: is one of them alive? */
    struct job job;
    struct arena arena;
    char nonce[33];
    char folder[TRAINER_PATH_MAX];
    struct job_checkpoint resume[JOB_CHECKPOINTS];
    size_t resume_count;

    _Atomic int stopped;   /* 0, ERR_FENCED: another attempt, ERR_EXISTS: the run has ended */
    _Atomic bool over;     /* the heartbeat may go */
    _Atomic bool crashed;  /* its process: it is no more handed over */
    _Atomic bool released; /* its ATTEMPT_RELEASED is written */
    struct task *heartbeat;

    bool waiting; /* its turn of waiting for ingest is over */
    struct snapshot snapshot;
    char snapshot_sha256[SHA256_HEX];
    char backbone[TRAINER_PATH_MAX]; /* its folder in the cache */
    struct run_status status;
    char worse[512]; /* the child's words where training made things worse; "": it did not */
    struct record_number metrics[16];
    char metric_names[16][64];
    int64_t told_ms;
    /* Steps of its checkpoints in S3, newest first; -1: none; the upload's task's. */
    int64_t uploaded[TRAINER_CHECKPOINTS_MAX];
    struct upload upload;
    struct lines lines;
};

/* Makes one attempt at a leased run whose job and history were read. */
enum attempt_outcome {
    ATTEMPT_OVER,  /* the run has ended: the item leaves the queue */
    ATTEMPT_AGAIN, /* the run goes back to the queue */
    ATTEMPT_LATER, /* as AGAIN, behind the owner's other runs: it waits for its documents */
    ATTEMPT_LOST,  /* another attempt goes on with it */
    ATTEMPT_BROKEN /* this service can't go on; *e says why */
};
enum attempt_outcome attempt_make(struct attempt *a, struct err *e);
/* How many the job and the service allow. */
uint64_t attempt_allowed(const struct attempt *a);

/* < 0: stop here. ERR_FENCED, ERR_EXISTS as above; ERR_CANCELLED: the service drains. */
int attempt_go_on(struct attempt *a, struct err *e);
/* Asks S3 now. */
int attempt_look(struct attempt *a, struct err *e);

void attempt_phase(struct attempt *a, enum job_phase phase);
/* Writes the status to Redis, not more often than twice a second unless `now`. */
void attempt_tell(struct attempt *a, bool now);

/* Adds a line; takes the object. */
void lines_add(struct attempt *a, json_t *event);
/* Sends what is pending when it is due (`now`: at once). A failure keeps the lines. */
void lines_flush(struct attempt *a, bool now);
void lines_text(struct attempt *a, const char *event, const char *text);

/* fetch.c: the backbone into the cache, checkpoints into folder/checkpoints. */
int fetch_backbone(struct attempt *a, struct err *e);
int fetch_checkpoints(struct attempt *a, struct err *e);
/* Removes the backbones used longest ago until the cache is within its limit. */
void cache_trim(struct trainer *t);
void cache_release(struct worker *w);

/* play.c: the training process, its events, its checkpoints. ERR_CHILD: it crashed. */
int play(struct attempt *a, struct err *e);

/* upload.c: the checkpoint of this step was written by the child. */
void upload_add(struct attempt *a, int64_t step);
/* Has one arrived? < 0: the attempt stops. */
int upload_look(struct attempt *a, struct err *e);
/* Waits for all of them; < 0: those that still waited are left. */
int upload_finish(struct attempt *a, struct err *e);

/* push.c: artifact, manifest; *sha256 of attempts/<n>/manifest.json. */
int push_artifact(struct attempt *a, char sha256[SHA256_HEX], struct err *e);

#endif
