/* Ops that work row by row or element by element. */
#include "trainer/engine/backend/reference/reference_int.h"

#include <math.h>

static int plan(enum op_code op, const struct op_call *c, struct op_plan *p, unsigned needs_in,
                bool in_place, struct err *e)
{
    *p = (struct op_plan){.needs_in = needs_in, .in_place = in_place};
    return op_call_check(op, c, e);
}

/* ---- linear: out = act(x w + bias) ---- */

static double weight(const struct op_call *c, int in, int out)
{
    return c->attrs->w_rows_out ? *ref_at(&c->in[1], out, in) : *ref_at(&c->in[1], in, out);
}

static double preactivation(const struct op_call *c, int r, int o)
{
    double sum = c->in_count > 2 && c->in[2].data ? *ref_at(&c->in[2], 0, o) : 0;

    for (int i = 0; i < c->in[0].cols; i++)
        sum += *ref_at(&c->in[0], r, i) * weight(c, i, o);
    return sum;
}

int ref_linear_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                    struct err *e)
{
    int rc = plan(OP_LINEAR, c, p, train ? 7 : 0, false, e);

    if (rc == 0 && train)
        p->work_floats = (size_t)c->out.rows * (size_t)c->out.cols;
    return rc;
}

void ref_linear_forward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; r < c->out.rows; r++)
        for (int o = 0; o < c->out.cols; o++)
            *ref_at(&c->out, r, o) = (float)ref_act(c->attrs->act, preactivation(c, r, o));
}

static void linear_d_weight(const struct op_call *c, const float *dz)
{
    int outs = c->out.cols;

    for (int i = 0; i < c->in[0].cols; i++)
        for (int o = 0; o < outs; o++) {
            double sum = 0;
            for (int r = 0; r < c->out.rows; r++)
                sum += (double)*ref_at(&c->in[0], r, i) * dz[(size_t)r * outs + o];
            if (c->attrs->w_rows_out)
                ref_give(c, 1, o, i, sum);
            else
                ref_give(c, 1, i, o, sum);
        }
}

void ref_linear_backward(struct backend *b, const struct op_call *c)
{
    int outs = c->out.cols, rows = c->out.rows;
    float *dz = c->work; /* (R, O): gradient in front of the activation */

    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outs; o++)
            dz[(size_t)r * outs + o] =
                (float)(*ref_at(&c->d_out, r, o) *
                        (c->attrs->act == ACT_NONE
                             ? 1
                             : ref_act_slope(c->attrs->act, preactivation(c, r, o))));
    for (int r = 0; c->d_in[0].data && r < rows; r++)
        for (int i = 0; i < c->in[0].cols; i++) {
            double sum = 0;
            for (int o = 0; o < outs; o++)
                sum += dz[(size_t)r * outs + o] * weight(c, i, o);
            ref_give(c, 0, r, i, sum);
        }
    if (c->d_in[1].data)
        linear_d_weight(c, dz);
    for (int o = 0; c->in_count > 2 && c->d_in[2].data && o < outs; o++) {
        double sum = 0;
        for (int r = 0; r < rows; r++)
            sum += dz[(size_t)r * outs + o];
        ref_give(c, 2, 0, o, sum);
    }
}

/* ---- layer norm ---- */

static double norm_in(const struct op_call *c, int r, int i)
{
    double z = *ref_at(&c->in[0], r, i);

    return c->in_count > 3 && c->in[3].data ? z + *ref_at(&c->in[3], r, i) : z;
}

static void moments(const struct op_call *c, int r, double *mean, double *rstd)
{
    int cols = c->out.cols;
    double m = 0, v = 0;

    for (int i = 0; i < cols; i++)
        m += norm_in(c, r, i);
    m /= cols;
    for (int i = 0; i < cols; i++)
        v += (norm_in(c, r, i) - m) * (norm_in(c, r, i) - m);
    *mean = m;
    *rstd = 1 / sqrt(v / cols + c->attrs->eps);
}

int ref_layer_norm_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                        struct err *e)
{
    return plan(OP_LAYER_NORM, c, p, train ? 1 | 2 | 8 : 0, true, e);
}

void ref_layer_norm_forward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; r < c->out.rows; r++) {
        double mean, rstd;
        moments(c, r, &mean, &rstd);
        for (int i = 0; i < c->out.cols; i++)
            *ref_at(&c->out, r, i) =
                (float)((norm_in(c, r, i) - mean) * rstd * *ref_at(&c->in[1], 0, i) +
                        *ref_at(&c->in[2], 0, i));
    }
}

