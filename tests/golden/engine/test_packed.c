/*
 * Packed = padded = scalar. Every batch here runs
 *
 *   packed, on the fast and on the scalar backend, with one thread and with two;
 *   padded: the source file run literally (literal.h), masks and all;
 *   alone: each document in a batch of its own, where nothing could be padded.
 *
 * Vectors must agree within 1e-5 and gradients within 1e-4; threads must not change a byte. The
 * padded run has no backward: its loss is differenced along one direction through all weights.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/golden/engine/literal.h"
#include "tests/golden/engine/models.h"

enum { DOCS = 8, LONGEST = -1, PAD = 1 };
#define STEP 1e-4 /* of the difference */

static const struct shape {
    const char *name;
    int count, lengths[DOCS];
} shapes[] = {
    {"one token", 1, {1}},
    {"one document", 1, {11}},
    {"one token each", 5, {1, 1, 1, 1, 1}},
    {"all equal", 4, {8, 8, 8, 8}},
    {"primes", 6, {7, 2, 13, 1, 5, 3}},
    {"with empty ones", 6, {0, 5, 0, 0, 3, 0}},
    {"an empty one alone", 1, {0}},
    {"the longest alone", 1, {LONGEST}},
    {"the longest and the shortest", 2, {LONGEST, 1}}, /* not of large models */
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

enum { FAST_1, FAST_2, SCALAR_1, SCALAR_2, RUNS };

struct world {
    const struct model *model;
    const struct shape *shape;
    struct engine *engine[RUNS];
    struct token_batch batch;
    int32_t offsets[DOCS + 1], *ids, *types;
    int dim;
    float *d_out, *out[RUNS], *one; /* (count, dim) */
    size_t floats;                  /* of all parameters */
    float *grad[RUNS];
    double *sum; /* of the gradients of documents alone */
};

static double most_of(const float *x, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)x[i]));
    return most;
}

/* ---- packed ---- */

static void collect(const struct engine *g, float *to)
{
    const struct program *p = &g->program;

    for (int i = 0; i < p->param_count; i++)
        if (p->params[i].used && p->params[i].trainable) {
            model_gradient(g, &p->params[i], to);
            to += p->params[i].count;
        }
}

static void run(struct engine *g, const struct token_batch *b, const float *d_out, float *out,
                float *grad)
{
    struct err e = ERR_INIT;

    params_clear_gradients(&g->params);
    if (engine_forward(g, b, out, &e) < 0 || engine_backward(g, d_out, &e) < 0)
        fail_msg("%s", e.text);
    collect(g, grad);
}

/* Of a large model the scalar backend runs full length forward only, and nothing with two threads:
 * it has no use for them. */
static bool is_slow(const struct world *w)
{
    return w->model->large && w->offsets[w->shape->count] > 100;
}

static void encode(struct engine *g, const struct token_batch *b, float *out)
{
    struct err e = ERR_INIT;

    if (engine_encode(g, b, out, &e) < 0)
        fail_msg("%s", e.text);
}

static void near(const struct world *w, const char *what, const float *got, const float *want,
                 size_t n, double allowed)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= allowed))
            fail_msg("%s, %s: %s: %g, not %g", w->model->name, w->shape->name, what, (double)got[i],
                     (double)want[i]);
}

/* Parameter by parameter: within 1e-4 of its greatest element, or rounding of the greatest of all.
 */
static void near_gradients(const struct world *w, const char *what, const float *got,
                           const float *want)
{
    const struct program *p = &w->engine[FAST_1]->program;
    double noise = 1e-6 * most_of(want, w->floats);
    size_t at = 0;

    for (int i = 0; i < p->param_count; i++)
        if (p->params[i].used && p->params[i].trainable) {
            near(w, what, got + at, want + at, p->params[i].count,
                 1e-4 * most_of(want + at, p->params[i].count) + noise);
            at += p->params[i].count;
        }
}

