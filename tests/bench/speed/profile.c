#include "tests/bench/speed/profile.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "trainer/engine/op/op.h"

enum { FORWARD, BACKWARD, BACKWARD_DW, BACKWARD_DBIAS, WAYS };
enum { SUM = OP_COUNT, SQUARES, OPTIM, GEMM, ZERO, ROWS };

struct line {
    _Atomic int64_t ns, calls, flops, bytes;
};

static const struct backend_ops *real;
static struct backend_ops timed;
static struct line lines[ROWS][WAYS];

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* other processes' turns do not count */
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void note(int row, int way, int64_t began, double flops, double bytes)
{
    struct line *l = &lines[row][way];

    atomic_fetch_add(&l->ns, now_ns() - began);
    atomic_fetch_add(&l->calls, 1);
    atomic_fetch_add(&l->flops, (int64_t)flops);
    atomic_fetch_add(&l->bytes, (int64_t)bytes);
}

static double mat_bytes(const struct mat *m)
{
    return m->data ? 4.0 * m->rows * m->cols : 0;
}

static double call_bytes(const struct op_call *c)
{
    double sum = mat_bytes(&c->out) + mat_bytes(&c->d_out);

    for (int i = 0; i < c->in_count; i++)
        sum += mat_bytes(&c->in[i]) + mat_bytes(&c->d_in[i]);
    return sum;
}

/* Multiplications and additions of forward; 0: not counted. */
static double call_flops(enum op_code op, const struct op_call *c)
{
    double sum = 0;

    if (op == OP_LINEAR)
        return 2.0 * c->out.rows * c->out.cols * c->in[0].cols;
    if (op != OP_ATTENTION)
        return 0;
    for (int d = 0; d < c->docs.count; d++) {
        double n = c->docs.offsets[d + 1] - c->docs.offsets[d];

        sum += 4.0 * n * n * c->out.cols; /* q k^T and its product with v */
    }
    return sum;
}

static void forward(struct backend *b, const struct op_call *c, enum op_code op)
{
    int64_t began = now_ns();

    real->op[op].forward(b, c);
    note(op, FORWARD, began, call_flops(op, c), call_bytes(c));
}

static void backward(struct backend *b, const struct op_call *c, enum op_code op)
{
    int64_t began = now_ns();

    real->op[op].backward(b, c);
    /* attention: two products of forward have two gradients each, and the scores once more */
    note(op, BACKWARD, began, op == OP_ATTENTION ? 2.5 * call_flops(op, c) : 0, call_bytes(c));
}

/* One gradient at a time. The first call of a layer with an activation has its slope in it. */
static void linear_backward(struct backend *b, const struct op_call *c)
{
    static const int ways[] = {BACKWARD, BACKWARD_DW, BACKWARD_DBIAS};

    for (int i = 0; i < c->in_count; i++) {
        struct op_call one = *c;
        int64_t began = now_ns();

        if (!c->d_in[i].data)
            continue;
        for (int k = 0; k < OP_INS; k++)
            if (k != i)
                one.d_in[k].data = NULL;
        real->op[OP_LINEAR].backward(b, &one);
        note(OP_LINEAR, ways[i], began, i < 2 ? call_flops(OP_LINEAR, c) : 0, call_bytes(&one));
    }
}

#define X(name, text)                                                                              \
    static void forward_##name(struct backend *b, const struct op_call *c)                         \
    {                                                                                              \
        forward(b, c, OP_##name);                                                                  \
    }                                                                                              \
    static void backward_##name(struct backend *b, const struct op_call *c)                        \
    {                                                                                              \
        if (OP_##name == OP_LINEAR)                                                                \
            linear_backward(b, c);                                                                 \
        else                                                                                       \
            backward(b, c, OP_##name);                                                             \
    }
OPS(X)
#undef X

static void sum(struct backend *b, float *out, const float *const *parts, int n, size_t count)
{
    int64_t began = now_ns();

    real->sum(b, out, parts, n, count);
    note(SUM, FORWARD, began, 0, 4.0 * (double)count * (n + 1));
}

static double sum_squares(struct backend *b, const float *x, size_t count)
{
    int64_t began = now_ns();
    double s = real->sum_squares(b, x, count);

    note(SQUARES, FORWARD, began, 0, 4.0 * (double)count);
    return s;
}

static void optim_step(struct backend *b, const struct optim *o, const struct optim_range *r)
{
    int64_t began = now_ns();

    real->optim_step(b, o, r);
    note(OPTIM, FORWARD, began, 0, 28.0 * (double)r->count);
}

static void zero(struct backend *b, void *to, size_t bytes)
{
    int64_t began = now_ns();

    real->zero(b, to, bytes);
    note(ZERO, FORWARD, began, 0, (double)bytes);
}

static void gemm(struct backend *b, bool ta, bool tb, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *w, int ldb, float beta, float *c, int ldc)
{
    int64_t began = now_ns();

    real->gemm(b, ta, tb, m, n, k, alpha, a, lda, w, ldb, beta, c, ldc);
    note(GEMM, FORWARD, began, 2.0 * m * n * k, 0);
}

void profile_start(struct backend *b)
{
    real = b->ops;
    timed = *real;
#define X(name, text)                                                                              \
    if (real->op[OP_##name].forward)                                                               \
        timed.op[OP_##name].forward = forward_##name;                                              \
    if (real->op[OP_##name].backward)                                                              \
        timed.op[OP_##name].backward = backward_##name;
    OPS(X)
#undef X
    timed.sum = sum;
    timed.sum_squares = sum_squares;
    timed.optim_step = optim_step;
    timed.zero = zero;
    timed.gemm = gemm;
    b->ops = &timed;
}

void profile_reset(void)
{
    memset(lines, 0, sizeof lines);
}

static const char *row_name(int row)
{
    static const char *const rest[] = {"sum of lanes", "gradient norm", "optimiser",
                                       "products of the loss", "zeroing"};

    return row < OP_COUNT ? op_name((enum op_code)row) : rest[row - OP_COUNT];
}

static int by_time(const void *a, const void *b)
{
    const struct line *x = *(const struct line *const *)a, *y = *(const struct line *const *)b;

    return x->ns < y->ns ? 1 : x->ns > y->ns ? -1 : 0;
}

void profile_print(FILE *to, int steps, double step_ms)
{
    static const char *const ways[] = {"", "backward", "dw", "dbias"};
    const struct line *order[ROWS * WAYS];

    for (int i = 0; i < ROWS * WAYS; i++)
        order[i] = &lines[i / WAYS][i % WAYS];
    qsort(order, ROWS * WAYS, sizeof *order, by_time);
    fprintf(to, "%-32s %10s %9s %9s %9s\n", "kernel", "ms a step", "calls", "GFLOP/s", "GB/s");
    for (int i = 0; i < ROWS * WAYS && order[i]->calls; i++) {
        int at = (int)(order[i] - &lines[0][0]), row = at / WAYS, way = at % WAYS;
        double ns = (double)order[i]->ns;
        const char *how = row >= OP_COUNT ? "" : way == FORWARD ? "forward" : ways[way];

        fprintf(to, "%-20s %-11s %10.2f %9.0f %9.1f %9.1f\n", row_name(row),
                row == OP_LINEAR && way == BACKWARD ? "dx" : how, ns / 1e6 / steps,
                (double)order[i]->calls / steps, (double)order[i]->flops / ns,
                (double)order[i]->bytes / ns);
    }
    fprintf(to,
            "processor time of the thread that called; a step takes %.1f ms, in which lanes run at "
            "once\n",
            step_ms);
}
