#include "trainer/run.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/buf.h"
#include "platform/base/text.h"
#include "platform/clock/clock.h"
#include "trainer/run_int.h"

/* ---- events --------------------------------------------------------------------------------- */

void run_tell(const struct run *r, const struct run_event *event)
{
    if (r->spec->on_event)
        r->spec->on_event(r->spec->arg, event);
}

void run_phase(const struct run *r, enum job_phase phase)
{
    run_tell(r, &(struct run_event){.kind = RUN_PHASE, .phase = phase, .steps = r->steps});
}

void run_warn(const struct run *r, const char *text)
{
    run_tell(r, &(struct run_event){.kind = RUN_WARNING, .text = text});
}

/* How many, and the first of them. */
static void warn_about_singles(const struct run *r)
{
    const struct sampler_info *info = sampler_info(r->sampler);
    const struct dataset *d = r->spec->train;
    struct buf b;
    int i, named = 0;

    buf_init(&b, 4096);
    buf_printf(&b,
               "%d of %d labels have a single document, which is a negative for others, never a "
               "positive: ",
               info->singles, info->labels);
    for (i = 0; i < dataset_labels(d) && named < 3; i++) {
        const char *name = dataset_label_name(d, i);
        size_t n = strlen(name);

        if (dataset_label_counts(d)[i] != 1)
            continue;
        n = text_utf8_valid(name, n < 60 ? n : 60); /* a longer one is cut, between characters */
        buf_printf(&b, "%s'%.*s'", named++ ? ", " : "", (int)n, name);
    }
    buf_str(&b, info->singles > named ? ", ..." : "");
    if (!b.failed)
        run_warn(r, b.data);
    buf_release(&b);
}

static void warn_about_data(const struct run *r)
{
    char text[256];

    if (sampler_info(r->sampler)->singles > 0)
        warn_about_singles(r);
    if (r->train->cut > 0) {
        snprintf(text, sizeof text,
                 "%d of %d documents reach %d tokens and may be cut (max_length)", r->train->cut,
                 r->train->count, r->max_tokens);
        run_warn(r, text);
    }
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static int save(struct run *r, struct err *e)
{
    const struct run_spec *s = r->spec;
    char path[PATH_MAX];
    int rc = checkpoint_write(s->work, r->state, r->engine, s->keep ? s->keep : 2, e);

    if (rc < 0)
        return rc;
    r->saved_ms = clock_mono_ms(s->clock);
    snprintf(path, sizeof path, "%s/" CHECKPOINT_NAME, s->work, (long long)r->state->step);
    run_tell(r,
             &(struct run_event){
                 .kind = RUN_CHECKPOINT, .path = path, .step = r->state->step, .steps = r->steps});
    return 0;
}

static bool save_is_due(const struct run *r)
{
    const struct run_spec *s = r->spec;
    int64_t every =
        s->parameters->checkpoint_steps ? s->parameters->checkpoint_steps : r->steps_per_epoch;

    return r->state->step % every == 0 || r->state->step == r->steps || r->state->early ||
           (s->checkpoint_ms > 0 && clock_mono_ms(s->clock) - r->saved_ms >= s->checkpoint_ms);
}

static int resume(struct run *r, struct err *e)
{
    struct checkpoint *found = malloc(sizeof *found);
    int rc;

    if (!found)
        return err_set(e, ERR_NOMEM, "a checkpoint's head");
    rc = checkpoint_resume(r->spec->work, r->state->identity, r->state->fingerprint,
                           !r->spec->resume_any, found, r->engine, e);
    if (rc == 1) {
        memcpy(found->fingerprint, r->state->fingerprint, sizeof found->fingerprint);
        *r->state = *found;
        r->result->resumed_step = found->step;
        run_tell(r,
                 &(struct run_event){.kind = RUN_RESUMED, .step = found->step, .steps = r->steps});
    }
    free(found);
    return rc;
}

/* ---- training -------------------------------------------------------------------------------- */

static int stopped(struct run *r, struct err *e)
{
    int rc = save(r, e);

    if (rc < 0)
        return rc;
    return err_set(e, ERR_CANCELLED,
                   "stopped after step %lld of %lld; the same command again goes on from there",
                   (long long)r->state->step, (long long)r->steps);
}

/* A step, and who wants to see it from outside. */
static int watched_step(struct run *r, struct run_event *event, struct err *e)
{
    const struct run_spec *s = r->spec;
    int rc;

    if (s->around_step)
        s->around_step(s->arg, engine_backend(r->engine), true);
    rc = run_step(r, event, e);
    if (s->around_step)
        s->around_step(s->arg, engine_backend(r->engine), false);
    return rc;
}

/* The next step, and what is told of it. */
static int advance(struct run *r, int64_t began, int64_t *documents, struct err *e)
{
    struct run_event event = {.kind = RUN_STEP,
                              .epoch = r->state->step / r->steps_per_epoch + 1,
                              .epochs = r->spec->parameters->epochs,
                              .steps = r->steps};
    int n = watched_step(r, &event, e);

    if (n < 0)
        return n;
    *documents += n;
    event.step = ++r->state->step;
    r->result->seconds = (double)(clock_mono_ms(r->spec->clock) - began) / 1000;
    if (r->result->seconds > 0)
        r->result->docs_per_s = (double)*documents / r->result->seconds;
    event.docs_per_s = r->result->docs_per_s;
    run_watch(r, &event);
    run_tell(r, &event);
    return 0;
}

static int train(struct run *r, struct err *e)
{
    struct clock *clock = r->spec->clock;
    int64_t began = clock_mono_ms(clock), documents = 0;
    int rc;

    run_phase(r, PHASE_TRAINING);
    r->saved_ms = began;
    while (r->state->step < r->steps && !r->state->early) {
        int64_t paused;

        if (clock_stopping(clock))
            return stopped(r, e);
        if ((rc = advance(r, began, &documents, e)) < 0)
            return rc;
        paused = clock_mono_ms(clock);
        if ((rc = run_eval_step(r, e)) < 0)
            return rc;
        began += clock_mono_ms(clock) - paused; /* evaluations are no time of training */
        if (save_is_due(r) && (rc = save(r, e)) < 0)
            return rc;
    }
    return 0;
}

/* ---- the whole walk -------------------------------------------------------------------------- */

static int walk(struct run *r, struct err *e)
{
    int rc;

    run_phase(r, PHASE_VALIDATING);
    if ((rc = run_open(r, e)) < 0 || (rc = run_out_open(r, e)) < 0)
        return rc;
    r->result->evaluated = r->eval != NULL;
    warn_about_data(r);
    if ((rc = resume(r, e)) < 0)
        return rc;
    if (rc == 1)
        run_eval_recall(r);
    else if ((rc = run_eval_before(r, e)) < 0)
        return rc;
    if ((rc = train(r, e)) < 0 || (rc = run_eval_after(r, e)) < 0)
        return rc;
    r->result->steps = r->state->step;
    r->result->exact = r->state->exact;
    r->result->loss = r->state->loss;
    return run_export(r, e);
}

int run_fit(const struct run_spec *spec, struct run_result *result, struct err *e)
{
    struct run r = {.spec = spec, .result = result, .lock = -1};
    int rc;

    memset(result, 0, sizeof *result);
    rc = walk(&r, e);
    run_out_close(&r, rc < 0);
    run_release(&r);
    return rc;
}
