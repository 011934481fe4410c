/* What a person wants to know of a backbone, as JSON. */
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "trainer/engine/engine_int.h"

static void text(struct buf *b, const char *t)
{
    text_json(b, t, strlen(t));
}

static void field(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "\"%s\":", name);
    text(b, value);
    buf_char(b, ',');
}

static const char *yes(bool x)
{
    return x ? "true" : "false";
}

static void inputs(const struct engine *g, struct buf *b)
{
    const struct build_inputs *in = &g->inputs;

    buf_str(b, "\"inputs\":[");
    for (int i = 0; i < g->source->input_count; i++) {
        const char *role = i == in->ids     ? "token ids"
                           : i == in->mask  ? "attention mask"
                           : i == in->types ? "token types"
                                            : "positions";

        buf_str(b, i ? ",{" : "{");
        field(b, "name", g->source->inputs[i].name);
        buf_str(b, "\"role\":");
        text(b, role);
        buf_char(b, '}');
    }
    buf_str(b, "],");
}

static void head(const struct engine *g, struct buf *b)
{
    const struct cut *c = &g->cut;

    buf_str(b, "\"head\":{");
    field(b, "cut", g->info.cut);
    field(b, "why", c->why);
    buf_str(b, "\"candidates\":[");
    for (int i = c->candidate_count - 1; i >= 0; i--) {
        buf_str(b, i < c->candidate_count - 1 ? ",{" : "{");
        field(b, "tensor", g->source->values[c->candidates[i].source_value].name);
        field(b, "why", c->candidates[i].why);
        buf_printf(b, "\"columns\":%d}", c->candidates[i].cols);
    }
    buf_str(b, "],\"not_expressed\":[");
    for (int i = 0; i < 8 && g->left_out[i]; i++) {
        if (i)
            buf_char(b, ',');
        text(b, g->left_out[i]);
    }
    buf_str(b, "]},");
}

static void parameter(const struct engine *g, const struct param *q, struct buf *b)
{
    buf_char(b, '{');
    field(b, "name", q->name);
    if (q->initializer >= 0)
        field(b, "initializer", g->source->initializers[q->initializer].name);
    buf_str(b, "\"shape\":[");
    for (int i = 0; i < q->rank; i++)
        buf_printf(b, "%s%lld", i ? "," : "", (long long)q->dims[i]);
    buf_printf(b, "],\"trains\":%s,\"decays\":%s,", yes(q->trainable), yes(q->decays));
    if (q->block == BLOCK_NONE)
        field(b, "block", "embeddings");
    else if (q->block == g->program.blocks)
        field(b, "block", "head");
    else
        buf_printf(b, "\"block\":%d,", q->block);
    buf_str(b, "\"why\":");
    text(b, q->why);
    buf_char(b, '}');
}

static void parameters(const struct engine *g, bool buffers, const char *name, struct buf *b)
{
    bool first = true;

    buf_printf(b, "\"%s\":[", name);
    for (int i = 0; i < g->program.param_count; i++) {
        const struct param *q = &g->program.params[i];

        if (!q->used || q->buffer != buffers)
            continue;
        if (!first)
            buf_char(b, ',');
        first = false;
        parameter(g, q, b);
    }
    buf_str(b, "],");
}

static void blocks(const struct engine *g, struct buf *b)
{
    const struct program *p = &g->program;

    buf_str(b, "\"blocks\":[");
    for (int l = BLOCK_NONE; l <= p->blocks; l++) {
        size_t all = 0, trained = 0;

        for (int i = 0; i < p->param_count; i++)
            if (p->params[i].used && !p->params[i].buffer && p->params[i].block == l) {
                all += p->params[i].count;
                trained += p->params[i].trainable ? p->params[i].count : 0;
            }
        if (l != BLOCK_NONE)
            buf_char(b, ',');
        buf_str(b, "{\"block\":");
        if (l == BLOCK_NONE || l == p->blocks)
            text(b, l == BLOCK_NONE ? "embeddings" : "head");
        else
            buf_printf(b, "%d", l);
        buf_printf(b, ",\"parameters\":%zu,\"trainable\":%zu}", all, trained);
    }
    buf_str(b, "],");
}

/* Multiplications and additions of a forward pass, 2 per fused pair; backward is twice that. */
static void flops(const struct engine *g, struct buf *b)
{
    const struct program *p = &g->program;
    double token = 0, document = 0, pair = 0;

    for (int i = 0; i < p->node_count; i++) {
        const struct node *n = &p->nodes[i];
        const struct value *out = &p->values[n->out];

        if (n->op == OP_LINEAR && out->space == SPACE_TOKENS)
            token += 2.0 * p->values[n->in[0]].cols * out->cols;
        else if (n->op == OP_LINEAR)
            document += 2.0 * p->values[n->in[0]].cols * out->cols;
        else if (n->op == OP_ATTENTION)
            pair += 4.0 * out->cols;
    }
    buf_printf(b,
               "\"flops\":{\"per_token\":%.0f,\"per_token_and_key\":%.0f,"
               "\"per_document\":%.0f},",
               token, pair, document);
}

