/*
 * Every number that inspect shows, against another computation of it: parameters from the models'
 * hyperparameters, operations from what the backend is really given, memory from what it really
 * hands out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/json/json.h"
#include "trainer/engine/inspect_int.h"

#define GOLDEN "tests/golden/engine/"
enum { H = 18, F = 38, LAYERS = 2, VOCABULARY = 61, POSITIONS = 20, BLOCK = 2864, DIM_MAX = 384 };

/* ---- a backend that counts ---- */

static struct backend_ops counting;
static const struct backend_ops *plain;
static size_t allocated; /* bytes handed out and not returned */
static double operations;

static int counted_alloc(struct backend *b, size_t bytes, void **out, struct err *e)
{
    int rc = plain->alloc(b, bytes + 64, out, e);

    if (rc < 0)
        return rc;
    memcpy(*out, &bytes, sizeof bytes);
    allocated += bytes;
    *out = (char *)*out + 64;
    return 0;
}

static void counted_release(struct backend *b, void *memory)
{
    size_t bytes;

    memcpy(&bytes, (char *)memory - 64, sizeof bytes);
    allocated -= bytes;
    plain->release(b, (char *)memory - 64);
}

static double linear_product(const struct op_call *c)
{
    return 2.0 * c->in[0].rows * c->in[0].cols * c->out.cols;
}

/* A product of a head's matrices: every token with every key of its document. */
static double attention_product(const struct op_call *c)
{
    double sum = 0;

    for (int d = 0; d < c->docs.count; d++) {
        double n = c->docs.offsets[d + 1] - c->docs.offsets[d];

        sum += 2 * n * n * c->out.cols;
    }
    return sum;
}

static void linear_forward(struct backend *b, const struct op_call *c)
{
    operations += linear_product(c);
    plain->op[OP_LINEAR].forward(b, c);
}

static void linear_backward(struct backend *b, const struct op_call *c)
{
    operations += linear_product(c) * (!!c->d_in[0].data + !!c->d_in[1].data);
    plain->op[OP_LINEAR].backward(b, c);
}

static void attention_forward(struct backend *b, const struct op_call *c)
{
    operations += 2 * attention_product(c);
    plain->op[OP_ATTENTION].forward(b, c);
}

static void attention_backward(struct backend *b, const struct op_call *c)
{
    bool q = c->d_in[0].data, k = c->d_in[1].data, v = c->d_in[2].data;

    operations += attention_product(c) * ((q || k) + q + k + v);
    plain->op[OP_ATTENTION].backward(b, c);
}

int __real_backend_open(struct backend **, const char *, const struct backend_options *,
                        struct err *);
int __wrap_backend_open(struct backend **, const char *, const struct backend_options *,
                        struct err *);

int __wrap_backend_open(struct backend **out, const char *name, const struct backend_options *o,
                        struct err *e)
{
    int rc = __real_backend_open(out, name, o, e);

    if (rc < 0)
        return rc;
    plain = (*out)->ops;
    counting = *plain;
    counting.alloc = counted_alloc;
    counting.release = counted_release;
    counting.op[OP_LINEAR].forward = linear_forward;
    counting.op[OP_LINEAR].backward = linear_backward;
    counting.op[OP_ATTENTION].forward = attention_forward;
    counting.op[OP_ATTENTION].backward = attention_backward;
    (*out)->ops = &counting;
    return 0;
}

/* ---- reading ---- */

static json_t *look(const char *path, const struct surgery *s, const struct engine_batch *batch)
{
    struct err e = ERR_INIT;
    struct buf b;
    json_t *v = NULL;

    buf_init(&b, 1 << 24);
    if (engine_inspect(path, s, batch, &b, &e) < 0 || json_parse(b.data, b.len, NULL, &v, &e) < 0)
        fail_msg("%s: %s", path, e.text);
    buf_release(&b);
    return v;
}

static double number(const json_t *v, const char *path)
{
    struct err e = ERR_INIT;
    double x = 0;

    if (json_number_at(v, path, &x, &e) < 0)
        fail_msg("%s", e.text);
    return x;
}

static const struct engine_batch usual = {.documents = 12, .max_length = 20, .lanes = 2};

