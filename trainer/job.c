#include "trainer/job.h"

#include <string.h>

#include "platform/base/failpoint.h"
#include "platform/base/log.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "trainer/trainer_int.h"

#define BOARD_PAUSE_MS 10000
#define SEND_MS        30000

/* ---- states --------------------------------------------------------------------------------- */

static const unsigned char may[JOB_STATES][JOB_STATES] = {
    [JOB_CREATED] = {[JOB_CREATED] = 1, /* comes into being */
                     [JOB_STARTED] = 1,
                     [JOB_FAILED] = 1,
                     [JOB_CANCELLED] = 1},
    [JOB_STARTED] = {[JOB_STARTED] = 1, /* resumed elsewhere */
                     [JOB_FINISHED] = 1,
                     [JOB_FAILED] = 1,
                     [JOB_CANCELLED] = 1},
};

bool job_may(enum job_state from, enum job_state to)
{
    return from < JOB_STATES && to < JOB_STATES && may[from][to];
}

int job_change(struct trainer *t, const struct job_ref *r, enum job_state from, enum job_state to,
               const char *key, const struct buf *body, struct err *e)
{
    int rc;

    if (!job_may(from, to))
        return err_set(e, ERR_INTERNAL, "run %s/%s: %s can't become %s", r->owner, r->run,
                       job_state_names[from], job_state_names[to]);
    if ((to == JOB_STARTED && DEFECT("worker.attempt-overwrites")) ||
        (to > JOB_STARTED && DEFECT("run.end-overwrites")))
        rc = blob_put(t->p.blob, key, body->data, body->len, e);
    else
        rc = blob_create(t->p.blob, key, body->data, body->len, e);
    if (rc < 0)
        return rc;
    metric_add(t->m.runs, 1, job_state_names[to], NULL);
    log_event(LOG_INFO, "run.state", "owner", r->owner, "run", r->run, "state", job_state_names[to],
              "key", key, NULL);
    return 0;
}

int job_ref_set(struct job_ref *r, const char *owner, const char *run, struct err *e)
{
    char id[KEY_MAX];
    int rc = key_run_id(owner, run, id, e);

    if (rc < 0)
        return rc;
    memcpy(r->owner, owner, strlen(owner) + 1);
    memcpy(r->run, run, strlen(run) + 1);
    return 0;
}

/* ---- objects -------------------------------------------------------------------------------- */

static int load(struct trainer *t, const struct job_ref *r, enum run_file file,
                const struct record *type, struct arena *a, void *out, struct err *e)
{
    char key[KEY_MAX];
    struct buf b;
    int rc = key_run(r->owner, r->run, file, key, e);

    if (rc < 0)
        return rc;
    buf_init(&b, TRAINER_JSON_MAX);
    if ((rc = blob_get(t->p.blob, key, &b, e)) == 0 &&
        (rc = record_read(type, a, b.data, b.len, RECORD_SNIFF, out, e)) < 0)
        err_wrap(e, "%s", key);
    buf_release(&b);
    return rc;
}

int job_load(struct trainer *t, const struct job_ref *r, struct arena *a, struct job *out,
             struct err *e)
{
    int rc = load(t, r, RUN_JOB, &job_record, a, out, e);

    if (rc == 0 && (!out->accepted || out->kind != JOB_FIT || strcmp(out->run, r->run) != 0 ||
                    !out->parameters || !out->limits))
        return err_set(e, ERR_FORMAT, "job.json of run %s/%s was not written by an intake",
                       r->owner, r->run);
    return rc;
}

int job_end_load(struct trainer *t, const struct job_ref *r, struct arena *a, struct run_end *out,
                 struct err *e)
{
    return load(t, r, RUN_END, &run_end_record, a, out, e);
}

struct listing {
    const struct job_ref *ref;
    struct job_attempts *out;
};

static void note_checkpoint(struct job_attempts *out, uint64_t attempt, uint64_t step)
{
    struct job_checkpoint c = {attempt, step}, swap;
    size_t i;

    for (i = 0; i < out->checkpoint_count; i++) {
        struct job_checkpoint *at = &out->checkpoints[i];

        if (at->step == c.step) { /* of the same step the newer attempt's will do */
            if (at->attempt < c.attempt)
                *at = c;
            return;
        }
        if (at->step < c.step) {
            swap = *at;
            *at = c;
            c = swap;
        }
    }
    if (out->checkpoint_count < JOB_CHECKPOINTS)
        out->checkpoints[out->checkpoint_count++] = c;
}

