#include "trainer/engine/graph/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 }; /* floats: 64 bytes */

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* Which parameters are read by EMBED only, as whole tables. */
static void find_tables(struct program *p, bool *only_looked_up)
{
    for (int i = 0; i < p->param_count; i++)
        only_looked_up[i] = p->params[i].used && p->params[i].trainable;
    for (int i = 0; i < p->node_count; i++)
        for (int k = 0; k < p->nodes[i].in_count; k++) {
            int v = p->nodes[i].in[k], q = v < 0 ? -1 : p->values[v].param;

            if (q >= 0 && (p->nodes[i].op != OP_EMBED || k != 0 || p->values[v].offset))
                only_looked_up[q] = false;
        }
}

struct order {
    const struct param *param;
    int index;
};

static int by_block(const void *x, const void *y)
{
    const struct order *a = x, *b = y;

    if (a->param->block != b->param->block)
        return a->param->block < b->param->block ? -1 : 1;
    if (a->param->decays != b->param->decays)
        return a->param->decays ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

static void add_range(struct params *m, const struct param *q, size_t end)
{
    struct range *r = m->range_count ? &m->ranges[m->range_count - 1] : NULL;

    if (!r || r->block != q->block || r->decays != q->decays) {
        r = &m->ranges[m->range_count++];
        r->at = q->at;
        r->block = q->block;
        r->decays = q->decays;
    }
    r->count = end - r->at;
}

static int add_table(struct params *m, struct param *q, int index, bool *only, struct err *e)
{
    struct table *t = &m->tables[m->table_count];

    if (!only[index])
        return 0;
    t->param = index;
    t->cols = q->rank ? (int)q->dims[q->rank - 1] : 1;
    t->rows = (int)(q->count / (size_t)t->cols);
    t->at = q->at;
    t->touched = calloc((size_t)t->rows, 1);
    t->row_of = malloc((size_t)t->rows * sizeof *t->row_of);
    q->table = m->table_count++;
    if (!t->touched || !t->row_of)
        return err_set(e, ERR_NOMEM, "tables of parameters");
    memset(t->row_of, 0xff, (size_t)t->rows * sizeof *t->row_of);
    return 0;
}

/* Three passes over the sorted parameters: dense, tables, the rest. */
static int lay_out(struct params *m, const struct order *order, int count, bool *only,
                   struct err *e)
{
    size_t at = 0;

    for (int pass = 0; pass < 3; pass++) {
        for (int i = 0; i < count; i++) {
            struct param *q = (struct param *)(uintptr_t)order[i].param;
            int kind = !q->trainable ? 2 : only[order[i].index] ? 1 : 0;
            int rc;

            if (!q->used || kind != pass)
                continue;
            q->table = -1;
            q->at = at;
            at = aligned(at + q->count);
            if (pass == 0)
                add_range(m, q, at);
            if (pass == 1 && (rc = add_table(m, q, order[i].index, only, e)) < 0)
                return rc;
        }
        if (pass == 0)
            m->dense = at;
        if (pass == 1)
            m->trained = at;
    }
    m->total = at;
    return 0;
}

static int memory(struct params *m, bool train, struct err *e)
{
    const struct backend_ops *ops = m->backend->ops;
    size_t widest = 1;
    struct {
        float **to;
        size_t count;
    } parts[] = {
        {&m->param, m->total},
        {&m->grad, train ? m->dense : 0},
        {&m->m, train ? m->trained : 0},
        {&m->v, train ? m->trained : 0},
        {&m->zeros, 0},
    };

    for (int i = 0; i < m->table_count; i++)
        if ((size_t)m->tables[i].cols > widest)
            widest = (size_t)m->tables[i].cols;
    parts[4].count = train ? widest : 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        void *p = NULL;
        int rc;

        if (!parts[i].count)
            continue;
        rc = ops->alloc(m->backend, parts[i].count * sizeof(float), &p, e);
        if (rc < 0)
            return rc;
        *parts[i].to = p;
    }
    return 0;
}

