/* Activations over the whole range of floats, element by element, against the double oracle. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ops/cases.h"

enum { POINTS = 1 << 16 };

static const struct {
    const char *name;
    enum act act;
    float low, high;      /* the range where the value is a normal number */
    double ulp, ulp_sse2; /* SSE2 has no fused multiply-add to keep the rounding error of x^2 */
} ranges[] = {
    {"gelu erf", ACT_GELU_ERF, -12.5f, 1e30f, 6, 128},
    {"gelu tanh", ACT_GELU_TANH, -9, 1e12f, 128, 256}, /* exp of a rounded cubic */
    {"gelu quick", ACT_GELU_QUICK, -50, 1e30f, 64, 96},
    {"silu", ACT_SILU, -85, 1e30f, 4, 4},
    {"tanh", ACT_TANH, -1e30f, 1e30f, 3, 3},
    {"sigmoid", ACT_SIGMOID, -85, 1e30f, 4, 4},
    {"erf", ACT_ERF, -1e30f, 1e30f, 3, 3},
    {"exp", ACT_EXP, -87, 88, 2, 2},
    {"sqrt", ACT_SQRT, 0, 1e30f, 0.5, 0.5},
};

static float in_memory[POINTS], got_memory[POINTS], want_memory[POINTS];

/* Half of them evenly over [-16, 16], half over all exponents, those in range. */
static int fill(float low, float high)
{
    int n = 0;

    for (int i = 0; i < POINTS; i++) {
        double x = i % 2 ? op_random(1, (uint64_t)i) / 134217728.0 - 16
                         : ldexp(1 + op_random(2, (uint64_t)i) / 4294967296.0,
                                 (int)(op_random(3, (uint64_t)i) % 200) - 100) *
                               (op_random(4, (uint64_t)i) & 1 ? 1 : -1);
        if (x >= low && x <= high)
            in_memory[n++] = (float)x;
    }
    return n;
}

static void run(struct backend *b, enum act act, float *out, int n)
{
    struct op_attrs attrs = {.act = act};
    struct op_call call = {
        .attrs = &attrs, .in_count = 1, .in = {{in_memory, 1, n, n}}, .out = {out, 1, n, n}};

    b->ops->op[OP_ACT].forward(b, &call);
}

static void activations_stay_in_budget(void **state)
{
    struct backend *fast, *reference;
    struct err e = ERR_INIT;

    assert_int_equal(backend_reference(&reference, NULL, &e), 0);
    for (int index = 0; (fast = op_backend_next(&index, 1)); backend_free(fast))
        for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++) {
            int n = fill(ranges[k].low, ranges[k].high);
            struct mat got = {got_memory, 1, n, n}, want = {want_memory, 1, n, n};
            double ulp,
                budget = strstr(fast->fingerprint, "sse2") ? ranges[k].ulp_sse2 : ranges[k].ulp;
            run(fast, ranges[k].act, got_memory, n);
            run(reference, ranges[k].act, want_memory, n);
            ulp = op_mat_ulp(&got, &want, 0);
            print_message("%s: %-10s %6.3g of %4g\n", fast->fingerprint, ranges[k].name, ulp,
                          budget);
            assert_true(ulp <= budget);
        }
    backend_free(reference);
}

static void infinities_and_nan(void **state)
{
    static const float x[4] = {INFINITY, -INFINITY, NAN, -0.0f};
    struct backend *fast;

    for (int index = 0; (fast = op_backend_next(&index, 1)); backend_free(fast))
        for (int act = ACT_NONE; act < ACT_COUNT; act++) {
            memcpy(in_memory, x, sizeof x);
            run(fast, (enum act)act, got_memory, 4);
            assert_true(isnan(got_memory[2]) || act == ACT_RELU);
            if (act == ACT_TANH || act == ACT_ERF)
                assert_true(got_memory[0] == 1 && got_memory[1] == -1);
            if (act == ACT_SIGMOID || act == ACT_EXP)
                assert_true(got_memory[1] == 0);
            if (act == ACT_EXP)
                assert_true(isinf(got_memory[0]) && got_memory[3] == 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_stay_in_budget),
        cmocka_unit_test(infinities_and_nan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
