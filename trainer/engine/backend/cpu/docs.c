/* Embedding rows and pooling: ops that know where a document begins and ends. */
#include "trainer/engine/backend/cpu/kernel.h"

#include <math.h>

/* ---- embed ---- */

int ISA(cpu_embed_plan)(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
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

void ISA(cpu_embed_forward)(struct backend *b, const struct op_call *c)
{
    size_t bytes = sizeof(float) * (size_t)c->out.cols;

    for (int d = 0; d < c->docs.count; d++)
        for (int t = c->docs.offsets[d]; t < c->docs.offsets[d + 1]; t++)
            memcpy(mat_row(&c->out, t), mat_row(&c->in[0], embed_row(c, d, t)), bytes);
}

void ISA(cpu_embed_backward)(struct backend *b, const struct op_call *c)
{
    const struct mat *to = &c->d_in[0];
    int n = to->cols;

    if (!to->data)
        return;
    for (int r = 0; r < to->rows && !adds(c, 0); r++)
        memset(mat_row(to, r), 0, sizeof(float) * (size_t)n);
    for (int d = 0; d < c->docs.count; d++)
        for (int t = c->docs.offsets[d]; t < c->docs.offsets[d + 1]; t++) {
            float *row = mat_row(to, c->ids_row ? c->ids_row[t] : embed_row(c, d, t));
            for (int i = 0; i < n; i += W)
                v_give(row + i, v_load_upto(mat_row(&c->d_out, t) + i, n - i), n - i, true);
        }
}

/* ---- pool ---- */

int ISA(cpu_pool_plan)(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                       struct err *e)
{
    bool gem = train && c->attrs->pool == POOL_GEM;

    *p = (struct op_plan){.needs_in = gem ? 1 : 0, .needs_out = gem};
    if (train && c->attrs->pool == POOL_MAX) /* which token each maximum came from, int32 */
        p->saved_floats = (size_t)c->out.rows * (size_t)c->out.cols;
    return op_call_check(OP_POOL, c, e);
}

static void pool_mean(const struct op_call *c, int doc, int first, int end)
{
    float *out = mat_row(&c->out, doc);
    vf by = v_set1((float)(end - first));

    for (int i = 0, n = c->out.cols; i < n; i += W) {
        vf sum = v_zero();
        for (int t = first; t < end; t++)
            sum = v_add(sum, v_load_upto(mat_row(&c->in[0], t) + i, n - i));
        v_store_upto(out + i, v_div(sum, by), n - i);
    }
}

static void pool_max(const struct op_call *c, int doc, int first, int end)
{
    float *out = mat_row(&c->out, doc);
    int n = c->out.cols;
    int32_t *from = c->saved ? (int32_t *)(void *)c->saved + (size_t)doc * n : NULL;

    memcpy(out, mat_row(&c->in[0], first), sizeof *out * (size_t)n);
    for (int i = 0; from && i < n; i++)
        from[i] = first;
    for (int t = first + 1; t < end; t++) {
        const float *x = mat_row(&c->in[0], t);
        for (int i = 0; i < n; i++) {
            if (!(x[i] > out[i]))
                continue;
            out[i] = x[i];
            if (from)
                from[i] = t;
        }
    }
}

static float raise(float x, float power)
{
    return power == 3.0f ? x * x * x : powf(x, power);
}

static void pool_gem(const struct op_call *c, int doc, int first, int end)
{
    float *out = mat_row(&c->out, doc), p = c->attrs->power, eps = c->attrs->eps;
    int n = c->out.cols;

    memset(out, 0, sizeof *out * (size_t)n);
    for (int t = first; t < end; t++) {
        const float *x = mat_row(&c->in[0], t);
        for (int i = 0; i < n; i++)
            out[i] += raise(x[i] > eps ? x[i] : eps, p);
    }
    for (int i = 0; i < n; i++) {
        float mean = out[i] / (float)(end - first);
        out[i] = p == 3.0f ? cbrtf(mean) : powf(mean, 1 / p);
    }
}

void ISA(cpu_pool_forward)(struct backend *b, const struct op_call *c)
{
    for (int d = 0; d < c->docs.count; d++) {
        int first = c->docs.offsets[d], end = c->docs.offsets[d + 1];
        size_t bytes = sizeof(float) * (size_t)c->out.cols;
        if (first == end)
            memset(mat_row(&c->out, d), 0, bytes);
        else if (c->attrs->pool == POOL_MAX)
            pool_max(c, d, first, end);
        else if (c->attrs->pool == POOL_GEM)
            pool_gem(c, d, first, end);
        else if (c->attrs->pool == POOL_MEAN)
            pool_mean(c, d, first, end);
        else
            memcpy(mat_row(&c->out, d),
                   mat_row(&c->in[0], c->attrs->pool == POOL_LAST ? end - 1 : first), bytes);
    }
}

/* The document's rows become zero unless they are added to. */
static void pool_d_clear(const struct op_call *c, int first, int end)
{
    for (int t = first; t < end && !adds(c, 0); t++)
        memset(mat_row(&c->d_in[0], t), 0, sizeof(float) * (size_t)c->in[0].cols);
}

static void pool_d_pick(const struct op_call *c, int doc, int first, int end)
{
    const float *d = mat_row(&c->d_out, doc);
    int n = c->out.cols, row = c->attrs->pool == POOL_LAST ? end - 1 : first;
    const int32_t *from = c->attrs->pool == POOL_MAX
                              ? (const int32_t *)(const void *)c->saved + (size_t)doc * n
                              : NULL;

    pool_d_clear(c, first, end);
    for (int i = 0; i < n; i++)
        mat_row(&c->d_in[0], from ? from[i] : row)[i] += d[i];
}

static void pool_d_mean(const struct op_call *c, int doc, int first, int end)
{
    const float *d = mat_row(&c->d_out, doc);
    vf by = v_set1((float)(end - first));

    for (int i = 0, n = c->out.cols; i < n; i += W) {
        vf share = v_div(v_load_upto(d + i, n - i), by);
        for (int t = first; t < end; t++)
            v_give(mat_row(&c->d_in[0], t) + i, share, n - i, adds(c, 0));
    }
}

static void pool_d_gem(const struct op_call *c, int doc, int first, int end)
{
    const float *d = mat_row(&c->d_out, doc), *y = mat_row(&c->out, doc);
    float p = c->attrs->power, eps = c->attrs->eps, count = (float)(end - first);

    pool_d_clear(c, first, end);
    for (int i = 0; i < c->out.cols; i++) {
        float by = d[i] / count * (p == 3.0f ? 1 / (y[i] * y[i]) : powf(y[i], 1 - p));
        for (int t = first; t < end; t++) {
            float x = mat_row(&c->in[0], t)[i];
            if (x >= eps)
                mat_row(&c->d_in[0], t)[i] += by * (p == 3.0f ? x * x : powf(x, p - 1));
        }
    }
}

void ISA(cpu_pool_backward)(struct backend *b, const struct op_call *c)
{
    for (int d = 0; c->d_in[0].data && d < c->docs.count; d++) {
        int first = c->docs.offsets[d], end = c->docs.offsets[d + 1];
        if (first == end)
            continue;
        if (c->attrs->pool == POOL_MEAN)
            pool_d_mean(c, d, first, end);
        else if (c->attrs->pool == POOL_GEM)
            pool_d_gem(c, d, first, end);
        else
            pool_d_pick(c, d, first, end);
    }
}
