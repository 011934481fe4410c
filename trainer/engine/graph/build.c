#include "trainer/engine/graph/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/engine/graph/build_int.h"

#define BUILD_MAX ((size_t)512 << 20)

static const struct {
    const char *op;
    rule_fn rule;
} rules[] = {
    {"Identity", rule_identity},   {"Dropout", rule_pass},
    {"Cast", rule_pass},           {"CastLike", rule_pass},
    {"Reshape", rule_reshape},     {"Unsqueeze", rule_reshape},
    {"Squeeze", rule_reshape},     {"Flatten", rule_reshape},
    {"Transpose", rule_transpose}, {"Expand", rule_expand},
    {"Slice", rule_slice},         {"Split", rule_split},
    {"Gather", rule_gather},       {"Add", rule_arithmetic},
    {"Sub", rule_arithmetic},      {"Mul", rule_arithmetic},
    {"Div", rule_arithmetic},      {"Pow", rule_pow},
    {"Where", rule_where},         {"Erf", rule_unary},
    {"Tanh", rule_unary},          {"Sigmoid", rule_unary},
    {"Relu", rule_unary},          {"Exp", rule_unary},
    {"Sqrt", rule_unary},          {"Neg", rule_unary},
    {"Reciprocal", rule_unary},    {"Gelu", rule_gelu},
    {"ReduceMean", rule_reduce},   {"ReduceSum", rule_reduce},
    {"ReduceMax", rule_reduce},    {"ReduceL2", rule_reduce},
    {"Clip", rule_clip},           {"LayerNormalization", rule_layer_norm},
    {"MatMul", rule_matmul},       {"Gemm", rule_gemm},
    {"Softmax", rule_softmax},     {"IsNaN", rule_isnan},
};

struct term *build_in(struct builder *b, int input)
{
    const struct source_node *n = &b->s->nodes[b->node];

    return input < n->in_count && n->in[input] >= 0 ? &b->terms[n->in[input]] : NULL;
}

struct term *build_out(struct builder *b, int output)
{
    const struct source_node *n = &b->s->nodes[b->node];

    return output < n->out_count && n->out[output] >= 0 ? &b->terms[n->out[output]]
                                                        : &b->terms[b->s->value_count];
}

int build_fail(struct builder *b, struct err *e, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return err_set(e, ERR_UNSUPPORTED, "%s: %s", source_node_text(&b->s->nodes[b->node]), text);
}

/* Large tables of 0 and one very small number, or of 0 and 1, are masks; the rest is learnt. */
static bool is_mask_table(const struct source_tensor *t)
{
    bool varies = false;
    float first;

    if (t->rank < 2 || t->count < 4 || t->count > TENSOR_COUNT_MAX)
        return false;
    memcpy(&first, t->data, sizeof first);
    for (size_t i = 0; i < t->count; i++) {
        float x;

        memcpy(&x, t->data + 4 * i, sizeof x);
        if (x != 0.0f && x != 1.0f && !(x <= -1e4f))
            return false;
        varies = varies || x != first;
    }
    return varies;
}

const char *build_constant(const struct source_tensor *t)
{
    if (t->dtype != DTYPE_FLOAT)
        return "whole numbers or flags: ids, shapes, positions";
    if (t->count <= 1)
        return "one number: a constant of the computation";
    if (is_mask_table(t))
        return "only 0 and 1, or 0 and large negative numbers: a mask";
    return NULL;
}

static int tensor_term(struct builder *b, struct term *t, const struct source_tensor *data,
                       int initializer, struct err *e)
{
    struct tensor *x;

    if (initializer >= 0 && !build_constant(data)) {
        t->kind = TERM_PARAM;
        t->initializer = initializer;
        t->identity = -1;
        for (int i = 0; i < data->rank; i++) {
            struct atom a = {ATOM_COL, data->dims[i], 0};

            a.stride = dims_count(data->dims + i + 1, data->rank - i - 1, INT64_MAX);
            if (a.size == 0 || !layout_axis(&t->lay, &a, 1))
                return err_set(e, ERR_UNSUPPORTED, "'%.150s' has an empty axis", data->name);
        }
        layout_normalise(&t->lay);
        return 0;
    }
    x = source_tensor_read(data, &b->arena);
    if (!x)
        return err_set(e, ERR_UNSUPPORTED, "'%.150s' holds %s, or too much of it", data->name,
                       dtype_name(data->dtype));
    t->kind = TERM_EVAL;
    for (int p = 0; p < PROBES; p++)
        t->eval[p] = x;
    return 0;
}

