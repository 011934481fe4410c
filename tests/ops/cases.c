#include "tests/ops/cases.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALL     ((1u << VALUES_COUNT) - 1)
#define MILD    (1u << VALUES_NORMAL | 1u << VALUES_TINY | 1u << VALUES_EQUAL | 1u << VALUES_ZERO)
/* A mean of equal numbers is exact where their count is a power of two; else a layer norm makes
 * 1 / sqrt(eps) times its rounding out of nothing, in any single precision. */
#define UNEQUAL (ALL & ~(1u << VALUES_EQUAL))
#define NORMAL  (1u << VALUES_NORMAL)
#define T       ROWS_T
#define N       ROWS_N

#define ACT_CASE(text, kind, pos, vals, f, b)                                                      \
    {                                                                                              \
        "act " text, OP_ACT, {.act = kind}, 1, {{T, 37}}, 37, pos, vals, true, f, b                \
    }
#define LINEAR_CASE(text, ins, outs)                                                               \
    {                                                                                              \
        "linear " text, OP_LINEAR, {0}, 3, {{T, ins}, {ins, outs}, {1, outs}}, outs, false, ALL,   \
            false, 64, 64                                                                          \
    }
#define NORM_CASE(text, cols, budget)                                                              \
    {                                                                                              \
        "layer norm " text, OP_LAYER_NORM, {.eps = 1e-5f}, 4,                                      \
            {{T, cols}, {1, cols}, {1, cols}, {T, cols}}, cols, false, UNEQUAL, false, budget, 128 \
    }
#define HEADS_CASE(text, count, wide)                                                              \
    {                                                                                              \
        "attention " text, OP_ATTENTION, {.heads = count, .scale = 0.25f}, 3,                      \
            {{T, (count) * (wide)}, {T, (count) * (wide)}, {T, (count) * (wide)}},                 \
            (count) * (wide), false, MILD, false, 32, 128                                          \
    }
/* One column, or one more or less than a vector has. */
#define NARROW_CASE(text, code, cols, forward, backward, ...)                                      \
    {                                                                                              \
        text, code, {__VA_ARGS__}, 1, {{T, cols}}, cols, false, MILD, false, forward, backward     \
    }
#define PAIR_CASE(text, code, rows, cols)                                                          \
    {                                                                                              \
        text, code, {0}, 2, {{T, 19}, {rows, cols}}, 19, code == OP_DIV, MILD, false, 2, 128       \
    }
#define POOL_CASE(text, kind)                                                                      \
    {                                                                                              \
        "pool " text, OP_POOL, {.pool = kind, .power = 3, .eps = 1e-6f}, 1, {{T, 21}}, 21,         \
            kind == POOL_GEM, MILD, false, 16, 32                                                  \
    }

