/*
 * The training process: reads FOLDER/child.json, builds the dataset from
 * FOLDER/segments, trains into FOLDER/out with checkpoints in FOLDER/checkpoints,
 * and says what it does in JSON lines on stdout. It knows no server and no secret;
 * SIGTERM makes it write a checkpoint and end.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/clock/clock.h"
#include "platform/json/json.h"
#include "platform/proc/signals.h"
#include "trainer/checkpoint.h"
#include "trainer/evaluate.h"
#include "trainer/gather.h"
#include "trainer/run.h"
#include "trainer/trainer.h"

#define STEP_MS     200  /* between reports of steps, at first */
#define STEP_CAP_MS 5000 /* and later, for runs of days */
#define STEP_SHARE  500

struct child_run {
    const char *folder;
    json_t *orders;
    struct clock *clock;
    struct arena arena; /* the parameters */
    struct job_parameters parameters;
    struct gather_segment *segments;
    size_t segment_count;
    struct dataset *all, *train, *eval;
    int64_t began_ms, told_ms;
};

/* ---- saying -----------------------------------------------------------------------------------
 */

static void say(json_t *event)
{
    struct buf b;
    struct err e = ERR_INIT;

    buf_init(&b, 1 << 20);
    if (event && json_write(event, JSON_CANONICAL, &b, &e) == 0) {
        buf_char(&b, '\n');
        fwrite(b.data, 1, b.len, stdout);
        fflush(stdout);
    }
    buf_release(&b);
    json_decref(event);
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static void say_step(struct child_run *c, const struct run_event *v)
{
    int64_t now = clock_mono_ms(c->clock), pause = (now - c->began_ms) / STEP_SHARE;

    pause = pause < STEP_MS ? STEP_MS : pause > STEP_CAP_MS ? STEP_CAP_MS : pause;
    if (v->step != v->steps && v->step != 1 && now < c->told_ms + pause)
        return;
    c->told_ms = now;
    say(json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "event",
                  "step", "epoch", (json_int_t)v->epoch, "epochs", (json_int_t)v->epochs, "step",
                  (json_int_t)v->step, "steps", (json_int_t)v->steps, "loss", number(v->loss),
                  "learning_rate", number(v->learning_rate), "docs_per_s", number(v->docs_per_s),
                  "active", number(v->active), "positive", number(v->positive), "negative",
                  number(v->negative), "similarity", number(v->similarity), "gradient_norm",
                  number(v->gradient_norm)));
}

static void say_eval(const struct run_event *v)
{
    struct record_number n[EVALUATE_METRICS];
    json_t *metrics = json_object();
    int i, count = evaluate_numbers(v->metrics, n);

    for (i = 0; i < count; i++)
        json_put(&metrics, n[i].name, number(n[i].value));
    say(json_pack("{s:s, s:s, s:I, s:s, s:o, s:o}", "event", "eval", "when", v->when, "step",
                  (json_int_t)v->step, "metric", v->metric, "value", number(v->value), "metrics",
                  metrics));
}

static void on_event(void *arg, const struct run_event *v)
{
    struct child_run *c = arg;

    switch (v->kind) {
    case RUN_PHASE:
        say(json_pack("{s:s, s:s}", "event", "phase", "phase", job_phase_names[v->phase]));
        break;
    case RUN_STEP:
        say_step(c, v);
        break;
    case RUN_EVAL:
        say_eval(v);
        break;
    case RUN_CHECKPOINT:
        say(json_pack("{s:s, s:I}", "event", "checkpoint", "step", (json_int_t)v->step));
        break;
    case RUN_RESUMED:
        say(json_pack("{s:s, s:I}", "event", "resumed", "step", (json_int_t)v->step));
        break;
    case RUN_WARNING:
        say(json_pack("{s:s, s:s}", "event", "warning", "text", v->text));
        break;
    case RUN_WORSE:
        say(json_pack("{s:s, s:s, s:o, s:s}", "event", "worse", "metric", v->metric, "change",
                      number(v->value), "text", v->text));
        break;
    }
}

/* ---- orders -----------------------------------------------------------------------------------
 */

static int read_parameters(struct child_run *c, struct err *e)
{
    json_t *v;
    struct buf b;
    int rc = json_object_at(c->orders, "parameters", &v, e);

    if (rc < 0)
        return rc;
    buf_init(&b, 1 << 20);
    if ((rc = json_write(v, JSON_CANONICAL, &b, e)) == 0)
        rc = job_parameters_read(&c->arena, b.data, b.len, RECORD_JSON, &c->parameters, e);
    buf_release(&b);
    return rc;
}

static int read_segments(struct child_run *c, struct err *e)
{
    json_t *list, *v;
    size_t i;
    int rc = json_array_at(c->orders, "segments", &list, e);

    if (rc < 0)
        return rc;
    c->segment_count = json_array_size(list);
    if (!(c->segments = calloc(c->segment_count + 1, sizeof *c->segments)))
        return err_set(e, ERR_NOMEM, "%zu segments", c->segment_count);
    json_array_foreach(list, i, v)
    {
        struct gather_segment *s = &c->segments[i];

        if ((rc = json_int_at(v, "incarnation", 0, INT64_MAX, &s->incarnation, e)) < 0 ||
            (rc = json_int_at(v, "partition", 0, INT32_MAX, &s->partition, e)) < 0 ||
            (rc = json_int_at(v, "first", 0, INT64_MAX, &s->first, e)) < 0)
            return rc;
    }
    return 0;
}

