/* Rules for operators that only move: reshape, transpose, slices, look-ups. */
#include <string.h>

#include "trainer/engine/graph/build_int.h"

int rule_pass(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0);
    int to = strcmp(n->op, "Cast") == 0 ? (int)source_attr_int(n, "to", 0) : DTYPE_FLOAT;

    if (to != DTYPE_FLOAT && to != DTYPE_DOUBLE && x->kind != TERM_PROBS_NAN)
        return build_fail(b, e, "a learnt value is cast to %s", dtype_name(to));
    if (strcmp(n->op, "Dropout") == 0 && n->out_count > 1 && n->out[1] >= 0 &&
        b->s->values[n->out[1]].uses)
        return build_fail(b, e, "its mask is used");
    *build_out(b, 0) = *x;
    return 0;
}

/*
 * Exporters merge equal initializers and put an Identity where the other one was. Norms and
 * biases that are still all ones or zeros are equal by chance: each Identity is a parameter
 * of its own. Equal values that vary prove a tie (ALBERT's shared layers), which stays.
 */
int rule_identity(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *out = build_out(b, 0);

    *out = *x;
    if (x->kind == TERM_PARAM && b->s->values[n->in[0]].initializer >= 0 &&
        source_tensor_constant(&b->s->initializers[x->initializer]))
        out->identity = n->out[0];
    return 0;
}

int rule_reshape(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *shape = build_in(b, 1), out = *x;
    int64_t dims[PROBES][TENSOR_RANK] = {{0}};
    struct reshape r = {0, {0}};

    if (shape && shape->kind != TERM_EVAL)
        return build_fail(b, e, "its shape is not known");
    for (int p = 0; p < PROBES; p++) {
        struct eval v;
        int64_t from[TENSOR_RANK];
        int rc;

        memset(&v, 0, sizeof v);
        v.source = b->s;
        v.node = n;
        v.in[1] = shape ? shape->eval[p] : NULL;
        layout_dims(&x->lay, &b->sizes[p], from);
        if ((rc = eval_reshape_dims(&v, from, x->lay.rank, &r, e)) < 0)
            return rc;
        memcpy(dims[p], r.dims, sizeof dims[p]);
    }
    if (!layout_reshape(&x->lay, b->sizes, dims, r.rank, &out.lay))
        return build_fail(b, e, "it mixes documents, tokens and columns");
    *build_out(b, 0) = out;
    return 0;
}

int rule_transpose(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), out = *x;
    const struct source_attr *a = source_attr(n, "perm");
    int64_t perm[TENSOR_RANK];
    unsigned seen = 0;

    if (a && (a->kind != ATTR_INTS || a->count != x->lay.rank))
        return build_fail(b, e, "a permutation that does not fit");
    for (int i = 0; i < x->lay.rank; i++) {
        perm[i] = a ? a->ints[i] : x->lay.rank - 1 - i;
        if (perm[i] < 0 || perm[i] >= x->lay.rank || (seen & 1u << perm[i]))
            return build_fail(b, e, "a permutation that does not fit");
        seen |= 1u << perm[i];
    }
    layout_transpose(&x->lay, perm, &out.lay);
    *build_out(b, 0) = out;
    return 0;
}

/* Axes of size 1 become documents or tokens; nothing is copied, rows stay what they are. */
int rule_expand(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *shape = build_in(b, 1), out = *x;
    int rank;

    if (!shape || shape->kind != TERM_EVAL || shape->eval[0]->count > TENSOR_RANK)
        return build_fail(b, e, "its shape is not known");
    rank = (int)shape->eval[0]->count;
    rank = rank > x->lay.rank ? rank : x->lay.rank;
    layout_clear(&out.lay);
    for (int i = 0; i < rank; i++) {
        int k = i - (rank - x->lay.rank), m = i - (rank - (int)shape->eval[0]->count);
        int64_t size[PROBES];
        struct atom axis[2];
        int count = 0;

        for (int p = 0; p < PROBES; p++)
            size[p] = m < 0 ? 1 : eval_whole(shape->eval[p]->v[m]);
        if (k >= 0 && layout_axis_atoms(&x->lay, k))
            layout_axis(&out.lay, &x->lay.atoms[x->lay.first[k]], layout_axis_atoms(&x->lay, k));
        else if (!layout_guess(b->sizes, size, axis, &count) || !layout_axis(&out.lay, axis, count))
            return build_fail(b, e,
                              "it repeats along an axis that is neither documents nor tokens");
    }
    *build_out(b, 0) = out;
    return 0;
}