const struct op_case op_cases[] = {
    {"embed token", OP_EMBED, {.ids = IDS_TOKEN}, 1, {{23, 17}}, 17, false, ALL, true, 0, 8},
    {"embed position",
     OP_EMBED,
     {.ids = IDS_POSITION, .ids_shift = 2},
     1,
     {{300, 5}},
     5,
     false,
     NORMAL,
     true,
     0,
     8},
    {"linear 1x1", OP_LINEAR, {0}, 3, {{T, 1}, {1, 1}, {1, 1}}, 1, false, ALL, false, 4, 256},
    {"linear 7x13", OP_LINEAR, {0}, 3, {{T, 7}, {7, 13}, {1, 13}}, 13, false, ALL, false, 8, 64},
    {"linear no bias", OP_LINEAR, {0}, 2, {{T, 33}, {33, 17}}, 17, false, ALL, false, 16, 64},
    {"linear 384x48 deep",
     OP_LINEAR,
     {0},
     3,
     {{T, 797}, {797, 48}, {1, 48}},
     48,
     false,
     ALL,
     false,
     64,
     64},
    {"linear rows out",
     OP_LINEAR,
     {.w_rows_out = true},
     3,
     {{T, 31}, {67, 31}, {1, 67}},
     67,
     false,
     ALL,
     false,
     16,
     64},
    {"linear gelu",
     OP_LINEAR,
     {.act = ACT_GELU_ERF},
     3,
     {{T, 24}, {24, 40}, {1, 40}},
     40,
     false,
     MILD,
     false,
     16,
     64},
    {"linear relu",
     OP_LINEAR,
     {.act = ACT_RELU},
     3,
     {{T, 11}, {11, 5}, {1, 5}},
     5,
     false,
     NORMAL,
     false,
     16,
     64},
    {"linear gelu tanh rows out",
     OP_LINEAR,
     {.act = ACT_GELU_TANH, .w_rows_out = true},
     3,
     {{T, 16}, {32, 16}, {1, 32}},
     32,
     false,
     MILD,
     false,
     128,
     64},
    {"linear documents",
     OP_LINEAR,
     {.act = ACT_TANH},
     3,
     {{N, 29}, {29, 8}, {1, 8}},
     8,
     false,
     MILD,
     false,
     16,
     64},
    {"layer norm",
     OP_LAYER_NORM,
     {.eps = 1e-12f},
     3,
     {{T, 37}, {1, 37}, {1, 37}},
     37,
     false,
     NORMAL | 1u << VALUES_TINY | 1u << VALUES_LARGE,
     false,
     16,
     64},
    {"layer norm residual",
     OP_LAYER_NORM,
     {.eps = 1e-5f},
     4,
     {{T, 64}, {1, 64}, {1, 64}, {T, 64}},
     64,
     false,
     ALL,
     false,
     16,
     128},
    {"layer norm 1",
     OP_LAYER_NORM,
     {.eps = 1e-5f},
     3,
     {{N, 1}, {1, 1}, {1, 1}},
     1,
     false,
     MILD,
     false,
     4,
     64},
    {"attention 1 head",
     OP_ATTENTION,
     {.heads = 1, .scale = 0.5f},
     3,
     {{T, 7}, {T, 7}, {T, 7}},
     7,
     false,
     MILD,
     false,
     32,
     128},
    {"attention 3 heads of 32",
     OP_ATTENTION,
     {.heads = 3, .scale = 0.17677669f},
     3,
     {{T, 96}, {T, 96}, {T, 96}},
     96,
     false,
     MILD,
     false,
     32,
     128},
    {"attention causal",
     OP_ATTENTION,
     {.heads = 2, .scale = 0.25f, .causal = true},
     3,
     {{T, 40}, {T, 40}, {T, 40}},
     40,
     false,
     MILD,
     false,
     32,
     128},
    ACT_CASE("none", ACT_NONE, false, ALL, 0, 0),
    ACT_CASE("relu", ACT_RELU, false, ALL, 0, 0),
    ACT_CASE("gelu erf", ACT_GELU_ERF, false, MILD, 8, 4),
    ACT_CASE("gelu tanh", ACT_GELU_TANH, false, MILD, 16, 8),
    ACT_CASE("gelu quick", ACT_GELU_QUICK, false, MILD, 8, 4),
    ACT_CASE("tanh", ACT_TANH, false, ALL, 3, 4),
    ACT_CASE("sigmoid", ACT_SIGMOID, false, MILD, 4, 4),
    ACT_CASE("silu", ACT_SILU, false, MILD, 4, 4),
    ACT_CASE("erf", ACT_ERF, false, MILD, 3, 4),
    ACT_CASE("exp", ACT_EXP, false, MILD, 2, 2),
    ACT_CASE("sqrt", ACT_SQRT, true, ALL, 1, 2),
    PAIR_CASE("add", OP_ADD, T, 19),
    PAIR_CASE("add row", OP_ADD, 1, 19),
    PAIR_CASE("add column", OP_ADD, T, 1),
    PAIR_CASE("add number", OP_ADD, 1, 1),
    PAIR_CASE("sub", OP_SUB, T, 19),
    PAIR_CASE("sub row", OP_SUB, 1, 19),
    PAIR_CASE("sub column", OP_SUB, T, 1),
    PAIR_CASE("sub number", OP_SUB, 1, 1),
    PAIR_CASE("mul", OP_MUL, T, 19),
    PAIR_CASE("mul row", OP_MUL, 1, 19),
    PAIR_CASE("mul column", OP_MUL, T, 1),
    PAIR_CASE("mul number", OP_MUL, 1, 1),
    PAIR_CASE("div", OP_DIV, T, 19),
    PAIR_CASE("div row", OP_DIV, 1, 19),
    PAIR_CASE("div column", OP_DIV, T, 1),
    PAIR_CASE("div number", OP_DIV, 1, 1),
    {"mul one column", OP_MUL, {0}, 2, {{T, 1}, {T, 1}}, 1, false, MILD, false, 2, 64},
    {"affine", OP_AFFINE, {.scale = 2.5f, .shift = -1}, 1, {{T, 10}}, 10, false, MILD, false, 2, 2},
    POOL_CASE("mean", POOL_MEAN),
    POOL_CASE("max", POOL_MAX),
    POOL_CASE("cls", POOL_CLS),
    POOL_CASE("last", POOL_LAST),
    POOL_CASE("gem", POOL_GEM),
    {"pool gem 2.5",
     OP_POOL,
     {.pool = POOL_GEM, .power = 2.5f, .eps = 1e-6f},
     1,
     {{T, 9}},
     9,
     true,
     MILD,
     false,
     16,
     64},
    {"l2 norm", OP_L2_NORM, {.eps = 1e-12f}, 1, {{N, 45}}, 45, false, ALL, false, 8, 64},
    {"l2 norm below eps",
     OP_L2_NORM,
     {.eps = 1},
     1,
     {{N, 5}},
     5,
     false,
     1u << VALUES_TINY,
     false,
     4,
     16},
    LINEAR_CASE("1x97", 1, 97),
    LINEAR_CASE("97x1", 97, 1),
    LINEAR_CASE("15x17", 15, 17),
    LINEAR_CASE("17x15", 17, 15),
    LINEAR_CASE("101x103", 101, 103),
    NORM_CASE("3", 3, 32),
    NORM_CASE("15", 15, 16),
    NORM_CASE("17", 17, 16),
    NORM_CASE("127", 127, 16),
    HEADS_CASE("3 heads of 1", 3, 1),
    HEADS_CASE("2 heads of 17", 2, 17),
    HEADS_CASE("5 heads of 16", 5, 16),
    HEADS_CASE("1 head of 64", 1, 64),
    NARROW_CASE("act gelu erf 1", OP_ACT, 1, 8, 4, .act = ACT_GELU_ERF),
    NARROW_CASE("act tanh 17", OP_ACT, 17, 3, 4, .act = ACT_TANH),
    NARROW_CASE("affine 1", OP_AFFINE, 1, 2, 2, .scale = -3, .shift = 0.5f),
    NARROW_CASE("pool mean 1", OP_POOL, 1, 16, 32, .pool = POOL_MEAN),
    NARROW_CASE("pool max 17", OP_POOL, 17, 16, 32, .pool = POOL_MAX),
    NARROW_CASE("pool cls 15", OP_POOL, 15, 16, 32, .pool = POOL_CLS),
    NARROW_CASE("l2 norm 1", OP_L2_NORM, 1, 8, 64, .eps = 1e-12f),
    NARROW_CASE("l2 norm 127", OP_L2_NORM, 127, 8, 64, .eps = 1e-12f),
    NARROW_CASE("slice all", OP_SLICE_COLS, 13, 0, 0, .begin = 0, .count = 13),
    {"slice last",
     OP_SLICE_COLS,
     {.begin = 16, .count = 1},
     1,
     {{T, 17}},
     1,
     false,
     ALL,
     true,
     0,
     0},
    {"concat 4",
     OP_CONCAT_COLS,
     {0},
     4,
     {{T, 1}, {T, 31}, {T, 2}, {T, 7}},
     41,
     false,
     ALL,
     true,
     0,
     0},
    {"embed one column", OP_EMBED, {.ids = IDS_TOKEN}, 1, {{23, 1}}, 1, false, ALL, true, 0, 8},
    {"embed one row", OP_EMBED, {.ids = IDS_TOKEN}, 1, {{1, 16}}, 16, false, ALL, true, 0, 8},
    {"div one column", OP_DIV, {0}, 2, {{T, 1}, {T, 1}}, 1, true, MILD, false, 2, 64},
    {"slice", OP_SLICE_COLS, {.begin = 3, .count = 9}, 1, {{T, 20}}, 9, false, ALL, true, 0, 0},
    {"concat 3", OP_CONCAT_COLS, {0}, 3, {{T, 5}, {T, 1}, {T, 12}}, 18, false, ALL, true, 0, 0},
};
const int op_case_count = sizeof op_cases / sizeof *op_cases;