static bool all_known(struct builder *b, const struct source_node *n, bool *shape_only)
{
    bool known = true;

    *shape_only = strcmp(n->op, "Shape") == 0 || strcmp(n->op, "Size") == 0;
    for (int i = 0; i < n->in_count; i++) {
        struct term *t = build_in(b, i);

        if (t && t->kind == TERM_NONE)
            return false;
        known = known && (!t || t->kind == TERM_EVAL);
    }
    return known || *shape_only;
}

static int eval_probe(struct builder *b, const struct source_node *n, int p, struct err *e)
{
    struct eval v;
    struct tensor shape;
    int rc;

    memset(&v, 0, sizeof v);
    v.source = b->s;
    v.node = n;
    v.arena = &b->arena;
    for (int i = 0; i < n->in_count && i < EVAL_IN; i++) {
        struct term *t = build_in(b, i);

        if (t && t->kind != TERM_EVAL) { /* only its shape is asked for */
            memset(&shape, 0, sizeof shape);
            shape.rank = t->lay.rank;
            layout_dims(&t->lay, &b->sizes[p], shape.dims);
            shape.count = (size_t)dims_count(shape.dims, shape.rank, INT32_MAX);
            v.in[i] = &shape;
        } else {
            v.in[i] = t ? t->eval[p] : NULL;
        }
    }
    if ((rc = eval_node(&v, e)) < 0)
        return rc;
    for (int i = 0; i < n->out_count && i < EVAL_OUT; i++) {
        struct term *t = build_out(b, i);

        t->kind = v.out[i] ? TERM_EVAL : TERM_NONE;
        t->eval[p] = v.out[i];
    }
    return 0;
}

