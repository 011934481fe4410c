/* run_fit on a tiny encoder: what it writes, the same bytes every time, all its parameters. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/arena.h"
#include "platform/base/file.h"
#include "schemas/run.h"
#include "tests/unit/run/world.h"
#include "trainer/checkpoint.h"

/* Every file is listed with its size and hash; the manifest's own hash is in the result. */
static void test_artifact(void **state)
{
    struct world *w = *state;
    char hex[SHA256_HEX];
    struct run_manifest m;
    struct run_result r;
    struct arena a;
    struct buf b;

    w->parameters.output_dim = 7;
    r = world_fit(w);
    arena_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    world_manifest(w->out, &a, &m);
    assert_int_equal(m.file_count, 13);
    for (size_t i = 0; i < m.file_count; i++) {
        world_hash(w->out, m.files[i].path, hex);
        assert_string_equal(hex, m.files[i].sha256);
    }
    assert_int_equal(world_entries(w->out), 9 + 3 + 1); /* files, folders, the manifest */
    world_hash(w->out, "manifest.json", hex);
    assert_string_equal(hex, r.manifest_sha256);
    world_hash(w->backbone, "model.onnx", hex);
    assert_string_equal(hex, m.backbone_sha256);
    assert_int_equal(m.dimension, 7);
    assert_int_equal(m.steps, r.steps);
    assert_int_equal(m.train_documents, 65);
    assert_int_equal(m.eval_documents, 40);
    assert_int_equal(m.labels, 5);
    assert_int_equal(m.max_length, 20); /* the backbone's positions, less than the parameter */
    assert_true(m.exact && m.normalized);
    assert_true(m.loss == w->last_loss);
    assert_int_equal(m.before_count, 7);
    assert_string_equal(m.after[1].name, "map_at_k"); /* sorted by name */
    assert_true(m.after[1].value == r.after.map_at_k);
    assert_int_equal(w->steps, r.steps);
    assert_int_equal(w->checkpoints, 2); /* one an epoch */
    arena_release(&a);
    buf_release(&b);
}

static void test_learns(void **state)
{
    struct world *w = *state;
    struct run_result r;

    w->parameters.epochs = 12;
    w->parameters.learning_rate = 5e-3;
    r = world_fit(w);
    assert_true(r.evaluated);
    assert_true(r.after.map_at_k > r.before.map_at_k + 0.1);
}

static void test_without_eval(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    struct run_result r;
    struct err e = ERR_INIT;

    spec.eval = NULL;
    assert_int_equal(run_fit(&spec, &r, &e), 0);
    assert_false(r.evaluated);
    assert_true(world_exists(w->out, "golden.json"));
}

static void fit_hash(struct world *w, int threads, char hex[SHA256_HEX])
{
    struct run_spec spec = world_spec(w);
    struct run_result r;
    struct err e = ERR_INIT;

    world_clear(w);
    spec.threads = threads;
    if (run_fit(&spec, &r, &e) < 0)
        fail_msg("%s", e.text);
    world_hash(w->out, "onnx/model.onnx", hex);
}

static void test_threads(void **state)
{
    struct world *w = *state;
    char one[SHA256_HEX], two[SHA256_HEX], three[SHA256_HEX], other[SHA256_HEX];

    w->parameters.lanes = 3;
    fit_hash(w, 1, one);
    fit_hash(w, 2, two);
    fit_hash(w, 3, three);
    assert_string_equal(one, two);
    assert_string_equal(one, three);
    w->parameters.seed++;
    fit_hash(w, 2, other);
    assert_string_not_equal(one, other);
}

/* Stopped after any step and begun again: the same bytes, the same loss, the same "before". */
static void test_stop_and_resume(void **state)
{
    struct world *w = *state;
    char want[SHA256_HEX], is[SHA256_HEX];
    struct run_result whole = world_fit(w), r;
    struct run_spec spec;

    world_hash(w->out, "onnx/model.onnx", want);
    for (int at = 1; at < whole.steps; at += 2) {
        world_clear(w);
        w->stop_at = at;
        spec = world_spec(w);
        world_fails(w, &spec, ERR_CANCELLED, "the same command again");
        assert_false(world_exists(w->out, ""));
        r = world_fit(w);
        assert_int_equal(w->resumed, at);
        assert_int_equal(r.resumed_step, at);
        world_hash(w->out, "onnx/model.onnx", is);
        assert_string_equal(is, want);
        assert_true(r.exact && r.loss == whole.loss);
        assert_memory_equal(&r.before, &whole.before, sizeof r.before);
        assert_memory_equal(&r.after, &whole.after, sizeof r.after);
    }
}

