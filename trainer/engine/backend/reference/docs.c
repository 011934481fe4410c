/* Ops that know documents: embedding rows, attention, pooling. */
#include "trainer/engine/backend/reference/reference_int.h"

#include <math.h>

/* ---- embed ---- */

int ref_embed_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                   struct err *e)
{
    *p = (struct op_plan){0};
    return op_call_check(OP_EMBED, c, e);
}

/* Row of the table for token t of document `doc`; without ids, positions are counted here. */
static int embed_row(const struct op_call *c, int doc, int t)
{
    if (c->ids)
        return c->ids[t];
    if (c->attrs->ids == IDS_POSITION)
        return c->attrs->ids_shift + t - c->docs.offsets[doc];
    return 0;
}

void ref_embed_forward(struct backend *b, const struct op_call *c)
{
    for (int d = 0; d < c->docs.count; d++)
        for (int t = c->docs.offsets[d]; t < c->docs.offsets[d + 1]; t++)
            for (int i = 0; i < c->out.cols; i++)
                *ref_at(&c->out, t, i) = *ref_at(&c->in[0], embed_row(c, d, t), i);
}

void ref_embed_backward(struct backend *b, const struct op_call *c)
{
    const struct mat *to = &c->d_in[0];

    if (!to->data)
        return;
    for (int r = 0; r < to->rows && !(c->d_add & 1); r++)
        for (int i = 0; i < to->cols; i++)
            *ref_at(to, r, i) = 0;
    for (int d = 0; d < c->docs.count; d++)
        for (int t = c->docs.offsets[d]; t < c->docs.offsets[d + 1]; t++)
            for (int i = 0; i < to->cols; i++)
                *ref_at(to, c->ids_row ? c->ids_row[t] : embed_row(c, d, t), i) +=
                    *ref_at(&c->d_out, t, i);
}

/* ---- attention ---- */

int ref_attention_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                       struct err *e)
{
    *p = (struct op_plan){
        .needs_in = train ? 7 : 0,
        .work_floats = 2 * (size_t)c->in[0].rows, /* one row of probabilities, one of gradients */
    };
    return op_call_check(OP_ATTENTION, c, e);
}

struct head { /* one document and one head */
    const struct op_call *call;
    int first, tokens; /* rows */
    int col, cols;     /* columns of this head */
};

static double dot_rows(const struct mat *a, int ra, const struct mat *b, int rb,
                       const struct head *h)
{
    double sum = 0;

    for (int i = 0; i < h->cols; i++)
        sum +=
            (double)*ref_at(a, h->first + ra, h->col + i) * *ref_at(b, h->first + rb, h->col + i);
    return sum;
}

/* Probabilities of query row r over the keys; returns how many keys it sees. */
static int softmax_row(const struct head *h, int r, float *prob)
{
    const struct op_call *c = h->call;
    int keys = c->attrs->causal ? r + 1 : h->tokens;
    double top = -INFINITY, sum = 0;

    for (int k = 0; k < keys; k++)
        top = fmax(top, c->attrs->scale * dot_rows(&c->in[0], r, &c->in[1], k, h));
    for (int k = 0; k < keys; k++)
        sum += exp(c->attrs->scale * dot_rows(&c->in[0], r, &c->in[1], k, h) - top);
    for (int k = 0; k < keys; k++)
        prob[k] =
            (float)(exp(c->attrs->scale * dot_rows(&c->in[0], r, &c->in[1], k, h) - top) / sum);
    return keys;
}

static void head_forward(const struct head *h)
{
    const struct op_call *c = h->call;

    for (int r = 0; r < h->tokens; r++) {
        float *prob = c->work;
        int keys = softmax_row(h, r, prob);
        for (int i = 0; i < h->cols; i++) {
            double sum = 0;
            for (int k = 0; k < keys; k++)
                sum += (double)prob[k] * *ref_at(&c->in[2], h->first + k, h->col + i);
            *ref_at(&c->out, h->first + r, h->col + i) = (float)sum;
        }
    }
}

/* Adds to the gradients, which attention_clear has prepared. */
static void add_rows(const struct mat *to, int row, const struct mat *from, int from_row, double by,
                     const struct head *h)
{
    for (int i = 0; to->data && i < h->cols; i++)
        *ref_at(to, h->first + row, h->col + i) +=
            (float)(by * *ref_at(from, h->first + from_row, h->col + i));
}

