/*
 * GFLOP/s and bytes/s of every kernel at MiniLM-L6's shapes, one thread, and the
 * share of what the core can do at most. Processor time, best of several rounds,
 * so that other work on the machine disturbs little.
 *
 *   bench_kernels [isa [gemm]]       sse2, avx2, avx512; own, onednn
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "platform/base/counter.h"
#include "trainer/engine/backend/backend.h"

enum { HIDDEN = 384, INNER = 1536, HEADS = 12, DOC_TOKENS = 15, ROUNDS = 5 };

static struct backend *backend;
static double peak;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t n)
{
    struct err e = ERR_INIT;
    void *out;

    if (backend->ops->alloc(backend, (n + 1) * sizeof(float), &out, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(70);
    }
    /* Small, as weights are: the tails of an activation must not be denormal. */
    for (size_t i = 0; i < n; i++)
        ((float *)out)[i] = (float)(counter_u64(1, 2, 3, i) % 2001) * 1e-4f - 0.1f;
    return out;
}

static struct mat matrix(int rows, int cols)
{
    return (struct mat){floats((size_t)rows * cols), rows, cols, cols};
}

struct job {
    const char *name;
    enum op_code op;
    struct op_attrs attrs;
    struct op_call call;
    bool backward;
    double flop, bytes; /* of one call */
};

static void once(const struct job *j)
{
    if (j->backward)
        backend->ops->op[j->op].backward(backend, &j->call);
    else
        backend->ops->op[j->op].forward(backend, &j->call);
}

static void report(const char *name, int rows, double seconds, double flop, double bytes)
{
    printf("%-34s %5d rows %9.1f us  %6.1f GFLOP/s %5.1f %% of peak  %6.2f GB/s\n", name, rows,
           seconds * 1e6, flop / seconds * 1e-9, flop / seconds * 1e-7 / peak,
           bytes / seconds * 1e-9);
}

static void measure(const struct job *j)
{
    double best = 1e9;
    int times = 1 + (int)(5e8 / (j->flop + 20 * j->bytes));

    once(j);
    for (int k = 0; k < ROUNDS; k++) {
        double t = now();
        for (int i = 0; i < times; i++)
            once(j);
        t = (now() - t) / times;
        if (t < best)
            best = t;
    }
    report(j->name, j->call.out.rows, best, j->flop, j->bytes);
}

static void prepare(struct job *j)
{
    struct op_plan plan;
    struct err e = ERR_INIT;

    j->call.attrs = &j->attrs;
    if (backend->ops->op[j->op].plan(backend, &j->call, true, &plan, &e) < 0) {
        fprintf(stderr, "%s: %s\n", j->name, e.text);
        exit(70);
    }
    j->call.saved = floats(plan.saved_floats);
    j->call.work = floats(plan.work_floats);
    j->call.d_out = matrix(j->call.out.rows, j->call.out.cols);
    backend->ops->op[j->op].forward(backend, &j->call);
}

static void finish(struct job *j)
{
    struct op_call *c = &j->call;

    for (int i = 0; i < c->in_count; i++)
        backend->ops->release(backend, c->in[i].data);
    backend->ops->release(backend, c->out.data);
    backend->ops->release(backend, c->d_out.data);
    backend->ops->release(backend, c->saved);
    backend->ops->release(backend, c->work);
}

/* Backward by one input at a time. */
static void measure_slope(struct job *j, const char *name, int input, double flop, double bytes)
{
    struct job back = *j;

    back.name = name;
    back.backward = true;
    back.flop = flop;
    back.bytes = bytes;
    back.call.attrs = &back.attrs;
    back.call.d_in[input] = matrix(j->call.in[input].rows, j->call.in[input].cols);
    measure(&back);
    backend->ops->release(backend, back.call.d_in[input].data);
}

static void linear(int rows, int ins, int outs, enum act act, const char *text)
{
    double flop = 2.0 * rows * ins * outs;
    double bytes = 4.0 * ((double)rows * ins + (double)ins * outs + (double)rows * outs);
    char name[64], dx[64], dw[64];
    struct job j = {.name = name,
                    .op = OP_LINEAR,
                    .attrs = {.act = act},
                    .call = {.in_count = 3,
                             .in = {matrix(rows, ins), matrix(ins, outs), matrix(1, outs)},
                             .out = matrix(rows, outs)},
                    .flop = flop,
                    .bytes = bytes};

    snprintf(name, sizeof name, "linear %d x %d%s", ins, outs, text);
    snprintf(dx, sizeof dx, "  dx");
    snprintf(dw, sizeof dw, "  dw");
    prepare(&j);
    measure(&j);
    measure_slope(&j, dx, 0, flop, bytes);
    measure_slope(&j, dw, 1, flop, bytes);
    finish(&j);
}

