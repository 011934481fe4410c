#include "trainer/engine/graph/program.h"

#include <stdlib.h>
#include <string.h>

void program_init(struct program *p, struct arena *arena)
{
    memset(p, 0, sizeof *p);
    p->arena = arena;
    p->output = p->cut = -1;
}

void program_release(struct program *p)
{
    free(p->values);
    free(p->nodes);
    free(p->params);
    memset(p, 0, sizeof *p);
}

struct op_attrs op_attrs_zero(void)
{
    struct op_attrs a;

    memset(&a, 0, sizeof a);
    return a;
}

/* Room for one more; the arrays double. */
static void *grow(void *items, int count, int *cap, size_t size)
{
    int more = *cap ? *cap * 2 : 64;
    void *p;

    if (count < *cap)
        return items;
    p = realloc(items, (size_t)more * size);
    if (p)
        *cap = more;
    return p;
}

int program_value(struct program *p, enum space space, int cols, struct err *e)
{
    struct value *v, *values = grow(p->values, p->value_count, &p->value_cap, sizeof *values);

    if (!values)
        return err_set(e, ERR_NOMEM, "building the program");
    p->values = values;
    v = &values[p->value_count];
    memset(v, 0, sizeof *v);
    v->space = space;
    v->cols = cols;
    v->node = v->param = v->source = -1;
    return p->value_count++;
}

int program_emit(struct program *p, enum op_code op, const struct op_attrs *attrs, const int *in,
                 int in_count, enum space space, int cols, struct err *e)
{
    struct node *n, *nodes = grow(p->nodes, p->node_count, &p->node_cap, sizeof *nodes);
    int out;

    if (!nodes)
        return err_set(e, ERR_NOMEM, "building the program");
    p->nodes = nodes;
    out = program_value(p, space, cols, e);
    if (out < 0)
        return out;
    n = &nodes[p->node_count];
    memset(n, 0, sizeof *n);
    n->op = op;
    if (attrs)
        n->attrs = *attrs;
    n->in_count = in_count;
    for (int i = 0; i < OP_INS; i++)
        n->in[i] = i < in_count ? in[i] : -1;
    n->out = out;
    n->source = -1;
    p->values[out].node = p->node_count++;
    return out;
}

int program_param(struct program *p, const struct param *init, struct err *e)
{
    struct param *params = grow(p->params, p->param_count, &p->param_cap, sizeof *params);

    if (!params)
        return err_set(e, ERR_NOMEM, "building the program");
    p->params = params;
    params[p->param_count] = *init;
    return p->param_count++;
}

int program_fixed(struct program *p, int param, size_t offset, int rows, int cols, int ld,
                  struct err *e)
{
    int v;

    for (v = 0; v < p->value_count; v++) {
        const struct value *o = &p->values[v];

        if (o->param == param && o->offset == offset && o->rows == rows && o->cols == cols &&
            o->ld == ld)
            return v;
    }
    v = program_value(p, SPACE_FIXED, cols, e);
    if (v < 0)
        return v;
    p->values[v].rows = rows;
    p->values[v].param = param;
    p->values[v].offset = offset;
    p->values[v].ld = ld;
    return v;
}

int program_buffer(struct program *p, const char *name, const float *data, int cols, struct err *e)
{
    struct param init;
    int param;

    memset(&init, 0, sizeof init);
    init.name = name;
    init.why = "constant";
    init.initializer = init.identity = -1;
    init.rank = 1;
    init.dims[0] = cols;
    init.count = (size_t)cols;
    init.buffer = true;
    init.block = BLOCK_NONE;
    init.init = arena_dup(p->arena, data, (size_t)cols * sizeof *data);
    if (!init.init)
        return err_set(e, ERR_NOMEM, "building the program");
    param = program_param(p, &init, e);
    return param < 0 ? param : program_fixed(p, param, 0, 1, cols, cols, e);
}

void program_prune(struct program *p)
{
    int kept = 0;

    for (int v = 0; v < p->value_count; v++)
        p->values[v].uses = 0;
    if (p->output >= 0)
        p->values[p->output].uses = 1;
    for (int i = p->node_count - 1; i >= 0; i--)
        if (p->values[p->nodes[i].out].uses)
            for (int k = 0; k < p->nodes[i].in_count; k++)
                if (p->nodes[i].in[k] >= 0)
                    p->values[p->nodes[i].in[k]].uses++;
    for (int i = 0; i < p->node_count; i++) {
        struct node *n = &p->nodes[i];

        if (!p->values[n->out].uses) {
            p->values[n->out].node = -1;
            continue;
        }
        p->values[n->out].node = kept;
        p->nodes[kept++] = *n;
    }
    p->node_count = kept;
}

static void print_value(const struct program *p, int v, struct buf *out)
{
    static const char *const spaces[] = {"T", "N", ""};
    const struct value *x;

    if (v < 0) {
        buf_str(out, " -");
        return;
    }
    x = &p->values[v];
    if (x->space == SPACE_FIXED)
        buf_printf(out, " %s[%dx%d+%zu]", p->params[x->param].name, x->rows, x->cols, x->offset);
    else
        buf_printf(out, " v%d[%sx%d]", v, spaces[x->space], x->cols);
}

void program_print(const struct program *p, const struct source *s, struct buf *out)
{
    for (int i = 0; i < p->node_count; i++) {
        const struct node *n = &p->nodes[i];

        buf_printf(out, "%3d b%-2d v%d[%d] = %s", i, n->block, n->out, p->values[n->out].cols,
                   op_name(n->op));
        for (int k = 0; k < n->in_count; k++)
            print_value(p, n->in[k], out);
        if (n->attrs.act)
            buf_printf(out, " act=%s", act_name(n->attrs.act));
        if (n->op == OP_ATTENTION)
            buf_printf(out, " heads=%d scale=%g%s", n->attrs.heads, (double)n->attrs.scale,
                       n->attrs.causal ? " causal" : "");
        if (n->op == OP_AFFINE)
            buf_printf(out, " scale=%g shift=%g", (double)n->attrs.scale, (double)n->attrs.shift);
        if (n->op == OP_EMBED)
            buf_printf(out, " ids=%d shift=%d", n->attrs.ids, n->attrs.ids_shift);
        if (n->op == OP_POOL)
            buf_printf(out, " pool=%s", pool_name(n->attrs.pool));
        if (n->op == OP_SLICE_COLS)
            buf_printf(out, " begin=%d count=%d", n->attrs.begin, n->attrs.count);
        if (n->source >= 0)
            buf_printf(out, "  # %s", source_node_text(&s->nodes[n->source]));
        buf_char(out, '\n');
    }
}
