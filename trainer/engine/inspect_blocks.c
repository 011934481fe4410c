/*
 * A backbone as a person would draw it: the inputs, the embeddings, a box for each block, a box
 * for each operator behind the cut, the output; who feeds whom.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "trainer/engine/inspect_int.h"

/* A box. Node i of the program belongs to box `of[i]`; boxes are in the order of execution. */
struct boxes {
    const struct program *p;
    const struct source *s;
    int *of;
    int *drawn; /* per box: its number in the picture; -1: nothing is in it */
    int inputs, embeddings, tail, output, count;
};

static int boxes_init(struct boxes *x, const struct engine *g, struct err *e)
{
    const struct program *p = &g->program;
    int tail = 0;

    memset(x, 0, sizeof *x);
    x->p = p;
    x->s = g->source;
    x->inputs = g->source->input_count;
    x->embeddings = x->inputs;
    x->tail = x->embeddings + 1 + p->blocks;
    x->of = calloc((size_t)p->node_count + 1, sizeof *x->of);
    if (!x->of)
        return err_set(e, ERR_NOMEM, "drawing the model");
    for (int i = 0; i < p->node_count; i++)
        x->of[i] = p->nodes[i].block == p->blocks ? x->tail + tail++
                                                  : x->embeddings + 1 + p->nodes[i].block;
    x->output = x->tail + tail;
    x->count = x->output + 1;
    x->drawn = calloc((size_t)x->count, sizeof *x->drawn);
    if (!x->drawn)
        return err_set(e, ERR_NOMEM, "drawing the model");
    for (int i = 0; i < p->node_count; i++)
        x->drawn[x->of[i]] = 1;
    for (int k = 0, n = 0; k < x->count; k++)
        x->drawn[k] = k < x->inputs || k == x->output || x->drawn[k] ? n++ : -1;
    return 0;
}

static void boxes_release(struct boxes *x)
{
    free(x->of);
    free(x->drawn);
}

/* ---- what is in a box ---- */

static void describe(const struct program *p, const struct node *n, char *to, size_t size)
{
    static const char *const ids[] = {"token", "token type", "position"};
    const struct value *x = &p->values[n->in[0]], *out = &p->values[n->out];

    switch (n->op) {
    case OP_EMBED:
        snprintf(to, size, "embed %d x %d by %s", x->rows, x->cols, ids[n->attrs.ids]);
        break;
    case OP_LINEAR:
        snprintf(to, size, "linear %d to %d%s%s", x->cols, out->cols, n->attrs.act ? ", " : "",
                 n->attrs.act ? act_name(n->attrs.act) : "");
        break;
    case OP_LAYER_NORM:
        snprintf(to, size, "layer norm %d%s", out->cols,
                 n->in_count == 4 ? " over a residual sum" : "");
        break;
    case OP_ATTENTION:
        snprintf(to, size, "attention %d x %d%s", n->attrs.heads, out->cols / n->attrs.heads,
                 n->attrs.causal ? ", causal" : "");
        break;
    case OP_POOL:
        snprintf(to, size, "pool %s", pool_name(n->attrs.pool));
        break;
    case OP_L2_NORM:
        snprintf(to, size, "normalise to length 1");
        break;
    default:
        snprintf(to, size, "%s %d", op_name(n->op), out->cols);
    }
}

/* "operators":["linear 384 to 384 (3 times)", ...], */
static void operators(const struct boxes *x, int box, struct buf *b)
{
    char line[160] = "", before[160] = "";
    bool first = true;
    int times = 0;

    buf_str(b, "\"operators\":[");
    for (int i = 0; i <= x->p->node_count; i++) {
        bool end = i == x->p->node_count;

        if (!end && x->of[i] != box)
            continue;
        if (!end)
            describe(x->p, &x->p->nodes[i], line, sizeof line);
        if (!end && strcmp(line, before) == 0) {
            times++;
            continue;
        }
        if (times) {
            inspect_comma(b, &first);
            buf_printf(b, times > 1 ? "\"%s (%d times)\"" : "\"%s\"", before, times);
        }
        snprintf(before, sizeof before, "%s", line);
        times = 1;
    }
    buf_str(b, "],");
}

/* ---- parameters of a box ---- */

struct tally {
    size_t numbers, trainable, read; /* read: with those that a later block counts */
    const char *prefix;              /* what the names of all that it reads begin with */
    size_t prefix_len;
};

static size_t common(const char *a, size_t len, const char *b)
{
    size_t i, dot = 0;

    for (i = 0; i < len && a[i] == b[i]; i++)
        if (a[i] == '.')
            dot = i;
    return i == len && b[i] == '.' ? i : dot;
}

static void add(struct tally *t, const struct param *q, bool own)
{
    if (q->buffer)
        return;
    t->read += q->count;
    t->numbers += own ? q->count : 0;
    t->trainable += own && q->trainable ? q->count : 0;
    if (!t->prefix) {
        t->prefix = q->name;
        t->prefix_len = strlen(q->name);
    } else {
        t->prefix_len = common(t->prefix, t->prefix_len, q->name);
    }
}

