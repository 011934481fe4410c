#include "trainer/engine/onnx/tail.h"

#include <stdio.h>
#include <string.h>

#include "trainer/engine/onnx/wire.h"

/* TensorProto, AttributeProto, NodeProto, GraphProto field numbers used here. */
enum { NODE_IN = 1, NODE_OUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTR = 5 };
enum { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_OUTPUT = 12 };

struct tail {
    const struct onnx_write *w;
    const bool *kept; /* per source value: its name is taken */
    struct buf *out;
    int opset, serial;
};

/* An initializer of ours: float when `floats`, else int64. */
static void constant(struct tail *t, const char *name, bool scalar, const float *number,
                     const int64_t *integer)
{
    size_t mark = wire_begin(t->out, GRAPH_INITIALIZER);

    if (!scalar)
        wire_put_int(t->out, 1, 1);
    wire_put_int(t->out, 2, number ? DTYPE_FLOAT : DTYPE_INT64);
    wire_put_text(t->out, 8, name);
    if (number)
        wire_put_bytes(t->out, 9, number, sizeof *number);
    else
        wire_put_bytes(t->out, 9, integer, sizeof *integer);
    wire_end(t->out, mark);
}

static void attr_int(struct buf *b, const char *name, int64_t v)
{
    size_t mark = wire_begin(b, NODE_ATTR);

    wire_put_text(b, 1, name);
    wire_put_int(b, 3, (uint64_t)v);
    wire_put_int(b, 20, ATTR_INT);
    wire_end(b, mark);
}

static void attr_ints(struct buf *b, const char *name, int64_t v)
{
    size_t mark = wire_begin(b, NODE_ATTR);

    wire_put_text(b, 1, name);
    wire_put_int(b, 8, (uint64_t)v);
    wire_put_int(b, 20, ATTR_INTS);
    wire_end(b, mark);
}

static void attr_float(struct buf *b, const char *name, float v)
{
    size_t mark = wire_begin(b, NODE_ATTR);

    wire_put_text(b, 1, name);
    wire_put_tag(b, 2, WIRE_32);
    buf_add(b, &v, sizeof v);
    wire_put_int(b, 20, ATTR_FLOAT);
    wire_end(b, mark);
}

/* Begins a node; attributes may follow before wire_end. */
static size_t node(struct tail *t, const char *op, const char *const *in, int n, const char *out)
{
    size_t mark = wire_begin(t->out, GRAPH_NODE);
    char name[96];

    for (int i = 0; i < n; i++)
        wire_put_text(t->out, NODE_IN, in[i]);
    wire_put_text(t->out, NODE_OUT, out);
    snprintf(name, sizeof name, "/tripline/%s_%d", op, t->serial++);
    wire_put_text(t->out, NODE_NAME, name);
    wire_put_text(t->out, NODE_OP, op);
    return mark;
}

static void plain(struct tail *t, const char *op, const char *a, const char *b, const char *out)
{
    const char *in[2] = {a, b};

    wire_end(t->out, node(t, op, in, b ? 2 : 1, out));
}

/* ReduceX and Unsqueeze: axes are an attribute before opset `since`, an input from it on. */
static void over_axis(struct tail *t, const char *op, const char *x, int64_t axis, int since,
                      int keep, const char *out)
{
    const char *in[2] = {x, NULL};
    char name[96];
    size_t mark;

    snprintf(name, sizeof name, "tripline_axis_%d", t->serial);
    in[1] = name;
    if (t->opset >= since)
        constant(t, name, false, NULL, &axis);
    mark = node(t, op, in, t->opset >= since ? 2 : 1, out);
    if (t->opset < since)
        attr_ints(t->out, "axes", axis);
    if (keep >= 0)
        attr_int(t->out, "keepdims", keep);
    wire_end(t->out, mark);
}

/* max(x, low) */
static void at_least(struct tail *t, const char *x, float low, const char *out)
{
    const char *in[2] = {x, NULL};
    char name[96];
    size_t mark;

    snprintf(name, sizeof name, "tripline_min_%d", t->serial);
    in[1] = name;
    if (t->opset >= 11)
        constant(t, name, true, &low, NULL);
    mark = node(t, "Clip", in, t->opset >= 11 ? 2 : 1, out);
    if (t->opset < 11)
        attr_float(t->out, "min", low);
    wire_end(t->out, mark);
}

