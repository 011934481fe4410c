/* Rules for arithmetic: polynomials of one value, gates, rows of parameters, masks of ones. */
#include <math.h>
#include <string.h>

#include "trainer/engine/graph/build_int.h"

/* x as a polynomial of its program value; false when it is a function already. */
static bool is_poly(const struct term *x)
{
    return x->kind == TERM_VALUE && x->fn == FN_NONE;
}

static bool is_base(const struct term *x)
{
    return is_poly(x) && x->p[0] == 0 && x->p[2] == 0 && x->p[3] == 0;
}

static int make_plain(struct builder *b, struct term *x, struct err *e)
{
    enum space space;

    return term_plain(b, x, &space, e);
}

/* Functions of one input. */
int rule_unary(struct builder *b, const struct source_node *n, struct err *e)
{
    static const struct {
        const char *op;
        enum fn fn;
        enum act act;
    } ops[] = {
        {"Erf", FN_ERF, ACT_ERF},
        {"Tanh", FN_TANH, ACT_TANH},
        {"Sigmoid", FN_SIGMOID, ACT_SIGMOID},
        {"Relu", FN_NONE, ACT_RELU},
        {"Exp", FN_NONE, ACT_EXP},
        {"Sqrt", FN_NONE, ACT_SQRT},
    };
    struct term *x = build_in(b, 0), *out = build_out(b, 0), t;
    struct op_attrs a = op_attrs_zero();
    int v, k = 0;

    if (x->kind == TERM_VARIANCE && strcmp(n->op, "Sqrt") == 0) {
        *out = *x;
        out->kind = TERM_DEVIATION;
        return 0;
    }
    if (x->kind == TERM_DEVIATION && strcmp(n->op, "Reciprocal") == 0) {
        *out = *x;
        out->kind = TERM_INVERSE;
        return 0;
    }
    if (strcmp(n->op, "Neg") == 0)
        return poly_number(b, ARITH_MUL, x, -1, false, out, e);
    while (k < (int)(sizeof ops / sizeof ops[0]) && strcmp(ops[k].op, n->op) != 0)
        k++;
    if (k == (int)(sizeof ops / sizeof ops[0]))
        return build_fail(b, e, "this operator is not supported here");
    t = *x;
    if (ops[k].fn != FN_NONE && is_poly(x)) {
        t.fn = ops[k].fn;
        t.q0 = 0;
        t.q1 = 1;
        t.times_x = false;
        *out = t;
        return 0;
    }
    v = make_plain(b, x, e);
    if (v < 0)
        return v;
    a.act = ops[k].act;
    v = build_emit(b, OP_ACT, &a, &v, 1, b->p->values[v].space, b->p->values[v].cols, e);
    if (v >= 0)
        term_set_value(out, v, &x->lay);
    return v < 0 ? v : 0;
}

int rule_gelu(struct builder *b, const struct source_node *n, struct err *e)
{
    bool tanh_form = strcmp(source_attr_text(n, "approximate", "none"), "tanh") == 0;
    struct op_attrs a = op_attrs_zero();
    struct term *x = build_in(b, 0);
    int v = make_plain(b, x, e);

    if (v < 0)
        return v;
    a.act = tanh_form ? ACT_GELU_TANH : ACT_GELU_ERF;
    v = build_emit(b, OP_ACT, &a, &v, 1, b->p->values[v].space, b->p->values[v].cols, e);
    if (v >= 0)
        term_set_value(build_out(b, 0), v, &x->lay);
    return v < 0 ? v : 0;
}

static void scale_poly(struct term *t, double k)
{
    for (int i = 0; i < POLY; i++)
        t->p[i] *= k;
}

static int number_left(struct builder *b, enum arith op, struct term *x, double number,
                       struct term *out, struct err *e)
{
    if (op == ARITH_SUB) { /* number - x */
        int rc = poly_number(b, ARITH_MUL, x, -1, false, out, e);
        struct term negative = *out;

        return rc < 0 ? rc : poly_number(b, ARITH_ADD, &negative, number, false, out, e);
    }
    if (op == ARITH_DIV && x->kind == TERM_DEVIATION && number == 1) {
        *out = *x;
        out->kind = TERM_INVERSE;
        return 0;
    }
    return build_fail(b, e, "a number divided by a learnt value");
}

/* x op number (left: number op x). */
int poly_number(struct builder *b, enum arith op, struct term *x, double number, bool left,
                struct term *out, struct err *e)
{
    struct term t;
    int rc;

