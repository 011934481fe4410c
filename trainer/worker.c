/*
 * A worker leases one run after the other and makes an attempt at each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/failpoint.h"
#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/base/text.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "trainer/attempt.h"

#define BACKOFF_MS     1000
#define BACKOFF_CAP_MS 30000
#define RACES          8    /* for an attempt's number */
#define LAST_PRIORITY  -100 /* the lowest that a job may have */

/* The job, its history and its checkpoints. */
static int read_run(struct attempt *a, struct job_attempts *history, struct err *e)
{
    struct run_end end;
    int rc;

    rc = job_end_load(a->t, &a->ref, &a->arena, &end, e);
    if (rc == 0)
        return err_set(e, ERR_EXISTS, "the run has ended");
    if (rc != ERR_NOT_FOUND && rc != ERR_FORMAT) /* a broken end is one, too */
        return rc;
    if (rc == ERR_FORMAT)
        return err_set(e, ERR_EXISTS, "the run has a broken end");
    if ((rc = job_load(a->t, &a->ref, &a->arena, &a->job, e)) < 0)
        return rc;
    return job_attempts(a->t, &a->ref, history, e);
}

static int write_attempt(struct attempt *a, struct buf *b, struct err *e)
{
    struct run_attempt record;
    struct run_resume resume;
    char key[KEY_MAX], file[KEY_FILE_MAX];
    int rc;

    run_attempt_init(&record);
    record.owner = a->ref.owner;
    record.run = a->ref.run;
    record.n = (int64_t)a->n;
    record.worker = a->w->holder;
    record.nonce = a->nonce;
    record.created_ms = clock_wall_ms(a->t->p.clock);
    if (a->resume_count) {
        run_resume_init(&resume);
        resume.attempt = (int64_t)a->resume[0].attempt;
        resume.step = (int64_t)a->resume[0].step;
        attempt_series_file(ATTEMPT_CHECKPOINT, a->resume[0].step, file);
        if ((rc = key_attempt_file(a->ref.owner, a->ref.run, a->resume[0].attempt, file, key, e)) <
            0)
            return rc;
        resume.key = key;
        record.resumed_from = &resume;
    }
    return run_attempt_write(&record, RECORD_JSON, b, e);
}

/* attempts/<n>.json, n = highest + 1: from here on n is what counts. */
static int create_attempt(struct attempt *a, const struct job_attempts *history, struct err *e)
{
    char key[KEY_MAX];
    struct buf b;
    int rc;

    a->n = history->highest + 1;
    a->last = history->count >= attempt_allowed(a);
    memcpy(a->resume, history->checkpoints, sizeof a->resume);
    a->resume_count = history->checkpoint_count;
    clock_nonce(a->t->p.clock, a->nonce);
    buf_init(&b, 1 << 20);
    if ((rc = write_attempt(a, &b, e)) == 0 &&
        (rc = key_attempt(a->ref.owner, a->ref.run, a->n, key, e)) == 0)
        rc = job_change(a->t, &a->ref, history->highest ? JOB_STARTED : JOB_CREATED, JOB_STARTED,
                        key, &b, e);
    buf_release(&b);
    return rc;
}

/* A job.json that no intake wrote can't be run by anybody. */
static int fail_broken(struct attempt *a, struct err *e)
{
    struct run_end end;
    struct err why = *e;

    run_end_init(&end);
    end.state = JOB_FAILED;
    end.reason = text_utf8_valid(why.text, strlen(why.text)) == strlen(why.text)
                     ? why.text
                     : "job.json is broken";
    return job_end(&a->w->actor, &a->ref, JOB_CREATED, NULL, &a->arena, &end, e);
}

static enum attempt_outcome outcome_of(int rc)
{
    if (rc == 0 || rc == ERR_EXISTS || rc == ERR_NOT_FOUND)
        return ATTEMPT_OVER;
    return err_class(rc) == ERR_CLASS_STOP ? ATTEMPT_BROKEN : ATTEMPT_AGAIN;
}

static enum attempt_outcome attempt_run(struct attempt *a, struct err *e)
{
    struct job_attempts history;
    int rc, race;

