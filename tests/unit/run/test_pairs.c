/* Runs on pairs, scored or not, what does not go together, and every parameter of the losses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/base/counter.h"
#include "tests/unit/run/world.h"
#include "trainer/parameters.h"

/* A word of the letters around `at`. */
static void word(char text[9], int at, uint64_t number)
{
    for (int k = 0; k < 8; k++)
        text[k] =
            (char)('a' +
                   (at + (int)counter_below(counter_u64(5, 0, 1, number * 8 + (uint64_t)k), 4)) %
                       26);
    text[8] = '\0';
}

/* Pairs of words; the nearer their letters, the greater the score. */
static struct dataset *pairs_of(int count, bool scored)
{
    struct dataset *d = dataset_new();
    struct err e = ERR_INIT;
    char text[2][9];

    for (int i = 0; i < count; i++) {
        int apart = i % 4, at = i * 7 % 20;
        const double score = 5 - apart;

        word(text[0], at, (uint64_t)(2 * i));
        word(text[1], at + (scored ? 3 * apart : 0), (uint64_t)(2 * i + 1));
        assert_int_equal(dataset_add_pair(d, NULL, 0, text[0], 8, text[1], 8,
                                          scored ? &score : NULL, DATASET_TRAIN, &e),
                         0);
    }
    assert_int_equal(dataset_seal(d, &e), 0);
    return d;
}

static void train_on(struct world *w, struct dataset *train, struct dataset *eval)
{
    dataset_free(w->train);
    dataset_free(w->eval);
    w->train = train;
    w->eval = eval;
}

/* Learned, measured, and the same bytes after a stop. */
static void test_scored(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    char whole[SHA256_HEX], resumed[SHA256_HEX];
    struct run_result r, again;

    train_on(w, pairs_of(61, true), pairs_of(61, true));
    spec.train = w->train;
    spec.eval = w->eval;
    w->parameters.loss = LOSS_COSENT;
    w->parameters.epochs = 6;
    r = world_fit(w);
    assert_int_equal(r.steps, 6 * 11); /* 61 pairs in batches of 6 */
    assert_int_equal(r.before.pairs, 61);
    assert_string_equal(r.judged_by, "spearman");
    assert_true(r.after.spearman > r.before.spearman + 0.1 && r.after.pearson > r.before.pearson);
    world_hash(w->out, "onnx/model.onnx", whole);
    world_clear(w);
    w->stop_at = 17;
    world_fails(w, &spec, ERR_CANCELLED, "stopped after step 17");
    again = world_fit(w);
    assert_int_equal(again.resumed_step, 17);
    assert_true(again.before.spearman == r.before.spearman && again.before.pairs == 61);
    world_hash(w->out, "onnx/model.onnx", resumed);
    assert_string_equal(whole, resumed);
    world_clear(w);
    w->parameters.micro_batch = 5; /* pairs may lie in two pieces: the loss sees the whole batch */
    again = world_fit(w);
    assert_true(fabs(again.after.spearman - r.after.spearman) < 0.02);
}

/* What is measured depends on what is held out, not on what is trained on. */
static void test_other_evaluation(void **state)
{
    struct world *w = *state;
    struct run_result r;

    train_on(w, world_documents(5, 13, 1), pairs_of(30, true));
    r = world_fit(w);
    assert_int_equal(r.before.pairs, 30);
    world_clear(w);
    train_on(w, pairs_of(30, true), world_documents(5, 8, 2));
    w->parameters.loss = LOSS_COSENT;
    r = world_fit(w);
    assert_int_equal(r.before.queries, 40);
    assert_string_equal(r.judged_by, "map_at_k");
}