static void layer_norm_d_row(const struct op_call *c, int r)
{
    int cols = c->out.cols;
    double mean, rstd, sum = 0, dot = 0;

    moments(c, r, &mean, &rstd);
    for (int i = 0; i < cols; i++) {
        double d = (double)*ref_at(&c->d_out, r, i) * *ref_at(&c->in[1], 0, i);
        sum += d;
        dot += d * (norm_in(c, r, i) - mean) * rstd;
    }
    for (int i = 0; i < cols; i++) {
        double d = (double)*ref_at(&c->d_out, r, i) * *ref_at(&c->in[1], 0, i);
        double hat = (norm_in(c, r, i) - mean) * rstd;
        double dz = rstd * (d - sum / cols - hat * dot / cols);
        if (c->d_in[0].data)
            ref_give(c, 0, r, i, dz);
        if (c->in_count > 3 && c->d_in[3].data)
            ref_give(c, 3, r, i, dz);
    }
}

void ref_layer_norm_backward(struct backend *b, const struct op_call *c)
{
    for (int i = 0; i < c->out.cols && (c->d_in[1].data || c->d_in[2].data); i++) {
        double dgamma = 0, dbeta = 0;
        for (int r = 0; r < c->out.rows; r++) {
            double mean, rstd;
            moments(c, r, &mean, &rstd);
            dgamma += *ref_at(&c->d_out, r, i) * (norm_in(c, r, i) - mean) * rstd;
            dbeta += *ref_at(&c->d_out, r, i);
        }
        if (c->d_in[1].data)
            ref_give(c, 1, 0, i, dgamma);
        if (c->d_in[2].data)
            ref_give(c, 2, 0, i, dbeta);
    }
    for (int r = 0; r < c->out.rows; r++)
        layer_norm_d_row(c, r);
}

/* ---- activation, affine ---- */

int ref_act_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                 struct err *e)
{
    return plan(OP_ACT, c, p, train ? 1 : 0, true, e);
}

void ref_act_forward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; r < c->out.rows; r++)
        for (int i = 0; i < c->out.cols; i++)
            *ref_at(&c->out, r, i) = (float)ref_act(c->attrs->act, *ref_at(&c->in[0], r, i));
}

void ref_act_backward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; c->d_in[0].data && r < c->out.rows; r++)
        for (int i = 0; i < c->out.cols; i++)
            ref_give(c, 0, r, i,
                     *ref_at(&c->d_out, r, i) *
                         ref_act_slope(c->attrs->act, *ref_at(&c->in[0], r, i)));
}

int ref_affine_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                    struct err *e)
{
    return plan(OP_AFFINE, c, p, 0, true, e);
}

void ref_affine_forward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; r < c->out.rows; r++)
        for (int i = 0; i < c->out.cols; i++)
            *ref_at(&c->out, r, i) =
                (float)((double)c->attrs->scale * *ref_at(&c->in[0], r, i) + c->attrs->shift);
}

void ref_affine_backward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; c->d_in[0].data && r < c->out.rows; r++)
        for (int i = 0; i < c->out.cols; i++)
            ref_give(c, 0, r, i, (double)c->attrs->scale * *ref_at(&c->d_out, r, i));
}

/* ---- add, sub, mul, div with a broadcast right side ---- */

static double right(const struct op_call *c, int r, int i)
{
    return *ref_at(&c->in[1], c->in[1].rows == 1 ? 0 : r, c->in[1].cols == 1 ? 0 : i);
}

/* Value and slopes by a and b. */
static double pair_value(enum op_code op, double a, double b, double *by_a, double *by_b)
{
    switch (op) {
    case OP_SUB:
        *by_a = 1;
        *by_b = -1;
        return a - b;
    case OP_MUL:
        *by_a = b;
        *by_b = a;
        return a * b;
    case OP_DIV:
        *by_a = 1 / b;
        *by_b = -a / (b * b);
        return a / b;
    default:
        *by_a = 1;
        *by_b = 1;
        return a + b;
    }
}

static void pair_forward(enum op_code op, const struct op_call *c)
{
    double by_a, by_b;

    for (int r = 0; r < c->out.rows; r++)
        for (int i = 0; i < c->out.cols; i++)
            *ref_at(&c->out, r, i) =
                (float)pair_value(op, *ref_at(&c->in[0], r, i), right(c, r, i), &by_a, &by_b);
}

/* The gradient of element (br, bi) of the right side: a sum over all that it was broadcast to. */
static double pair_d_right(enum op_code op, const struct op_call *c, int br, int bi)
{
    const struct mat *b = &c->in[1];
    int r0 = b->rows == 1 ? 0 : br, r1 = b->rows == 1 ? c->out.rows : br + 1;
    int i0 = b->cols == 1 ? 0 : bi, i1 = b->cols == 1 ? c->out.cols : bi + 1;
    double sum = 0, by_a, by_b;

    for (int r = r0; r < r1; r++)
        for (int i = i0; i < i1; i++) {
            pair_value(op, *ref_at(&c->in[0], r, i), right(c, r, i), &by_a, &by_b);
            sum += *ref_at(&c->d_out, r, i) * by_b;
        }
    return sum;
}