/* The process died after its last step: what it had measured and lost is still known. */
static void test_resume_at_the_end(void **state)
{
    struct world *w = *state;
    struct run_result whole = world_fit(w), r;
    struct err e = ERR_INIT;

    assert_int_equal(file_remove_tree(w->out, &e), 0);
    r = world_fit(w);
    assert_int_equal(r.resumed_step, whole.steps);
    assert_true(r.loss == whole.loss && r.before.map_at_k == whole.before.map_at_k);
}

static void test_damaged_checkpoint(void **state)
{
    struct world *w = *state;
    char want[SHA256_HEX], is[SHA256_HEX], path[512];
    struct run_spec spec;

    w->parameters.checkpoint_steps = 2;
    world_fit(w);
    world_hash(w->out, "onnx/model.onnx", want);
    world_clear(w);
    w->stop_at = 7;
    spec = world_spec(w);
    world_fails(w, &spec, ERR_CANCELLED, "stopped after step 7");
    snprintf(path, sizeof path, "%s/step-000000007.ckpt", w->work);
    assert_int_equal(truncate(path, 40000), 0);
    world_fit(w);
    assert_int_equal(w->resumed, 6);
    world_hash(w->out, "onnx/model.onnx", is);
    assert_string_equal(is, want);
}

/* One at the end; with a time between them more, whatever a step takes here. */
static void test_checkpoints_by_time(void **state)
{
    struct world *w = *state;
    const int64_t between[] = {0, 3600000, 1};
    struct run_spec spec;
    struct run_result r;
    struct err e = ERR_INIT;
    size_t i;

    w->parameters.checkpoint_steps = 1000000;
    for (i = 0; i < 3; i++) {
        world_clear(w);
        spec = world_spec(w);
        spec.checkpoint_ms = between[i];
        assert_int_equal(run_fit(&spec, &r, &e), 0);
        assert_true(r.steps > 4);
        if (i < 2)
            assert_int_equal(w->checkpoints, 1);
        else
            assert_true(w->checkpoints > 1);
    }
}

/* Another way of computing goes on only when it may, and then says so. */
static void test_other_backend(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    struct run_result r;
    struct err e = ERR_INIT;

    w->stop_at = 5;
    world_fails(w, &spec, ERR_CANCELLED, "stopped");
    spec = world_spec(w);
    spec.backend = "reference";
    world_fails(w, &spec, ERR_CONFIG, "was made under engine-");
    assert_false(world_exists(w->out, ""));
    spec.resume_any = true;
    assert_int_equal(run_fit(&spec, &r, &e), 0);
    assert_int_equal(r.resumed_step, 5);
    assert_false(r.exact);
}

/* Other parameters: another run, which does not go on from this one's checkpoints. */
static void test_other_parameters(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);

    w->stop_at = 5;
    world_fails(w, &spec, ERR_CANCELLED, "stopped");
    w->parameters.learning_rate *= 2;
    assert_int_equal(world_fit(w).resumed_step, 0);
}

static void runs(struct world *w)
{
    struct run_result r;

    world_clear(w);
    r = world_fit(w);
    assert_true(r.steps > 0 && isfinite(r.loss));
}

static void test_every_choice(void **state)
{
    struct world *w = *state;
    struct job_parameters normal = w->parameters;

    normal.epochs = 1;
    normal.warmup = 0.3;
    for (int i = 0; i <= MINER_DEFAULT; i++) {
        w->parameters = normal;
        w->parameters.miner = i;
        if (i < MINER_MULTI_SIMILARITY || i == MINER_BATCH_EASY_HARD)
            w->parameters.loss = LOSS_TRIPLET;
        runs(w);
    }
    for (int i = 0; i <= LOSS_BATCH_SEMIHARD; i++) {
        w->parameters = normal;
        w->parameters.loss = i;
        w->parameters.miner = MINER_DEFAULT;
        runs(w);
    }
    for (int i = 0; i <= OPTIMIZER_SGD; i++) {
        w->parameters = normal;
        w->parameters.optimizer = i;
        runs(w);
    }
    for (int i = 0; i <= SCHEDULE_COSINE; i++) {
        w->parameters = normal;
        w->parameters.schedule = i;
        runs(w);
    }
}

static void test_unusable_documents(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    struct dataset *one = world_documents(1, 9, 3), *singles = world_documents(5, 1, 3);

    spec.train = one;
    world_fails(w, &spec, ERR_CONFIG, "two labels or more");
    spec.train = singles;
    world_fails(w, &spec, ERR_FORMAT, "single document");
    assert_int_equal(world_entries(w->root), 1); /* the backbone */
    dataset_free(one);
    dataset_free(singles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_artifact, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_learns, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_without_eval, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_threads, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_stop_and_resume, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_resume_at_the_end, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_damaged_checkpoint, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_checkpoints_by_time, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_other_backend, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_other_parameters, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_every_choice, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_unusable_documents, world_setup, world_teardown),
    };

    return cmocka_run_group_tests_name("run_fit", tests, NULL, NULL);
}
