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

/* ---- what runs over all parameters, by each set of kernels ---- */

static const char *const sets[] = {"sse2", "avx2", "avx512"};
enum { SETS = sizeof sets / sizeof *sets, CREWS = sizeof crews / sizeof *crews };

/* NULL: this machine lacks the set. */
static struct backend *open_crew(int threads, const char *isa)
{
    struct backend_options o = {.threads = threads, .isa = isa, .gemm = "own"};
    struct err e = ERR_INIT;
    struct backend *b;

    assert_int_equal(backend_cpu(&b, &o, &e), 0);
    if (strstr(b->fingerprint, isa))
        return b;
    backend_free(b);
    return NULL;
}

/* Units in the last place of `scale`. */
static double ulps(double got, double want, double scale)
{
    return fabs(got - want) / ldexp(1, ilogb(fmax(fabs(scale), 1e-30)) - 23);
}

static void sums_of(struct backend *b, const float *const *parts, size_t n, float *now)
{
    double want = 0;

    for (size_t i = 0; i < n; i++)
        want += (double)parts[0][i] * parts[0][i];
    b->ops->sum(b, now, parts, 3, n);
    for (size_t i = 0; i < n; i++)
        assert_true(now[i] == parts[0][i] + parts[1][i] + parts[2][i]);
    assert_true(fabs(b->ops->sum_squares(b, parts[0], n) - want) <= 1e-6 * want);
}

static void sums_equal(void **state)
{
    static const size_t counts[] = {0, 1, 2, 7, 15, 17, 31, 257, 16385, COUNT};
    float *x = numbers(COUNT, 1), *y = numbers(COUNT, 2), *z = numbers(COUNT, 3);
    float *now = malloc(COUNT * sizeof *now);
    const float *parts[] = {x, y, z};

    for (int s = 0; s < SETS; s++) {
        double squares = 0;
        struct backend *b;
        for (int k = 0; k < CREWS && (b = open_crew(crews[k], sets[s])); k++) {
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
                sums_of(b, parts, counts[c], now);
            if (k == 0)
                squares = b->ops->sum_squares(b, x, COUNT);
            assert_true(b->ops->sum_squares(b, x, COUNT) == squares);
            backend_free(b);
        }
    }
    free(x);
    free(y);
    free(z);
    free(now);
}

/* Three steps from the same start; `state` is param, m, v one after another. */
static void steps_on(struct backend *b, enum optim_kind kind, size_t count, const float *grad,
                     float *state)
{
    struct optim o = {.kind = kind, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
    struct optim_range r = {.param = state,
                            .grad = (float *)grad,
                            .m = state + COUNT,
                            .v = state + 2 * COUNT,
                            .count = count,
                            .lr = 1e-2f,
                            .decay = 0.1f,
                            .grad_scale = 0.5f};

    fill(state, COUNT, 8);
    memset(state + COUNT, 0, 2 * COUNT * sizeof *state);
    for (o.step = 1; o.step <= 3; o.step++)
        b->ops->optim_step(b, &o, &r);
}

/* Of the greatest of the parameters, and of either moment: a gradient and its decay may cancel. */
static double steps_off(const float *got, const float *want)
{
    double worst = 0;

    for (int part = 0; part < 3; part++) {
        double top = 0;
        for (size_t i = part * COUNT; i < (part + 1u) * COUNT; i++)
            top = fmax(top, fabs(want[i]));
        for (size_t i = part * COUNT; i < (part + 1u) * COUNT; i++)
            worst = fmax(worst, ulps(got[i], want[i], top));
    }
    return worst;
}

static void optimisers_equal(void **state)
{
    static const size_t counts[] = {0, 1, 15, 17, 31, 257, COUNT};
    float *grad = numbers(COUNT, 9), *want = numbers(3 * COUNT, 0), *first = numbers(3 * COUNT, 0);
    float *now = numbers(3 * COUNT, 0);
    struct backend *reference, *b;
    struct err e = ERR_INIT;
    double worst = 0;

    assert_int_equal(backend_reference(&reference, NULL, &e), 0);
    for (int kind = OPTIM_ADAMW; kind <= OPTIM_SGD; kind++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            steps_on(reference, (enum optim_kind)kind, counts[c], grad, want);
            for (int s = 0; s < SETS; s++)
                for (int k = 0; k < CREWS && (b = open_crew(crews[k], sets[s])); k++) {
                    steps_on(b, (enum optim_kind)kind, counts[c], grad, k ? now : first);
                    assert_true(k == 0 || !memcmp(first, now, 3 * COUNT * sizeof *now));
                    worst = k ? worst : fmax(worst, steps_off(first, want));
                    backend_free(b);
                }
        }
    print_message("optimisers: %g units in the last place of 8\n", worst);
    assert_true(worst <= 8);
    backend_free(reference);
    free(grad);
    free(want);
    free(first);
    free(now);
}

/* ---- products ---- */

static const struct product {
    int m, n, k;
} products[] = {{M, N, K},   {1, 1, 1},     {1, 17, 3}, {31, 1, 33},
                {13, 15, 1}, {17, 127, 97}, {0, 5, 7},  {5, 0, 7}};

static void product_on(struct backend *b, const struct product *p, int how, const float *x,
                       const float *y, float *c)
{
    bool ta = how & 1, tb = how & 2;

    fill(c, M * N, 4);
    b->ops->gemm(b, ta, tb, p->m, p->n, p->k, 0.5f, x, ta ? p->m + 1 : p->k + 1, y,
                 tb ? p->k + 1 : p->n + 1, how & 4 ? 2 : 0, c, p->n);
}

static double product_off(const float *got, const float *want)
{
    double worst = 0, top = 0;

    for (size_t i = 0; i < M * N; i++)
        top = fmax(top, fabs(want[i]));
    for (size_t i = 0; i < M * N; i++)
        worst = fmax(worst, ulps(got[i], want[i], top));
    return worst;
}

static double worst_product;

static void products_of(const struct product *p, int how, struct backend *reference, const float *x,
                        const float *y, float *c[3])
{
    struct backend *b;

    product_on(reference, p, how, x, y, c[0]);
    for (int index = 0; (b = op_backend_next(&index, 1)); backend_free(b)) {
        product_on(b, p, how, x, y, c[1]);
        worst_product = fmax(worst_product, product_off(c[1], c[0]));
    }
    for (int s = 0; s < SETS; s++)
        for (int k = 0; k < CREWS && (b = open_crew(crews[k], sets[s])); k++) {
            product_on(b, p, how, x, y, c[k ? 2 : 1]);
            assert_true(k == 0 || !memcmp(c[1], c[2], M * N * sizeof(float)));
            backend_free(b);
        }
}

static void products_equal(void **state)
{
    float *x = numbers((M + 1) * (K + 1), 1), *y = numbers((N + 1) * (K + 1), 2);
    float *c[3] = {numbers(M * N, 0), numbers(M * N, 0), numbers(M * N, 0)};
    struct backend *reference;
    struct err e = ERR_INIT;

    assert_int_equal(backend_reference(&reference, NULL, &e), 0);
    for (size_t p = 0; p < sizeof products / sizeof *products; p++)
        for (int how = 0; how < 8; how++)
            products_of(&products[p], how, reference, x, y, c);
    print_message("products: %g units in the last place of 32\n", worst_product);
    assert_true(worst_product <= 32);
    backend_free(reference);
    free(x);
    free(y);
    for (int i = 0; i < 3; i++)
        free(c[i]);
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

    assert_int_equal(backend_cpu(&b, NULL, &e), 0);
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
