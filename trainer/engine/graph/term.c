/* Terms become program values: what each kind costs when it is really needed. */
#include <math.h>
#include <string.h>

#include "trainer/engine/graph/build_int.h"

void term_set_value(struct term *t, int value, const struct layout *lay)
{
    struct layout keep = *lay;

    memset(t, 0, sizeof *t);
    t->kind = TERM_VALUE;
    t->lay = keep;
    t->value = value;
    t->p[1] = 1;
}

bool term_is_plain(const struct term *t)
{
    return t->kind == TERM_VALUE && t->fn == FN_NONE && t->p[0] == 0 && t->p[1] == 1 &&
           t->p[2] == 0 && t->p[3] == 0;
}

enum space layout_space(const struct layout *l)
{
    return layout_has(l, ATOM_TOK)   ? SPACE_TOKENS
           : layout_has(l, ATOM_DOC) ? SPACE_DOCS
                                     : SPACE_FIXED;
}

int build_emit(struct builder *b, enum op_code op, const struct op_attrs *a, const int *in, int n,
               enum space space, int cols, struct err *e)
{
    int v;

    if (space == SPACE_FIXED)
        return build_fail(b, e, "it combines parameters only; that can't be trained here");
    v = program_emit(b->p, op, a, in, n, space, cols, e);
    if (v >= 0)
        b->p->nodes[b->p->node_count - 1].source = b->node;
    return v;
}

/*
 * Some exporters fold a transpose into each use of a tied matrix and so write it several
 * times. Matrices that are equal byte by byte, and not constant, are one parameter.
 */
static int find_twin(const struct builder *b, const struct source_tensor *data)
{
    size_t bytes = data->count * sizeof(float);

    if (data->rank < 2 || data->count < 16 || source_tensor_constant(data))
        return -1;
    for (int i = 0; i < b->p->param_count; i++) {
        const struct param *q = &b->p->params[i];
        const struct source_tensor *o =
            q->initializer < 0 || q->identity >= 0 ? NULL : &b->s->initializers[q->initializer];

        if (o && o->rank == data->rank && o->count == data->count &&
            memcmp(o->dims, data->dims, (size_t)data->rank * sizeof *data->dims) == 0 &&
            memcmp(o->data, data->data, bytes) == 0)
            return i;
    }
    return -1;
}

int build_param(struct builder *b, const struct term *t, struct err *e)
{
    const struct source_tensor *data = &b->s->initializers[t->initializer];
    int key = t->identity >= 0 ? t->identity : source_find(b->s, data->name), index;
    struct param p;

    if (b->param_of[key] >= 0)
        return b->param_of[key];
    memset(&p, 0, sizeof p);
    p.name = t->identity >= 0 ? b->s->values[t->identity].name : data->name;
    p.why = "learnt: a float initializer that the computation multiplies or adds";
    p.initializer = t->initializer;
    p.identity = t->identity;
    p.rank = data->rank;
    memcpy(p.dims, data->dims, sizeof p.dims);
    p.count = data->count;
    p.trainable = true;
    p.decays = true;
    p.block = BLOCK_NONE;
    p.table = -1;
    index = t->identity >= 0 ? -1 : find_twin(b, data);
    if (index < 0)
        index = program_param(b->p, &p, e);
    if (index >= 0 && t->identity < 0)
        b->p->initializer_param[t->initializer] = index;
    return b->param_of[key] = index;
}

/* The rows of a table by position: [1, S, C] cut out of a parameter. */
static int positions(struct builder *b, struct term *t, struct err *e)
{
    const struct atom *tok = NULL, *col = NULL;
    struct op_attrs a = op_attrs_zero();
    struct layout lay = t->lay;
    int table, param, v;

    for (int k = 0; k < lay.first[lay.rank]; k++) {
        if (lay.atoms[k].kind == ATOM_TOK)
            tok = &lay.atoms[k];
        else if (lay.atoms[k].kind == ATOM_COL && !col)
            col = &lay.atoms[k];
        else if (lay.atoms[k].kind != ATOM_DOC || lay.atoms[k].stride != 0)
            return build_fail(b, e, "a table of positions in a shape that is not known");
    }
    if (!tok || !col || col->stride != 1 || tok->stride != col->size)
        return build_fail(b, e, "a parameter that can't be used as rows");
    param = build_param(b, t, e);
    if (param < 0)
        return param;
    a.ids = IDS_POSITION;
    a.ids_shift = (int)((int64_t)t->offset / tok->stride);
    table = program_fixed(b->p, param, 0, (int)(b->p->params[param].count / (size_t)col->size),
                          (int)col->size, (int)col->size, e);
    if (table < 0)
        return table;
    v = build_emit(b, OP_EMBED, &a, &table, 1, SPACE_TOKENS, (int)col->size, e);
    if (v >= 0)
        term_set_value(t, v, &lay);
    return v;
}

