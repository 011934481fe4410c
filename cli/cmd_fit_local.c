#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd_fit.h"
#include "cli/profile.h"
#include "platform/base/file.h"
#include "platform/clock/clock.h"
#include "platform/json/json.h"
#include "platform/proc/progress.h"
#include "platform/proc/signals.h"
#include "trainer/evaluate.h"
#include "trainer/run.h"

/* ---- what a person sees -----------------------------------------------------------------------
 */

static void on_step(struct progress *p, const struct run_event *event)
{
    char note[160];

    snprintf(note, sizeof note,
             "epoch %lld/%lld  loss %.4f  active %.0f%%  d+ %.2f  d- %.2f  cos %.2f  |g| %.3g  "
             "%.0f docs/s",
             (long long)event->epoch, (long long)event->epochs, event->loss, 100 * event->active,
             event->positive, event->negative, event->similarity, event->gradient_norm,
             event->docs_per_s);
    progress_at(p, event->step, note);
}

static void on_eval(struct progress *p, const struct run_event *event)
{
    const struct retrieval *m = event->metrics;

    char when[32];

    if (strcmp(event->when, "training") == 0)
        snprintf(when, sizeof when, "step %lld", (long long)event->step);
    else
        snprintf(when, sizeof when, "%s", event->when);
    if (m->pairs)
        progress_say(p, "%s: Spearman %.4f  Pearson %.4f (%d pairs)", when, m->spearman, m->pearson,
                     m->pairs);
    else
        progress_say(p, "%s: mAP@%d %.4f  precision@1 %.4f  recall@%d %.4f (%d queries)", when,
                     m->k, m->map_at_k, m->precision_at_1, m->k, m->recall_at_k, m->queries);
}

struct watch { /* what a run is watched by */
    struct progress *progress;
    struct profile *profile; /* NULL: not asked for */
};

static void on_event(void *arg, const struct run_event *event)
{
    struct progress *p = ((struct watch *)arg)->progress;

    switch (event->kind) {
    case RUN_PHASE:
        progress_step(p, job_phase_names[event->phase],
                      event->phase == PHASE_TRAINING ? event->steps : 0, "steps");
        break;
    case RUN_STEP:
        on_step(p, event);
        break;
    case RUN_EVAL:
        on_eval(p, event);
        break;
    case RUN_RESUMED:
        progress_say(p, "resumed after step %lld of %lld", (long long)event->step,
                     (long long)event->steps);
        break;
    case RUN_WARNING:
        progress_say(p, "note: %s", event->text);
        break;
    case RUN_WORSE:
        progress_say(p, "%s", event->text);
        break;
    case RUN_CHECKPOINT:
        break;
    }
}

static void around_step(void *arg, struct backend *b, bool begins)
{
    struct profile *p = ((struct watch *)arg)->profile;

    if (begins)
        profile_begin(p, b);
    else
        profile_end(p, b, 1);
}

/* ---- results ----------------------------------------------------------------------------------
 */

static json_t *metrics_json(const struct retrieval *r)
{
    struct record_number rows[EVALUATE_METRICS];
    json_t *v = r->pairs ? json_pack("{s:i}", "pairs", r->pairs)
                         : json_pack("{s:i, s:i}", "k", r->k, "queries", r->queries);
    int i, count = evaluate_numbers(r, rows);

    for (i = 0; v && i < count; i++)
        json_object_set_new(v, rows[i].name, json_real(rows[i].value));
    return v;
}

/* What was held out, and the verdict. */
static void add_evaluation(json_t *v, const struct run_spec *spec, const struct run_result *r)
{
    json_object_set_new(v, "before", metrics_json(&r->before));
    json_object_set_new(v, "after", metrics_json(&r->after));
    json_object_set_new(v, "judged_by", json_string(r->judged_by));
    json_object_set_new(v, "worse", json_boolean(r->worse));
    if (r->worse)
        json_object_set_new(v, "untrained", json_string(spec->untrained));
}