static int each_attempt(void *arg, const char *key, uint64_t size)
{
    struct listing *l = arg;
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX], file[KEY_FILE_MAX];
    uint64_t n, step;

    if (key_attempt_parse(key, owner, run, &n)) {
        l->out->count++;
        if (n > l->out->highest)
            l->out->highest = n;
    } else if (key_attempt_file_parse(key, owner, run, &n, file)) {
        if (strcmp(file, ATTEMPT_RELEASED) == 0)
            l->out->released++;
        else if (attempt_series_parse(ATTEMPT_CHECKPOINT, file, &step))
            note_checkpoint(l->out, n, step);
    }
    return 0;
}

int job_attempts(struct trainer *t, const struct job_ref *r, struct job_attempts *out,
                 struct err *e)
{
    struct listing l = {r, out};
    char prefix[KEY_MAX];
    int rc = key_attempts_prefix(r->owner, r->run, prefix, e);

    memset(out, 0, sizeof *out);
    if (rc < 0 || (rc = blob_list(t->p.blob, prefix, NULL, each_attempt, &l, e)) < 0)
        return rc;
    out->count -= out->released < out->count ? out->released : out->count;
    return 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

static void delivered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                      const char *why)
{
}

int job_send(struct actor *a, const struct bus_message *m, struct err *e)
{
    struct bus_producer_options o = {.message_timeout_ms = SEND_MS};
    int rc = 0;

    if (!a->producer)
        rc = bus_producer_open(a->t->p.bus, &o, delivered, NULL, &a->producer, e);
    if (rc == 0 && (rc = bus_send(a->producer, m, NULL, e)) == 0)
        rc = bus_flush(a->producer, SEND_MS + 5000, e);
    return rc < 0 ? err_wrap(e, "a message on %s", m->topic) : 0;
}

void actor_release(struct actor *a)
{
    bus_producer_free(a->producer);
    a->producer = NULL;
}

static int send_done(struct actor *a, const struct job_ref *r, const struct job *job,
                     const struct run_end *end, struct err *e)
{
    struct run_done done;
    char topic[KEY_MAX], id[KEY_MAX];
    struct buf b;
    struct bus_message m = {.topic = topic, .partition = -1, .key = id};
    int rc = key_run_id(r->owner, r->run, id, e);

    if (rc < 0)
        return rc;
    topic_internal(&a->t->keys, TOPIC_DONE, topic);
    run_done_init(&done);
    done.owner = r->owner;
    done.run = r->run;
    done.state = end->state;
    done.attempt = end->attempt;
    done.model = job ? job->model : NULL;
    done.manifest_sha256 = end->manifest_sha256;
    done.time_ms = end->time_ms;
    buf_init(&b, 1 << 20);
    if ((rc = run_done_write(&done, RECORD_JSON, &b, e)) == 0) {
        m.key_len = strlen(id);
        m.value = b.data;
        m.value_len = b.len;
        rc = job_send(a, &m, e);
    }
    buf_release(&b);
    return rc;
}

/* ---- the end -------------------------------------------------------------------------------- */

static int create_end(struct trainer *t, const struct job_ref *r, enum job_state from,
                      struct run_end *end, struct err *e)
{
    char key[KEY_MAX], nonce[33];
    struct buf b;
    int rc = key_run(r->owner, r->run, RUN_END, key, e);

    if (rc < 0)
        return rc;
    clock_nonce(t->p.clock, nonce);
    end->owner = r->owner;
    end->run = r->run;
    end->nonce = nonce;
    end->time_ms = clock_wall_ms(t->p.clock);
    buf_init(&b, 1 << 20);
    if ((rc = run_end_write(end, RECORD_JSON, &b, e)) == 0)
        rc = job_change(t, r, from, (enum job_state)end->state, key, &b, e);
    end->nonce = NULL; /* it was on this stack */
    buf_release(&b);
    return rc;
}

int job_end(struct actor *a, const struct job_ref *r, enum job_state from, const struct job *job,
            struct arena *arena, struct run_end *end, struct err *e)
{
    int rc = create_end(a->t, r, from, end, e);

