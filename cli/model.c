#include "cli/model.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "platform/base/file.h"
#include "schemas/run.h"
#include "trainer/evaluate.h"
#include "trainer/run.h"

#define MANIFEST_MAX    ((size_t)4 << 20)
#define BACKBONE_TOKENS 256 /* of a text, when nothing says how many */

/* 1: the folder is an artifact and *out is its manifest; 0: it has none. */
static int read_manifest(const char *folder, struct arena *a, struct run_manifest *out,
                         struct err *e)
{
    char path[PATH_MAX];
    struct buf b;
    int rc;

    if (snprintf(path, sizeof path, "%s/manifest.json", folder) >= (int)sizeof path)
        return err_set(e, ERR_IO, "%s: the path is too long", folder);
    buf_init(&b, MANIFEST_MAX);
    rc = file_read(path, &b, e);
    if (rc == 0 && (rc = run_manifest_read(a, b.data, b.len, RECORD_JSON, out, e)) < 0)
        err_wrap(e, "%s", path);
    buf_release(&b);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

/*
 * An artifact has its pooling inside its graph; without a projection it is cut
 * before that and pooled as the manifest says, which packs best.
 */
static int artifact_surgery(const struct run_manifest *m, struct surgery *s, struct err *e)
{
    int rc;

    if (!m->parameters)
        return err_set(e, ERR_FORMAT, "manifest.json: parameters: missing");
    if ((rc = run_surgery(m->parameters, s, e)) < 0)
        return rc;
    s->freeze = NULL;
    s->freeze_layers = 0;
    s->cut = "token_embeddings";
    if (s->output_dim > 0) {
        s->cut = "sentence_embedding";
        s->output_dim = 0;
        s->normalize = false;
        s->pool = POOL_NONE;
    }
    return 0;
}

static int open_with(struct model *m, const struct run_backbone *files, int threads,
                     struct arena *a, int *max_length, struct err *e)
{
    struct engine_options options = {.threads = threads};
    struct run_manifest manifest;
    struct surgery surgery;
    int rc = read_manifest(files->folder, a, &manifest, e);

    if (rc < 0)
        return rc;
    surgery_init(&surgery);
    if (rc == 1) {
        if (*max_length == 0)
            *max_length = (int)manifest.max_length;
        if ((rc = artifact_surgery(&manifest, &surgery, e)) < 0)
            return rc;
    }
    return engine_open(&m->engine, files->model, &surgery, &options, e);
}

int model_open(struct model *m, const char *path, int threads, int max_length, struct err *e)
{
    struct run_backbone files;
    struct arena a;
    int rc;

    memset(m, 0, sizeof *m);
    arena_init(&a, (size_t)64 << 20);
    if ((rc = run_backbone_find(path, &files, e)) < 0 ||
        (rc = open_with(m, &files, threads, &a, &max_length, e)) < 0 ||
        (rc = run_tokenizer(&m->tokenizer, &files, m->engine, e)) < 0) {
        model_release(m);
        goto done;
    }
    m->max_tokens = max_length ? max_length : BACKBONE_TOKENS;
    if (engine_info(m->engine)->max_tokens > 0 &&
        engine_info(m->engine)->max_tokens < m->max_tokens)
        m->max_tokens = engine_info(m->engine)->max_tokens;
done:
    arena_release(&a);
    return rc;
}

void model_release(struct model *m)
{
    tokenizer_free(m->tokenizer);
    engine_free(m->engine);
    memset(m, 0, sizeof *m);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int model_encode(struct model *m, const struct dataset *d, float **out, double *seconds,
                 struct err *e)
{
    int dim = engine_info(m->engine)->dim, rc;
    struct tokens *tokens = NULL;
    double began = now();

    *out = NULL;
    if ((rc = tokens_build(&tokens, d, m->tokenizer, m->max_tokens, e)) < 0)
        return rc;
    *out = malloc(((size_t)tokens->count * (size_t)dim + 1) * sizeof **out);
    if (!*out)
        rc = err_set(e, ERR_NOMEM, "embeddings of %d documents", tokens->count);
    if (rc == 0)
        rc = evaluate_encode(m->engine, tokens, *out, NULL, NULL, e);
    *seconds = now() - began;
    tokens_free(tokens);
    if (rc < 0) {
        free(*out);
        *out = NULL;
    }
    return rc;
}
