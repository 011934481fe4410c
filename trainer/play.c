/*
 * The training process as its parent sees it: started with a folder, it says what
 * it does in JSON lines; the parent carries checkpoints and log lines to S3. What
 * it prints is checked like any other input.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/base/text.h"
#include "platform/blob/blob.h"
#include "platform/child/child.h"
#include "platform/clock/clock.h"
#include "trainer/attempt.h"
#include "trainer/checkpoint.h"

#define READ_MS    200
#define DRAIN_MS   30000 /* for the last checkpoint of a process that was asked to stop */
#define LINE_BYTES ((size_t)1 << 20)

struct play {
    struct attempt *a;
    struct child *child;
    bool done;         /* it said so */
    bool asked;        /* to stop */
    int64_t stop_ms;   /* then it is killed */
    int stopped;       /* why: a code of attempt_go_on */
    struct err failed; /* what it said went wrong */
    char last[256];    /* its last words */
};

/* ---- what it is told --------------------------------------------------------------------------
 */

static json_t *segments_json(const struct attempt *a)
{
    json_t *list = json_array();
    size_t i, j;

    for (i = 0; i < a->snapshot.chain_count; i++) {
        const struct snapshot_chain *c = &a->snapshot.chains[i];

        for (j = 0; j < c->segment_count; j++)
            json_add(&list, json_pack("{s:I, s:I, s:I}", "incarnation", (json_int_t)c->incarnation,
                                      "partition", (json_int_t)c->partition, "first",
                                      (json_int_t)c->segments[j].first));
    }
    return list;
}

static json_t *parameters_json(const struct attempt *a, struct err *e)
{
    json_t *v = NULL;
    struct buf b;

    buf_init(&b, 1 << 20);
    if (job_parameters_write(a->job.parameters, RECORD_JSON, &b, e) == 0)
        json_parse(b.data, b.len, NULL, &v, e);
    buf_release(&b);
    return v;
}

static int threads_of(const struct attempt *a)
{
    int64_t offered = a->t->o.threads, asked = a->job.limits->threads;

    return (int)(asked && (!offered || asked < offered) ? asked : offered);
}

static int write_orders(const struct attempt *a, struct err *e)
{
    char path[TRAINER_PATH_MAX + 16];
    json_t *parameters = parameters_json(a, e), *v;
    struct buf b;
    int rc;

    if (!parameters)
        return e->code;
    v = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:i, s:b, s:I, s:o, s:o}", "owner",
                  a->ref.owner, "run", a->ref.run, "model", a->job.model, "dataset", a->job.dataset,
                  "attempt", (json_int_t)a->n, "nonce", a->nonce, "snapshot_sha256",
                  a->snapshot_sha256, "backbone_name", a->job.backbone, "backbone", a->backbone,
                  "threads", threads_of(a), "resume_any", (int)a->t->o.resume_any, "checkpoint_ms",
                  (json_int_t)a->t->o.checkpoint_ms, "parameters", parameters, "segments",
                  segments_json(a));
    if (!v)
        return err_set(e, ERR_NOMEM, "the orders of a training process");
    buf_init(&b, TRAINER_JSON_MAX);
    snprintf(path, sizeof path, "%s/child.json", a->folder);
    if ((rc = json_write(v, JSON_CANONICAL, &b, e)) == 0)
        rc = file_write(path, b.data, b.len, e);
    buf_release(&b);
    json_decref(v);
    return rc;
}

/* Sanitizers reserve address space by the terabyte: no limit holds with them. */
static uint64_t memory_of(const struct attempt *a)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#else
    int64_t asked = a->job.limits->memory_bytes, most = a->t->o.max_memory_bytes;

    return (uint64_t)(asked < most ? asked : most);
#endif
}

static int start(struct play *p, struct err *e)
{
    const struct attempt *a = p->a;
    const struct trainer_options *o = &a->t->o;
    const char *argv[] = {o->program, "--child", a->folder, NULL};
    const char *env[] = {NULL};
    struct child_spec spec = {.argv = argv,
                              .env = env,
                              .folder = a->folder,
                              .memory_bytes = memory_of(a),
                              .file_bytes = (uint64_t)o->work_bytes};

    return child_start(a->t->p.child, &spec, &p->child, e);
}

/* ---- what it says -----------------------------------------------------------------------------
 */

static void on_step(struct play *p, const json_t *v)
{
    struct attempt *a = p->a;
    struct run_status *s = &a->status;
    struct err e = ERR_INIT;
    int64_t step = s->step;

    json_int_or(v, "epoch", 0, INT64_MAX, s->epoch, &s->epoch, &e);
    json_int_or(v, "epochs", 0, INT64_MAX, s->epochs, &s->epochs, &e);
    json_int_or(v, "step", 0, INT64_MAX, s->step, &s->step, &e);
    json_int_or(v, "steps", 0, INT64_MAX, s->steps, &s->steps, &e);
    json_number_or(v, "loss", s->loss, &s->loss, &e);
    json_number_or(v, "docs_per_s", s->docs_per_s, &s->docs_per_s, &e);
    metric_add(a->t->m.steps, s->step > step ? (double)(s->step - step) : 0, NULL);
    if (!isnan(s->docs_per_s))
        metric_set(a->t->m.rate, s->docs_per_s, NULL);
    attempt_tell(a, false);
}

