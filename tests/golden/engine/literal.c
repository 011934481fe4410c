#include "tests/golden/engine/literal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/golden/engine/models.h"
#include "trainer/engine/graph/eval.h"

#define VALUE_MAX ((size_t)1 << 30) /* bytes of one value */

struct literal {
    const struct source *s;
    const struct literal_move *move;
    struct tensor **value; /* per source value; NULL: not made yet, or done with */
    struct arena *arena;   /* its memory */
    int *left;             /* how many needed nodes still read it */
    bool *needed;          /* per node */
};

/* ---- operators that graph/eval.h has no use for ---- */

/* c (m, n) += a (m, k) b (k, n). */
static void product(const double *a, const double *b, int64_t m, int64_t n, int64_t k, double *c)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t p = 0; p < k; p++) {
            const double x = a[i * k + p], *row = b + p * n;

            for (int64_t j = 0; j < n; j++)
                c[i * n + j] += x * row[j];
        }
}

/* As product, with b (n, k). */
static void product_transposed(const double *a, const double *b, int64_t m, int64_t n, int64_t k,
                               double *c)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t p = 0; p < k; p++)
                c[i * n + j] += a[i * k + p] * b[j * k + p];
}

static int run_matmul(struct eval *v, struct err *e)
{
    const struct tensor *a = v->in[0], *b = v->in[1];
    int64_t dims[TENSOR_RANK], n = b->dims[b->rank - 1], k = a->dims[a->rank - 1], m, blocks = 1;
    struct tensor *c;

    if (b->rank != 2 && b->rank != a->rank)
        return eval_bad(v, ERR_UNSUPPORTED, "a product of these shapes", e);
    memcpy(dims, a->dims, sizeof dims);
    dims[a->rank - 1] = n;
    if (!(c = eval_make(v, DTYPE_FLOAT, a->rank, dims)))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (int i = 0; b->rank > 2 && i < a->rank - 2; i++)
        blocks *= a->dims[i];
    m = (int64_t)c->count / (blocks * n);
    for (int64_t i = 0; i < blocks; i++)
        product(a->v + i * m * k, b->v + i * k * n, m, n, k, c->v + i * m * n);
    return 0;
}

static int run_gemm(struct eval *v, struct err *e)
{
    const struct tensor *a = v->in[0], *b = v->in[1], *bias = v->in[2];
    bool transposed = source_attr_int(v->node, "transB", 0) != 0;
    int64_t dims[2] = {a->dims[0], b->dims[transposed ? 0 : 1]};
    struct tensor *c = eval_make(v, DTYPE_FLOAT, 2, dims);

    if (!c)
        return eval_bad(v, ERR_LIMIT, "too large", e);
    (transposed ? product_transposed : product)(a->v, b->v, dims[0], dims[1], a->dims[1], c->v);
    for (size_t i = 0; bias && i < c->count; i++)
        c->v[i] += bias->v[i % bias->count];
    return 0;
}

static int run_softmax(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    struct tensor *y = eval_make(v, x->dtype, x->rank, x->dims);
    size_t n = (size_t)x->dims[x->rank - 1];

    if (!y || eval_axis(source_attr_int(v->node, "axis", -1), x->rank) != x->rank - 1)
        return eval_bad(v, ERR_UNSUPPORTED, "not over the last axis", e);
    for (size_t r = 0; r < x->count; r += n) {
        double top = x->v[r], sum = 0;

        for (size_t i = 0; i < n; i++)
            top = fmax(top, x->v[r + i]);
        for (size_t i = 0; i < n; i++)
            sum += y->v[r + i] = exp(x->v[r + i] - top);
        for (size_t i = 0; i < n; i++)
            y->v[r + i] /= sum;
    }
    return 0;
}

static int run_layer_norm(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0], *gamma = v->in[1], *beta = v->in[2];
    struct tensor *y = eval_make(v, x->dtype, x->rank, x->dims);
    size_t n = (size_t)x->dims[x->rank - 1];
    double eps = source_attr_float(v->node, "epsilon", 1e-5f);

    if (!y || gamma->count != n)
        return eval_bad(v, ERR_UNSUPPORTED, "not over the last axis", e);
    for (size_t r = 0; r < x->count; r += n) {
        double mean = 0, square = 0;

        for (size_t i = 0; i < n; i++)
            mean += x->v[r + i] / (double)n;
        for (size_t i = 0; i < n; i++)
            square += pow(x->v[r + i] - mean, 2) / (double)n;
        for (size_t i = 0; i < n; i++)
            y->v[r + i] =
                (x->v[r + i] - mean) / sqrt(square + eps) * gamma->v[i] + (beta ? beta->v[i] : 0);
    }
    return 0;
}

