#include "trainer/engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "platform/base/sha256.h"
#include "trainer/engine/engine_int.h"
#include "trainer/engine/onnx/read.h"
#include "trainer/engine/onnx/write.h"

#define ENGINE_VERSION "1" /* of the numbers: changes when equal input may give other bits */
#define PROGRAM_MAX    ((size_t)256 << 20)

/* Copies the texts of the caller's surgery. */
static int keep_surgery(struct engine *g, const struct surgery *s, struct err *e)
{
    g->surgery = *s;
    if (s->cut)
        g->surgery.cut = arena_strndup(&g->arena, s->cut, strlen(s->cut));
    if (s->freeze)
        g->surgery.freeze = arena_strndup(&g->arena, s->freeze, strlen(s->freeze));
    if ((s->cut && !g->surgery.cut) || (s->freeze && !g->surgery.freeze))
        return err_set(e, ERR_NOMEM, "opening a model");
    return 0;
}

/* What was not understood (behind the cut, else it would have been an error): for inspect. */
static void keep_left_out(struct engine *g, const struct builder *b)
{
    int n = 0;

    for (int i = 0; i < g->source->node_count && n < 7; i++) {
        const struct source_node *node = &g->source->nodes[i];
        int v = node->out_count ? node->out[0] : -1;

        if (v >= 0 && build_failed_node(b, v) == i) {
            const char *why = build_why(b, v);

            g->left_out[n] = arena_strndup(&g->arena, why, strlen(why));
            n += g->left_out[n] != NULL;
        }
    }
}

static int compile(struct engine *g, struct err *e)
{
    struct builder *b = NULL;
    int rc, v;

    if ((rc = build_program(&b, g->source, &g->program, e)) < 0)
        return rc;
    g->inputs = *build_inputs(b);
    if ((rc = surgery_cut(b, g->source, &g->program, g->surgery.cut, &g->cut, e)) < 0)
        goto done;
    keep_left_out(g, b);
    v = rc = build_value(b, g->cut.source_value, e);
    if (rc < 0 || (rc = surgery_tail(&g->program, &g->surgery, v, e)) < 0)
        goto done;
    program_fuse(&g->program);
    program_blocks(&g->program);
    if ((rc = program_names(&g->program, g->source, e)) < 0)
        goto done;
    rc = surgery_freeze(&g->program, &g->surgery, e);
done:
    build_free(b);
    return rc < 0 ? rc : 0;
}