static void on_eval(struct play *p, const json_t *v)
{
    struct attempt *a = p->a;
    json_t *metrics = json_object_get(v, "metrics"), *number;
    const char *name;
    size_t n = 0;

    json_object_foreach(metrics, name, number)
    {
        if (n == sizeof a->metrics / sizeof a->metrics[0] || !json_is_number(number) ||
            strlen(name) >= sizeof a->metric_names[0])
            continue;
        memcpy(a->metric_names[n], name, strlen(name) + 1);
        a->metrics[n] = (struct record_number){a->metric_names[n], json_number_value(number)};
        n++;
    }
    a->status.metrics = a->metrics;
    a->status.metric_count = n;
    attempt_tell(a, true);
}

static void on_phase(struct play *p, const json_t *v)
{
    const char *name = json_string_value(json_object_get(v, "phase"));
    int i;

    for (i = PHASE_VALIDATING; name && i <= PHASE_EXPORTING; i++)
        if (strcmp(name, job_phase_names[i]) == 0 && i != p->a->status.phase)
            attempt_phase(p->a, (enum job_phase)i);
}

static void on_error(struct play *p, const json_t *v)
{
#define X(name, code, klass, text, status) {#name, code},
    static const struct {
        const char *name;
        int code;
    } codes[] = {ERR_CODES(X)};
#undef X
    const char *name = json_string_value(json_object_get(v, "code"));
    const char *text = json_string_value(json_object_get(v, "text"));
    size_t i;

    err_set(&p->failed, ERR_CHILD, "%s", text ? text : "the training process gave no reason");
    for (i = 0; name && i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(name, codes[i].name) == 0)
            p->failed.code = codes[i].code;
}

/* The run finishes all the same: its end says so. */
static void on_worse(struct play *p, const json_t *v)
{
    const char *text = json_string_value(json_object_get(v, "text"));

    if (text)
        snprintf(p->a->worse, sizeof p->a->worse, "%s", text);
}

/* Only the two newest of this attempt stay in S3. */
static void drop_older(struct attempt *a, int64_t step)
{
    char file[KEY_FILE_MAX], key[KEY_MAX];
    struct err e = ERR_INIT;
    int64_t old = a->uploaded[1];

    if (a->uploaded[0] == step)
        return;
    a->uploaded[1] = a->uploaded[0];
    a->uploaded[0] = step;
    if (old < 0)
        return;
    attempt_series_file(ATTEMPT_CHECKPOINT, (uint64_t)old, file);
    if (key_attempt_file(a->ref.owner, a->ref.run, a->n, file, key, &e) < 0 ||
        blob_remove(a->t->p.blob, key, &e) < 0)
        log_error("checkpoint.remove", &e, NULL);
}

/* A checkpoint that can't be uploaded costs steps, not the run. */
static int on_checkpoint(struct play *p, int64_t step, struct err *e)
{
    struct attempt *a = p->a;
    char path[TRAINER_PATH_MAX + 64], file[KEY_FILE_MAX], key[KEY_MAX];
    int rc;

    snprintf(path, sizeof path, "%s/checkpoints/" CHECKPOINT_NAME, a->folder, (long long)step);
    attempt_series_file(ATTEMPT_CHECKPOINT, (uint64_t)step, file);
    if ((rc = key_attempt_file(a->ref.owner, a->ref.run, a->n, file, key, e)) < 0)
        return rc;
    if ((rc = attempt_look(a, e)) == ERR_FENCED || rc == ERR_EXISTS)
        return rc;
    if ((rc = blob_put_file(a->t->p.blob, key, path, e)) < 0) {
        log_error("checkpoint.upload", e, "owner", a->ref.owner, "run", a->ref.run, "key", key,
                  NULL);
        return rc == ERR_DENIED ? rc : 0;
    }
    drop_older(a, step);
    lines_add(a, json_pack("{s:s, s:I}", "event", "checkpoint", "step", (json_int_t)step));
    return 0;
}

