/* The same bytes whatever the number of threads: lanes, sums, optimisers, products. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ops/cases.h"

enum { LANES = 4, COUNT = 70001, M = 211, N = 157, K = 390 };

static const int crews[] = {1, 2, 3, 7};

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)op_normal(seed, i);
}

static float *numbers(size_t n, uint64_t seed)
{
    float *x = malloc(n * sizeof *x);

    assert_non_null(x);
    fill(x, n, seed);
    return x;
}

/* ---- lanes ---- */

static void run_lane(void *arg, int lane)
{
    struct op_run *runs = arg;

    op_run_forward(&runs[lane]);
    op_run_backward(&runs[lane], false);
}

static void lanes_on(struct backend *b, const struct op_case *c, struct op_run *runs)
{
    for (int i = 0; i < LANES; i++)
        op_run_init(&runs[i], b, c, &doc_shapes[1 + i], VALUES_NORMAL, 1, (uint64_t)i);
    b->ops->run_lanes(b, LANES, run_lane, runs);
}

static void lanes_give_the_same_bytes(void **state)
{
    struct backend *one, *many;

    for (int index = 0, again = 0; (one = op_backend_next(&index, 1)); again = index) {
        many = op_backend_next(&again, 3);
        for (int c = 0; c < op_case_count; c++) {
            struct op_run a[LANES], b[LANES];
            lanes_on(one, &op_cases[c], a);
            lanes_on(many, &op_cases[c], b);
            for (int i = 0; i < LANES; i++) {
                assert_true(op_mat_ulp(&b[i].call.out, &a[i].call.out, 0) == 0);
                for (int k = 0; k < op_cases[c].in_count; k++)
                    assert_true(op_mat_ulp(&b[i].call.d_in[k], &a[i].call.d_in[k], 0) == 0);
                op_run_release(&a[i]);
                op_run_release(&b[i]);
            }
        }
        backend_free(one);
        backend_free(many);
    }
}

/* ---- what runs over all parameters ---- */

static void open_crew(struct backend **b, int threads, const char *isa)
{
    struct backend_options o = {.threads = threads, .isa = isa, .gemm = "own"};
    struct err e = ERR_INIT;

    assert_int_equal(backend_cpu(b, &o, &e), 0);
}

static void sums_equal(void **state)
{
    float *x = numbers(COUNT, 1), *y = numbers(COUNT, 2), *z = numbers(COUNT, 3);
    float *first = malloc(COUNT * sizeof *first), *now = malloc(COUNT * sizeof *now);
    const float *parts[] = {x, y, z};
    double squares = 0, want = 0;

    for (size_t i = 0; i < COUNT; i++)
        want += (double)x[i] * x[i];
    for (size_t k = 0; k < sizeof crews / sizeof *crews; k++) {
        struct backend *b;
        open_crew(&b, crews[k], NULL);
        b->ops->sum(b, k ? now : first, parts, 3, COUNT);
        assert_true(k == 0 || !memcmp(first, now, COUNT * sizeof *now));
        if (k == 0)
            squares = b->ops->sum_squares(b, x, COUNT);
        assert_true(b->ops->sum_squares(b, x, COUNT) == squares);
        backend_free(b);
    }
    assert_true(fabs(squares - want) < 1e-6 * want);
    for (size_t i = 0; i < COUNT; i++)
        assert_true(first[i] == x[i] + y[i] + z[i]);
    free(x);
    free(y);
    free(z);
    free(first);
    free(now);
}