static int print_json(const struct run_spec *spec, const struct run_result *r,
                      const struct profile *profile, struct err *e)
{
    json_t *v = json_pack(
        "{s:s, s:I, s:I, s:b, s:f, s:f, s:f, s:I, s:b, s:s, s:i, s:s}", "out", spec->out, "steps",
        (json_int_t)r->steps, "exported_step", (json_int_t)r->exported_step, "stopped_early",
        (int)r->stopped_early, "loss", r->loss, "seconds", r->seconds, "docs_per_s", r->docs_per_s,
        "resumed_step", (json_int_t)r->resumed_step, "exact", r->exact, "fingerprint",
        r->fingerprint, "dimension", r->dim, "manifest_sha256", r->manifest_sha256);
    struct buf b;
    int rc;

    if (!v)
        return err_set(e, ERR_NOMEM, "the result as JSON");
    if (r->evaluated)
        add_evaluation(v, spec, r);
    if (profile)
        json_object_set_new(v, "profile", profile_json(profile));
    buf_init(&b, 1 << 20);
    rc = json_write(v, JSON_CANONICAL, &b, e);
    buf_char(&b, '\n');
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    json_decref(v);
    return rc;
}

static int print_table(const struct run_spec *spec, const struct run_result *r,
                       const struct profile *profile, struct err *e)
{
    struct record_number before[EVALUATE_METRICS], after[EVALUATE_METRICS];
    struct buf b;
    int i, count, rc;

    buf_init(&b, 1 << 16);
    if (r->evaluated) {
        evaluate_numbers(&r->before, before);
        count = evaluate_numbers(&r->after, after);
        buf_printf(&b, "%-16s %8s %8s %8s   ", "metric", "before", "after", "change");
        if (r->after.pairs)
            buf_printf(&b, "(%d held-out pairs)\n", r->after.pairs);
        else
            buf_printf(&b, "(k = %d, %d held-out queries)\n", r->after.k, r->after.queries);
        for (i = 0; i < count; i++)
            buf_printf(&b, "%-16s %8.4f %8.4f %+8.4f\n", before[i].name, before[i].value,
                       after[i].value, after[i].value - before[i].value);
    }
    buf_printf(&b, "the model is in %s (%d numbers a text; report.html shows more)\n", spec->out,
               r->dim);
    if (r->stopped_early)
        buf_printf(&b, "stopped early after %lld steps\n", (long long)r->steps);
    if (r->exported_step != r->steps)
        buf_printf(&b, "its weights are the best ones, of step %lld of %lld\n",
                   (long long)r->exported_step, (long long)r->steps);
    if (r->worse)
        buf_printf(&b, "IT GOT WORSE by %s; the better model, untrained, is in %s\n", r->judged_by,
                   spec->untrained);
    if (profile)
        profile_text(profile, &b);
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static int need(const char *value, const char *option, struct err *e)
{
    return value ? 0 : err_set(e, ERR_USAGE, "fit --local: %s is missing (see fit --help)", option);
}

/* What is for a run on the servers would be without effect. */
static int check_options(const struct fit_options *o, const struct job_parameters *p, struct err *e)
{
    if (o->dataset || o->backbone || o->name || o->follow || o->pull ||
        o->priority != FIT_NO_PRIORITY || o->presign >= 0 || o->min_gain > -1)
        return err_set(e, ERR_USAGE,
                       "fit --local: --dataset, --backbone, --name, --follow, --pull, --priority, "
                       "--presign and --min-gain are for a run on the servers");
    if (p->eval == EVAL_STRATIFIED || (p->eval == EVAL_NONE && o->eval))
        return err_set(e, ERR_USAGE,
                       "fit --local: --set eval splits what was pushed; here the documents of "
                       "--eval are held out, or none");
    return 0;
}

static int open_data(const struct fit_options *o, struct dataset **train, struct dataset **eval,
                     struct err *e)
{
    const struct csv_options csv = {.kind = (enum csv_kind)o->columns};
    int rc = run_backbone_check(o->model, e); /* before any document is read */

    if (rc == 0)
        rc = dataset_from_csv(train, o->train, &csv, DATASET_TRAIN, e);
    if (rc == 0 && o->eval)
        rc = dataset_from_csv(eval, o->eval, &csv, DATASET_EVAL, e);
    return rc;
}

static int fit(const struct fit_options *o, struct run_spec *spec, struct watch *w, struct err *e)
{
    struct run_result result;
    char work[PATH_MAX], untrained[PATH_MAX];
    int rc, out = (int)strlen(o->out);

    while (out > 1 && o->out[out - 1] == '/')
        out--;
    if (snprintf(work, sizeof work, o->work ? "%s" : "%s.work", o->work ? o->work : o->out) >=
            (int)sizeof work ||
        snprintf(untrained, sizeof untrained, "%.*s.untrained", out, o->out) >=
            (int)sizeof untrained)
        return err_set(e, ERR_USAGE, "--out %s: the path is too long", o->out);
    spec->work = work;
    spec->untrained = untrained;
    spec->on_event = on_event;
    spec->around_step = w->profile ? around_step : NULL;
    spec->arg = w;
    rc = run_fit(spec, &result, e);
    if (rc < 0)
        return rc;
    progress_done(w->progress, NULL);
    if (!o->work && (rc = file_remove_tree(work, e)) < 0)
        return rc;
    rc = o->json ? print_json(spec, &result, w->profile, e)
                 : print_table(spec, &result, w->profile, e);
    return rc < 0 ? rc : result.worse ? CLI_WORSE : 0;
}

/* ---- --check-determinism ----------------------------------------------------------------------
 */

static int print_check(const struct fit_options *o, const struct run_check *c, struct err *e)
{
    struct buf b;
    int rc = 0;

    buf_init(&b, 1 << 16);
    if (o->json)
        rc = cli_json(&b,
                      json_pack("{s:b, s:i, s:[i, i, i], s:s, s:s}", "equal", (int)c->equal,
                                "steps", c->steps, "threads", c->threads[0], c->threads[1],
                                c->threads[2], "digest", c->digest, "fingerprint", c->fingerprint),
                      e);
    else if (c->equal)
        buf_printf(&b,
                   "%d steps, trained three times with %d, %d and %d threads: equal bytes\n"
                   "digest of parameters and moments: %s\nnumeric fingerprint: %s\n",
                   c->steps, c->threads[0], c->threads[1], c->threads[2], c->digest,
                   c->fingerprint);
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    if (rc < 0 || c->equal)
        return rc;
    return err_set(e, ERR_INTERNAL,
                   "not deterministic: step %d differs between run 1 (%d threads) and run %d (%d "
                   "threads) at %s",
                   c->differs_step, c->threads[0], c->differs_run, c->threads[c->differs_run - 1],
                   c->fingerprint);
}

static int check(const struct fit_options *o, const struct run_spec *spec,
                 struct progress *progress, struct err *e)
{
    struct run_check result;
    int rc;

    progress_step(progress, "the same steps three times", 0, "");
    rc = run_check(spec, &result, e);
    if (rc < 0)
        return rc;
    progress_done(progress, NULL);
    return print_check(o, &result, e);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

int fit_local(const struct fit_options *o, struct err *e)
{
    struct job_parameters parameters;
    struct dataset *train = NULL, *eval = NULL;
    struct watch watch = {0};
    struct clock *clock = NULL;
    struct arena arena;
    struct run_spec spec;
    int rc;

    arena_init(&arena, 1 << 20);
    if ((rc = need(o->train, "--train", e)) < 0 || (rc = need(o->model, "--model", e)) < 0 ||
        (!o->check_determinism && (rc = need(o->out, "--out", e)) < 0) ||
        (rc = fit_parameters(o, &arena, &parameters, e)) < 0 ||
        (rc = check_options(o, &parameters, e)) < 0 || (rc = clock_real(&clock, e)) < 0 ||
        (rc = signals_install(clock, e)) < 0 ||
        (rc = progress_new(&watch.progress, clock, 2, PROGRESS_AUTO, e)) < 0 ||
        (o->profile && (rc = profile_new(&watch.profile, e)) < 0) ||
        (rc = open_data(o, &train, &eval, e)) < 0)
        goto done;
    spec = (struct run_spec){
        .backbone = o->model,
        .out = o->out,
        .train = train,
        .eval = eval,
        .parameters = &parameters,
        .threads = o->threads > 0 ? (int)o->threads : 0,
        .keep_finished = !o->force,
        .resume_any = o->resume_any,
        .checkpoint_ms = 30000,
        .clock = clock,
        .identity = {.backbone = last_part(o->model)},
    };
    rc = o->check_determinism ? check(o, &spec, watch.progress, e) : fit(o, &spec, &watch, e);
done:
    profile_free(watch.profile);
    progress_free(watch.progress);
    dataset_free(eval);
    dataset_free(train);
    signals_release();
    clock_free(clock);
    arena_release(&arena);
    return rc;
}