    if (left && (op == ARITH_SUB || op == ARITH_DIV))
        return number_left(b, op, x, number, out, e);
    if (op == ARITH_SUB || op == ARITH_DIV) {
        number = op == ARITH_SUB ? -number : 1 / number;
        op = op == ARITH_SUB ? ARITH_ADD : ARITH_MUL;
    }
    if (!isfinite(number))
        return build_fail(b, e, "a number that is not finite");
    if (number == (op == ARITH_MUL)) { /* x * 1, x + 0 */
        *out = *x;
        return 0;
    }
    if (x->kind != TERM_VALUE || (op == ARITH_ADD && x->fn != FN_NONE && x->times_x)) {
        rc = make_plain(b, x, e);
        if (rc < 0)
            return rc;
    }
    t = *x;
    if (op == ARITH_ADD && t.fn == FN_NONE) {
        t.p[0] += number;
    } else if (op == ARITH_ADD) {
        t.q0 += number;
    } else if (t.fn == FN_NONE) {
        scale_poly(&t, number);
    } else {
        t.q0 *= number;
        t.q1 *= number;
    }
    *out = t;
    return 0;
}

/* x * y when both are functions of one value. 1: done; 0: no. */
int poly_product(struct builder *b, const struct term *x, const struct term *y, struct term *out)
{
    double p[2 * POLY] = {0};

    if (x->kind != TERM_VALUE || y->kind != TERM_VALUE || x->value != y->value ||
        !layout_equal(&x->lay, &y->lay))
        return 0;
    if (is_poly(x) && is_poly(y)) {
        for (int i = 0; i < POLY; i++)
            for (int k = 0; k < POLY; k++)
                p[i + k] += x->p[i] * y->p[k];
        for (int i = POLY; i < 2 * POLY; i++)
            if (p[i] != 0)
                return 0;
        *out = *x;
        memcpy(out->p, p, sizeof out->p);
        return 1;
    }
    if (is_base(y) && !is_poly(x)) {
        const struct term *swap = x;

        x = y;
        y = swap;
    }
    if (!is_base(x) || y->times_x)
        return 0;
    *out = *y;
    out->times_x = true;
    out->q0 = y->q0 * x->p[1];
    out->q1 = y->q1 * x->p[1];
    return 1;
}

/* x + sign * y when both are polynomials of one value and at least one is more than that value. */
static bool poly_sum(const struct term *x, const struct term *y, double sign, struct term *out)
{
    struct term t = *x;

    if (!is_poly(x) || !is_poly(y) || x->value != y->value || !layout_equal(&x->lay, &y->lay) ||
        (is_base(x) && is_base(y)))
        return false;
    for (int i = 0; i < POLY; i++)
        t.p[i] += sign * y->p[i];
    *out = t;
    return true;
}

static enum op_code op_of(enum arith op)
{
    static const enum op_code ops[] = {OP_ADD, OP_SUB, OP_MUL, OP_DIV};

    return ops[op];
}

/* Rows of a look-up that always finds the same row: they lie along columns only. */
static bool row_term(const struct term *t, struct term *row)
{
    if (t->kind != TERM_PARAM)
        return false;
    *row = *t;
    layout_clear(&row->lay);
    for (int i = 0; i < t->lay.rank; i++) {
        const struct atom *a = &t->lay.atoms[t->lay.first[i]];
        int n = layout_axis_atoms(&t->lay, i);

        for (int k = 0; k < n; k++)
            if (a[k].kind != ATOM_COL && a[k].stride != 0)
                return false;
        layout_axis(&row->lay, a, n && a[0].kind != ATOM_COL ? 0 : n);
    }
    return true;
}

/* value op row, or row op value; the row is a program value already. */
static int with_row(struct builder *b, enum arith op, struct term *x, int row, bool left,
                    const struct layout *lay, struct term *out, struct err *e)
{
    int v = make_plain(b, x, e), in[2];

    if (v < 0)
        return v;
    if (left && op == ARITH_SUB) {
        struct term t = *x;
        int rc = poly_number(b, ARITH_MUL, &t, -1, false, out, e);

        t = *out;
        return rc < 0 ? rc : with_row(b, ARITH_ADD, &t, row, false, lay, out, e);
    }
    if (left && op == ARITH_DIV)
        return build_fail(b, e, "a parameter divided by a computed value");
    in[0] = v;
    in[1] = row;
    v = build_emit(b, op_of(op), NULL, in, 2, b->p->values[v].space, b->p->values[v].cols, e);
    if (v >= 0)
        term_set_value(out, v, lay);
    return v < 0 ? v : 0;
}