static void load(struct params *m, const struct source *s)
{
    for (int i = 0; i < m->program->param_count; i++) {
        const struct param *q = &m->program->params[i];
        const void *from = q->init               ? (const void *)q->init
                           : q->initializer >= 0 ? s->initializers[q->initializer].data
                                                 : NULL;

        if (q->used && from)
            m->backend->ops->upload(m->backend, m->param + q->at, from, q->count * sizeof(float));
    }
}

int params_layout(struct params *m, struct program *p, struct backend *backend, struct err *e)
{
    size_t n = (size_t)p->param_count + 1;
    struct order *order = calloc(n, sizeof *order);
    bool *only = calloc(n, sizeof *only);
    int rc;

    memset(m, 0, sizeof *m);
    m->backend = backend;
    m->program = p;
    m->fresh = true;
    m->ranges = calloc(n, sizeof *m->ranges);
    m->tables = calloc(n, sizeof *m->tables);
    if (!order || !only || !m->ranges || !m->tables) {
        rc = err_set(e, ERR_NOMEM, "parameters");
        goto done;
    }
    find_tables(p, only);
    for (int i = 0; i < p->param_count; i++)
        order[i] = (struct order){&p->params[i], i};
    qsort(order, (size_t)p->param_count, sizeof *order, by_block);
    rc = lay_out(m, order, p->param_count, only, e);
done:
    free(order);
    free(only);
    return rc;
}

int params_init(struct params *m, struct program *p, const struct source *s,
                struct backend *backend, bool train, struct err *e)
{
    int rc;

    if ((rc = params_layout(m, p, backend, e)) < 0 || (rc = memory(m, train, e)) < 0)
        return rc;
    load(m, s);
    return 0;
}

void params_release(struct params *m)
{
    float *parts[] = {m->param, m->grad, m->m, m->v, m->zeros};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i])
            m->backend->ops->release(m->backend, parts[i]);
    for (int i = 0; i < m->table_count; i++) {
        free(m->tables[i].touched);
        free(m->tables[i].row_of);
        free(m->tables[i].ids);
        if (m->tables[i].grads)
            m->backend->ops->release(m->backend, m->tables[i].grads);
    }
    free(m->tables);
    free(m->ranges);
    memset(m, 0, sizeof *m);
}

int params_table_capacity(int cap, int rows)
{
    if (!cap)
        cap = 256;
    while (cap < rows)
        cap *= 2;
    return cap;
}

int params_reserve(struct params *m, struct table *t, int more, struct err *e)
{
    int want = t->count + more > t->rows ? t->rows : t->count + more;
    int cap = params_table_capacity(t->cap, want);
    size_t row = (size_t)t->cols * sizeof(float);
    int32_t *ids;
    void *grads;
    int rc;

    if (want <= t->cap)
        return 0;
    rc = m->backend->ops->alloc(m->backend, (size_t)cap * row, &grads, e);
    if (rc < 0)
        return rc;
    ids = realloc(t->ids, (size_t)cap * sizeof *ids);
    if (!ids) {
        m->backend->ops->release(m->backend, grads);
        return err_set(e, ERR_NOMEM, "gradients of a table");
    }
    if (t->count)
        memcpy(grads, t->grads, (size_t)t->count * row);
    if (t->grads)
        m->backend->ops->release(m->backend, t->grads);
    t->grads = grads;
    t->ids = ids;
    t->cap = cap;
    return 0;
}

void params_add_rows(struct params *m, struct table *t, const int32_t *ids, int count,
                     const float *rows)
{
    size_t cols = (size_t)t->cols;

    for (int i = 0; i < count; i++) {
        const float *from = rows + (size_t)i * cols;
        int32_t *row = &t->row_of[ids[i]];
        float *to;

        if (*row < 0) {
            *row = t->count;
            t->ids[t->count++] = ids[i];
            memcpy(t->grads + (size_t)*row * cols, from, cols * sizeof *to);
            continue;
        }
        to = t->grads + (size_t)*row * cols;
        for (size_t c = 0; c < cols; c++)
            to[c] += from[c];
    }
}

void params_clear_gradients(struct params *m)
{
    m->fresh = true;
    for (int i = 0; i < m->table_count; i++) {
        struct table *t = &m->tables[i];

        for (int k = 0; k < t->count; k++)
            t->row_of[t->ids[k]] = -1;
        t->count = 0;
    }
}

