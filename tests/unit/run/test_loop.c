/* The loop around the steps: evaluations, the best weights, early stopping, warnings, the verdict.
 */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/arena.h"
#include "platform/base/file.h"
#include "platform/clock/clock.h"
#include "schemas/run.h"
#include "tests/unit/run/world.h"

enum { EVALS = 64, STEPS = 6 /* of an epoch */ };

struct watched {
    struct world w;
    char untrained[160];
    struct run_event evals[EVALS];
    int count, idle, collapsed, worse;
    int64_t kill_at; /* the process kills itself behind this step; 0: never */
    char said[512];  /* of the last warning or verdict */
};

static int setup(void **state)
{
    struct watched *x = calloc(1, sizeof *x);

    world_open(&x->w, "bert-new");
    snprintf(x->untrained, sizeof x->untrained, "%s.untrained", x->w.out);
    x->w.parameters.learning_rate = 5e-3;
    x->w.parameters.warmup = 0;
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct watched *x = *state;

    world_close(&x->w);
    free(x);
    return 0;
}

static void on_event(void *arg, const struct run_event *event)
{
    struct watched *x = arg;

    if (event->kind == RUN_EVAL && x->count < EVALS)
        x->evals[x->count++] = *event;
    if (event->kind == RUN_WARNING || event->kind == RUN_WORSE)
        snprintf(x->said, sizeof x->said, "%s", event->text);
    if (event->kind == RUN_WARNING) {
        x->idle += strstr(event->text, "no triplet") != NULL;
        x->collapsed += strstr(event->text, "collapse") != NULL;
    }
    x->worse += event->kind == RUN_WORSE;
    if (event->kind == RUN_STEP && event->step == x->w.stop_at)
        clock_stop(x->w.clock);
    if (event->kind == RUN_STEP && event->step == x->kill_at)
        kill(getpid(), SIGKILL);
}

static struct run_spec spec_of(struct watched *x)
{
    struct run_spec spec = world_spec(&x->w);

    spec.on_event = on_event;
    spec.arg = x;
    spec.untrained = x->untrained;
    return spec;
}

static struct run_result fit(struct watched *x)
{
    struct run_spec spec = spec_of(x);
    struct run_result result;
    struct err e = ERR_INIT;

    x->count = 0;
    if (run_fit(&spec, &result, &e) < 0)
        fail_msg("%s", e.text);
    return result;
}

static void hash_of_model(const struct watched *x, char hex[SHA256_HEX])
{
    world_hash(x->w.out, "onnx/model.onnx", hex);
}

/* ---- evaluations ------------------------------------------------------------------------------
 */

static void test_when(void **state)
{
    static const int64_t steps[] = {0, 4, 6, 8, 12};
    struct watched *x = *state;
    struct run_result r;

    x->w.parameters.eval_steps = 4;
    x->w.parameters.eval_epochs = 1;
    r = fit(x);
    assert_int_equal(r.steps, 2 * STEPS);
    assert_int_equal(x->count, 5);
    for (int i = 0; i < x->count; i++) {
        assert_int_equal(x->evals[i].step, steps[i]);
        assert_string_equal(x->evals[i].when, i == 0 ? "before" : i == 4 ? "after" : "training");
        assert_string_equal(x->evals[i].metric, "map_at_k");
    }
    assert_true(x->evals[4].value == r.after.map_at_k && r.after_value == r.after.map_at_k);
    assert_true(x->evals[0].value == r.before.map_at_k && r.before_value == r.before.map_at_k);
    assert_int_equal(r.exported_step, r.steps);
}

static int64_t best_of(const struct watched *x, double *value)
{
    int64_t step = 0;

    *value = -1;
    for (int i = 1; i < x->count; i++)
        if (x->evals[i].value > *value) {
            *value = x->evals[i].value;
            step = x->evals[i].step;
        }
    return step;
}

