/*
 * Whole tiny encoders against what PyTorch computed: embeddings, the gradient of every
 * parameter, ten optimiser steps; export and re-reading; the same bytes with one and
 * two threads; a resume bit by bit. Made by scripts/golden/engine.py.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/golden/engine/gold.h"
#include "trainer/engine/engine_int.h"

static const char *const models[] = {"bert-old",    "bert-new",       "roberta-old",
                                     "roberta-new", "distilbert-old", "distilbert-new",
                                     "albert-old",  "albert-new"};
enum { MODELS = sizeof models / sizeof models[0] };

struct fixture {
    struct gold gold;
    struct engine *engine;
    struct token_batch batch;
    int32_t *offsets, *ids, *types;
    int dim;
    float *out, *d_out;
    const float *target;
};

static void path_of(char *path, size_t size, const char *name, const char *extension)
{
    snprintf(path, size, "tests/golden/engine/%s.%s", name, extension);
}

static void open_engine(struct fixture *f, const char *path, const char *backend, int threads)
{
    struct engine_options o = {.backend = backend, .threads = threads, .lanes = 3, .train = true};
    struct surgery s;
    struct err e = ERR_INIT;

    surgery_init(&s);
    if (engine_open(&f->engine, path, &s, &o, &e) < 0)
        fail_msg("%s: %s", path, e.text);
    f->dim = engine_info(f->engine)->dim;
}

static void setup(struct fixture *f, const char *name, const char *backend, int threads)
{
    char path[200];

    memset(f, 0, sizeof *f);
    path_of(path, sizeof path, name, "gold");
    assert_int_equal(gold_read(&f->gold, path), 0);
    path_of(path, sizeof path, name, "onnx");
    open_engine(f, path, backend, threads);
    f->offsets = gold_ints(&f->gold, "offsets");
    f->ids = gold_ints(&f->gold, "ids");
    f->types = gold_ints(&f->gold, "types");
    f->batch.count = gold_find(&f->gold, "offsets")->count - 1;
    f->batch.offsets = f->offsets;
    f->batch.ids = f->ids;
    f->batch.types = f->types;
    f->target = gold_find(&f->gold, "target")->data;
    f->out = calloc((size_t)(f->batch.count * f->dim), sizeof *f->out);
    f->d_out = calloc((size_t)(f->batch.count * f->dim), sizeof *f->d_out);
}

static void teardown(struct fixture *f)
{
    engine_free(f->engine);
    gold_free(&f->gold);
    free(f->offsets);
    free(f->ids);
    free(f->types);
    free(f->out);
    free(f->d_out);
}

/* loss = sum (e - target)^2 / N; forward, and its gradient into the engine when `back`. */
static double loss(struct fixture *f, bool back)
{
    struct err e = ERR_INIT;
    double sum = 0;
    int n = f->batch.count;

    if (engine_forward(f->engine, &f->batch, f->out, &e) < 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < n * f->dim; i++) {
        double d = (double)f->out[i] - f->target[i];

        sum += d * d / n;
        f->d_out[i] = (float)(2 * d / n);
    }
    if (back && engine_backward(f->engine, f->d_out, &e) < 0)
        fail_msg("%s", e.text);
    return sum;
}

