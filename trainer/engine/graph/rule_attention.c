/* Rules for products: linear layers, attention scores, their masks, and what comes of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/engine/graph/build_int.h"

#define MASKED (-1e3) /* a score lowered by so much has no weight left in float */

/* x (.., C) times a parameter (C, O). */
static int linear(struct builder *b, struct term *x, struct term *w, bool transposed,
                  struct term *out, struct err *e)
{
    struct op_attrs a = op_attrs_zero();
    struct layout lay = w->lay, result;
    const struct atom *in_atom, *out_atom;
    int v, param, in[2], rank;
    enum space space;

    v = term_plain(b, x, &space, e);
    if (v < 0)
        return v;
    rank = lay.rank;
    for (int i = 0; i < rank - 2; i++)
        if (layout_axis_atoms(&lay, i))
            return build_fail(b, e, "a stack of matrices");
    if (rank < 2 || !layout_axis_is(&lay, rank - 1, ATOM_COL) ||
        !layout_axis_is(&lay, rank - 2, ATOM_COL) ||
        !layout_axis_is(&x->lay, x->lay.rank - 1, ATOM_COL) ||
        x->lay.atoms[x->lay.first[x->lay.rank - 1]].size != b->p->values[v].cols)
        return build_fail(b, e, "a product that is not rows times a matrix");
    in_atom = &lay.atoms[lay.first[transposed ? rank - 1 : rank - 2]];
    out_atom = &lay.atoms[lay.first[transposed ? rank - 2 : rank - 1]];
    if (in_atom->size != b->p->values[v].cols || (in_atom->stride != 1 && out_atom->stride != 1))
        return build_fail(b, e, "a matrix that does not fit");
    param = build_param(b, w, e);
    if (param < 0)
        return param;
    a.w_rows_out = out_atom->stride != 1;
    in[0] = v;
    in[1] = a.w_rows_out ? program_fixed(b->p, param, w->offset, (int)out_atom->size,
                                         (int)in_atom->size, (int)out_atom->stride, e)
                         : program_fixed(b->p, param, w->offset, (int)in_atom->size,
                                         (int)out_atom->size, (int)in_atom->stride, e);
    if (in[1] < 0)
        return in[1];
    v = build_emit(b, OP_LINEAR, &a, in, 2, space, (int)out_atom->size, e);
    if (v < 0)
        return v;
    layout_clear(&result);
    for (int i = 0; i < x->lay.rank - 1; i++)
        layout_axis(&result, &x->lay.atoms[x->lay.first[i]], layout_axis_atoms(&x->lay, i));
    if (!layout_axis(&result, &(struct atom){ATOM_COL, out_atom->size, 1}, 1))
        return build_fail(b, e, "too many axes");
    term_set_value(out, v, &result);
    return 0;
}

/* The heads and their width in [.., S, d]: columns are heads * d, heads outside. */
static bool head_layout(const struct layout *l, int cols, int tok_axis, int d_axis, int *heads)
{
    const struct atom *d = &l->atoms[l->first[d_axis]];
    int found = 1;

    if (!layout_axis_is(l, tok_axis, ATOM_TOK) || !layout_axis_is(l, d_axis, ATOM_COL) ||
        d->stride != 1)
        return false;
    for (int i = 0; i < l->rank - 2; i++)
        for (int k = l->first[i]; k < l->first[i + 1]; k++) {
            const struct atom *a = &l->atoms[k];

            if (a->kind == ATOM_COL && a->stride != d->size)
                return false;
            if (a->kind == ATOM_COL)
                found *= (int)a->size;
            else if (a->kind != ATOM_DOC)
                return false;
        }
    *heads = found;
    return (int64_t)found * d->size == cols;
}

/* A scaled value's factor is taken out, so that it becomes the attention's scale. */
static int plain_times(struct builder *b, struct term *t, double *scale, struct err *e)
{
    enum space space;

    if (t->kind == TERM_VALUE && t->fn == FN_NONE && t->p[0] == 0 && t->p[2] == 0 && t->p[3] == 0) {
        *scale *= t->p[1];
        return t->value;
    }
    return term_plain(b, t, &space, e);
}

