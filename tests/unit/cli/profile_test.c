/* A profile's rows add up to the steps' processor time, count every call, and change no byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/profile.h"

enum { DOCS = 24, TOKENS = 12, DIM = 18, STEPS = 20 };

static const char *const model = "tests/golden/engine/bert-new.onnx";

static struct engine *open_engine(int threads)
{
    struct engine_options o = {.threads = threads, .lanes = 2, .train = true};
    struct err e = ERR_INIT;
    struct engine *g;
    struct surgery s;

    surgery_init(&s);
    if (engine_open(&g, model, &s, &o, &e) < 0)
        fail_msg("%s", e.text);
    return g;
}

/* STEPS training steps; the last vectors. */
static void train(struct engine *g, struct profile *p, float *out)
{
    struct engine_step step = {
        .optim = {.kind = OPTIM_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = 1e-3f,
        .layer_decay = 1};
    static int32_t offsets[DOCS + 1], ids[DOCS * TOKENS];
    static float d_out[DOCS * DIM];
    struct token_batch batch = {DOCS, offsets, ids, NULL};
    struct err e = ERR_INIT;
    double norm;

    for (int d = 0; d < DOCS; d++)
        offsets[d + 1] = offsets[d] + TOKENS;
    for (int t = 0; t < DOCS * TOKENS; t++)
        ids[t] = t * 13 % 61;
    for (int i = 0; i < DOCS * DIM; i++)
        d_out[i] = 0.01f * (float)(i % 7 - 3);
    for (int i = 0; i < STEPS; i++) {
        if (p)
            profile_begin(p, engine_backend(g));
        assert_int_equal(engine_forward(g, &batch, out, &e), 0);
        assert_int_equal(engine_backward(g, d_out, &e), 0);
        assert_int_equal(engine_step(g, &step, &norm, &e), 0);
        if (p)
            profile_end(p, engine_backend(g), 1);
    }
}

static const struct profile_row *find(const struct profile_row *rows, int n, const char *kernel,
                                      const char *way)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(rows[i].kernel, kernel) && !strcmp(rows[i].way, way))
            return &rows[i];
    fail_msg("no row of %s %s", kernel, way);
    return NULL;
}

static void rows_add_up_and_bytes_stay(void **state)
{
    static float plain[DOCS * DIM], seen[DOCS * DIM];
    struct engine *a = open_engine(1), *b = open_engine(1);
    const struct backend_ops *table = engine_backend(b)->ops;
    struct profile_row rows[PROFILE_ROWS];
    const struct profile_row *forward, *backward;
    struct profile_total total;
    struct err e = ERR_INIT;
    struct profile *p;
    double sum = 0;
    int n;

    assert_int_equal(profile_new(&p, &e), 0);
    train(a, NULL, plain);
    train(b, NULL, seen); /* the plan is made by now; its bytes are a's */
    assert_memory_equal(plain, seen, sizeof plain);
    train(a, NULL, plain);
    train(b, p, seen);
    assert_memory_equal(plain, seen, sizeof plain);
    assert_ptr_equal(engine_backend(b)->ops, table);

    n = profile_rows(p, rows, &total);
    assert_int_equal(total.steps, STEPS);
    assert_true(total.peak > 1e9 && total.processor > 0 && total.wall > 0);
    for (int i = 0; i < n; i++) {
        assert_true(rows[i].flops / rows[i].seconds <= 1.2 * total.peak || rows[i].flops == 0);
        assert_true(i == 0 || i == n - 1 || rows[i].seconds <= rows[i - 1].seconds);
        sum += rows[i].seconds;
    }
    /* The last row fills up: the sum is short only of nothing, and long by no more than the
     * clock's own time. */
    assert_true(sum >= 0.999 * total.processor && sum <= 1.1 * total.processor);
    assert_true(rows[n - 1].seconds < 0.5 * total.processor); /* kernels are what a step does */
    forward = find(rows, n, "linear", "forward");
    backward = find(rows, n, "linear", "backward");
    assert_int_equal(forward->calls % (2 * STEPS), 0); /* every layer in both lanes */
    assert_int_equal(forward->calls, backward->calls);
    assert_true(forward->flops > 0 && backward->flops == 2 * forward->flops);
    find(rows, n, "optimiser", "");
    profile_free(p);
    engine_free(a);
    engine_free(b);
}

static void says_it_in_both_forms(void **state)
{
    static float out[DOCS * DIM];
    struct engine *g = open_engine(2);
    struct err e = ERR_INIT;
    struct profile *p;
    struct buf text;
    json_t *v, *row;
    size_t i;

    assert_int_equal(profile_new(&p, &e), 0);
    train(g, p, out);
    buf_init(&text, 1 << 16);
    profile_text(p, &text);
    assert_false(text.failed);
    v = profile_json(p);
    assert_int_equal(json_integer_value(json_object_get(v, "steps")), STEPS);
    json_array_foreach(json_object_get(v, "kernels"), i, row)
        assert_non_null(strstr(text.data, json_string_value(json_object_get(row, "kernel"))));
    assert_true(i > 10);
    json_decref(v);
    buf_release(&text);
    profile_free(p);
    engine_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_add_up_and_bytes_stay),
        cmocka_unit_test(says_it_in_both_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
