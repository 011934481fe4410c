/* The interpreter's operators and the layout algebra, on small cases worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "trainer/engine/graph/eval.h"
#include "trainer/engine/graph/layout.h"

struct bench {
    struct arena arena;
    struct source source;
    struct source_node node;
    struct source_attr attrs[2];
    int in[4], out[4];
    struct eval eval;
};

static struct tensor *tensor(struct bench *b, int dtype, int rank, const int64_t *dims,
                             const double *v)
{
    struct tensor *t = tensor_new(&b->arena, dtype, rank, dims);

    assert_non_null(t);
    memcpy(t->v, v, t->count * sizeof *v);
    return t;
}

static void setup(struct bench *b, const char *op, int in_count)
{
    memset(b, 0, sizeof *b);
    arena_init(&b->arena, 1 << 20);
    b->source.opset = 14;
    b->node = (struct source_node){op, "n", "", in_count, 1, 0, b->in, b->out, b->attrs};
    b->eval.source = &b->source;
    b->eval.node = &b->node;
    b->eval.arena = &b->arena;
}

static void expect(struct bench *b, int rank, const int64_t *dims, const double *v)
{
    struct err e = ERR_INIT;
    const struct tensor *t;

    if (eval_node(&b->eval, &e) < 0)
        fail_msg("%s", e.text);
    t = b->eval.out[0];
    assert_int_equal(t->rank, rank);
    for (int i = 0; i < rank; i++)
        assert_int_equal(t->dims[i], dims[i]);
    for (size_t i = 0; i < t->count; i++)
        assert_true(t->v[i] == v[i]);
    arena_release(&b->arena);
}

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
#define DATA(...) ((const double[]){__VA_ARGS__})

static void test_broadcast(void **state)
{
    struct bench b;

    setup(&b, "Add", 2);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 2, DIMS(2, 1), DATA(10, 20));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 1, DIMS(3), DATA(1, 2, 3));
    expect(&b, 2, DIMS(2, 3), DATA(11, 12, 13, 21, 22, 23));
    setup(&b, "Where", 3); /* the condition has more axes than both */
    b.eval.in[0] = tensor(&b, DTYPE_BOOL, 3, DIMS(1, 2, 2), DATA(1, 0, 0, 1));
    b.eval.in[1] = tensor(&b, DTYPE_FLOAT, 0, NULL, DATA(5));
    b.eval.in[2] = tensor(&b, DTYPE_FLOAT, 1, DIMS(2), DATA(7, 8));
    expect(&b, 3, DIMS(1, 2, 2), DATA(5, 8, 7, 5));
    setup(&b, "Div", 2);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 1, DIMS(2), DATA(7, -7));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 0, NULL, DATA(2));
    expect(&b, 1, DIMS(2), DATA(3, -3));
}

static void test_slice(void **state)
{
    struct bench b;

    setup(&b, "Slice", 5);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 2, DIMS(2, 4), DATA(0, 1, 2, 3, 4, 5, 6, 7));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 1, DIMS(1), DATA(-1));
    b.eval.in[2] = tensor(&b, DTYPE_INT64, 1, DIMS(1), DATA(-9.3e18));
    b.eval.in[3] = tensor(&b, DTYPE_INT64, 1, DIMS(1), DATA(1));
    b.eval.in[4] = tensor(&b, DTYPE_INT64, 1, DIMS(1), DATA(-2));
    expect(&b, 2, DIMS(2, 2), DATA(3, 1, 7, 5));
    setup(&b, "Slice", 3);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 1, DIMS(4), DATA(0, 1, 2, 3));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 1, DIMS(1), DATA(2));
    b.eval.in[2] = tensor(&b, DTYPE_INT64, 1, DIMS(1), DATA(9.3e18));
    expect(&b, 1, DIMS(2), DATA(2, 3));
}