static json_t *look_at(const char *name, const struct surgery *s)
{
    char path[200];

    snprintf(path, sizeof path, GOLDEN "%s.onnx", name);
    return look(path, s, &usual);
}

/* ---- parameters ---- */

/* A sum over an array's items. */
static double sum(const json_t *v, const char *path, const char *member)
{
    json_t *item, *list = json_find(v, path);
    double all = 0;
    size_t i;

    assert_non_null(list);
    json_array_foreach(list, i, item) all += number(item, member);
    return all;
}

/* Elements of the listed tensors; trained: only those that train. */
static double elements(const json_t *v, const char *path, bool trained)
{
    json_t *item, *dim;
    double all = 0;
    size_t i, k;

    json_array_foreach(json_find(v, path), i, item)
    {
        double count = 1;

        json_array_foreach(json_find(item, "shape"), k, dim) count *=
            (double)json_integer_value(dim);
        if (!trained || json_is_true(json_find(item, "trains")))
            all += count;
    }
    return all;
}

static void test_parameters(void **state)
{
    static const struct {
        const char *kind;
        int tables; /* rows looked up, of `wide` numbers each; the norm behind them has 2 */
        int wide, more, blocks, pooler;
    } models[] = {
        {"bert", VOCABULARY + 2 + POSITIONS, H, 0, LAYERS, H * H + H},
        {"roberta", VOCABULARY + 1 + POSITIONS, H, 0, LAYERS, 0},
        {"distilbert", VOCABULARY + POSITIONS, H, 0, LAYERS, 0},
        {"albert", VOCABULARY + 2 + POSITIONS, 10, 10 * H + H, 1, 0}, /* two blocks share weights */
    };
    struct surgery s;

    assert_int_equal(BLOCK, 4 * (H * H + H) + 2 * 2 * H + (H * F + F) + (F * H + H));
    surgery_init(&s);
    for (size_t i = 0; i < 2 * sizeof models / sizeof models[0]; i++) {
        int k = (int)i / 2;
        int want =
            (models[k].tables + 2) * models[k].wide + models[k].more + models[k].blocks * BLOCK;
        char name[32];
        json_t *v;

        snprintf(name, sizeof name, "%s-%s", models[k].kind, i % 2 ? "new" : "old");
        v = look_at(name, &s);
        if (number(v, "parameter_count") != want || number(v, "layers") != LAYERS)
            fail_msg("%s: %g parameters, not %d; %g layers", name, number(v, "parameter_count"),
                     want, number(v, "layers"));
        assert_true(sum(v, "graph.boxes", "parameters") == want);
        assert_true(sum(v, "graph.boxes", "trainable") == want);
        assert_true(elements(v, "parameters", false) == want);
        assert_true(number(v, "cut_off.numbers") == models[k].pooler);
        assert_true(elements(v, "cut_off.parameters", false) == models[k].pooler);
        assert_true(number(v, "frozen.numbers") == 0);
        assert_int_equal(json_array_size(json_find(v, "padding.padded_operators")), 0);
        assert_true(number(v, "vocabulary") == VOCABULARY && number(v, "heads") == 3);
        json_decref(v);
    }
}

/* Shared weights count once, and the box that shares them says so. */
static void test_shared(void **state)
{
    struct surgery s;
    json_t *v;

    surgery_init(&s);
    v = look_at("albert-old", &s);
    assert_string_equal(json_string_value(json_find(v, "graph.boxes.4.name")), "block 0");
    assert_true(number(v, "graph.boxes.4.parameters") == 10 * H + H);
    assert_true(number(v, "graph.boxes.4.reads") == 10 * H + H + BLOCK);
    assert_true(number(v, "graph.boxes.5.parameters") == BLOCK);
    json_decref(v);
}