/* q [.., S, d] times k^T [.., d, S]. */
static int scores(struct builder *b, struct term *x, struct term *y, struct term *out,
                  struct err *e)
{
    int r = x->lay.rank, heads, other, q, k;
    double scale = 1;
    struct atom key = {ATOM_KEY, 0, 0};
    struct term t;

    if (y->lay.rank != r)
        return build_fail(b, e, "shapes that do not fit");
    q = plain_times(b, x, &scale, e);
    k = plain_times(b, y, &scale, e);
    if (q < 0 || k < 0)
        return q < 0 ? q : k;
    if (b->p->values[q].cols != b->p->values[k].cols ||
        !head_layout(&x->lay, b->p->values[q].cols, r - 2, r - 1, &heads) ||
        !head_layout(&y->lay, b->p->values[k].cols, r - 1, r - 2, &other) || heads != other)
        return build_fail(b, e, "a product of two computed values that is not attention");
    memset(&t, 0, sizeof t);
    t.kind = TERM_SCORES;
    t.q = q;
    t.k = k;
    t.scale = scale;
    t.heads = heads;
    for (int i = 0; i < r - 1; i++)
        layout_axis(&t.lay, &x->lay.atoms[x->lay.first[i]], layout_axis_atoms(&x->lay, i));
    layout_axis(&t.lay, &key, 1);
    *out = t;
    return 0;
}

/* probabilities [.., S, S] times v [.., S, d]. */
static int attend(struct builder *b, struct term *x, struct term *y, struct term *out,
                  struct err *e)
{
    int r = x->lay.rank, heads, in[3], v, cols;
    struct op_attrs a = op_attrs_zero();
    struct layout lay;
    double scale = 1;

    v = y->lay.rank == r ? plain_times(b, y, &scale, e)
                         : build_fail(b, e, "shapes that do not fit");
    if (v < 0)
        return v;
    cols = b->p->values[v].cols;
    if (scale != 1 || cols != b->p->values[x->q].cols ||
        !head_layout(&y->lay, cols, r - 2, r - 1, &heads) || heads != x->heads)
        return build_fail(b, e, "attention whose values differ in shape from its queries");
    in[0] = x->q;
    in[1] = x->k;
    in[2] = v;
    a.heads = heads;
    a.scale = (float)x->scale;
    a.causal = x->causal;
    lay = y->lay;
    v = build_emit(b, OP_ATTENTION, &a, in, 3, SPACE_TOKENS, cols, e);
    if (v >= 0)
        term_set_value(out, v, &lay);
    return v < 0 ? v : 0;
}

int rule_matmul(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *y = build_in(b, 1), *out = build_out(b, 0);

    if (!x || !y || x->lay.rank < 2 || y->lay.rank < 2 || x->kind == TERM_EVAL)
        return build_fail(b, e, "a product of these shapes is not supported");
    if (y->kind == TERM_PARAM && !layout_has(&y->lay, ATOM_TOK))
        return linear(b, x, y, false, out, e);
    if (x->kind == TERM_PROBS && y->kind != TERM_EVAL)
        return attend(b, x, y, out, e);
    if (x->kind == TERM_EVAL || y->kind == TERM_EVAL)
        return build_fail(b, e, "a product with a value that is not learnt");
    return scores(b, x, y, out, e);
}

int rule_gemm(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *w = build_in(b, 1), *c = build_in(b, 2), t;
    int rc, row, in[2];

    if (!w || w->kind != TERM_PARAM || source_attr_int(n, "transA", 0) != 0 ||
        source_attr_float(n, "alpha", 1) != 1 || (c && source_attr_float(n, "beta", 1) != 1))
        return build_fail(b, e, "this form is not supported");
    rc = linear(b, x, w, source_attr_int(n, "transB", 0) != 0, &t, e);
    if (rc < 0)
        return rc;
    if (c) {
        if (c->kind != TERM_PARAM)
            return build_fail(b, e, "a bias that is not learnt");
        row = build_row(b, c, &t.lay, b->p->values[t.value].cols, e);
        if (row < 0)
            return row;
        in[0] = t.value;
        in[1] = row;
        row = build_emit(b, OP_ADD, NULL, in, 2, b->p->values[t.value].space,
                         b->p->values[t.value].cols, e);
        if (row < 0)
            return row;
        t.value = row;
    }
    *build_out(b, 0) = t;
    return 0;
}