static void power(struct tail *t, const char *x, float p, const char *out)
{
    char name[96];

    snprintf(name, sizeof name, "tripline_power_%d", t->serial);
    constant(t, name, true, &p, NULL);
    plain(t, "Pow", x, name, out);
}

static void cast(struct tail *t, const char *x, int to, const char *out)
{
    size_t mark = node(t, "Cast", &x, 1, out);

    attr_int(t->out, "to", to);
    wire_end(t->out, mark);
}

/* The attention mask as float [B, S, 1]; without one in the model, ones. */
static void mask(struct tail *t)
{
    const struct onnx_write *w = t->w;
    static const float one = 1;

    if (w->inputs->mask >= 0) {
        cast(t, w->source->inputs[w->inputs->mask].name, DTYPE_FLOAT, "tripline_mask");
    } else { /* ids * 0 + 1: has the shape of the ids in every opset */
        cast(t, w->source->inputs[w->inputs->ids].name, DTYPE_FLOAT, "tripline_ids");
        plain(t, "Sub", "tripline_ids", "tripline_ids", "tripline_zeros");
        constant(t, "tripline_one", true, &one, NULL);
        plain(t, "Add", "tripline_zeros", "tripline_one", "tripline_mask");
    }
    over_axis(t, "Unsqueeze", "tripline_mask", 2, 13, -1, "tripline_mask3");
}

/* sum over tokens of x * mask / number of tokens */
static void mean(struct tail *t, const char *x, const char *out)
{
    plain(t, "Mul", x, "tripline_mask3", "tripline_masked");
    over_axis(t, "ReduceSum", "tripline_masked", 1, 13, 0, "tripline_sum");
    over_axis(t, "ReduceSum", "tripline_mask3", 1, 13, 0, "tripline_count");
    at_least(t, "tripline_count", 1e-9f, "tripline_count1");
    plain(t, "Div", "tripline_sum", "tripline_count1", out);
}

static void maximum(struct tail *t, const char *x, const char *out)
{
    static const float low = -3.4028234663852886e38f;
    const char *in[3] = {"tripline_real", x, "tripline_low"};

    cast(t, "tripline_mask3", DTYPE_BOOL, "tripline_real");
    constant(t, "tripline_low", true, &low, NULL);
    wire_end(t->out, node(t, "Where", in, 3, "tripline_masked"));
    over_axis(t, "ReduceMax", "tripline_masked", 1, 18, 0, out);
}

static void first(struct tail *t, const char *x, const char *out)
{
    static const int64_t zero = 0;
    const char *in[2] = {x, "tripline_zero"};
    size_t mark;

    constant(t, "tripline_zero", true, NULL, &zero);
    mark = node(t, "Gather", in, 2, out);
    attr_int(t->out, "axis", 1);
    wire_end(t->out, mark);
}

/* The token at which the running count of real tokens reaches their number, and that is real. */
static int last(struct tail *t, const char *x, const char *out, struct err *e)
{
    static const int64_t axis = 1;

    if (t->opset < 11)
        return err_set(e, ERR_UNSUPPORTED,
                       "pooling by the last token needs opset 11; the model "
                       "has %d",
                       t->opset);
    constant(t, "tripline_tokens", true, NULL, &axis);
    plain(t, "CumSum", "tripline_mask", "tripline_tokens", "tripline_running");
    over_axis(t, "ReduceSum", "tripline_mask", 1, 13, 1, "tripline_total");
    plain(t, "Equal", "tripline_running", "tripline_total", "tripline_reached");
    cast(t, "tripline_reached", DTYPE_FLOAT, "tripline_reached1");
    plain(t, "Mul", "tripline_reached1", "tripline_mask", "tripline_last");
    over_axis(t, "Unsqueeze", "tripline_last", 2, 13, -1, "tripline_last3");
    plain(t, "Mul", x, "tripline_last3", "tripline_masked");
    over_axis(t, "ReduceSum", "tripline_masked", 1, 13, 0, out);
    return 0;
}