static int walk_node(struct builder *b, const struct source_node *n, struct err *e)
{
    bool shape_only;

    for (int i = 0; i < n->in_count; i++) {
        struct term *t = build_in(b, i);

        if (t && t->kind == TERM_NONE) {
            build_out(b, 0)->failed = t->failed;
            return err_set(e, ERR_UNSUPPORTED, "%s", t->why ? t->why : "unknown");
        }
    }
    if (n->domain && *n->domain && strcmp(n->domain, "ai.onnx") != 0)
        return build_fail(b, e, "operators of domain %s are not supported", n->domain);
    if (strcmp(n->op, "Constant") == 0 && source_attr(n, "value") &&
        source_attr(n, "value")->tensor)
        return tensor_term(b, build_out(b, 0), source_attr(n, "value")->tensor, -1, e);
    if (all_known(b, n, &shape_only) && eval_knows(n->op)) {
        for (int p = 0; p < PROBES; p++) {
            int rc = eval_probe(b, n, p, e);

            if (rc < 0)
                return rc;
        }
        return 0;
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (strcmp(rules[i].op, n->op) == 0)
            return rules[i].rule(b, n, e);
    return build_fail(b, e, "this operator is not supported on values that are learnt");
}

static int walk(struct builder *b, struct err *e)
{
    for (int i = 0; i < b->s->node_count; i++) {
        const struct source_node *n = &b->s->nodes[i];
        struct err why = ERR_INIT;
        int rc;

        b->node = i;
        for (int k = 0; k < n->out_count; k++)
            if (n->out[k] >= 0)
                b->terms[n->out[k]].failed = i;
        rc = walk_node(b, n, &why);
        if (rc == ERR_NOMEM) {
            *e = why;
            return rc;
        }
        for (int k = 0; rc < 0 && k < n->out_count; k++) {
            struct term *t = build_out(b, k);
            int failed = build_out(b, 0)->failed;

            t->kind = TERM_NONE;
            t->failed = failed;
            t->why = arena_strndup(&b->arena, why.text, strlen(why.text));
        }
    }
    return 0;
}

int build_program(struct builder **out, const struct source *s, struct program *p, struct err *e)
{
    struct builder *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return err_set(e, ERR_NOMEM, "building the program");
    arena_init(&b->arena, BUILD_MAX);
    b->s = s;
    b->p = p;
    b->terms = arena_array(&b->arena, (size_t)s->value_count + 1, sizeof *b->terms);
    b->param_of = arena_array(&b->arena, (size_t)s->value_count + 1, sizeof *b->param_of);
    p->initializer_param =
        arena_array(p->arena, (size_t)s->initializer_count + 1, sizeof *p->initializer_param);
    if (!b->terms || !b->param_of || !p->initializer_param) {
        rc = err_set(e, ERR_NOMEM, "building the program");
        goto fail;
    }
    for (int i = 0; i < s->initializer_count; i++)
        p->initializer_param[i] = -1;
    for (int v = 0; v < s->value_count; v++) {
        b->param_of[v] = -1;
        b->terms[v].failed = -1;
    }
    if ((rc = probe_setup(b, e)) < 0)
        goto fail;
    for (int v = 0; v < s->value_count; v++) {
        struct term *t = &b->terms[v];
        struct err why = ERR_INIT;
        int i = s->values[v].initializer;

        if (i >= 0 && tensor_term(b, t, &s->initializers[i], i, &why) < 0) {
            t->kind = TERM_NONE;
            t->why = arena_strndup(&b->arena, why.text, strlen(why.text));
        }
    }
    if ((rc = walk(b, e)) < 0)
        goto fail;
    *out = b;
    return 0;
fail:
    build_free(b);
    return rc;
}

void build_free(struct builder *b)
{
    if (!b)
        return;
    arena_release(&b->arena);
    free(b);
}

const struct build_inputs *build_inputs(const struct builder *b)
{
    return &b->inputs;
}

int build_value(struct builder *b, int source_value, struct err *e)
{
    struct term *t = &b->terms[source_value];
    enum space space;

    if (t->kind == TERM_NONE)
        return err_set(e, ERR_UNSUPPORTED, "%s", t->why ? t->why : "not expressed");
    if (t->kind == TERM_EVAL)
        return err_set(e, ERR_UNSUPPORTED, "'%.150s' does not depend on what is learnt",
                       b->s->values[source_value].name);
    b->node = b->s->values[source_value].node < 0 ? 0 : b->s->values[source_value].node;
    return term_plain(b, t, &space, e);
}

const char *build_why(const struct builder *b, int source_value)
{
    const struct term *t = &b->terms[source_value];

    return t->kind == TERM_NONE ? (t->why ? t->why : "not expressed") : NULL;
}

int build_failed_node(const struct builder *b, int source_value)
{
    const struct term *t = &b->terms[source_value];

    return t->kind == TERM_NONE ? t->failed : -1;
}

bool build_is_rows(const struct builder *b, int source_value, enum space *space, int *cols)
{
    const struct term *t = &b->terms[source_value];
    const struct layout *l = &t->lay;
    bool tokens;

    if ((t->kind != TERM_VALUE && t->kind != TERM_NORMED) || l->rank < 2 || l->rank > 3)
        return false;
    tokens = l->rank == 3;
    if (!layout_axis_is(l, 0, ATOM_DOC) || (tokens && !layout_axis_is(l, 1, ATOM_TOK)) ||
        !layout_columns_whole(l, b->p->values[t->value].cols))
        return false;
    *space = tokens ? SPACE_TOKENS : SPACE_DOCS;
    *cols = b->p->values[t->value].cols;
    return true;
}

int build_existing(const struct builder *b, int source_value)
{
    const struct term *t = &b->terms[source_value];

    return term_is_plain(t) ? t->value : -1;
}
