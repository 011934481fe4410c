/* What running a model costs: floating-point operations, and memory as the planner lays it out. */
#include <stdlib.h>
#include <string.h>

#include "trainer/engine/inspect_int.h"

/*
 * Of matrix products, a multiplication and an addition being 2. A document of n tokens takes
 * n (token + n key + (n + 1) / 2 earlier_key) + document. Norms, activations, softmax and
 * look-ups are not counted: they are a hundredth of it.
 */
struct flops {
    double token;       /* linear layers over tokens */
    double key;         /* attention to every token of the document */
    double earlier_key; /* causal attention: to itself and the tokens before it */
    double document;    /* linear layers behind the pooling */
};

/* (R, I) times (I, O): forward 1 product; backward 1 for each wanted of x's and w's gradients. */
static void count_linear(const struct program *p, const struct node *n, unsigned want,
                         struct flops *f)
{
    double product = 2.0 * p->values[n->in[0]].cols * p->values[n->out].cols;
    double all = product * (1 + (want & 1u) + (want >> 1 & 1u));

    if (p->values[n->out].space == SPACE_TOKENS)
        f->token += all;
    else
        f->document += all;
}

/*
 * Forward q k^T and P v. Backward: dP = dO v^T when q or k is wanted, then dq = dS k, dk = dS^T q;
 * dv = P^T dO. Each is 2 C operations for a token and a key, all heads together.
 */
static void count_attention(const struct program *p, const struct node *n, unsigned want,
                            struct flops *f)
{
    int products = 2 + ((want & 3u) != 0) + (want & 1u) + (want >> 1 & 1u) + (want >> 2 & 1u);
    double all = 2.0 * products * p->values[n->out].cols;

    if (n->attrs.causal)
        f->earlier_key += all;
    else
        f->key += all;
}

static void count(const struct program *p, const struct tape *t, bool train, struct flops *f)
{
    memset(f, 0, sizeof *f);
    for (int i = 0; i < p->node_count; i++) {
        const struct node *n = &p->nodes[i];
        unsigned want = train && t->nodes[i].backward ? t->nodes[i].want : 0;

        if (n->op == OP_LINEAR)
            count_linear(p, n, want, f);
        else if (n->op == OP_ATTENTION)
            count_attention(p, n, want, f);
    }
}

static void print_flops(const char *name, const struct flops *f, struct buf *b)
{
    buf_printf(b,
               "\"%s\":{\"per_token\":%.0f,\"per_token_and_key\":%.0f,"
               "\"per_token_and_earlier_key\":%.0f,\"per_document\":%.0f}",
               name, f->token, f->key, f->earlier_key, f->document);
}

static void flops(const struct program *p, const struct tape *t, struct buf *b)
{
    struct flops f;

    buf_str(b, "\"flops\":{");
    inspect_field(b, "formula",
                  "a document of n tokens: n x (per_token + n x per_token_and_key + (n + 1) / 2 x "
                  "per_token_and_earlier_key) + per_document; matrix products only, a "
                  "multiplication and an addition are 2; training is forward and backward");
    count(p, t, false, &f);
    print_flops("forward", &f, b);
    buf_char(b, ',');
    count(p, t, true, &f);
    print_flops("training", &f, b);
    buf_str(b, "},");
}

/* What memory is planned with. */
struct planner {
    const struct engine *g;
    const struct tape *tape;
    struct params layout;
    struct backend *backend;
    int documents, lanes;
    bool train;
};

/* The capacity of a lane when `documents` of `length` tokens each are cut into lanes. */
static int capacity(const struct planner *pl, int length, int *tokens, int *docs, struct err *e)
{
    int n = pl->documents, most = 0;
    int32_t *offsets = calloc((size_t)n + 1, sizeof *offsets);
    int *first = calloc((size_t)pl->lanes + 1, sizeof *first);

    if (offsets && first) {
        for (int d = 0; d <= n; d++)
            offsets[d] = d * length;
        exec_cut(offsets, n, pl->lanes, first);
        for (int l = 0; l < pl->lanes; l++)
            if (first[l + 1] - first[l] > most)
                most = first[l + 1] - first[l];
    }
    free(offsets);
    free(first);
    if (n && !most)
        return err_set(e, ERR_NOMEM, "planning memory");
    *tokens = plan_capacity(most * length);
    *docs = plan_capacity(most);
    return 0;
}