static int bucket(const struct engine *g, struct backend *backend, const struct tape *tape,
                  int tokens, int docs, struct buf *b, struct err *e)
{
    size_t floats[2] = {0, 0}, kept = 0;
    int rc = 0;

    for (int train = 0; rc == 0 && train < 2; train++) {
        struct plan pl;

        rc = plan_make(&pl, &g->program, tape, g->source, backend, tokens, docs, train, e);
        floats[train] = pl.floats;
        kept = pl.kept;
        plan_release(&pl);
    }
    buf_printf(b,
               "{\"tokens\":%d,\"documents\":%d,\"encode_bytes\":%zu,\"train_bytes\":%zu,"
               "\"kept_for_backward_bytes\":%zu}",
               tokens, docs, floats[0] * sizeof(float), floats[1] * sizeof(float),
               kept * sizeof(float));
    return rc;
}

/* Per lane and capacity; asked of the backend that would run it. */
static int memory(const struct engine *g, struct buf *b, struct err *e)
{
    static const int buckets[][2] = {{256, 16}, {1024, 64}, {4096, 256}};
    struct backend_options o = {.threads = 1};
    struct backend *backend = NULL;
    struct tape tape;
    int rc = backend_open(&backend, "cpu", &o, e);

    memset(&tape, 0, sizeof tape);
    if (rc == 0)
        rc = tape_init(&tape, &g->program, g->info.trainable > 0, e);
    buf_str(b, "\"memory_per_lane\":[");
    for (size_t i = 0; rc == 0 && i < sizeof buckets / sizeof buckets[0]; i++) {
        if (i)
            buf_char(b, ',');
        rc = bucket(g, backend, &tape, buckets[i][0], buckets[i][1], b, e);
    }
    buf_printf(b, "],\"parameter_bytes\":{\"encode\":%zu,\"train\":%zu},",
               g->info.parameters * sizeof(float),
               g->info.parameters * sizeof(float) + 3 * g->info.trainable * sizeof(float));
    tape_release(&tape);
    backend_free(backend);
    return rc;
}

static void program(const struct engine *g, struct buf *b)
{
    struct buf lines;
    const char *at;

    buf_init(&lines, (size_t)16 << 20);
    program_print(&g->program, g->source, &lines);
    buf_str(b, "\"program\":[");
    for (at = lines.len ? lines.data : ""; *at;) {
        size_t n = strcspn(at, "\n");

        text_json(b, at, n);
        at += n + (at[n] == '\n');
        if (*at)
            buf_char(b, ',');
    }
    buf_str(b, "]}");
    buf_release(&lines);
}

static int print(const struct engine *g, struct buf *b, struct err *e)
{
    const struct engine_info *i = &g->info;
    int rc;

    buf_char(b, '{');
    field(b, "model", g->source->path);
    field(b, "producer", g->source->producer);
    buf_printf(b, "\"opset\":%d,", g->source->opset);
    inputs(g, b);
    head(g, b);
    buf_printf(b,
               "\"dim\":%d,\"hidden\":%d,\"layers\":%d,\"heads\":%d,\"inner\":%d,"
               "\"max_tokens\":%d,\"vocabulary\":%d,\"parameter_count\":%zu,"
               "\"trainable_count\":%zu,",
               i->dim, i->hidden, i->layers, i->heads, i->inner, i->max_tokens, i->vocabulary,
               i->parameters, i->trainable);
    field(b, "pooling", pool_name(g->surgery.pool));
    buf_printf(b,
               "\"normalized\":%s,\"padded_operators\":[],"
               "\"attentions_without_padding_mask\":%d,",
               yes(g->surgery.normalize), g->program.unmasked);
    blocks(g, b);
    flops(g, b);
    if ((rc = memory(g, b, e)) < 0)
        return rc;
    parameters(g, false, "parameters", b);
    parameters(g, true, "buffers", b);
    program(g, b);
    return buf_check(b, "the model's description", e);
}

int engine_inspect(const char *path, const struct surgery *s, struct buf *json, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    int rc;

    if (!g)
        return err_set(e, ERR_NOMEM, "opening a model");
    rc = engine_compile(g, path, s, e);
    if (rc == 0) {
        engine_fill_info(g);
        rc = print(g, json, e);
    }
    engine_free(g);
    return rc;
}
