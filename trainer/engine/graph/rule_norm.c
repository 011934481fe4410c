/* Rules that find layer norms in pieces, means over columns, and pooling inside the graph. */
#include <math.h>
#include <string.h>

#include "trainer/engine/graph/build_int.h"

static bool same_base(const struct term *x, const struct term *y)
{
    return x->value == y->value;
}

/* variance + eps, whose layout keeps an axis of size 1 */
static int add_eps(struct builder *b, struct term *x, struct term *y, struct term *out,
                   struct err *e)
{
    double eps;

    if (y->kind != TERM_EVAL || !eval_number(y->eval, &eps))
        return build_fail(b, e, "a variance plus something that is not a number");
    *out = *x;
    out->eps += eps;
    return 1;
}

static int scale_normed(struct builder *b, enum arith op, struct term *x, struct term *y,
                        struct term *out, struct err *e)
{
    struct term t = *x;
    int row;

    if (y->kind != TERM_PARAM || (op != ARITH_MUL && op != ARITH_ADD) ||
        (op == ARITH_MUL && x->gamma >= 0))
        return 0;
    row = build_row(b, y, &x->lay, b->p->values[x->value].cols, e);
    if (row < 0)
        return row;
    if (op == ARITH_MUL) {
        t.gamma = row;
        *out = t;
        return 1;
    }
    row = norm_emit(b, &t, row, e);
    if (row < 0)
        return row;
    term_set_value(out, row, &t.lay);
    return 1;
}

static int centered_with(enum arith op, struct term *x, struct term *y, struct term *out)
{
    if (!same_base(x, y))
        return 0;
    if (op == ARITH_MUL && y->kind == TERM_CENTERED) {
        *out = *x;
        out->kind = TERM_SQUARED;
        return 1;
    }
    if ((op == ARITH_DIV && y->kind == TERM_DEVIATION) ||
        (op == ARITH_MUL && y->kind == TERM_INVERSE)) {
        double eps = y->eps;

        *out = *x;
        out->kind = TERM_NORMED;
        out->eps = eps;
        out->gamma = -1;
        return 1;
    }
    return 0;
}

/* sum over tokens / number of tokens */
static int pooled(struct builder *b, enum arith op, struct term *x, struct term *y,
                  struct term *out, struct err *e)
{
    struct op_attrs a = op_attrs_zero();
    struct layout lay = x->lay;
    int v;

    if (op != ARITH_DIV || y->kind != TERM_EVAL)
        return 0;
    for (int p = 0; p < PROBES; p++) {
        int docs = b->sizes[p].docs;
        size_t each = y->eval[p]->count / (size_t)docs;

        if (y->eval[p]->rank < 1 || y->eval[p]->dims[0] != docs)
            return 0;
        for (size_t i = 0; i < y->eval[p]->count; i++)
            if (y->eval[p]->v[i] != b->lens[p][i / each])
                return build_fail(b, e,
                                  "a sum over tokens divided by something that is not "
                                  "their number");
    }
    a.pool = POOL_MEAN;
    v = build_emit(b, OP_POOL, &a, &x->value, 1, SPACE_DOCS, b->p->values[x->value].cols, e);
    if (v < 0)
        return v;
    term_set_value(out, v, &lay);
    return 1;
}

int norm_arithmetic(struct builder *b, enum arith op, struct term *x, struct term *y,
                    struct term *out, struct err *e)
{
    int rc;

    if (op == ARITH_SUB && y->kind == TERM_MEAN && term_is_plain(x) && same_base(x, y)) {
        struct layout lay = x->lay;
        int v = x->value;

        term_set_value(out, v, &lay);
        out->kind = TERM_CENTERED;
        return 1;
    }
    if (x->kind == TERM_CENTERED)
        return centered_with(op, x, y, out);
    if (y->kind == TERM_CENTERED && op == ARITH_MUL)
        return centered_with(op, y, x, out);
    if (op == ARITH_ADD && x->kind == TERM_VARIANCE)
        return add_eps(b, x, y, out, e);
    if (op == ARITH_ADD && y->kind == TERM_VARIANCE)
        return add_eps(b, y, x, out, e);
    if (x->kind == TERM_POOL_SUM)
        return pooled(b, op, x, y, out, e);
    if (x->kind == TERM_NORMED && (rc = scale_normed(b, op, x, y, out, e)) != 0)
        return rc;
    if (y->kind == TERM_NORMED)
        return scale_normed(b, op, y, x, out, e);
    return 0;
}

