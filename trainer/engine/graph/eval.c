#include "trainer/engine/graph/eval.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *op;
    eval_fn fn;
} table[] = {
    {"Abs", eval_unary},
    {"Neg", eval_unary},
    {"Not", eval_unary},
    {"Sqrt", eval_unary},
    {"Exp", eval_unary},
    {"Log", eval_unary},
    {"Floor", eval_unary},
    {"Ceil", eval_unary},
    {"Round", eval_unary},
    {"Reciprocal", eval_unary},
    {"Sign", eval_unary},
    {"Sin", eval_unary},
    {"Cos", eval_unary},
    {"Tanh", eval_unary},
    {"Sigmoid", eval_unary},
    {"Erf", eval_unary},
    {"Relu", eval_unary},
    {"IsNaN", eval_unary},
    {"IsInf", eval_unary},
    {"Identity", eval_unary},
    {"Dropout", eval_unary},
    {"Add", eval_binary},
    {"Sub", eval_binary},
    {"Mul", eval_binary},
    {"Div", eval_binary},
    {"Mod", eval_binary},
    {"Pow", eval_binary},
    {"Equal", eval_binary},
    {"Less", eval_binary},
    {"LessOrEqual", eval_binary},
    {"Greater", eval_binary},
    {"GreaterOrEqual", eval_binary},
    {"And", eval_binary},
    {"Or", eval_binary},
    {"Xor", eval_binary},
    {"Min", eval_binary},
    {"Max", eval_binary},
    {"Sum", eval_binary},
    {"BitwiseAnd", eval_binary},
    {"BitwiseOr", eval_binary},
    {"Where", eval_where},
    {"Clip", eval_clip},
    {"Cast", eval_cast},
    {"CastLike", eval_cast},
    {"Constant", eval_constant},
    {"ConstantOfShape", eval_constant_of_shape},
    {"Range", eval_range},
    {"Shape", eval_shape},
    {"Size", eval_size},
    {"Reshape", eval_reshape},
    {"Unsqueeze", eval_reshape},
    {"Squeeze", eval_reshape},
    {"Flatten", eval_reshape},
    {"Transpose", eval_transpose},
    {"Slice", eval_slice},
    {"Concat", eval_concat},
    {"Split", eval_split},
    {"Expand", eval_expand},
    {"Tile", eval_tile},
    {"Gather", eval_gather},
    {"GatherElements", eval_gather_elements},
    {"GatherND", eval_gather_nd},
    {"ScatterND", eval_scatter_nd},
    {"Trilu", eval_trilu},
    {"ReduceSum", eval_reduce},
    {"ReduceMean", eval_reduce},
    {"ReduceMax", eval_reduce},
    {"ReduceMin", eval_reduce},
    {"ReduceProd", eval_reduce},
    {"ArgMax", eval_arg},
    {"ArgMin", eval_arg},
    {"CumSum", eval_cumsum},
    {"NonZero", eval_nonzero},
};

static eval_fn find(const char *op)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].op, op) == 0)
            return table[i].fn;
    return NULL;
}

bool eval_knows(const char *op)
{
    return find(op) != NULL;
}

int eval_node(struct eval *v, struct err *e)
{
    eval_fn fn = find(v->node->op);

    if (!fn || (*v->node->domain && strcmp(v->node->domain, "ai.onnx") != 0))
        return eval_bad(v, ERR_UNSUPPORTED, "an operator that can't be evaluated", e);
    if (v->node->in_count > EVAL_IN || v->node->out_count > EVAL_OUT)
        return eval_bad(v, ERR_UNSUPPORTED, "too many inputs or outputs", e);
    return fn(v, e);
}

int eval_bad(const struct eval *v, int code, const char *why, struct err *e)
{
    return err_set(e, code, "%s: %s", source_node_text(v->node), why);
}

struct tensor *eval_make(struct eval *v, int dtype, int rank, const int64_t *dims)
{
    return v->out[0] = tensor_new(v->arena, dtype, rank, dims);
}

int64_t eval_whole(double x)
{
    const double most = (double)(INT64_C(1) << 62);

    if (isnan(x))
        return 0;
    return (int64_t)(x > most ? most : x < -most ? -most : x);
}

int64_t eval_axis(int64_t axis, int rank)
{
    if (axis < 0)
        axis += rank;
    return axis >= 0 && axis < rank ? axis : -1;
}

int eval_ints(const struct eval *v, const char *name, int index, int64_t *out, int max, int *count,
              struct err *e)
{
    const struct source_attr *a = name ? source_attr(v->node, name) : NULL;

    *count = -1;
    if (a && a->kind == ATTR_INTS) {
        if (a->count > max)
            return eval_bad(v, ERR_FORMAT, "too many axes", e);
        *count = a->count;
        memcpy(out, a->ints, (size_t)a->count * sizeof *out);
    } else if (a && a->kind == ATTR_INT) {
        *count = 1;
        out[0] = a->i;
    } else if (index >= 0 && index < v->node->in_count && v->in[index]) {
        const struct tensor *t = v->in[index];

        if (t->count > (size_t)max)
            return eval_bad(v, ERR_FORMAT, "too many axes", e);
        *count = (int)t->count;
        for (size_t i = 0; i < t->count; i++)
            out[i] = eval_whole(t->v[i]);
    }
    return 0;
}