/* Keeps [begin, begin + count) of a whole column axis. */
static int cut_columns(struct builder *b, struct term *x, int axis, int64_t begin, int64_t count,
                       struct term *out, struct err *e)
{
    struct atom *a = &x->lay.atoms[x->lay.first[axis]];
    struct op_attrs attrs = op_attrs_zero();
    enum space space;
    int v, cols;

    if (layout_axis_atoms(&x->lay, axis) != 1 || a->kind != ATOM_COL)
        return build_fail(b, e, "it cuts an axis that can't be cut here");
    begin = begin < 0 ? begin + a->size : begin;
    if (begin < 0 || count < 1 || count > a->size - begin)
        return build_fail(b, e, "it cuts outside of an axis");
    *out = *x;
    if (x->kind == TERM_PARAM) {
        out->offset += (size_t)(begin * a->stride);
    } else {
        v = term_plain(b, x, &space, e);
        if (v < 0)
            return v;
        cols = b->p->values[v].cols;
        if (a->size * a->stride != cols)
            return build_fail(b, e, "it cuts columns that are not next to each other");
        attrs.begin = (int)(begin * a->stride);
        attrs.count = (int)(count * a->stride);
        v = build_emit(b, OP_SLICE_COLS, &attrs, &v, 1, space, attrs.count, e);
        if (v < 0)
            return v;
        term_set_value(out, v, &x->lay);
    }
    out->lay.atoms[out->lay.first[axis]].size = count;
    return 0;
}

/* Drops an axis of size 1. */
static void drop_axis(struct layout *l, int axis)
{
    struct layout out;

    layout_clear(&out);
    for (int i = 0; i < l->rank; i++)
        if (i != axis)
            layout_axis(&out, &l->atoms[l->first[i]], layout_axis_atoms(l, i));
    *l = out;
}

/* The first token of each document. */
static int first_token(struct builder *b, struct term *x, int axis, struct term *out, struct err *e)
{
    struct op_attrs a = op_attrs_zero();
    enum space space;
    struct layout lay, from = x->lay;
    int v;

    if (x->kind == TERM_PARAM || !layout_axis_is(&x->lay, axis, ATOM_TOK))
        return build_fail(b, e, "it takes one token of something that is no sequence");
    v = term_plain(b, x, &space, e);
    if (v < 0)
        return v;
    a.pool = POOL_CLS;
    v = build_emit(b, OP_POOL, &a, &v, 1, SPACE_DOCS, b->p->values[v].cols, e);
    if (v < 0)
        return v;
    layout_clear(&lay);
    for (int i = 0; i < from.rank; i++)
        layout_axis(&lay, &from.atoms[from.first[i]], i == axis ? 0 : layout_axis_atoms(&from, i));
    term_set_value(out, v, &lay);
    return 0;
}

/* A parameter's rows cut to the number of tokens: a table of positions. */
static int cut_positions(struct builder *b, struct term *x, int axis, int64_t begin,
                         struct term *out, struct err *e)
{
    struct atom *a = &x->lay.atoms[x->lay.first[axis]];

    if (x->kind != TERM_PARAM || layout_axis_atoms(&x->lay, axis) != 1 || a->kind != ATOM_COL)
        return build_fail(b, e, "it cuts by the number of tokens");
    *out = *x;
    out->offset += (size_t)(begin * a->stride);
    out->lay.atoms[out->lay.first[axis]].kind = ATOM_TOK;
    return 0;
}

