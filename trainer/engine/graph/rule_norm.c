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

static int emit_pool(struct builder *b, enum pool pool, const struct term *x,
                     const struct layout *lay, struct term *out, struct err *e)
{
    struct op_attrs a = op_attrs_zero();
    struct layout keep = *lay;
    int v, in = x->value;

    a.pool = pool;
    a.eps = (float)x->eps;
    a.power = (float)x->power;
    v = build_emit(b, OP_POOL, &a, &in, 1, SPACE_DOCS, b->p->values[in].cols, e);
    if (v < 0)
        return v;
    term_set_value(out, v, &keep);
    return 1;
}

/* sum over tokens / number of tokens */
static int pooled(struct builder *b, enum arith op, struct term *x, struct term *y,
                  struct term *out, struct err *e)
{
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
    if (x->power == 0)
        return emit_pool(b, POOL_MEAN, x, &x->lay, out, e);
    *out = *x;
    out->kind = TERM_POOL_MEAN;
    return 1;
}

int norm_pow(struct builder *b, struct term *x, double k, struct term *out, struct err *e)
{
    if (x->kind == TERM_CLIPPED) {
        *out = *x;
        out->kind = TERM_POWERED;
        out->power = k;
        return 1;
    }
    if (x->kind == TERM_POOL_MEAN && fabs(x->power * k - 1) < 1e-6)
        return emit_pool(b, POOL_GEM, x, &x->lay, out, e);
    return 0;
}

/* x / max(|x|, eps) */
static int by_length(struct builder *b, struct term *x, struct term *y, struct term *out,
                     struct err *e)
{
    struct op_attrs a = op_attrs_zero();
    struct layout lay = x->lay;
    int v, in = x->value;

    if (!term_is_plain(x) || !same_base(x, y))
        return build_fail(b, e, "a value divided by the length of another");
    a.eps = (float)y->eps;
    v = build_emit(b, OP_L2_NORM, &a, &in, 1, b->p->values[in].space, b->p->values[in].cols, e);
    if (v < 0)
        return v;
    term_set_value(out, v, &lay);
    return 1;
}

int rule_clip(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *low_in = build_in(b, 1), *out = build_out(b, 0);
    double low = source_attr_float(n, "min", -INFINITY);
    enum space space;
    int v;

    if (build_in(b, 2) || source_attr(n, "max") ||
        (low_in && (low_in->kind != TERM_EVAL || !eval_number(low_in->eval, &low))) ||
        !isfinite(low))
        return build_fail(b, e, "only a lower bound is supported");
    if (x->kind == TERM_LENGTH) {
        *out = *x;
        out->eps = fmax(x->eps, low);
        return 0;
    }
    v = term_plain(b, x, &space, e);
    if (v < 0)
        return v;
    *out = *x;
    out->kind = TERM_CLIPPED;
    out->eps = low;
    return 0;
}

static bool is_last(void *arg, int probe, const struct coord *c, double x)
{
    const struct builder *b = arg;

    return c->doc >= 0 && c->tok >= 0 && x == (c->tok == b->lens[probe][c->doc] - 1);
}

bool last_token(struct builder *b, const struct term *x, struct tensor *const eval[PROBES])
{
    struct layout lay;

    return build_visit(b, &x->lay, eval, &lay, is_last, b);
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
    if (op == ARITH_DIV && y->kind == TERM_LENGTH)
        return by_length(b, x, y, out, e);
    if (op == ARITH_MUL && term_is_plain(x) && y->kind == TERM_EVAL && last_token(b, x, y->eval)) {
        *out = *x;
        out->kind = TERM_LAST;
        return 1;
    }
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
        return (int)eval_axis(eval_whole(x), rank);
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

/* Sums and maxima over a document's tokens: what pooling begins with. */
static int reduce_tokens(struct builder *b, const char *op, struct term *x,
                         const struct layout *lay, struct term *out, struct err *e)
{
    struct term t = *x;
    enum space space;
    int rc;

    if (x->kind == TERM_LAST || strcmp(op, "ReduceMax") == 0) {
        if (x->kind != TERM_LAST && (rc = term_plain(b, x, &space, e)) < 0)
            return rc;
        rc = emit_pool(b, x->kind == TERM_LAST ? POOL_LAST : POOL_MAX, x, lay, out, e);
        return rc < 0 ? rc : 0;
    }
    if (strcmp(op, "ReduceSum") != 0)
        return build_fail(b, e, "it reduces over tokens without the mask");
    if (x->kind != TERM_POWERED) {
        if ((rc = term_plain(b, x, &space, e)) < 0)
            return rc;
        t = *x;
    }
    t.kind = TERM_POOL_SUM;
    t.lay = *lay;
    *out = t;
    return 0;
}

int rule_reduce(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *out = build_out(b, 0);
    bool mean = strcmp(n->op, "ReduceMean") == 0, length = strcmp(n->op, "ReduceL2") == 0;
    bool keep = source_attr_int(n, "keepdims", 1) != 0;
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
    if (layout_axis_is(&x->lay, axis, ATOM_TOK))
        return reduce_tokens(b, n->op, x, &lay, out, e);
    v = term_plain(b, x, &space, e);
    if (v < 0)
        return v;
    if ((mean || length) && keep && is_columns(&x->lay, axis, b->p->values[v].cols)) {
        term_set_value(out, v, &lay);
        out->kind = mean ? TERM_MEAN : TERM_LENGTH;
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
