/* A steady stream of batches allocates nothing: neither training steps nor encoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/ops/allocations.h"
#include "trainer/engine/engine.h"

enum { DOCS = 24, DIM = 18, TOKENS = DOCS * 12 };

/* Batches of other lengths and other ids each time, none larger than the first. */
static void fill(int32_t *offsets, int32_t *ids, int round)
{
    offsets[0] = 0;
    for (int d = 0; d < DOCS; d++)
        offsets[d + 1] = offsets[d] + (round ? (d * 7 + round * 5) % 12 : 12);
    for (int t = 0; t < offsets[DOCS]; t++)
        ids[t] = round ? (t * 13 + round) % 61 : t % 61;
}

static void run(const char *backend)
{
    struct engine_options o = {.backend = backend, .threads = 2, .lanes = 2, .train = true};
    struct engine_step step = {
        .optim = {.kind = OPTIM_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = 1e-3f,
        .decay = 0.01f,
        .layer_decay = 1,
        .clip = 1};
    static int32_t offsets[DOCS + 1], ids[TOKENS];
    static float out[DOCS * DIM], d_out[DOCS * DIM];
    struct token_batch batch = {DOCS, offsets, ids, NULL};
    struct err e = ERR_INIT;
    struct engine *g;
    struct surgery s;
    size_t before = 0;

    surgery_init(&s);
    if (engine_open(&g, "tests/golden/engine/bert-new.onnx", &s, &o, &e) < 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < DOCS * DIM; i++)
        d_out[i] = 0.01f * (float)(i % 7 - 3);
    for (int round = 0; round < 12; round++) {
        if (round == 2)
            before = allocations();
        fill(offsets, ids, round);
        assert_int_equal(engine_encode(g, &batch, out, &e), 0);
        assert_int_equal(engine_forward(g, &batch, out, &e), 0);
        assert_int_equal(engine_backward(g, d_out, &e), 0);
        assert_int_equal(engine_step(g, &step, NULL, &e), 0);
    }
    assert_int_equal(allocations() - before, 0);
    engine_free(g);
}

static void test_cpu(void **state)
{
    run("cpu");
}

static void test_reference(void **state)
{
    run("reference");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cpu),
                                       cmocka_unit_test(test_reference)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
