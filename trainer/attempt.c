#include "trainer/attempt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/failpoint.h"
#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/base/text.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"

#define TELL_MS  500
#define TURN_MS  60000 /* of waiting for ingest in one attempt */
#define WATCH_MS 2000  /* between looks at how far ingest is, at most */

/* ---- does it still matter? --------------------------------------------------------------------
 */

int attempt_go_on(struct attempt *a, struct err *e)
{
    switch (atomic_load(&a->stopped)) {
    case ERR_FENCED:
        return err_set(e, ERR_FENCED, "another worker goes on with the run");
    case ERR_EXISTS:
        return err_set(e, ERR_EXISTS, "the run has ended");
    default:
        break;
    }
    if (trainer_stopping(a->t))
        return err_set(e, ERR_CANCELLED, "the service is stopping");
    return 0;
}

int attempt_look(struct attempt *a, struct err *e)
{
    char key[KEY_MAX];
    int rc = key_attempt(a->ref.owner, a->ref.run, a->n + 1, key, e);

    if (rc == 0 && (rc = blob_head(a->t->p.blob, key, NULL, e)) == 0)
        atomic_store(&a->stopped, ERR_FENCED);
    else if (rc == ERR_NOT_FOUND &&
             (rc = key_run(a->ref.owner, a->ref.run, RUN_END, key, e)) == 0 &&
             (rc = blob_head(a->t->p.blob, key, NULL, e)) == 0)
        atomic_store(&a->stopped, ERR_EXISTS);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : attempt_go_on(a, e);
}

static void renew(struct attempt *a)
{
    struct trainer *t = a->t;
    struct err e = ERR_INIT;
    char text[32], key[KEY_MAX];
    struct board_field f = {"updated_ms", text};
    int rc;

    if (!job_board_usable(t))
        return;
    rc = board_renew(t->p.board, &t->queue, a->ref.owner, a->ref.run, a->w->holder, t->o.lease_ms,
                     &e);
    snprintf(text, sizeof text, "%lld", (long long)clock_wall_ms(t->p.clock));
    if (job_board_fine(t, rc, &e) &&
        key_board(&t->keys, BOARD_STATUS, a->ref.owner, a->ref.run, key, &e) == 0)
        job_board_fine(t, board_set(t->p.board, key, &f, 1, 0, &e), &e);
    if (rc == ERR_FENCED) /* a flush, or too slow: S3 tells whether anybody took over */
        log_event(LOG_DEBUG, "lease.lost", "owner", a->ref.owner, "run", a->ref.run, NULL);
}

/* Not an attempt that failed: nobody needs to count it. */
static void release(struct attempt *a, const char *why)
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct buf b;

    if ((atomic_load(&a->crashed) && !DEFECT("attempt.crash-released")) ||
        atomic_load(&a->released))
        return;
    buf_init(&b, 4096);
    buf_str(&b, "{\"why\":");
    text_json(&b, why, strlen(why));
    buf_str(&b, "}");
    if (key_attempt_file(a->ref.owner, a->ref.run, a->n, ATTEMPT_RELEASED, key, &e) == 0 &&
        blob_put(a->t->p.blob, key, b.data, b.len, &e) == 0)
        atomic_store(&a->released, true);
    else
        log_error("attempt.release", &e, "owner", a->ref.owner, "run", a->ref.run, NULL);
    buf_release(&b);
}

/* What a fenced attempt is in the middle of, an upload perhaps, may take longer than the next one
 * waits for a sign of life. */
static void heartbeat(void *arg)
{
    struct attempt *a = arg;
    struct clock *c = a->t->p.clock;
    struct err e = ERR_INIT;
    int64_t next = clock_mono_ms(c);

    while (!atomic_load(&a->over)) {
        if (clock_mono_ms(c) >= next) {
            renew(a);
            if (!atomic_load(&a->stopped) && attempt_look(a, &e) < 0 && !atomic_load(&a->stopped) &&
                e.code != ERR_CANCELLED)
                log_error("attempt.look", &e, "owner", a->ref.owner, "run", a->ref.run, NULL);
            if (atomic_load(&a->stopped) == ERR_FENCED)
                release(a, "another worker goes on with the run");
            next = clock_mono_ms(c) + a->t->o.heartbeat_ms;
        }
        clock_sleep_ms(c, a->t->o.heartbeat_ms < 100 ? a->t->o.heartbeat_ms : 100);
    }
}

