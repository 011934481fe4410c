#include "trainer/engine/graph/exec.h"

#include <stdlib.h>
#include <string.h>

int exec_init(struct exec *x, const struct source *s, const struct program *p, struct params *m,
              struct backend *backend, int lanes, bool train, struct err *e)
{
    int rc;

    memset(x, 0, sizeof *x);
    if (lanes < 1 || lanes > EXEC_LANES_MAX)
        return err_set(e, ERR_CONFIG, "%d lanes; 1 to %d", lanes, EXEC_LANES_MAX);
    x->source = s;
    x->program = p;
    x->params = m;
    x->backend = backend;
    x->train = train;
    x->lanes = calloc((size_t)lanes, sizeof *x->lanes);
    x->parts = calloc((size_t)lanes + 1, sizeof *x->parts);
    if (!x->lanes || !x->parts)
        return err_set(e, ERR_NOMEM, "lanes");
    x->lane_count = lanes;
    if ((rc = tape_init(&x->tape, p, train, e)) < 0)
        return rc;
    for (int l = 0; l < lanes; l++) {
        struct lane *lane = &x->lanes[l];

        lane->lookups = calloc((size_t)p->node_count + 1, sizeof *lane->lookups);
        lane->caches = calloc((size_t)p->node_count + 1, sizeof *lane->caches);
        if (!lane->lookups || !lane->caches)
            return err_set(e, ERR_NOMEM, "lanes");
        for (int i = 0; i < p->node_count; i++)
            if (!(lane->caches[i] = backend->ops->cache_new(backend)))
                return err_set(e, ERR_NOMEM, "lanes");
        if (train && l > 0 && m->dense) {
            void *grad = NULL;

            rc = backend->ops->alloc(backend, m->dense * sizeof(float), &grad, e);
            if (rc < 0)
                return rc;
            lane->grad = grad;
        }
    }
    x->lanes[0].grad = m->grad;
    return 0;
}

static void release_lane(struct exec *x, struct lane *lane, bool owns_grad)
{
    for (int i = 0; i < x->program->node_count; i++) {
        if (lane->caches && lane->caches[i])
            x->backend->ops->cache_free(x->backend, lane->caches[i]);
        if (lane->lookups) {
            free(lane->lookups[i].ids);
            free(lane->lookups[i].ids_row);
            free(lane->lookups[i].distinct);
            free(lane->lookups[i].stamp);
            free(lane->lookups[i].row);
        }
    }
    free(lane->caches);
    free(lane->lookups);
    free(lane->offsets);
    for (int k = 0; k < 2; k++)
        if (lane->memory[k])
            x->backend->ops->release(x->backend, lane->memory[k]);
    if (owns_grad && lane->grad)
        x->backend->ops->release(x->backend, lane->grad);
}

void exec_release(struct exec *x)
{
    for (int l = 0; l < x->lane_count; l++)
        release_lane(x, &x->lanes[l], l > 0);
    free(x->lanes);
    free(x->parts);
    free(x->zeros);
    tape_release(&x->tape);
    plan_release(&x->plans[0]);
    plan_release(&x->plans[1]);
    memset(x, 0, sizeof *x);
}

void exec_cut(const int32_t *offsets, int count, int lanes, int *first)
{
    int64_t total = count ? offsets[count] : 0;
    int doc = 0;

    first[0] = 0;
    for (int l = 1; l < lanes; l++) {
        int64_t target = total * l / lanes;

        while (doc < count && offsets[doc + 1] <= target)
            doc++;
        /* the document that crosses the target goes where more of it lies */
        if (doc < count && target - offsets[doc] > offsets[doc + 1] - target)
            doc++;
        first[l] = doc;
    }
    first[lanes] = count;
}

static int32_t *grow_ints(int32_t *old, int count)
{
    return realloc(old, (size_t)count * sizeof *old);
}

