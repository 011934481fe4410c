#include "trainer/run.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"
#include "trainer/artifact.h"
#include "trainer/evaluate.h"
#include "trainer/learn/schedule.h"
#include "trainer/run_int.h"

/* ---- events --------------------------------------------------------------------------------- */

void run_tell(const struct run *r, const struct run_event *event)
{
    if (r->spec->on_event)
        r->spec->on_event(r->spec->arg, event);
}

static void tell_phase(const struct run *r, enum job_phase phase)
{
    run_tell(r, &(struct run_event){.kind = RUN_PHASE, .phase = phase, .steps = r->steps});
}

static void warn(const struct run *r, const char *text)
{
    run_tell(r, &(struct run_event){.kind = RUN_WARNING, .text = text});
}

static void warn_about_data(const struct run *r)
{
    char text[256];

    if (sampler_info(r->sampler)->singles > 0) {
        snprintf(text, sizeof text,
                 "%d of %d labels have a single document: it is a negative for others, never a "
                 "positive",
                 sampler_info(r->sampler)->singles, sampler_info(r->sampler)->labels);
        warn(r, text);
    }
    if (r->train->cut > 0) {
        snprintf(text, sizeof text,
                 "%d of %d documents reach %d tokens and may be cut (max_length)", r->train->cut,
                 r->train->count, r->max_tokens);
        warn(r, text);
    }
}

/* ---- measuring ------------------------------------------------------------------------------- */

static int measure(struct run *r, const char *when, struct retrieval *out, struct err *e)
{
    int rc;

    if (!r->eval)
        return 0;
    rc = evaluate_retrieval(r->engine, r->eval, dataset_label_ids(r->spec->eval),
                            (int)r->spec->parameters->eval_k, out, e);
    if (rc == 0)
        run_tell(r, &(struct run_event){.kind = RUN_EVAL,
                                        .when = when,
                                        .metrics = out,
                                        .step = r->state->step,
                                        .steps = r->steps});
    return rc;
}

/* The untrained model's metrics survive in checkpoints: it can't be measured again after a resume.
 */
static void keep_before(struct run *r)
{
    struct record_number rows[EVALUATE_METRICS];
    int i;

    evaluate_numbers(&r->result->before, rows);
    for (i = 0; i < EVALUATE_METRICS; i++)
        r->state->before[i] = rows[i].value;
    r->state->before[EVALUATE_METRICS] = r->result->before.queries;
}