static void test_mixtures_are_refused(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);

    w->parameters.loss = LOSS_COSENT;
    world_fails(w, &spec, ERR_CONFIG, "the loss cosent needs scored pairs");
    train_on(w, pairs_of(30, true), pairs_of(3, true));
    spec.train = w->train;
    spec.eval = w->eval;
    for (int i = 0; i < LOSS_COSENT; i++) {
        w->parameters.loss = i;
        world_fails(w, &spec, ERR_CONFIG, "these are scored pairs: choose the loss cosent");
    }
    w->parameters.loss = LOSS_COSENT;
    w->parameters.best_metric = "map_at_k";
    world_fails(w, &spec, ERR_CONFIG, "choose spearman, pearson");
    w->parameters.best_metric = "auto";
    train_on(w, pairs_of(1, true), pairs_of(3, true));
    spec.train = w->train;
    spec.eval = w->eval;
    world_fails(w, &spec, ERR_FORMAT, "two at least");
}

/* The loss `auto`, as the manifest tells it. */
static int loss_of(struct world *w)
{
    struct run_manifest m;
    struct arena a;
    int loss;

    arena_init(&a, 1 << 20);
    world_manifest(w->out, &a, &m);
    loss = m.parameters->loss;
    arena_release(&a);
    return loss;
}

static void test_auto_is_what_the_documents_need(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    struct run_result r;

    job_parameters_init(&w->parameters);
    w->parameters.epochs = 1;
    assert_int_equal(w->parameters.loss, LOSS_AUTO);
    world_fit(w);
    assert_int_equal(loss_of(w), LOSS_MULTI_SIMILARITY);
    w->parameters.temperature = 0.1;
    world_clear(w);
    world_fails(w, &spec, ERR_CONFIG, "the loss multi-similarity has no temperature");
    train_on(w, pairs_of(30, true), pairs_of(30, true));
    r = world_fit(w); /* the temperature is cosent's */
    assert_string_equal(r.judged_by, "spearman");
    assert_int_equal(loss_of(w), LOSS_COSENT);
}

/* What parameters alone decide is told without a document. */
static void test_parameters_are_checked_alone(void **state)
{
    struct job_parameters p;
    struct err e = ERR_INIT;

    job_parameters_init(&p);
    assert_int_equal(parameters_check(&p, &e), 0);
    p.temperature = 0.1; /* cosent's */
    assert_int_equal(parameters_check(&p, &e), 0);
    p.margin = 0.1; /* neither's */
    assert_int_equal(parameters_check(&p, &e), ERR_CONFIG);
    p.margin = p.temperature = 0;
    p.swap = true;
    assert_int_equal(parameters_check(&p, &e), ERR_CONFIG);
    p.loss = LOSS_TRIPLET;
    assert_int_equal(parameters_check(&p, &e), 0);
    p.patience = 1;
    assert_int_equal(parameters_check(&p, &e), 0);
    p.eval = EVAL_NONE;
    assert_int_equal(parameters_check(&p, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "patience needs held-out documents, and eval = none"));
    p.patience = 0;
    p.pooling = POOLING_NONE;
    assert_int_equal(parameters_check(&p, &e), ERR_UNSUPPORTED);
}

/* Pairs without scores are classes: every loss of labels takes them. */
static void test_joined(void **state)
{
    struct world *w = *state;

    train_on(w, pairs_of(40, false), pairs_of(9, false));
    w->parameters.epochs = 1;
    for (int i = 0; i < LOSS_COSENT; i++) {
        w->parameters.loss = i;
        world_clear(w);
        assert_true(isfinite(world_fit(w).loss) && w->last_loss != 0);
    }
}

static double first_loss(struct world *w, const struct job_parameters *p)
{
    w->parameters = *p;
    world_clear(w);
    world_fit(w);
    return w->last_loss;
}