static int run_length(struct eval *v, struct err *e)
{
    const struct tensor *x = v->in[0];
    size_t n = (size_t)x->dims[x->rank - 1];
    int64_t dims[TENSOR_RANK];
    struct tensor *y;

    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank - 1] = 1; /* the engine writes it so: over the last axis, which stays */
    if (!(y = eval_make(v, x->dtype, x->rank, dims)))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (size_t i = 0; i < x->count; i++)
        y->v[i / n] += x->v[i] * x->v[i];
    for (size_t r = 0; r < y->count; r++)
        y->v[r] = sqrt(y->v[r]);
    return 0;
}

/* NULL: graph/eval.h has it, or nobody. */
static eval_fn own_of(const char *op)
{
    static const struct {
        const char *op;
        eval_fn fn;
    } own[] = {{"MatMul", run_matmul},
               {"Gemm", run_gemm},
               {"Softmax", run_softmax},
               {"ReduceL2", run_length},
               {"LayerNormalization", run_layer_norm}};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(own[i].op, op) == 0)
            return own[i].fn;
    return NULL;
}

/* ---- values ---- */

static double weight(const struct literal *l, int initializer, size_t i)
{
    float x;

    memcpy(&x, l->s->initializers[initializer].data + i * sizeof x, sizeof x);
    return x + (l->move && l->move->moves[initializer] ? l->move->step * model_sign(i, 0) : 0);
}

/* Rows of a table that is too large to become a tensor. */
static int run_lookup(const struct literal *l, struct eval *v, int table, struct err *e)
{
    const struct source_tensor *t = &l->s->initializers[table];
    const struct tensor *ids = v->in[1];
    int64_t dims[TENSOR_RANK];
    struct tensor *out;

    memcpy(dims, ids->dims, sizeof dims);
    dims[ids->rank] = t->dims[1];
    if (!(out = eval_make(v, DTYPE_FLOAT, ids->rank + 1, dims)))
        return eval_bad(v, ERR_LIMIT, "too large", e);
    for (size_t i = 0; i < out->count; i++)
        out->v[i] = weight(l, table,
                           (size_t)ids->v[i / (size_t)t->dims[1]] * (size_t)t->dims[1] +
                               i % (size_t)t->dims[1]);
    return 0;
}

static bool is_table(const struct literal *l, const struct source_node *n)
{
    int k = strcmp(n->op, "Gather") == 0 ? l->s->values[n->in[0]].initializer : -1;

    return k >= 0 && l->s->initializers[k].rank == 2 &&
           l->s->initializers[k].dtype == DTYPE_FLOAT && source_attr_int(n, "axis", 0) == 0;
}

static const struct tensor *value_of(struct literal *l, int at)
{
    int k = l->s->values[at].initializer;
    struct tensor *t = l->value[at];

    if (t || k < 0)
        return t;
    t = l->value[at] = source_tensor_read(&l->s->initializers[k], &l->arena[at]);
    for (size_t i = 0; t && t->dtype == DTYPE_FLOAT && i < t->count; i++)
        t->v[i] = weight(l, k, i);
    return t;
}

static void done_with(struct literal *l, int at)
{
    if (at < 0 || --l->left[at] > 0)
        return;
    arena_release(&l->arena[at]);
    l->value[at] = NULL;
}

