/* The engine with every allocation failing in turn: a backbone read, built, planned, trained one
 * step, saved, loaded, exported, described; checkpoints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "tests/torture/torture.h"
#include "tests/unit/run/world.h"
#include "trainer/checkpoint.h"

enum { DOCS = 3, TOKENS = 9, DIM = 64 };

struct subject {
    const char *model, *backend;
    char folder[64];
    int threads;
};

static const int32_t offsets[DOCS + 1] = {0, 4, 5, TOKENS},
                                    ids[TOKENS] = {2, 7, 9, 3, 2, 2, 8, 8, 3};
static const struct token_batch batch = {DOCS, offsets, ids, NULL};

static int open_engine(const struct subject *s, struct engine **out, struct err *e)
{
    struct engine_options options = {.backend = s->backend, .threads = s->threads, .train = true};
    struct surgery surgery;

    surgery_init(&surgery);
    surgery.output_dim = 5;
    return engine_open(out, s->model, &surgery, &options, e);
}

static int train(struct engine *g, float out[DOCS * DIM], struct err *e)
{
    struct engine_step step = {.optim = {.kind = OPTIM_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f},
                               .lr = 1e-3f,
                               .layer_decay = 1};
    float d_out[DOCS * DIM];
    int rc = engine_forward(g, &batch, out, e);

    step.optim.eps = 1e-8f;
    for (int i = 0; i < DOCS * DIM; i++)
        d_out[i] = 0.01f * (float)(i % 7 - 3);
    if (rc == 0)
        rc = engine_backward(g, d_out, e);
    if (rc == 0)
        rc = engine_step(g, &step, NULL, e);
    return rc == 0 ? engine_encode(g, &batch, out, e) : rc;
}

static int print_file(const char *path, uint64_t *print, struct err *e)
{
    char hex[SHA256_HEX];
    int rc = sha256_file(path, hex, NULL, e);

    if (rc == 0)
        torture_print(print, hex, sizeof hex);
    return rc;
}

static int export(const struct subject *s, struct engine *g, uint64_t *print, struct err *e)
{
    char path[128];
    int rc;

    snprintf(path, sizeof path, "%s/model.onnx", s->folder);
    rc = engine_export(g, path, e);
    return rc == 0 ? print_file(path, print, e) : rc;
}

static int use_engine(void *arg, uint64_t *print, struct err *e)
{
    const struct subject *s = arg;
    struct engine *g = NULL;
    float out[DOCS * DIM];
    int rc = open_engine(s, &g, e);

    if (rc == 0)
        rc = train(g, out, e);
    if (rc == 0)
        torture_print(print, out, sizeof(float) * DOCS * (size_t)engine_info(g)->dim);
    if (rc == 0)
        rc = export(s, g, print, e);
    engine_free(g);
    return rc;
}

static int inspect(void *arg, uint64_t *print, struct err *e)
{
    static const struct engine_batch shape = {.documents = 8, .max_length = 16, .lanes = 2};
    const struct subject *s = arg;
    struct surgery surgery;
    struct buf json;
    int rc;

    surgery_init(&surgery);
    buf_init(&json, 1 << 20);
    rc = engine_inspect(s->model, &surgery, &shape, &json, e);
    if (rc == 0)
        torture_print(print, json.data, json.len);
    buf_release(&json);
    return rc;
}

/* Written, verified, resumed from by another engine. */
static int keep(void *arg, uint64_t *print, struct err *e)
{
    static struct checkpoint state = {
        .identity = "1", .fingerprint = "f", .exact = true, .step = 3};
    static struct checkpoint found;
    const struct subject *s = arg;
    struct engine *g = NULL;
    char path[128];
    int rc = open_engine(s, &g, e);

    snprintf(path, sizeof path, "%s/" CHECKPOINT_NAME, s->folder, 3LL);
    if (rc == 0)
        rc = checkpoint_write(s->folder, &state, g, 2, e);
    if (rc == 0)
        rc = checkpoint_verify(path, &found, e);
    if (rc == 0)
        rc = checkpoint_resume(s->folder, state.identity, state.fingerprint, true, &found, g, e);
    if (rc == 1) {
        torture_print(print, &found, sizeof found);
        rc = print_file(path, print, e);
    }
    engine_free(g);
    return rc;
}

/* No half-written file; then the folder is emptied. */
static const char *whole_or_nothing(void *arg, int rc)
{
    const struct subject *s = arg;
    struct err e = ERR_INIT;
    int files = world_entries(s->folder);
    bool odd = files != world_exists(s->folder, "model.onnx") +
                            world_exists(s->folder, "step-000000003.ckpt");

    if (file_remove_tree(s->folder, &e) < 0 || file_mkdirs(s->folder, &e) < 0)
        return e.text[0] ? "the folder cannot be emptied" : NULL;
    return odd ? "a half-written file is left" : NULL;
}

static void torture_engine(const char *what, int (*work)(void *, uint64_t *, struct err *),
                           struct subject s, int tries)
{
    char name[128];
    struct err e = ERR_INIT;

    snprintf(s.folder, sizeof s.folder, "/tmp/tripline-torture-XXXXXX");
    assert_non_null(mkdtemp(s.folder));
    snprintf(name, sizeof name, "%s %s", what, s.model + strlen("tests/golden/engine/"));
    torture(&(struct torture){
        .name = name, .work = work, .after = whole_or_nothing, .arg = &s, .tries = tries});
    assert_int_equal(file_remove_tree(s.folder, &e), 0);
}

static void test_backbones(void **state)
{
    static const char *const models[] = {"albert-new",  "albert-old",    "bert-new",
                                         "bert-old",    "roberta-new",   "distilbert-new",
                                         "roberta-old", "distilbert-old"};
    char path[64];

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        snprintf(path, sizeof path, "tests/golden/engine/%s.onnx", models[i]);
        torture_engine("reference", use_engine, (struct subject){path, "reference", "", 1}, 150);
    }
}

static void test_cpu(void **state)
{
    static const char model[] = "tests/golden/engine/bert-new.onnx";

    torture_engine("cpu", use_engine, (struct subject){model, "cpu", "", 1}, 150);
    torture_engine("2 threads", use_engine, (struct subject){model, "cpu", "", 2}, 150);
}

static void test_inspect(void **state)
{
    torture_engine("inspect", inspect,
                   (struct subject){"tests/golden/engine/bert-old.onnx", NULL, "", 1}, 300);
}

static void test_checkpoint(void **state)
{
    torture_engine("checkpoint", keep,
                   (struct subject){"tests/golden/engine/bert-new.onnx", "reference", "", 1}, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backbones), cmocka_unit_test(test_cpu),
                                       cmocka_unit_test(test_inspect),
                                       cmocka_unit_test(test_checkpoint)};

    return cmocka_run_group_tests_name("torture_engine", tests, NULL, NULL);
}
