/* Blocks as a person would count them, and names as a person would say them. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "trainer/engine/graph/program.h"

/* Where the residual stream is written: the end of half a block. */
static bool is_residual(const struct program *p, const struct node *n)
{
    if (n->op == OP_LAYER_NORM)
        return n->in_count == 4;
    return n->op == OP_ADD && p->values[n->in[0]].space != SPACE_FIXED &&
           p->values[n->in[1]].space != SPACE_FIXED;
}

/* Block j holds an attention and begins behind the last residual before it. */
static void node_blocks(struct program *p)
{
    int residual = -1;

    p->blocks = 0;
    for (int i = 0; i < p->node_count; i++) {
        p->nodes[i].block = p->blocks - 1;
        if (p->nodes[i].op == OP_ATTENTION) {
            for (int k = residual + 1; k <= i; k++)
                p->nodes[k].block = p->blocks;
            p->blocks++;
        }
        if (is_residual(p, &p->nodes[i]))
            residual = i;
    }
    for (int i = 0; i < p->node_count; i++)
        if (p->nodes[i].source < 0)
            p->nodes[i].block = p->blocks; /* ours, behind the last block */
}

void program_blocks(struct program *p)
{
    node_blocks(p);
    for (int i = 0; i < p->param_count; i++)
        p->params[i].block = BLOCK_NONE;
    for (int i = 0; i < p->node_count; i++)
        for (int k = 0; k < p->nodes[i].in_count; k++) {
            int v = p->nodes[i].in[k], param = v < 0 ? -1 : p->values[v].param;

            if (param >= 0 && p->params[param].block < p->nodes[i].block)
                p->params[param].block = p->nodes[i].block;
        }
}

static bool is_anonymous(const char *name)
{
    static const char *const starts[] = {"onnx::", "val_", "_val_", "/", "Constant", "initializer"};

    if (!*name || isdigit((unsigned char)*name))
        return true;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

static bool taken(const struct program *p, const char *name)
{
    for (int i = 0; i < p->param_count; i++)
        if (strcmp(p->params[i].name, name) == 0)
            return true;
    return false;
}

/* "/encoder/layer.0/query/MatMul" and "weight" give "encoder.layer.0.query.weight". */
static const char *scope_name(struct program *p, const struct source_node *n, const char *role)
{
    const char *from = n->name[0] == '/' ? n->name + 1 : n->name, *end = strrchr(from, '/');
    char text[300];
    size_t len = end ? (size_t)(end - from) : strlen(from);

    snprintf(text, sizeof text, "%.*s.%s", (int)(len < 250 ? len : 250), from, role);
    for (char *c = text; *c; c++)
        if (*c == '/')
            *c = '.';
    for (int i = 2; taken(p, text) && i < 1000; i++)
        snprintf(text, sizeof text, "%.*s.%s%d", (int)(len < 250 ? len : 250), from, role, i);
    return arena_strndup(p->arena, text, strlen(text));
}

static const char *role_of(const struct node *n, int input)
{
    if (n->op == OP_LINEAR)
        return input == 2 ? "bias" : "weight";
    if (n->op == OP_LAYER_NORM)
        return input == 2 ? "bias" : "weight";
    return n->op == OP_ADD ? "bias" : "weight";
}

int program_names(struct program *p, const struct source *s, struct err *e)
{
    for (int i = 0; i < p->param_count; i++)
        p->params[i].decays = p->params[i].rank > 1; /* biases and norms have one axis */
    for (int i = 0; i < p->node_count; i++) {
        const struct node *n = &p->nodes[i];

        for (int k = 0; k < n->in_count; k++) {
            int v = n->in[k];
            struct param *q =
                v < 0 || p->values[v].param < 0 ? NULL : &p->params[p->values[v].param];

            if (!q || q->initializer < 0 || n->source < 0 || !is_anonymous(q->name))
                continue;
            q->name = scope_name(p, &s->nodes[n->source], role_of(n, k));
            if (!q->name)
                return err_set(e, ERR_NOMEM, "naming parameters");
        }
    }
    return 0;
}