struct fill {
    struct builder *b;
    struct term *t;
    struct tensor *const *cond; /* Where: its condition; NULL: the tensor is added */
    bool fill_where;
    double fill;
    const char *why;
};

static bool mask_one(void *arg, int probe, const struct coord *c, double x)
{
    struct fill *f = arg;
    int s = f->b->sizes[probe].tokens;
    bool off;

    if (c->doc < 0 || c->tok < 0 || c->key < 0)
        return false;
    if (f->cond)
        off = (x != 0) == f->fill_where;
    else
        off = x <= MASKED;
    if (!f->cond && !off && fabs(x) > 1e-6)
        return false;
    if (off)
        f->t->allowed[probe][(c->doc * s + c->tok) * s + c->key] = 0;
    return true;
}

/* Copies the term with masks of its own, everything allowed at first. */
static int copy_masks(struct builder *b, const struct term *x, struct term *t, struct err *e)
{
    *t = *x;
    for (int p = 0; p < PROBES; p++) {
        size_t n =
            (size_t)b->sizes[p].docs * (size_t)b->sizes[p].tokens * (size_t)b->sizes[p].tokens;

        t->allowed[p] = arena_alloc(&b->arena, n);
        if (!t->allowed[p])
            return err_set(e, ERR_NOMEM, "building the program");
        if (x->allowed[p])
            memcpy(t->allowed[p], x->allowed[p], n);
        else
            memset(t->allowed[p], 1, n);
    }
    return 0;
}

static int apply_mask(struct builder *b, struct term *x, struct tensor *const by[PROBES],
                      struct fill *f, struct term *out, struct err *e)
{
    struct layout lay;
    struct term t;
    int rc = copy_masks(b, x, &t, e);

    if (rc < 0)
        return rc;
    f->b = b;
    f->t = &t;
    if (!build_visit(b, &t.lay, by, &lay, mask_one, f))
        return build_fail(b, e,
                          "attention scores get something that is no mask "
                          "(a bias by position, for example)");
    *out = t;
    return 1;
}

/* Among real tokens: everything allowed, or every key up to the query. */
static int prove_mask(struct builder *b, struct term *t, struct err *e)
{
    bool all = true, causal = true, padding = true;

    for (int p = 0; p < PROBES && t->allowed[p]; p++) {
        int s = b->sizes[p].tokens;

        for (int d = 0; d < b->sizes[p].docs; d++)
            for (int q = 0; q < b->lens[p][d]; q++)
                for (int k = 0; k < s; k++) {
                    bool on = t->allowed[p][(d * s + q) * s + k] != 0;

                    if (k >= b->lens[p][d]) {
                        padding = padding && !on;
                        continue;
                    }
                    all = all && on;
                    causal = causal && on == (k <= q);
                }
    }
    if (!all && !causal)
        return build_fail(b, e, "a mask that is neither padding nor causal");
    if ((!padding || !t->allowed[0]) && !(causal && !all) && b->inputs.mask >= 0)
        b->p->unmasked++;
    t->causal = !all;
    return 0;
}

int scores_fill(struct builder *b, struct term *x, struct tensor *const cond[PROBES],
                bool fill_where, struct tensor *const fill[PROBES], struct term *out, struct err *e)
{
    struct fill f = {0};
    struct term t;
    double number = 0;
    int rc;

    for (int p = 0; p < PROBES; p++)
        for (size_t i = 0; i < fill[p]->count; i++)
            number = i || p ? fmax(number, fill[p]->v[i]) : fill[p]->v[i];
    if (x->kind == TERM_SCORES && !(number <= MASKED))
        return build_fail(b, e, "masked scores are not very small");
    f.cond = cond;
    f.fill_where = fill_where;
    rc = apply_mask(b, x, cond, &f, &t, e);
    if (rc >= 0 && x->kind == TERM_PROBS &&
        ((rc = prove_mask(b, &t, e)) < 0 || t.causal != x->causal))
        return build_fail(b, e, "probabilities of real tokens are masked");
    if (rc >= 0)
        *out = t;
    return rc;
}