static void test_frozen(void **state)
{
    struct surgery s;
    json_t *v;

    surgery_init(&s);
    s.freeze_layers = 1;
    s.freeze = "*layer.1.attention.self.query.bias";
    v = look_at("bert-old", &s);
    assert_true(number(v, "frozen.numbers") == 85 * H + BLOCK + H);
    assert_int_equal(json_array_size(json_find(v, "frozen.reasons")), 3);
    assert_true(sum(v, "frozen.reasons", "numbers") == 85 * H + BLOCK + H);
    assert_true(sum(v, "frozen.reasons", "parameters") == 5 + 16 + 1);
    assert_true(number(v, "trainable_count") == BLOCK - H);
    assert_true(elements(v, "parameters", true) == BLOCK - H);
    assert_true(sum(v, "graph.boxes", "trainable") == BLOCK - H);
    json_decref(v);

    surgery_init(&s);
    s.freeze_layers = -1;
    s.output_dim = 7;
    v = look_at("bert-old", &s);
    assert_true(number(v, "trainable_count") == 7 * H + 7);
    assert_true(number(v, "frozen.numbers") == 85 * H + 2 * BLOCK);
    json_decref(v);

    s.output_dim = 0; /* nothing would train: fit refuses that, inspect shows it */
    v = look_at("bert-old", &s);
    assert_true(number(v, "trainable_count") == 0);
    assert_true(json_is_false(json_find(v, "memory.trains")));
    assert_true(number(v, "memory.buckets.0.total") == number(v, "memory.buckets.0.parameters"));
    json_decref(v);
}

/* The file's 60 tensors are all accounted for: parameters, buffers and what is cut off. */
static void test_buffers(void **state)
{
    struct surgery s;
    json_t *v, *item;
    size_t i, positions = 0;

    surgery_init(&s);
    v = look_at("bert-new", &s);
    assert_int_equal(json_array_size(json_find(v, "parameters")), 5 + LAYERS * 16);
    assert_int_equal(json_array_size(json_find(v, "cut_off.parameters")), 2);
    assert_int_equal(json_array_size(json_find(v, "buffers")), 60 - 5 - LAYERS * 16 - 2);
    json_array_foreach(json_find(v, "buffers"), i, item)
    {
        assert_true(json_string_length(json_find(item, "why")) > 0);
        positions += strcmp(json_string_value(json_find(item, "name")),
                            "model.embeddings.position_ids") == 0;
    }
    assert_int_equal(positions, 1);
    json_decref(v);
}

/* ---- operations ---- */

static double formula(const json_t *v, const char *what, double n)
{
    char path[80];
    double x[4];
    static const char *const members[] = {"per_token", "per_token_and_key",
                                          "per_token_and_earlier_key", "per_document"};

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "flops.%s.%s", what, members[i]);
        x[i] = number(v, path);
    }
    return n * (x[0] + n * x[1] + (n + 1) / 2 * x[2]) + x[3];
}

/* Documents of these lengths, with distinct ids as far as there are so many. */
struct documents {
    int count;
    int32_t offsets[65], ids[64 * 64];
    float vectors[64 * DIM_MAX];
};

static void fill(struct documents *d, int count, const int *lengths, int vocabulary)
{
    d->count = count;
    d->offsets[0] = 0;
    for (int i = 0; i < count; i++)
        d->offsets[i + 1] = d->offsets[i] + lengths[i];
    for (int t = 0; t < d->offsets[count]; t++)
        d->ids[t] = t % vocabulary;
    for (size_t i = 0; i < sizeof d->vectors / sizeof d->vectors[0]; i++)
        d->vectors[i] = 0.01f;
}

static void check_operations(const char *name, const struct surgery *s)
{
    static const int lengths[] = {1, 9, 4, 14, 2, 7, 17};
    static struct documents d;
    struct engine_options o = {.threads = 1, .lanes = 2, .train = true};
    struct token_batch batch = {7, d.offsets, d.ids, NULL};
    double forward = 0, training = 0;
    struct err e = ERR_INIT;
    struct engine *g;
    char path[200];
    json_t *v = look_at(name, s);

    fill(&d, 7, lengths, VOCABULARY);
    for (int i = 0; i < 7; i++) {
        forward += formula(v, "forward", lengths[i]);
        training += formula(v, "training", lengths[i]);
    }
    snprintf(path, sizeof path, GOLDEN "%s.onnx", name);
    if (engine_open(&g, path, s, &o, &e) < 0)
        fail_msg("%s", e.text);
    operations = 0;
    assert_int_equal(engine_forward(g, &batch, d.vectors, &e), 0);
    if (operations != forward)
        fail_msg("%s: %.0f operations forward, not %.0f", name, operations, forward);
    assert_int_equal(engine_backward(g, d.vectors, &e), 0);
    if (operations != training)
        fail_msg("%s: %.0f operations in training, not %.0f", name, operations, training);
    engine_free(g);
    json_decref(v);
}

