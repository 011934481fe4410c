/* What a loss does at its edges, and that its memory settles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ops/cases.h"
#include "trainer/learn/loss.h"
#include "trainer/learn/schedule.h"

enum { B = 24, D = 9 };

static struct backend *backend;

static void fill(float *x, int32_t *labels, int classes, double spread, uint64_t seed)
{
    for (int i = 0; i < B; i++) {
        labels[i] = (int32_t)(op_random(seed, (uint64_t)i) % (uint32_t)classes);
        for (int k = 0; k < D; k++)
            x[i * D + k] = (float)(op_normal(99, (uint64_t)(labels[i] * D + k)) +
                                   spread * op_normal(seed, (uint64_t)(i * D + k)));
    }
}

static double compute(const struct loss_options *o, const float *x, const int32_t *labels,
                      int count, float *grad, struct loss_stats *stats)
{
    const double scores[B / 2] = {.3, .1, .5, .3, .9};
    struct loss_rows rows = {.count = count, .dim = D, .labels = labels};
    struct err e = ERR_INIT;
    struct loss *l;

    if (loss_kind_scored(o->kind)) {
        rows.scores = scores;
        rows.count -= count % 2;
    }
    assert_int_equal(loss_new(&l, o, &e), 0);
    if (rows.count && loss_compute(l, backend, x, &rows, grad, stats, &e) < 0)
        fail_msg("%s", e.text);
    loss_free(l);
    return stats->loss;
}

static bool has_margin(int kind)
{
    return kind == LOSS_IS_TRIPLET || kind == LOSS_IS_CONTRASTIVE || kind == LOSS_IS_BATCH_HARD ||
           kind == LOSS_IS_BATCH_SEMIHARD;
}

static bool has_temperature(int kind)
{
    return kind == LOSS_IS_SUPCON || kind == LOSS_IS_NEGATIVES_RANKING || kind == LOSS_IS_COSENT;
}

static void gradients_equal_finite_differences(void **state)
{
    float x[B * D], grad[B * D], other[B * D];
    int32_t labels[B];
    struct loss_stats stats;

    fill(x, labels, 5, 0.8, 3);
    for (int kind = 0; kind < LOSS_KINDS; kind++)
        for (int smooth = 0; smooth < 2; smooth++) {
            struct loss_options o = {.kind = (enum loss_kind)kind,
                                     /* above every gap: no hinge in reach */
                                     .margin = !has_margin(kind) ? 0
                                               : smooth          ? 0.7f
                                                                 : 9,
                                     .miner = MINE_NONE,
                                     .smooth = smooth && kind == LOSS_IS_TRIPLET,
                                     .temperature = has_temperature(kind) ? 0.5f : 0,
                                     .beta = 10};
            int bad = 0;
            compute(&o, x, labels, B, grad, &stats);
            for (int i = 0; i < B * D; i += 5) {
                const float step = 1.0f / 256, keep = x[i];
                double up, down;
                x[i] = keep + step;
                up = compute(&o, x, labels, B, other, &stats);
                x[i] = keep - step;
                down = compute(&o, x, labels, B, other, &stats);
                x[i] = keep;
                bad += fabs((up - down) / (2.0 * step) - grad[i]) > 2e-3;
            }
            if (bad > 0)
                print_message("%s%s: %d of %d differ\n", loss_kind_name(o.kind),
                              smooth ? " smooth" : "", bad, (B * D + 4) / 5);
            /* Where the hardest one changes, a difference says nothing. */
            assert_true(bad <=
                        (o.kind == LOSS_IS_BATCH_HARD || o.kind == LOSS_IS_BATCH_SEMIHARD ? 6 : 0));
        }
}

/* Nothing to learn from: loss 0, gradient 0, no NaN. */
static void batches_without_triplets(void **state)
{
    float x[B * D], grad[B * D];
    int32_t labels[B], one[B] = {0}, each[B];
    struct loss_stats stats;

    fill(x, labels, 3, 1, 4);
    for (int i = 0; i < B; i++)
        each[i] = i;
    for (int kind = 0; kind < LOSS_KINDS; kind++)
        for (int way = 0; way < 3; way++) {
            struct loss_options o = {.kind = (enum loss_kind)kind, .miner = MINE_ALL};
            const int32_t *l = way == 0 ? one : way == 1 ? each : labels;
            int count = way == 2 ? 1 : B;
            compute(&o, x, l, count, grad, &stats);
            assert_true(isfinite(stats.loss) && isfinite(stats.active));
            for (int i = 0; i < count * D; i++)
                assert_true(isfinite(grad[i]));
            for (int i = 0; kind == LOSS_IS_TRIPLET && i < count * D; i++)
                assert_true(grad[i] == 0 && stats.loss == 0);
        }
}

/* Equal documents: distances of zero have no slope, and a zero embedding no direction. */
static void equal_and_zero_embeddings(void **state)
{
    float x[B * D], grad[B * D];
    int32_t labels[B];
    struct loss_stats stats;

    fill(x, labels, 3, 0, 5);
    memset(x, 0, sizeof *x * D);
    for (int kind = 0; kind < LOSS_KINDS; kind++)
        for (int miner = 0; miner < MINERS; miner++) {
            struct loss_options o = {.kind = (enum loss_kind)kind, .miner = (enum miner)miner};
            bool own = kind == LOSS_IS_MULTI_SIMILARITY
                           ? miner == MINE_MULTI_SIMILARITY
                           : kind == LOSS_IS_TRIPLET && miner != MINE_MULTI_SIMILARITY;
            if (miner != MINE_ALL && miner != MINE_NONE && !own)
                continue;
            compute(&o, x, labels, B, grad, &stats);
            assert_true(isfinite(stats.loss));
            for (int i = 0; i < B * D; i++)
                assert_true(isfinite(grad[i]));
        }
}