/* ---- telling ----------------------------------------------------------------------------------
 */

void attempt_tell(struct attempt *a, bool now)
{
    int64_t at = clock_mono_ms(a->t->p.clock);

    if (!now && at < a->told_ms + TELL_MS)
        return;
    a->told_ms = at;
    a->status.updated_ms = clock_wall_ms(a->t->p.clock);
    job_status_put(a->t, &a->ref, &a->status);
}

void attempt_phase(struct attempt *a, enum job_phase phase)
{
    a->status.phase = (int)phase;
    lines_add(a, json_pack("{s:s, s:s}", "event", "phase", "phase", job_phase_names[phase]));
    log_event(LOG_INFO, "run.phase", "owner", a->ref.owner, "run", a->ref.run, "attempt",
              LOG_U(a->n), "phase", job_phase_names[phase], NULL);
    attempt_tell(a, true);
}

/* ---- phases -----------------------------------------------------------------------------------
 */

static int go_on(void *arg, struct err *e)
{
    return attempt_go_on(arg, e);
}

/* How long it may still take: the time of acceptance counts, not this attempt's. */
static int check_waited(struct attempt *a, int64_t until_ms, const char *why, struct err *e)
{
    if (clock_wall_ms(a->t->p.clock) >= a->job.accepted->time_ms + a->t->o.wait_ms)
        return err_set(e, ERR_CONFIG, "waited %lld s for the dataset: %s (does ingest run?)",
                       (long long)(a->t->o.wait_ms / 1000), why);
    a->waiting = clock_mono_ms(a->t->p.clock) >= until_ms;
    if (a->waiting) /* other runs have their turn meanwhile */
        return err_set(e, ERR_TIMEOUT, "still waiting: %s", why);
    return 0;
}