static int cut_axis(struct builder *b, struct term *x, int axis, const struct slices s[PROBES],
                    struct term *out, struct err *e)
{
    bool same = true, tokens = true, whole = true;

    for (int p = 0; p < PROBES; p++) {
        int64_t dims[TENSOR_RANK];

        layout_dims(&x->lay, &b->sizes[p], dims);
        if (s[p].step[axis] != 1 || s[p].begin[axis] != s[0].begin[axis])
            return build_fail(b, e, "it takes every n-th element, or a moving part");
        same = same && s[p].count[axis] == s[0].count[axis];
        tokens = tokens && s[p].count[axis] == b->sizes[p].tokens;
        whole = whole && s[p].count[axis] == dims[axis];
    }
    if (whole) {
        *out = *x;
        return 0;
    }
    if (same && s[0].count[axis] == 1 && s[0].begin[axis] == 0 &&
        layout_axis_is(&x->lay, axis, ATOM_TOK))
        return first_token(b, x, axis, out, e);
    if (same)
        return cut_columns(b, x, axis, s[0].begin[axis], s[0].count[axis], out, e);
    if (tokens)
        return cut_positions(b, x, axis, s[0].begin[axis], out, e);
    return build_fail(b, e, "it cuts a part whose size is not known");
}

int rule_slice(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term now = *build_in(b, 0), next;
    struct slices s[PROBES];

    for (int i = 1; i < n->in_count; i++)
        if (build_in(b, i) && build_in(b, i)->kind != TERM_EVAL)
            return build_fail(b, e, "its bounds are not known");
    for (int p = 0; p < PROBES; p++) {
        struct eval v;
        int64_t dims[TENSOR_RANK];
        int rc;

        memset(&v, 0, sizeof v);
        v.source = b->s;
        v.node = n;
        for (int i = 1; i < n->in_count && i < EVAL_IN; i++)
            v.in[i] = build_in(b, i) ? build_in(b, i)->eval[p] : NULL;
        layout_dims(&now.lay, &b->sizes[p], dims);
        if ((rc = eval_slice_ranges(&v, dims, now.lay.rank, &s[p], e)) < 0)
            return rc;
    }
    for (int axis = 0; axis < now.lay.rank; axis++) {
        int rc = cut_axis(b, &now, axis, s, &next, e);

        if (rc < 0)
            return rc;
        now = next;
    }
    *build_out(b, 0) = now;
    return 0;
}

int rule_split(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *sizes_in = build_in(b, 1);
    int64_t sizes[EVAL_OUT], dims[TENSOR_RANK], begin = 0;
    int64_t axis = eval_axis(source_attr_int(n, "axis", 0), x->lay.rank);
    struct eval v;
    int rc;

    if (axis < 0 || n->out_count > EVAL_OUT || (sizes_in && sizes_in->kind != TERM_EVAL))
        return build_fail(b, e, "its parts are not known");
    memset(&v, 0, sizeof v);
    v.source = b->s;
    v.node = n;
    v.in[1] = sizes_in ? sizes_in->eval[0] : NULL;
    layout_dims(&x->lay, &b->sizes[0], dims);
    rc = eval_split_sizes(&v, dims[axis], sizes, e);
    for (int i = 0; rc == 0 && i < n->out_count; i++) {
        struct term out;

        rc = cut_columns(b, x, (int)axis, begin, sizes[i], &out, e);
        if (rc == 0)
            *build_out(b, i) = out;
        begin += sizes[i];
    }
    return rc;
}

struct positions {
    bool any, same;
    int64_t shift;
};

static bool is_arange(void *arg, int probe, const struct coord *c, double x)
{
    struct positions *s = arg;

    if (c->tok < 0)
        return false;
    if (!s->any)
        s->shift = eval_whole(x) - c->tok;
    s->any = true;
    return (double)(s->shift + c->tok) == x;
}

struct equals {
    struct tensor *const *to;
};

static bool is_equal(void *arg, int probe, const struct coord *c, double x)
{
    const struct tensor *t = ((struct equals *)arg)->to[probe];

    return c->doc >= 0 && c->tok >= 0 && t->v[c->doc * t->dims[1] + c->tok] == x;
}

