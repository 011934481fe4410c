/* Elementwise operators of the interpreter. */
#include <math.h>
#include <string.h>

#include "trainer/engine/graph/eval.h"

static double f_not(double x)
{
    return x == 0.0;
}
static double f_neg(double x)
{
    return -x;
}
static double f_recip(double x)
{
    return 1.0 / x;
}
static double f_sign(double x)
{
    return (x > 0) - (x < 0);
}
static double f_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}
static double f_relu(double x)
{
    return x > 0 ? x : 0;
}
static double f_isnan(double x)
{
    return isnan(x) != 0;
}
static double f_isinf(double x)
{
    return isinf(x) != 0;
}
static double f_same(double x)
{
    return x;
}

static const struct unary {
    const char *op;
    double (*f)(double);
    bool to_bool;
} unaries[] = {
    {"Abs", fabs, false},          {"Neg", f_neg, false},
    {"Not", f_not, true},          {"Sqrt", sqrt, false},
    {"Exp", exp, false},           {"Log", log, false},
    {"Floor", floor, false},       {"Ceil", ceil, false},
    {"Round", rint, false},        {"Reciprocal", f_recip, false},
    {"Sign", f_sign, false},       {"Sin", sin, false},
    {"Cos", cos, false},           {"Tanh", tanh, false},
    {"Sigmoid", f_sigmoid, false}, {"Erf", erf, false},
    {"Relu", f_relu, false},       {"IsNaN", f_isnan, true},
    {"IsInf", f_isinf, true},      {"Identity", f_same, false},
    {"Dropout", f_same, false},
};

int eval_unary(struct eval *v, struct err *e)
{
    const struct unary *u = unaries;
    const struct tensor *x = v->in[0];
    struct tensor *out;
    int dtype;

    while (strcmp(u->op, v->node->op) != 0)
        u++;
    if (!x)
        return eval_bad(v, ERR_FORMAT, "no input", e);
    dtype = u->to_bool ? DTYPE_BOOL : x->dtype;
    out = eval_make(v, dtype, x->rank, x->dims);
    if (!out)
        return eval_bad(v, ERR_NOMEM, "too large", e);
    for (size_t i = 0; i < x->count; i++)
        out->v[i] = dtype_round(dtype, u->f(x->v[i]));
    return 0;
}

enum bin { ADD, SUB, MUL, DIV, MOD, POW, EQ, LT, LE, GT, GE, AND, OR, XOR, MIN, MAX, BAND, BOR };
static const struct {
    const char *op;
    enum bin bin;
    bool to_bool;
} binaries[] = {
    {"Add", ADD, false},       {"Sum", ADD, false},   {"Sub", SUB, false},
    {"Mul", MUL, false},       {"Div", DIV, false},   {"Mod", MOD, false},
    {"Pow", POW, false},       {"Equal", EQ, true},   {"Less", LT, true},
    {"LessOrEqual", LE, true}, {"Greater", GT, true}, {"GreaterOrEqual", GE, true},
    {"And", AND, true},        {"Or", OR, true},      {"Xor", XOR, true},
    {"Min", MIN, false},       {"Max", MAX, false},   {"BitwiseAnd", BAND, false},
    {"BitwiseOr", BOR, false},
};

static double arithmetic(enum bin op, double a, double b, bool integer, bool fmod_)
{
    switch (op) {
    case ADD:
        return a + b;
    case SUB:
        return a - b;
    case MUL:
        return a * b;
    case DIV:
        return integer ? (b == 0 ? 0 : trunc(a / b)) : a / b;
    case MOD:
        if (b == 0)
            return 0;
        return fmod_ ? fmod(a, b) : a - b * floor(a / b);
    case POW:
        return pow(a, b);
    case MIN:
        return a < b ? a : b;
    case MAX:
        return a > b ? a : b;
    default:
        return 0;
    }
}

static double compare(enum bin op, double a, double b)
{
    switch (op) {
    case EQ:
        return a == b;
    case LT:
        return a < b;
    case LE:
        return a <= b;
    case GT:
        return a > b;
    case GE:
        return a >= b;
    case AND:
        return a != 0 && b != 0;
    case OR:
        return a != 0 || b != 0;
    case BAND:
        return (double)(eval_whole(a) & eval_whole(b));
    case BOR:
        return (double)(eval_whole(a) | eval_whole(b));
    default:
        return (a != 0) != (b != 0);
    }
}

