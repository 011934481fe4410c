#include "trainer/engine/graph/plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NODE_ITEMS = 4 };

/* A piece of memory and the steps in which it is alive. */
struct item {
    size_t size, at;
    int start, end; /* -1: never alive */
    size_t *to;     /* where its place is written */
};

struct planner {
    struct plan *pl;
    const struct program *p;
    const struct tape *t;
    struct item *items; /* values, then gradients, then per node: saved, work, work back, rows */
    struct item **sorted;
    int count;
};

int plan_capacity(int n)
{
    int step = 16;

    if (n <= 64)
        return 64;
    while (step <= INT_MAX / 16 && step * 8 < n)
        step *= 2;
    return n > INT_MAX - step ? INT_MAX : (n + step - 1) / step * step;
}

struct mat plan_shape(const struct program *p, int value, int tokens, int docs)
{
    struct mat m = {NULL, 0, 0, 0};

    if (value < 0)
        return m;
    m.cols = p->values[value].cols;
    m.ld = p->values[value].space == SPACE_FIXED ? p->values[value].ld : m.cols;
    m.rows = p->values[value].space == SPACE_TOKENS ? tokens
             : p->values[value].space == SPACE_DOCS ? docs
                                                    : p->values[value].rows;
    return m;
}

static int ask(struct plan *pl, const struct program *p, const struct tape *t,
               const struct source *s, struct backend *b, int i, struct err *e)
{
    const struct node *n = &p->nodes[i];
    const struct op_impl *impl = &b->ops->op[n->op];
    struct op_call call;
    int rc;

    memset(&call, 0, sizeof call);
    call.attrs = &n->attrs;
    call.docs.count = pl->docs;
    call.in_count = n->in_count;
    for (int k = 0; k < n->in_count; k++)
        call.in[k] = plan_shape(p, n->in[k], pl->tokens, pl->docs);
    call.out = plan_shape(p, n->out, pl->tokens, pl->docs);
    call.d_out = call.out;
    if (!impl->plan)
        return err_set(e, ERR_UNSUPPORTED, "backend %s does not offer %s (%s)", b->ops->name,
                       op_name(n->op),
                       n->source < 0 ? "added by us" : source_node_text(&s->nodes[n->source]));
    rc = impl->plan(b, &call, pl->train && t->nodes[i].backward, &pl->nodes[i].op, e);
    return rc < 0 ? err_wrap(e, "%s",
                             n->source < 0 ? "added by us" : source_node_text(&s->nodes[n->source]))
                  : 0;
}

static void live(struct item *it, int step)
{
    if (it->start < 0 || step < it->start)
        it->start = step;
    if (step > it->end)
        it->end = step;
}

static size_t size_of(const struct planner *pr, int v)
{
    struct mat m = plan_shape(pr->p, v, pr->pl->tokens, pr->pl->docs);

    return ((size_t)m.rows * (size_t)m.cols + 15) & ~(size_t)15;
}

static struct item *value_item(struct planner *pr, int v)
{
    return &pr->items[pr->t->root[v]];
}

static struct item *grad_item(struct planner *pr, int v)
{
    return &pr->items[pr->p->value_count + pr->t->root[v]];
}

static void node_lives(struct planner *pr, int i)
{
    const struct node *n = &pr->p->nodes[i];
    const struct tape_node *tn = &pr->t->nodes[i];
    const struct plan_node *pn = &pr->pl->nodes[i];
    int back = 2 * pr->p->node_count - 1 - i;
    bool backward = pr->pl->train && tn->backward && !tn->view;
    struct item *saved = &pr->items[2 * pr->p->value_count + NODE_ITEMS * i];

    live(value_item(pr, n->out), i);
    if (backward) {
        live(grad_item(pr, n->out), back);
        if (pn->op.needs_out)
            live(value_item(pr, n->out), back);
    }
    for (int k = 0; k < n->in_count; k++) {
        int v = n->in[k];

        if (v < 0 || pr->p->values[v].space == SPACE_FIXED)
            continue;
        live(value_item(pr, v), i);
        if (backward && (pn->op.needs_in & 1u << k))
            live(value_item(pr, v), back);
        if (backward && (tn->want & 1u << k))
            live(grad_item(pr, v), back);
    }
    if (tn->view)
        return;
    saved[0].size = (pn->op.saved_floats + 15) & ~(size_t)15;
    live(&saved[0], i);
    live(&saved[0], backward ? back : i);
    saved[1].size = (pn->op.work_floats + 15) & ~(size_t)15;
    live(&saved[1], i);
    if (!backward)
        return;
    saved[2].size = saved[1].size;
    live(&saved[2], back);
    if (n->op == OP_EMBED && (tn->want & 1u)) {
        saved[3].size = size_of(pr, n->out);
        live(&saved[3], back);
        live(&saved[3], 2 * pr->p->node_count);
    }
}

