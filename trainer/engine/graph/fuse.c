/* Operators that belong together become one, before anything is differentiated. */
#include "trainer/engine/graph/program.h"

/* The node that makes v, when nobody else reads v and it is this operator. */
static struct node *only_use_of(struct program *p, int v, enum op_code op)
{
    struct node *n;

    if (v < 0 || p->values[v].node < 0 || p->values[v].uses != 1)
        return NULL;
    n = &p->nodes[p->values[v].node];
    return n->op == op ? n : NULL;
}

static bool is_row(const struct program *p, int v)
{
    return v >= 0 && p->values[v].space == SPACE_FIXED && p->values[v].rows == 1;
}

/* linear, then + row */
static void fuse_bias(struct program *p, struct node *add)
{
    struct node *linear = only_use_of(p, add->in[0], OP_LINEAR);
    int row = add->in[1];

    if (!linear || linear->in_count != 2 || linear->attrs.act || !is_row(p, row) ||
        p->values[row].cols != p->values[add->out].cols)
        return;
    add->op = OP_LINEAR;
    add->attrs = linear->attrs;
    add->in[0] = linear->in[0];
    add->in[1] = linear->in[1];
    add->in[2] = row;
    add->in_count = 3;
    add->source = linear->source;
}

static void fuse_act(struct program *p, struct node *act)
{
    struct node *linear = only_use_of(p, act->in[0], OP_LINEAR);
    enum act kind = act->attrs.act;
    int out = act->out;

    if (!linear || linear->attrs.act)
        return;
    *act = *linear;
    act->attrs.act = kind;
    act->out = out;
}

/* a + b, then layer norm */
static void fuse_residual(struct program *p, struct node *norm)
{
    struct node *add = only_use_of(p, norm->in[0], OP_ADD);

    if (!add || norm->in_count != 3)
        return;
    for (int k = 0; k < 2; k++)
        if (p->values[add->in[k]].space != p->values[norm->out].space ||
            p->values[add->in[k]].cols != p->values[norm->out].cols)
            return;
    norm->in[0] = add->in[0];
    norm->in[3] = add->in[1];
    norm->in_count = 4;
}

void program_fuse(struct program *p)
{
    program_prune(p);
    for (int i = 0; i < p->node_count; i++)
        if (p->nodes[i].op == OP_ADD)
            fuse_bias(p, &p->nodes[i]);
    program_prune(p);
    for (int i = 0; i < p->node_count; i++)
        if (p->nodes[i].op == OP_ACT)
            fuse_act(p, &p->nodes[i]);
    program_prune(p);
    for (int i = 0; i < p->node_count; i++)
        if (p->nodes[i].op == OP_LAYER_NORM)
            fuse_residual(p, &p->nodes[i]);
    program_prune(p);
}