static void head_backward(const struct head *h)
{
    const struct op_call *c = h->call;
    float *prob = c->work, *d_prob = c->work + c->in[0].rows;

    for (int r = 0; r < h->tokens; r++) {
        int keys = softmax_row(h, r, prob);
        double mean = 0;
        for (int k = 0; k < keys; k++) {
            d_prob[k] = (float)dot_rows(&c->d_out, r, &c->in[2], k, h);
            mean += (double)prob[k] * d_prob[k];
        }
        for (int k = 0; k < keys; k++) {
            double d_score = prob[k] * (d_prob[k] - mean) * c->attrs->scale;
            add_rows(&c->d_in[0], r, &c->in[1], k, d_score, h);
            add_rows(&c->d_in[1], k, &c->in[0], r, d_score, h);
            add_rows(&c->d_in[2], k, &c->d_out, r, prob[k], h);
        }
    }
}

static void each_head(const struct op_call *c, void (*fn)(const struct head *))
{
    int cols = c->in[0].cols / c->attrs->heads;

    for (int d = 0; d < c->docs.count; d++)
        for (int k = 0; k < c->attrs->heads; k++) {
            struct head h = {.call = c,
                             .first = c->docs.offsets[d],
                             .tokens = c->docs.offsets[d + 1] - c->docs.offsets[d],
                             .col = k * cols,
                             .cols = cols};
            fn(&h);
        }
}

void ref_attention_forward(struct backend *b, const struct op_call *c)
{
    each_head(c, head_forward);
}

void ref_attention_backward(struct backend *b, const struct op_call *c)
{
    for (int k = 0; k < 3; k++)
        for (int r = 0; c->d_in[k].data && !(c->d_add >> k & 1) && r < c->in[k].rows; r++)
            for (int i = 0; i < c->in[k].cols; i++)
                *ref_at(&c->d_in[k], r, i) = 0;
    each_head(c, head_backward);
}

/* ---- pool ---- */

int ref_pool_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                  struct err *e)
{
    bool needs = train && (c->attrs->pool == POOL_MAX || c->attrs->pool == POOL_GEM);

    *p = (struct op_plan){.needs_in = needs ? 1 : 0};
    return op_call_check(OP_POOL, c, e);
}

/* Which token of [first, end) column i takes its maximum from: the first of equals. */
static int pool_best(const struct op_call *c, int first, int end, int i)
{
    int best = first;

    for (int t = first + 1; t < end; t++)
        if (*ref_at(&c->in[0], t, i) > *ref_at(&c->in[0], best, i))
            best = t;
    return best;
}

static double gem(const struct op_call *c, int first, int end, int i)
{
    double sum = 0;

    for (int t = first; t < end; t++)
        sum += pow(fmax(*ref_at(&c->in[0], t, i), c->attrs->eps), c->attrs->power);
    return pow(sum / (end - first), 1.0 / c->attrs->power);
}

static double pool_value(const struct op_call *c, int first, int end, int i)
{
    double sum = 0;

    switch (c->attrs->pool) {
    case POOL_MAX:
        return *ref_at(&c->in[0], pool_best(c, first, end, i), i);
    case POOL_CLS:
        return *ref_at(&c->in[0], first, i);
    case POOL_LAST:
        return *ref_at(&c->in[0], end - 1, i);
    case POOL_GEM:
        return gem(c, first, end, i);
    default:
        for (int t = first; t < end; t++)
            sum += *ref_at(&c->in[0], t, i);
        return sum / (end - first);
    }
}

void ref_pool_forward(struct backend *b, const struct op_call *c)
{
    for (int d = 0; d < c->docs.count; d++) {
        int first = c->docs.offsets[d], end = c->docs.offsets[d + 1];
        for (int i = 0; i < c->out.cols; i++)
            *ref_at(&c->out, d, i) = first == end ? 0 : (float)pool_value(c, first, end, i);
    }
}

/* Slope of document [first, end)'s pooled column i by token t. */
static double pool_slope(const struct op_call *c, int first, int end, int i, int t)
{
    double x;

    switch (c->attrs->pool) {
    case POOL_MAX:
        return t == pool_best(c, first, end, i);
    case POOL_CLS:
        return t == first;
    case POOL_LAST:
        return t == end - 1;
    case POOL_GEM:
        x = *ref_at(&c->in[0], t, i);
        if (x < c->attrs->eps)
            return 0;
        return pow(gem(c, first, end, i), 1.0 - c->attrs->power) * pow(x, c->attrs->power - 1.0) /
               (end - first);
    default:
        return 1.0 / (end - first);
    }
}

void ref_pool_backward(struct backend *b, const struct op_call *c)
{
    for (int d = 0; c->d_in[0].data && d < c->docs.count; d++) {
        int first = c->docs.offsets[d], end = c->docs.offsets[d + 1];
        for (int t = first; t < end; t++)
            for (int i = 0; i < c->out.cols; i++)
                ref_give(c, 0, t, i, *ref_at(&c->d_out, d, i) * pool_slope(c, first, end, i, t));
    }
}