static void test_operations_as_run(void **state)
{
    static const char *const names[] = {"bert-old", "roberta-new", "distilbert-old", "albert-new"};
    struct surgery s;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (int freeze = 0; freeze <= 1; freeze++) {
            surgery_init(&s);
            s.freeze_layers = freeze;
            check_operations(names[i], &s);
            s.output_dim = 7;
            check_operations(names[i], &s);
        }
    surgery_init(&s);
    s.freeze_layers = -1;
    s.output_dim = 7;
    check_operations("bert-old", &s);
}

/* BERT by hand: 4 products with (H, H), 2 with (H, F); attention 2 products forward, 4 backward. */
static void test_operations_by_hand(void **state)
{
    double layer = 2.0 * (4 * H * H + 2 * H * F), key = 4.0 * H;
    struct surgery s;
    json_t *v;

    surgery_init(&s);
    v = look_at("bert-old", &s);
    assert_true(number(v, "flops.forward.per_token") == LAYERS * layer);
    assert_true(number(v, "flops.forward.per_token_and_key") == LAYERS * key);
    assert_true(number(v, "flops.forward.per_document") == 0);
    assert_true(number(v, "flops.training.per_token") == 3 * LAYERS * layer);
    assert_true(number(v, "flops.training.per_token_and_key") == 3 * LAYERS * key);
    json_decref(v);

    s.freeze_layers = 1; /* block 0 only forward; nobody wants the gradient of block 1's input */
    v = look_at("bert-old", &s);
    assert_true(number(v, "flops.training.per_token") ==
                LAYERS * layer + 2 * layer - 3 * 2.0 * H * H);
    assert_true(number(v, "flops.training.per_token_and_key") == LAYERS * key + 2 * key);
    json_decref(v);
}

/* Causal attention: a token has itself and the ones before it as keys. */
static void test_operations_causal(void **state)
{
    struct engine *g = calloc(1, sizeof *g);
    struct err e = ERR_INIT;
    struct surgery s;
    struct buf b;
    json_t *v;

    assert_non_null(g);
    surgery_init(&s);
    buf_init(&b, 1 << 20);
    assert_int_equal(engine_compile(g, GOLDEN "bert-old.onnx", &s, &e), 0);
    engine_fill_info(g);
    for (int i = 0; i < g->program.node_count; i++)
        g->program.nodes[i].attrs.causal = g->program.nodes[i].op == OP_ATTENTION;
    buf_char(&b, '{');
    assert_int_equal(inspect_cost(g, &usual, &b, &e), 0);
    buf_str(&b, "\"end\":0}");
    assert_int_equal(json_parse(b.data, b.len, NULL, &v, &e), 0);
    assert_true(number(v, "flops.forward.per_token_and_key") == 0);
    assert_true(number(v, "flops.forward.per_token_and_earlier_key") == LAYERS * 4.0 * H);
    /* three tokens have 1, 2 and 3 keys */
    assert_true(formula(v, "forward", 3) ==
                LAYERS * (3 * 2.0 * (4 * H * H + 2 * H * F) + (1 + 2 + 3) * 4.0 * H));
    json_decref(v);
    buf_release(&b);
    engine_free(g);
}

/* ---- memory ---- */