/* One step with a parameter, one without: it changed the loss. */
#define COUNTS(base, name, value)                                                                  \
    do {                                                                                           \
        struct job_parameters with = base;                                                         \
        double without = first_loss(w, &base);                                                     \
        with.name = value;                                                                         \
        if (first_loss(w, &with) == without)                                                       \
            fail_msg("%s changes nothing", #name);                                                 \
    } while (0)

static void test_every_parameter_counts(void **state)
{
    struct world *w = *state;
    struct job_parameters triplet = w->parameters, picks, supcon, similarity;

    dataset_free(w->eval);
    w->eval = NULL;
    triplet.loss = LOSS_TRIPLET;
    triplet.epochs = 1;
    triplet.batch_classes = 17; /* all in one batch: one step */
    picks = supcon = similarity = triplet;
    triplet.margin = picks.margin = 0.3;
    picks.miner = MINER_BATCH_EASY_HARD;
    supcon.loss = LOSS_SUPCON;
    similarity.loss = LOSS_MULTI_SIMILARITY;
    COUNTS(triplet, swap, true);
    COUNTS(triplet, smooth, true);
    COUNTS(triplet, miner_margin, 0.01);
    COUNTS(triplet, margin, 0.2);
    COUNTS(picks, pos_strategy, STRATEGY_HARD);
    COUNTS(picks, neg_strategy, STRATEGY_ALL);
    COUNTS(supcon, temperature, 0.5);
    COUNTS(similarity, alpha, 5);
    COUNTS(similarity, beta, 10);
    COUNTS(similarity, base, 0.8);
    COUNTS(similarity, epsilon, 1);
}

static void keep_idle(void *arg, const struct run_event *event)
{
    bool *idle = arg;

    *idle = *idle || (event->kind == RUN_WARNING && strstr(event->text, "nothing is learned"));
}

/* Pairs in the right order still have a loss: that is no idleness. */
static void test_ordered_pairs_are_not_idle(void **state)
{
    struct world *w = *state;
    struct run_result r;
    struct run_spec spec;
    struct err e = ERR_INIT;
    bool idle = false;

    train_on(w, pairs_of(4, true), pairs_of(4, true));
    w->parameters.loss = LOSS_COSENT;
    w->parameters.epochs = 60;
    w->parameters.learning_rate = 5e-3;
    spec = world_spec(w);
    spec.on_event = keep_idle;
    spec.arg = &idle;
    assert_int_equal(run_fit(&spec, &r, &e), 0);
    assert_true(r.after.spearman == 1);
    assert_false(idle);
}

static void keep_warning(void *arg, const struct run_event *event)
{
    if (event->kind == RUN_WARNING && strstr(event->text, "single document"))
        snprintf(arg, 1024, "%s", event->text);
}

static void test_single_labels_are_named(void **state)
{
    struct world *w = *state;
    struct dataset *d = dataset_new();
    struct run_result r;
    struct run_spec spec;
    struct err e = ERR_INIT;
    char said[1024] = "", text[9], label[160];

    for (int i = 0; i < 20; i++) {
        word(text, i, (uint64_t)i);
        snprintf(label, sizeof label, i < 12 ? "even %d" : "alone %d", i < 12 ? i / 4 : i);
        if (i == 13) /* 61 bytes, whose last character must not be cut in two */
            snprintf(label, sizeof label, "%059d\u00e9", 1);
        assert_int_equal(dataset_add(d, NULL, 0, text, 8, label, strlen(label), DATASET_TRAIN, &e),
                         0);
    }
    assert_int_equal(dataset_seal(d, &e), 0);
    dataset_free(w->train);
    w->train = d;
    spec = world_spec(w);
    spec.on_event = keep_warning;
    spec.arg = said;
    assert_int_equal(run_fit(&spec, &r, &e), 0);
    snprintf(label, sizeof label, "'alone 12', '%059d', 'alone 14', ...", 1);
    if (!strstr(said, "8 of 11 labels have a single document") || !strstr(said, label))
        fail_msg("said: %s", said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scored, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_other_evaluation, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_mixtures_are_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_auto_is_what_the_documents_need, world_setup,
                                        world_teardown),
        cmocka_unit_test(test_parameters_are_checked_alone),
        cmocka_unit_test_setup_teardown(test_ordered_pairs_are_not_idle, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_joined, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_every_parameter_counts, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_single_labels_are_named, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
