/*
 * The sweep: what S3 knows and Redis or a dead process forgot. It lists open/
 * alone. A run without an end goes back to the queue; the end of one that has it
 * is told again.
 */
#include <stdlib.h>
#include <string.h>

#include "platform/base/failpoint.h"
#include "platform/base/log.h"
#include "platform/base/text.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "trainer/trainer_int.h"

#define LOOK_MS  5000   /* between looks at whether Redis was emptied */
#define RUNS_MAX 100000 /* of one sweep; the next takes the others */

struct runs {
    struct job_ref *items;
    size_t count, cap;
    struct err *e;
};

static int each_open(void *arg, const char *key, uint64_t size)
{
    struct runs *r = arg;
    struct job_ref ref, *more;
    size_t cap = r->cap ? r->cap * 2 : 64;

    if (!key_open_parse(key, ref.owner, ref.run))
        return 0;
    if (r->count == RUNS_MAX)
        return 1;
    if (r->count == r->cap) {
        if (!(more = realloc(r->items, cap * sizeof *more)))
            return err_set(r->e, ERR_NOMEM, "the list of open runs");
        r->items = more;
        r->cap = cap;
    }
    r->items[r->count++] = ref;
    return 0;
}

/* When a worker last said that it has the run; 0: nobody did since Redis was emptied. */
static int64_t last_seen(struct trainer *t, const struct job_ref *r)
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct buf b;
    int64_t at = 0;
    int rc = 0;

    buf_init(&b, 64);
    if (!job_board_usable(t) || key_board(&t->keys, BOARD_STATUS, r->owner, r->run, key, &e) < 0 ||
        (rc = board_get(t->p.board, key, "updated_ms", &b, &e)) < 0 ||
        text_i64(b.data, 0, INT64_MAX, &at) < 0)
        at = 0;
    job_board_fine(t, rc, &e);
    buf_release(&b);
    return at;
}

static bool status_known(struct trainer *t, const struct job_ref *r)
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct buf b;
    int rc;

    buf_init(&b, 64);
    rc = key_board(&t->keys, BOARD_STATUS, r->owner, r->run, key, &e);
    if (rc == 0)
        rc = board_get(t->p.board, key, "state", &b, &e);
    buf_release(&b);
    return rc == 0;
}

static void requeue(struct trainer *t, const struct job_ref *r, const struct job *job,
                    uint64_t attempt)
{
    struct run_status s;

    if (!status_known(t, r)) {
        job_status_of(r, job, &s);
        s.state = attempt ? JOB_STARTED : JOB_CREATED;
        s.attempt = (int64_t)attempt;
        s.updated_ms = 0;
        job_status_put(t, r, &s);
    }
    job_queue(t, r, job);
}

/* A run that was begun and has no end: somebody may be at it. */
struct suspect {
    const struct job_ref *ref;
    int64_t seen_ms;
};

struct sweep {
    struct actor *a;
    struct runs runs;
    struct arena arena; /* of one run */
    struct suspect *suspects;
    size_t suspect_count;
};

static int sweep_run(struct sweep *w, const struct job_ref *r, struct err *e)
{
    struct trainer *t = w->a->t;
    struct job_attempts history;
    struct run_end end;
    char key[KEY_MAX];
    struct job job;
    bool known;
    int rc = job_load(t, r, &w->arena, &job, e);

    if (rc < 0 && rc != ERR_NOT_FOUND && rc != ERR_FORMAT)
        return rc;
    known = rc == 0;
    rc = job_end_load(t, r, &w->arena, &end, e);
    if (rc == 0)
        return job_settle(w->a, r, known ? &job : NULL, &end, e);
    if (rc == ERR_NOT_FOUND && !known && DEFECT("sweep.tidies") &&
        key_open(r->owner, r->run, key, e) == 0)
        (void)blob_remove(t->p.blob, key, e);
    if (rc != ERR_NOT_FOUND || !known) /* without a job an intake is about to write it */
        return rc == ERR_NOT_FOUND || rc == ERR_FORMAT ? 0 : rc;
    if ((rc = job_attempts(t, r, &history, e)) < 0)
        return rc;
    if (history.highest)
        w->suspects[w->suspect_count++] = (struct suspect){r, last_seen(t, r)};
    else
        requeue(t, r, &job, 0);
    return 0;
}

