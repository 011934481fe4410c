/* Surgery and the engine's door: pooling, projection, freezing, limits, odd batches. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "trainer/engine/engine_int.h"

#define MODEL "tests/golden/engine/bert-new.onnx"

enum { DOCS = 5 };
static const int32_t offsets[DOCS + 1] = {0, 4, 4, 5, 19, 22}; /* the second is empty */
static int32_t ids[22];

static struct token_batch batch(void)
{
    struct token_batch b = {DOCS, offsets, ids, NULL};

    for (int i = 0; i < 22; i++)
        ids[i] = 3 + i * 7 % 50;
    return b;
}

static struct engine *open_with(const struct surgery *s, const char *backend)
{
    struct engine_options o = {.backend = backend, .threads = 2, .lanes = 2, .train = true};
    struct err e = ERR_INIT;
    struct engine *g = NULL;

    if (engine_open(&g, MODEL, s, &o, &e) < 0)
        fail_msg("%s", e.text);
    return g;
}

static double loss(struct engine *g, const float *weights)
{
    struct token_batch b = batch();
    float out[DOCS * 32];
    struct err e = ERR_INIT;
    double sum = 0;
    int n = DOCS * engine_info(g)->dim;

    assert_int_equal(engine_forward(g, &b, out, &e), 0);
    for (int i = 0; i < n; i++)
        sum += (double)out[i] * weights[i];
    return sum;
}

/* The directional derivative along the gradient equals its squared length. */
static void check_direction(const struct surgery *s)
{
    struct engine *g = open_with(s, "reference");
    struct params *m = &g->params;
    float weights[DOCS * 32], *start = malloc(m->total * sizeof *start);
    double square, h, far;
    struct err e = ERR_INIT;

    assert_non_null(start);
    for (int i = 0; i < DOCS * 32; i++)
        weights[i] = (float)sin(i * 1.7);
    loss(g, weights);
    assert_int_equal(engine_backward(g, weights, &e), 0);
    memcpy(start, m->param, m->total * sizeof *start);
    square = 0;
    for (size_t i = 0; i < m->dense; i++)
        square += (double)m->grad[i] * m->grad[i];
    assert_true(square > 0);
    h = 0.004 / sqrt(square);
    for (size_t i = 0; i < m->dense; i++)
        m->param[i] = start[i] + (float)(h * m->grad[i]);
    far = loss(g, weights);
    for (size_t i = 0; i < m->dense; i++)
        m->param[i] = start[i] - (float)(h * m->grad[i]);
    far = (far - loss(g, weights)) / (2 * h);
    if (!(fabs(far - square) <= 0.01 * square))
        fail_msg("pool %s: %g along the gradient, not %g", pool_name(s->pool), far, square);
    free(start);
    engine_free(g);
}

static void test_pools_and_projection(void **state)
{
    for (int pool = POOL_MEAN; pool <= POOL_GEM; pool++)
        for (int dim = 0; dim <= 7; dim += 7) {
            struct surgery s;

            surgery_init(&s);
            s.pool = (enum pool)pool;
            s.output_dim = dim;
            s.normalize = pool % 2 == 0;
            check_direction(&s);
        }
}

/* Export with everything, then the exported graph as a whole gives the same vectors. */
static void test_export_of_every_pool(void **state)
{
    char path[] = "/tmp/tripline-surgery-XXXXXX";
    struct token_batch b = batch();
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    for (int pool = POOL_MEAN; pool <= POOL_GEM; pool++) {
        struct engine_options o = {.threads = 1};
        struct surgery s, whole;
        struct err e = ERR_INIT;
        float out[DOCS * 7], again[DOCS * 7];
        struct engine *g;

        surgery_init(&s);
        s.pool = (enum pool)pool;
        s.output_dim = 7;
        g = open_with(&s, "cpu");
        assert_int_equal(engine_encode(g, &b, out, &e), 0);
        if (engine_export(g, path, &e) < 0)
            fail_msg("%s", e.text);
        engine_free(g);
        surgery_init(&whole);
        whole.cut = "sentence_embedding";
        whole.pool = POOL_NONE;
        whole.normalize = false;
        if (engine_open(&g, path, &whole, &o, &e) < 0)
            fail_msg("%s", e.text);
        assert_int_equal(engine_info(g)->dim, 7);
        assert_int_equal(engine_encode(g, &b, again, &e), 0);
        for (int i = 0; i < DOCS * 7; i++)
            assert_true(fabsf(out[i] - again[i]) <= 1e-6f);
        engine_free(g);
    }
    unlink(path);
}