/* One line of its output. < 0: the attempt stops. */
static int on_line(struct play *p, const struct buf *line, struct err *e)
{
    static const struct json_limits limits = {LINE_BYTES, 8, 4096, 256};
    struct err bad = ERR_INIT;
    json_t *v = NULL;
    const char *event;
    int64_t step = -1;
    int rc = 0;

    if (json_parse(line->data, line->len, &limits, &v, &bad) < 0 || !json_is_object(v) ||
        !(event = json_string_value(json_object_get(v, "event")))) {
        lines_text(p->a, "output", line->data);
        json_decref(v);
        return 0;
    }
    if (strcmp(event, "step") == 0)
        on_step(p, v);
    else if (strcmp(event, "eval") == 0)
        on_eval(p, v);
    else if (strcmp(event, "phase") == 0)
        on_phase(p, v);
    else if (strcmp(event, "error") == 0)
        on_error(p, v);
    else if (strcmp(event, "worse") == 0)
        on_worse(p, v);
    else if (strcmp(event, "done") == 0)
        p->done = true;
    else if (strcmp(event, "checkpoint") == 0 &&
             json_int_at(v, "step", 0, 999999999, &step, &bad) == 0)
        rc = on_checkpoint(p, step, e);
    if (strcmp(event, "phase") != 0 && strcmp(event, "checkpoint") != 0)
        lines_add(p->a, json_incref(v)); /* those two have lines of their own */
    json_decref(v);
    return rc;
}

/* ---- watching ---------------------------------------------------------------------------------
 */

static int64_t time_limit_ms(const struct attempt *a)
{
    int64_t ms = a->job.limits->time_seconds * 1000;

    return ms < a->t->o.max_time_ms ? ms : a->t->o.max_time_ms;
}

/* Shall it go on? A drain asks it to stop and waits for its checkpoint; the rest kills it. */
static int oversee(struct play *p, int64_t began_ms, struct err *e)
{
    struct attempt *a = p->a;
    int64_t now = clock_mono_ms(a->t->p.clock);
    int rc = attempt_go_on(a, e);

    if (rc == ERR_CANCELLED && !p->asked) {
        p->asked = true;
        p->stop_ms = now + DRAIN_MS;
        child_signal(p->child, SIGTERM);
    }
    if (rc < 0 && rc != ERR_CANCELLED)
        return rc;
    if (p->asked && now >= p->stop_ms)
        return err_set(e, ERR_CANCELLED, "the training process did not stop in time");
    if (now - began_ms > time_limit_ms(a))
        return err_set(e, ERR_CONFIG, "the run was not done within its limit of %lld s",
                       (long long)(time_limit_ms(a) / 1000));
    return 0;
}

static int watch(struct play *p, struct err *e)
{
    int64_t began = clock_mono_ms(p->a->t->p.clock);
    struct buf line;
    int rc;

    buf_init(&line, LINE_BYTES + 2);
    for (;;) {
        rc = child_read(p->child, READ_MS, &line, e);
        if (rc == ERR_NOT_FOUND) { /* it closed its output */
            rc = 0;
            break;
        }
        if (rc == ERR_LIMIT)
            rc = err_set(e, ERR_CHILD, "the training process printed a line over 1 MiB");
        if (rc < 0 || (rc == 1 && (rc = on_line(p, &line, e)) < 0) ||
            (rc = oversee(p, began, e)) < 0)
            break;
        lines_flush(p->a, false);
    }
    buf_release(&line);
    return rc;
}

/* Its stderr as lines; the last one is what a person wants to read. */
static void hear_errors(struct play *p)
{
    struct buf tail;
    char *line, *rest = NULL;

    buf_init(&tail, 64 << 10);
    child_errors(p->child, &tail);
    for (line = tail.len ? strtok_r(tail.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        lines_text(p->a, "stderr", line);
        snprintf(p->last, sizeof p->last, "%.*s", (int)text_utf8_valid(line, strlen(line)), line);
    }
    buf_release(&tail);
}

static int ended(struct play *p, const struct child_end *end, struct err *e)
{
    if (!end->signalled && end->status == 0 && p->done)
        return 0;
    if (p->asked)
        return err_set(e, ERR_CANCELLED, "the service is stopping");
    if (p->failed.code && !end->signalled)
        switch (err_class(p->failed.code)) {
        case ERR_CLASS_REJECT:
            *e = p->failed;
            return e->code;
        default: /* of the settings: again it would be the same. Others may be this machine's. */
            return err_set(e, p->failed.code == ERR_CONFIG ? ERR_CONFIG : ERR_CHILD, "%s",
                           p->failed.text);
        }
    return err_set(e, ERR_CHILD, "the training process died: %s%s%s", end->why,
                   p->last[0] ? "; its last words: " : "", p->last);
}

int play(struct attempt *a, struct err *e)
{
    struct play p = {.a = a};
    struct child_end end;
    int rc, got;

    if ((rc = write_orders(a, e)) < 0)
        return rc;
    if ((rc = start(&p, e)) < 0)
        return rc;
    if ((rc = watch(&p, e)) < 0)
        goto done;
    while ((got = child_wait(p.child, READ_MS, &end, e)) == 0)
        if ((rc = attempt_go_on(a, e)) < 0 && rc != ERR_CANCELLED)
            goto done;
    hear_errors(&p);
    rc = got < 0 ? got : ended(&p, &end, e);
done:
    child_free(p.child);
    return rc;
}
