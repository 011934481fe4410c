/*
 * Shared by run.c and run_open.c: what a run holds while it goes.
 */
#ifndef TRAINER_RUN_INT_H
#define TRAINER_RUN_INT_H

#include "trainer/checkpoint.h"
#include "trainer/data/batch.h"
#include "trainer/data/sampler.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/tokens.h"
#include "trainer/learn/loss.h"
#include "trainer/run.h"

struct run {
    const struct run_spec *spec;
    struct run_result *result;
    struct run_backbone files;
    struct engine *engine;
    struct tokenizer *tokenizer;
    struct tokens *train, *eval; /* eval NULL: nothing is held out */
    struct sampler *sampler;
    struct batch *batch;
    struct loss *loss;
    struct checkpoint *state;      /* what a checkpoint's head holds; owned */
    float *embeddings, *gradients; /* (batch_max, dim) each, one block at embeddings */
    int32_t *labels;               /* (batch_max) of the batch */
    int64_t steps_per_epoch, steps;
    int max_tokens;
    int64_t saved_ms; /* when the last checkpoint was written */
};

/* Everything that must be there before the first step. run_release accepts a half-opened one. */
int run_open(struct run *r, struct err *e);
void run_release(struct run *r);

void run_tell(const struct run *r, const struct run_event *event);

#endif