static int read_orders(struct child_run *c, struct err *e)
{
    char path[4096];
    int rc;

    if (snprintf(path, sizeof path, "%s/child.json", c->folder) >= (int)sizeof path)
        return err_set(e, ERR_LIMIT, "%s: the path is too long", c->folder);
    if ((rc = json_parse_file(path, NULL, &c->orders, e)) < 0 || (rc = read_parameters(c, e)) < 0)
        return rc;
    return read_segments(c, e);
}

static const char *order(const struct child_run *c, const char *name)
{
    return json_string_value(json_object_get(c->orders, name));
}

/* ---- documents --------------------------------------------------------------------------------
 */

/* Which documents are held out: those marked, and with `stratified` a share of each class. */
static int split(struct child_run *c, struct err *e)
{
    size_t n = (size_t)dataset_count(c->all), i;
    unsigned char *held = calloc(n + 1, 1), *marked = calloc(n + 1, 1);
    int rc = held && marked ? 0 : err_set(e, ERR_NOMEM, "the marks of %zu documents", n);

    if (rc == 0) {
        dataset_split_marks(c->all, marked);
        if (c->parameters.eval == EVAL_STRATIFIED)
            rc = dataset_stratify(c->all, c->parameters.eval_fraction, (uint64_t)c->parameters.seed,
                                  held, e);
        for (i = 0; i < n; i++)
            held[i] = held[i] || marked[i] == DATASET_EVAL;
    }
    if (rc == 0 && (rc = dataset_select(&c->train, c->all, held, 0, e)) == 0 &&
        c->parameters.eval != EVAL_NONE)
        rc = dataset_select(&c->eval, c->all, held, 1, e);
    free(held);
    free(marked);
    return rc;
}

static int read_documents(struct child_run *c, struct err *e)
{
    char folder[4096];
    struct gather_counts counts;
    int rc;

    snprintf(folder, sizeof folder, "%s/segments", c->folder);
    if ((rc = gather(&c->all, folder, order(c, "owner"), c->segments, c->segment_count, &counts,
                     e)) < 0)
        return rc;
    say(json_pack("{s:s, s:i, s:i, s:I, s:I}", "event", "dataset", "documents",
                  dataset_count(c->all), "labels",
                  dataset_scores(c->all) ? 0 : dataset_labels(c->all), "messages",
                  (json_int_t)counts.messages, "skipped", (json_int_t)counts.skipped));
    if (dataset_count(c->all) == 0)
        return err_set(e, ERR_CONFIG,
                       "dataset %s has no document with a text and a label, and no pair%s",
                       order(c, "dataset"), counts.skipped ? " (others were skipped)" : "");
    rc = split(c, e);
    dataset_free(c->all);
    c->all = NULL;
    return rc;
}

/* ---- the run ----------------------------------------------------------------------------------
 */

static int fit(struct child_run *c, struct err *e)
{
    char out[4096], work[4096];
    struct run_result result = {0};
    struct run_spec spec = {
        .backbone = order(c, "backbone"),
        .out = out,
        .work = work,
        .train = c->train,
        .eval = c->eval,
        .parameters = &c->parameters,
        .identity = {.owner = order(c, "owner"),
                     .run = order(c, "run"),
                     .model = order(c, "model"),
                     .dataset = order(c, "dataset"),
                     .attempt = json_integer_value(json_object_get(c->orders, "attempt")),
                     .nonce = order(c, "nonce"),
                     .snapshot_sha256 = order(c, "snapshot_sha256"),
                     .backbone = order(c, "backbone_name")},
        .threads = (int)json_integer_value(json_object_get(c->orders, "threads")),
        .resume_any = json_is_true(json_object_get(c->orders, "resume_any")),
        .keep = 3,
        .checkpoint_ms = json_integer_value(json_object_get(c->orders, "checkpoint_ms")),
        .clock = c->clock,
        .on_event = on_event,
        .arg = c,
    };
    int rc;

    snprintf(out, sizeof out, "%s/out", c->folder);
    snprintf(work, sizeof work, "%s/checkpoints", c->folder);
    if ((rc = run_fit(&spec, &result, e)) < 0)
        return rc;
    say(json_pack("{s:s, s:I, s:f, s:f, s:s, s:b, s:i}", "event", "done", "steps",
                  (json_int_t)result.steps, "seconds", result.seconds, "docs_per_s",
                  result.docs_per_s, "fingerprint", result.fingerprint, "exact", (int)result.exact,
                  "dimension", result.dim));
    return 0;
}

static void child_release(struct child_run *c)
{
    signals_release();
    dataset_free(c->all);
    dataset_free(c->train);
    dataset_free(c->eval);
    free(c->segments);
    json_decref(c->orders);
    arena_release(&c->arena);
    clock_free(c->clock);
}

int trainer_child(const char *folder)
{
    struct child_run c = {.folder = folder};
    struct err e = ERR_INIT;
    int rc;

    arena_init(&c.arena, 1 << 20);
    if ((rc = clock_real(&c.clock, &e)) == 0 && (rc = signals_install(c.clock, &e)) == 0) {
        c.began_ms = clock_mono_ms(c.clock);
        if ((rc = read_orders(&c, &e)) == 0 &&
            (rc = run_backbone_check(order(&c, "backbone"), &e)) == 0 &&
            (rc = read_documents(&c, &e)) == 0)
            rc = fit(&c, &e);
    }
    if (rc < 0)
        say(json_pack("{s:s, s:s, s:s}", "event", "error", "code", err_name(rc), "text", e.text));
    child_release(&c);
    return err_exit_status(rc);
}