/* The reduced axis of ReduceX; -1: not exactly one. */
static int reduced_axis(struct builder *b, const struct source_node *n, int rank)
{
    const struct source_attr *a = source_attr(n, "axes");
    struct term *in = build_in(b, 1);
    double x;

    if (a && a->kind == ATTR_INTS && a->count == 1)
        return (int)eval_axis(a->ints[0], rank);
    if (!a && in && in->kind == TERM_EVAL && eval_number(in->eval, &x))
        return (int)eval_axis((int64_t)x, rank);
    return -1;
}

static void without_axis(const struct layout *l, int axis, bool keep, struct layout *out)
{
    layout_clear(out);
    for (int i = 0; i < l->rank; i++) {
        if (i != axis)
            layout_axis(out, &l->atoms[l->first[i]], layout_axis_atoms(l, i));
        else if (keep)
            layout_axis(out, NULL, 0);
    }
}

/* The columns are exactly this axis. */
static bool is_columns(const struct layout *l, int axis, int cols)
{
    for (int i = 0; i < l->rank; i++)
        for (int k = l->first[i]; i != axis && k < l->first[i + 1]; k++)
            if (l->atoms[k].kind == ATOM_COL)
                return false;
    return layout_axis_is(l, axis, ATOM_COL) && layout_columns_whole(l, cols);
}

int rule_reduce(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *out = build_out(b, 0);
    bool mean = strcmp(n->op, "ReduceMean") == 0, keep = source_attr_int(n, "keepdims", 1) != 0;
    int axis = reduced_axis(b, n, x->lay.rank), v;
    struct layout lay;
    enum space space;

    if (axis < 0)
        return build_fail(b, e, "it reduces over other than one axis");
    without_axis(&x->lay, axis, keep, &lay);
    if (x->kind == TERM_SQUARED && mean && keep &&
        is_columns(&x->lay, axis, b->p->values[x->value].cols)) {
        *out = *x;
        out->kind = TERM_VARIANCE;
        out->eps = 0;
        out->lay = lay;
        return 0;
    }
    v = term_plain(b, x, &space, e);
    if (v < 0)
        return v;
    if (mean && keep && is_columns(&x->lay, axis, b->p->values[v].cols)) {
        term_set_value(out, v, &lay);
        out->kind = TERM_MEAN;
        return 0;
    }
    if (!mean && layout_axis_is(&x->lay, axis, ATOM_TOK)) {
        term_set_value(out, v, &lay);
        out->kind = TERM_POOL_SUM;
        return 0;
    }
    return build_fail(b, e, "it reduces over an axis that is not the columns");
}

int rule_layer_norm(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *gamma = build_in(b, 1), *beta = build_in(b, 2), t;
    int64_t axis = eval_axis(source_attr_int(n, "axis", -1), x->lay.rank);
    struct layout lay = x->lay;
    int v, cols, row = -1;
    enum space space;

    for (int i = 1; i < n->out_count; i++)
        if (n->out[i] >= 0 && b->s->values[n->out[i]].uses)
            return build_fail(b, e, "its mean or deviation is used");
    v = term_plain(b, x, &space, e);
    if (v < 0)
        return v;
    cols = b->p->values[v].cols;
    if (axis != lay.rank - 1 || !is_columns(&lay, (int)axis, cols) || !gamma ||
        gamma->kind != TERM_PARAM || (beta && beta->kind != TERM_PARAM))
        return build_fail(b, e,
                          "a layer norm that is not over the columns, or without learnt scale");
    t = *x;
    t.eps = source_attr_float(n, "epsilon", 1e-5f);
    t.gamma = build_row(b, gamma, &lay, cols, e);
    if (t.gamma < 0 || (beta && (row = build_row(b, beta, &lay, cols, e)) < 0))
        return t.gamma < 0 ? t.gamma : row;
    v = norm_emit(b, &t, row, e);
    if (v >= 0)
        term_set_value(build_out(b, 0), v, &lay);
    return v < 0 ? v : 0;
}
