/* Every operator: gradients against finite differences, fast backends against the oracle. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/ops/cases.h"

static struct backend *reference;

static double loss(const struct op_run *run) /* sum of d_out * out */
{
    const struct mat *y = &run->call.out, *d = &run->call.d_out;
    double sum = 0;

    for (int r = 0; r < y->rows; r++)
        for (int i = 0; i < y->cols; i++)
            sum += (double)y->data[(size_t)r * y->ld + i] * d->data[(size_t)r * d->ld + i];
    return sum;
}

/* Fourth-order central difference of the loss by element x. */
static double slope_at(struct op_run *run, float *x, float step)
{
    float keep = *x;
    double at[4];
    static const int where[4] = {-2, -1, 1, 2};

    for (int k = 0; k < 4; k++) {
        *x = keep + (float)where[k] * step;
        op_run_forward(run);
        at[k] = loss(run);
    }
    *x = keep;
    return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12.0 * step);
}

/* Where a slope jumps (relu, max), a difference across the jump says nothing. */
static bool has_kinks(const struct op_case *c)
{
    return c->attrs.act == ACT_RELU || (c->op == OP_POOL && c->attrs.pool == POOL_MAX);
}

static void check_slopes(struct op_run *run, int input)
{
    const struct mat *x = &run->call.in[input], *d = &run->call.d_in[input];
    int count = x->rows * x->cols, stride = count / 23 + 1, bad = 0, seen = 0;
    float step = has_kinks(run->kase) ? 1.0f / 1024 : 1.0f / 64;

    for (int k = 0; k < count; k += stride, seen++) {
        int r = k / x->cols, i = k % x->cols;
        double got = d->data[(size_t)r * d->ld + i];
        double want = slope_at(run, &x->data[(size_t)r * x->ld + i], step);
        double tolerance = (has_kinks(run->kase) ? 2e-2 : 1e-3) * (1 + fabs(want));
        if (!(fabs(got - want) <= tolerance)) {
            bad++;
            print_message("%s: d_in[%d](%d, %d) = %g, finite differences say %g\n", run->kase->name,
                          input, r, i, got, want);
        }
    }
    /* A kink in reach of one element in thirty is chance, not a wrong gradient. */
    assert_true(bad == 0 || (has_kinks(run->kase) && bad * 10 < seen));
}

static void gradients_equal_finite_differences(void **state)
{
    for (int c = 0; c < op_case_count; c++)
        for (int s = 0; s < doc_shape_count; s++) {
            struct op_run run;
            if (doc_shapes[s].lengths[0] > 40)
                continue; /* the scalar oracle is slow; nothing new there */
            op_run_init(&run, reference, &op_cases[c], &doc_shapes[s], VALUES_NORMAL, 0, 7);
            op_run_forward(&run);
            op_run_backward(&run, false);
            for (int i = 0; i < run.call.in_count; i++)
                check_slopes(&run, i);
            op_run_release(&run);
        }
}

/* ---- fast against oracle ---- */

enum { CASES_MAX = 128 };
static double worst_forward[CASES_MAX], worst_backward[CASES_MAX];
static int over_budget;

static void note(double *worst, double ulp, double budget, const char *what,
                 const struct op_run *run, const struct doc_shape *docs, int values)
{
    *worst = fmax(*worst, ulp);
    if (ulp <= budget)
        return;
    over_budget++;
    print_message("%s: %s of %s, documents '%s', values %d: off by %g units in the last place, "
                  "budget %g\n",
                  run->backend->fingerprint, what, run->kase->name, docs->name, values, ulp,
                  budget);
}

static double backward_scale(const struct op_run *run, int i)
{
    double top = op_mat_top(&run->call.d_in[i]);
    bool saturates = run->kase->op == OP_ATTENTION || run->kase->attrs.act != ACT_NONE;

    return saturates ? fmax(top, op_mat_top(&run->call.d_out)) : top;
}