/* Three steps from the same start; `state` is param, m, v one after another. */
static void steps_on(struct backend *b, enum optim_kind kind, const float *grad, float *state)
{
    struct optim o = {.kind = kind, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
    struct optim_range r = {.param = state,
                            .grad = (float *)grad,
                            .m = state + COUNT,
                            .v = state + 2 * COUNT,
                            .count = COUNT,
                            .lr = 1e-2f,
                            .decay = 0.1f,
                            .grad_scale = 0.5f};

    fill(state, COUNT, 8);
    memset(state + COUNT, 0, 2 * COUNT * sizeof *state);
    for (o.step = 1; o.step <= 3; o.step++)
        b->ops->optim_step(b, &o, &r);
}

static void optimisers_equal(void **state)
{
    float *grad = numbers(COUNT, 9), *want = numbers(3 * COUNT, 0), *first = numbers(3 * COUNT, 0);
    float *now = numbers(3 * COUNT, 0);
    struct backend *reference, *b;
    struct err e = ERR_INIT;

    assert_int_equal(backend_reference(&reference, NULL, &e), 0);
    for (int kind = OPTIM_ADAMW; kind <= OPTIM_SGD; kind++) {
        steps_on(reference, (enum optim_kind)kind, grad, want);
        for (size_t k = 0; k < sizeof crews / sizeof *crews; k++) {
            open_crew(&b, crews[k], NULL);
            steps_on(b, (enum optim_kind)kind, grad, k ? now : first);
            assert_true(k == 0 || !memcmp(first, now, 3 * COUNT * sizeof *now));
            backend_free(b);
        }
        for (size_t i = 0; i < 3 * COUNT; i++)
            assert_true(fabs(first[i] - want[i]) <= 1e-6 * (1 + fabs(want[i])));
    }
    backend_free(reference);
    free(grad);
    free(want);
    free(first);
    free(now);
}

/* ---- products ---- */

static void product_on(struct backend *b, int how, const float *x, const float *y, float *c)
{
    bool ta = how & 1, tb = how & 2;

    fill(c, M * N, 4);
    b->ops->gemm(b, ta, tb, M, N, K, 0.5f, x, ta ? M : K, y, tb ? K : N, how & 4 ? 2 : 0, c, N);
}

static void products_equal(void **state)
{
    float *x = numbers(M * K, 1), *y = numbers(K * N, 2);
    float *want = numbers(M * N, 0), *first = numbers(M * N, 0), *now = numbers(M * N, 0);
    struct backend *reference, *b;
    struct err e = ERR_INIT;

    assert_int_equal(backend_reference(&reference, NULL, &e), 0);
    for (int how = 0; how < 8; how++) {
        product_on(reference, how, x, y, want);
        for (int index = 0; (b = op_backend_next(&index, 1)); backend_free(b)) {
            product_on(b, how, x, y, first);
            for (size_t i = 0; i < M * N; i++)
                assert_true(fabs(first[i] - want[i]) < 1e-4);
        }
        for (size_t k = 0; k < sizeof crews / sizeof *crews; k++) {
            open_crew(&b, crews[k], NULL);
            product_on(b, how, x, y, k ? now : first);
            assert_true(k == 0 || !memcmp(first, now, M * N * sizeof *now));
            backend_free(b);
        }
    }
    backend_free(reference);
    free(x);
    free(y);
    free(want);
    free(first);
    free(now);
}

/* ---- opening ---- */

static void unknown_options_are_refused(void **state)
{
    struct backend_options isa = {.isa = "avx1024"}, gemm = {.gemm = "blas"}, few = {.threads = -1};
    struct backend *b = NULL;
    struct err e = ERR_INIT;

    assert_int_equal(backend_cpu(&b, &isa, &e), ERR_CONFIG);
    assert_int_equal(backend_cpu(&b, &gemm, &e), ERR_CONFIG);
    assert_int_equal(backend_cpu(&b, &few, &e), ERR_CONFIG);
    assert_null(b);
}

static void shapes_that_do_not_fit_are_refused(void **state)
{
    struct op_attrs attrs = {.heads = 5};
    struct op_call call = {.attrs = &attrs,
                           .in_count = 3,
                           .in = {{NULL, 4, 12, 12}, {NULL, 4, 12, 12}, {NULL, 4, 12, 12}},
                           .out = {NULL, 4, 12, 12}};
    struct op_plan plan;
    struct err e = ERR_INIT;
    struct backend *b;

    open_crew(&b, 1, NULL);
    assert_int_equal(b->ops->op[OP_ATTENTION].plan(b, &call, true, &plan, &e), ERR_UNSUPPORTED);
    assert_int_equal(b->ops->op[OP_CONCAT_COLS].plan(b, &call, true, &plan, &e), ERR_INTERNAL);
    backend_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_give_the_same_bytes),
        cmocka_unit_test(sums_equal),
        cmocka_unit_test(optimisers_equal),
        cmocka_unit_test(products_equal),
        cmocka_unit_test(unknown_options_are_refused),
        cmocka_unit_test(shapes_that_do_not_fit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