static void statistics_tell_of_the_batch(void **state)
{
    /* Two labels at a right angle, each twice: positives 0, negatives sqrt 2. */
    float x[4 * D] = {0}, grad[4 * D];
    const int32_t labels[4] = {0, 0, 1, 1};
    struct loss_options o = {.margin = 2, .miner = MINE_ALL};
    struct loss_stats stats;

    x[0 * D] = x[1 * D] = 3;
    x[2 * D + 1] = x[3 * D + 1] = 5;
    compute(&o, x, labels, 4, grad, &stats);
    assert_int_equal(stats.triplets, 8);
    assert_true(stats.active == 1);
    assert_true(fabs(stats.positive) < 1e-6 && fabs(stats.negative - sqrt(2)) < 1e-6);
    assert_true(fabs(stats.similarity - 2.0 / 6) < 1e-6);
    assert_true(fabs(stats.loss - (2 - sqrt(2))) < 1e-6);
    o.margin = 1;
    compute(&o, x, labels, 4, grad, &stats);
    assert_true(stats.triplets == 0 && stats.active == 0);
}

static void numbers_that_are_not_finite_are_refused(void **state)
{
    float x[B * D], grad[B * D];
    int32_t labels[B];
    struct loss_options o = {0};
    struct loss_stats stats;
    struct loss_rows rows = {.count = B, .dim = D, .labels = labels};
    struct err e = ERR_INIT;
    struct loss *l;

    fill(x, labels, 3, 1, 6);
    x[5 * D] = NAN;
    assert_int_equal(loss_new(&l, &o, &e), 0);
    assert_int_equal(loss_compute(l, backend, x, &rows, grad, &stats, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "embedding 5"));
    loss_free(l);
}

static void options_are_checked(void **state)
{
    struct loss_options kind = {.kind = LOSS_KINDS}, margin = {.margin = -1},
                        miner = {.miner = MINE_MULTI_SIMILARITY};
    const struct {
        struct loss_options options;
        const char *text;
    } foreign[] = {
        {{.kind = LOSS_IS_SUPCON, .swap = true}, "swap belongs to the loss triplet"},
        {{.kind = LOSS_IS_COSENT, .smooth = true}, "smooth belongs to the loss triplet"},
        {{.temperature = 1}, "the loss triplet has no temperature"},
        {{.kind = LOSS_IS_MULTI_SIMILARITY, .margin = 1}, "multi-similarity has no margin"},
        {{.kind = LOSS_IS_SUPCON, .miner = MINE_HARD}, "supcon takes no miner hard"},
        {{.kind = LOSS_IS_MULTI_SIMILARITY, .miner = MINE_EASY_POSITIVE}, "easy-positive"},
        {{.kind = LOSS_IS_CONTRASTIVE, .miner = MINE_MULTI_SIMILARITY}, "not to contrastive"},
        {{.miner = MINE_BATCH_EASY_HARD, .positives = PICK_SEMIHARD, .negatives = PICK_ALL},
         "easy or hard only"},
        {{.miner = MINE_BATCH_EASY_HARD, .positives = PICK_SEMIHARD, .negatives = PICK_SEMIHARD},
         "easy or hard only"},
    };
    struct err e = ERR_INIT;
    struct loss *l;

    assert_int_equal(loss_new(&l, &kind, &e), ERR_CONFIG);
    assert_int_equal(loss_new(&l, &margin, &e), ERR_CONFIG);
    assert_int_equal(loss_new(&l, &miner, &e), ERR_CONFIG);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        assert_int_equal(loss_new(&l, &foreign[i].options, &e), ERR_CONFIG);
        if (!strstr(e.text, foreign[i].text))
            fail_msg("'%s' is not in: %s", foreign[i].text, e.text);
    }
    loss_free(NULL);
}

static void names_go_both_ways(void **state)
{
    enum loss_kind kind;
    enum miner miner;
    enum schedule schedule;
    enum optim_kind optim;

    for (int i = 0; i < LOSS_KINDS; i++)
        assert_true(loss_kind_parse(loss_kind_name((enum loss_kind)i), &kind) == 0 &&
                    kind == (enum loss_kind)i);
    for (int i = 0; i < MINERS; i++)
        assert_true(miner_parse(miner_name((enum miner)i), &miner) == 0 && miner == (enum miner)i);
    for (int i = 0; i < SCHEDULE_KINDS; i++)
        assert_true(schedule_parse(schedule_name((enum schedule)i), &schedule) == 0 &&
                    schedule == (enum schedule)i);
    for (int i = OPTIM_ADAMW; i <= OPTIM_SGD; i++)
        assert_true(optim_parse(optim_name((enum optim_kind)i), &optim) == 0 &&
                    optim == (enum optim_kind)i);
    assert_int_equal(loss_kind_parse("hinge", &kind), -1);
    assert_int_equal(miner_parse("", &miner), -1);
    assert_int_equal(schedule_parse("step", &schedule), -1);
    assert_int_equal(optim_parse("lion", &optim), -1);
}

static int open_backend(void **state)
{
    struct err e = ERR_INIT;

    return backend_cpu(&backend, NULL, &e);
}

static int close_backend(void **state)
{
    backend_free(backend);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(batches_without_triplets),
        cmocka_unit_test(equal_and_zero_embeddings),
        cmocka_unit_test(statistics_tell_of_the_batch),
        cmocka_unit_test(numbers_that_are_not_finite_are_refused),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(names_go_both_ways),
    };

    return cmocka_run_group_tests(tests, open_backend, close_backend);
}