static double step(struct fixture *f)
{
    struct engine_step s = {
        .optim = {.kind = OPTIM_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = 3e-3f,
        .decay = 0.05f,
        .layer_decay = 1,
        .clip = 0.5f};
    struct err e = ERR_INIT;
    double norm = 0;

    if (engine_step(f->engine, &s, &norm, &e) < 0)
        fail_msg("%s", e.text);
    return norm;
}

/* The gradient of a parameter, dense, whatever its form. */
static void gradient(const struct engine *g, const struct param *q, float *out)
{
    const struct params *m = &g->params;

    if (q->table < 0) {
        memcpy(out, m->grad + q->at, q->count * sizeof *out);
        return;
    }
    memset(out, 0, q->count * sizeof *out);
    for (int i = 0; i < m->tables[q->table].count; i++) {
        size_t cols = (size_t)m->tables[q->table].cols;

        memcpy(out + (size_t)m->tables[q->table].ids[i] * cols,
               m->tables[q->table].grads + (size_t)i * cols, cols * sizeof *out);
    }
}

static void check_gradient(const struct fixture *f, const char *model, const struct param *q,
                           const struct gold_record *r)
{
    float *g = calloc(q->count, sizeof *g);
    double far = 0, most = 0;

    assert_int_equal((int)q->count, r->count);
    gradient(f->engine, q, g);
    for (int i = 0; i < r->count; i++) {
        far = fmax(far, fabs((double)g[i] - r->data[i]));
        most = fmax(most, fabs(r->data[i]));
    }
    free(g);
    if (!(far <= 1e-4 * most + 1e-7))
        fail_msg("%s: gradient of %s is off by %g of %g", model, q->name, far, most);
}

static void check_gradients(const struct fixture *f, const char *model)
{
    const struct engine *g = f->engine;
    int checked = 0, trainable = 0;

    for (int i = 0; i < g->source->initializer_count; i++) {
        int index = g->program.initializer_param[i];
        const struct gold_record *r;
        char key[200];

        snprintf(key, sizeof key, "grad:%.180s", g->source->initializers[i].name);
        r = gold_find(&f->gold, key);
        if (index < 0 || !g->program.params[index].used)
            continue;
        trainable++;
        if (!r) {
            print_message("%s: no golden gradient of %s\n", model, g->program.params[index].name);
            continue;
        }
        check_gradient(f, model, &g->program.params[index], r);
        checked++;
    }
    assert_int_equal(checked, trainable);
    assert_true(checked >= 20);
}

static void check_model(const char *name, const char *backend, int threads)
{
    const struct gold_record *want, *norms;
    struct fixture f;
    double first;

    setup(&f, name, backend, threads);
    first = loss(&f, true);
    want = gold_find(&f.gold, "embeddings");
    for (int i = 0; i < want->count; i++)
        if (!(fabs((double)f.out[i] - want->data[i]) <= 1e-5))
            fail_msg("%s on %s: embedding %d is %g, not %g", name, backend, i, (double)f.out[i],
                     (double)want->data[i]);
    check_gradients(&f, name);
    want = gold_find(&f.gold, "losses");
    norms = gold_find(&f.gold, "norms");
    for (int i = 0; i < want->count; i++) {
        double norm, now = i ? loss(&f, true) : first;

        if (!(fabs(now - want->data[i]) <= 1e-4))
            fail_msg("%s on %s: loss %d is %.7f, not %.7f", name, backend, i, now,
                     (double)want->data[i]);
        norm = step(&f);
        if (!(fabs(norm - norms->data[i]) <= 1e-3 * norms->data[i]))
            fail_msg("%s: gradient norm %d is %g, not %g", name, i, norm, (double)norms->data[i]);
    }
    assert_true(fabs(loss(&f, false) - gold_find(&f.gold, "final_loss")->data[0]) <= 1e-4);
    teardown(&f);
}

static void test_cpu(void **state)
{
    for (int i = 0; i < MODELS; i++)
        check_model(models[i], "cpu", 2);
}

static void test_reference(void **state)
{
    for (int i = 0; i < MODELS; i++)
        check_model(models[i], "reference", 1);
}

static void test_threads_give_the_same_bytes(void **state)
{
    struct fixture one, two;

    for (int i = 0; i < MODELS; i++) {
        setup(&one, models[i], "cpu", 1);
        setup(&two, models[i], "cpu", 2);
        for (int k = 0; k < 4; k++) {
            loss(&one, true);
            loss(&two, true);
            assert_memory_equal(one.out, two.out,
                                (size_t)(one.batch.count * one.dim) * sizeof(float));
            step(&one);
            step(&two);
        }
        assert_memory_equal(one.engine->params.param, two.engine->params.param,
                            one.engine->params.total * sizeof(float));
        teardown(&one);
        teardown(&two);
    }
}

static void test_resume(void **state)
{
    struct fixture straight, resumed;
    struct err e = ERR_INIT;
    FILE *file = tmpfile();

    assert_non_null(file);
    setup(&straight, "bert-old", "cpu", 2);
    setup(&resumed, "bert-old", "cpu", 1);
    for (int k = 0; k < 6; k++) {
        if (k == 3)
            assert_int_equal(engine_save(straight.engine, file, &e), 0);
        loss(&straight, true);
        step(&straight);
    }
    rewind(file);
    if (engine_load(resumed.engine, file, &e) < 0)
        fail_msg("%s", e.text);
    for (int k = 3; k < 6; k++) {
        loss(&resumed, true);
        step(&resumed);
    }
    assert_memory_equal(straight.engine->params.param, resumed.engine->params.param,
                        straight.engine->params.total * sizeof(float));
    rewind(file);
    assert_int_equal(ftruncate(fileno(file), 1000), 0);
    assert_int_equal(engine_load(resumed.engine, file, &e), ERR_FORMAT);
    fclose(file);
    teardown(&straight);
    teardown(&resumed);
}

/* Trained, exported, read again as a backbone and as a whole: the same vectors. */
static void check_export(const char *name, const char *path)
{
    struct fixture f, again;
    struct surgery whole;
    struct engine_options o = {.backend = "cpu", .threads = 1};
    struct err e = ERR_INIT;
    struct engine *g;
    size_t bytes;

    setup(&f, name, "cpu", 2);
    for (int k = 0; k < 2; k++) {
        loss(&f, true);
        step(&f);
    }
    if (engine_encode(f.engine, &f.batch, f.out, &e) < 0 || engine_export(f.engine, path, &e) < 0)
        fail_msg("%s", e.text);
    memset(&again, 0, sizeof again);
    open_engine(&again, path, "cpu", 1);
    bytes = (size_t)(f.batch.count * f.dim) * sizeof(float);
    if (engine_encode(again.engine, &f.batch, f.d_out, &e) < 0)
        fail_msg("%s", e.text);
    assert_memory_equal(f.out, f.d_out, bytes);
    engine_free(again.engine);
    surgery_init(&whole);
    whole.cut = "sentence_embedding";
    whole.pool = POOL_NONE;
    whole.normalize = false;
    if (engine_open(&g, path, &whole, &o, &e) < 0 || engine_encode(g, &f.batch, f.d_out, &e) < 0)
        fail_msg("%s: %s", name, e.text);
    assert_memory_equal(f.out, f.d_out, bytes);
    engine_free(g);
    teardown(&f);
}

static void test_export(void **state)
{
    char path[] = "/tmp/tripline-export-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < MODELS; i++)
        check_export(models[i], path);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_threads_give_the_same_bytes),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_export),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
