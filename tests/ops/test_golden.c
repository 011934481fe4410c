/* Every operator against PyTorch's values and gradients: golden/torch.txt, made by
 * scripts/golden/ops.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ops/cases.h"

enum { TOKENS_MAX = 64, FLOATS_MAX = 1 << 14 };

static const struct known {
    const char *name;
    enum op_code op;
    struct op_attrs attrs;
} known[] = {
    {"embed", OP_EMBED, {0}},
    {"linear", OP_LINEAR, {0}},
    {"linear rows out", OP_LINEAR, {.w_rows_out = true}},
    {"linear gelu", OP_LINEAR, {.act = ACT_GELU_ERF}},
    {"layer norm", OP_LAYER_NORM, {.eps = 1e-5f}},
    {"layer norm residual", OP_LAYER_NORM, {.eps = 1e-5f}},
    {"attention", OP_ATTENTION, {.heads = 2, .scale = 0.57735027f}},
    {"attention causal", OP_ATTENTION, {.heads = 2, .scale = 0.57735027f, .causal = true}},
    {"act relu", OP_ACT, {.act = ACT_RELU}},
    {"act gelu erf", OP_ACT, {.act = ACT_GELU_ERF}},
    {"act gelu tanh", OP_ACT, {.act = ACT_GELU_TANH}},
    {"act gelu quick", OP_ACT, {.act = ACT_GELU_QUICK}},
    {"act tanh", OP_ACT, {.act = ACT_TANH}},
    {"act sigmoid", OP_ACT, {.act = ACT_SIGMOID}},
    {"act silu", OP_ACT, {.act = ACT_SILU}},
    {"act erf", OP_ACT, {.act = ACT_ERF}},
    {"act exp", OP_ACT, {.act = ACT_EXP}},
    {"act sqrt", OP_ACT, {.act = ACT_SQRT}},
    {"add", OP_ADD, {0}},
    {"sub", OP_SUB, {0}},
    {"mul", OP_MUL, {0}},
    {"div", OP_DIV, {0}},
    {"affine", OP_AFFINE, {.scale = 2.5f, .shift = -1}},
    {"pool mean", OP_POOL, {.pool = POOL_MEAN}},
    {"pool max", OP_POOL, {.pool = POOL_MAX}},
    {"pool cls", OP_POOL, {.pool = POOL_CLS}},
    {"pool last", OP_POOL, {.pool = POOL_LAST}},
    {"pool gem", OP_POOL, {.pool = POOL_GEM, .power = 3, .eps = 1e-6f}},
    {"l2 norm", OP_L2_NORM, {.eps = 1e-12f}},
    {"slice", OP_SLICE_COLS, {.begin = 1, .count = 2}},
    {"concat", OP_CONCAT_COLS, {0}},
};

struct golden { /* one case of the file */
    char name[64];
    int count, id_count, in_count;
    int32_t offsets[TOKENS_MAX + 1], ids[TOKENS_MAX];
    struct mat in[OP_INS], out, d_out, d_in[OP_INS];
    float memory[FLOATS_MAX];
    size_t used;
};

static float *take(struct golden *g, size_t n)
{
    float *at = g->memory + g->used;

    g->used += (n + 15) & ~(size_t)15;
    assert_true(g->used <= FLOATS_MAX);
    return at;
}

static struct mat read_mat(struct golden *g, FILE *f)
{
    struct mat m = {0};

    assert_int_equal(fscanf(f, "%d %d", &m.rows, &m.cols), 2);
    m.ld = m.cols;
    m.data = take(g, (size_t)m.rows * m.cols);
    for (int i = 0; i < m.rows * m.cols; i++)
        assert_int_equal(fscanf(f, "%f", &m.data[i]), 1);
    return m;
}

static void read_docs(struct golden *g, FILE *f)
{
    int length;

    assert_int_equal(fscanf(f, "%d", &g->count), 1);
    assert_true(g->count < TOKENS_MAX);
    for (int i = 0; i < g->count; i++) {
        assert_int_equal(fscanf(f, "%d", &length), 1);
        g->offsets[i + 1] = g->offsets[i] + length;
    }
}

static void read_ids(struct golden *g, FILE *f)
{
    assert_int_equal(fscanf(f, "%d", &g->id_count), 1);
    assert_true(g->id_count <= TOKENS_MAX);
    for (int i = 0; i < g->id_count; i++)
        assert_int_equal(fscanf(f, "%d", &g->ids[i]), 1);
}

