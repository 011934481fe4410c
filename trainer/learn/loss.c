#include "trainer/learn/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/learn/loss_int.h"

struct loss {
    struct loss_options options;
    int count, dim;    /* capacity of what follows */
    float *unit;       /* (B, D) embeddings as compared */
    float *mat, *grad; /* (B, B) */
    float *scale;      /* (B) 1 / length, or 1; then (B) squared lengths of unit's rows */
};

static const struct {
    const char *name;
    loss_fn fn;
    bool cosine, normalized, scored;
    float margin, temperature;
} kinds[LOSS_KINDS] = {
    [LOSS_IS_TRIPLET] = {"triplet", loss_triplet, .normalized = true, .margin = .05f},
    [LOSS_IS_CONTRASTIVE] = {"contrastive", loss_contrastive, .normalized = true, .margin = 1},
    [LOSS_IS_MULTI_SIMILARITY] = {"multi-similarity", loss_multi_similarity, .cosine = true,
                                  .normalized = true},
    [LOSS_IS_SUPCON] = {"supcon", loss_supcon, .cosine = true, .normalized = true,
                        .temperature = .1f},
    [LOSS_IS_NEGATIVES_RANKING] = {"multiple-negatives", loss_negatives_ranking, .cosine = true,
                                   .normalized = true, .temperature = .05f},
    [LOSS_IS_BATCH_HARD] = {"batch-hard", loss_batch_hard, .margin = 5},
    [LOSS_IS_BATCH_SEMIHARD] = {"batch-semi-hard", loss_batch_semihard, .margin = 5},
    [LOSS_IS_COSENT] = {"cosent", loss_cosent, .cosine = true, .normalized = true, .scored = true,
                        .temperature = .05f},
};

static const char *const miners[MINERS] = {
    [MINE_ALL] = "all",
    [MINE_HARD] = "hard",
    [MINE_SEMIHARD] = "semihard",
    [MINE_EASY] = "easy",
    [MINE_NONE] = "none",
    [MINE_BATCH_HARD] = "batch-hard",
    [MINE_EASY_POSITIVE] = "easy-positive",
    [MINE_MULTI_SIMILARITY] = "multi-similarity",
    [MINE_BATCH_EASY_HARD] = "batch-easy-hard",
};

/* ---- names ---- */

const char *loss_kind_name(enum loss_kind kind)
{
    return (unsigned)kind < LOSS_KINDS ? kinds[kind].name : "unknown";
}

int loss_kind_parse(const char *text, enum loss_kind *kind)
{
    for (int i = 0; i < LOSS_KINDS; i++)
        if (!strcmp(text, kinds[i].name)) {
            *kind = (enum loss_kind)i;
            return 0;
        }
    return -1;
}

const char *miner_name(enum miner miner)
{
    return (unsigned)miner < MINERS ? miners[miner] : "unknown";
}

int miner_parse(const char *text, enum miner *miner)
{
    for (int i = 0; i < MINERS; i++)
        if (!strcmp(text, miners[i])) {
            *miner = (enum miner)i;
            return 0;
        }
    return -1;
}

bool loss_kind_scored(enum loss_kind kind)
{
    return kinds[kind].scored;
}

/* ---- life ---- */

/* The named picks are strategies of one miner. */
static void resolve_miner(struct loss_options *o)
{
    if (o->miner == MINE_BATCH_HARD)
        o->positives = o->negatives = PICK_HARD;
    else if (o->miner == MINE_EASY_POSITIVE) {
        o->positives = PICK_EASY;
        o->negatives = PICK_HARD;
    } else {
        return;
    }
    o->miner = MINE_BATCH_EASY_HARD;
}

static void fill_defaults(struct loss_options *o)
{
    if (o->margin == 0)
        o->margin = kinds[o->kind].margin;
    if (o->miner_margin == 0)
        o->miner_margin = o->margin;
    if (o->temperature == 0)
        o->temperature = kinds[o->kind].temperature;
    if (o->alpha == 0)
        o->alpha = 2;
    if (o->beta == 0)
        o->beta = 50;
    if (o->base == 0)
        o->base = .5f;
    if (o->epsilon == 0)
        o->epsilon = .1f;
    resolve_miner(o);
}

static int check_miner(const struct loss_options *o, struct err *e)
{
    bool semi = o->positives == PICK_SEMIHARD || o->negatives == PICK_SEMIHARD;
    bool free = o->miner == MINE_ALL || o->miner == MINE_NONE;
    bool own = o->kind == LOSS_IS_MULTI_SIMILARITY ? o->miner == MINE_MULTI_SIMILARITY
                                                   : o->kind == LOSS_IS_TRIPLET;

    if (o->miner == MINE_MULTI_SIMILARITY && o->kind != LOSS_IS_MULTI_SIMILARITY)
        return err_set(e, ERR_CONFIG,
                       "the miner multi-similarity belongs to the loss of that name, not to %s",
                       kinds[o->kind].name);
    if (!own && !free)
        return err_set(e, ERR_CONFIG,
                       "the loss %s takes no miner %s: leave the miner out, or choose the loss "
                       "triplet",
                       kinds[o->kind].name, miners[o->miner]);
    if (o->miner == MINE_BATCH_EASY_HARD && semi &&
        (o->positives == o->negatives || o->positives == PICK_ALL || o->negatives == PICK_ALL))
        return err_set(e, ERR_CONFIG,
                       "pos_strategy and neg_strategy: semihard goes with easy or hard only");
    return 0;
}

