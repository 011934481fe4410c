/*
 * Layer norm (with the residual it follows) and L2 norm, row by row.
 *
 * Layer norm saves the normalised rows and 1 / sigma: its input may then die,
 * and the output may lie in its memory.
 */
#include "trainer/engine/backend/cpu/kernel.h"

#include <math.h>

/* ---- layer norm ---- */

int ISA(cpu_layer_norm_plan)(struct backend *b, const struct op_call *c, bool train,
                             struct op_plan *p, struct err *e)
{
    size_t rows = (size_t)c->out.rows, cols = (size_t)c->out.cols;

    *p = (struct op_plan){.in_place = true};
    if (train) {
        p->needs_in = 2;
        p->saved_floats = rows * cols + rows;
        p->work_floats = 4 * cols;
    }
    return op_call_check(OP_LAYER_NORM, c, e);
}

/* z = x + r into `z`; returns its mean. */
static float norm_sum_row(const float *x, const float *r, float *z, int n)
{
    vf sum = v_zero();

    for (int i = 0; i < n; i += W) {
        vf v = v_load_upto(x + i, n - i);
        if (r)
            v = v_add(v, v_load_upto(r + i, n - i));
        v_store_upto(z + i, v, n - i);
        sum = v_add(sum, v);
    }
    return v_sum(sum) / (float)n;
}

static float norm_rstd(const float *z, float mean, float eps, int n)
{
    vf sum = v_zero(), m = v_set1(mean);
    int i = 0;

    for (; i + W <= n; i += W) {
        vf d = v_sub(v_load(z + i), m);
        sum = v_fma(d, d, sum);
    }
    if (i < n) {
        vf d = v_keep(v_sub(v_load_n(z + i, n - i), m), n - i, 0);
        sum = v_fma(d, d, sum);
    }
    return 1 / sqrtf(v_sum(sum) / (float)n + eps);
}

void ISA(cpu_layer_norm_forward)(struct backend *b, const struct op_call *c)
{
    int n = c->out.cols, rows = c->out.rows;
    const float *gamma = c->in[1].data, *beta = c->in[2].data;
    bool residual = c->in_count > 3 && c->in[3].data;

    for (int r = 0; r < rows; r++) {
        float *out = mat_row(&c->out, r), mean, rstd;
        float *hat = c->saved ? c->saved + (size_t)r * n : out; /* z first, then (z - mean) rstd */
        mean = norm_sum_row(mat_row(&c->in[0], r), residual ? mat_row(&c->in[3], r) : NULL, hat, n);
        rstd = norm_rstd(hat, mean, c->attrs->eps, n);
        for (int i = 0; i < n; i += W) {
            int k = n - i;
            vf h = v_mul(v_sub(v_load_upto(hat + i, k), v_set1(mean)), v_set1(rstd));
            if (c->saved)
                v_store_upto(hat + i, h, k);
            v_store_upto(out + i, v_fma(h, v_load_upto(gamma + i, k), v_load_upto(beta + i, k)), k);
        }
        if (c->saved)
            c->saved[(size_t)rows * n + r] = rstd;
    }
}

/* sums[0] = sum of d gamma, sums[1] = sum of d gamma hat; adds d hat and d to the partial sums. */
static void norm_d_sums(const float *d, const float *hat, const float *gamma, int n, float *part,
                        float sums[2])
{
    vf s0 = v_zero(), s1 = v_zero();

    for (int i = 0; i < n; i += W) {
        int k = n - i;
        vf x = v_load_upto(d + i, k), h = v_load_upto(hat + i, k);
        vf y = v_mul(x, v_load_upto(gamma + i, k));
        s0 = v_add(s0, y);
        s1 = v_fma(y, h, s1);
        v_store_upto(part + i, v_fma(x, h, v_load_upto(part + i, k)), k);
        v_store_upto(part + n + i, v_add(x, v_load_upto(part + n + i, k)), k);
    }
    sums[0] = v_sum(s0) / (float)n;
    sums[1] = v_sum(s1) / (float)n;
}