const struct doc_shape doc_shapes[] = {
    {"no document", 0, {0}},
    {"one token", 1, {1}},
    {"one document", 1, {13}},
    {"an empty document alone", 1, {0}},
    {"empty ones between", 5, {0, 5, 0, 3, 0}},
    {"primes", 6, {7, 2, 31, 1, 11, 3}},
    {"all equal", 4, {8, 8, 8, 8}},
    {"one token each", 5, {1, 1, 1, 1, 1}},
    {"only empty ones", 3, {0, 0, 0}},
    {"around a vector", 4, {15, 16, 17, 1}},
    {"long", 3, {64, 97, 1}},
};
const int doc_shape_count = sizeof doc_shapes / sizeof *doc_shapes;

/* ---- numbers ---- */

uint32_t op_random(uint64_t seed, uint64_t index)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + index; /* splitmix64's finaliser */

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((x ^ x >> 31) >> 32);
}

double op_normal(uint64_t seed, uint64_t index)
{
    double u = (op_random(seed, 2 * index) + 0.5) / 4294967296.0;
    double v = (op_random(seed, 2 * index + 1) + 0.5) / 4294967296.0;

    return sqrt(-2 * log(u)) * cos(6.28318530717958647692 * v);
}

static float number(enum values values, uint64_t seed, uint64_t index)
{
    switch (values) {
    case VALUES_WIDE:
        return (float)ldexp(op_normal(seed, index), (int)(op_random(seed + 1, index) % 7) * 2 - 6);
    case VALUES_TINY:
        return (float)(1e-4 * op_normal(seed, index));
    case VALUES_LARGE:
        return (float)(50 * op_normal(seed, index));
    case VALUES_EQUAL:
        return (float)op_normal(seed, 0);
    case VALUES_ZERO:
        return 0;
    case VALUES_OUTLIERS:
        return (float)(op_normal(seed, index) * (op_random(seed + 1, index) % 41 == 0 ? 1000 : 1));
    default:
        return (float)op_normal(seed, index);
    }
}