static void test_shapes(void **state)
{
    struct bench b;

    setup(&b, "Reshape", 2);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 2, DIMS(2, 3), DATA(0, 1, 2, 3, 4, 5));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 1, DIMS(3), DATA(0, -1, 1));
    expect(&b, 3, DIMS(2, 3, 1), DATA(0, 1, 2, 3, 4, 5));
    setup(&b, "Transpose", 1);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 2, DIMS(2, 3), DATA(0, 1, 2, 3, 4, 5));
    expect(&b, 2, DIMS(3, 2), DATA(0, 3, 1, 4, 2, 5));
    setup(&b, "Gather", 2);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 1, DIMS(3), DATA(7, 8, 9));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 2, DIMS(1, 2), DATA(-1, 0));
    expect(&b, 2, DIMS(1, 2), DATA(9, 7));
    setup(&b, "CumSum", 2);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 2, DIMS(2, 3), DATA(1, 1, 0, 1, 1, 1));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 0, NULL, DATA(1));
    expect(&b, 2, DIMS(2, 3), DATA(1, 2, 2, 1, 2, 3));
    setup(&b, "ReduceSum", 2);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 2, DIMS(2, 3), DATA(0, 1, 2, 3, 4, 5));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 1, DIMS(1), DATA(-1));
    expect(&b, 2, DIMS(2, 1), DATA(3, 12));
}

static void test_refused(void **state)
{
    struct err e = ERR_INIT;
    struct bench b;

    setup(&b, "Gather", 2);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 1, DIMS(3), DATA(7, 8, 9));
    b.eval.in[1] = tensor(&b, DTYPE_INT64, 0, NULL, DATA(3));
    assert_int_equal(eval_node(&b.eval, &e), ERR_FORMAT);
    arena_release(&b.arena);
    setup(&b, "ConstantOfShape", 1);
    b.eval.in[0] = tensor(&b, DTYPE_INT64, 1, DIMS(3), DATA(100000, 100000, 100000));
    assert_int_equal(eval_node(&b.eval, &e), ERR_LIMIT);
    arena_release(&b.arena);
    setup(&b, "Conv", 1);
    assert_int_equal(eval_node(&b.eval, &e), ERR_UNSUPPORTED);
    arena_release(&b.arena);
}

/* [B, S, 24] -> [B, S, 3, 8] -> [B, 3, S, 8] -> back, and what may not be done. */
static void test_layout(void **state)
{
    static const struct probe_size sizes[PROBES] = {{2, 5}, {3, 7}, {5, 3}};
    static const int64_t perm[] = {0, 2, 1, 3};
    int64_t four[PROBES][TENSOR_RANK], three[PROBES][TENSOR_RANK], bad[PROBES][TENSOR_RANK];
    struct layout l, heads, moved, back;

    layout_clear(&l);
    layout_axis(&l, &(struct atom){ATOM_DOC, 0, 0}, 1);
    layout_axis(&l, &(struct atom){ATOM_TOK, 0, 0}, 1);
    layout_axis(&l, &(struct atom){ATOM_COL, 24, 1}, 1);
    for (int p = 0; p < PROBES; p++) {
        memcpy(four[p], DIMS(sizes[p].docs, sizes[p].tokens, 3, 8), 4 * sizeof(int64_t));
        memcpy(three[p], DIMS(sizes[p].docs, sizes[p].tokens, 24), 3 * sizeof(int64_t));
        memcpy(bad[p], DIMS(sizes[p].docs, 3, sizes[p].tokens * 8), 3 * sizeof(int64_t));
    }
    assert_true(layout_reshape(&l, sizes, four, 4, &heads));
    layout_transpose(&heads, perm, &moved);
    assert_int_equal(moved.atoms[moved.first[1]].stride, 8);
    assert_false(layout_reshape(&moved, sizes, three, 3, &back));
    layout_transpose(&moved, perm, &back);
    assert_true(layout_reshape(&back, sizes, three, 3, &moved));
    assert_true(layout_equal(&moved, &l));
    assert_false(layout_reshape(&l, sizes, bad, 3, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broadcast), cmocka_unit_test(test_slice),
        cmocka_unit_test(test_shapes),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_layout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
