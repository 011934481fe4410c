/* all-MiniLM-L6-v2, when it is in the cache: a short run, stopped, resumed, opened again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/run/world.h"

static char model[100];

static void test_stop_and_resume(void **state)
{
    char want[SHA256_HEX], is[SHA256_HEX];
    struct run_result whole, r;
    struct run_spec spec;
    struct world w;

    world_open(&w, "bert-new");
    memcpy(w.backbone, model, sizeof model);
    w.parameters.epochs = 1;
    w.parameters.learning_rate = 5e-5;
    w.parameters.batch_classes = 5;
    whole = world_fit(&w);
    world_hash(w.out, "onnx/model.onnx", want);
    assert_int_equal(whole.dim, 384);
    assert_true(whole.steps >= 3);
    world_clear(&w);
    w.stop_at = 2;
    spec = world_spec(&w);
    world_fails(&w, &spec, ERR_CANCELLED, "stopped after step 2");
    spec = world_spec(&w);
    spec.threads = 2;
    assert_int_equal(run_fit(&spec, &r, &(struct err)ERR_INIT), 0);
    world_hash(w.out, "onnx/model.onnx", is);
    assert_string_equal(is, want);
    assert_true(r.loss == whole.loss);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stop_and_resume)};

    snprintf(model, sizeof model, "%.60s/backbones/all-MiniLM-L6-v2", CACHE);
    if (access(model, R_OK) != 0) {
        printf("skipped: %s is not there\n", model);
        return 77;
    }
    return cmocka_run_group_tests_name("minilm", tests, NULL, NULL);
}