static int pool(struct tail *t, const char *x, const char *out, struct err *e)
{
    const struct surgery *s = t->w->surgery;

    mask(t);
    switch (s->pool) {
    case POOL_MEAN:
        mean(t, x, out);
        return 0;
    case POOL_MAX:
        maximum(t, x, out);
        return 0;
    case POOL_CLS:
        first(t, x, out);
        return 0;
    case POOL_LAST:
        return last(t, x, out, e);
    case POOL_GEM:
        at_least(t, x, s->gem_eps, "tripline_clipped");
        power(t, "tripline_clipped", s->gem_power, "tripline_powered");
        mean(t, "tripline_powered", "tripline_mean");
        power(t, "tripline_mean", 1 / s->gem_power, out);
        return 0;
    default:
        return err_set(e, ERR_INTERNAL, "no such pooling");
    }
}

static void output(struct tail *t, const char *name, int rank, int cols)
{
    size_t info = wire_begin(t->out, GRAPH_OUTPUT), type, tensor, shape, dim;

    wire_put_text(t->out, 1, name);
    type = wire_begin(t->out, 2);
    tensor = wire_begin(t->out, 1);
    wire_put_int(t->out, 1, DTYPE_FLOAT);
    shape = wire_begin(t->out, 2);
    for (int i = 0; i < rank; i++) {
        dim = wire_begin(t->out, 1);
        if (i == rank - 1)
            wire_put_int(t->out, 1, (uint64_t)cols);
        wire_end(t->out, dim);
    }
    wire_end(t->out, shape);
    wire_end(t->out, tensor);
    wire_end(t->out, type);
    wire_end(t->out, info);
}

/*
 * Value `now` as an output of this name. 0 also when the backbone uses the name for
 * something else inside and the output is not needed.
 */
static int publish(struct tail *t, const char *now, const char *name, int rank, int cols,
                   bool needed, struct err *e)
{
    int v = source_find(t->w->source, name);

    if (strcmp(now, name) != 0) {
        if (v >= 0 && t->kept[v])
            return needed ? err_set(e, ERR_UNSUPPORTED,
                                    "the backbone uses the name '%s' for a tensor of its own: "
                                    "rename that tensor",
                                    name)
                          : 0;
        plain(t, "Identity", now, NULL, name);
    }
    output(t, name, rank, cols);
    return 0;
}

/* The cut tensor, under our name and under the one that transformers' users look for. */
static int tokens(struct tail *t, const char *now, int cols, struct err *e)
{
    int rc = publish(t, now, "token_embeddings", 3, cols, true, e);

    return rc < 0 ? rc : publish(t, now, "last_hidden_state", 3, cols, false, e);
}

int tail_write(const struct onnx_write *w, const bool *kept, struct buf *graph, struct err *e)
{
    struct tail t = {w, kept, graph, w->source->opset, 0};
    const struct program *p = w->program;
    const char *now = w->source->values[w->cut].name;
    const char *proj[3] = {NULL, "projection.weight", "projection.bias"};
    size_t mark;
    int rc;

    if (p->values[p->cut].space == SPACE_TOKENS) {
        if ((rc = tokens(&t, now, p->values[p->cut].cols, e)) < 0 ||
            (rc = pool(&t, now, "tripline_pooled", e)) < 0)
            return rc;
        now = "tripline_pooled";
    }
    if (w->surgery->output_dim > 0) {
        proj[0] = now;
        mark = node(&t, "Gemm", proj, 3, "tripline_projected");
        attr_int(t.out, "transB", 1);
        wire_end(t.out, mark);
        now = "tripline_projected";
    }
    if (w->surgery->normalize) {
        over_axis(&t, "ReduceL2", now, -1, 18, 1, "tripline_norm");
        at_least(&t, "tripline_norm", 1e-12f, "tripline_norm1");
        plain(&t, "Div", now, "tripline_norm1", "tripline_unit");
        now = "tripline_unit";
    }
    return publish(&t, now, "sentence_embedding", 2, p->values[p->output].cols, true, e);
}
