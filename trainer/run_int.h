/*
 * Shared by run*.c: what a run holds while it goes.
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
    const struct run_spec *spec;      /* from run_open on &resolved */
    struct run_spec resolved;         /* the caller's, but for the parameters */
    struct job_parameters parameters; /* without `auto` where the documents decide */
    struct run_result *result;
    struct run_backbone files;
    struct engine *engine;
    struct tokenizer *tokenizer;
    struct tokens *train, *eval; /* eval NULL: nothing is held out */
    struct sampler *sampler;
    struct batch *batch;
    struct loss *loss;
    struct checkpoint *state;       /* what a checkpoint's head holds; owned */
    float *embeddings, *gradients;  /* (batch_max, dim) each, one block at embeddings */
    struct loss_rows rows;          /* the batch, as the loss sees it: into the next three */
    int32_t *labels, *texts;        /* (batch_max) each, one block at labels */
    double *scores;                 /* (batch_max / 2) */
    int32_t *text_numbers;          /* (N) of the training documents: equal ones, equal tokens */
    int64_t steps_per_epoch, steps; /* of the optimiser */
    int metric;                     /* the one that counts, in evaluate_numbers' order */
    bool best_wanted;               /* the best evaluation's weights are exported */
    int max_tokens;
    int64_t saved_ms; /* when the last checkpoint was written */
    char nonce[33];   /* where run_nonce makes one */
    int lock;         /* of the work folder; -1: not held */
    bool made_out, made_work;
};

/* Everything that must be there before the first step, but for the folders to write into.
 * run_release accepts a half-opened one. */
int run_open(struct run *r, struct err *e);
void run_release(struct run *r);
/* The backbone with the run's surgery, anew. The caller frees it. */
int run_engine(const struct run *r, bool train, struct engine **out, struct err *e);

/*
 * Checks and makes the folders `out` and `work`, once everything else is known to
 * be fine (r->state->identity is set). ERR_EXISTS: what is there is not ours.
 */
int run_out_open(struct run *r, struct err *e);
/* After a failure empty folders that the run made go again. */
void run_out_close(struct run *r, bool failed);
/* 32 hex digits by which the manifest names its writer. */
const char *run_nonce(struct run *r);

/* Makes the folder of the untrained model (`keep`), or removes an older one of it. */
int run_out_untrained(struct run *r, bool keep, struct err *e);

/* The next optimiser step: documents, and all of *event but its place in the run. */
int run_step(struct run *r, struct run_event *event, struct err *e);
/* Adds `scale` times a batch's gradients to the engine's: documents. */
int run_gradients(struct run *r, int64_t epoch, int64_t batch, double scale,
                  struct loss_stats *stats, struct err *e);
/* Takes a step's numbers into the curves, and warns. */
void run_watch(struct run *r, const struct run_event *step);

/* Are the evaluations that were asked for possible? */
int run_eval_open(struct run *r, struct err *e);
int run_eval_before(struct run *r, struct err *e);
void run_eval_recall(struct run *r); /* after a resume: what `before` had measured */
/* Behind each step: measures when it is due, keeps the best weights, sees when it is enough. */
int run_eval_step(struct run *r, struct err *e);
/* The model is now the one to export, and measured. */
int run_eval_after(struct run *r, struct err *e);

int run_export(struct run *r, struct err *e);

void run_tell(const struct run *r, const struct run_event *event);
void run_phase(const struct run *r, enum job_phase phase);
void run_warn(const struct run *r, const char *text);

#endif
