/*
 * Whole encoders against PyTorch and ONNX Runtime: vectors, the gradient of every parameter, ten
 * optimiser steps; the same bytes with one and two threads; a resume bit by bit. The golden files
 * are made by scripts/golden/engine.py and backbones.py.
 *
 *   test_golden_engine sse2 | avx2 | avx512 | reference
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

#include "tests/golden/engine/models.h"

static const char *backend = "cpu", *isa; /* what this run is about */

/* What is no more than rounding where the true gradient is zero (a key's bias). */
static double noise(const struct fixture *f)
{
    const struct gold_record *norms = gold_find(&f->gold, "norms");

    return 1e-6 * norms->data[0];
}

/* The whole gradient, element by element. */
static double check_whole(const struct fixture *f, const struct param *q, const float *g,
                          const struct gold_record *r)
{
    double far = 0, most = 0;

    assert_int_equal((int)q->count, r->count);
    for (int i = 0; i < r->count; i++) {
        far = fmax(far, fabs((double)g[i] - r->data[i]));
        most = fmax(most, fabs(r->data[i]));
    }
    if (!(far <= 1e-4 * most + 1e-7))
        fail_msg("%s: gradient of %s is off by %g of %g", f->model->name, q->name, far, most);
    return most > noise(f) ? far / most : 0;
}

/* Its length, its greatest element, and products with sign vectors. */
static double check_sketch(const struct fixture *f, const struct param *q, const float *g,
                           const struct gold_record *r)
{
    double products[SIGNS] = {0}, norm = 0, most = 0, far = 0, allowed;

    for (size_t i = 0; i < q->count; i++) {
        norm += (double)g[i] * g[i];
        most = fmax(most, fabs((double)g[i]));
        for (int k = 0; g[i] != 0 && k < SIGNS; k++)
            products[k] += g[i] * model_sign(i, k);
    }
    norm = sqrt(norm);
    allowed = 1e-4 * r->data[0] + noise(f);
    for (int k = 0; k < SIGNS; k++)
        far += pow(products[k] - r->data[2 + k], 2) / SIGNS;
    far = sqrt(far);
    if (!(far <= allowed && fabs(norm - r->data[0]) <= allowed &&
          fabs(most - r->data[1]) <= 1e-4 * r->data[1] + noise(f)))
        fail_msg("%s: gradient of %s is off by %g of %g", f->model->name, q->name, far,
                 (double)r->data[0]);
    return r->data[0] > noise(f) ? far / r->data[0] : 0;
}

static double check_gradients(const struct fixture *f)
{
    const struct engine *g = f->engine;
    int checked = 0, trainable = 0;
    double worst = 0;

    for (int i = 0; i < f->gold.count; i++) {
        const struct gold_record *r = &f->gold.records[i];
        const struct param *q;
        float *now;

        if (strncmp(r->name, "grad:", 5) != 0 || !(q = model_param(g, r->name + 5)))
            continue;
        now = calloc(q->count, sizeof *now);
        assert_non_null(now);
        model_gradient(g, q, now);
        worst =
            fmax(worst, (f->model->place == COMMITTED ? check_whole : check_sketch)(f, q, now, r));
        free(now);
        checked++;
    }
    for (int i = 0; i < g->program.param_count; i++)
        trainable += g->program.params[i].used && g->program.params[i].trainable;
    if (checked < trainable || checked < 20)
        fail_msg("%s: %d of %d gradients were compared", f->model->name, checked, trainable);
    return worst;
}

static double check_vectors(const struct fixture *f)
{
    const struct gold_record *want = gold_find(&f->gold, "embeddings");
    double far = 0;

    for (int i = 0; i < want->count; i++)
        far = fmax(far, fabs((double)f->out[i] - want->data[i]));
    if (!(far <= 1e-5))
        fail_msg("%s: a vector is off by %g", f->model->name, far);
    return far;
}