/* A number that scores are multiplied with everywhere. */
static bool factor(struct builder *b, struct term *x, struct term *by, double *number)
{
    struct layout lay;
    float *row;

    return build_see(b, &x->lay, by->eval, &lay, number, &row, 0) == SEEN_UNIFORM;
}

int scores_arithmetic(struct builder *b, enum arith op, struct term *x, struct term *y,
                      struct term *out, struct err *e)
{
    struct fill f = {0};
    double number;

    if ((op == ARITH_ADD || op == ARITH_MUL) && (y->kind == TERM_SCORES || y->kind == TERM_PROBS)) {
        struct term *swap = x;

        x = y;
        y = swap;
    }
    if ((x->kind != TERM_SCORES && x->kind != TERM_PROBS) || y->kind != TERM_EVAL)
        return 0;
    if ((op == ARITH_MUL || op == ARITH_DIV) && factor(b, x, y, &number) && number != 0 &&
        (x->kind == TERM_SCORES ? !x->allowed[0] : number == 1)) {
        *out = *x;
        if (x->kind == TERM_SCORES)
            out->scale = op == ARITH_MUL ? x->scale * number : x->scale / number;
        return 1;
    }
    if (op == ARITH_ADD && x->kind == TERM_SCORES)
        return apply_mask(b, x, y->eval, &f, out, e);
    return build_fail(b, e, "attention scores are changed in a way that is not understood");
}

int rule_softmax(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), t;
    int64_t axis = source_attr_int(n, "axis", b->s->opset < 13 ? 1 : -1);
    int rc;

    if (x->kind != TERM_SCORES)
        return build_fail(b, e, "a softmax outside of attention");
    if (eval_axis(axis, x->lay.rank) != x->lay.rank - 1)
        return build_fail(b, e, "a softmax over an axis that is not the keys");
    t = *x;
    if ((rc = prove_mask(b, &t, e)) < 0)
        return rc;
    t.kind = TERM_PROBS;
    *build_out(b, 0) = t;
    return 0;
}

/* Packed rows have no fully masked query, so no probability is ever NaN. */
int rule_isnan(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0);

    if (x->kind != TERM_PROBS)
        return build_fail(b, e, "it asks a learnt value for NaN");
    *build_out(b, 0) = *x;
    build_out(b, 0)->kind = TERM_PROBS_NAN;
    return 0;
}

int rule_where(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *c = build_in(b, 0), *x = build_in(b, 1), *y = build_in(b, 2), *out;
    struct layout lay;
    double number;
    float *row;
    int rc;

    out = build_out(b, 0);
    if (!c || !x || !y)
        return build_fail(b, e, "a missing input");
    if (c->kind == TERM_PROBS_NAN) {
        *out = *y;
        return 0;
    }
    if (c->kind != TERM_EVAL)
        return build_fail(b, e, "its condition depends on what is learnt");
    if ((x->kind == TERM_SCORES || x->kind == TERM_PROBS) && y->kind == TERM_EVAL)
        rc = scores_fill(b, x, c->eval, false, y->eval, out, e);
    else if ((y->kind == TERM_SCORES || y->kind == TERM_PROBS) && x->kind == TERM_EVAL)
        rc = scores_fill(b, y, c->eval, true, x->eval, out, e);
    else if (build_see(b, x->kind == TERM_EVAL ? &y->lay : &x->lay, c->eval, &lay, &number, &row,
                       0) == SEEN_UNIFORM) {
        *out = number != 0 ? *x : *y;
        rc = 0;
    } else {
        rc = build_fail(b, e, "it chooses by mask, ids or position");
    }
    return rc < 0 ? rc : 0;
}