    for (race = 0; race < RACES; race++) {
        if ((rc = read_run(a, &history, e)) < 0) {
            if (rc == ERR_FORMAT || rc == ERR_LIMIT)
                rc = fail_broken(a, e);
            return outcome_of(rc);
        }
        if ((rc = create_attempt(a, &history, e)) == 0)
            break;
        /* Another worker was first with this number. The lease is ours, so the turn is, too. */
        if (rc != ERR_EXISTS)
            return outcome_of(rc);
        if (board_renew(a->t->p.board, &a->t->queue, a->ref.owner, a->ref.run, a->w->holder,
                        a->t->o.lease_ms, e) < 0)
            return ATTEMPT_LOST;
    }
    if (race == RACES)
        return ATTEMPT_AGAIN;
    FAILPOINT("worker.begun");
    metric_add(a->t->m.attempts, 1, NULL);
    if (snprintf(a->folder, sizeof a->folder, "%s/runs/%s.%s.%llu", a->t->o.work, a->ref.owner,
                 a->ref.run, (unsigned long long)a->n) >= (int)sizeof a->folder - 512) {
        err_set(e, ERR_CONFIG, "trainer.work is too long a path");
        return ATTEMPT_BROKEN;
    }
    metric_add(a->t->m.running, 1, NULL);
    rc = (int)attempt_make(a, e);
    metric_add(a->t->m.running, -1, NULL);
    return (enum attempt_outcome)rc;
}

/* Behind the owner's other runs. Between the two calls a crash leaves it to a sweep. */
static int put_behind(struct worker *w, const struct job_ref *r, struct err *e)
{
    struct trainer *t = w->t;
    int rc = board_release(t->p.board, &t->queue, r->owner, r->run, w->holder, true, e);

    return rc < 0 ? rc
                  : board_push(t->p.board, &t->queue, r->owner, r->run, LAST_PRIORITY,
                               clock_wall_ms(t->p.clock), e);
}

/* ATTEMPT_LOST: whoever has it, has the lease. */
static void release(struct worker *w, const struct job_ref *r, enum attempt_outcome outcome)
{
    struct trainer *t = w->t;
    struct err e = ERR_INIT;
    int rc;

    if (outcome == ATTEMPT_LOST || !job_board_usable(t))
        return;
    if (outcome == ATTEMPT_LATER)
        rc = put_behind(w, r, &e);
    else
        rc = board_release(t->p.board, &t->queue, r->owner, r->run, w->holder,
                           outcome == ATTEMPT_OVER, &e);
    job_board_fine(t, rc, &e);
}

static enum attempt_outcome work_on(struct worker *w, const char *owner, const char *run,
                                    struct err *e)
{
    struct attempt *a = calloc(1, sizeof *a);
    enum attempt_outcome outcome;
    struct job_ref ref;

    if (!a) {
        err_set(e, ERR_NOMEM, "an attempt");
        return ATTEMPT_BROKEN;
    }
    a->w = w;
    a->t = w->t;
    arena_init(&a->arena, TRAINER_ARENA_MAX);
    if (job_ref_set(&a->ref, owner, run, e) < 0) { /* garbage in Redis */
        outcome = ATTEMPT_OVER;
        memset(&a->ref, 0, sizeof a->ref);
        log_error("queue.garbage", e, NULL);
        board_release(w->t->p.board, &w->t->queue, owner, run, w->holder, true, e);
    } else {
        outcome = attempt_run(a, e);
        ref = a->ref;
        release(w, &ref, outcome);
    }
    cache_release(w);
    arena_release(&a->arena);
    free(a);
    cache_trim(w->t);
    return outcome;
}

/* One look at the queue: 1 a run was worked on, 0 none is there. */
static int turn(struct worker *w, int *failures, struct err *e)
{
    struct trainer *t = w->t;
    struct buf owner, run;
    enum attempt_outcome outcome;
    int rc;

    buf_init(&owner, KEY_MAX);
    buf_init(&run, KEY_MAX);
    rc = board_lease(t->p.board, &t->queue, w->holder, t->o.lease_ms, &owner, &run, e);
    if (rc == 0) {
        outcome = work_on(w, owner.data, run.data, e);
        rc = outcome == ATTEMPT_BROKEN ? e->code : 1;
        *failures = outcome == ATTEMPT_AGAIN ? *failures + 1 : 0;
    }
    buf_release(&owner);
    buf_release(&run);
    return rc;
}

void worker_task(void *worker)
{
    struct worker *w = worker;
    struct trainer *t = w->t;
    struct err e = ERR_INIT;
    int rc, failures = 0;

    w->actor.t = t;
    while (!trainer_stopping(t)) {
        rc = turn(w, &failures, &e);
        if (rc == ERR_NOT_FOUND)
            trainer_sleep(t, t->o.poll_ms);
        else if (rc < 0 && err_class(rc) == ERR_CLASS_STOP) {
            trainer_fail(t, &e);
        } else if (rc < 0) {
            log_error("worker.lease", &e, NULL);
            failures++;
        }
        if (failures && !trainer_stopping(t))
            trainer_sleep(t, clock_backoff_ms(t->p.clock, failures, BACKOFF_MS, BACKOFF_CAP_MS));
    }
    actor_release(&w->actor);
}