/* ---- memory ---- */

static const uint32_t guard_bits = 0x7fc0beef; /* a NaN that no kernel makes */

static float *floats(struct op_run *run, size_t count)
{
    struct err e = ERR_INIT;
    void *memory;

    assert_true(run->memory_count < (int)(sizeof run->memory / sizeof *run->memory));
    assert_int_equal(
        run->backend->ops->alloc(run->backend, (count + 1) * sizeof(float), &memory, &e), 0);
    run->memory[run->memory_count++] = memory;
    for (size_t i = 0; i < count; i++)
        memcpy((float *)memory + i, &guard_bits, sizeof guard_bits);
    return memory;
}

static struct mat matrix(struct op_run *run, int rows, int cols)
{
    int ld = cols + (int)run->guard;

    return (struct mat){floats(run, (size_t)rows * ld), rows, cols, ld};
}

static void fill(const struct mat *m, enum values values, uint64_t seed)
{
    for (int r = 0; r < m->rows; r++)
        for (int i = 0; i < m->cols; i++)
            m->data[(size_t)r * m->ld + i] = number(values, seed, (uint64_t)r * m->cols + i);
}

static int rows_of(const struct op_run *run, int rows)
{
    return rows == ROWS_T   ? run->offsets[run->call.docs.count]
           : rows == ROWS_N ? run->call.docs.count
                            : rows;
}