static int run_node(struct literal *l, const struct source_node *n, struct err *e)
{
    struct eval v = {.source = l->s, .node = n, .arena = &l->arena[n->out[0]]};
    bool table = is_table(l, n);
    eval_fn fn = own_of(n->op);
    int rc;

    if (n->out_count != 1)
        return eval_bad(&v, ERR_UNSUPPORTED, "more than one output", e);
    for (int i = 0; i < n->in_count; i++)
        if (n->in[i] >= 0 && !(table && i == 0) && !(v.in[i] = value_of(l, n->in[i])))
            return eval_bad(&v, ERR_UNSUPPORTED, "an input has no value", e);
    if (table)
        rc = run_lookup(l, &v, l->s->values[n->in[0]].initializer, e);
    else
        rc = fn ? fn(&v, e) : eval_node(&v, e);
    if (rc < 0)
        return rc;
    l->value[n->out[0]] = v.out[0];
    for (int i = 0; i < n->in_count; i++)
        done_with(l, n->in[i]);
    return 0;
}

/* ---- the batch ---- */

static double input_element(const char *name, const struct token_batch *b, int doc, int at, int pad)
{
    int from = b->offsets[doc], length = b->offsets[doc + 1] - from;

    if (strcasestr(name, "mask"))
        return at < length;
    if (strcasestr(name, "type"))
        return at < length && b->types ? b->types[from + at] : 0;
    return at < length ? b->ids[from + at] : pad;
}

static int make_inputs(struct literal *l, const struct token_batch *b, int pad, struct err *e)
{
    int64_t dims[2] = {b->count, 1};

    for (int i = 0; i < b->count; i++)
        if (b->offsets[i + 1] - b->offsets[i] > dims[1])
            dims[1] = b->offsets[i + 1] - b->offsets[i];
    for (int i = 0; i < l->s->input_count; i++) {
        const struct source_input *in = &l->s->inputs[i];
        struct tensor *t = tensor_new(&l->arena[in->value], in->dtype, 2, dims);

        if (!(l->value[in->value] = t))
            return err_set(e, ERR_NOMEM, "a padded batch");
        for (size_t k = 0; k < t->count; k++)
            t->v[k] = input_element(in->name, b, (int)(k / (size_t)dims[1]),
                                    (int)(k % (size_t)dims[1]), pad);
    }
    return 0;
}

/* Nodes that `target` comes from, and how often each value is read by them. */
static void mark(struct literal *l, int target)
{
    l->left[target] = 1;
    for (int i = l->s->node_count - 1; i >= 0; i--) {
        const struct source_node *n = &l->s->nodes[i];

        for (int k = 0; k < n->out_count; k++)
            l->needed[i] |= n->out[k] >= 0 && l->left[n->out[k]] > 0;
        for (int k = 0; l->needed[i] && k < n->in_count; k++)
            if (n->in[k] >= 0)
                l->left[n->in[k]]++;
    }
}

static int run(struct literal *l, const struct token_batch *b, int pad, int target, struct err *e)
{
    int rc = make_inputs(l, b, pad, e);

    mark(l, target);
    for (int i = 0; rc == 0 && i < l->s->node_count; i++)
        if (l->needed[i])
            rc = run_node(l, &l->s->nodes[i], e);
    return rc;
}

double *literal_run(const struct source *s, const struct token_batch *b, int pad, const char *name,
                    const struct literal_move *move, int *rank, int64_t dims[TENSOR_RANK],
                    struct err *e)
{
    struct literal l = {.s = s, .move = move};
    int target = source_find(s, name);
    const struct tensor *t = NULL;
    double *out = NULL;

    l.value = calloc((size_t)s->value_count, sizeof *l.value);
    l.arena = calloc((size_t)s->value_count, sizeof *l.arena);
    l.left = calloc((size_t)s->value_count, sizeof *l.left);
    l.needed = calloc((size_t)s->node_count, sizeof *l.needed);
    for (int i = 0; l.arena && i < s->value_count; i++)
        arena_init(&l.arena[i], VALUE_MAX);
    if (target < 0 || !l.value || !l.arena || !l.left || !l.needed)
        err_set(e, ERR_NOMEM, "running %s", name);
    else if (run(&l, b, pad, target, e) == 0)
        t = l.value[target];
    if (t && (out = malloc(t->count * sizeof *out + 1))) {
        memcpy(out, t->v, t->count * sizeof *out);
        memcpy(dims, t->dims, sizeof t->dims);
        *rank = t->rank;
    }
    for (int i = 0; l.arena && i < s->value_count; i++)
        arena_release(&l.arena[i]);
    free(l.value);
    free(l.arena);
    free(l.left);
    free(l.needed);
    return out;
}
