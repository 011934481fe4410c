/* The oracle's table: memory, lanes one after another, sums, optimisers, and the ops' names. */
#include "trainer/engine/backend/reference/reference_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void ref_free(struct backend *b)
{
    free(b);
}

static int ref_alloc(struct backend *b, size_t bytes, void **out, struct err *e)
{
    size_t size = (bytes + 63) & ~(size_t)63;

    *out = size < bytes ? NULL : aligned_alloc(64, size ? size : 64);
    if (!*out)
        return err_set(e, ERR_NOMEM, "reference backend: %zu bytes", bytes);
    memset(*out, 0, size);
    return 0;
}

static void ref_release(struct backend *b, void *memory)
{
    free(memory);
}

static void ref_copy(struct backend *b, void *to, const void *from, size_t bytes)
{
    if (bytes)
        memcpy(to, from, bytes);
}

static void ref_zero(struct backend *b, void *to, size_t bytes)
{
    if (bytes)
        memset(to, 0, bytes);
}

static void ref_run_lanes(struct backend *b, int lanes, void (*fn)(void *arg, int lane), void *arg)
{
    for (int i = 0; i < lanes; i++)
        fn(arg, i);
}

static void *ref_cache_new(struct backend *b)
{
    return calloc(1, 1); /* nothing is cached; never NULL means never out of memory */
}

static void ref_cache_free(struct backend *b, void *cache)
{
    free(cache);
}

static void ref_sum(struct backend *b, float *out, const float *const *parts, int part_count,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (int k = 0; k < part_count; k++)
            sum += parts[k][i];
        out[i] = (float)sum;
    }
}

static double ref_sum_squares(struct backend *b, const float *x, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

static void sgd_step(const struct optim *o, const struct optim_range *r)
{
    for (size_t i = 0; i < r->count; i++) {
        double g = (double)r->grad[i] * r->grad_scale + (double)r->decay * r->param[i];
        double m = o->step == 1 ? g : (double)o->beta1 * r->m[i] + g;
        r->m[i] = (float)m;
        r->param[i] = (float)(r->param[i] - r->lr * m);
    }
}

static void ref_optim_step(struct backend *b, const struct optim *o, const struct optim_range *r)
{
    double fix1 = 1 - pow(o->beta1, (double)o->step), fix2 = 1 - pow(o->beta2, (double)o->step);

    if (o->kind == OPTIM_SGD) {
        sgd_step(o, r);
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        double p = r->param[i], g = (double)r->grad[i] * r->grad_scale, m, v;
        if (o->kind == OPTIM_ADAM)
            g += r->decay * p;
        else
            p *= 1 - (double)r->lr * r->decay;
        m = o->beta1 * (double)r->m[i] + (1 - (double)o->beta1) * g;
        v = o->beta2 * (double)r->v[i] + (1 - (double)o->beta2) * g * g;
        r->m[i] = (float)m;
        r->v[i] = (float)v;
        r->param[i] = (float)(p - r->lr / fix1 * m / (sqrt(v) / sqrt(fix2) + o->eps));
    }
}

static void ref_gemm(struct backend *b, bool ta, bool tb, int m, int n, int k, float alpha,
                     const float *a, int lda, const float *bm, int ldb, float beta, float *c,
                     int ldc)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                sum += (double)(ta ? a[(size_t)l * lda + i] : a[(size_t)i * lda + l]) *
                       (tb ? bm[(size_t)j * ldb + l] : bm[(size_t)l * ldb + j]);
            float *to = &c[(size_t)i * ldc + j];
            *to = (float)(alpha * sum + (beta == 0 ? 0 : (double)beta * *to));
        }
}

#define REF_IMPL(name)                                                                             \
    {                                                                                              \
        ref_##name##_plan, ref_##name##_forward, ref_##name##_backward                             \
    }

static const struct backend_ops reference_ops = {
    .name = "reference",
    .free = ref_free,
    .alloc = ref_alloc,
    .release = ref_release,
    .upload = ref_copy,
    .download = ref_copy,
    .zero = ref_zero,
    .run_lanes = ref_run_lanes,
    .cache_new = ref_cache_new,
    .cache_free = ref_cache_free,
    .sum = ref_sum,
    .sum_squares = ref_sum_squares,
    .optim_step = ref_optim_step,
    .gemm = ref_gemm,
    .op =
        {
            [OP_EMBED] = REF_IMPL(embed),
            [OP_LINEAR] = REF_IMPL(linear),
            [OP_LAYER_NORM] = REF_IMPL(layer_norm),
            [OP_ATTENTION] = REF_IMPL(attention),
            [OP_ACT] = REF_IMPL(act),
            [OP_ADD] = REF_IMPL(add),
            [OP_SUB] = REF_IMPL(sub),
            [OP_MUL] = REF_IMPL(mul),
            [OP_DIV] = REF_IMPL(div),
            [OP_AFFINE] = REF_IMPL(affine),
            [OP_POOL] = REF_IMPL(pool),
            [OP_L2_NORM] = REF_IMPL(l2_norm),
            [OP_SLICE_COLS] = REF_IMPL(slice_cols),
            [OP_CONCAT_COLS] = REF_IMPL(concat_cols),
        },
};

int backend_reference(struct backend **out, const struct backend_options *options, struct err *e)
{
    struct backend *b = calloc(1, sizeof *b);

    if (!b)
        return err_set(e, ERR_NOMEM, "reference backend");
    b->ops = &reference_ops;
    b->fingerprint = "reference";
    *out = b;
    return 0;
}