/* A parameter counts once, in the last block that reads it. `seen`: last box that read it. */
static void tally(const struct boxes *x, int box, int *seen, struct tally *t)
{
    memset(t, 0, sizeof *t);
    for (int i = 0; i < x->p->node_count; i++)
        for (int k = 0; x->of[i] == box && k < x->p->nodes[i].in_count; k++) {
            int v = x->p->nodes[i].in[k], q = v < 0 ? -1 : x->p->values[v].param;

            if (q < 0 || seen[q] == box)
                continue;
            seen[q] = box;
            add(t, &x->p->params[q], x->p->params[q].block == x->p->nodes[i].block);
        }
}

/* A box of the tail holds one operator. */
static const char *tail_name(const struct boxes *x, int box)
{
    for (int i = 0; i < x->p->node_count; i++)
        if (x->of[i] == box)
            switch (x->p->nodes[i].op) {
            case OP_POOL:
                return "pooling";
            case OP_LINEAR:
                return "projection";
            case OP_L2_NORM:
                return "normalisation";
            default:
                return op_name(x->p->nodes[i].op);
            }
    return "";
}

static void box(const struct boxes *x, int k, int *seen, struct buf *b)
{
    char block[32];
    struct tally t;

    tally(x, k, seen, &t);
    snprintf(block, sizeof block, "block %d", k - x->embeddings - 1);
    buf_char(b, '{');
    inspect_field(b, "kind", k >= x->tail ? "tail" : k > x->embeddings ? "block" : "embeddings");
    inspect_field(b, "name",
                  k >= x->tail        ? tail_name(x, k)
                  : k > x->embeddings ? block
                                      : "embeddings");
    if (t.prefix && t.prefix_len) {
        buf_str(b, "\"scope\":");
        text_json(b, t.prefix, t.prefix_len);
        buf_char(b, ',');
    }
    operators(x, k, b);
    buf_printf(b, "\"parameters\":%zu,\"trainable\":%zu,\"reads\":%zu}", t.numbers, t.trainable,
               t.read);
}

/* ---- who feeds whom ---- */

struct edge {
    int from, to;
};

static int by_ends(const void *x, const void *y)
{
    const struct edge *a = x, *b = y;

    return a->from != b->from ? (a->from > b->from) - (a->from < b->from)
                              : (a->to > b->to) - (a->to < b->to);
}

/* The input that a look-up reads; positions are counted, when the model does not ask for them. */
static int lookup_input(const struct engine *g, const struct node *n)
{
    return n->attrs.ids == IDS_TOKEN  ? g->inputs.ids
           : n->attrs.ids == IDS_TYPE ? g->inputs.types
                                      : g->inputs.positions;
}

static int collect(const struct boxes *x, const struct engine *g, struct edge *to)
{
    const struct program *p = x->p;
    int count = 0;

    for (int i = 0; i < p->node_count; i++)
        for (int k = 0; k < p->nodes[i].in_count; k++) {
            const struct node *n = &p->nodes[i];
            int made = n->in[k] < 0 ? -1 : p->values[n->in[k]].node;
            int from = n->op == OP_EMBED ? lookup_input(g, n) : made < 0 ? -1 : x->of[made];

            if (from >= 0 && from != x->of[i])
                to[count++] = (struct edge){from, x->of[i]};
        }
    if (g->inputs.mask >= 0 && p->node_count)
        to[count++] = (struct edge){g->inputs.mask, x->of[0]};
    if (p->values[p->output].node >= 0)
        to[count++] = (struct edge){x->of[p->values[p->output].node], x->output};
    return count;
}

static int edges(const struct boxes *x, const struct engine *g, struct buf *b, struct err *e)
{
    struct edge *all = calloc((size_t)x->p->node_count * OP_INS + 2, sizeof *all);
    bool first = true;
    int count;

    if (!all)
        return err_set(e, ERR_NOMEM, "drawing the model");
    count = collect(x, g, all);
    qsort(all, (size_t)count, sizeof *all, by_ends);
    for (int i = 0; i < count; i++) {
        if (i && by_ends(&all[i], &all[i - 1]) == 0)
            continue;
        inspect_comma(b, &first);
        buf_printf(b, "[%d,%d]", x->drawn[all[i].from], x->drawn[all[i].to]);
    }
    free(all);
    return 0;
}

int inspect_blocks(const struct engine *g, struct buf *b, struct err *e)
{
    struct boxes x;
    int rc = boxes_init(&x, g, e), *seen = NULL;
    bool first = true;

    if (rc == 0 && !(seen = calloc((size_t)g->program.param_count + 1, sizeof *seen)))
        rc = err_set(e, ERR_NOMEM, "drawing the model");
    if (rc < 0)
        goto done;
    memset(seen, 0xff, (size_t)g->program.param_count * sizeof *seen);
    buf_str(b, "\"graph\":{\"boxes\":[");
    for (int k = 0; k < x.count; k++) {
        if (x.drawn[k] < 0)
            continue;
        inspect_comma(b, &first);
        if (k >= x.inputs && k < x.output) {
            box(&x, k, seen, b);
            continue;
        }
        buf_str(b, k < x.inputs ? "{\"kind\":\"input\"," : "{\"kind\":\"output\",");
        inspect_field(b, "name", k < x.inputs ? x.s->inputs[k].name : "embedding");
        buf_printf(b, "\"operators\":[],\"parameters\":0,\"trainable\":0,\"reads\":0}");
    }
    buf_str(b, "],\"edges\":[");
    rc = edges(&x, g, b, e);
    buf_str(b, "]},");
done:
    free(seen);
    boxes_release(&x);
    return rc;
}
