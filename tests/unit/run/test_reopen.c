/* An artifact opened again gives the vectors of the engine that trained it, whatever its tail. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/model.h"
#include "tests/unit/run/world.h"
#include "trainer/artifact.h"

static struct dataset *golden_documents(const struct artifact_golden_set *set)
{
    struct dataset *d = dataset_new();
    struct err e = ERR_INIT;

    for (int i = 0; i < set->count; i++)
        if (dataset_add(d, NULL, 0, set->texts[i], strlen(set->texts[i]), "x", 1, DATASET_EVAL,
                        &e) < 0)
            fail_msg("%s", e.text);
    assert_int_equal(dataset_seal(d, &e), 0);
    return d;
}

static void check_artifact(const char *folder, int dim, int tokens, bool normalize)
{
    struct artifact_golden_set set;
    struct err e = ERR_INIT;
    struct model m = {0};
    struct dataset *d;
    float *vectors;
    double seconds;

    if (artifact_golden_read(folder, &set, &e) < 0 || model_open(&m, folder, 2, 0, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(set.dim, dim);
    assert_int_equal(set.count, 8);
    assert_int_equal(engine_info(m.engine)->dim, dim);
    assert_int_equal(m.max_tokens, tokens);
    d = golden_documents(&set);
    if (model_encode(&m, d, &vectors, &seconds, &e) < 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < set.count; i++) {
        double square = 0;

        for (int k = 0; k < dim; k++) {
            double v = vectors[i * dim + k];

            assert_true(fabs(v - set.vectors[i * dim + k]) < 1e-6);
            square += v * v;
        }
        assert_true((fabs(square - 1) < 1e-5) == normalize);
    }
    free(vectors);
    dataset_free(d);
    model_release(&m);
    artifact_golden_free(&set);
}

static void each_tail(struct world *w, int tokens)
{
    for (int i = 0; i < 16; i++) {
        w->parameters.pooling = i / 4;
        w->parameters.output_dim = i & 2 ? 7 : 0;
        w->parameters.normalize = i & 1;
        w->parameters.epochs = 1;
        world_clear(w);
        world_fit(w);
        check_artifact(w->out, i & 2 ? 7 : 18, tokens, i & 1);
    }
}

static void test_bert(void **state)
{
    struct world w;

    world_open(&w, "bert-new");
    each_tail(&w, 20);
    world_close(&w);
}

static void test_older_opset(void **state)
{
    struct world w;

    world_open(&w, "roberta-old");
    each_tail(&w, 18); /* its positions begin at 2 */
    world_close(&w);
}

/* A model that was trained here is a backbone like any other, once and again. */
static void test_generations(void **state)
{
    char kept[3][256];
    struct world w;

    world_open(&w, "bert-new");
    w.parameters.epochs = 1;
    for (int i = 0; i < 3; i++) {
        w.parameters.output_dim = i == 1 ? 0 : 9;
        world_clear(&w);
        world_fit(&w);
        check_artifact(w.out, i == 1 ? 18 : 9, 20, true);
        snprintf(kept[i], sizeof kept[i], "%s/generation-%d", w.root, i);
        assert_int_equal(rename(w.out, kept[i]), 0);
        snprintf(w.backbone, sizeof w.backbone, "%s/generation-%d", w.root, i);
    }
    world_close(&w);
}

/* A backbone as it is: masked mean, normalised. */
static void test_backbone(void **state)
{
    struct err e = ERR_INIT;
    struct model m = {0};
    struct world w;
    float *vectors;
    double seconds, square = 0;

    world_open(&w, "distilbert-new");
    if (model_open(&m, w.backbone, 1, 0, &e) < 0 ||
        model_encode(&m, w.eval, &vectors, &seconds, &e) < 0)
        fail_msg("%s", e.text);
    for (int k = 0; k < 18; k++)
        square += (double)vectors[k] * vectors[k];
    assert_true(fabs(square - 1) < 1e-5);
    free(vectors);
    model_release(&m);
    assert_int_equal(model_open(&m, "no-such-folder", 1, 0, &e), ERR_NOT_FOUND);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bert),
        cmocka_unit_test(test_older_opset),
        cmocka_unit_test(test_generations),
        cmocka_unit_test(test_backbone),
    };

    return cmocka_run_group_tests_name("reopen", tests, NULL, NULL);
}