/* Steps coordinates `at` through dims in row-major order. */
static void step(int64_t *at, const int64_t *dims, int rank)
{
    for (int k = rank - 1; k >= 0; k--) {
        if (++at[k] < dims[k])
            return;
        at[k] = 0;
    }
}

static struct tensor *apply(struct eval *v, enum bin op, bool to_bool, const struct tensor *a,
                            const struct tensor *b)
{
    int64_t dims[TENSOR_RANK], at[TENSOR_RANK] = {0};
    int rank, dtype = to_bool ? DTYPE_BOOL : a->dtype;
    bool integer = !dtype_is_float(a->dtype), fm = source_attr_int(v->node, "fmod", 0) != 0;
    struct tensor *out;

    if (!dims_broadcast(a->dims, a->rank, b->dims, b->rank, dims, &rank))
        return NULL;
    out = eval_make(v, dtype, rank, dims);
    for (size_t i = 0; out && i < out->count; i++, step(at, dims, rank)) {
        double x = a->v[tensor_broadcast_index(a, at, rank)];
        double y = b->v[tensor_broadcast_index(b, at, rank)];

        out->v[i] = dtype_round(dtype, (op >= EQ && op <= XOR) || op >= BAND
                                           ? compare(op, x, y)
                                           : arithmetic(op, x, y, integer, fm));
    }
    return out;
}

int eval_binary(struct eval *v, struct err *e)
{
    const struct tensor *sum = v->in[0];
    size_t k = 0;

    while (strcmp(binaries[k].op, v->node->op) != 0)
        k++;
    if (!sum)
        return eval_bad(v, ERR_FORMAT, "no input", e);
    v->out[0] = (struct tensor *)(uintptr_t)sum; /* Min, Max, Sum of one */
    for (int i = 1; i < v->node->in_count; i++) {
        if (!v->in[i])
            return eval_bad(v, ERR_FORMAT, "a missing input", e);
        sum = apply(v, binaries[k].bin, binaries[k].to_bool, sum, v->in[i]);
        if (!sum)
            return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    }
    return 0;
}

int eval_where(struct eval *v, struct err *e)
{
    const struct tensor *c = v->in[0], *a = v->in[1], *b = v->in[2];
    int64_t both[TENSOR_RANK], dims[TENSOR_RANK], at[TENSOR_RANK] = {0};
    struct tensor *out;
    int rank, rank_both;

    if (!c || !a || !b || !dims_broadcast(a->dims, a->rank, b->dims, b->rank, both, &rank_both) ||
        !dims_broadcast(both, rank_both, c->dims, c->rank, dims, &rank))
        return eval_bad(v, ERR_FORMAT, "shapes that do not fit", e);
    out = eval_make(v, a->dtype, rank, dims);
    if (!out)
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (size_t i = 0; i < out->count; i++, step(at, dims, rank)) {
        const struct tensor *t = c->v[tensor_broadcast_index(c, at, rank)] != 0 ? a : b;

        out->v[i] = t->v[tensor_broadcast_index(t, at, rank)];
    }
    return 0;
}

int eval_clip(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    double low = -INFINITY, high = INFINITY;
    struct tensor *out;

    if (!x)
        return eval_bad(v, ERR_FORMAT, "no input", e);
    if (v->source->opset < 11) {
        low = source_attr_float(v->node, "min", -INFINITY);
        high = source_attr_float(v->node, "max", INFINITY);
    }
    if (v->node->in_count > 1 && v->in[1] && v->in[1]->count == 1)
        low = v->in[1]->v[0];
    if (v->node->in_count > 2 && v->in[2] && v->in[2]->count == 1)
        high = v->in[2]->v[0];
    out = eval_make(v, x->dtype, x->rank, x->dims);
    if (!out)
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (size_t i = 0; i < x->count; i++)
        out->v[i] = x->v[i] < low ? low : x->v[i] > high ? high : x->v[i];
    return 0;
}

int eval_cast(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    int to = strcmp(v->node->op, "CastLike") == 0 ? (v->in[1] ? v->in[1]->dtype : 0)
                                                  : (int)source_attr_int(v->node, "to", 0);
    struct tensor *out;

    if (!x || !dtype_size(to))
        return eval_bad(v, ERR_UNSUPPORTED, "a type that is not known here", e);
    out = eval_make(v, to, x->rank, x->dims);
    if (!out)
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (size_t i = 0; i < x->count; i++)
        out->v[i] = dtype_round(to, x->v[i]);
    return 0;
}