int engine_compile(struct engine *g, const char *path, const struct surgery *s, struct err *e)
{
    int rc;

    arena_init(&g->arena, PROGRAM_MAX);
    program_init(&g->program, &g->arena);
    if ((rc = keep_surgery(g, s, e)) < 0 || (rc = onnx_read(&g->source, path, e)) < 0)
        return rc;
    rc = compile(g, e);
    return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

static void count_limits(struct engine *g, const struct node *n)
{
    const struct program *p = &g->program;
    const struct value *w = &p->values[n->in[n->op == OP_LINEAR ? 1 : 0]];
    struct engine_info *i = &g->info;
    int positions;

    if (n->op == OP_ATTENTION)
        i->heads = n->attrs.heads;
    if (n->op == OP_LINEAR && n->block >= 0 && n->block < p->blocks &&
        p->values[n->out].cols > i->inner)
        i->inner = p->values[n->out].cols;
    if (n->op != OP_EMBED)
        return;
    if (n->attrs.ids == IDS_TOKEN)
        i->vocabulary = w->rows;
    positions = n->attrs.ids == IDS_POSITION ? w->rows - n->attrs.ids_shift : 0;
    if (positions && (!i->max_tokens || positions < i->max_tokens))
        i->max_tokens = positions;
}

void engine_fill_info(struct engine *g)
{
    const struct program *p = &g->program;
    struct engine_info *i = &g->info;

    i->dim = p->values[p->output].cols;
    i->hidden = p->values[p->cut].cols;
    i->layers = p->blocks;
    i->wants_types = g->inputs.types >= 0;
    i->cut = g->source->values[g->cut.source_value].name;
    i->fingerprint = g->fingerprint;
    for (int k = 0; k < p->node_count; k++)
        count_limits(g, &p->nodes[k]);
    for (int k = 0; k < p->param_count; k++) {
        const struct param *q = &p->params[k];

        if (q->used && !q->buffer)
            i->parameters += q->count;
        if (q->used && q->trainable)
            i->trainable += q->count;
    }
}

static int start(struct engine *g, const struct engine_options *o, struct err *e)
{
    struct backend_options bo = {.threads = o->threads, .isa = o->isa};
    int lanes = o->lanes ? o->lanes : 2, rc;

    if (o->train && g->info.trainable == 0)
        return err_set(e, ERR_CONFIG, "everything is frozen: nothing is left to train");
    rc = backend_open(&g->backend, o->backend ? o->backend : "cpu", &bo, e);
    if (rc < 0)
        return rc;
    snprintf(g->fingerprint, sizeof g->fingerprint, "engine-" ENGINE_VERSION "/%s/lanes-%d",
             backend_fingerprint(g->backend), lanes);
    rc = params_init(&g->params, &g->program, g->source, g->backend, o->train, e);
    if (rc < 0)
        return rc;
    onnx_rest(g->source);
    return exec_init(&g->exec, g->source, &g->program, &g->params, g->backend, lanes, o->train, e);
}

int engine_open(struct engine **out, const char *path, const struct surgery *s,
                const struct engine_options *o, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    int rc;

    if (!g)
        return err_set(e, ERR_NOMEM, "opening a model");
    g->options = *o;
    if ((rc = engine_compile(g, path, s, e)) < 0)
        goto fail;
    engine_fill_info(g);
    if ((rc = start(g, o, e)) < 0)
        goto fail;
    *out = g;
    return 0;
fail:
    engine_free(g);
    return rc;
}

int engine_check(const char *path, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    struct surgery s;
    int rc;

    if (!g)
        return err_set(e, ERR_NOMEM, "opening a model");
    surgery_init(&s);
    rc = engine_compile(g, path, &s, e);
    engine_free(g);
    return rc;
}

void engine_free(struct engine *g)
{
    if (!g)
        return;
    if (g->exec.program)
        exec_release(&g->exec);
    if (g->kept)
        g->backend->ops->release(g->backend, g->kept);
    if (g->params.backend)
        params_release(&g->params);
    backend_free(g->backend);
    program_release(&g->program);
    onnx_free(g->source);
    arena_release(&g->arena);
    free(g);
}

const struct engine_info *engine_info(const struct engine *g)
{
    return &g->info;
}

struct backend *engine_backend(struct engine *g)
{
    return g->backend;
}

int engine_encode(struct engine *g, const struct token_batch *b, float *out, struct err *e)
{
    struct exec_batch batch = {b->count, b->offsets, b->ids, b->types};

    return exec_forward(&g->exec, &batch, out, false, e);
}

int engine_forward(struct engine *g, const struct token_batch *b, float *out, struct err *e)
{
    struct exec_batch batch = {b->count, b->offsets, b->ids, b->types};

    return exec_forward(&g->exec, &batch, out, true, e);
}

int engine_backward(struct engine *g, const float *d_out, struct err *e)
{
    return exec_backward(&g->exec, d_out, e);
}

double engine_gradient_norm(struct engine *g)
{
    return params_gradient_norm(&g->params);
}

int engine_step(struct engine *g, const struct engine_step *s, double *norm, struct err *e)
{
    struct params_step step = {s->optim, s->lr, s->decay, s->decay_all, s->layer_decay, s->clip};
    double before;

    if (!g->options.train)
        return err_set(e, ERR_USAGE, "the engine was opened without training");
    before = params_apply(&g->params, &step);
    if (norm)
        *norm = before;
    return 0;
}

int engine_export(struct engine *g, const char *path, struct err *e)
{
    struct onnx_write w = {g->source,           &g->program,     &g->inputs, &g->surgery,
                           g->cut.source_value, g->params.param, g->backend};

    return onnx_write(&w, path, e);
}

/* What a stream must agree in: names, shapes and order of everything that trains. */
void engine_identity(const struct engine *g, char hex[65])
{
    unsigned char digest[SHA256_SIZE];
    struct sha256 h;

    sha256_init(&h);
    for (int i = 0; i < g->program.param_count; i++) {
        const struct param *q = &g->program.params[i];
        uint64_t at[2] = {q->at, q->count};

        if (!q->used || !q->trainable)
            continue;
        sha256_add(&h, q->name, strlen(q->name) + 1);
        sha256_add(&h, at, sizeof at);
    }
    sha256_end(&h, digest);
    sha256_hex(digest, hex);
}

static const float *own_param(const struct engine *g, const char *name)
{
    const struct program *p = &g->program;
    int i;

    for (i = 0; i < p->param_count; i++)
        if (p->params[i].initializer < 0 && strcmp(p->params[i].name, name) == 0)
            return g->params.param + p->params[i].at;
    return NULL;
}

bool engine_projection(const struct engine *g, const float **weight, const float **bias)
{
    *weight = own_param(g, "projection.weight");
    *bias = own_param(g, "projection.bias");
    return *weight && *bias;
}