/* q0 + q1 fn(p(x)), with the fused forms found. */
static enum act gate_of(const struct term *t, double *times)
{
    static const double tol = 1e-3;
    bool odd = t->p[0] == 0 && t->p[2] == 0, linear = odd && t->p[3] == 0;
    double c = t->p[1], cubic = t->p[3];

    *times = 1;
    if (!t->times_x)
        return ACT_NONE;
    if (t->fn == FN_ERF && linear && fabs(c - M_SQRT1_2) < tol && fabs(t->q0 - t->q1) < 1e-6) {
        *times = 2 * t->q1;
        return ACT_GELU_ERF;
    }
    if (t->fn == FN_TANH && odd && fabs(c - 0.7978845608) < tol &&
        fabs(cubic - 0.7978845608 * 0.044715) < 1e-4 && fabs(t->q0 - t->q1) < 1e-6) {
        *times = 2 * t->q1;
        return ACT_GELU_TANH;
    }
    if (t->fn == FN_SIGMOID && linear && t->q0 == 0) {
        *times = t->q1;
        return fabs(c - 1.702) < 1e-4 ? ACT_GELU_QUICK : fabs(c - 1) < 1e-6 ? ACT_SILU : ACT_NONE;
    }
    return ACT_NONE;
}

static int affine(struct builder *b, int v, double scale, double shift, enum space space, int cols,
                  struct err *e)
{
    struct op_attrs a = op_attrs_zero();

    if (scale == 1 && shift == 0)
        return v;
    a.scale = (float)scale;
    a.shift = (float)shift;
    return build_emit(b, OP_AFFINE, &a, &v, 1, space, cols, e);
}

/* p[0] + p[1] x + p[2] x^2 + p[3] x^3 by Horner. */
static int polynomial(struct builder *b, const struct term *t, enum space space, int cols,
                      struct err *e)
{
    int degree = t->p[3] != 0 ? 3 : t->p[2] != 0 ? 2 : 1, v;
    int in[2];

    v = affine(b, t->value, t->p[degree], degree > 1 ? t->p[degree - 1] : t->p[0], space, cols, e);
    for (int k = degree - 2; v >= 0 && k >= 0 && degree > 1; k--) {
        in[0] = v;
        in[1] = t->value;
        v = build_emit(b, OP_MUL, NULL, in, 2, space, cols, e);
        if (v >= 0)
            v = affine(b, v, 1, t->p[k], space, cols, e);
    }
    return v;
}

static int function(struct builder *b, struct term *t, enum space space, int cols, struct err *e)
{
    static const enum act acts[] = {ACT_NONE, ACT_ERF, ACT_TANH, ACT_SIGMOID};
    struct op_attrs a = op_attrs_zero();
    double times;
    int v;

    if (t->fn == FN_NONE)
        return polynomial(b, t, space, cols, e);
    a.act = gate_of(t, &times);
    if (a.act != ACT_NONE) {
        v = build_emit(b, OP_ACT, &a, &t->value, 1, space, cols, e);
        return v < 0 ? v : affine(b, v, times, 0, space, cols, e);
    }
    v = polynomial(b, t, space, cols, e);
    a.act = acts[t->fn];
    if (v >= 0)
        v = build_emit(b, OP_ACT, &a, &v, 1, space, cols, e);
    if (v >= 0)
        v = affine(b, v, t->q1, t->q0, space, cols, e);
    if (v >= 0 && t->times_x) {
        int in[2] = {v, t->value};

        v = build_emit(b, OP_MUL, NULL, in, 2, space, cols, e);
    }
    return v;
}