static struct engine_step sgd(void)
{
    return (struct engine_step){
        .optim = {.kind = OPTIM_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = 0.01f,
        .decay = 0.1f,
        .layer_decay = 0.5f};
}

static void test_freeze(void **state)
{
    struct engine_step step = sgd();
    struct err e = ERR_INIT;
    struct surgery s;
    struct engine *g;
    float weights[DOCS * 32] = {0}, *before;

    surgery_init(&s);
    s.freeze_layers = 1;
    s.freeze = "*.layer.1.output.*,*query.bias";
    g = open_with(&s, "cpu");
    weights[3] = 1;
    before = malloc(g->params.total * sizeof *before);
    assert_non_null(before);
    memcpy(before, g->params.param, g->params.total * sizeof *before);
    loss(g, weights);
    assert_int_equal(engine_backward(g, weights, &e), 0);
    assert_int_equal(engine_step(g, &step, NULL, &e), 0);
    for (int i = 0; i < g->program.param_count; i++) {
        const struct param *q = &g->program.params[i];
        bool frozen =
            q->block < 1 || strstr(q->name, "layer.1.output.") || strstr(q->name, "query.bias");
        bool moved;

        if (!q->used)
            continue;
        moved = memcmp(before + q->at, g->params.param + q->at, q->count * sizeof *before) != 0;
        assert_int_equal(q->trainable, !frozen);
        assert_int_equal(moved, !frozen);
    }
    free(before);
    engine_free(g);
}

/* Two backwards before a step add up; a step with them equals one with their sum. */
static void test_accumulation(void **state)
{
    struct err e = ERR_INIT;
    float weights[DOCS * 32], twice[DOCS * 32];
    struct surgery s;
    struct engine *g, *h;
    double a, b;

    for (int i = 0; i < DOCS * 32; i++)
        twice[i] = 2 * (weights[i] = (float)cos(i));
    surgery_init(&s);
    g = open_with(&s, "cpu");
    h = open_with(&s, "cpu");
    loss(g, weights);
    assert_int_equal(engine_backward(g, weights, &e), 0);
    assert_int_equal(engine_backward(g, weights, &e), ERR_USAGE); /* one per forward */
    loss(g, weights);
    assert_int_equal(engine_backward(g, weights, &e), 0);
    loss(h, weights);
    assert_int_equal(engine_backward(h, twice, &e), 0);
    a = engine_gradient_norm(g);
    b = engine_gradient_norm(h);
    assert_true(a > 0 && fabs(a - b) <= 1e-5 * b);
    for (size_t i = 0; i < g->params.dense; i++)
        assert_true(fabsf(g->params.grad[i] - h->params.grad[i]) <= 1e-5f);
    engine_free(g);
    engine_free(h);
}

static void test_odd_batches(void **state)
{
    static const int32_t none[] = {0}, one[] = {0, 1}, empty[] = {0, 0, 0};
    struct token_batch b = {0, none, ids, NULL};
    struct err e = ERR_INIT;
    float out[2 * 32];
    struct surgery s;
    struct engine *g;

    surgery_init(&s);
    g = open_with(&s, "cpu");
    assert_int_equal(engine_encode(g, &b, out, &e), 0);
    assert_int_equal(engine_forward(g, &b, out, &e), 0);
    assert_int_equal(engine_backward(g, out, &e), 0);
    b = (struct token_batch){2, empty, ids, NULL};
    assert_int_equal(engine_forward(g, &b, out, &e), 0);
    for (int i = 0; i < 2 * engine_info(g)->dim; i++)
        assert_true(isfinite(out[i]));
    assert_int_equal(engine_backward(g, out, &e), 0);
    b = (struct token_batch){1, one, ids, NULL};
    assert_int_equal(engine_forward(g, &b, out, &e), 0);
    assert_int_equal(engine_backward(g, out, &e), 0);
    assert_true(isfinite(engine_gradient_norm(g)));
    engine_free(g);
}

static void test_refused(void **state)
{
    static const int32_t longer[] = {0, 21}, bad_ids[21] = {5, 61};
    struct engine_options o = {.threads = 1};
    struct token_batch b = {1, longer, ids, NULL};
    struct err e = ERR_INIT;
    float out[32];
    struct surgery s;
    struct engine *g;

    surgery_init(&s);
    g = open_with(&s, "cpu");
    batch();
    assert_int_equal(engine_encode(g, &b, out, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "document 0 has 21 tokens"));
    b = (struct token_batch){1, (const int32_t[]){0, 2}, bad_ids, NULL};
    assert_int_equal(engine_encode(g, &b, out, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "document 0, token 1: id 61"));
    engine_free(g);
    s.cut = "nowhere";
    assert_int_equal(engine_open(&g, MODEL, &s, &o, &e), ERR_CONFIG);
    surgery_init(&s);
    s.freeze = "nothing.*";
    assert_int_equal(engine_open(&g, MODEL, &s, &o, &e), ERR_CONFIG);
    surgery_init(&s);
    s.freeze_layers = 3;
    assert_int_equal(engine_open(&g, MODEL, &s, &o, &e), ERR_CONFIG);
    surgery_init(&s);
    s.pool = POOL_NONE;
    assert_int_equal(engine_open(&g, MODEL, &s, &o, &e), ERR_CONFIG);
    surgery_init(&s);
    s.freeze_layers = -1;
    o.train = true;
    assert_int_equal(engine_open(&g, MODEL, &s, &o, &e), ERR_CONFIG);
    o.backend = "abacus";
    s.freeze_layers = 0;
    assert_int_equal(engine_open(&g, MODEL, &s, &o, &e), ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pools_and_projection),
        cmocka_unit_test(test_export_of_every_pool),
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_odd_batches),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
