#include "cli/profile.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { FORWARD, BACKWARD, WAYS };
enum { SUM = OP_COUNT, SQUARES, OPTIM, GEMM, ZERO, KERNELS };
enum { PEAK_ROUNDS = 60 };

struct line {
    _Atomic int64_t ns, calls, flops, bytes;
};

struct profile {
    struct backend_ops timed; /* first: a backend's table leads to its profile */
    const struct backend_ops *real;
    struct line lines[KERNELS][WAYS];
    int64_t wall_began, processor_began; /* ns */
    struct profile_total total;
};

static struct profile *profile_of(const struct backend *b)
{
    return (struct profile *)(uintptr_t)b->ops;
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* An operator runs in a lane's thread; what runs over all parameters is spread over all threads. */
static int64_t lane_ns(void)
{
    return now_ns(CLOCK_THREAD_CPUTIME_ID);
}

static int64_t all_ns(void)
{
    return now_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void note(struct profile *p, int kernel, int way, int64_t ns, double flops, double bytes)
{
    struct line *l = &p->lines[kernel][way];

    atomic_fetch_add(&l->ns, ns);
    atomic_fetch_add(&l->calls, 1);
    atomic_fetch_add(&l->flops, (int64_t)flops);
    atomic_fetch_add(&l->bytes, (int64_t)bytes);
}

static double mat_bytes(const struct mat *m)
{
    return m->data ? 4.0 * m->rows * m->cols : 0;
}

static double call_bytes(const struct op_call *c, bool back)
{
    double sum = mat_bytes(back ? &c->d_out : &c->out);

    for (int i = 0; i < c->in_count; i++)
        sum += mat_bytes(&c->in[i]) + (back ? mat_bytes(&c->d_in[i]) : 0);
    return sum;
}

/* Multiplications and additions of a call's products. */
static double call_flops(enum op_code op, const struct op_call *c, bool back)
{
    double sum = 0;

    if (op == OP_LINEAR) /* backward: one product for each of dx and dw */
        return 2.0 * c->out.rows * c->out.cols * c->in[0].cols *
               (back ? !!c->d_in[0].data + !!c->d_in[1].data : 1);
    if (op != OP_ATTENTION)
        return 0;
    for (int d = 0; d < c->docs.count; d++) {
        double n = c->docs.offsets[d + 1] - c->docs.offsets[d];

        sum += 4.0 * n * n * c->out.cols; /* q k^T and its product with v */
    }
    return back ? 2.5 * sum : sum; /* two gradients of each product, and the scores once more */
}

static void forward(struct backend *b, const struct op_call *c, enum op_code op)
{
    struct profile *p = profile_of(b);
    int64_t began = lane_ns();

    p->real->op[op].forward(b, c);
    note(p, op, FORWARD, lane_ns() - began, call_flops(op, c, false), call_bytes(c, false));
}

static void backward(struct backend *b, const struct op_call *c, enum op_code op)
{
    struct profile *p = profile_of(b);
    int64_t began = lane_ns();

    p->real->op[op].backward(b, c);
    note(p, op, BACKWARD, lane_ns() - began, call_flops(op, c, true), call_bytes(c, true));
}

#define X(name, text)                                                                              \
    static void forward_##name(struct backend *b, const struct op_call *c)                         \
    {                                                                                              \
        forward(b, c, OP_##name);                                                                  \
    }                                                                                              \
    static void backward_##name(struct backend *b, const struct op_call *c)                        \
    {                                                                                              \
        backward(b, c, OP_##name);                                                                 \
    }
OPS(X)
#undef X

static void zero(struct backend *b, void *to, size_t bytes)
{
    struct profile *p = profile_of(b);
    int64_t began = lane_ns();

    p->real->zero(b, to, bytes);
    note(p, ZERO, FORWARD, lane_ns() - began, 0, (double)bytes);
}

static void sum(struct backend *b, float *out, const float *const *parts, int n, size_t count)
{
    struct profile *p = profile_of(b);
    int64_t began = all_ns();

    p->real->sum(b, out, parts, n, count);
    note(p, SUM, FORWARD, all_ns() - began, 0, 4.0 * (double)count * (n + 1));
}

static double sum_squares(struct backend *b, const float *x, size_t count)
{
    struct profile *p = profile_of(b);
    int64_t began = all_ns();
    double s = p->real->sum_squares(b, x, count);

    note(p, SQUARES, FORWARD, all_ns() - began, 0, 4.0 * (double)count);
    return s;
}

static void optim_step(struct backend *b, const struct optim *o, const struct optim_range *r)
{
    struct profile *p = profile_of(b);
    int64_t began = all_ns();

    p->real->optim_step(b, o, r);
    note(p, OPTIM, FORWARD, all_ns() - began, 0, 4.0 * (r->v ? 7 : 5) * (double)r->count);
}

static void gemm(struct backend *b, bool ta, bool tb, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *w, int ldb, float beta, float *c, int ldc)
{
    struct profile *p = profile_of(b);
    int64_t began = all_ns();

    p->real->gemm(b, ta, tb, m, n, k, alpha, a, lda, w, ldb, beta, c, ldc);
    note(p, GEMM, FORWARD, all_ns() - began, 2.0 * m * n * k,
         4.0 * ((double)m * k + (double)k * n + (double)m * n));
}

/* Operations a second of one core, the best of some rounds. */
static double peak_of(struct backend *b)
{
    double best = 0;

    for (int i = 0; b->ops->peak_round && i < PEAK_ROUNDS; i++) {
        int64_t began = lane_ns(), ns;
        double done = b->ops->peak_round(b);

        ns = lane_ns() - began;
        if (ns > 0 && done / (double)ns * 1e9 > best)
            best = done / (double)ns * 1e9;
    }
    return best;
}

/* ---- beginning and ending -------------------------------------------------------------------- */

int profile_new(struct profile **out, struct err *e)
{
    struct profile *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(e, ERR_NOMEM, "the profile");
    p->total.peak = -1; /* not yet measured */
    *out = p;
    return 0;
}

void profile_free(struct profile *p)
{
    free(p);
}

void profile_begin(struct profile *p, struct backend *b)
{
    if (p->total.peak < 0)
        p->total.peak = peak_of(b);
    p->real = b->ops;
    p->timed = *b->ops;
#define X(name, text)                                                                              \
    if (p->real->op[OP_##name].forward)                                                            \
        p->timed.op[OP_##name].forward = forward_##name;                                           \
    if (p->real->op[OP_##name].backward)                                                           \
        p->timed.op[OP_##name].backward = backward_##name;
    OPS(X)
#undef X
    p->timed.zero = zero;
    p->timed.sum = sum;
    p->timed.sum_squares = sum_squares;
    p->timed.optim_step = optim_step;
    p->timed.gemm = gemm;
    b->ops = &p->timed;
    p->wall_began = now_ns(CLOCK_MONOTONIC);
    p->processor_began = all_ns();
}

void profile_end(struct profile *p, struct backend *b, int steps)
{
    p->total.processor += 1e-9 * (double)(all_ns() - p->processor_began);
    p->total.wall += 1e-9 * (double)(now_ns(CLOCK_MONOTONIC) - p->wall_began);
    p->total.steps += steps;
    b->ops = p->real;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static const char *kernel_name(int kernel)
{
    static const char *const rest[] = {"sum of the lanes", "gradient norm", "optimiser",
                                       "products of the loss", "zeroing"};

    return kernel < OP_COUNT ? op_name((enum op_code)kernel) : rest[kernel - OP_COUNT];
}

static int by_time(const void *a, const void *b)
{
    const struct profile_row *x = a, *y = b;

    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : 0;
}

int profile_rows(const struct profile *p, struct profile_row rows[PROFILE_ROWS],
                 struct profile_total *total)
{
    double rest = p->total.processor;
    int n = 0;

    for (int i = 0; i < KERNELS * WAYS; i++) {
        const struct line *l = &p->lines[i / WAYS][i % WAYS];

        if (!l->calls)
            continue;
        rows[n] = (struct profile_row){.kernel = kernel_name(i / WAYS),
                                       .way = i / WAYS >= OP_COUNT  ? ""
                                              : i % WAYS == FORWARD ? "forward"
                                                                    : "backward",
                                       .calls = l->calls,
                                       .seconds = 1e-9 * (double)l->ns,
                                       .flops = (double)l->flops,
                                       .bytes = (double)l->bytes};
        rest -= rows[n++].seconds;
    }
    qsort(rows, (size_t)n, sizeof *rows, by_time);
    rows[n++] = (struct profile_row){
        .kernel = "everything else", .way = "", .seconds = rest > 0 ? rest : 0};
    *total = p->total;
    return n;
}

/* "12.3", or nothing where it was not counted. */
static void column(struct buf *to, int width, double value)
{
    if (value > 0)
        buf_printf(to, " %*.1f", width, value);
    else
        buf_printf(to, " %*s", width, "");
}

void profile_text(const struct profile *p, struct buf *to)
{
    struct profile_row rows[PROFILE_ROWS];
    struct profile_total t;
    int n = profile_rows(p, rows, &t);
    double steps = t.steps > 0 ? (double)t.steps : 1;

    buf_printf(to, "%-20s %-8s %9s %7s %8s %9s %7s %7s\n", "kernel", "", "ms a step", "share",
               "calls", "GFLOP/s", "of peak", "GB/s");
    for (int i = 0; i < n; i++) {
        const struct profile_row *r = &rows[i];
        double s = r->seconds > 0 ? r->seconds : 1;

        buf_printf(to, "%-20s %-8s %9.2f %6.1f%% %8.0f", r->kernel, r->way,
                   r->seconds / steps * 1e3, t.processor > 0 ? 100 * r->seconds / t.processor : 0,
                   (double)r->calls / steps);
        column(to, 9, r->flops / s * 1e-9);
        column(to, 6, t.peak > 0 ? 100 * r->flops / s / t.peak : 0);
        buf_str(to, t.peak > 0 && r->flops > 0 ? "%" : " ");
        column(to, 7, r->bytes / s * 1e-9);
        buf_char(to, '\n');
    }
    buf_printf(to,
               "%lld steps, each %.1f ms long with %.1f ms of processor time over all threads; "
               "a core's peak: %.1f GFLOP/s\n",
               (long long)t.steps, t.wall / steps * 1e3, t.processor / steps * 1e3, t.peak * 1e-9);
}

static json_t *row_json(const struct profile_row *r, double peak)
{
    double s = r->seconds > 0 ? r->seconds : 1;

    return json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "kernel", r->kernel, "way", r->way,
                     "calls", (json_int_t)r->calls, "seconds", r->seconds, "gflops",
                     r->flops / s * 1e-9, "of_peak", peak > 0 ? r->flops / s / peak : 0.0,
                     "gbytes_per_s", r->bytes / s * 1e-9);
}

json_t *profile_json(const struct profile *p)
{
    struct profile_row rows[PROFILE_ROWS];
    struct profile_total t;
    int n = profile_rows(p, rows, &t);
    json_t *kernels = json_array();

    for (int i = 0; i < n; i++)
        if (json_array_append_new(kernels, row_json(&rows[i], t.peak)) < 0) {
            json_decref(kernels);
            return NULL;
        }
    return json_pack("{s:I, s:f, s:f, s:f, s:o}", "steps", (json_int_t)t.steps, "wall_seconds",
                     t.wall, "processor_seconds", t.processor, "peak_gflops", t.peak * 1e-9,
                     "kernels", kernels);
}