static void norm_d_row(const struct op_call *c, int r, const float *hat, float rstd,
                       const float sums[2])
{
    const float *d = mat_row(&c->d_out, r), *gamma = c->in[1].data;
    float *dx = c->d_in[0].data ? mat_row(&c->d_in[0], r) : NULL;
    float *dr = c->in_count > 3 && c->d_in[3].data ? mat_row(&c->d_in[3], r) : NULL;
    int n = c->out.cols;

    for (int i = 0; i < n; i += W) {
        int k = n - i;
        vf y = v_mul(v_load_upto(d + i, k), v_load_upto(gamma + i, k));
        vf z = v_sub(v_fnma(v_load_upto(hat + i, k), v_set1(sums[1]), y), v_set1(sums[0]));
        z = v_mul(z, v_set1(rstd));
        if (dx)
            v_give(dx + i, z, k, adds(c, 0));
        if (dr)
            v_give(dr + i, z, k, adds(c, 3));
    }
}

/* total += part; part = 0. */
static void norm_flush(float *total, float *part, int n)
{
    for (int i = 0; i < n; i += W) {
        v_store_upto(total + i, v_add(v_load_upto(total + i, n - i), v_load_upto(part + i, n - i)),
                     n - i);
        v_store_upto(part + i, v_zero(), n - i);
    }
}

void ISA(cpu_layer_norm_backward)(struct backend *b, const struct op_call *c)
{
    int n = c->out.cols, rows = c->out.rows;
    float *total = c->work, *part = c->work + 2 * (size_t)n; /* each (2, C): dgamma, dbeta */

    memset(c->work, 0, sizeof(float) * 4 * (size_t)n);
    for (int r = 0; r < rows; r++) {
        const float *hat = c->saved + (size_t)r * n;
        float sums[2];
        norm_d_sums(mat_row(&c->d_out, r), hat, c->in[1].data, n, part, sums);
        norm_d_row(c, r, hat, c->saved[(size_t)rows * n + r], sums);
        if ((r + 1) % SUM_ROWS == 0 || r + 1 == rows)
            norm_flush(total, part, 2 * n);
    }
    for (int k = 0; k < 2; k++)
        for (int i = 0; c->d_in[1 + k].data && i < n; i += W)
            v_give(c->d_in[1 + k].data + i, v_load_upto(total + (size_t)k * n + i, n - i), n - i,
                   adds(c, 1 + k));
}

/* ---- L2 norm ---- */

int ISA(cpu_l2_norm_plan)(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                          struct err *e)
{
    *p = (struct op_plan){
        .in_place = true,
        .needs_out = train,
        .saved_floats = train ? (size_t)c->out.rows : 0, /* 1 / length; -1 / eps below eps */
    };
    return op_call_check(OP_L2_NORM, c, e);
}

static float row_dot(const float *a, const float *b, int n)
{
    vf sum = v_zero();

    for (int i = 0; i < n; i += W)
        sum = v_fma(v_load_upto(a + i, n - i), v_load_upto(b + i, n - i), sum);
    return v_sum(sum);
}

void ISA(cpu_l2_norm_forward)(struct backend *b, const struct op_call *c)
{
    int n = c->out.cols;

    for (int r = 0; r < c->out.rows; r++) {
        const float *x = mat_row(&c->in[0], r);
        float *out = mat_row(&c->out, r), len = sqrtf(row_dot(x, x, n)), eps = c->attrs->eps;
        bool scaled = len >= eps && len > 0;
        vf by = v_set1(scaled ? len : eps);
        for (int i = 0; i < n; i += W)
            v_store_upto(out + i, v_div(v_load_upto(x + i, n - i), by), n - i);
        if (c->saved)
            c->saved[r] = scaled ? 1 / len : -1 / eps;
    }
}

void ISA(cpu_l2_norm_backward)(struct backend *b, const struct op_call *c)
{
    int n = c->out.cols;

    for (int r = 0; c->d_in[0].data && r < c->out.rows; r++) {
        const float *y = mat_row(&c->out, r), *d = mat_row(&c->d_out, r);
        float *to = mat_row(&c->d_in[0], r), by = fabsf(c->saved[r]);
        vf dot = v_set1(c->saved[r] > 0 ? row_dot(y, d, n) : 0);
        for (int i = 0; i < n; i += W)
            v_give(to + i,
                   v_mul(v_fnma(dot, v_load_upto(y + i, n - i), v_load_upto(d + i, n - i)),
                         v_set1(by)),
                   n - i, adds(c, 0));
    }
}