static void layer_norm(int rows)
{
    double bytes = 4.0 * rows * HIDDEN;
    struct job j = {.name = "layer norm + residual",
                    .op = OP_LAYER_NORM,
                    .attrs = {.eps = 1e-12f},
                    .call = {.in_count = 4,
                             .in = {matrix(rows, HIDDEN), matrix(1, HIDDEN), matrix(1, HIDDEN),
                                    matrix(rows, HIDDEN)},
                             .out = matrix(rows, HIDDEN)},
                    .flop = 8.0 * rows * HIDDEN,
                    .bytes = 4 * bytes};

    prepare(&j);
    measure(&j);
    measure_slope(&j, "  backward", 0, 12.0 * rows * HIDDEN, 3 * bytes);
    finish(&j);
}

static void attention(int docs, int tokens)
{
    int32_t offsets[1025];
    int rows = docs * tokens;
    double flop = 4.0 * rows * tokens * HIDDEN, bytes = 4.0 * rows * HIDDEN;
    char name[64];
    struct job j = {
        .name = name,
        .op = OP_ATTENTION,
        .attrs = {.heads = HEADS, .scale = 0.17677669f},
        .call = {.docs = {docs, offsets},
                 .in_count = 3,
                 .in = {matrix(rows, HIDDEN), matrix(rows, HIDDEN), matrix(rows, HIDDEN)},
                 .out = matrix(rows, HIDDEN)},
        .flop = flop,
        .bytes = 4 * bytes};
    struct job back;

    for (int i = 0; i <= docs; i++)
        offsets[i] = i * tokens;
    snprintf(name, sizeof name, "attention, documents of %d", tokens);
    prepare(&j);
    measure(&j);
    back = j;
    back.name = "  backward";
    back.backward = true;
    back.flop = 2.5 * flop;
    back.bytes = 7 * bytes;
    back.call.attrs = &back.attrs;
    for (int i = 0; i < 3; i++)
        back.call.d_in[i] = matrix(rows, HIDDEN);
    measure(&back);
    for (int i = 0; i < 3; i++)
        backend->ops->release(backend, back.call.d_in[i].data);
    finish(&j);
}

static void pooling(int rows)
{
    int32_t offsets[1025];
    int docs = rows / DOC_TOKENS;
    struct job j = {.name = "pool mean",
                    .op = OP_POOL,
                    .attrs = {.pool = POOL_MEAN},
                    .call = {.docs = {docs, offsets},
                             .in_count = 1,
                             .in = {matrix(rows, HIDDEN)},
                             .out = matrix(docs, HIDDEN)},
                    .flop = 1.0 * rows * HIDDEN,
                    .bytes = 4.0 * rows * HIDDEN};

    for (int i = 0; i <= docs; i++)
        offsets[i] = i * DOC_TOKENS;
    prepare(&j);
    measure(&j);
    finish(&j);
}

static void optimiser(size_t count)
{
    struct optim o = {.kind = OPTIM_ADAMW, .beta1 = .9f, .beta2 = .999f, .eps = 1e-8f, .step = 1};
    struct optim_range r = {.param = floats(count),
                            .grad = floats(count),
                            .m = floats(count),
                            .v = floats(count),
                            .count = count,
                            .lr = 1e-5f,
                            .decay = .01f,
                            .grad_scale = 1};
    double best = 1e9;

    memset(r.v, 0, count * sizeof *r.v);
    for (int k = 0; k < ROUNDS; k++) {
        double t = now();
        backend->ops->optim_step(backend, &o, &r);
        t = now() - t;
        if (t < best)
            best = t;
    }
    report("adamw, 22.7 million", (int)(count / HIDDEN), best, 12.0 * (double)count,
           28.0 * (double)count);
}

/* The best of a hundred rounds. */
static double peak_gflops(struct backend *b)
{
    double best = 0;

    for (int i = 0; i < 100; i++) {
        struct timespec from, to;
        double done, seconds;

        clock_gettime(CLOCK_MONOTONIC, &from);
        done = b->ops->peak_round(b);
        clock_gettime(CLOCK_MONOTONIC, &to);
        seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        if (seconds > 0 && done / seconds > best)
            best = done / seconds;
    }
    return best * 1e-9;
}

int main(int argc, char **argv)
{
    static const int rows[] = {100, 240, 480, 960};
    struct backend_options o = {
        .threads = 1, .isa = argc > 1 ? argv[1] : NULL, .gemm = argc > 2 ? argv[2] : NULL};
    struct err e = ERR_INIT;

    if (backend_cpu(&backend, &o, &e) < 0) {
        fprintf(stderr, "bench_kernels: %s\n", e.text);
        return 64;
    }
    peak = peak_gflops(backend);
    printf("%s, peak %.1f GFLOP/s on one core\n", backend->fingerprint, peak);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        linear(rows[i], HIDDEN, HIDDEN, ACT_NONE, "");
        linear(rows[i], HIDDEN, INNER, ACT_GELU_ERF, " + gelu");
        linear(rows[i], INNER, HIDDEN, ACT_NONE, "");
        layer_norm(rows[i]);
        attention(rows[i] / DOC_TOKENS, DOC_TOKENS);
        pooling(rows[i]);
    }
    attention(16, 64);
    attention(2, 512);
    optimiser(22713216);
    backend_free(backend);
    return 0;
}