/* A step on the bucket's batch takes what the plan says, and a row of zeros (params.h). */
static void check_bucket(const char *path, const json_t *v, size_t bucket, int vocabulary, int dim)
{
    static struct documents d;
    struct engine_options o = {
        .threads = 1, .lanes = (int)number(v, "memory.lanes"), .train = true};
    struct engine_step step = {
        .optim = {.kind = OPTIM_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f},
        .lr = 1e-3f,
        .layer_decay = 1};
    const json_t *line = json_array_get(json_find(v, "memory.buckets"), bucket);
    struct token_batch batch = {(int)number(v, "memory.documents"), d.offsets, d.ids, NULL};
    struct err e = ERR_INIT;
    struct engine *g;
    struct surgery s;
    int lengths[64];
    size_t before = allocated, parameters, want = (size_t)number(line, "total");

    for (int i = 0; i < batch.count; i++)
        lengths[i] = (int)number(line, "length");
    fill(&d, batch.count, lengths, vocabulary);
    surgery_init(&s);
    if (engine_open(&g, path, &s, &o, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(engine_forward(g, &batch, d.vectors, &e), 0);
    assert_int_equal(engine_backward(g, d.vectors, &e), 0);
    assert_int_equal(engine_step(g, &step, NULL, &e), 0);
    assert_int_equal(allocated - before, want + (size_t)dim * sizeof(float));
    engine_free(g);
    assert_int_equal(allocated, before);

    o.train = false;
    assert_int_equal(engine_open(&g, path, &s, &o, &e), 0);
    parameters = allocated - before;
    assert_int_equal(parameters, (size_t)number(line, "parameters"));
    assert_int_equal(engine_encode(g, &batch, d.vectors, &e), 0);
    assert_int_equal(allocated - before, (size_t)number(line, "encode_total"));
    engine_free(g);
}

static void check_memory(const char *path, const struct engine_batch *batch, int vocabulary,
                         int dim, size_t buckets)
{
    static const char *const parts[] = {"parameters", "gradients", "moments", "activations",
                                        "workspace"};
    struct surgery s;
    json_t *v;

    surgery_init(&s);
    v = look(path, &s, batch);
    assert_int_equal(json_array_size(json_find(v, "memory.buckets")), buckets);
    for (size_t i = 0; i < buckets; i++) {
        const json_t *line = json_array_get(json_find(v, "memory.buckets"), i);
        double all = 0;

        for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++)
            all += number(line, parts[k]);
        assert_true(all == number(line, "total"));
        check_bucket(path, v, i, vocabulary, dim);
    }
    json_decref(v);
}

static void test_memory(void **state)
{
    struct engine_batch batch = {.documents = 64, .max_length = 128, .lanes = 2};

    /* 20 positions: lengths 8, 16 and 20 */
    check_memory(GOLDEN "bert-old.onnx", &batch, VOCABULARY, H, 3);
    batch.lanes = 3;
    check_memory(GOLDEN "distilbert-new.onnx", &batch, VOCABULARY, H, 3);
}

/* ---- the graph ---- */

/* Boxes in a chain: three inputs, embeddings, two blocks, pooling, normalisation, output. */
static void test_graph(void **state)
{
    static const int want[][2] = {{0, 3}, {1, 3}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}, {7, 8}};
    struct surgery s;
    json_t *v, *edges;

    surgery_init(&s);
    v = look_at("bert-new", &s);
    edges = json_find(v, "graph.edges");
    assert_int_equal(json_array_size(json_find(v, "graph.boxes")), 9);
    assert_int_equal(json_array_size(edges), sizeof want / sizeof want[0]);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(json_integer_value(json_array_get(json_array_get(edges, i), k)),
                             want[i][k]);
    assert_string_equal(json_string_value(json_find(v, "graph.boxes.4.operators.0")),
                        "linear 18 to 18 (3 times)");
    assert_string_equal(json_string_value(json_find(v, "graph.boxes.4.operators.1")),
                        "attention 3 x 6");
    json_decref(v);
}

/* ---- a real backbone ---- */

/* 22,713,216 with its pooler, as its authors count. */
static void test_minilm(void **state)
{
    const struct engine_batch batch = {.documents = 64, .max_length = 32, .lanes = 2};
    const char *path = CACHE "/backbones/all-MiniLM-L6-v2/model.onnx";
    struct surgery s;
    json_t *v;

    if (access(path, R_OK) != 0) {
        printf("skipped: %s is not there\n", path);
        skip();
    }
    surgery_init(&s);
    v = look(path, &s, &batch);
    assert_true(number(v, "parameter_count") == 22713216 - 147840);
    assert_true(number(v, "cut_off.numbers") == 384 * 384 + 384);
    assert_true(number(v, "layers") == 6);
    assert_true(number(v, "flops.forward.per_token") == 6 * (8.0 * 384 * 384 + 4.0 * 384 * 1536));
    assert_true(number(v, "flops.forward.per_token_and_key") == 6 * 4.0 * 384);
    json_decref(v);
    check_memory(path, &batch, 30522, 384, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_shared),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_buffers),
        cmocka_unit_test(test_operations_as_run),
        cmocka_unit_test(test_operations_by_hand),
        cmocka_unit_test(test_operations_causal),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_minilm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
