/* Element by element: activations, arithmetic with a broadcast right side, columns; and column
 * sums. */
#include "trainer/engine/backend/cpu/kernel.h"

void ISA(cpu_col_sums)(const float *x, ptrdiff_t ld, int rows, int n, float *to, bool add)
{
    for (int j = 0; j < n; j += W) {
        int k = n - j;
        vf total = v_zero();
        for (int r = 0; r < rows;) {
            vf part = v_zero();
            for (int end = rows - r < SUM_ROWS ? rows : r + SUM_ROWS; r < end; r++)
                part = v_add(part, v_load_upto(x + r * ld + j, k));
            total = v_add(total, part);
        }
        v_give(to + j, total, k, add);
    }
}

/* ---- activation, affine ---- */

int ISA(cpu_act_plan)(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                      struct err *e)
{
    *p = (struct op_plan){.needs_in = train ? 1 : 0, .in_place = true};
    return op_call_check(OP_ACT, c, e);
}

SIMD_INLINE void act_rows(const struct op_call *c, enum act act, bool backward)
{
    int n = c->out.cols;

    for (int r = 0; r < c->out.rows; r++) {
        const float *x = mat_row(&c->in[0], r);
        for (int i = 0; i < n; i += W) {
            vf slope, y = v_act(act, v_load_upto(x + i, n - i), &slope);
            if (backward)
                v_give(mat_row(&c->d_in[0], r) + i,
                       v_mul(slope, v_load_upto(mat_row(&c->d_out, r) + i, n - i)), n - i,
                       adds(c, 0));
            else
                v_store_upto(mat_row(&c->out, r) + i, y, n - i);
        }
    }
}

void ISA(cpu_act_forward)(struct backend *b, const struct op_call *c)
{
    act_rows(c, c->attrs->act, false);
}

void ISA(cpu_act_backward)(struct backend *b, const struct op_call *c)
{
    if (c->d_in[0].data)
        act_rows(c, c->attrs->act, true);
}

int ISA(cpu_affine_plan)(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                         struct err *e)
{
    *p = (struct op_plan){.in_place = true};
    return op_call_check(OP_AFFINE, c, e);
}

void ISA(cpu_affine_forward)(struct backend *b, const struct op_call *c)
{
    int n = c->out.cols;
    vf scale = v_set1(c->attrs->scale), shift = v_set1(c->attrs->shift);

    for (int r = 0; r < c->out.rows; r++)
        for (int i = 0; i < n; i += W)
            v_store_upto(mat_row(&c->out, r) + i,
                         v_fma(scale, v_load_upto(mat_row(&c->in[0], r) + i, n - i), shift), n - i);
}

void ISA(cpu_affine_backward)(struct backend *b, const struct op_call *c)
{
    int n = c->out.cols;
    vf scale = v_set1(c->attrs->scale);

    for (int r = 0; c->d_in[0].data && r < c->out.rows; r++)
        for (int i = 0; i < n; i += W)
            v_give(mat_row(&c->d_in[0], r) + i,
                   v_mul(scale, v_load_upto(mat_row(&c->d_out, r) + i, n - i)), n - i, adds(c, 0));
}

/* ---- add, sub, mul, div ---- */

/* n lanes of the right side at (r, i). */
SIMD_INLINE vf right(const struct mat *b, int r, int i, int n)
{
    const float *row = mat_row(b, b->rows == 1 ? 0 : r);

    return b->cols == 1 ? v_set1(row[0]) : v_load_upto(row + i, n);
}

SIMD_INLINE vf pair_value(enum op_code op, vf a, vf b)
{
    return op == OP_ADD   ? v_add(a, b)
           : op == OP_SUB ? v_sub(a, b)
           : op == OP_MUL ? v_mul(a, b)
                          : v_div(a, b);
}

SIMD_INLINE void pair_forward(enum op_code op, const struct op_call *c)
{
    int n = c->out.cols;

    for (int r = 0; r < c->out.rows; r++)
        for (int i = 0; i < n; i += W)
            v_store_upto(mat_row(&c->out, r) + i,
                         pair_value(op, v_load_upto(mat_row(&c->in[0], r) + i, n - i),
                                    right(&c->in[1], r, i, n - i)),
                         n - i);
}

SIMD_INLINE void pair_d_left(enum op_code op, const struct op_call *c)
{
    int n = c->out.cols;

    for (int r = 0; r < c->out.rows; r++)
        for (int i = 0; i < n; i += W) {
            vf d = v_load_upto(mat_row(&c->d_out, r) + i, n - i);
            if (op == OP_MUL)
                d = v_mul(d, right(&c->in[1], r, i, n - i));
            if (op == OP_DIV)
                d = v_div(d, right(&c->in[1], r, i, n - i));
            v_give(mat_row(&c->d_in[0], r) + i, d, n - i, adds(c, 0));
        }
}

/* d_out times the slope by b at (r, i); lanes beyond n are 0. */
SIMD_INLINE vf pair_by_right(enum op_code op, const struct op_call *c, int r, int i, int n)
{
    vf d = v_load_upto(mat_row(&c->d_out, r) + i, n), a, b;

    if (op == OP_ADD)
        return d;
    if (op == OP_SUB)
        return v_sub(v_zero(), d);
    a = v_load_upto(mat_row(&c->in[0], r) + i, n);
    if (op == OP_MUL)
        return v_mul(d, a);
    b = right(&c->in[1], r, i, n);
    return v_keep(v_div(v_mul(v_sub(v_zero(), d), v_div(a, b)), b), n, 0);
}