static void check_packed(struct world *w)
{
    size_t n = (size_t)(w->shape->count * w->dim), bytes = n * sizeof(float);

    for (int r = 0; r < RUNS; r++) {
        if (w->model->large && r == SCALAR_2)
            continue;
        if (r == SCALAR_1 && is_slow(w)) {
            encode(w->engine[r], &w->batch, w->out[r]);
            continue;
        }
        run(w->engine[r], &w->batch, w->d_out, w->out[r], w->grad[r]);
        encode(w->engine[r], &w->batch, w->one);
        assert_memory_equal(w->one, w->out[r], bytes);
        if (r == FAST_2 || r == SCALAR_2) {
            assert_memory_equal(w->out[r], w->out[r - 1], bytes);
            assert_memory_equal(w->grad[r], w->grad[r - 1], w->floats * sizeof(float));
        }
    }
    near(w, "fast and scalar", w->out[FAST_1], w->out[SCALAR_1], n, 1e-5);
    if (!is_slow(w))
        near_gradients(w, "fast and scalar gradient", w->grad[FAST_1], w->grad[SCALAR_1]);
}

/* ---- alone ---- */

static void check_alone(struct world *w)
{
    float *grad = w->grad[FAST_2], *all = w->grad[SCALAR_2];

    memset(w->sum, 0, w->floats * sizeof *w->sum);
    for (int d = 0; d < w->shape->count; d++) {
        int32_t from = w->offsets[d], offsets[2] = {0, w->offsets[d + 1] - from};
        struct token_batch b = {1, offsets, w->ids + from, w->types + from};

        run(w->engine[FAST_1], &b, w->d_out + d * w->dim, w->one, grad);
        near(w, "a document alone", w->one, w->out[FAST_1] + d * w->dim, (size_t)w->dim, 1e-5);
        for (size_t i = 0; i < w->floats; i++)
            w->sum[i] += grad[i];
    }
    for (size_t i = 0; i < w->floats; i++)
        all[i] = (float)w->sum[i];
    near_gradients(w, "gradient of documents alone", all, w->grad[FAST_1]);
}

/* ---- padded ---- */

/* The vector of document d from the padded tensor: mean over its tokens, or as it is; normalised.
 */
static void vector_of(const struct world *w, const double *x, int rank, const int64_t *dims, int d,
                      double *out)
{
    int length = w->offsets[d + 1] - w->offsets[d], rows = rank == 3 ? length : 1;
    size_t cols = (size_t)dims[rank - 1], from = (size_t)d * cols;
    double norm = 0;

    if (rank == 3)
        from *= (size_t)dims[1];
    for (size_t c = 0; c < cols; c++) {
        out[c] = 0;
        for (int t = 0; t < rows; t++)
            out[c] += x[from + (size_t)t * cols + c] / rows;
        norm += out[c] * out[c];
    }
    for (size_t c = 0; c < cols; c++)
        out[c] /= fmax(sqrt(norm), 1e-12);
}

/* sum of d_out * vectors of the padded run; the vectors themselves when `out`. */
static double padded(const struct world *w, const struct literal_move *move, float *out)
{
    double vector[512], sum = 0, *x;
    int64_t dims[TENSOR_RANK];
    struct err e = ERR_INIT;
    int rank;

    x = literal_run(w->engine[FAST_1]->source, &w->batch, PAD, w->model->cut, move, &rank, dims,
                    &e);
    if (!x)
        fail_msg("%s, %s: %s", w->model->name, w->shape->name, e.text);
    assert_true(dims[rank - 1] == w->dim && w->dim <= 512);
    for (int d = 0; d < w->shape->count; d++) {
        vector_of(w, x, rank, dims, d, vector);
        for (int c = 0; c < w->dim; c++) {
            sum += vector[c] * w->d_out[d * w->dim + c];
            if (out)
                out[d * w->dim + c] = (float)vector[c];
        }
    }
    free(x);
    return sum;
}

/* Which initializers are parameters, themselves or behind an Identity. */
static bool *movable(const struct engine *g)
{
    const struct program *p = &g->program;
    bool *moves = calloc((size_t)g->source->initializer_count, sizeof *moves);

    assert_non_null(moves);
    for (int i = 0; i < g->source->initializer_count; i++)
        moves[i] = p->initializer_param[i] >= 0 && p->params[p->initializer_param[i]].used;
    for (int i = 0; i < p->param_count; i++)
        if (p->params[i].identity >= 0 && p->params[i].used)
            moves[p->params[i].initializer] = true;
    return moves;
}