static void pair_backward(enum op_code op, const struct op_call *c)
{
    bool uses_values = op == OP_MUL || op == OP_DIV;
    double by_a = 1, by_b;

    for (int r = 0; c->d_in[0].data && r < c->out.rows; r++)
        for (int i = 0; i < c->out.cols; i++) {
            if (uses_values)
                pair_value(op, *ref_at(&c->in[0], r, i), right(c, r, i), &by_a, &by_b);
            ref_give(c, 0, r, i, *ref_at(&c->d_out, r, i) * by_a);
        }
    for (int r = 0; c->d_in[1].data && r < c->in[1].rows; r++)
        for (int i = 0; i < c->in[1].cols; i++)
            ref_give(c, 1, r, i, pair_d_right(op, c, r, i));
}

#define PAIR(name, code)                                                                           \
    int ref_##name##_plan(struct backend *b, const struct op_call *c, bool train,                  \
                          struct op_plan *p, struct err *e)                                        \
    {                                                                                              \
        return plan(code, c, p, train ? 3 : 0, true, e);                                           \
    }                                                                                              \
    void ref_##name##_forward(struct backend *b, const struct op_call *c)                          \
    {                                                                                              \
        pair_forward(code, c);                                                                     \
    }                                                                                              \
    void ref_##name##_backward(struct backend *b, const struct op_call *c)                         \
    {                                                                                              \
        pair_backward(code, c);                                                                    \
    }

PAIR(add, OP_ADD)
PAIR(sub, OP_SUB)
PAIR(mul, OP_MUL)
PAIR(div, OP_DIV)

/* ---- L2 norm ---- */

int ref_l2_norm_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                     struct err *e)
{
    return plan(OP_L2_NORM, c, p, train ? 1 : 0, true, e);
}

static double length(const struct op_call *c, int r)
{
    double sum = 0;

    for (int i = 0; i < c->in[0].cols; i++)
        sum += (double)*ref_at(&c->in[0], r, i) * *ref_at(&c->in[0], r, i);
    return sqrt(sum);
}

void ref_l2_norm_forward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; r < c->out.rows; r++) {
        double by = fmax(length(c, r), c->attrs->eps);
        for (int i = 0; i < c->out.cols; i++)
            *ref_at(&c->out, r, i) = (float)(*ref_at(&c->in[0], r, i) / by);
    }
}

void ref_l2_norm_backward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; c->d_in[0].data && r < c->out.rows; r++) {
        double len = length(c, r), by = fmax(len, c->attrs->eps), dot = 0;
        for (int i = 0; i < c->out.cols && len >= c->attrs->eps && len > 0; i++)
            dot += *ref_at(&c->d_out, r, i) * (*ref_at(&c->in[0], r, i) / by);
        for (int i = 0; i < c->out.cols; i++)
            ref_give(c, 0, r, i,
                     (*ref_at(&c->d_out, r, i) - dot * (*ref_at(&c->in[0], r, i) / by)) / by);
    }
}

/* ---- columns ---- */

int ref_slice_cols_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                        struct err *e)
{
    return plan(OP_SLICE_COLS, c, p, 0, false, e);
}

void ref_slice_cols_forward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; r < c->out.rows; r++)
        for (int i = 0; i < c->out.cols; i++)
            *ref_at(&c->out, r, i) = *ref_at(&c->in[0], r, c->attrs->begin + i);
}

void ref_slice_cols_backward(struct backend *b, const struct op_call *c)
{
    for (int r = 0; c->d_in[0].data && r < c->in[0].rows; r++)
        for (int i = 0; i < c->in[0].cols; i++) {
            int o = i - c->attrs->begin;
            ref_give(c, 0, r, i, o >= 0 && o < c->attrs->count ? *ref_at(&c->d_out, r, o) : 0);
        }
}

int ref_concat_cols_plan(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                         struct err *e)
{
    return plan(OP_CONCAT_COLS, c, p, 0, false, e);
}

void ref_concat_cols_forward(struct backend *b, const struct op_call *c)
{
    for (int k = 0, begin = 0; k < c->in_count; begin += c->in[k++].cols)
        for (int r = 0; r < c->out.rows; r++)
            for (int i = 0; i < c->in[k].cols; i++)
                *ref_at(&c->out, r, begin + i) = *ref_at(&c->in[k], r, i);
}

void ref_concat_cols_backward(struct backend *b, const struct op_call *c)
{
    for (int k = 0, begin = 0; k < c->in_count; begin += c->in[k++].cols)
        for (int r = 0; c->d_in[k].data && r < c->out.rows; r++)
            for (int i = 0; i < c->in[k].cols; i++)
                ref_give(c, k, r, i, *ref_at(&c->d_out, r, begin + i));
}