/* Positive and not small: |x| + 1/4 of its scale. */
static void make_positive(const struct mat *m)
{
    for (int r = 0; r < m->rows; r++)
        for (int i = 0; i < m->cols; i++) {
            float *x = &m->data[(size_t)r * m->ld + i];
            *x = fabsf(*x) + 0.25f;
        }
}

static void make_ids(struct op_run *run, uint64_t seed)
{
    int tokens = run->offsets[run->call.docs.count], rows = run->call.in[0].rows;

    if (run->kase->attrs.ids == IDS_POSITION)
        return;
    run->ids = calloc((size_t)tokens + 1, sizeof *run->ids);
    run->ids_row = calloc((size_t)tokens + 1, sizeof *run->ids_row);
    assert_true(run->ids && run->ids_row);
    for (int t = 0; t < tokens; t++)
        run->ids_row[t] = run->ids[t] = (int32_t)(op_random(seed, (uint64_t)t) % (uint32_t)rows);
    run->call.ids = run->ids;
    run->call.ids_row = run->ids_row;
}

static void make_plan(struct op_run *run)
{
    struct op_call at = run->call; /* at capacity: some rows more than there are */
    struct err e = ERR_INIT;

    for (int i = 0; i < at.in_count; i++) {
        if (run->kase->shape[i][0] < 0)
            at.in[i].rows += 5;
        at.in[i].data = NULL;
    }
    at.out.rows += 5;
    at.docs.count += 5;
    if (run->backend->ops->op[run->kase->op].plan(run->backend, &at, true, &run->plan, &e) < 0)
        fail_msg("%s: %s", run->kase->name, e.text);
    run->call.saved = floats(run, run->plan.saved_floats);
    run->call.work = floats(run, run->plan.work_floats);
    run->call.cache = run->backend->ops->cache_new(run->backend);
}

void op_run_init(struct op_run *run, struct backend *b, const struct op_case *c,
                 const struct doc_shape *docs, enum values values, int pad, uint64_t seed)
{
    struct op_call *call = &run->call;
    int out_rows = c->op == OP_POOL ? ROWS_N : c->op == OP_EMBED ? ROWS_T : c->shape[0][0];

    *run = (struct op_run){.backend = b, .kase = c, .guard = (size_t)pad};
    for (int i = 0; i < docs->count; i++)
        run->offsets[i + 1] = run->offsets[i] + docs->lengths[i];
    call->attrs = &c->attrs;
    call->docs = (struct docs){docs->count, run->offsets};
    call->in_count = c->in_count;
    for (int i = 0; i < c->in_count; i++) {
        call->in[i] = matrix(run, rows_of(run, c->shape[i][0]), c->shape[i][1]);
        call->d_in[i] = matrix(run, call->in[i].rows, call->in[i].cols);
        fill(&call->in[i], values, seed * 100 + (uint64_t)i);
        if (c->positive && i == (c->op == OP_DIV ? 1 : 0))
            make_positive(&call->in[i]);
    }
    call->out = matrix(run, rows_of(run, out_rows), c->out_cols);
    call->d_out = matrix(run, call->out.rows, c->out_cols);
    fill(&call->d_out, VALUES_NORMAL, seed * 100 + 50);
    if (c->op == OP_EMBED)
        make_ids(run, seed * 100 + 60);
    make_plan(run);
}

