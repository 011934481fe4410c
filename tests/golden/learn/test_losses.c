/*
 * Losses, miners and schedules against pytorch-metric-learning, sentence-transformers and
 * transformers: losses.txt and schedules.txt, made by scripts/golden/learn_losses.py.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/base/text.h"
#include "trainer/learn/loss.h"
#include "trainer/learn/schedule.h"

enum { ROWS_MAX = 128, NUMBERS_MAX = 8192 };

struct golden {
    char title[128];
    struct loss_options options;
    int count, dim;
    int32_t labels[ROWS_MAX], texts[ROWS_MAX];
    float scores[ROWS_MAX / 2];
    bool has_texts, has_scores;
    float x[NUMBERS_MAX], grad[NUMBERS_MAX], got[NUMBERS_MAX];
    float loss;
};

static float number(const char *text)
{
    double x;

    assert_int_equal(text_f64(text, -1e9, 1e9, &x), 0);
    return (float)x;
}

/* "margin=0.1" and so on. */
static void set_option(struct loss_options *o, const char *word)
{
    const struct {
        const char *name;
        float *to;
    } numbers[] = {{"margin=", &o->margin},
                   {"miner_margin=", &o->miner_margin},
                   {"alpha=", &o->alpha},
                   {"beta=", &o->beta},
                   {"base=", &o->base},
                   {"epsilon=", &o->epsilon},
                   {"temperature=", &o->temperature}};

    static const char *const strategies[] = {[PICK_EASY] = "easy",
                                             [PICK_SEMIHARD] = "semihard",
                                             [PICK_HARD] = "hard",
                                             [PICK_ALL] = "all"};

    if (!strncmp(word, "miner=", 6)) {
        assert_int_equal(miner_parse(word + 6, &o->miner), 0);
        return;
    }
    if (!strncmp(word, "pos=", 4) || !strncmp(word, "neg=", 4)) {
        enum strategy *to = *word == 'p' ? &o->positives : &o->negatives;
        while (strcmp(strategies[*to], word + 4) != 0)
            assert_true(++*to <= PICK_ALL);
        return;
    }
    if (!strcmp(word, "swap=1") || !strcmp(word, "smooth=1")) {
        *(word[1] == 'w' ? &o->swap : &o->smooth) = true;
        return;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strncmp(word, numbers[i].name, strlen(numbers[i].name))) {
            *numbers[i].to = number(word + strlen(numbers[i].name));
            return;
        }
    fail_msg("option %s is unknown", word);
}

static void read_options(struct golden *g)
{
    char copy[128], *rest = copy, *word;

    snprintf(copy, sizeof copy, "%s", g->title);
    word = strtok_r(copy, " ", &rest);
    assert_int_equal(loss_kind_parse(word, &g->options.kind), 0);
    while ((word = strtok_r(NULL, " ", &rest)))
        set_option(&g->options, word);
}

static void read_numbers(FILE *f, float *to, int count)
{
    assert_true(count <= NUMBERS_MAX);
    for (int i = 0; i < count; i++)
        assert_int_equal(fscanf(f, "%f", &to[i]), 1);
}

static void read_labels(FILE *f, int32_t *to, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(fscanf(f, "%d", &to[i]), 1);
}

/* False at the end of the file. */
static bool read_case(FILE *f, struct golden *g)
{
    char word[16];

    memset(g, 0, sizeof *g);
    if (fscanf(f, " %15s", word) != 1)
        return false;
    assert_string_equal(word, "case");
    assert_int_equal(fscanf(f, " %127[^\n]", g->title), 1);
    read_options(g);
    assert_int_equal(fscanf(f, " batch %d %d %15s", &g->count, &g->dim, word), 3);
    assert_true(g->count <= ROWS_MAX);
    g->has_scores = !strcmp(word, "scores");
    if (g->has_scores)
        read_numbers(f, g->scores, g->count / 2);
    else
        read_labels(f, g->labels, g->count);
    assert_int_equal(fscanf(f, " %15s", word), 1);
    g->has_texts = !strcmp(word, "texts");
    if (g->has_texts) {
        read_labels(f, g->texts, g->count);
        assert_int_equal(fscanf(f, " %15s", word), 1);
    }
    assert_string_equal(word, "x");
    read_numbers(f, g->x, g->count * g->dim);
    assert_int_equal(fscanf(f, " loss %f", &g->loss), 1);
    assert_int_equal(fscanf(f, " %15s", word), 1);
    read_numbers(f, g->grad, g->count * g->dim);
    return true;
}

static void check(struct golden *g, struct backend *b)
{
    struct err e = ERR_INIT;
    struct loss_rows rows = {.count = g->count,
                             .dim = g->dim,
                             .labels = g->labels,
                             .texts = g->has_texts ? g->texts : NULL};
    double scores[ROWS_MAX / 2];
    struct loss_stats stats;
    struct loss *l;
    double top = 0;

    for (int i = 0; i < g->count / 2; i++)
        scores[i] = g->scores[i];
    if (g->has_scores)
        rows.scores = scores;
    assert_int_equal(loss_new(&l, &g->options, &e), 0);
    if (loss_compute(l, b, g->x, &rows, g->got, &stats, &e) < 0)
        fail_msg("%s: %s", g->title, e.text);
    if (fabs(stats.loss - g->loss) > 2e-6 * (1 + fabs(g->loss)))
        fail_msg("%s: loss %.9g, golden %.9g", g->title, stats.loss, g->loss);
    for (int i = 0; i < g->count * g->dim; i++)
        top = fmax(top, fabs(g->grad[i]));
    for (int i = 0; i < g->count * g->dim; i++)
        if (fabs(g->got[i] - g->grad[i]) > 1e-5 * top + 1e-8)
            fail_msg("%s: gradient[%d] = %.9g, golden %.9g", g->title, i, g->got[i], g->grad[i]);
    loss_free(l);
}

static void losses_equal_golden(void **state)
{
    FILE *f = fopen("tests/golden/learn/losses.txt", "r");
    struct golden *g = malloc(sizeof *g);
    struct err e = ERR_INIT;
    struct backend *cpu, *reference;
    int seen = 0;

    assert_true(f && g);
    assert_int_equal(backend_cpu(&cpu, NULL, &e), 0);
    assert_int_equal(backend_reference(&reference, NULL, &e), 0);
    assert_int_equal(fscanf(f, "made with%*[^\n]"), 0);
    for (; read_case(f, g); seen++) {
        check(g, cpu);
        check(g, reference);
    }
    assert_int_equal(seen, 52);
    backend_free(cpu);
    backend_free(reference);
    fclose(f);
    free(g);
}

static void schedules_equal_transformers(void **state)
{
    FILE *f = fopen("tests/golden/learn/schedules.txt", "r");
    char name[16];
    int warmup, total, seen = 0;

    assert_non_null(f);
    for (; fscanf(f, "%15s %d %d", name, &warmup, &total) == 3; seen++) {
        enum schedule kind;
        assert_int_equal(schedule_parse(name, &kind), 0);
        for (int step = 0; step <= total; step++) {
            double want;
            assert_int_equal(fscanf(f, "%lf", &want), 1);
            assert_true(fabs(schedule_factor(kind, step, warmup, total) - want) < 1e-8);
        }
    }
    assert_int_equal(seen, 12);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_equal_golden),
        cmocka_unit_test(schedules_equal_transformers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