/*
 * Nobody was seen at it for the time of a lease. The lease itself doesn't tell,
 * since Redis may have lost it while the worker goes on.
 */
static int requeue_dead(struct sweep *w, const struct suspect *s, struct err *e)
{
    struct trainer *t = w->a->t;
    struct job_attempts history;
    char key[KEY_MAX];
    struct job job;
    int rc;

    if (last_seen(t, s->ref) != s->seen_ms)
        return 0;
    if ((rc = key_run(s->ref->owner, s->ref->run, RUN_END, key, e)) < 0 ||
        (rc = blob_head(t->p.blob, key, NULL, e)) != ERR_NOT_FOUND)
        return rc;
    if ((rc = job_load(t, s->ref, &w->arena, &job, e)) < 0 ||
        (rc = job_attempts(t, s->ref, &history, e)) < 0)
        return rc;
    requeue(t, s->ref, &job, history.highest);
    return 0;
}

/* One run's trouble is not the others', unless a server does not answer. */
static int after_run(struct sweep *w, const struct job_ref *r, int rc, const struct err *e)
{
    arena_reset(&w->arena);
    if (rc >= 0)
        return 0;
    log_error("sweep.run", e, "owner", r->owner, "run", r->run, NULL);
    return err_class(rc) == ERR_CLASS_RETRY ? rc : 0;
}

static int sweep_suspects(struct sweep *w, struct err *e)
{
    struct trainer *t = w->a->t;
    size_t i;
    int rc = 0;

    if (!w->suspect_count)
        return 0;
    trainer_sleep(t, t->o.lease_ms);
    for (i = 0; rc == 0 && i < w->suspect_count && !trainer_stopping(t); i++)
        rc = after_run(w, w->suspects[i].ref, requeue_dead(w, &w->suspects[i], e), e);
    return rc;
}

int sweep_once(struct actor *a, struct err *e)
{
    struct sweep w = {.a = a, .runs.e = e};
    size_t i;
    int rc = blob_list(a->t->p.blob, KEYS_OPEN_PREFIX, NULL, each_open, &w.runs, e);

    rc = rc < 0 ? rc : 0;
    arena_init(&w.arena, TRAINER_ARENA_MAX);
    if (rc == 0 && !(w.suspects = calloc(w.runs.count + 1, sizeof *w.suspects)))
        rc = err_set(e, ERR_NOMEM, "the list of open runs");
    for (i = 0; rc == 0 && i < w.runs.count && !trainer_stopping(a->t); i++)
        rc = after_run(&w, &w.runs.items[i], sweep_run(&w, &w.runs.items[i], e), e);
    if (rc == 0) {
        metric_set(a->t->m.open, (double)w.runs.count, NULL);
        rc = sweep_suspects(&w, e);
    }
    arena_release(&w.arena);
    free(w.suspects);
    free(w.runs.items);
    return rc;
}

/* Was Redis emptied since the last look? The key that says so is made on the way. */
static bool was_flushed(struct trainer *t)
{
    char key[KEY_MAX], nonce[33];
    struct err e = ERR_INIT;
    int rc;

    if (!job_board_usable(t))
        return false;
    key_board_epoch(&t->keys, key);
    clock_nonce(t->p.clock, nonce);
    rc = board_create(t->p.board, key, nonce, 0, &e);
    job_board_fine(t, rc, &e);
    return rc == 0;
}

void sweep_task(void *trainer)
{
    struct trainer *t = trainer;
    struct actor a = {.t = t};
    struct err e = ERR_INIT;
    int64_t next = 0;
    int64_t look = t->o.sweep_ms < LOOK_MS ? t->o.sweep_ms : LOOK_MS;

    while (!trainer_stopping(t)) {
        bool flushed = was_flushed(t);

        if (flushed)
            log_event(LOG_WARN, "board.empty", "action", "rebuilding the queue from S3", NULL);
        if (!DEFECT("sweep.none") && (flushed || clock_mono_ms(t->p.clock) >= next)) {
            if (sweep_once(&a, &e) < 0)
                log_error("sweep", &e, NULL);
            next = clock_mono_ms(t->p.clock) + t->o.sweep_ms;
        }
        trainer_sleep(t, look);
    }
    actor_release(&a);
}
