/* What a person wants to know of a backbone, as JSON: the model, its inputs, its head. */
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "trainer/engine/inspect_int.h"

static void text(struct buf *b, const char *t)
{
    text_json(b, t, strlen(t));
}

void inspect_field(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "\"%s\":", name);
    text(b, value);
    buf_char(b, ',');
}

void inspect_comma(struct buf *b, bool *first)
{
    if (!*first)
        buf_char(b, ',');
    *first = false;
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
        inspect_field(b, "name", g->source->inputs[i].name);
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
    inspect_field(b, "cut", g->info.cut);
    inspect_field(b, "why", c->why);
    buf_str(b, "\"candidates\":[");
    for (int i = c->candidate_count - 1; i >= 0; i--) {
        buf_str(b, i < c->candidate_count - 1 ? ",{" : "{");
        inspect_field(b, "tensor", g->source->values[c->candidates[i].source_value].name);
        inspect_field(b, "why", c->candidates[i].why);
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

/* Needs to know which rows are one document; every other operator takes row by row. */
static bool by_document(const struct node *n)
{
    return n->op == OP_ATTENTION || n->op == OP_POOL ||
           (n->op == OP_EMBED && n->attrs.ids == IDS_POSITION);
}

/* Every operator that a program can hold works on packed rows (op/op.h): one that could not would
 * have been refused while the model was compiled. */
static void padding(const struct engine *g, struct buf *b)
{
    int documents = 0;

    for (int i = 0; i < g->program.node_count; i++)
        documents += by_document(&g->program.nodes[i]);
    buf_printf(b,
               "\"padding\":{\"padded_operators\":[],\"row_operators\":%d,"
               "\"document_operators\":%d,\"attentions_without_padding_mask\":%d},",
               g->program.node_count - documents, documents, g->program.unmasked);
}

static int program(const struct engine *g, struct buf *b, struct err *e)
{
    struct buf lines;
    const char *at;
    int rc;

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
    rc = buf_check(&lines, "the program's lines", e);
    buf_release(&lines);
    return rc;
}

static int print(struct engine *g, const struct engine_batch *batch, struct buf *b, struct err *e)
{
    const struct engine_info *i = &g->info;
    int rc;

    buf_char(b, '{');
    inspect_field(b, "model", g->source->path);
    inspect_field(b, "producer", g->source->producer);
    buf_printf(b, "\"opset\":%d,", g->source->opset);
    inputs(g, b);
    head(g, b);
    buf_printf(b,
               "\"dim\":%d,\"hidden\":%d,\"layers\":%d,\"heads\":%d,\"inner\":%d,"
               "\"max_tokens\":%d,\"vocabulary\":%d,\"parameter_count\":%zu,"
               "\"trainable_count\":%zu,\"normalized\":%s,",
               i->dim, i->hidden, i->layers, i->heads, i->inner, i->max_tokens, i->vocabulary,
               i->parameters, i->trainable, g->surgery.normalize ? "true" : "false");
    inspect_field(b, "pooling", pool_name(g->surgery.pool));
    padding(g, b);
    if ((rc = inspect_blocks(g, b, e)) < 0 || (rc = inspect_cost(g, batch, b, e)) < 0)
        return rc;
    inspect_parameters(g, b);
    if ((rc = program(g, b, e)) < 0)
        return rc;
    return buf_check(b, "the model's description", e);
}

int engine_inspect(const char *path, const struct surgery *s, const struct engine_batch *batch,
                   struct buf *json, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    int rc;

    if (!g)
        return err_set(e, ERR_NOMEM, "opening a model");
    rc = engine_compile(g, path, s, e);
    if (rc == 0) {
        engine_fill_info(g);
        rc = print(g, batch, json, e);
    }
    engine_free(g);
    return rc;
}