/* Per-token arrays of the lanes for `tokens` tokens each. */
static int grow_lookups(struct exec *x, int tokens, struct err *e)
{
    for (int l = 0; l < x->lane_count; l++)
        for (int i = 0; i < x->program->node_count; i++) {
            const struct node *n = &x->program->nodes[i];
            struct lookup *k = &x->lanes[l].lookups[i];
            size_t rows = n->op == OP_EMBED ? (size_t)x->program->values[n->in[0]].rows : 0;
            int32_t *p;

            if (n->op != OP_EMBED)
                continue;
            if (n->attrs.ids == IDS_POSITION) {
                if (!(p = grow_ints(k->ids, tokens)))
                    return err_set(e, ERR_NOMEM, "token arrays");
                k->ids = p;
            }
            if (!(x->tape.nodes[i].want & 1u))
                continue;
            if (!(p = grow_ints(k->ids_row, tokens)))
                return err_set(e, ERR_NOMEM, "token arrays");
            k->ids_row = p;
            if (!(p = grow_ints(k->distinct, tokens)))
                return err_set(e, ERR_NOMEM, "token arrays");
            k->distinct = p;
            if (!k->stamp)
                k->stamp = calloc(rows, sizeof *k->stamp);
            if (!k->row)
                k->row = calloc(rows, sizeof *k->row);
            if (!k->stamp || !k->row)
                return err_set(e, ERR_NOMEM, "token arrays");
        }
    x->ids_cap = tokens;
    return 0;
}

static int grow_small(struct exec *x, const struct exec_batch *b, int tokens, struct err *e)
{
    int total = b->offsets[b->count];

    if (!b->types && total > x->zeros_cap) {
        int cap = plan_capacity(total);
        int32_t *zeros = calloc((size_t)cap, sizeof *zeros);

        if (!zeros)
            return err_set(e, ERR_NOMEM, "token arrays");
        free(x->zeros);
        x->zeros = zeros;
        x->zeros_cap = cap;
    }
    if (b->count + 1 > x->offsets_cap) {
        int cap = plan_capacity(b->count + 1);

        for (int l = 0; l < x->lane_count; l++) {
            int32_t *p = grow_ints(x->lanes[l].offsets, cap);

            if (!p)
                return err_set(e, ERR_NOMEM, "token arrays");
            x->lanes[l].offsets = p;
        }
        x->offsets_cap = cap;
    }
    return tokens > x->ids_cap ? grow_lookups(x, plan_capacity(tokens), e) : 0;
}

/* A plan for at least this much; memory of the lanes with it. */
static int ensure_plan(struct exec *x, int tokens, int docs, bool train, struct err *e)
{
    struct plan *pl = &x->plans[train], next;
    int rc;

    if (pl->at && tokens <= pl->tokens && docs <= pl->docs)
        return 0;
    tokens = plan_capacity(tokens > pl->tokens ? tokens : pl->tokens);
    docs = plan_capacity(docs > pl->docs ? docs : pl->docs);
    rc = plan_make(&next, x->program, &x->tape, x->source, x->backend, tokens, docs, train, e);
    if (rc < 0) {
        plan_release(&next);
        return rc;
    }
    plan_release(pl);
    for (int l = 0; l < x->lane_count; l++) {
        void *memory = NULL;

        if (x->lanes[l].memory[train])
            x->backend->ops->release(x->backend, x->lanes[l].memory[train]);
        x->lanes[l].memory[train] = NULL;
        rc = x->backend->ops->alloc(x->backend, (next.floats + EXEC_SPARE) * sizeof(float), &memory,
                                    e);
        if (rc < 0) {
            plan_release(&next);
            return rc;
        }
        x->lanes[l].memory[train] = memory;
    }
    *pl = next;
    return 0;
}

static int check_ids(const struct exec *x, const struct exec_batch *b, const int32_t *ids, int rows,
                     const char *what, struct err *e)
{
    int total = b->offsets[b->count];

    for (int t = 0; t < total; t++)
        if (ids[t] < 0 || ids[t] >= rows) {
            int d = 0;

            while (b->offsets[d + 1] <= t)
                d++;
            return err_set(e, ERR_FORMAT,
                           "document %d, token %d: %s %d is not in the backbone's "
                           "table of %d",
                           d, t - b->offsets[d], what, ids[t], rows);
        }
    return 0;
}

static int check_lengths(const struct exec_batch *b, int longest, struct err *e)
{
    for (int d = 0; d < b->count; d++)
        if (b->offsets[d + 1] - b->offsets[d] > longest)
            return err_set(e, ERR_FORMAT,
                           "document %d has %d tokens; the backbone has positions "
                           "for %d",
                           d, b->offsets[d + 1] - b->offsets[d], longest);
    return 0;
}

