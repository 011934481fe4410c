/* One step: gradient caching against the whole batch, accumulation, the optimiser's parameters,
 * and whether the same step twice is the same bytes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/run/world.h"
#include "trainer/engine/engine_int.h"
#include "trainer/run_int.h"

enum { BATCH = 25, DIM = 64 }; /* at most */

struct fixture {
    struct world w;
    struct run_spec spec;
    struct run_result result;
    struct run run;
    int events;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    world_open(&f->w, "bert-new");
    f->w.parameters.batch_classes = 5;
    f->w.parameters.items_per_class = 5;
    f->w.parameters.warmup = 0;
    f->spec = world_spec(&f->w);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    world_close(&f->w);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    struct err e = ERR_INIT;

    memset(&f->result, 0, sizeof f->result);
    f->run = (struct run){.spec = &f->spec, .result = &f->result, .lock = -1};
    if (run_open(&f->run, &e) < 0)
        fail_msg("%s", e.text);
}

/* ---- gradients --------------------------------------------------------------------------------
 */

/* All gradients as one row: the dense ones, then each table's by row number. The caller frees it.
 */
static float *gradients(const struct run *r, size_t *count)
{
    const struct params *m = &r->engine->params;
    size_t n = m->trained;
    float *all = calloc(n + 1, sizeof *all);

    memcpy(all, m->grad, m->dense * sizeof *all);
    for (int i = 0; i < m->table_count; i++) {
        const struct table *t = &m->tables[i];

        for (int k = 0; k < t->count; k++)
            memcpy(all + t->at + (size_t)t->ids[k] * (size_t)t->cols,
                   t->grads + (size_t)k * (size_t)t->cols, (size_t)t->cols * sizeof *all);
    }
    *count = n;
    return all;
}

/* Of batches [first, first + count), each `scale` times. */
static float *batch_gradients(struct fixture *f, int64_t micro, int first, int count, double scale,
                              struct loss_stats *stats, float **embeddings, size_t *n)
{
    struct err e = ERR_INIT;
    float *all;
    int docs = 0;

    f->w.parameters.micro_batch = micro;
    begin(f);
    for (int i = 0; i < count; i++)
        if ((docs = run_gradients(&f->run, 0, first + i, scale, stats, &e)) < 0)
            fail_msg("%s", e.text);
    all = gradients(&f->run, n);
    if (embeddings) {
        *embeddings = calloc(BATCH * DIM, sizeof **embeddings);
        assert_true(docs > 12 && docs <= BATCH && f->result.dim <= DIM);
        memcpy(*embeddings, f->run.embeddings,
               (size_t)docs * (size_t)f->result.dim * sizeof **embeddings);
    }
    run_release(&f->run);
    return all;
}

static double largest(const float *a, const float *b, double by, size_t n)
{
    double top = 0;

    for (size_t i = 0; i < n; i++)
        top = fmax(top, fabs((double)a[i] - by * (b ? (double)b[i] : 0)));
    return top;
}

/* Loss and embeddings: the same bytes. Gradients: the same sums in another order, so within
 * rounding of the largest. */
static void test_gradient_cache(void **state)
{
    static const int64_t sizes[] = {1, 3, 8, 24};
    struct fixture *f = *state;
    struct loss_stats whole, cached;
    float *want, *is, *embeddings, *others;
    size_t n;

    want = batch_gradients(f, 0, 0, 1, 1, &whole, &embeddings, &n);
    assert_true(whole.loss > 0 && largest(want, NULL, 0, n) > 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double off;

        is = batch_gradients(f, sizes[i], 0, 1, 1, &cached, &others, &n);
        assert_memory_equal(embeddings, others, BATCH * DIM * sizeof *others);
        assert_memory_equal(&whole, &cached, sizeof whole);
        off = largest(is, want, 1, n) / largest(want, NULL, 0, n);
        if (off > 1e-6)
            fail_msg("%d documents at once: gradients differ by %g of the largest", (int)sizes[i],
                     off);
        free(is);
        free(others);
    }
    is = batch_gradients(f, 25, 0, 1, 1, &cached, NULL, &n); /* all at once after all */
    assert_memory_equal(is, want, n * sizeof *is);
    free(is);
    free(want);
    free(embeddings);
}

static void test_accumulates(void **state)
{
    struct fixture *f = *state;
    struct loss_stats stats;
    float *one, *two, *both;
    size_t n;

    one = batch_gradients(f, 0, 0, 1, 1, &stats, NULL, &n);
    two = batch_gradients(f, 0, 1, 1, 1, &stats, NULL, &n);
    both = batch_gradients(f, 0, 0, 2, 0.5, &stats, NULL, &n);
    for (size_t i = 0; i < n; i++)
        one[i] = 0.5f * (one[i] + two[i]);
    assert_true(largest(both, one, 1, n) < 1e-6 * largest(one, NULL, 0, n));
    free(one);
    free(two);
    free(both);
}

/* Three batches an epoch, two a step: two steps, the second of one batch. */
static void test_accumulate(void **state)
{
    struct fixture *f = *state;
    struct run_result r;

    assert_int_equal(world_fit(&f->w).steps, 2 * 3);
    world_clear(&f->w);
    f->w.parameters.accumulate = 2;
    r = world_fit(&f->w);
    assert_int_equal(r.steps, 2 * 2);
    world_clear(&f->w);
    f->w.parameters.accumulate = 10000;
    assert_int_equal(world_fit(&f->w).steps, 2);
}

/* ---- the optimiser's parameters ----------------------------------------------------------------
 */

