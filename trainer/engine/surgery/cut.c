/* Where a backbone ends: the last tensor before a classifier or a pooler. */
#include <string.h>

#include "trainer/engine/surgery/surgery.h"

enum { ROOTS_MAX = 64 }; /* a head in which more is not understood is no head */

static bool is_residual_add(const struct program *p, int v)
{
    const struct node *n = v < 0 || p->values[v].node < 0 ? NULL : &p->nodes[p->values[v].node];

    return n && n->op == OP_ADD && p->values[n->in[0]].space == SPACE_TOKENS &&
           p->values[n->in[1]].space == SPACE_TOKENS;
}

/* Why a value may end the backbone; NULL: it may not. */
static const char *ends_backbone(const struct program *p, int v)
{
    const struct node *n = v < 0 || p->values[v].node < 0 ? NULL : &p->nodes[p->values[v].node];

    if (!n)
        return NULL;
    if (n->op == OP_LAYER_NORM && is_residual_add(p, n->in[0]))
        return "layer norm over a residual sum";
    if (is_residual_add(p, v))
        return "residual sum";
    return NULL;
}

static void add_candidate(struct cut *c, int source_value, enum space space, int cols,
                          const char *why)
{
    if (c->candidate_count == CUT_CANDIDATES) {
        memmove(c->candidates, c->candidates + 1, sizeof c->candidates - sizeof c->candidates[0]);
        c->candidate_count--;
    }
    c->candidates[c->candidate_count].source_value = source_value;
    c->candidates[c->candidate_count].space = space;
    c->candidates[c->candidate_count].cols = cols;
    c->candidates[c->candidate_count++].why = why;
}

/* Operators that only a body has: when one is not expressed, cutting before it would be wrong. */
static bool belongs_to_body(const struct source *s, const struct source_node *n)
{
    static const char *const ops[] = {"Erf",
                                      "Tanh",
                                      "Sigmoid",
                                      "Relu",
                                      "Softplus",
                                      "HardSwish",
                                      "HardSigmoid",
                                      "Elu",
                                      "LeakyRelu",
                                      "PRelu",
                                      "Selu",
                                      "Celu",
                                      "Mish",
                                      "Swish",
                                      "Gelu",
                                      "LayerNormalization",
                                      "SimplifiedLayerNormalization",
                                      "RMSNormalization",
                                      "GroupNormalization",
                                      "InstanceNormalization",
                                      "BatchNormalization",
                                      "Attention",
                                      "MultiHeadAttention",
                                      "RotaryEmbedding",
                                      "Conv",
                                      "LSTM",
                                      "GRU",
                                      "RNN",
                                      "Loop",
                                      "Scan",
                                      "If"};

    if (*n->domain && strcmp(n->domain, "ai.onnx") != 0)
        return true;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
        if (strcmp(n->op, ops[i]) == 0)
            return true;
    return false;
}

/* Does what node `from` fails to make reach an attention (a softmax times something)? */
static bool reaches_attention(const struct source *s, const struct builder *b, int from)
{
    for (int i = from; i < s->node_count; i++) {
        const struct source_node *n = &s->nodes[i];

        if (strcmp(n->op, "MatMul") != 0 || n->in_count < 1 || n->in[0] < 0 ||
            build_failed_node(b, n->in[0]) != from)
            continue;
        for (int v = n->in[0], depth = 0; v >= 0 && depth < 6; depth++) {
            int made = s->values[v].node;

            if (made < 0)
                break;
            if (strcmp(s->nodes[made].op, "Softmax") == 0)
                return true;
            v = s->nodes[made].in_count ? s->nodes[made].in[s->nodes[made].in_count == 3 ? 2 : 0]
                                        : -1;
        }
    }
    return false;
}

/* A body that is not expressed completely is an error, not a shorter backbone. */
static int check_body(const struct source *s, const struct builder *b, struct err *e)
{
    int roots = 0;

    for (int i = 0; i < s->node_count; i++) {
        const struct source_node *n = &s->nodes[i];
        int v = n->out_count ? n->out[0] : -1;

        if (v < 0 || build_failed_node(b, v) != i)
            continue;
        if (++roots > ROOTS_MAX || belongs_to_body(s, n) || reaches_attention(s, b, i))
            return err_set(e, ERR_UNSUPPORTED, "%s", build_why(b, v));
    }
    return 0;
}

static int find(struct builder *b, const struct source *s, struct program *p, struct cut *c,
                struct err *e)
{
    struct err ignored = ERR_INIT;
    int rc = check_body(s, b, e), best = -1;

    if (rc < 0)
        return rc;
    for (int i = 0; i < s->output_count; i++) /* a norm may still wait to be needed */
        if (!build_why(b, s->outputs[i]))
            build_value(b, s->outputs[i], &ignored);
    for (int i = 0; i < s->node_count; i++)
        for (int k = 0; k < s->nodes[i].out_count; k++) {
            int sv = s->nodes[i].out[k], v = sv < 0 ? -1 : build_existing(b, sv), cols;
            const char *why = ends_backbone(p, v);
            enum space space;

            if (!why || !build_is_rows(b, sv, &space, &cols) || space != SPACE_TOKENS)
                continue;
            if (c->candidate_count &&
                build_existing(b, c->candidates[c->candidate_count - 1].source_value) == v)
                continue; /* the same value by another name */
            add_candidate(c, sv, space, cols, why);
            if (best < 0 || p->values[v].node > p->values[build_existing(b, best)].node)
                best = sv;
        }
    if (best < 0) {
        for (int i = 0; i < s->node_count; i++)
            if (s->nodes[i].out_count && s->nodes[i].out[0] >= 0 &&
                build_why(b, s->nodes[i].out[0]))
                return err_set(e, ERR_UNSUPPORTED,
                               "no place to cut the head was found; the first "
                               "thing not understood: %s",
                               build_why(b, s->nodes[i].out[0]));
        return err_set(e, ERR_UNSUPPORTED,
                       "no place to cut the head was found; name a tensor to "
                       "cut at");
    }
    c->source_value = best;
    c->why = is_residual_add(p, build_existing(b, best))
                 ? "found: the last residual sum, before pooler or classifier"
                 : "found: the last layer norm over a residual sum, before pooler or classifier";
    build_is_rows(b, best, &c->space, &c->cols);
    return 0;
}

int surgery_cut(struct builder *b, const struct source *s, struct program *p, const char *name,
                struct cut *out, struct err *e)
{
    struct err found = ERR_INIT;
    int rc, v;

    memset(out, 0, sizeof *out);
    rc = find(b, s, p, out, &found);
    if (!name) {
        if (rc < 0)
            *e = found;
        return rc;
    }
    out->source_value = source_find(s, name);
    if (out->source_value < 0)
        return err_set(e, ERR_CONFIG, "the model has no tensor '%.150s' to cut at", name);
    v = build_value(b, out->source_value, e);
    if (v < 0)
        return v;
    if (!build_is_rows(b, out->source_value, &out->space, &out->cols))
        return err_set(e, ERR_CONFIG,
                       "'%.150s' is neither [documents, tokens, columns] nor "
                       "[documents, columns]: it can't be cut at",
                       name);
    out->why = "named";
    return 0;
}
