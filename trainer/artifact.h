/*
 * The artifact: a folder in the layout that Hugging Face and sentence-transformers
 * users know, complete only once its manifest.json is there (written last).
 *
 *   onnx/model.onnx                       pooling and normalisation inside the graph
 *   tokenizer.json, tokenizer_config.json, config.json
 *   modules.json, sentence_bert_config.json, config_sentence_transformers.json,
 *   1_Pooling/, 2_Dense/                  so that SentenceTransformer(folder, backend="onnx") gives
 *                                         the same vectors (not for pooling gem: it has none there;
 *                                         2_Dense only with a projection)
 *   golden.json                           texts with their vectors: verify before you serve
 *   metrics.json, report.html             before and after, for programs and for people
 *   manifest.json                         sizes, hashes, parameters, lineage
 */
#ifndef TRAINER_ARTIFACT_H
#define TRAINER_ARTIFACT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "platform/base/err.h"
#include "platform/base/sha256.h"
#include "schemas/run.h"
#include "trainer/checkpoint.h"
#include "trainer/engine/engine.h"

#define ARTIFACT_TOLERANCE 1e-4 /* golden vectors: largest difference of a component */

struct artifact_golden {
    const char *text;
    size_t len;
    const float *vector; /* (dim) */
};

struct artifact {
    const char *folder;          /* exists */
    const char *backbone_folder; /* config.json is copied from here when it is there */
    const char *tokenizer;       /* path of tokenizer.json */
    struct engine *engine;
    const struct artifact_golden *golden;
    size_t golden_count;
    const struct checkpoint *history; /* curves and evaluations; NULL: it was not trained */
    struct run_manifest *manifest;    /* all but `files`, which is filled in here */
};

/*
 * Removes what an older artifact left, then writes every file, manifest.json last; its
 * SHA-256 comes back. An error leaves nothing of it.
 */
int artifact_write(const struct artifact *, char manifest_sha256[SHA256_HEX], struct err *e);

/* Removes an artifact, also a half-written one, manifest.json first; other files stay. */
int artifact_clear(const char *folder, struct err *e);

/* 1: the folder holds something that is no part of an artifact nor named `except`, and `name` is
 * it; 0: nothing. */
int artifact_foreign(const char *folder, const char *except, char name[NAME_MAX + 1],
                     struct err *e);

/* golden.json read back: the caller encodes the texts and compares. Free by artifact_golden_free.
 */
struct artifact_golden_set {
    int dim, count;
    double tolerance;
    char **texts;
    float *vectors; /* (count, dim) */
};
int artifact_golden_read(const char *folder, struct artifact_golden_set *out, struct err *e);
void artifact_golden_free(struct artifact_golden_set *set);

#endif