/* What one step of SGD without momentum moved, as one row. */
static float *moved(struct fixture *f, double *norm, size_t *n)
{
    struct run_event event = {.kind = RUN_STEP};
    struct err e = ERR_INIT;
    float *row, *before;

    begin(f);
    *n = f->run.engine->params.trained;
    row = malloc(*n * sizeof *row);
    before = f->run.engine->params.param;
    memcpy(row, before, *n * sizeof *row);
    if (run_step(&f->run, &event, &e) < 0)
        fail_msg("%s", e.text);
    for (size_t i = 0; i < *n; i++)
        row[i] = before[i] - row[i];
    *norm = event.gradient_norm;
    return row; /* the run is still open */
}

static double length(const float *row, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)row[i] * row[i];
    return sqrt(sum);
}

static const struct range *range_of(const struct run *r, int block, bool decays)
{
    const struct params *m = &r->engine->params;

    for (int i = 0; i < m->range_count; i++)
        if (m->ranges[i].block == block && m->ranges[i].decays == decays)
            return &m->ranges[i];
    fail_msg("block %d has none", block);
    return NULL;
}

static double block_length(const struct run *r, const float *row, int block, bool decays)
{
    const struct range *g = range_of(r, block, decays);

    return length(row + g->at, g->count);
}

static void plain_sgd(struct job_parameters *p)
{
    p->optimizer = OPTIMIZER_SGD;
    p->learning_rate = 10;
    p->weight_decay = 0;
    p->schedule = SCHEDULE_CONSTANT;
}

static void test_clipping(void **state)
{
    struct fixture *f = *state;
    double norm, clipped_norm;
    float *row;
    size_t n;

    plain_sgd(&f->w.parameters);
    row = moved(f, &norm, &n);
    assert_true(fabs(length(row, n) - 10 * norm) < 1e-3 * length(row, n));
    free(row);
    run_release(&f->run);
    f->w.parameters.max_grad_norm = norm / 8;
    row = moved(f, &clipped_norm, &n);
    assert_true(clipped_norm == norm); /* told as it was */
    assert_true(fabs(length(row, n) - 10 * norm / 8) < 1e-3 * length(row, n));
    free(row);
    run_release(&f->run);
}

static void test_layer_decay(void **state)
{
    struct fixture *f = *state;
    double norm, first, last;
    float *row;
    size_t n;

    plain_sgd(&f->w.parameters);
    row = moved(f, &norm, &n);
    first = block_length(&f->run, row, 0, true);
    last = block_length(&f->run, row, 1, true);
    free(row);
    run_release(&f->run);
    f->w.parameters.layer_decay = 0.25;
    row = moved(f, &norm, &n);
    assert_true(fabs(block_length(&f->run, row, 0, true) - first / 4) < 1e-3 * first);
    assert_true(fabs(block_length(&f->run, row, 1, true) - last) < 1e-6 * last);
    free(row);
    run_release(&f->run);
}

/* AdamW takes rate * decay of each parameter: of norms and biases only when asked. */
static void test_decay_norms(void **state)
{
    struct fixture *f = *state;
    const struct range *g;
    double norm;
    float *with, *without;
    size_t n;

    f->w.parameters.learning_rate = 1e-3;
    f->w.parameters.weight_decay = 10;
    without = moved(f, &norm, &n);
    run_release(&f->run);
    f->w.parameters.decay_norms = true;
    with = moved(f, &norm, &n);
    g = range_of(&f->run, 0, true);
    assert_memory_equal(with + g->at, without + g->at, g->count * sizeof *with);
    g = range_of(&f->run, 0, false);
    for (size_t i = g->at; i < g->at + g->count; i++) { /* with it was p (1 - .01) - step */
        double p = ((double)f->run.engine->params.param[i] - with[i]);

        assert_true(fabs((double)with[i] - without[i] + 0.01 * p) < 1e-6);
    }
    free(with);
    free(without);
    run_release(&f->run);
}

/* ---- the same bytes ----------------------------------------------------------------------------
 */

static void test_check(void **state)
{
    struct fixture *f = *state;
    struct run_check c;
    struct err e = ERR_INIT;

    f->spec.on_event = NULL;
    for (int threads = 1; threads <= 3; threads++) {
        f->spec.threads = threads;
        assert_int_equal(run_check(&f->spec, &c, &e), 0);
        assert_true(c.equal);
        assert_int_equal(c.steps, 2);
        assert_int_equal(c.threads[1], threads);
        assert_int_not_equal(c.threads[2], threads);
        assert_int_equal(strlen(c.digest), 64);
    }
    assert_int_equal(world_entries(f->w.root), 1); /* the backbone: nothing was written */
}

/* A run that is not the same as those before: documents change labels under it. */
static void disturb(void *arg, const struct run_event *event)
{
    struct fixture *f = arg;
    int32_t *labels = (int32_t *)dataset_label_ids(f->spec.train);

    if (event->kind != RUN_STEP || --f->events != 0)
        return;
    for (int i = 0, j = dataset_count(f->spec.train) - 1; i < j; i += 2, j -= 2) {
        int32_t label = labels[i];

        labels[i] = labels[j];
        labels[j] = label;
    }
}

static void test_check_finds(void **state)
{
    struct fixture *f = *state;
    struct run_check c;
    struct err e = ERR_INIT;

    f->spec.on_event = disturb;
    f->spec.arg = f;
    for (int after = 1; after <= 5; after++) { /* steps, of two in each of three runs */
        f->events = after;
        assert_int_equal(run_check(&f->spec, &c, &e), 0);
        assert_false(c.equal);
        assert_int_equal(c.differs_run, after < 4 ? 2 : 3);
        assert_int_equal(c.differs_step, after == 3 || after == 5 ? 2 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gradient_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(test_accumulates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_accumulate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clipping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layer_decay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_decay_norms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_finds, setup, teardown),
    };

    return cmocka_run_group_tests_name("step", tests, NULL, NULL);
}