static int check_batch(const struct exec *x, const struct exec_batch *b, struct err *e)
{
    const struct program *p = x->program;
    int rc = 0;

    if (b->count < 0 || !b->offsets || b->offsets[0] != 0)
        return err_set(e, ERR_FORMAT, "a batch whose offsets do not begin at 0");
    for (int d = 0; d < b->count; d++)
        if (b->offsets[d + 1] < b->offsets[d])
            return err_set(e, ERR_FORMAT, "document %d: offsets go down", d);
    if (b->offsets[b->count] > EXEC_TOKENS_MAX)
        return err_set(e, ERR_LIMIT, "a batch of %d tokens; at most %d", b->offsets[b->count],
                       EXEC_TOKENS_MAX);
    for (int i = 0; rc == 0 && i < p->node_count; i++) {
        const struct node *n = &p->nodes[i];
        int rows = n->op == OP_EMBED ? p->values[n->in[0]].rows : 0;

        if (n->op != OP_EMBED)
            continue;
        if (n->attrs.ids == IDS_TOKEN)
            rc = check_ids(x, b, b->ids, rows, "id", e);
        else if (n->attrs.ids == IDS_TYPE && b->types)
            rc = check_ids(x, b, b->types, rows, "token type", e);
        else if (n->attrs.ids == IDS_POSITION)
            rc = check_lengths(b, rows - n->attrs.ids_shift, e);
    }
    return rc;
}

static void set_lane(struct exec *x, struct lane *lane, const struct exec_batch *b)
{
    for (int i = 0; i <= lane->docs; i++)
        lane->offsets[i] = b->offsets[lane->first + i] - lane->start;
    for (int i = 0; i < x->program->node_count; i++) {
        const struct node *n = &x->program->nodes[i];
        struct lookup *k = &lane->lookups[i];

        if (n->op != OP_EMBED || n->attrs.ids != IDS_POSITION)
            continue;
        for (int d = 0; d < lane->docs; d++)
            for (int t = lane->offsets[d]; t < lane->offsets[d + 1]; t++)
                k->ids[t] = n->attrs.ids_shift + t - lane->offsets[d];
    }
}

static const int32_t *lane_ids(const struct exec *x, const struct lane *lane, int node)
{
    switch (x->program->nodes[node].attrs.ids) {
    case IDS_TOKEN:
        return x->batch.ids + lane->start;
    case IDS_TYPE:
        return x->batch.types ? x->batch.types + lane->start : x->zeros;
    default:
        return lane->lookups[node].ids;
    }
}

/* Memory of a value (or of its gradient) in a lane; parameters lie in the parameter memory. */
static struct mat place(const struct exec *x, const struct lane *lane, int v, bool train,
                        bool gradient)
{
    const struct plan *pl = &x->plans[train];
    struct mat m = plan_shape(x->program, v, lane->tokens, lane->docs);
    const struct value *val = v < 0 ? NULL : &x->program->values[v];
    int root;

    if (!val)
        return m;
    if (val->space == SPACE_FIXED) {
        size_t at = x->program->params[val->param].at + val->offset;

        m.data = (gradient ? lane->grad : x->params->param) + at;
        return m;
    }
    root = x->tape.root[v];
    m.ld = x->program->values[root].cols;
    m.data = lane->memory[train] + (gradient ? pl->grad_at[root] : pl->at[root]) + x->tape.begin[v];
    return m;
}

static void prepare(const struct exec *x, struct lane *lane, int i, bool train, struct op_call *c)
{
    const struct node *n = &x->program->nodes[i];
    const struct plan_node *pn = &x->plans[train].nodes[i];

    memset(c, 0, sizeof *c);
    c->attrs = &n->attrs;
    c->docs.count = lane->docs;
    c->docs.offsets = lane->offsets;
    c->in_count = n->in_count;
    for (int k = 0; k < n->in_count; k++)
        c->in[k] = place(x, lane, n->in[k], train, false);
    c->out = place(x, lane, n->out, train, false);
    if (n->op == OP_EMBED) {
        c->ids = lane_ids(x, lane, i);
        c->ids_row = lane->lookups[i].ids_row;
    }
    if (pn->saved != PLAN_NOWHERE)
        c->saved = lane->memory[train] + pn->saved;
    if (pn->work != PLAN_NOWHERE)
        c->work = lane->memory[train] + pn->work;
    c->cache = lane->caches[i];
}