/* The right side is one row: sums over rows, in blocks. */
SIMD_INLINE void pair_d_row(enum op_code op, const struct op_call *c)
{
    int n = c->out.cols, rows = c->out.rows;

    for (int i = 0; i < n; i += W) {
        vf total = v_zero();
        for (int r = 0; r < rows;) {
            vf part = v_zero();
            for (int end = rows - r < SUM_ROWS ? rows : r + SUM_ROWS; r < end; r++)
                part = v_add(part, pair_by_right(op, c, r, i, n - i));
            total = v_add(total, part);
        }
        v_give(c->d_in[1].data + i, total, n - i, adds(c, 1));
    }
}

/* The right side is one column, or one number. */
SIMD_INLINE void pair_d_column(enum op_code op, const struct op_call *c)
{
    int n = c->out.cols;
    double all = 0;

    for (int r = 0; r < c->out.rows; r++) {
        vf sum = v_zero();
        for (int i = 0; i < n; i += W)
            sum = v_add(sum, pair_by_right(op, c, r, i, n - i));
        if (c->in[1].rows == 1) {
            all += v_sum(sum);
            continue;
        }
        float *to = mat_row(&c->d_in[1], r);
        *to = adds(c, 1) ? *to + v_sum(sum) : v_sum(sum);
    }
    if (c->in[1].rows == 1)
        c->d_in[1].data[0] = (float)(adds(c, 1) ? c->d_in[1].data[0] + all : all);
}

SIMD_INLINE void pair_backward(enum op_code op, const struct op_call *c)
{
    int n = c->out.cols;

    if (c->d_in[0].data)
        pair_d_left(op, c);
    if (!c->d_in[1].data)
        return;
    if (c->in[1].cols == 1 && n > 1) {
        pair_d_column(op, c);
    } else if (c->in[1].rows == 1) {
        pair_d_row(op, c);
    } else {
        for (int r = 0; r < c->out.rows; r++)
            for (int i = 0; i < n; i += W)
                v_give(mat_row(&c->d_in[1], r) + i, pair_by_right(op, c, r, i, n - i), n - i,
                       adds(c, 1));
    }
}

#define PAIR(name, code, needs)                                                                    \
    int ISA(cpu_##name##_plan)(struct backend * b, const struct op_call *c, bool train,            \
                               struct op_plan *p, struct err *e)                                   \
    {                                                                                              \
        *p = (struct op_plan){.needs_in = train ? (needs) : 0, .in_place = true};                  \
        return op_call_check(code, c, e);                                                          \
    }                                                                                              \
    void ISA(cpu_##name##_forward)(struct backend * b, const struct op_call *c)                    \
    {                                                                                              \
        pair_forward(code, c);                                                                     \
    }                                                                                              \
    void ISA(cpu_##name##_backward)(struct backend * b, const struct op_call *c)                   \
    {                                                                                              \
        pair_backward(code, c);                                                                    \
    }

PAIR(add, OP_ADD, 0)
PAIR(sub, OP_SUB, 0)
PAIR(mul, OP_MUL, 3)
PAIR(div, OP_DIV, 3)

/* ---- columns ---- */

int ISA(cpu_slice_cols_plan)(struct backend *b, const struct op_call *c, bool train,
                             struct op_plan *p, struct err *e)
{
    *p = (struct op_plan){0};
    return op_call_check(OP_SLICE_COLS, c, e);
}

void ISA(cpu_slice_cols_forward)(struct backend *b, const struct op_call *c)
{
    for (int r = 0; r < c->out.rows; r++)
        memcpy(mat_row(&c->out, r), mat_row(&c->in[0], r) + c->attrs->begin,
               sizeof(float) * (size_t)c->out.cols);
}

static void row_give(float *to, const float *from, int n, bool add)
{
    for (int i = 0; i < n; i += W)
        v_give(to + i, v_load_upto(from + i, n - i), n - i, add);
}

void ISA(cpu_slice_cols_backward)(struct backend *b, const struct op_call *c)
{
    for (int r = 0; c->d_in[0].data && r < c->out.rows; r++) {
        float *to = mat_row(&c->d_in[0], r);
        if (!adds(c, 0))
            memset(to, 0, sizeof *to * (size_t)c->in[0].cols);
        row_give(to + c->attrs->begin, mat_row(&c->d_out, r), c->out.cols, adds(c, 0));
    }
}

int ISA(cpu_concat_cols_plan)(struct backend *b, const struct op_call *c, bool train,
                              struct op_plan *p, struct err *e)
{
    *p = (struct op_plan){0};
    return op_call_check(OP_CONCAT_COLS, c, e);
}

void ISA(cpu_concat_cols_forward)(struct backend *b, const struct op_call *c)
{
    for (int k = 0, begin = 0; k < c->in_count; begin += c->in[k++].cols)
        for (int r = 0; r < c->out.rows; r++)
            memcpy(mat_row(&c->out, r) + begin, mat_row(&c->in[k], r),
                   sizeof(float) * (size_t)c->in[k].cols);
}

void ISA(cpu_concat_cols_backward)(struct backend *b, const struct op_call *c)
{
    for (int k = 0, begin = 0; k < c->in_count; begin += c->in[k++].cols)
        for (int r = 0; c->d_in[k].data && r < c->out.rows; r++)
            row_give(mat_row(&c->d_in[k], r), mat_row(&c->d_out, r) + begin, c->in[k].cols,
                     adds(c, k));
}