int loss_check(const struct loss_options *o, struct err *e)
{
    if ((unsigned)o->kind >= LOSS_KINDS || (unsigned)o->miner >= MINERS)
        return err_set(e, ERR_CONFIG, "no loss has number %d, or no miner %d", (int)o->kind,
                       (int)o->miner);
    if (!isfinite(o->margin) || o->margin < 0 || !isfinite(o->temperature) || o->temperature < 0)
        return err_set(e, ERR_CONFIG, "the loss's margin and temperature can't be negative");
    if ((o->swap || o->smooth) && o->kind != LOSS_IS_TRIPLET)
        return err_set(e, ERR_CONFIG, "%s belongs to the loss triplet, not to %s",
                       o->swap ? "swap" : "smooth", kinds[o->kind].name);
    if (o->margin > 0 && kinds[o->kind].margin == 0)
        return err_set(e, ERR_CONFIG,
                       "the loss %s has no margin: leave it out, or choose the loss triplet",
                       kinds[o->kind].name);
    if (o->temperature > 0 && kinds[o->kind].temperature == 0)
        return err_set(e, ERR_CONFIG,
                       "the loss %s has no temperature: supcon, multiple-negatives and cosent have",
                       kinds[o->kind].name);
    return check_miner(o, e);
}

int loss_new(struct loss **out, const struct loss_options *options, struct err *e)
{
    int rc = loss_check(options, e);
    struct loss *l;

    if (rc < 0)
        return rc;
    if (!(l = calloc(1, sizeof *l)))
        return err_set(e, ERR_NOMEM, "loss");
    l->options = *options;
    fill_defaults(&l->options);
    *out = l;
    return 0;
}

void loss_free(struct loss *l)
{
    if (!l)
        return;
    free(l->unit);
    free(l->mat);
    free(l->grad);
    free(l->scale);
    free(l);
}

static int grow(float **at, size_t count, struct err *e)
{
    float *now = realloc(*at, (count ? count : 1) * sizeof *now);

    if (!now)
        return err_set(e, ERR_NOMEM, "loss: %zu numbers", count);
    *at = now;
    return 0;
}

static int reserve(struct loss *l, int count, int dim, struct err *e)
{
    size_t rows, cols;
    int rc;

    if (count <= l->count && dim <= l->dim)
        return 0;
    rows = (size_t)(count > l->count ? count : l->count);
    cols = (size_t)(dim > l->dim ? dim : l->dim);
    if ((rc = grow(&l->unit, rows * cols, e)) < 0 || (rc = grow(&l->mat, rows * rows, e)) < 0 ||
        (rc = grow(&l->grad, rows * rows, e)) < 0 || (rc = grow(&l->scale, 2 * rows, e)) < 0)
        return rc;
    l->count = (int)rows;
    l->dim = (int)cols;
    return 0;
}

/* ---- embeddings to the matrix ---- */

/* Rows as they are compared, their scale, and their squared lengths. */
static int make_unit(struct loss *l, const float *x, int count, int dim, struct err *e)
{
    bool normalized = kinds[l->options.kind].normalized;

    for (int i = 0; i < count; i++) {
        const float *from = x + (size_t)i * dim;
        float *to = l->unit + (size_t)i * dim, by;
        double sum = 0, square = 0;
        for (int k = 0; k < dim; k++)
            sum += (double)from[k] * from[k];
        if (!isfinite(sum))
            return err_set(e, ERR_FORMAT,
                           "embedding %d of the batch is not finite: lower the learning rate", i);
        by = normalized ? (float)(1 / fmax(sqrt(sum), 1e-12)) : 1;
        for (int k = 0; k < dim; k++) {
            to[k] = from[k] * by;
            square += (double)to[k] * to[k];
        }
        l->scale[i] = by;
        l->scale[count + i] = (float)square;
    }
    return 0;
}

static double direct_square(const float *a, const float *b, int dim)
{
    double sum = 0;

    for (int k = 0; k < dim; k++)
        sum += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
    return sum;
}

/* |a - b| from a . b; the near ones, where that cancels, are computed directly. */
static void make_distances(struct loss *l, int count, int dim)
{
    const float *square = l->scale + count;

    for (int i = 0; i < count; i++) {
        l->mat[(size_t)i * count + i] = 0;
        for (int j = i + 1; j < count; j++) {
            double sum = (double)square[i] + square[j];
            double d = sum - 2.0 * l->mat[(size_t)i * count + j];
            if (d < 0.02 * sum)
                d = direct_square(l->unit + (size_t)i * dim, l->unit + (size_t)j * dim, dim);
            l->mat[(size_t)i * count + j] = l->mat[(size_t)j * count + i] = (float)sqrt(d);
        }
    }
}

