/* What trains, what does not, and why. */
#include <string.h>

#include "platform/base/text.h"
#include "trainer/engine/inspect_int.h"

static const char *yes(bool x)
{
    return x ? "true" : "false";
}

static void shape(struct buf *b, const int64_t *dims, int rank)
{
    buf_str(b, "\"shape\":[");
    for (int i = 0; i < rank; i++)
        buf_printf(b, "%s%lld", i ? "," : "", (long long)dims[i]);
    buf_str(b, "],");
}

static void why(struct buf *b, const char *text)
{
    buf_str(b, "\"why\":");
    text_json(b, text, strlen(text));
    buf_char(b, '}');
}

static void parameter(const struct engine *g, const struct param *q, struct buf *b)
{
    buf_char(b, '{');
    inspect_field(b, "name", q->name);
    if (q->initializer >= 0)
        inspect_field(b, "initializer", g->source->initializers[q->initializer].name);
    shape(b, q->dims, q->rank);
    buf_printf(b, "\"trains\":%s,\"decays\":%s,", yes(q->trainable), yes(q->decays));
    if (q->block == BLOCK_NONE)
        inspect_field(b, "block", "embeddings");
    else if (q->block == g->program.blocks)
        inspect_field(b, "block", "head");
    else
        buf_printf(b, "\"block\":%d,", q->block);
    why(b, q->why);
}

static void parameters(const struct engine *g, struct buf *b)
{
    bool first = true;

    buf_str(b, "\"parameters\":[");
    for (int i = 0; i < g->program.param_count; i++) {
        const struct param *q = &g->program.params[i];

        if (!q->used || q->buffer)
            continue;
        inspect_comma(b, &first);
        parameter(g, q, b);
    }
    buf_str(b, "],");
}

static void initializer(const struct source_tensor *t, const char *reason, struct buf *b)
{
    buf_char(b, '{');
    inspect_field(b, "name", t->name);
    inspect_field(b, "type", dtype_name(t->dtype));
    shape(b, t->dims, t->rank);
    why(b, reason);
}

/* Constants of the computation: rows of numbers in the program, and initializers that were
 * evaluated. */
static void buffers(const struct engine *g, struct buf *b)
{
    const struct source *s = g->source;
    bool first = true;

    buf_str(b, "\"buffers\":[");
    for (int i = 0; i < g->program.param_count; i++) {
        const struct param *q = &g->program.params[i];

        if (!q->used || !q->buffer)
            continue;
        inspect_comma(b, &first);
        buf_char(b, '{');
        inspect_field(b, "name", q->name);
        inspect_field(b, "type", dtype_name(DTYPE_FLOAT));
        shape(b, q->dims, q->rank);
        why(b, q->why);
    }
    for (int i = 0; i < s->initializer_count; i++) {
        const char *reason = build_constant(&s->initializers[i]);

        if (!reason)
            continue;
        inspect_comma(b, &first);
        initializer(&s->initializers[i], reason, b);
    }
    buf_str(b, "],");
}

/* Some parameter that the program uses is this initializer (or its twin, or behind an Identity). */
static bool is_used(const struct program *p, int initializer)
{
    int own = p->initializer_param[initializer];

    if (own >= 0 && p->params[own].used)
        return true;
    for (int i = 0; i < p->param_count; i++)
        if (p->params[i].initializer == initializer && p->params[i].used)
            return true;
    return false;
}

/* What the file holds and the embedding does not need: a pooler, a classifier. */
static void cut_off(const struct engine *g, struct buf *b)
{
    const struct source *s = g->source;
    bool first = true;
    size_t numbers = 0;

    buf_str(b, "\"cut_off\":{\"parameters\":[");
    for (int i = 0; i < s->initializer_count; i++) {
        const struct source_tensor *t = &s->initializers[i];
        int v = source_find(s, t->name);

        if (build_constant(t) || is_used(&g->program, i))
            continue;
        inspect_comma(b, &first);
        initializer(t, v >= 0 && s->values[v].uses ? "behind the cut" : "nothing reads it", b);
        numbers += t->count;
    }
    buf_printf(b, "],\"numbers\":%zu},", numbers);
}

/* How much is frozen, by reason (static texts of surgery/freeze.c). */
static void frozen(const struct engine *g, struct buf *b)
{
    const struct program *p = &g->program;
    size_t all = 0;
    bool first = true;

    buf_str(b, "\"frozen\":{\"reasons\":[");
    for (int i = 0; i < p->param_count; i++) {
        const struct param *q = &p->params[i];
        size_t numbers = 0;
        int count = 0;
        bool told = !q->used || q->buffer || q->trainable;

        for (int k = 0; k < p->param_count && !told; k++) {
            const struct param *o = &p->params[k];

            if (!o->used || o->buffer || o->trainable || o->why != q->why)
                continue;
            told = k < i;
            numbers += o->count;
            count++;
        }
        if (told)
            continue;
        inspect_comma(b, &first);
        buf_printf(b, "{\"parameters\":%d,\"numbers\":%zu,", count, numbers);
        why(b, q->why);
        all += numbers;
    }
    buf_printf(b, "],\"numbers\":%zu},", all);
}

void inspect_parameters(const struct engine *g, struct buf *b)
{
    parameters(g, b);
    buffers(g, b);
    cut_off(g, b);
    frozen(g, b);
}