void op_run_release(struct op_run *run)
{
    for (int i = 0; i < run->memory_count; i++)
        run->backend->ops->release(run->backend, run->memory[i]);
    run->backend->ops->cache_free(run->backend, run->call.cache);
    free(run->ids);
    free(run->ids_row);
}

/* ---- running ---- */

static void garbage(float *data, size_t count)
{
    for (size_t i = 0; i < count; i++)
        data[i] = NAN;
}

static void set_all(const struct mat *m, float x)
{
    for (int r = 0; r < m->rows; r++)
        for (int i = 0; i < m->cols; i++)
            m->data[(size_t)r * m->ld + i] = x;
}

void op_run_forward(struct op_run *run)
{
    garbage(run->call.work, run->plan.work_floats);
    run->backend->ops->op[run->kase->op].forward(run->backend, &run->call);
}

void op_run_backward(struct op_run *run, bool d_add)
{
    struct op_call call = run->call;

    garbage(call.work, run->plan.work_floats);
    for (int i = 0; i < call.in_count; i++) {
        set_all(&call.d_in[i], d_add ? 0.5f : NAN);
        if (!(run->plan.needs_in >> i & 1))
            call.in[i].data = NULL;
    }
    if (!run->plan.needs_out)
        call.out.data = NULL;
    call.d_add = d_add ? (1u << call.in_count) - 1 : 0;
    run->backend->ops->op[run->kase->op].backward(run->backend, &call);
}

static void check_guard(const struct op_run *run, const char *what, const struct mat *m)
{
    for (int r = 0; r < m->rows; r++)
        for (int i = m->cols; i < m->ld; i++)
            if (memcmp(&m->data[(size_t)r * m->ld + i], &guard_bits, sizeof guard_bits))
                fail_msg("%s: %s: row %d was written beyond its columns", run->kase->name, what, r);
}

void op_run_check_guards(const struct op_run *run)
{
    check_guard(run, "out", &run->call.out);
    for (int i = 0; i < run->call.in_count; i++)
        check_guard(run, "d_in", &run->call.d_in[i]);
}

/* ---- comparing ---- */

static double ulp_of(double x)
{
    return ldexp(1, (x == 0 ? -126 : ilogb(x) < -126 ? -126 : ilogb(x)) - 23);
}

double op_mat_top(const struct mat *m)
{
    double top = 0;

    for (int r = 0; r < m->rows; r++)
        for (int i = 0; i < m->cols; i++)
            top = fmax(top, fabs(m->data[(size_t)r * m->ld + i]));
    return top;
}

double op_mat_ulp(const struct mat *got, const struct mat *want, double scale)
{
    double worst = 0;

    for (int r = 0; r < want->rows; r++)
        for (int i = 0; i < want->cols; i++) {
            double w = want->data[(size_t)r * want->ld + i];
            double g = got->data[(size_t)r * got->ld + i];
            if (isnan(g) != isnan(w))
                return INFINITY;
            if (g != w && !isnan(w))
                worst = fmax(worst, fabs(g - w) / ulp_of(scale > 0 ? scale : w));
        }
    return worst;
}

struct backend *op_backend_next(int *index, int threads)
{
    static const struct {
        const char *isa, *gemm;
    } kinds[] = {{"sse2", "own"}, {"avx2", "own"}, {"avx512", "own"}, {"avx512", "onednn"}};
    struct err e = ERR_INIT;

    while (*index < (int)(sizeof kinds / sizeof *kinds)) {
        struct backend_options o = {
            .threads = threads, .isa = kinds[*index].isa, .gemm = kinds[*index].gemm};
        struct backend *b;
        bool last = *index == (int)(sizeof kinds / sizeof *kinds) - 1;
        assert_int_equal(backend_cpu(&b, &o, &e), 0);
        ++*index;
        if (last || strstr(b->fingerprint, o.isa))
            return b; /* oneDNN's products with the best kernels, the rest where the machine can */
        backend_free(b);
    }
    return NULL;
}
