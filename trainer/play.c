/*
 * The training process as its parent sees it: started with a folder, it says what
 * it does in JSON lines; the parent carries log lines to S3 and has checkpoints
 * carried there (upload.c). What it prints is checked like any other input.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/base/text.h"
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
    struct err failed; /* what it said went wrong */
    char last[320];    /* its last words: lines of stderr */
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

static int64_t time_limit_ms(const struct attempt *a)
{
    int64_t ms = a->job.limits->time_seconds * 1000;

    return ms < a->t->o.max_time_ms ? ms : a->t->o.max_time_ms;
}

/* Sanitizers reserve address space by the terabyte, and look around at the end: no limit on memory
 * and no guard holds with them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED true
#else
#define SHADOWED false
#endif

static uint64_t memory_of(const struct attempt *a)
{
    int64_t asked = a->job.limits->memory_bytes, most = a->t->o.max_memory_bytes;

    return SHADOWED ? 0 : (uint64_t)(asked < most ? asked : most);
}

static int processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 1 ? (int)n : 1;
}

/* What all its threads could use within its time: only a process that nobody watches meets it. */
static int64_t cpu_seconds_of(const struct attempt *a)
{
    return (time_limit_ms(a) / 1000 + 1) * processors();
}

/* Those that compute, those of the libraries that they call, and a few that wait. */
static int threads_allowed(const struct attempt *a)
{
    int threads = threads_of(a);

    return 64 + 4 * (threads ? threads : processors());
}

static int start(struct play *p, struct err *e)
{
    const struct attempt *a = p->a;
    const struct trainer_options *o = &a->t->o;
    char segments[TRAINER_PATH_MAX + 16], orders[sizeof segments];
    char out[sizeof segments], checkpoints[sizeof segments];
    const char *argv[] = {o->program, "--child", a->folder, NULL};
    const char *env[] = {NULL};
    const char *readable[] = {segments, orders, a->backbone, NULL};
    const char *writable[] = {out, checkpoints, NULL};
    struct child_spec spec = {.argv = argv,
                              .env = env,
                              .folder = a->folder,
                              .policy = SHADOWED ? CHILD_OFF : o->sandbox,
                              .readable = readable,
                              .writable = writable,
                              .space_bytes = (uint64_t)o->work_bytes,
                              .memory_bytes = memory_of(a),
                              .file_bytes = (uint64_t)o->work_bytes,
                              .cpu_seconds = cpu_seconds_of(a),
                              .processes = threads_allowed(a),
                              .cpus = threads_of(a)};
    int rc;

    snprintf(segments, sizeof segments, "%s/segments", a->folder);
    snprintf(orders, sizeof orders, "%s/child.json", a->folder);
    snprintf(out, sizeof out, "%s/out", a->folder);
    snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", a->folder);
    if ((rc = file_mkdirs(out, e)) < 0 || (rc = file_mkdirs(checkpoints, e)) < 0)
        return rc;
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

/* One line of its output. */
static void on_line(struct play *p, const struct buf *line)
{
    static const struct json_limits limits = {LINE_BYTES, 8, 4096, 256};
    struct err bad = ERR_INIT;
    json_t *v = NULL;
    const char *event;
    int64_t step = -1;

    if (json_parse(line->data, line->len, &limits, &v, &bad) < 0 || !json_is_object(v) ||
        !(event = json_string_value(json_object_get(v, "event")))) {
        lines_text(p->a, "output", line->data);
        json_decref(v);
        return;
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
        upload_add(p->a, step);
    if (strcmp(event, "phase") != 0 && strcmp(event, "checkpoint") != 0)
        lines_add(p->a, json_incref(v)); /* those two have lines of their own */
    json_decref(v);
}

/* ---- watching ---------------------------------------------------------------------------------
 */

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
        return err_set(e, ERR_CHILD, "the attempt was not done within its limit of %lld s",
                       (long long)(time_limit_ms(a) / 1000));
    return upload_look(a, e);
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
        if (rc == 1)
            on_line(p, &line);
        if (rc < 0 || (rc = oversee(p, began, e)) < 0)
            break;
        lines_flush(p->a, false);
    }
    buf_release(&line);
    return rc;
}

/* The end of the words stays when they are too many. */
static void add_word(struct play *p, const char *line)
{
    char all[2 * sizeof p->last];
    size_t n;

    snprintf(all, sizeof all, "%s%s%.*s", p->last, p->last[0] ? " | " : "",
             (int)text_utf8_valid(line, strlen(line)), line);
    n = strlen(all);
    n = n < sizeof p->last ? 0 : n + 1 - sizeof p->last;
    while (((unsigned char)all[n] & 0xc0) == 0x80) /* not in the middle of a character */
        n++;
    memcpy(p->last, all + n, strlen(all + n) + 1);
}

/* Its stderr as lines; the last ones are what a person wants to read. */
static void hear_errors(struct play *p)
{
    struct buf tail;
    char *line, *rest = NULL;

    buf_init(&tail, 64 << 10);
    child_errors(p->child, &tail);
    for (line = tail.len ? strtok_r(tail.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        lines_text(p->a, "stderr", line);
        add_word(p, line);
    }
    buf_release(&tail);
}

static int with_last_words(const struct play *p, struct err *e)
{
    size_t n = strlen(e->text);

    if (p->last[0])
        snprintf(e->text + n, sizeof e->text - n, "; its last words: %s", p->last);
    return e->code;
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
            if (p->failed.code == ERR_CONFIG)
                return err_set(e, ERR_CONFIG, "%s", p->failed.text);
            err_set(e, ERR_CHILD, "%s (%s)", p->failed.text, end->why);
            return with_last_words(p, e);
        }
    err_set(e, ERR_CHILD, "the training process died: %s", end->why);
    return with_last_words(p, e);
}

/* It printed too much or took too long: what did it say last? */
static int stopped(struct play *p, struct err *e)
{
    struct err late = ERR_INIT;
    struct child_end end;

    child_signal(p->child, SIGKILL);
    child_wait(p->child, READ_MS, &end, &late);
    hear_errors(p);
    return with_last_words(p, e);
}

static int wait_for_end(struct play *p, struct err *e)
{
    struct child_end end;
    int rc, got;

    while ((got = child_wait(p->child, READ_MS, &end, e)) == 0)
        if ((rc = attempt_go_on(p->a, e)) < 0 && rc != ERR_CANCELLED)
            return rc;
    hear_errors(p);
    return got < 0 ? got : ended(p, &end, e);
}

int play(struct attempt *a, struct err *e)
{
    struct play p = {.a = a};
    struct err late = ERR_INIT;
    int rc, sent;

    if ((rc = write_orders(a, e)) < 0 || (rc = start(&p, e)) < 0)
        return rc;
    rc = watch(&p, e);
    if (rc == 0)
        rc = wait_for_end(&p, e);
    else if (rc == ERR_CHILD)
        rc = stopped(&p, e);
    child_free(p.child);
    if (rc == ERR_CHILD)
        atomic_store(&a->crashed, true);
    sent = upload_finish(a, &late); /* also of a process that crashed: others go on from there */
    if (rc == 0 && sent < 0) {
        *e = late;
        rc = sent;
    }
    return rc;
}