    if (rc == ERR_EXISTS && end->state == JOB_CANCELLED && DEFECT("cancel.answers-itself"))
        rc = 0;
    if (rc == ERR_EXISTS && (rc = job_end_load(a->t, r, arena, end, e)) == 0)
        log_event(LOG_INFO, "run.end_lost", "owner", r->owner, "run", r->run, "state",
                  job_state_names[end->state], NULL);
    if (rc < 0)
        return rc;
    FAILPOINT("run.ended");
    if (job_settle(a, r, job, end, e) < 0)
        log_error("run.settle", e, "owner", r->owner, "run", r->run, NULL);
    return 0;
}

int job_settle(struct actor *a, const struct job_ref *r, const struct job *job,
               const struct run_end *end, struct err *e)
{
    struct run_status s;
    char key[KEY_MAX];
    int rc;

    job_status_of(r, job, &s);
    s.state = end->state;
    s.attempt = end->attempt;
    s.updated_ms = end->time_ms;
    s.message = end->reason;
    job_status_put(a->t, r, &s);
    if (DEFECT("run.marker-first") && key_open(r->owner, r->run, key, e) == 0)
        (void)blob_remove(a->t->p.blob, key, e);
    if ((rc = send_done(a, r, job, end, e)) < 0)
        return rc;
    FAILPOINT("run.told");
    if (end->state == JOB_FINISHED) /* the publisher's to remove */
        return 0;
    if ((rc = key_open(r->owner, r->run, key, e)) < 0)
        return rc;
    return blob_remove(a->t->p.blob, key, e);
}

/* ---- Redis ---------------------------------------------------------------------------------- */

bool job_board_usable(struct trainer *t)
{
    return clock_mono_ms(t->p.clock) >= atomic_load(&t->board_after_ms);
}

bool job_board_fine(struct trainer *t, int rc, const struct err *e)
{
    if (rc >= 0 || rc == ERR_NOT_FOUND || rc == ERR_EXISTS || rc == ERR_FENCED)
        return true;
    atomic_store(&t->board_after_ms, clock_mono_ms(t->p.clock) + BOARD_PAUSE_MS);
    log_error("board.trouble", e, NULL);
    return false;
}

void job_status_of(const struct job_ref *r, const struct job *job, struct run_status *out)
{
    run_status_init(out);
    out->owner = r->owner;
    out->run = r->run;
    if (!job)
        return;
    out->model = job->model;
    out->dataset = job->dataset;
    if (job->accepted)
        out->created_ms = job->accepted->time_ms;
}

#define STATUS_FIELDS 32
struct texts {
    struct arena arena;
    struct board_field fields[STATUS_FIELDS];
    size_t count;
    bool ended; /* what a dead attempt left (steps, loss) stays */
};

static int each_field(void *arg, const char *name, const char *text)
{
    static const char *const progress[] = {"phase", "epoch",  "epochs",     "step",
                                           "steps", "worker", "docs_per_s", NULL};
    struct texts *f = arg;
    struct board_field *at;
    size_t i;

    for (i = 0; f->ended && progress[i]; i++)
        if (strcmp(name, progress[i]) == 0)
            return 0;
    if (f->count == STATUS_FIELDS)
        return 0;
    at = &f->fields[f->count];
    at->name = arena_strndup(&f->arena, name, strlen(name));
    at->value = arena_strndup(&f->arena, text, strlen(text));
    if (at->name && at->value)
        f->count++;
    return 0;
}

void job_status_put(struct trainer *t, const struct job_ref *r, const struct run_status *s)
{
    struct texts f = {.ended = s->state > JOB_STARTED};
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    int rc;

    if (!job_board_usable(t))
        return;
    arena_init(&f.arena, 1 << 20);
    if ((rc = key_board(&t->keys, BOARD_STATUS, r->owner, r->run, key, &e)) == 0 &&
        (rc = record_each_text(&run_status_record, s, each_field, &f, &e)) == 0)
        rc = board_set(t->p.board, key, f.fields, f.count, f.ended ? TRAINER_KEEP_MS : 0, &e);
    job_board_fine(t, rc, &e);
    arena_release(&f.arena);
}

void job_queue(struct trainer *t, const struct job_ref *r, const struct job *job)
{
    struct err e = ERR_INIT;

    if (job_board_usable(t))
        job_board_fine(t,
                       board_push(t->p.board, &t->queue, r->owner, r->run, (int)job->priority,
                                  job->accepted->time_ms, &e),
                       &e);
}