/* The gradient along the direction, and its length. */
static double along(const struct world *w, double *length)
{
    const struct program *p = &w->engine[FAST_1]->program;
    const float *g = w->grad[FAST_1];
    double sum = 0, square = 0;

    for (int k = 0; k < p->param_count; k++) {
        if (!p->params[k].used || !p->params[k].trainable)
            continue;
        for (size_t i = 0; i < p->params[k].count; i++, g++) {
            sum += *g * model_sign(i, 0);
            square += (double)*g * *g;
        }
    }
    *length = sqrt(square);
    return sum;
}

static double check_padded(struct world *w)
{
    struct literal_move move = {.step = STEP};
    double got, want, length;
    bool *moves;

    padded(w, NULL, w->one);
    near(w, "padded", w->one, w->out[FAST_1], (size_t)(w->shape->count * w->dim), 1e-5);
    if (w->model->large && w->offsets[w->shape->count] > 10)
        return 0; /* two more runs through the scalar interpreter */
    move.moves = moves = movable(w->engine[FAST_1]);
    got = padded(w, &move, NULL);
    move.step = -STEP;
    got = (got - padded(w, &move, NULL)) / (2 * STEP);
    want = along(w, &length);
    free(moves);
    if (!(fabs(got - want) <= 1e-3 * length))
        fail_msg("%s, %s: the padded loss changes by %g, the gradient says %g", w->model->name,
                 w->shape->name, got, want);
    return length > 0 ? fabs(got - want) / length : 0;
}

/* ---- all of it ---- */

static void fill(struct world *w, const struct shape *s)
{
    const struct model *m = w->model;
    int tokens = 0;

    w->shape = s;
    for (int d = 0; d < s->count; d++)
        w->offsets[d + 1] = tokens += s->lengths[d] == LONGEST ? m->tokens : s->lengths[d];
    w->ids = calloc((size_t)tokens + 1, sizeof *w->ids);
    w->types = calloc((size_t)tokens + 1, sizeof *w->types);
    assert_true(w->ids && w->types);
    for (int t = 0; t < tokens; t++) {
        w->ids[t] = m->first + (int)((unsigned)t * 7919u % (unsigned)(m->ids - m->first));
        w->types[t] = engine_info(w->engine[FAST_1])->wants_types ? t % 3 == 0 : 0;
    }
    for (int i = 0; i < DOCS * w->dim; i++)
        w->d_out[i] = (float)sin(i * 1.7);
    w->batch = (struct token_batch){s->count, w->offsets, w->ids, w->types};
}

static void open_world(struct world *w, const struct model *m, const char *path)
{
    memset(w, 0, sizeof *w);
    w->model = m;
    for (int r = 0; r < RUNS; r++)
        w->engine[r] = model_open(m, path, r < SCALAR_1 ? "cpu" : "reference", NULL, r % 2 ? 2 : 1);
    w->dim = engine_info(w->engine[0])->dim;
    w->floats = engine_info(w->engine[0])->trainable;
    w->d_out = calloc((size_t)(DOCS * w->dim), sizeof(float));
    w->one = calloc((size_t)(DOCS * w->dim), sizeof(float));
    w->sum = calloc(w->floats, sizeof *w->sum);
    assert_true(w->d_out && w->one && w->sum);
    for (int r = 0; r < RUNS; r++) {
        w->out[r] = calloc((size_t)(DOCS * w->dim), sizeof(float));
        w->grad[r] = calloc(w->floats, sizeof(float));
        assert_true(w->out[r] && w->grad[r]);
    }
}

static void close_world(struct world *w)
{
    for (int r = 0; r < RUNS; r++) {
        engine_free(w->engine[r]);
        free(w->out[r]);
        free(w->grad[r]);
    }
    free(w->d_out);
    free(w->one);
    free(w->sum);
}

static void test_packed(void **state)
{
    for (int i = 0; i < model_count; i++) {
        double worst = 0;
        char path[4096];
        struct world w;

        if (!model_find(&models[i], path, sizeof path))
            continue;
        open_world(&w, &models[i], path);
        for (size_t k = 0; k < SHAPES - (models[i].large ? 1 : 0); k++) {
            fill(&w, &shapes[k]);
            check_packed(&w);
            worst = fmax(worst, check_padded(&w));
            if (!is_slow(&w))
                check_alone(&w);
            free(w.ids);
            free(w.types);
        }
        print_message("%-15s padded difference off by %.1e of the gradient\n", models[i].name,
                      worst);
        close_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_packed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
