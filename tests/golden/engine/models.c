#include "tests/golden/engine/models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TINY(name)                                                                                 \
    {                                                                                              \
        name, COMMITTED, NULL, "last_hidden_state", false, false, 2, 20, 3, 61, 0                  \
    }

const struct model models[] = {
    TINY("bert-old"),
    TINY("bert-new"),
    {"roberta-old", COMMITTED, NULL, "last_hidden_state", false, false, 2, 18, 3, 61, 0},
    {"roberta-new", COMMITTED, NULL, "last_hidden_state", false, false, 2, 18, 3, 61, 0},
    TINY("distilbert-old"),
    TINY("distilbert-new"),
    TINY("albert-old"),
    TINY("albert-new"),
    {"clip-text", SHARED, "random-tiny/clip-text-bytes-seed1234.onnx", "/n/Add_1_output_0", false,
     false, 3, 64, 0, 259, 0},
    {"clip-whole", SHARED, "random-tiny/clip-text-bytes-seed1234.onnx", "text_embedding", true,
     false, 3, 64, 0, 259, 0},
    {"paraphrase", CACHED, "paraphrase-MiniLM-L3-v2/model.onnx", "onnx::Shape_422", false, true, 3,
     512, 999, 30000, 0},
    {"minilm", CACHED, "all-MiniLM-L6-v2/model.onnx", "output_0", false, true, 6, 512, 999, 30000,
     0},
};
const int model_count = sizeof models / sizeof models[0];

bool model_find(const struct model *m, char *path, size_t size)
{
    const char *shared = getenv("TRIPLINE_SHARED");

    if (m->place == COMMITTED)
        snprintf(path, size, "tests/golden/engine/%s.onnx", m->name);
    else if (m->place == SHARED)
        snprintf(path, size, "%s/models/%s", shared ? shared : "../shared", m->file);
    else
        snprintf(path, size, CACHE "/backbones/%s", m->file);
    if (access(path, R_OK) == 0)
        return true;
    assert_true(m->place != COMMITTED);
    print_message("%s is skipped: %s is not there", m->name, path);
    print_message(m->place == CACHED ? " (./dev setup %s)\n" : "\n", m->name);
    return false;
}

struct engine *model_open(const struct model *m, const char *path, const char *backend,
                          const char *isa, int threads)
{
    struct engine_options o = {
        .backend = backend, .isa = isa, .threads = threads, .lanes = 3, .train = true};
    struct err e = ERR_INIT;
    struct engine *g;
    struct surgery s;

    surgery_init(&s);
    s.freeze_layers = m->frozen;
    if (m->whole) {
        s.cut = m->cut;
        s.pool = POOL_NONE;
    }
    if (engine_open(&g, path, &s, &o, &e) < 0)
        fail_msg("%s: %s", path, e.text);
    return g;
}

bool fixture_init(struct fixture *f, const struct model *m, const char *backend, const char *isa,
                  int threads)
{
    char path[4096];

    memset(f, 0, sizeof *f);
    f->model = m;
    if (!model_find(m, path, sizeof path))
        return false;
    f->engine = model_open(m, path, backend, isa, threads);
    f->dim = engine_info(f->engine)->dim;
    snprintf(path, sizeof path, "tests/golden/engine/%s.gold", m->name);
    assert_int_equal(gold_read(&f->gold, path), 0);
    f->offsets = gold_ints(&f->gold, "offsets");
    f->ids = gold_ints(&f->gold, "ids");
    f->types = gold_ints(&f->gold, "types");
    f->batch.count = gold_find(&f->gold, "offsets")->count - 1;
    f->batch.offsets = f->offsets;
    f->batch.ids = f->ids;
    f->batch.types = f->types;
    f->target = gold_find(&f->gold, "target")->data;
    f->out = calloc((size_t)(f->batch.count * f->dim), sizeof *f->out);
    f->d_out = calloc((size_t)(f->batch.count * f->dim), sizeof *f->d_out);
    assert_true(f->out && f->d_out);
    return true;
}

void fixture_release(struct fixture *f)
{
    engine_free(f->engine);
    gold_free(&f->gold);
    free(f->offsets);
    free(f->ids);
    free(f->types);
    free(f->out);
    free(f->d_out);
}

double fixture_loss(struct fixture *f, bool back)
{
    struct err e = ERR_INIT;
    double sum = 0;
    int n = f->batch.count;

    if (engine_forward(f->engine, &f->batch, f->out, &e) < 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < n * f->dim; i++) {
        double d = (double)f->out[i] - f->target[i];

        sum += d * d / n;
        f->d_out[i] = (float)(2 * d / n);
    }
    if (back && engine_backward(f->engine, f->d_out, &e) < 0)
        fail_msg("%s", e.text);
    return sum;
}

double fixture_step(struct fixture *f)
{
    const struct gold_record *lr = gold_find(&f->gold, "lr");
    struct engine_step s = {
        .optim = {.kind = OPTIM_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = lr ? lr->data[0] : 3e-3f,
        .decay = 0.05f,
        .layer_decay = 1,
        .clip = 0.5f};
    struct err e = ERR_INIT;
    double norm = 0;

    if (engine_step(f->engine, &s, &norm, &e) < 0)
        fail_msg("%s", e.text);
    return norm;
}

void model_gradient(const struct engine *g, const struct param *q, float *out)
{
    const struct params *m = &g->params;

    if (q->table < 0) {
        memcpy(out, m->grad + q->at, q->count * sizeof *out);
        return;
    }
    memset(out, 0, q->count * sizeof *out);
    for (int i = 0; i < m->tables[q->table].count; i++) {
        size_t cols = (size_t)m->tables[q->table].cols;

        memcpy(out + (size_t)m->tables[q->table].ids[i] * cols,
               m->tables[q->table].grads + (size_t)i * cols, cols * sizeof *out);
    }
}

const struct param *model_param(const struct engine *g, const char *name)
{
    const struct program *p = &g->program;
    int value = source_find(g->source, name), index = -1;

    if (value < 0)
        return NULL;
    if (g->source->values[value].initializer >= 0)
        index = p->initializer_param[g->source->values[value].initializer];
    for (int i = 0; index < 0 && i < p->param_count; i++)
        if (p->params[i].identity == value)
            index = i;
    return index >= 0 && p->params[index].used ? &p->params[index] : NULL;
}

double model_sign(size_t i, int k)
{
    uint64_t x = (uint64_t)i + 0x9e3779b97f4a7c15u; /* splitmix64's finaliser */

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return x >> k & 1 ? -1 : 1;
}