static struct mat *slot(struct mat *mats, FILE *f)
{
    int k;

    assert_int_equal(fscanf(f, "%d", &k), 1);
    assert_true(k >= 0 && k < OP_INS);
    return &mats[k];
}

/* Reads up to the next case. `g->name` is there already; leaves the next one's in `next`. */
static void read_case(struct golden *g, FILE *f, char *next, size_t size)
{
    char word[16];

    next[0] = '\0';
    while (fscanf(f, "%15s", word) == 1) {
        if (!strcmp(word, "case")) {
            assert_non_null(fgets(next, (int)size, f));
            next[strcspn(next, "\n")] = '\0';
            return;
        }
        if (!strcmp(word, "docs")) {
            read_docs(g, f);
        } else if (!strcmp(word, "ids")) {
            read_ids(g, f);
        } else if (!strcmp(word, "in")) {
            *slot(g->in, f) = read_mat(g, f);
            g->in_count++;
        } else if (!strcmp(word, "d_in")) {
            *slot(g->d_in, f) = read_mat(g, f);
        } else {
            struct mat *to = !strcmp(word, "out") ? &g->out : &g->d_out;
            *to = read_mat(g, f);
        }
    }
}

static void near(const struct golden *g, const char *what, const struct mat *got,
                 const struct mat *want)
{
    for (int i = 0; i < want->rows * want->cols; i++)
        if (!(fabsf(got->data[i] - want->data[i]) <= 2e-6f * (1 + fabsf(want->data[i]))))
            fail_msg("%s: %s[%d] = %.9g, PyTorch says %.9g", g->name, what, i, got->data[i],
                     want->data[i]);
}

static struct mat room(struct golden *g, const struct mat *like)
{
    return (struct mat){take(g, (size_t)like->rows * like->cols), like->rows, like->cols,
                        like->cols};
}

static void check_on(struct golden *g, const struct known *k, struct backend *b)
{
    struct op_call call = {.attrs = &k->attrs,
                           .docs = {g->count, g->offsets},
                           .ids = g->id_count ? g->ids : NULL,
                           .ids_row = g->id_count ? g->ids : NULL,
                           .in_count = g->in_count,
                           .d_out = g->d_out};
    struct op_plan plan;
    struct err e = ERR_INIT;
    size_t used = g->used;

    call.out = room(g, &g->out);
    for (int i = 0; i < g->in_count; i++) {
        call.in[i] = g->in[i];
        call.d_in[i] = room(g, &g->in[i]);
    }
    if (b->ops->op[k->op].plan(b, &call, true, &plan, &e) < 0)
        fail_msg("%s: %s", g->name, e.text);
    assert_int_equal(b->ops->alloc(b, (plan.saved_floats + 1) * 4, (void **)&call.saved, &e), 0);
    assert_int_equal(b->ops->alloc(b, (plan.work_floats + 1) * 4, (void **)&call.work, &e), 0);
    b->ops->op[k->op].forward(b, &call);
    near(g, "out", &call.out, &g->out);
    b->ops->op[k->op].backward(b, &call);
    for (int i = 0; i < g->in_count; i++)
        near(g, "d_in", &call.d_in[i], &g->d_in[i]);
    b->ops->release(b, call.saved);
    b->ops->release(b, call.work);
    g->used = used;
}

static void check_case(struct golden *g)
{
    struct backend *b;
    struct err e = ERR_INIT;

    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        if (strcmp(known[k].name, g->name))
            continue;
        assert_int_equal(backend_reference(&b, NULL, &e), 0);
        check_on(g, &known[k], b);
        backend_free(b);
        for (int index = 0; (b = op_backend_next(&index, 1)); backend_free(b))
            check_on(g, &known[k], b);
        return;
    }
    fail_msg("no operator is known for the case '%s'", g->name);
}

static void operators_equal_pytorch(void **state)
{
    FILE *f = fopen("tests/ops/golden/torch.txt", "r");
    struct golden *g = calloc(1, sizeof *g);
    char next[64];
    size_t seen = 0;

    assert_true(f && g);
    read_case(g, f, next, sizeof next);
    for (; next[0]; seen++) {
        memset(g, 0, sizeof *g);
        snprintf(g->name, sizeof g->name, "%s", next + 1); /* behind the blank */
        read_case(g, f, next, sizeof next);
        check_case(g);
    }
    assert_int_equal(seen, sizeof known / sizeof *known);
    fclose(f);
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(operators_equal_pytorch)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