struct forward {
    struct exec *x;
    bool train;
};

static void forward_lane(void *arg, int l)
{
    const struct forward *f = arg;
    struct exec *x = f->x;
    struct lane *lane = &x->lanes[l];
    const struct program *p = x->program;
    struct mat out;

    if (!lane->docs)
        return;
    set_lane(x, lane, &x->batch);
    for (int i = 0; i < p->node_count; i++) {
        struct op_call c;

        if (x->tape.nodes[i].view)
            continue;
        prepare(x, lane, i, f->train, &c);
        x->backend->ops->op[p->nodes[i].op].forward(x->backend, &c);
    }
    out = place(x, lane, p->output, f->train, false);
    x->backend->ops->download(x->backend, x->out + (size_t)lane->first * (size_t)out.cols, out.data,
                              (size_t)lane->docs * (size_t)out.cols * sizeof(float));
}

static void cut(struct exec *x, const struct exec_batch *b, int *tokens, int *docs)
{
    int first[EXEC_LANES_MAX + 1];

    *tokens = *docs = 0;
    exec_cut(b->offsets, b->count, x->lane_count, first);
    for (int l = 0; l < x->lane_count; l++) {
        struct lane *lane = &x->lanes[l];

        lane->first = first[l];
        lane->docs = first[l + 1] - first[l];
        lane->start = b->offsets[first[l]];
        lane->tokens = b->offsets[first[l + 1]] - lane->start;
        *tokens = lane->tokens > *tokens ? lane->tokens : *tokens;
        *docs = lane->docs > *docs ? lane->docs : *docs;
    }
}

int exec_forward(struct exec *x, const struct exec_batch *batch, float *out, bool train,
                 struct err *e)
{
    struct forward f = {x, train};
    int tokens, docs, rc;

    if (train && !x->train)
        return err_set(e, ERR_USAGE, "the engine was opened without training");
    if ((rc = check_batch(x, batch, e)) < 0)
        return rc;
    cut(x, batch, &tokens, &docs);
    if ((rc = grow_small(x, batch, tokens, e)) < 0 ||
        (rc = ensure_plan(x, tokens, docs, train, e)) < 0)
        return rc;
    x->batch = *batch;
    x->out = out;
    x->forward_done = train;
    x->backend->ops->run_lanes(x->backend, x->lane_count, forward_lane, &f);
    return 0;
}

/* Distinct ids of a lane's look-up, in the order of their first use. */
static void find_distinct(struct exec *x, const struct lane *lane, int node)
{
    struct lookup *k = &lane->lookups[node];
    const int32_t *ids = lane_ids(x, lane, node);

    k->count = 0;
    for (int t = 0; t < lane->tokens; t++) {
        int32_t id = ids[t];

        if (k->stamp[id] != x->stamp) {
            k->stamp[id] = x->stamp;
            k->row[id] = k->count;
            k->distinct[k->count++] = id;
        }
        k->ids_row[t] = k->row[id];
    }
}

/* A table that is used otherwise too has a dense gradient: the rows go there. */
static void scatter(struct exec *x, struct lane *lane, int node, const struct mat *rows)
{
    const struct lookup *k = &lane->lookups[node];
    const struct value *v = &x->program->values[x->program->nodes[node].in[0]];
    float *to = lane->grad + x->program->params[v->param].at + v->offset;

    for (int i = 0; i < k->count; i++) {
        const float *from = rows->data + (size_t)i * (size_t)rows->ld;
        float *row = to + (size_t)k->distinct[i] * (size_t)v->ld;

        for (int c = 0; c < rows->cols; c++)
            row[c] += from[c];
    }
}

static void embed_backward(struct exec *x, struct lane *lane, int i, struct op_call *c)
{
    const struct value *v = &x->program->values[x->program->nodes[i].in[0]];

    find_distinct(x, lane, i);
    c->ids_row = lane->lookups[i].ids_row;
    c->d_in[0].data = lane->memory[1] + x->plans[1].nodes[i].rows;
    c->d_in[0].rows = lane->lookups[i].count;
    c->d_in[0].cols = c->d_in[0].ld = v->cols;
    c->d_add = 0;
    x->backend->ops->op[OP_EMBED].backward(x->backend, c);
    if (x->program->params[v->param].table < 0)
        scatter(x, lane, i, &c->d_in[0]);
}

