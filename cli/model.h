/*
 * A model opened for encoding: an artifact, or a backbone as it is (masked
 * mean, normalised). What eval and encode share.
 */
#ifndef CLI_MODEL_H
#define CLI_MODEL_H

#include <stdbool.h>

#include "platform/base/err.h"
#include "trainer/data/dataset.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/tokens.h"
#include "trainer/engine/engine.h"

struct model {
    struct engine *engine;
    struct tokenizer *tokenizer;
    int max_tokens;
};

/* threads 0: the machine's; max_length 0: what the model says. */
int model_open(struct model *m, const char *path, int threads, int max_length, struct err *e);
void model_release(struct model *m); /* accepts a zeroed one */

/* Embeddings (N, dim) of a dataset's texts; the caller frees. *seconds: of encoding, with
 * tokenising. */
int model_encode(struct model *m, const struct dataset *d, float **out, double *seconds,
                 struct err *e);

#endif