double params_gradient_norm(struct params *m)
{
    const struct backend_ops *ops = m->backend->ops;
    double sum = m->fresh || !m->dense ? 0 : ops->sum_squares(m->backend, m->grad, m->dense);

    for (int i = 0; i < m->table_count; i++)
        if (m->tables[i].count)
            sum += ops->sum_squares(m->backend, m->tables[i].grads,
                                    (size_t)m->tables[i].count * (size_t)m->tables[i].cols);
    return sqrt(sum);
}

/* lr of block l (counted from 1; embeddings are 0) is lr * layer_decay^(blocks - l). */
static float block_lr(const struct params *m, const struct params_step *s, int block)
{
    int below = m->program->blocks - 1 - block;

    if (s->layer_decay == 1.0f || s->layer_decay <= 0.0f || below <= 0)
        return s->lr;
    return (float)(s->lr * pow(s->layer_decay, below));
}

static float decay_of(const struct params_step *s, bool decays)
{
    return decays || s->decay_all ? s->decay : 0;
}

/* One table's step, cut into pieces of TABLE_PIECE rows that threads take. */
struct table_step {
    struct params *m;
    struct table *t;
    const struct optim *optim;
    float lr, decay, scale;
};
enum { TABLE_PIECE = 512 };

/*
 * A row's step equals the dense one. Rows that never had a gradient have no moments:
 * only decay moves them. Where decay enters the gradient (ADAM, SGD), that gives them
 * moments, so then every row takes part.
 */
static void apply_row(const struct table_step *s, int id)
{
    const struct params *m = s->m;
    const struct table *t = s->t;
    size_t cols = (size_t)t->cols, at = t->at + (size_t)id * cols;
    struct optim_range r = {m->param + at, m->zeros, m->m + at, m->v + at,
                            cols,          s->lr,    s->decay,  s->scale};

    if (!t->touched[id] && s->decay == 0)
        return;
    if (!t->touched[id] && s->optim->kind == OPTIM_ADAMW) {
        float keep = 1.0f - s->lr * s->decay;

        for (size_t c = 0; c < cols; c++)
            r.param[c] *= keep;
        return;
    }
    if (t->row_of[id] >= 0)
        r.grad = t->grads + (size_t)t->row_of[id] * cols;
    m->backend->ops->optim_step(m->backend, s->optim, &r);
}

static void apply_piece(void *arg, int piece)
{
    const struct table_step *s = arg;
    int id = piece * TABLE_PIECE, end = id + TABLE_PIECE;

    if (end > s->t->rows)
        end = s->t->rows;
    for (; id < end; id++)
        apply_row(s, id);
}

static void apply_table(struct params *m, struct table *t, const struct params_step *s,
                        const struct optim *optim, float scale)
{
    const struct param *q = &m->program->params[t->param];
    struct table_step step = {m, t, optim, block_lr(m, s, q->block), decay_of(s, q->decays), scale};

    for (int k = 0; k < t->count; k++)
        t->touched[t->ids[k]] = 1;
    m->backend->ops->run_lanes(m->backend, (t->rows + TABLE_PIECE - 1) / TABLE_PIECE, apply_piece,
                               &step);
}

double params_apply(struct params *m, const struct params_step *s)
{
    double norm = params_gradient_norm(m);
    struct optim optim = s->optim;
    float scale = 1;

    if (s->clip > 0 && norm > s->clip)
        scale = (float)(s->clip / (norm + 1e-6)); /* as torch.nn.utils.clip_grad_norm_ */
    optim.step = ++m->step;
    if (m->fresh && m->dense)
        m->backend->ops->zero(m->backend, m->grad, m->dense * sizeof(float));
    for (int i = 0; i < m->range_count; i++) {
        const struct range *g = &m->ranges[i];
        struct optim_range r = {
            m->param + g->at, m->grad + g->at,          m->m + g->at,           m->v + g->at,
            g->count,         block_lr(m, s, g->block), decay_of(s, g->decays), scale};

        m->backend->ops->optim_step(m->backend, &optim, &r);
    }
    for (int i = 0; i < m->table_count; i++)
        apply_table(m, &m->tables[i], s, &optim, scale);
    params_clear_gradients(m);
    return norm;
}