/* The weights of the best evaluation: the same bytes as a run that ends there. */
static void test_best(void **state)
{
    struct watched *x = *state;
    struct job_parameters *p = &x->w.parameters;
    char best[SHA256_HEX], until[SHA256_HEX], last[SHA256_HEX];
    struct run_result r;
    double value;
    int64_t step;

    p->epochs = 8;
    p->schedule = SCHEDULE_CONSTANT;
    p->export = EXPORT_BEST;
    p->best_metric = "hit_at_k"; /* among so many it is 1 from the first: none is better */
    p->eval_k = 30;
    r = fit(x);
    step = best_of(x, &value);
    assert_int_equal(x->count, 1 + 8 + 1); /* before, each epoch, the best again */
    assert_int_equal(step, STEPS);
    assert_int_equal(r.exported_step, step);
    assert_true(r.after_value == value && x->evals[9].value == value);
    hash_of_model(x, best);
    p->export = EXPORT_LAST;
    world_clear(&x->w);
    r = fit(x);
    assert_int_equal(r.exported_step, r.steps);
    hash_of_model(x, last);
    assert_string_not_equal(best, last);
    p->epochs = step / STEPS;
    world_clear(&x->w);
    fit(x);
    hash_of_model(x, until);
    assert_string_equal(best, until);
}

static void test_other_metric(void **state)
{
    struct watched *x = *state;
    struct run_result r;

    x->w.parameters.best_metric = "recall_at_k";
    x->w.parameters.eval_k = 5;
    r = fit(x);
    assert_string_equal(r.judged_by, "recall_at_k");
    assert_true(r.after_value == r.after.recall_at_k);
}

/* Nothing is gained at this rate: it ends after `patience` evaluations behind the first. */
static void test_patience(void **state)
{
    struct watched *x = *state;
    struct job_parameters *p = &x->w.parameters;
    struct run_result r;

    p->epochs = 9;
    p->learning_rate = 1e-9;
    p->patience = 3;
    p->min_delta = 0.01;
    r = fit(x);
    assert_true(r.stopped_early);
    assert_int_equal(r.steps, 4 * STEPS);
    assert_string_equal(x->evals[x->count - 1].when, "after");
    p->min_delta = 0;
    p->learning_rate = 5e-3;
    p->patience = 9;
    world_clear(&x->w);
    r = fit(x);
    assert_false(r.stopped_early);
    assert_int_equal(r.steps, 9 * STEPS);
}

static void test_refusals(void **state)
{
    struct watched *x = *state;
    struct run_spec spec = spec_of(x);

    x->w.parameters.best_metric = "beauty";
    world_fails(&x->w, &spec, ERR_CONFIG, "best_metric 'beauty' is not measured");
    spec.eval = NULL;
    x->w.parameters.best_metric = "auto";
    x->w.parameters.patience = 2;
    world_fails(&x->w, &spec, ERR_CONFIG, "patience needs held-out documents");
    x->w.parameters.patience = 0;
    x->w.parameters.eval_steps = 2;
    world_fails(&x->w, &spec, ERR_CONFIG, "eval_steps needs held-out documents");
    assert_int_equal(world_entries(x->w.root), 1);
}

/* ---- after a kill -----------------------------------------------------------------------------
 */

static void killed_at(struct watched *x, int64_t step)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        x->kill_at = step;
        fit(x);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void compare_manifests(const struct watched *x, const char *other)
{
    static const char *const names[] = {"metrics.json", "golden.json", "onnx/model.onnx",
                                        "report.html"};
    char a[SHA256_HEX], b[SHA256_HEX];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        world_hash(x->w.out, names[i], a);
        world_hash(other, names[i], b);
        if (strcmp(a, b) != 0)
            fail_msg("%s differs", names[i]);
    }
}

/* Killed behind any step: the best weights, the evaluations, the curves, all is as without. */
static void test_kill(void **state)
{
    struct watched *x = *state;
    struct job_parameters *p = &x->w.parameters;
    struct run_result whole, r;
    char other[256];

    p->epochs = 5;
    p->learning_rate = 2e-2;
    p->export = EXPORT_BEST;
    p->patience = 6;
    p->eval_steps = 2;
    p->checkpoint_steps = 3;
    p->accumulate = 2;
    p->micro_batch = 5;
    whole = fit(x);
    snprintf(other, sizeof other, "%s/whole", x->w.root);
    assert_int_equal(rename(x->w.out, other), 0);
    for (int64_t at = 1; at <= whole.steps; at++) {
        world_clear(&x->w);
        killed_at(x, at);
        r = fit(x);
        assert_int_equal(r.resumed_step, (at - 1) / 3 * 3);
        assert_int_equal(r.exported_step, whole.exported_step);
        assert_int_equal(r.steps, whole.steps);
        assert_memory_equal(&r.after, &whole.after, sizeof r.after);
        compare_manifests(x, other);
    }
}

/* ---- warnings ---------------------------------------------------------------------------------
 */

