#include "trainer/engine/graph/diff.h"

#include <stdlib.h>
#include <string.h>

static bool trained(const struct program *p, int v)
{
    return p->values[v].param >= 0 && p->params[p->values[v].param].trainable;
}

static void find_need(struct tape *t, const struct program *p)
{
    for (int v = 0; v < p->value_count; v++)
        t->need[v] = trained(p, v);
    for (int i = 0; i < p->node_count; i++)
        for (int k = 0; k < p->nodes[i].in_count; k++)
            if (p->nodes[i].in[k] >= 0 && t->need[p->nodes[i].in[k]])
                t->need[p->nodes[i].out] = true;
}

/* All readers of `parent` are slices that do not overlap and leave nothing out. */
static bool cut_apart(const struct program *p, int parent)
{
    int covered = 0, slices = 0;

    for (int i = 0; i < p->node_count; i++) {
        const struct node *n = &p->nodes[i];

        for (int k = 0; k < n->in_count; k++)
            if (n->in[k] == parent) {
                if (n->op != OP_SLICE_COLS)
                    return false;
                slices++;
                covered += n->attrs.count;
            }
        for (int j = 0; n->op == OP_SLICE_COLS && n->in[0] == parent && j < i; j++) {
            const struct node *o = &p->nodes[j];

            if (o->op == OP_SLICE_COLS && o->in[0] == parent &&
                o->attrs.begin < n->attrs.begin + n->attrs.count &&
                n->attrs.begin < o->attrs.begin + o->attrs.count)
                return false;
        }
    }
    return slices && covered == p->values[parent].cols;
}

static void find_views(struct tape *t, const struct program *p)
{
    for (int v = 0; v < p->value_count; v++)
        t->root[v] = v;
    for (int i = 0; i < p->node_count; i++) {
        const struct node *n = &p->nodes[i];
        int parent = n->in[0];

        if (n->op != OP_SLICE_COLS || p->values[parent].space == SPACE_FIXED ||
            n->out == p->output || parent == p->output || !cut_apart(p, parent))
            continue;
        t->nodes[i].view = true;
        t->root[n->out] = t->root[parent];
        t->begin[n->out] = t->begin[parent] + n->attrs.begin;
    }
}

/* One input of a node that runs backward: wanted, first or added. */
static void input_gradient(struct tape *t, const struct program *p, int node, int k, bool *written)
{
    const struct node *n = &p->nodes[node];
    const struct value *x = &p->values[n->in[k]];
    struct tape_node *tn = &t->nodes[node];
    bool whole;

    tn->want |= 1u << k;
    if (x->space != SPACE_FIXED) {
        if (written[n->in[k]])
            tn->add |= 1u << k;
        written[n->in[k]] = true;
        return;
    }
    whole = (size_t)x->rows * (size_t)x->cols == p->params[x->param].count && x->ld == x->cols &&
            x->offset == 0 && n->op != OP_EMBED;
    if (t->zero_first[x->param]) {
        tn->add |= 1u << k;
    } else if (!whole) {
        t->zero_first[x->param] = true;
        tn->add |= 1u << k;
    } else {
        tn->first |= 1u << k;
    }
}

/*
 * A parameter's gradient may be written by several nodes (tied weights): the one that
 * runs backward first overwrites, unless some writer covers a part only.
 */
static void settle_parameters(struct tape *t, const struct program *p, bool *written)
{
    memset(written, 0, (size_t)p->value_count + (size_t)p->param_count);
    for (int i = p->node_count - 1; i >= 0; i--)
        for (int k = 0; t->nodes[i].backward && k < p->nodes[i].in_count; k++) {
            int q = p->nodes[i].in[k] < 0 ? -1 : p->values[p->nodes[i].in[k]].param;

            if (q < 0 || !(t->nodes[i].want & 1u << k))
                continue;
            if (t->zero_first[q] || written[q]) {
                t->nodes[i].add |= 1u << k;
                t->nodes[i].first &= ~(1u << k);
            }
            written[q] = true;
        }
}

static int reverse(struct tape *t, const struct program *p, struct err *e)
{
    bool *written = calloc((size_t)p->value_count + (size_t)p->param_count + 1, sizeof *written);

    if (!written)
        return err_set(e, ERR_NOMEM, "differentiating");
    for (int i = p->node_count - 1; i >= 0; i--) {
        const struct node *n = &p->nodes[i];

        if (!t->need[n->out])
            continue;
        t->nodes[i].backward = true;
        for (int k = 0; k < n->in_count; k++)
            if (n->in[k] >= 0 && t->need[n->in[k]])
                input_gradient(t, p, i, k, written);
    }
    settle_parameters(t, p, written);
    free(written);
    return 0;
}

int tape_init(struct tape *t, const struct program *p, bool train, struct err *e)
{
    size_t values = (size_t)p->value_count + 1;

    memset(t, 0, sizeof *t);
    t->nodes = calloc((size_t)p->node_count + 1, sizeof *t->nodes);
    t->need = calloc(values, sizeof *t->need);
    t->root = calloc(values, sizeof *t->root);
    t->begin = calloc(values, sizeof *t->begin);
    t->zero_first = calloc((size_t)p->param_count + 1, sizeof *t->zero_first);
    if (!t->nodes || !t->need || !t->root || !t->begin || !t->zero_first)
        return err_set(e, ERR_NOMEM, "differentiating");
    find_views(t, p);
    if (!train)
        return 0;
    find_need(t, p);
    return reverse(t, p, e);
}

void tape_release(struct tape *t)
{
    free(t->nodes);
    free(t->need);
    free(t->root);
    free(t->begin);
    free(t->zero_first);
    memset(t, 0, sizeof *t);
}