/* What is told of the batch whatever its loss; `mat` still holds dot products. */
static void make_stats(const struct loss *l, const int32_t *labels, int count, bool normalized,
                       struct loss_stats *stats)
{
    const float *square = l->scale + count;
    double distance[2] = {0, 0}, cosine = 0;
    int64_t pairs[2] = {0, 0};

    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++) {
            double dot = l->mat[(size_t)i * count + j], both = (double)square[i] * square[j];
            int same = labels[i] == labels[j];
            cosine += normalized ? dot : both > 0 ? dot / sqrt(both) : 0;
            distance[same] += sqrt(fmax(0, (double)square[i] + square[j] - 2 * dot));
            pairs[same]++;
        }
    stats->positive = pairs[1] ? distance[1] / (double)pairs[1] : 0;
    stats->negative = pairs[0] ? distance[0] / (double)pairs[0] : 0;
    stats->similarity = count > 1 ? cosine / (double)(pairs[0] + pairs[1]) : 0;
}

/* ---- slopes back to the embeddings ---- */

/* grad = W + W^T in place, W = slope / distance for distances: d|a - b| / da = (a - b) / |a - b|.
 */
static void make_symmetric(struct loss *l, int count, bool cosine)
{
    for (int i = 0; i < count; i++) {
        l->grad[(size_t)i * count + i] *= cosine ? 2 : 0; /* a distance to itself has no slope */
        for (int j = i + 1; j < count; j++) {
            float *up = &l->grad[(size_t)i * count + j], *down = &l->grad[(size_t)j * count + i];
            float d = l->mat[(size_t)i * count + j], sum = *up + *down;
            *up = *down = cosine ? sum : d > 0 ? sum / d : 0;
        }
    }
}

/* Cosines: d_unit = M unit. Distances: d_unit_i = (sum_j M_ij) unit_i - (M unit)_i. Then through
 * x -> x / |x|: dx = (d - unit (unit . d)) / |x|. */
static void make_d_embeddings(struct loss *l, struct backend *b, int count, int dim, bool cosine,
                              float *d_out)
{
    bool normalized = kinds[l->options.kind].normalized;

    make_symmetric(l, count, cosine);
    b->ops->gemm(b, false, false, count, dim, count, cosine ? 1.0f : -1.0f, l->grad, count, l->unit,
                 dim, 0.0f, d_out, dim);
    for (int i = 0; i < count; i++) {
        const float *unit = l->unit + (size_t)i * dim, *row = l->grad + (size_t)i * count;
        float *d = d_out + (size_t)i * dim;
        double sum = 0, dot = 0;
        for (int j = 0; j < count && !cosine; j++)
            sum += row[j];
        for (int k = 0; k < dim; k++) {
            d[k] += (float)(sum * unit[k]);
            dot += (double)d[k] * unit[k];
        }
        for (int k = 0; k < dim && normalized; k++)
            d[k] = (float)((d[k] - dot * unit[k]) * l->scale[i]);
    }
}

void loss_scale(struct loss_batch *b, double by)
{
    for (size_t i = 0; i < (size_t)b->count * (size_t)b->count; i++)
        b->grad[i] = (float)(b->grad[i] * by);
}

int loss_compute(struct loss *l, struct backend *b, const float *embeddings,
                 const struct loss_rows *rows, float *d_out, struct loss_stats *stats,
                 struct err *e)
{
    bool cosine = kinds[l->options.kind].cosine, scored = kinds[l->options.kind].scored;
    int count = rows->count, dim = rows->dim, rc;
    struct loss_batch batch = {.options = &l->options,
                               .count = count,
                               .labels = rows->labels,
                               .texts = rows->texts,
                               .scores = rows->scores};

    *stats = (struct loss_stats){0};
    if (count < 1 || dim < 1)
        return err_set(e, ERR_INTERNAL, "loss: a batch of (%d, %d)", count, dim);
    if (scored != (rows->scores != NULL) || (scored && count % 2))
        return err_set(e, ERR_INTERNAL, "loss %s: %d rows %s scores", kinds[l->options.kind].name,
                       count, rows->scores ? "with" : "without");
    if ((rc = reserve(l, count, dim, e)) < 0 || (rc = make_unit(l, embeddings, count, dim, e)) < 0)
        return rc;
    b->ops->gemm(b, false, true, count, count, dim, 1.0f, l->unit, dim, l->unit, dim, 0.0f, l->mat,
                 count);
    make_stats(l, rows->labels, count, kinds[l->options.kind].normalized, stats);
    if (!cosine)
        make_distances(l, count, dim);
    memset(l->grad, 0, sizeof *l->grad * (size_t)count * (size_t)count);
    batch.mat = l->mat;
    batch.grad = l->grad;
    stats->loss = kinds[l->options.kind].fn(&batch);
    stats->triplets = batch.counted;
    stats->active = batch.allowed ? (double)batch.active / (double)batch.allowed : 0;
    make_d_embeddings(l, b, count, dim, cosine, d_out);
    return 0;
}