static int larger_first(const void *x, const void *y)
{
    const struct item *a = *(struct item *const *)x, *b = *(struct item *const *)y;

    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return (a > b) - (a < b);
}

/* The lowest place where nothing that lives at the same time lies. */
static void place(struct planner *pr, int index)
{
    struct item *it = pr->sorted[index];
    size_t at = 0;
    bool moved = true;

    while (moved) {
        moved = false;
        for (int i = 0; i < index; i++) {
            const struct item *o = pr->sorted[i];

            if (o->start <= it->end && it->start <= o->end && o->at < at + it->size &&
                at < o->at + o->size) {
                at = o->at + o->size;
                moved = true;
            }
        }
    }
    it->at = at;
    *it->to = at;
    if (at + it->size > pr->pl->floats)
        pr->pl->floats = at + it->size;
    if (it->start < pr->p->node_count && it->end >= pr->p->node_count)
        pr->pl->kept += it->size;
}

static int place_all(struct planner *pr, struct err *e)
{
    struct plan *pl = pr->pl;
    int n = 0;

    for (int v = 0; v < pr->p->value_count; v++) {
        pl->at[v] = pl->grad_at[v] = PLAN_NOWHERE;
        if (pr->p->values[v].space == SPACE_FIXED)
            continue;
        pr->items[v].size = pr->items[pr->p->value_count + v].size = size_of(pr, v);
        pr->items[v].to = &pl->at[v];
        pr->items[pr->p->value_count + v].to = &pl->grad_at[v];
    }
    for (int i = 0; i < pr->p->node_count; i++) {
        struct item *it = &pr->items[2 * pr->p->value_count + NODE_ITEMS * i];

        pl->nodes[i].saved = pl->nodes[i].work = PLAN_NOWHERE;
        pl->nodes[i].work_back = pl->nodes[i].rows = PLAN_NOWHERE;
        it[0].to = &pl->nodes[i].saved;
        it[1].to = &pl->nodes[i].work;
        it[2].to = &pl->nodes[i].work_back;
        it[3].to = &pl->nodes[i].rows;
        node_lives(pr, i);
    }
    if (pl->train) { /* the embeddings' gradient is the caller's memory */
        pr->items[pr->p->value_count + pr->p->output].start = -1;
        live(&pr->items[pr->p->output], 2 * pr->p->node_count);
    } else {
        live(&pr->items[pr->p->output], pr->p->node_count);
    }
    for (int i = 0; i < pr->count; i++)
        if (pr->items[i].start >= 0 && pr->items[i].size)
            pr->sorted[n++] = &pr->items[i];
    qsort(pr->sorted, (size_t)n, sizeof *pr->sorted, larger_first);
    for (int i = 0; i < n; i++)
        place(pr, i);
    if (pl->floats > (size_t)1 << 38)
        return err_set(e, ERR_LIMIT,
                       "a batch of %d tokens per lane needs more memory than any "
                       "machine has",
                       pl->tokens);
    return 0;
}

int plan_make(struct plan *pl, const struct program *p, const struct tape *t,
              const struct source *s, struct backend *backend, int tokens, int docs, bool train,
              struct err *e)
{
    struct planner pr = {pl, p, t, NULL, NULL, 2 * p->value_count + NODE_ITEMS * p->node_count};
    int rc = 0;

    memset(pl, 0, sizeof *pl);
    pl->tokens = tokens;
    pl->docs = docs;
    pl->train = train;
    pl->at = calloc((size_t)p->value_count + 1, sizeof *pl->at);
    pl->grad_at = calloc((size_t)p->value_count + 1, sizeof *pl->grad_at);
    pl->nodes = calloc((size_t)p->node_count + 1, sizeof *pl->nodes);
    pr.items = calloc((size_t)pr.count + 1, sizeof *pr.items);
    pr.sorted = calloc((size_t)pr.count + 1, sizeof *pr.sorted);
    if (!pl->at || !pl->grad_at || !pl->nodes || !pr.items || !pr.sorted) {
        rc = err_set(e, ERR_NOMEM, "planning memory");
        goto done;
    }
    for (int i = 0; i < pr.count; i++)
        pr.items[i].start = pr.items[i].end = -1;
    for (int i = 0; rc == 0 && i < p->node_count; i++)
        if (!t->nodes[i].view)
            rc = ask(pl, p, t, s, backend, i, e);
    if (rc == 0)
        rc = place_all(&pr, e);
done:
    free(pr.items);
    free(pr.sorted);
    return rc;
}

void plan_release(struct plan *pl)
{
    free(pl->at);
    free(pl->grad_at);
    free(pl->nodes);
    memset(pl, 0, sizeof *pl);
}