static void recall_before(struct run *r)
{
    const double *v = r->state->before;

    r->result->before = (struct retrieval){.k = (int)r->spec->parameters->eval_k,
                                           .queries = (int)v[EVALUATE_METRICS],
                                           .excluded = r->result->after.excluded,
                                           .precision_at_1 = v[0],
                                           .recall_at_k = v[1],
                                           .map_at_k = v[2],
                                           .ndcg_at_k = v[3],
                                           .mrr_at_k = v[4],
                                           .hit_at_k = v[5],
                                           .r_precision = v[6]};
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

    return r->state->step % every == 0 || r->state->step == r->steps ||
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

static struct engine_step optimiser(const struct job_parameters *p, double rate)
{
    static const enum optim_kind kinds[] = {[OPTIMIZER_ADAM] = OPTIM_ADAM,
                                            [OPTIMIZER_ADAMW] = OPTIM_ADAMW,
                                            [OPTIMIZER_SGD] = OPTIM_SGD};

    return (struct engine_step){
        .optim = {.kind = kinds[p->optimizer], .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = (float)rate,
        .decay = (float)p->weight_decay,
        .layer_decay = 1};
}

static double rate_at(const struct run *r)
{
    static const enum schedule kinds[] = {[SCHEDULE_CONSTANT] = SCHEDULE_IS_CONSTANT,
                                          [SCHEDULE_LINEAR] = SCHEDULE_IS_LINEAR,
                                          [SCHEDULE_COSINE] = SCHEDULE_IS_COSINE};
    const struct job_parameters *p = r->spec->parameters;

    return p->learning_rate * schedule_factor(kinds[p->schedule], r->state->step,
                                              (int64_t)(p->warmup * (double)r->steps), r->steps);
}

/* What the loss is told of documents. */
static void describe_rows(struct run *r, const int32_t *indices, int count)
{
    const int32_t *labels = dataset_label_ids(r->spec->train);
    int i;

    for (i = 0; i < count; i++) {
        r->labels[i] = labels[indices[i]];
        r->texts[i] = r->text_numbers[indices[i]];
    }
    r->rows = (struct loss_rows){
        .count = count, .dim = r->result->dim, .labels = r->labels, .texts = r->texts};
}

/* The documents of the next batch, packed, and r->rows. */
static int next_batch(struct run *r, const struct token_batch **packed, struct err *e)
{
    const int32_t *indices;
    int64_t epoch = r->state->step / r->steps_per_epoch;
    int64_t at = r->state->step % r->steps_per_epoch;
    int count, rc;

    rc = sampler_batch(r->sampler, (uint32_t)epoch, (int)at, &indices, &count, e);
    if (rc < 0)
        return rc;
    describe_rows(r, indices, count);
    return batch_fill(r->batch, r->train, indices, count, packed, e);
}

static int one_step(struct run *r, struct run_event *event, struct err *e)
{
    struct engine_step step = optimiser(r->spec->parameters, rate_at(r));
    const struct token_batch *packed;
    struct loss_stats stats;
    int rc;

    if ((rc = next_batch(r, &packed, e)) < 0 ||
        (rc = engine_forward(r->engine, packed, r->embeddings, e)) < 0 ||
        (rc = loss_compute(r->loss, engine_backend(r->engine), r->embeddings, &r->rows,
                           r->gradients, &stats, e)) < 0 ||
        (rc = engine_backward(r->engine, r->gradients, e)) < 0 ||
        (rc = engine_step(r->engine, &step, &event->gradient_norm, e)) < 0)
        return rc;
    if (!isfinite(stats.loss) || !isfinite(event->gradient_norm))
        return err_set(e, ERR_CONFIG,
                       "step %lld: the loss or its gradient is not a number: lower learning_rate",
                       (long long)r->state->step + 1);
    event->loss = stats.loss;
    event->active = stats.active;
    event->positive = stats.positive;
    event->negative = stats.negative;
    event->learning_rate = step.lr;
    return packed->count;
}

static void note_loss(struct run *r, double loss)
{
    int64_t stride = r->steps / CHECKPOINT_HISTORY_MAX + 1;
    struct checkpoint *c = r->state;

    c->loss = loss;
    if (c->step % stride == 0 && c->point_count < CHECKPOINT_HISTORY_MAX)
        c->points[c->point_count++] = (struct checkpoint_point){c->step, loss};
}

static int stopped(struct run *r, struct err *e)
{
    int rc = save(r, e);

    if (rc < 0)
        return rc;
    return err_set(e, ERR_CANCELLED,
                   "stopped after step %lld of %lld; the same command again goes on from there",
                   (long long)r->state->step, (long long)r->steps);
}

static int train(struct run *r, struct err *e)
{
    struct clock *clock = r->spec->clock;
    int64_t began = clock_mono_ms(clock), documents = 0;
    int n, rc = 0;

    tell_phase(r, PHASE_TRAINING);
    r->saved_ms = began;
    while (r->state->step < r->steps) {
        struct run_event event = {.kind = RUN_STEP,
                                  .epoch = r->state->step / r->steps_per_epoch + 1,
                                  .epochs = r->spec->parameters->epochs,
                                  .steps = r->steps};

        if (clock_stopping(clock))
            return stopped(r, e);
        n = one_step(r, &event, e);
        if (n < 0)
            return n;
        documents += n;
        event.step = ++r->state->step;
        r->result->seconds = (double)(clock_mono_ms(clock) - began) / 1000;
        if (r->result->seconds > 0)
            r->result->docs_per_s = (double)documents / r->result->seconds;
        event.docs_per_s = r->result->docs_per_s;
        note_loss(r, event.loss);
        run_tell(r, &event);
        if (save_is_due(r) && (rc = save(r, e)) < 0)
            return rc;
    }
    return 0;
}

/* ---- the artifact ---------------------------------------------------------------------------- */

/* Documents spread over the held-out ones (or the trained ones) that the artifact is verified by.
 */
enum { GOLDEN = 8 };

static int golden(struct run *r, struct artifact_golden out[GOLDEN], float *vectors, int *count,
                  struct err *e)
{
    const struct dataset *d = r->eval ? r->spec->eval : r->spec->train;
    const struct tokens *k = r->eval ? r->eval : r->train;
    const struct token_batch *packed;
    int32_t indices[GOLDEN];
    int i, rc;

    *count = k->count < GOLDEN ? k->count : GOLDEN;
    for (i = 0; i < *count; i++) {
        struct dataset_doc doc = dataset_at(d, (int)((int64_t)k->count * i / *count));

        indices[i] = (int32_t)((int64_t)k->count * i / *count);
        out[i] = (struct artifact_golden){doc.text, doc.text_len,
                                          vectors + (size_t)i * (size_t)r->result->dim};
    }
    if ((rc = batch_fill(r->batch, k, indices, *count, &packed, e)) < 0 ||
        (rc = engine_encode(r->engine, packed, vectors, e)) < 0)
        return rc;
    for (i = 0; i < *count * r->result->dim; i++)
        if (!isfinite(vectors[i]))
            return err_set(e, ERR_CONFIG,
                           "the trained model gives numbers that are not finite: lower "
                           "learning_rate");
    return 0;
}

static const char *or_local(const char *text)
{
    return text ? text : "local";
}

static void fill_manifest(struct run *r, struct run_manifest *m, struct record_number *before,
                          struct record_number *after, struct record_text *versions)
{
    const struct run_identity *id = &r->spec->identity;

    run_manifest_init(m);
    m->owner = or_local(id->owner);
    m->run = or_local(id->run);
    m->model = or_local(id->model);
    m->dataset = or_local(id->dataset);
    m->attempt = id->attempt ? id->attempt : 1;
    m->created_ms = clock_wall_ms(r->spec->clock);
    m->nonce = run_nonce(r);
    m->snapshot_sha256 = id->snapshot_sha256;
    m->backbone = or_local(id->backbone);
    m->backbone_sha256 = r->result->backbone_sha256;
    m->parameters = r->spec->parameters;
    if (r->eval) {
        evaluate_numbers(&r->result->before, before);
        evaluate_numbers(&r->result->after, after);
        m->before = before;
        m->after = after;
        m->before_count = m->after_count = EVALUATE_METRICS;
        m->eval_documents = r->eval->count;
    } else {
        m->eval_documents = 0;
    }
    versions[0] = (struct record_text){"tripline", TRIPLINE_VERSION};
    m->versions = versions;
    m->version_count = 1;
    m->fingerprint = r->state->fingerprint;
    m->exact = r->state->exact;
    m->dimension = r->result->dim;
    m->metric = "cosine";
    m->modality = "text";
    m->max_length = r->max_tokens;
    m->normalized = r->spec->parameters->normalize;
    m->steps = r->steps;
    m->train_documents = r->train->count;
    m->labels = dataset_labels(r->spec->train);
    m->loss = r->result->loss;
    m->seconds = r->result->seconds;
}

static int export(struct run *r, struct err *e)
{
    struct record_number before[EVALUATE_METRICS], after[EVALUATE_METRICS];
    struct record_text versions[1];
    struct artifact_golden texts[GOLDEN];
    struct run_manifest manifest;
    float *vectors = calloc((size_t)r->result->dim, GOLDEN * sizeof *vectors);
    int count, rc;

    if (!vectors)
        return err_set(e, ERR_NOMEM, "golden vectors");
    tell_phase(r, PHASE_EXPORTING);
    fill_manifest(r, &manifest, before, after, versions);
    rc = golden(r, texts, vectors, &count, e);
    if (rc == 0)
        rc = artifact_write(&(struct artifact){.folder = r->spec->out,
                                               .backbone_folder = r->files.folder,
                                               .tokenizer = r->files.tokenizer,
                                               .engine = r->engine,
                                               .golden = texts,
                                               .golden_count = (size_t)count,
                                               .points = r->state->points,
                                               .point_count = (size_t)r->state->point_count,
                                               .manifest = &manifest},
                            r->result->manifest_sha256, e);
    free(vectors);
    return rc;
}

/* ---- the whole walk -------------------------------------------------------------------------- */

static int walk(struct run *r, struct err *e)
{
    int rc;

    tell_phase(r, PHASE_VALIDATING);
    if ((rc = run_open(r, e)) < 0)
        return rc;
    r->result->evaluated = r->eval != NULL;
    warn_about_data(r);
    if ((rc = resume(r, e)) < 0)
        return rc;
    if (rc == 1) {
        recall_before(r);
    } else {
        tell_phase(r, PHASE_EVALUATING);
        if ((rc = measure(r, "before", &r->result->before, e)) < 0)
            return rc;
        keep_before(r);
    }
    if ((rc = train(r, e)) < 0)
        return rc;
    tell_phase(r, PHASE_EVALUATING);
    if ((rc = measure(r, "after", &r->result->after, e)) < 0)
        return rc;
    r->result->steps = r->steps;
    r->result->exact = r->state->exact;
    r->result->loss = r->state->loss;
    return export(r, e);
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