static void compare(struct backend *fast, int c, const struct doc_shape *docs, int values, int pad)
{
    struct op_run want, got;
    const struct op_case *kase = &op_cases[c];
    char what[32];

    op_run_init(&want, reference, kase, docs, values, 0, 11 + (uint64_t)values);
    op_run_init(&got, fast, kase, docs, values, pad, 11 + (uint64_t)values);
    op_run_forward(&want);
    op_run_forward(&got);
    note(&worst_forward[c],
         op_mat_ulp(&got.call.out, &want.call.out, kase->element ? 0 : op_mat_top(&want.call.out)),
         kase->forward_ulp, "out", &got, docs, values);
    for (int add = 0; add < 2; add++) {
        op_run_backward(&want, add);
        op_run_backward(&got, add);
        for (int i = 0; i < kase->in_count; i++) {
            snprintf(what, sizeof what, "d_in[%d]%s", i, add ? " added" : "");
            note(&worst_backward[c],
                 op_mat_ulp(&got.call.d_in[i], &want.call.d_in[i], backward_scale(&want, i)),
                 add ? kase->backward_ulp + 2 : kase->backward_ulp, what, &got, docs, values);
        }
        op_run_forward(&got); /* what the plan called garbage may have been in place */
    }
    op_run_check_guards(&got);
    op_run_release(&want);
    op_run_release(&got);
}

static void fast_backends_equal_the_oracle(void **state)
{
    struct backend *fast;

    assert_true(op_case_count <= CASES_MAX);
    for (int index = 0; (fast = op_backend_next(&index, 1)); backend_free(fast)) {
        for (int c = 0; c < op_case_count; c++)
            for (int s = 0; s < doc_shape_count; s++)
                for (int v = 0; v < VALUES_COUNT; v++)
                    if (op_cases[c].values >> v & 1)
                        compare(fast, c, &doc_shapes[s], v, (s + v) % 2 ? 3 : 0);
        print_message("%s\n", fast->fingerprint);
    }
    for (int c = 0; c < op_case_count; c++)
        print_message("  %-28s ulp forward %8.3g of %4g, backward %8.3g of %4g\n", op_cases[c].name,
                      worst_forward[c], op_cases[c].forward_ulp, worst_backward[c],
                      op_cases[c].backward_ulp);
    assert_int_equal(over_budget, 0);
}

/* ---- out in in[0]'s memory, where the plan allows it ---- */

static void in_place_changes_nothing(void **state)
{
    struct backend *fast;

    for (int index = 0; (fast = op_backend_next(&index, 1)); backend_free(fast))
        for (int c = 0; c < op_case_count; c++) {
            struct op_run apart, within;
            op_run_init(&apart, fast, &op_cases[c], &doc_shapes[5], VALUES_NORMAL, 2, 3);
            op_run_init(&within, fast, &op_cases[c], &doc_shapes[5], VALUES_NORMAL, 2, 3);
            if (apart.plan.in_place) {
                op_run_forward(&apart);
                within.call.out = within.call.in[0];
                op_run_forward(&within);
                assert_true(op_mat_ulp(&within.call.out, &apart.call.out, 0) == 0);
            }
            op_run_release(&apart);
            op_run_release(&within);
        }
}

/* ---- inference keeps nothing and gives the same bytes ---- */

static void inference_equals_training(void **state)
{
    struct backend *fast;

    for (int index = 0; (fast = op_backend_next(&index, 1)); backend_free(fast))
        for (int c = 0; c < op_case_count; c++) {
            struct op_run train, infer;
            op_run_init(&train, fast, &op_cases[c], &doc_shapes[5], VALUES_NORMAL, 1, 3);
            op_run_init(&infer, fast, &op_cases[c], &doc_shapes[5], VALUES_NORMAL, 1, 3);
            op_run_forward(&train);
            infer.call.saved = NULL;
            op_run_forward(&infer);
            assert_true(op_mat_ulp(&infer.call.out, &train.call.out, 0) == 0);
            op_run_release(&train);
            op_run_release(&infer);
        }
}

static int open_reference(void **state)
{
    struct err e = ERR_INIT;

    return backend_reference(&reference, NULL, &e);
}

static int close_reference(void **state)
{
    backend_free(reference);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(fast_backends_equal_the_oracle),
        cmocka_unit_test(in_place_changes_nothing),
        cmocka_unit_test(inference_equals_training),
    };

    return cmocka_run_group_tests(tests, open_reference, close_reference);
}