/* A learnt value and one that is known at the probes. */
static int with_eval(struct builder *b, enum arith op, struct term *x, struct term *known,
                     bool left, struct term *out, struct err *e)
{
    int cols = x->kind == TERM_VALUE ? b->p->values[x->value].cols : 0, rc, v;
    struct layout lay;
    struct term t = *x;
    double number;
    float *row;

    switch (build_see(b, &x->lay, known->eval, &lay, &number, &row, cols)) {
    case SEEN_UNIFORM:
        rc = poly_number(b, op, x, number, left, &t, e);
        if (rc == 0) {
            *out = t;
            out->lay = lay;
        }
        return rc;
    case SEEN_ROW:
        v = program_buffer(b->p, "constant", row, cols, e);
        return v < 0 ? v : with_row(b, op, x, v, left, &lay, out, e);
    default:
        return build_fail(b, e,
                          "it combines a learnt value with one that depends on the mask, "
                          "ids or positions in a way that is not understood");
    }
}

static int with_param(struct builder *b, enum arith op, struct term *x, struct term *row, bool left,
                      struct term *out, struct err *e)
{
    int v = make_plain(b, x, e), cols;
    struct layout lay;

    if (v < 0)
        return v;
    cols = b->p->values[v].cols;
    v = build_row(b, row, &x->lay, cols, e);
    if (v < 0)
        return v;
    if (!layout_join(&x->lay, &row->lay, true, &lay))
        return build_fail(b, e, "shapes that do not fit");
    return with_row(b, op, x, v, left, &lay, out, e);
}

static int with_value(struct builder *b, enum arith op, struct term *x, struct term *y,
                      struct term *out, struct err *e)
{
    struct layout lay;
    int in[2], v, cols[2];
    enum space space;

    if ((op == ARITH_MUL && poly_product(b, x, y, out)) ||
        (op <= ARITH_SUB && poly_sum(x, y, op == ARITH_SUB ? -1 : 1, out)))
        return 0;
    if ((in[0] = make_plain(b, x, e)) < 0 || (in[1] = make_plain(b, y, e)) < 0)
        return in[0] < 0 ? in[0] : in[1];
    cols[0] = b->p->values[in[0]].cols;
    cols[1] = b->p->values[in[1]].cols;
    space = b->p->values[in[0]].space;
    if (space != b->p->values[in[1]].space || cols[0] != cols[1] ||
        !layout_join(&x->lay, &y->lay, true, &lay))
        return build_fail(b, e, "it combines values whose rows or columns differ");
    v = build_emit(b, op_of(op), NULL, in, 2, space, cols[0], e);
    if (v >= 0)
        term_set_value(out, v, &lay);
    return v < 0 ? v : 0;
}

int rule_arithmetic(struct builder *b, const struct source_node *n, struct err *e)
{
    enum arith op = n->op[0] == 'A'   ? ARITH_ADD
                    : n->op[0] == 'S' ? ARITH_SUB
                    : n->op[0] == 'M' ? ARITH_MUL
                                      : ARITH_DIV;
    struct term *x = build_in(b, 0), *y = build_in(b, 1), *out = build_out(b, 0), row;
    int rc;

    if (!x || !y)
        return build_fail(b, e, "a missing input");
    if ((rc = scores_arithmetic(b, op, x, y, out, e)) != 0 ||
        (rc = norm_arithmetic(b, op, x, y, out, e)) != 0)
        return rc < 0 ? rc : 0;
    if (y->kind == TERM_EVAL && x->kind != TERM_PARAM)
        return with_eval(b, op, x, y, false, out, e);
    if (x->kind == TERM_EVAL && y->kind != TERM_PARAM)
        return with_eval(b, op, y, x, true, out, e);
    if (row_term(y, &row) && x->kind != TERM_EVAL && !row_term(x, &(struct term){0}))
        return with_param(b, op, x, &row, false, out, e);
    if (row_term(x, &row) && y->kind != TERM_EVAL && !row_term(y, &(struct term){0}))
        return with_param(b, op, y, &row, true, out, e);
    if (x->kind == TERM_EVAL || y->kind == TERM_EVAL)
        return build_fail(b, e, "it computes with a parameter alone; that can't be trained here");
    return with_value(b, op, x, y, out, e);
}

int rule_pow(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *y = build_in(b, 1), *out = build_out(b, 0), t;
    double k;
    int rc;

    if (!y || y->kind != TERM_EVAL || !eval_number(y->eval, &k))
        return build_fail(b, e, "an exponent that is not a number");
    if (k == 2 && x->kind == TERM_CENTERED) {
        *out = *x;
        out->kind = TERM_SQUARED;
        return 0;
    }
    if ((k == 0.5 || k == -0.5) && x->kind == TERM_VARIANCE) {
        *out = *x;
        out->kind = k > 0 ? TERM_DEVIATION : TERM_INVERSE;
        return 0;
    }
    if ((rc = norm_pow(b, x, k, out, e)) != 0)
        return rc < 0 ? rc : 0;
    if (k == 2 && poly_product(b, x, x, out))
        return 0;
    if (k == 3 && poly_product(b, x, x, &t) && poly_product(b, &t, x, out))
        return 0;
    return build_fail(b, e, "this power is not supported");
}