/* Gradient rows that the tables can need at most: every token of the batch another id. */
static size_t table_gradients(const struct planner *pl, int length)
{
    const struct program *p = &pl->g->program;
    size_t floats = 0;

    for (int t = 0; t < pl->layout.table_count; t++) {
        const struct table *table = &pl->layout.tables[t];
        int64_t rows = 0;

        for (int i = 0; i < p->node_count; i++) {
            const struct node *n = &p->nodes[i];

            if (n->op == OP_EMBED && p->values[n->in[0]].param == table->param)
                rows += n->attrs.ids == IDS_POSITION ? (int64_t)length * pl->lanes
                                                     : (int64_t)length * pl->documents;
        }
        if (rows > table->rows)
            rows = table->rows;
        floats += (size_t)params_table_capacity(0, (int)rows) * (size_t)table->cols;
    }
    return floats;
}

static int plan_floats(const struct planner *pl, int tokens, int docs, bool train, size_t *floats,
                       size_t *kept, struct err *e)
{
    struct plan plan;
    int rc = plan_make(&plan, &pl->g->program, pl->tape, pl->g->source, pl->backend, tokens, docs,
                       train, e);

    *floats = plan.floats + EXEC_SPARE;
    *kept = plan.kept;
    plan_release(&plan);
    return rc;
}

/* One line of the plan: batches whose documents have `length` tokens each. */
static int bucket(const struct planner *pl, int length, int *last, struct buf *b, struct err *e)
{
    const struct params *m = &pl->layout;
    size_t lanes = (size_t)pl->lanes, encode, floats = 0, kept = 0, none, gradients, moments;
    bool first = *last == 0;
    int tokens = 0, docs = 0, rc;

    if ((rc = capacity(pl, length, &tokens, &docs, e)) < 0 || tokens == *last)
        return rc;
    if ((rc = plan_floats(pl, tokens, docs, false, &encode, &none, e)) < 0 ||
        (pl->train && (rc = plan_floats(pl, tokens, docs, true, &floats, &kept, e)) < 0))
        return rc;
    *last = tokens;
    gradients = pl->train ? lanes * m->dense + table_gradients(pl, length) : 0;
    moments = pl->train ? 2 * m->trained : 0;
    inspect_comma(b, &first);
    buf_printf(b,
               "{\"length\":%d,\"lane_tokens\":%d,\"lane_documents\":%d,\"parameters\":%zu,"
               "\"gradients\":%zu,\"moments\":%zu,\"activations\":%zu,\"workspace\":%zu,"
               "\"total\":%zu,\"encode_total\":%zu}",
               length, tokens, docs, m->total * sizeof(float), gradients * sizeof(float),
               moments * sizeof(float), lanes * kept * sizeof(float),
               lanes * (floats - kept) * sizeof(float),
               (m->total + gradients + moments + lanes * floats) * sizeof(float),
               (m->total + lanes * encode) * sizeof(float));
    return 0;
}

/* Lengths 8, 16, 32, ... and the longest: one line for each capacity that they lead to. */
static int memory(const struct planner *pl, int longest, struct buf *b, struct err *e)
{
    int rc = 0, last = 0;

    buf_printf(b,
               "\"memory\":{\"documents\":%d,\"lanes\":%d,\"trains\":%s,\"unit\":\"bytes\","
               "\"buckets\":[",
               pl->documents, pl->lanes, pl->train ? "true" : "false");
    for (int length = 8; rc == 0; length *= 2) {
        int n = length < longest ? length : longest;

        if ((int64_t)n * pl->documents > EXEC_TOKENS_MAX)
            break;
        rc = bucket(pl, n, &last, b, e);
        if (n == longest)
            break;
    }
    buf_str(b, "]},");
    return rc;
}

int inspect_cost(struct engine *g, const struct engine_batch *batch, struct buf *b, struct err *e)
{
    struct backend_options o = {.threads = 1};
    struct tape tape;
    struct planner pl = {.g = g,
                         .tape = &tape,
                         .documents = batch->documents,
                         .lanes = batch->lanes,
                         .train = g->info.trainable > 0};
    int longest = g->info.max_tokens > 0 && g->info.max_tokens < batch->max_length
                      ? g->info.max_tokens
                      : batch->max_length;
    int rc;

    if (batch->lanes < 1 || batch->lanes > EXEC_LANES_MAX)
        return err_set(e, ERR_CONFIG, "%d lanes; 1 to %d", batch->lanes, EXEC_LANES_MAX);
    if ((rc = tape_init(&tape, &g->program, pl.train, e)) < 0 ||
        (rc = backend_open(&pl.backend, "cpu", &o, e)) < 0)
        goto done;
    if ((rc = params_layout(&pl.layout, &g->program, pl.backend, e)) < 0)
        goto done;
    flops(&g->program, &tape, b);
    rc = memory(&pl, longest, b, e);
done:
    if (pl.layout.program)
        params_release(&pl.layout);
    tape_release(&tape);
    backend_free(pl.backend);
    return rc;
}
