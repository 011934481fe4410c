/*
 * out = act(x w + bias). Forward leaves the activation's slope in `saved`, so
 * that backward is one multiplication and two products:
 *   dz = d_out * slope, dx = dz w^T, dw = x^T dz, dbias = column sums of dz.
 */
#include "trainer/engine/backend/cpu/kernel.h"

static bool slope_saved(enum act act)
{
    return act != ACT_NONE;
}

static size_t round64(size_t floats) /* keeps what follows 64-byte aligned */
{
    return (floats + 15) & ~(size_t)15;
}

int ISA(cpu_linear_plan)(struct backend *b, const struct op_call *c, bool train, struct op_plan *p,
                         struct err *e)
{
    int ins = c->in[0].cols, outs = c->out.cols, rows = c->out.rows, rc;
    size_t elements;

    *p = (struct op_plan){0};
    if ((rc = op_call_check(OP_LINEAR, c, e)) < 0)
        return rc;
    elements = (size_t)rows * (size_t)outs;
    p->work_floats = gemm_own_work(outs > ins ? outs : ins);
    if (!train)
        return 0;
    p->needs_in = 1 | 2;
    if (slope_saved(c->attrs->act)) {
        p->saved_floats = elements;
        p->work_floats += round64(elements);
    }
    return 0;
}

void ISA(cpu_linear_forward)(struct backend *b, const struct op_call *c)
{
    const struct cpu *cpu = (const struct cpu *)b;
    const struct mat *x = &c->in[0], *w = &c->in[1];
    struct gemm g = {
        .tb = c->attrs->w_rows_out,
        .m = x->rows,
        .n = c->out.cols,
        .k = x->cols,
        .alpha = 1,
        .a = x->data,
        .lda = x->ld,
        .b = w->data,
        .ldb = w->ld,
        .c = c->out.data,
        .ldc = c->out.ld,
        .finish = true,
        .bias = c->in_count > 2 ? c->in[2].data : NULL,
        .act = c->attrs->act,
        .slope = slope_saved(c->attrs->act) ? c->saved : NULL,
    };

    cpu_gemm(cpu, &g, c->work);
}

/* dz (R, O) dense into `to`. */
static void linear_dz(const struct op_call *c, float *to)
{
    int n = c->out.cols;

    for (int r = 0; r < c->out.rows; r++) {
        const float *d = mat_row(&c->d_out, r), *s = c->saved + (size_t)r * n;
        for (int i = 0; i < n; i += W)
            v_store_upto(to + (size_t)r * n + i,
                         v_mul(v_load_upto(d + i, n - i), v_load_upto(s + i, n - i)), n - i);
    }
}

static void linear_dx(const struct cpu *cpu, const struct op_call *c, const struct mat *dz,
                      float *work)
{
    struct gemm g = {
        .tb = !c->attrs->w_rows_out,
        .m = dz->rows,
        .n = c->in[0].cols,
        .k = dz->cols,
        .alpha = 1,
        .beta = adds(c, 0) ? 1 : 0,
        .a = dz->data,
        .lda = dz->ld,
        .b = c->in[1].data,
        .ldb = c->in[1].ld,
        .c = c->d_in[0].data,
        .ldc = c->d_in[0].ld,
    };

    cpu_gemm(cpu, &g, work);
}

static void linear_dw(const struct cpu *cpu, const struct op_call *c, const struct mat *dz,
                      float *work)
{
    const struct mat *left = c->attrs->w_rows_out ? dz : &c->in[0];
    const struct mat *right = c->attrs->w_rows_out ? &c->in[0] : dz;
    struct gemm g = {
        .ta = true,
        .m = left->cols,
        .n = right->cols,
        .k = left->rows,
        .alpha = 1,
        .beta = adds(c, 1) ? 1 : 0,
        .a = left->data,
        .lda = left->ld,
        .b = right->data,
        .ldb = right->ld,
        .c = c->d_in[1].data,
        .ldc = c->d_in[1].ld,
    };

    cpu_gemm(cpu, &g, work);
}

void ISA(cpu_linear_backward)(struct backend *b, const struct op_call *c)
{
    const struct cpu *cpu = (const struct cpu *)b;
    struct mat dz = c->d_out;
    float *work = c->work;

    if (slope_saved(c->attrs->act)) {
        dz = (struct mat){work, c->out.rows, c->out.cols, c->out.cols};
        work += round64((size_t)dz.rows * (size_t)dz.cols);
        linear_dz(c, dz.data);
    }
    if (c->d_in[0].data)
        linear_dx(cpu, c, &dz, work);
    if (c->d_in[1].data)
        linear_dw(cpu, c, &dz, work);
    if (c->in_count > 2 && c->d_in[2].data)
        ISA(cpu_col_sums)(dz.data, dz.ld, dz.rows, dz.cols, c->d_in[2].data, adds(c, 2));
}
