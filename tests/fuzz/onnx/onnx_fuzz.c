/*
 * Any bytes as a model: opened for training, one step on a small batch, saved, exported. Each part
 * may end in an error with a message, and none in anything else. What was exported is read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/engine/engine.h"

static const int32_t offsets[] = {0, 1, 4, 6}, ids[] = {0, 1, 2, 1, 0, 3}, types[6] = {0, 0, 1};

static int open_model(struct engine **g, const char *path, size_t size, bool train)
{
    const struct engine_options options = {.backend = "reference", .threads = 1, .train = train};
    struct err e = ERR_INIT;
    struct surgery s;
    int rc;

    surgery_init(&s);
    s.pool = (enum pool)(size % POOL_NONE);
    s.output_dim = size % 3 ? 0 : 2;
    s.freeze_layers = size % 11 == 0;
    rc = engine_open(g, path, &s, &options, &e);
    if (rc < 0 && (e.code != rc || !e.text[0]))
        abort();
    return rc;
}

static void again(struct engine *g)
{
    struct err e = ERR_INIT;
    struct engine *copy;
    char path[64];

    snprintf(path, sizeof path, "/dev/shm/fuzz-onnx-%d.onnx", (int)getpid());
    if (engine_export(g, path, &e) < 0)
        return;
    if (open_model(&copy, path, 0, false) == 0)
        engine_free(copy);
    unlink(path);
}

static void learn(struct engine *g)
{
    const struct token_batch batch = {3, offsets, ids, types};
    const struct engine_step step = {.optim = {.kind = OPTIM_ADAMW, .beta1 = .9F, .beta2 = .999F},
                                     .lr = 1e-3F,
                                     .layer_decay = .9F,
                                     .clip = 1};
    float *out = calloc((size_t)engine_info(g)->dim * 3, sizeof *out);
    struct err e = ERR_INIT;
    double norm;

    if (out && engine_forward(g, &batch, out, &e) == 0 && engine_backward(g, out, &e) == 0)
        engine_step(g, &step, &norm, &e);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct engine *g;
    char path[64];
    int fd = fuzz_file(data, size, path);

    if (open_model(&g, path, size, true) == 0) {
        learn(g);
        again(g);
        engine_free(g);
    }
    close(fd);
    return 0;
}