/* A row of constants: what a layer norm without its gamma or beta has. */
static int row_of(struct builder *b, const char *name, float x, int cols, struct err *e)
{
    float *row = arena_array(&b->arena, (size_t)cols, sizeof *row);

    if (!row)
        return err_set(e, ERR_NOMEM, "building the program");
    for (int i = 0; i < cols; i++)
        row[i] = x;
    return program_buffer(b->p, name, row, cols, e);
}

int norm_emit(struct builder *b, const struct term *t, int beta, struct err *e)
{
    struct op_attrs a = op_attrs_zero();
    int cols = b->p->values[t->value].cols, in[3];

    in[0] = t->value;
    in[1] = t->gamma >= 0 ? t->gamma : row_of(b, "constant 1", 1, cols, e);
    in[2] = beta >= 0 ? beta : row_of(b, "constant 0", 0, cols, e);
    if (in[1] < 0 || in[2] < 0)
        return in[1] < 0 ? in[1] : in[2];
    a.eps = (float)t->eps;
    return build_emit(b, OP_LAYER_NORM, &a, in, 3, b->p->values[t->value].space, cols, e);
}

int term_plain(struct builder *b, struct term *t, enum space *space, struct err *e)
{
    struct layout lay = t->lay;
    int v;

    switch (t->kind) {
    case TERM_VALUE:
        *space = b->p->values[t->value].space;
        if (term_is_plain(t))
            return t->value;
        v = function(b, t, *space, b->p->values[t->value].cols, e);
        break;
    case TERM_PARAM:
        *space = SPACE_TOKENS;
        if (!layout_has(&t->lay, ATOM_TOK))
            return build_fail(b, e, "a parameter where a computed value is expected");
        return positions(b, t, e);
    case TERM_NORMED:
        *space = b->p->values[t->value].space;
        v = norm_emit(b, t, -1, e);
        break;
    case TERM_MEAN:
    case TERM_CENTERED:
    case TERM_SQUARED:
    case TERM_VARIANCE:
    case TERM_DEVIATION:
    case TERM_INVERSE:
        return build_fail(b, e, "row statistics outside of a layer norm");
    case TERM_SCORES:
    case TERM_PROBS:
    case TERM_PROBS_NAN:
        return build_fail(b, e, "attention scores used outside of an attention");
    case TERM_POOL_SUM:
    case TERM_POOL_MEAN:
    case TERM_CLIPPED:
    case TERM_POWERED:
    case TERM_LAST:
    case TERM_LENGTH:
        return build_fail(b, e, "a piece of a pooling or a norm that is not completed");
    default:
        return build_fail(b, e, "%s", t->why ? t->why : "a value that is not expressed");
    }
    if (v >= 0)
        term_set_value(t, v, &lay);
    return v;
}

int build_row(struct builder *b, const struct term *param, const struct layout *lay, int cols,
              struct err *e)
{
    const struct layout *pl = &param->lay;
    int p, covered = 1;

    for (int i = 0; i < pl->rank; i++) {
        int k = i + lay->rank - pl->rank;

        if (layout_axis_atoms(pl, i) == 0)
            continue;
        if (k < 0 || !layout_axis_equal(pl, i, lay, k, true))
            return build_fail(b, e, "a parameter that does not lie along the columns");
        for (int n = 0; n < layout_axis_atoms(pl, i); n++)
            covered *= (int)pl->atoms[pl->first[i] + n].size;
    }
    if (covered != cols)
        return build_fail(b, e, "a parameter that does not cover the columns");
    p = build_param(b, param, e);
    return p < 0 ? p : program_fixed(b->p, p, param->offset, 1, cols, cols, e);
}

bool layout_join(const struct layout *a, const struct layout *b, bool strides, struct layout *out)
{
    int rank = a->rank > b->rank ? a->rank : b->rank;

    layout_clear(out);
    for (int i = 0; i < rank; i++) {
        int x = i - (rank - a->rank), y = i - (rank - b->rank);
        int na = x < 0 ? 0 : layout_axis_atoms(a, x), nb = y < 0 ? 0 : layout_axis_atoms(b, y);

        if (na && nb && !layout_axis_equal(a, x, b, y, strides))
            return false;
        if (na ? !layout_axis(out, &a->atoms[a->first[x]], na)
               : !layout_axis(out, nb ? &b->atoms[b->first[y]] : NULL, nb))
            return false;
    }
    return true;
}