static void zero_parts(struct exec *x, struct lane *lane, bool fresh)
{
    const struct program *p = x->program;

    for (int q = 0; fresh && q < p->param_count; q++)
        if (x->tape.zero_first[q] && p->params[q].used && p->params[q].table < 0)
            x->backend->ops->zero(x->backend, lane->grad + p->params[q].at,
                                  p->params[q].count * sizeof(float));
}

static void backward_node(struct exec *x, struct lane *lane, int i, bool fresh)
{
    const struct program *p = x->program;
    const struct node *n = &p->nodes[i];
    const struct tape_node *tn = &x->tape.nodes[i];
    struct op_call c;

    prepare(x, lane, i, true, &c);
    c.work = x->plans[1].nodes[i].work_back == PLAN_NOWHERE
                 ? NULL
                 : lane->memory[1] + x->plans[1].nodes[i].work_back;
    if (n->out == p->output) {
        c.d_out = c.out;
        c.d_out.ld = c.out.cols;
        c.d_out.data = (float *)(uintptr_t)x->d_out + (size_t)lane->first * (size_t)c.out.cols;
    } else {
        c.d_out = place(x, lane, n->out, true, true);
    }
    if (n->op == OP_EMBED) {
        embed_backward(x, lane, i, &c);
        return;
    }
    for (int k = 0; k < n->in_count; k++)
        if (tn->want & 1u << k)
            c.d_in[k] = place(x, lane, n->in[k], true, true);
    c.d_add = tn->add | (fresh ? 0 : tn->first);
    x->backend->ops->op[n->op].backward(x->backend, &c);
}

static void backward_lane(void *arg, int l)
{
    struct exec *x = arg;
    struct lane *lane = &x->lanes[l];
    bool fresh = l > 0 || x->params->fresh;

    if (!lane->docs) {
        if (l == 0 && fresh && x->params->dense)
            x->backend->ops->zero(x->backend, lane->grad, x->params->dense * sizeof(float));
        return;
    }
    zero_parts(x, lane, fresh);
    for (int i = x->program->node_count - 1; i >= 0; i--)
        if (x->tape.nodes[i].backward && !x->tape.nodes[i].view)
            backward_node(x, lane, i, fresh);
}

/* Rows of every look-up, lane by lane, node by node from the last. */
static int add_rows(struct exec *x, struct err *e)
{
    const struct program *p = x->program;

    for (int i = p->node_count - 1; i >= 0; i--) {
        const struct node *n = &p->nodes[i];
        int q = n->op == OP_EMBED ? p->values[n->in[0]].param : -1, rc;
        struct table *t;

        if (q < 0 || !(x->tape.nodes[i].want & 1u) || p->params[q].table < 0)
            continue;
        t = &x->params->tables[p->params[q].table];
        for (int l = 0; l < x->lane_count; l++) {
            struct lane *lane = &x->lanes[l];
            const struct lookup *k = &lane->lookups[i];

            if (!lane->docs)
                continue;
            if ((rc = params_reserve(x->params, t, k->count, e)) < 0)
                return rc;
            params_add_rows(x->params, t, k->distinct, k->count,
                            lane->memory[1] + x->plans[1].nodes[i].rows);
        }
    }
    return 0;
}

int exec_backward(struct exec *x, const float *d_out, struct err *e)
{
    int parts = 0, rc;

    if (!x->forward_done)
        return err_set(e, ERR_USAGE, "backward without a forward before it");
    if (x->batch.count == 0)
        return 0;
    x->forward_done = false; /* gradients overwrite what forward kept */
    x->d_out = d_out;
    if (++x->stamp <= 0)
        return err_set(e, ERR_LIMIT, "too many steps for one engine");
    x->backend->ops->run_lanes(x->backend, x->lane_count, backward_lane, x);
    if ((rc = add_rows(x, e)) < 0)
        return rc;
    for (int l = 0; l < x->lane_count; l++)
        if (l == 0 || x->lanes[l].docs)
            x->parts[parts++] = x->lanes[l].grad;
    if (parts > 1 && x->params->dense)
        x->backend->ops->sum(x->backend, x->params->grad, x->parts, parts, x->params->dense);
    x->params->fresh = false;
    return 0;
}