/* What the indices of a look-up are, proved at the probes. */
static int look_up(struct builder *b, struct term *table, struct term *ix, struct term *out,
                   struct err *e)
{
    struct layout none, lay;
    struct equals ids = {b->ids}, types = {b->types};
    struct positions pos = {false, false, 0};
    struct op_attrs a = op_attrs_zero();
    const struct layout *tl = &table->lay;
    int64_t rows = layout_axis_atoms(tl, 0) ? tl->atoms[tl->first[0]].size : 1;
    double number;
    float *row;
    int param, v, cols;

    layout_clear(&none);
    if (build_see(b, &none, ix->eval, &lay, &number, &row, 0) == SEEN_UNIFORM) {
        int64_t at = eval_whole(number);

        if (at < 0 || at >= rows)
            return build_fail(b, e, "it looks up a row that does not exist");
        *out = *table; /* always the same row */
        if (rows > 1)
            out->offset += (size_t)(at * tl->atoms[tl->first[0]].stride);
        out->lay = lay;
        for (int i = 1; i < tl->rank; i++)
            layout_axis(&out->lay, &tl->atoms[tl->first[i]], layout_axis_atoms(tl, i));
        return 0;
    }
    if (build_visit(b, &none, ix->eval, &lay, is_equal, &ids))
        a.ids = IDS_TOKEN;
    else if (build_visit(b, &none, ix->eval, &lay, is_equal, &types))
        a.ids = IDS_TYPE;
    else if (build_visit(b, &none, ix->eval, &lay, is_arange, &pos))
        a.ids = IDS_POSITION;
    else
        return build_fail(b, e, "its indices are neither token ids, types nor positions");
    a.ids_shift = (int)pos.shift;
    if (tl->rank != 2 || rows == 1 || !layout_axis_is(tl, 1, ATOM_COL) || table->offset ||
        tl->atoms[tl->first[1]].stride != 1)
        return build_fail(b, e, "its table is not a plain matrix");
    cols = (int)tl->atoms[tl->first[1]].size;
    param = build_param(b, table, e);
    v = param < 0 ? param : program_fixed(b->p, param, 0, (int)rows, cols, cols, e);
    if (v >= 0)
        v = build_emit(b, OP_EMBED, &a, &v, 1, SPACE_TOKENS, cols, e);
    if (v < 0)
        return v;
    if (!layout_axis(&lay, &(struct atom){ATOM_COL, cols, 1}, 1))
        return build_fail(b, e, "too many axes");
    term_set_value(out, v, &lay);
    return 0;
}

int rule_gather(struct builder *b, const struct source_node *n, struct err *e)
{
    struct term *x = build_in(b, 0), *ix = build_in(b, 1), out;
    int64_t axis = eval_axis(source_attr_int(n, "axis", 0), x->lay.rank);
    double at;
    int rc;

    if (axis < 0 || !ix || ix->kind != TERM_EVAL)
        return build_fail(b, e, "its indices are not known");
    if (x->kind == TERM_EVAL)
        return build_fail(b, e, "its table is not learnt");
    if (x->kind == TERM_PARAM && axis == 0 && layout_axis_atoms(&x->lay, 0) <= 1) {
        rc = look_up(b, x, ix, &out, e);
    } else if (eval_number(ix->eval, &at) && ix->eval[0]->rank <= 1) {
        rc = at == 0 && layout_axis_is(&x->lay, (int)axis, ATOM_TOK)
                 ? first_token(b, x, (int)axis, &out, e)
                 : cut_columns(b, x, (int)axis, eval_whole(at), 1, &out, e);
        if (rc == 0) {
            layout_normalise(&out.lay);
            if (ix->eval[0]->rank == 0)
                drop_axis(&out.lay, (int)axis);
        }
    } else {
        return build_fail(b, e, "it picks rows by an index that is not understood");
    }
    if (rc == 0)
        *build_out(b, 0) = out;
    return rc;
}