/* `first`: the loss of the golden file's first step, whose gradients are there. */
static double check_steps(struct fixture *f, double first)
{
    const struct gold_record *want = gold_find(&f->gold, "losses"),
                             *norms = gold_find(&f->gold, "norms");
    double far = 0;

    for (int i = 0; i < want->count; i++) {
        double now = i ? fixture_loss(f, true) : first, norm = fixture_step(f);

        far = fmax(far, fabs(now - want->data[i]));
        if (!(fabs(now - want->data[i]) <= 1e-4))
            fail_msg("%s: loss %d is %.7f, not %.7f", f->model->name, i, now,
                     (double)want->data[i]);
        if (!(fabs(norm - norms->data[i]) <= 1e-3 * norms->data[i]))
            fail_msg("%s: gradient norm %d is %g, not %g", f->model->name, i, norm,
                     (double)norms->data[i]);
    }
    far = fmax(far, fabs(fixture_loss(f, false) - gold_find(&f->gold, "final_loss")->data[0]));
    assert_true(far <= 1e-4);
    return far;
}

static void test_parity(void **state)
{
    for (int i = 0; i < model_count; i++) {
        double vectors, gradients, losses = 0, first;
        struct fixture f;

        if (!fixture_init(&f, &models[i], backend, isa, 2))
            continue;
        assert_string_equal(engine_info(f.engine)->cut, models[i].cut);
        assert_int_equal(engine_info(f.engine)->layers, models[i].layers);
        assert_int_equal(engine_info(f.engine)->max_tokens, models[i].tokens);
        first = fixture_loss(&f, true);
        vectors = check_vectors(&f);
        gradients = check_gradients(&f);
        if (!models[i].large || strcmp(backend, "cpu") == 0)
            losses = check_steps(&f, first);
        print_message("%-15s vectors %.1e, gradients %.1e, losses %.1e\n", models[i].name, vectors,
                      gradients, losses);
        fixture_release(&f);
    }
}

static void test_threads_give_the_same_bytes(void **state)
{
    struct fixture one, two;

    for (int i = 0; i < model_count; i++) {
        if (models[i].large || !fixture_init(&one, &models[i], backend, isa, 1))
            continue;
        assert_true(fixture_init(&two, &models[i], backend, isa, 2));
        for (int k = 0; k < 4; k++) {
            fixture_loss(&one, true);
            fixture_loss(&two, true);
            assert_memory_equal(one.out, two.out,
                                (size_t)(one.batch.count * one.dim) * sizeof(float));
            fixture_step(&one);
            fixture_step(&two);
        }
        assert_memory_equal(one.engine->params.param, two.engine->params.param,
                            one.engine->params.total * sizeof(float));
        fixture_release(&one);
        fixture_release(&two);
    }
}

static void test_resume(void **state)
{
    struct fixture straight, resumed;
    struct err e = ERR_INIT;
    FILE *file = tmpfile();

    assert_non_null(file);
    assert_true(fixture_init(&straight, &models[0], backend, isa, 2));
    assert_true(fixture_init(&resumed, &models[0], backend, isa, 1));
    for (int k = 0; k < 6; k++) {
        if (k == 3)
            assert_int_equal(engine_save(straight.engine, file, &e), 0);
        fixture_loss(&straight, true);
        fixture_step(&straight);
    }
    rewind(file);
    if (engine_load(resumed.engine, file, &e) < 0)
        fail_msg("%s", e.text);
    for (int k = 3; k < 6; k++) {
        fixture_loss(&resumed, true);
        fixture_step(&resumed);
    }
    assert_memory_equal(straight.engine->params.param, resumed.engine->params.param,
                        straight.engine->params.total * sizeof(float));
    rewind(file);
    assert_int_equal(ftruncate(fileno(file), 1000), 0);
    assert_int_equal(engine_load(resumed.engine, file, &e), ERR_FORMAT);
    fclose(file);
    fixture_release(&straight);
    fixture_release(&resumed);
}

/* The set that the argument names; a machine without it skips the test. */
static bool choose(const char *name)
{
    struct backend_options o = {.threads = 1, .isa = name};
    struct err e = ERR_INIT;
    struct backend *b;
    bool has;

    if (strcmp(name, "reference") == 0) {
        backend = name;
        return true;
    }
    isa = name;
    assert_int_equal(backend_cpu(&b, &o, &e), 0);
    has = strstr(backend_fingerprint(b), name) != NULL;
    backend_free(b);
    return has;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity),
        cmocka_unit_test(test_threads_give_the_same_bytes),
        cmocka_unit_test(test_resume),
    };

    if (argc != 2 || !choose(argv[1])) {
        printf("skipped: this machine has no %s\n", argc == 2 ? argv[1] : "such thing");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
