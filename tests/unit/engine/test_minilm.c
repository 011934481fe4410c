/* all-MiniLM-L6-v2, when it is in the cache: vectors equal ONNX Runtime's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/golden/engine/gold.h"
#include "trainer/engine/engine.h"

static char model[512];

static void test_vectors(void **state)
{
    struct engine_options o = {.threads = 2};
    struct err e = ERR_INIT;
    const struct gold_record *want;
    struct token_batch batch;
    struct engine *g;
    struct surgery s;
    struct gold gold;
    float *out;
    double far = 0;

    surgery_init(&s);
    assert_int_equal(gold_read(&gold, "tests/golden/engine/minilm.gold"), 0);
    if (engine_open(&g, model, &s, &o, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(engine_info(g)->layers, 6);
    assert_int_equal(engine_info(g)->max_tokens, 512);
    want = gold_find(&gold, "embeddings");
    batch.count = want->dims[0];
    batch.offsets = gold_ints(&gold, "offsets");
    batch.ids = gold_ints(&gold, "ids");
    batch.types = NULL;
    out = calloc((size_t)want->count, sizeof *out);
    if (engine_encode(g, &batch, out, &e) < 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < want->count; i++)
        far = fmax(far, fabs((double)out[i] - want->data[i]));
    assert_true(far <= 1e-5);
    free(out);
    free((void *)(uintptr_t)batch.offsets);
    free((void *)(uintptr_t)batch.ids);
    gold_free(&gold);
    engine_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

    snprintf(model, sizeof model, "%s/backbones/all-MiniLM-L6-v2/model.onnx", CACHE);
    if (access(model, R_OK) != 0) {
        printf("skipped: %s is not there\n", model);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
