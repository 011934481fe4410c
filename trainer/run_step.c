/*
 * One optimiser step: the gradients of one batch or of several (`accumulate`), a batch
 * at once or in pieces (`micro_batch`), then the step itself under the schedule.
 *
 * In pieces it is gradient caching (Gao et al. 2021, GradCache): every piece runs forward
 * and only its embeddings are kept; the loss sees the whole batch and gives the gradient
 * of every embedding; then each piece runs forward again and backward with its share. The
 * gradients are the whole batch's, in another order of summation.
 */
#include <math.h>

#include "trainer/learn/schedule.h"
#include "trainer/run_int.h"

static struct engine_step optimiser(const struct job_parameters *p, double rate)
{
    static const enum optim_kind kinds[] = {[OPTIMIZER_ADAM] = OPTIM_ADAM,
                                            [OPTIMIZER_ADAMW] = OPTIM_ADAMW,
                                            [OPTIMIZER_SGD] = OPTIM_SGD};

    return (struct engine_step){
        .optim = {.kind = kinds[p->optimizer], .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = (float)rate,
        .decay = (float)p->weight_decay,
        .decay_all = p->decay_norms,
        .layer_decay = (float)p->layer_decay,
        .clip = (float)p->max_grad_norm};
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

/* ---- the gradients of a batch -----------------------------------------------------------------
 */

/* What the loss is told of documents. */
static void describe_rows(struct run *r, const int32_t *indices, int count)
{
    const int32_t *labels = dataset_label_ids(r->spec->train);
    const double *scores = dataset_scores(r->spec->train);
    int i;

    for (i = 0; i < count; i++) {
        if (scores && i % 2 == 0)
            r->scores[i / 2] = scores[indices[i] / 2];
        r->labels[i] = labels[indices[i]];
        r->texts[i] = r->text_numbers[indices[i]];
    }
    r->rows = (struct loss_rows){.count = count,
                                 .dim = r->result->dim,
                                 .labels = r->labels,
                                 .texts = r->texts,
                                 .scores = scores ? r->scores : NULL};
}

/* The loss of the whole batch, and r->gradients, `scale` times its gradient by each embedding. */
static int loss_of(struct run *r, double scale, struct loss_stats *stats, struct err *e)
{
    size_t i, n = (size_t)r->rows.count * (size_t)r->rows.dim;
    int rc = loss_compute(r->loss, engine_backend(r->engine), r->embeddings, &r->rows, r->gradients,
                          stats, e);

    for (i = 0; rc == 0 && scale != 1 && i < n; i++)
        r->gradients[i] = (float)(r->gradients[i] * scale);
    return rc;
}

static int whole(struct run *r, const int32_t *indices, int count, double scale,
                 struct loss_stats *stats, struct err *e)
{
    const struct token_batch *packed;
    int rc;

    if ((rc = batch_fill(r->batch, r->train, indices, count, &packed, e)) < 0 ||
        (rc = engine_forward(r->engine, packed, r->embeddings, e)) < 0 ||
        (rc = loss_of(r, scale, stats, e)) < 0)
        return rc;
    return engine_backward(r->engine, r->gradients, e);
}

/* Documents [from, from + piece) of a batch: forward, and with `back` backward too. */
static int piece(struct run *r, const int32_t *indices, int from, int count, bool back,
                 struct err *e)
{
    size_t at = (size_t)from * (size_t)r->result->dim;
    const struct token_batch *packed;
    int rc = batch_fill(r->batch, r->train, indices + from, count, &packed, e);

    if (rc == 0)
        rc = back ? engine_forward(r->engine, packed, r->embeddings + at, e)
                  : engine_encode(r->engine, packed, r->embeddings + at, e);
    if (rc == 0 && back)
        rc = engine_backward(r->engine, r->gradients + at, e);
    return rc;
}

static int in_pieces(struct run *r, const int32_t *indices, int count, double scale,
                     struct loss_stats *stats, struct err *e)
{
    int size = (int)r->spec->parameters->micro_batch, pass, from, rc;

    for (pass = 0; pass < 2; pass++) {
        if (pass == 1 && (rc = loss_of(r, scale, stats, e)) < 0)
            return rc;
        for (from = 0; from < count; from += size)
            if ((rc = piece(r, indices, from, count - from < size ? count - from : size, pass == 1,
                            e)) < 0)
                return rc;
    }
    return 0;
}

int run_gradients(struct run *r, int64_t epoch, int64_t batch, double scale,
                  struct loss_stats *stats, struct err *e)
{
    int64_t size = r->spec->parameters->micro_batch;
    const int32_t *indices;
    int count, rc;

    if ((rc = sampler_batch(r->sampler, (uint32_t)epoch, (int)batch, &indices, &count, e)) < 0)
        return rc;
    describe_rows(r, indices, count);
    rc = size > 0 && size < count ? in_pieces(r, indices, count, scale, stats, e)
                                  : whole(r, indices, count, scale, stats, e);
    return rc < 0 ? rc : count;
}

/* ---- a step -----------------------------------------------------------------------------------
 */

/* Adds `share` of what a batch said to what the step says. */
static void add_stats(struct run_event *v, const struct loss_stats *s, double share)
{
    v->loss += s->loss * share;
    v->active += s->active * share;
    v->positive += s->positive * share;
    v->negative += s->negative * share;
    v->similarity += s->similarity * share;
}

int run_step(struct run *r, struct run_event *event, struct err *e)
{
    struct engine_step step = optimiser(r->spec->parameters, rate_at(r));
    int64_t epoch = r->state->step / r->steps_per_epoch, most = r->spec->parameters->accumulate;
    int64_t first = r->state->step % r->steps_per_epoch * most, i;
    int64_t batches = sampler_info(r->sampler)->batches - first;
    struct loss_stats stats;
    int rc, documents = 0;

    if (batches > most)
        batches = most;
    for (i = 0; i < batches; i++, documents += rc) {
        if ((rc = run_gradients(r, epoch, first + i, 1.0 / (double)batches, &stats, e)) < 0)
            return rc;
        add_stats(event, &stats, 1.0 / (double)batches);
    }
    if ((rc = engine_step(r->engine, &step, &event->gradient_norm, e)) < 0)
        return rc;
    if (!isfinite(event->loss) || !isfinite(event->gradient_norm))
        return err_set(e, ERR_CONFIG,
                       "step %lld: the loss or its gradient is not a number: lower learning_rate",
                       (long long)r->state->step + 1);
    event->learning_rate = step.lr;
    return documents;
}