static int wait_for_ingest(struct attempt *a, const struct snapshot_task *s, struct err *e)
{
    int64_t until = clock_mono_ms(a->t->p.clock) + TURN_MS, pause = 100;
    char why[256] = "", told[256] = "";
    int rc;

    while ((rc = snapshot_reached(s, why, e)) == 0) {
        if ((rc = check_waited(a, until, why, e)) < 0)
            return rc;
        if (strcmp(why, told) != 0)
            lines_text(a, "waiting", why);
        memcpy(told, why, sizeof told);
        lines_flush(a, false);
        trainer_sleep(a->t, pause);
        pause = pause * 2 < WATCH_MS ? pause * 2 : WATCH_MS;
        if ((rc = attempt_go_on(a, e)) < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}

static void say_snapshot(struct attempt *a)
{
    const struct snapshot *s = &a->snapshot;
    int64_t listed = (int64_t)s->label_count, classes = s->classes > listed ? s->classes : listed;
    char text[160];

    lines_add(a, json_pack("{s:s, s:I, s:I, s:s}", "event", "snapshot", "documents",
                           (json_int_t)s->documents, "labels", (json_int_t)classes, "sha256",
                           a->snapshot_sha256));
    if (classes == listed)
        return;
    snprintf(text, sizeof text,
             "%lld classes are too many for snapshot.json: it does not list them",
             (long long)classes);
    lines_text(a, "warning", text);
}

static int get_data(struct attempt *a, struct err *e)
{
    char folder[TRAINER_PATH_MAX + 16];
    struct snapshot_task s = {.t = a->t,
                              .ref = &a->ref,
                              .job = &a->job,
                              .folder = folder,
                              .arena = &a->arena,
                              .bytes_max = a->t->o.work_bytes / 2,
                              .go_on = go_on,
                              .arg = a};
    int rc, brought;

    snprintf(folder, sizeof folder, "%s/segments", a->folder);
    if ((rc = file_mkdirs(folder, e)) < 0)
        return rc;
    attempt_phase(a, PHASE_WAITING);
    rc = snapshot_load(&s, &a->snapshot, a->snapshot_sha256, e);
    if (rc == ERR_NOT_FOUND && (rc = wait_for_ingest(a, &s, e)) == 0)
        rc = snapshot_take(&s, &a->snapshot, a->snapshot_sha256, e);
    if (rc < 0)
        return rc;
    brought = rc;
    FAILPOINT("attempt.snapshot");
    say_snapshot(a);
    attempt_phase(a, PHASE_FETCHING);
    if ((!brought && (rc = snapshot_fetch(&s, &a->snapshot, e)) < 0) ||
        (rc = fetch_backbone(a, e)) < 0)
        return rc;
    return fetch_checkpoints(a, e);
}

uint64_t attempt_allowed(const struct attempt *a)
{
    int64_t asked = a->job.max_attempts, most = a->t->o.max_attempts;

    return (uint64_t)(asked < most ? asked : most);
}

/* The attempts up to now. ERR_FENCED: a later one exists, and what became of the run is its matter.
 */
static int read_history(struct attempt *a, struct job_attempts *history, struct err *e)
{
    int rc = job_attempts(a->t, &a->ref, history, e);

    if (rc < 0 || history->highest <= a->n)
        return rc;
    atomic_store(&a->stopped, ERR_FENCED);
    return attempt_go_on(a, e);
}

/*
 * As many attempts were made as are allowed. One of them may be alive without a lease, after a
 * flush of Redis or without an answer of it: this attempt has fenced it, so that at its next look
 * it hands over, which is not counted. Whoever has not done so within a lease's time is dead, and
 * then the run has failed.
 */
static int await_the_living(struct attempt *a, struct err *e)
{
    int64_t until = clock_mono_ms(a->t->p.clock) + a->t->o.lease_ms;
    struct job_attempts history;
    int rc;

    if (DEFECT("attempt.gives-up"))
        return err_set(e, ERR_LIMIT, "%llu attempts were made", (unsigned long long)a->n - 1);
    do {
        trainer_sleep(a->t, a->t->o.heartbeat_ms);
        if ((rc = attempt_go_on(a, e)) < 0 || (rc = read_history(a, &history, e)) < 0)
            return rc;
        if (history.count <= attempt_allowed(a)) { /* this one is among them */
            memcpy(a->resume, history.checkpoints, sizeof a->resume);
            a->resume_count = history.checkpoint_count;
            return 0;
        }
    } while (clock_mono_ms(a->t->p.clock) < until);
    return err_set(e, ERR_LIMIT, "%llu attempts were made, none came to an end",
                   (unsigned long long)history.count - 1);
}

/* What this version does not know is kept and does nothing: a later version's, or a slip. */
static void warn_unknown(struct attempt *a, const char *where, const struct record_extra *extra)
{
    char text[256];
    size_t i, n;

    for (i = 0; i < extra->count; i++) {
        const char *name = record_extra_name(extra, i, &n);

        snprintf(text, sizeof text, "%s%.*s: this version does not know it, so it does nothing",
                 where, n < 100 ? (int)n : 100, name);
        lines_text(a, "warning", text);
    }
}

static int phases(struct attempt *a, struct run_end *end, char sha256[SHA256_HEX], struct err *e)
{
    int rc;

    if ((a->last && (rc = await_the_living(a, e)) < 0) || (rc = get_data(a, e)) < 0)
        return rc;
    warn_unknown(a, "", &a->job.extra);
    warn_unknown(a, "parameters.", &a->job.parameters->extra);
    lines_flush(a, true);
    attempt_phase(a, PHASE_VALIDATING);
    if ((rc = play(a, e)) < 0)
        return rc;
    attempt_phase(a, PHASE_PUSHING);
    lines_flush(a, true);
    if ((rc = push_artifact(a, sha256, e)) < 0)
        return rc;
    end->state = JOB_FINISHED;
    end->manifest_sha256 = sha256;
    end->reason = a->worse[0] ? a->worse : NULL;
    return 0;
}

/* ---- how it ends ------------------------------------------------------------------------------
 */

static void say_end(struct attempt *a, const char *what, const char *why)
{
    lines_add(a, json_pack("{s:s, s:s, s:s}", "event", "end", "state", what, "text", why));
    lines_flush(a, true);
    log_event(LOG_INFO, "attempt.ended", "owner", a->ref.owner, "run", a->ref.run, "attempt",
              LOG_U(a->n), "what", what, "why", why, NULL);
}

static enum attempt_outcome conclude(struct attempt *a, struct run_end *end, struct err *e)
{
    int meant = end->state;

    end->attempt = (int64_t)a->n;
    say_end(a, job_state_names[end->state], end->reason ? end->reason : "");
    if (job_end(&a->w->actor, &a->ref, JOB_STARTED, &a->job, &a->arena, end, e) == 0) {
        if (end->state != meant)
            say_end(a, job_state_names[end->state], "this end was first");
        return ATTEMPT_OVER;
    }
    log_error("run.end", e, "owner", a->ref.owner, "run", a->ref.run, NULL);
    return err_class(e->code) == ERR_CLASS_STOP ? ATTEMPT_BROKEN : ATTEMPT_AGAIN;
}

static enum attempt_outcome fail_run(struct attempt *a, struct err *e)
{
    struct run_end end;
    char *reason = arena_strndup(&a->arena, e->text, strlen(e->text));

    run_end_init(&end);
    end.state = JOB_FAILED;
    end.reason = reason && text_utf8_valid(reason, strlen(reason)) == strlen(reason)
                     ? reason
                     : "the training process failed";
    return conclude(a, &end, e);
}

static void hand_over(struct attempt *a, const char *what, const char *why)
{
    say_end(a, what, why);
    release(a, why);
}

static enum attempt_outcome crashed(struct attempt *a, struct err *e)
{
    uint64_t allowed = attempt_allowed(a);
    struct job_attempts history; /* read now: earlier ones may have handed over meanwhile */
    struct err late = ERR_INIT;
    int rc;

    if (DEFECT("attempt.crash-released"))
        release(a, e->text);
    atomic_store(&a->crashed, true);
    rc = read_history(a, &history, &late);
    metric_add(a->t->m.crashes, 1, NULL);
    if (rc == 0 && history.count >= allowed) {
        err_wrap(e, "attempt %llu of %llu", (unsigned long long)history.count,
                 (unsigned long long)allowed);
        return fail_run(a, e);
    }
    if (rc < 0 && rc != ERR_FENCED)
        log_error("attempt.count", &late, "owner", a->ref.owner, "run", a->ref.run, NULL);
    say_end(a, "CRASHED", e->text);
    return rc == ERR_FENCED ? ATTEMPT_LOST : ATTEMPT_AGAIN;
}

static enum attempt_outcome judge(struct attempt *a, int rc, struct run_end *end, struct err *e)
{
    if (rc == 0)
        return conclude(a, end, e);
    if (rc == ERR_FENCED) {
        metric_add(a->t->m.fenced, 1, NULL);
        hand_over(a, "FENCED", e->text);
        return ATTEMPT_LOST;
    }
    if (rc == ERR_EXISTS) {
        say_end(a, "ENDED", e->text);
        return ATTEMPT_OVER;
    }
    if (rc == ERR_CHILD)
        return crashed(a, e);
    if (rc == ERR_CANCELLED || err_class(rc) == ERR_CLASS_RETRY) {
        hand_over(a, "RELEASED", e->text);
        return a->waiting ? ATTEMPT_LATER : ATTEMPT_AGAIN;
    }
    if (err_class(rc) == ERR_CLASS_REJECT || rc == ERR_CONFIG)
        return fail_run(a, e);
    say_end(a, "BROKEN", e->text);
    return ATTEMPT_BROKEN;
}

static void start_status(struct attempt *a)
{
    job_status_of(&a->ref, &a->job, &a->status);
    a->status.state = JOB_STARTED;
    a->status.attempt = (int64_t)a->n;
    a->status.epochs = a->job.parameters->epochs;
    a->status.worker = a->t->name;
}

enum attempt_outcome attempt_make(struct attempt *a, struct err *e)
{
    struct run_end end;
    char sha256[SHA256_HEX];
    enum attempt_outcome outcome;
    struct err ignored = ERR_INIT;
    int rc;

    run_end_init(&end);
    buf_init(&a->lines.pending, (size_t)4 << 20);
    memset(a->uploaded, -1, sizeof a->uploaded);
    a->upload.next = -1;
    start_status(a);
    if ((rc = clock_go(a->t->p.clock, "heartbeat", heartbeat, a, &a->heartbeat, e)) == 0)
        rc = phases(a, &end, sha256, e);
    outcome = judge(a, rc, &end, e);
    atomic_store(&a->over, true);
    if (a->heartbeat)
        clock_join(a->t->p.clock, a->heartbeat);
    buf_release(&a->lines.pending);
    if (file_remove_tree(a->folder, &ignored) < 0)
        log_error("attempt.folder", &ignored, NULL);
    return outcome;
}
