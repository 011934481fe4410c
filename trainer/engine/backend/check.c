#include "trainer/engine/backend/check.h"

static int shape(struct err *e, const char *what, const struct mat *m, int rows, int cols)
{
    if (m->rows == rows && m->cols == cols)
        return 0;
    return err_set(e, ERR_INTERNAL, "%s is (%d, %d), its op needs (%d, %d)", what, m->rows, m->cols,
                   rows, cols);
}

static int inputs(struct err *e, const struct op_call *c, int least, int most)
{
    if (c->in_count >= least && c->in_count <= most)
        return 0;
    return err_set(e, ERR_INTERNAL, "op has %d inputs, it needs %d to %d", c->in_count, least,
                   most);
}

static int check_embed(const struct op_call *c, struct err *e)
{
    int rc;

    if ((rc = inputs(e, c, 1, 1)) < 0)
        return rc;
    return shape(e, "embed: out", &c->out, c->out.rows, c->in[0].cols);
}

static int check_linear(const struct op_call *c, struct err *e)
{
    const struct mat *x = &c->in[0], *w = &c->in[1];
    int rc, out_cols;

    if ((rc = inputs(e, c, 2, 3)) < 0)
        return rc;
    out_cols = c->attrs->w_rows_out ? w->rows : w->cols;
    if ((c->attrs->w_rows_out ? w->cols : w->rows) != x->cols)
        return err_set(e, ERR_INTERNAL, "linear: weight (%d, %d) does not fit input (%d, %d)",
                       w->rows, w->cols, x->rows, x->cols);
    if (op_call_has(c, 2) && (rc = shape(e, "linear: bias", &c->in[2], 1, out_cols)) < 0)
        return rc;
    return shape(e, "linear: out", &c->out, x->rows, out_cols);
}

static int check_layer_norm(const struct op_call *c, struct err *e)
{
    const struct mat *x = &c->in[0];
    int rc;

    if ((rc = inputs(e, c, 3, 4)) < 0 ||
        (rc = shape(e, "layer_norm: gamma", &c->in[1], 1, x->cols)) < 0 ||
        (rc = shape(e, "layer_norm: beta", &c->in[2], 1, x->cols)) < 0)
        return rc;
    if (op_call_has(c, 3) && (rc = shape(e, "layer_norm: r", &c->in[3], x->rows, x->cols)) < 0)
        return rc;
    return shape(e, "layer_norm: out", &c->out, x->rows, x->cols);
}

static int check_attention(const struct op_call *c, struct err *e)
{
    const struct mat *q = &c->in[0];
    int rc;

    if ((rc = inputs(e, c, 3, 3)) < 0 ||
        (rc = shape(e, "attention: k", &c->in[1], q->rows, q->cols)) < 0 ||
        (rc = shape(e, "attention: v", &c->in[2], q->rows, q->cols)) < 0 ||
        (rc = shape(e, "attention: out", &c->out, q->rows, q->cols)) < 0)
        return rc;
    if (c->attrs->heads < 1 || q->cols % c->attrs->heads)
        return err_set(e, ERR_UNSUPPORTED, "attention: %d columns do not divide into %d heads",
                       q->cols, c->attrs->heads);
    return 0;
}

static int check_map(const struct op_call *c, struct err *e)
{
    int rc;

    if ((rc = inputs(e, c, 1, 1)) < 0)
        return rc;
    return shape(e, "out", &c->out, c->in[0].rows, c->in[0].cols);
}

static int check_pair(const struct op_call *c, struct err *e)
{
    const struct mat *a = &c->in[0], *b = &c->in[1];
    int rc;

    if ((rc = inputs(e, c, 2, 2)) < 0)
        return rc;
    if ((b->rows != a->rows && b->rows != 1) || (b->cols != a->cols && b->cols != 1))
        return err_set(e, ERR_UNSUPPORTED, "(%d, %d) does not broadcast to (%d, %d)", b->rows,
                       b->cols, a->rows, a->cols);
    return shape(e, "out", &c->out, a->rows, a->cols);
}

static int check_pool(const struct op_call *c, struct err *e)
{
    int rc;

    if ((rc = inputs(e, c, 1, 1)) < 0)
        return rc;
    if (c->attrs->pool < POOL_MEAN || c->attrs->pool >= POOL_NONE)
        return err_set(e, ERR_UNSUPPORTED, "pool: kind %d pools nothing", (int)c->attrs->pool);
    return shape(e, "pool: out", &c->out, c->docs.count, c->in[0].cols);
}

static int check_slice(const struct op_call *c, struct err *e)
{
    int rc;

    if ((rc = inputs(e, c, 1, 1)) < 0)
        return rc;
    if (c->attrs->begin < 0 || c->attrs->count < 1 ||
        c->attrs->begin > c->in[0].cols - c->attrs->count)
        return err_set(e, ERR_UNSUPPORTED, "slice_cols: columns [%d, %d + %d) of %d",
                       c->attrs->begin, c->attrs->begin, c->attrs->count, c->in[0].cols);
    return shape(e, "slice_cols: out", &c->out, c->in[0].rows, c->attrs->count);
}

static int check_concat(const struct op_call *c, struct err *e)
{
    int rc, cols = 0;

    if ((rc = inputs(e, c, 2, OP_INS)) < 0)
        return rc;
    for (int i = 0; i < c->in_count; i++) {
        if (c->in[i].rows != c->in[0].rows)
            return err_set(e, ERR_INTERNAL, "concat_cols: %d rows beside %d", c->in[i].rows,
                           c->in[0].rows);
        cols += c->in[i].cols;
    }
    return shape(e, "concat_cols: out", &c->out, c->in[0].rows, cols);
}

int op_call_check(enum op_code op, const struct op_call *call, struct err *e)
{
    static int (*const checks[OP_COUNT])(const struct op_call *, struct err *) = {
        [OP_EMBED] = check_embed,
        [OP_LINEAR] = check_linear,
        [OP_LAYER_NORM] = check_layer_norm,
        [OP_ATTENTION] = check_attention,
        [OP_ACT] = check_map,
        [OP_ADD] = check_pair,
        [OP_SUB] = check_pair,
        [OP_MUL] = check_pair,
        [OP_DIV] = check_pair,
        [OP_AFFINE] = check_map,
        [OP_POOL] = check_pool,
        [OP_L2_NORM] = check_map,
        [OP_SLICE_COLS] = check_slice,
        [OP_CONCAT_COLS] = check_concat,
    };

    if ((unsigned)op >= OP_COUNT)
        return err_set(e, ERR_INTERNAL, "no op has number %d", (int)op);
    if ((unsigned)call->attrs->act >= ACT_COUNT)
        return err_set(e, ERR_INTERNAL, "no activation has number %d", (int)call->attrs->act);
    return checks[op](call, e);
}