/* Said once, though the run was stopped and went on. */
static void test_idle(void **state)
{
    struct watched *x = *state;
    struct run_spec spec = spec_of(x);

    x->w.parameters.epochs = 6;
    x->w.parameters.learning_rate = 1e-12;
    x->w.parameters.loss = LOSS_TRIPLET;
    x->w.parameters.margin = 1e-7; /* no negative is so near behind a positive */
    x->w.stop_at = 12;
    world_fails(&x->w, &spec, ERR_CANCELLED, "");
    assert_int_equal(x->idle, 1);
    assert_non_null(strstr(x->said, "step 10:"));
    fit(x);
    assert_int_equal(x->idle, 1);
}

/* Texts that are all the same have embeddings that are all the same. */
static void test_collapse(void **state)
{
    struct watched *x = *state;
    struct run_spec spec = spec_of(x);
    struct dataset *d = dataset_new();
    struct run_result r;
    struct err e = ERR_INIT;

    for (int i = 0; i < 24; i++)
        assert_int_equal(
            dataset_add(d, NULL, 0, "same", 4, i % 2 ? "a" : "b", 1, DATASET_TRAIN, &e), 0);
    assert_int_equal(dataset_seal(d, &e), 0);
    spec.train = d;
    x->w.parameters.epochs = 6;
    assert_int_equal(run_fit(&spec, &r, &e), 0);
    assert_true(r.steps > 11);
    assert_int_equal(x->collapsed, 1);
    dataset_free(d);
}

/* ---- the verdict ------------------------------------------------------------------------------
 */

static void test_worse(void **state)
{
    struct watched *x = *state;
    struct run_manifest m;
    struct run_result r;
    struct arena a;

    x->w.parameters.learning_rate = 1;
    r = fit(x);
    assert_true(r.worse && r.after_value < r.before_value);
    assert_int_equal(x->worse, 1);
    assert_non_null(strstr(x->said, "IT GOT WORSE: map_at_k fell from 0."));
    assert_non_null(strstr(x->said, x->untrained));
    arena_init(&a, 1 << 20);
    world_manifest(x->w.out, &a, &m);
    assert_true(m.worse);
    assert_string_equal(m.judged_by, "map_at_k");
    world_manifest(x->untrained, &a, &m);
    assert_false(m.worse);
    assert_int_equal(m.steps, 0);
    assert_true(m.after[1].value == r.before.map_at_k); /* sorted by name */
    assert_true(world_exists(x->untrained, "golden.json"));
    arena_release(&a);
}

/* The same backbone, whatever is learned: trained at no rate, its model is the untrained one. */
static void test_untrained(void **state)
{
    struct watched *x = *state;
    char untrained[SHA256_HEX], golden[SHA256_HEX], same[SHA256_HEX];
    struct run_spec spec = spec_of(x);
    struct run_result r;
    struct err e = ERR_INIT;

    x->w.parameters.learning_rate = 1;
    fit(x);
    world_hash(x->untrained, "onnx/model.onnx", untrained);
    world_hash(x->untrained, "golden.json", golden);
    x->w.parameters.learning_rate = 1e-12;
    x->w.parameters.optimizer = OPTIMIZER_SGD;
    x->w.parameters.weight_decay = 0;
    world_fails(&x->w, &spec, ERR_EXISTS, "holds a finished model of another run");
    spec.keep_finished = false;
    assert_int_equal(run_fit(&spec, &r, &e), 0);
    assert_false(r.worse);
    assert_false(world_exists(x->untrained, "")); /* what was there is of no use any more */
    hash_of_model(x, same);
    assert_string_equal(same, untrained);
    world_hash(x->w.out, "golden.json", same);
    assert_string_equal(same, golden);
}

/* A folder that is not ours is not touched, and that is known before anything is trained. */
static void test_strangers_folder(void **state)
{
    struct watched *x = *state;
    struct run_spec spec = spec_of(x);
    struct err e = ERR_INIT;
    char path[256];

    assert_int_equal(file_mkdirs(x->untrained, &e), 0);
    snprintf(path, sizeof path, "%s/letter.txt", x->untrained);
    assert_int_equal(file_write(path, "dear", 4, &e), 0);
    world_fails(&x->w, &spec, ERR_EXISTS, "letter.txt");
    assert_int_equal(x->count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_when, setup, teardown),
        cmocka_unit_test_setup_teardown(test_best, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_metric, setup, teardown),
        cmocka_unit_test_setup_teardown(test_patience, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_collapse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_worse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_untrained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers_folder, setup, teardown),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
