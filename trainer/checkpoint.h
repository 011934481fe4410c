/*
 * Checkpoints of a run: everything that the next step depends on, in one file
 * that is either whole or not there.
 *
 *   magic "TRIPCKPT" | u32 version | u32 head bytes | head | engine state | SHA-256 of all before,
 * in hex
 *
 * The head names the run's identity (hash of parameters, data and backbone), the
 * numeric fingerprint, the step, and the evaluation's memory. A file is verified
 * in full before a byte of it is believed. Integers are little-endian.
 */
#ifndef TRAINER_CHECKPOINT_H
#define TRAINER_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/base/err.h"
#include "platform/base/sha256.h"
#include "trainer/engine/engine.h"

#define CHECKPOINT_NAME        "step-%09lld.ckpt"
#define CHECKPOINT_HISTORY_MAX 4096
#define CHECKPOINT_EVALS_MAX   1024
enum { CHECKPOINT_NUMBERS = 16 };

/* What a step said: a point of the curves. */
struct checkpoint_point {
    int64_t step;
    double loss;
    double active;             /* share of triplets with a loss */
    double positive, negative; /* mean distances */
    double similarity;         /* mean cosine of all pairs of a batch */
    double gradient_norm;
};

/* An evaluation while training or after it, by the metric that counts. */
struct checkpoint_eval {
    int64_t step;
    double value;
};

struct checkpoint {
    char identity[SHA256_HEX];         /* of the run: same parameters, same data, same backbone */
    char fingerprint[160];             /* numeric: equal ones give equal bytes */
    bool exact;                        /* false once a resume went on under another fingerprint */
    int64_t step;                      /* optimiser steps done */
    double loss;                       /* of the last of them */
    double before[CHECKPOINT_NUMBERS]; /* evaluate_pack of the untrained model */
    double best[CHECKPOINT_NUMBERS];   /* and of the best evaluation since */
    double best_value;                 /* of the metric that counts */
    int64_t best_step;                 /* 0: none yet */
    int64_t stale;                     /* evaluations in a row without a gain */
    bool early;                        /* these were too many: training is over */
    int64_t collapsed, idle;           /* steps in a row that looked so, see run_watch.c */
    int point_count, eval_count;
    struct checkpoint_point points[CHECKPOINT_HISTORY_MAX];
    struct checkpoint_eval evals[CHECKPOINT_EVALS_MAX];
};

/*
 * Writes folder/step-<step>.ckpt. Of this identity's checkpoints the newest `keep` up to this
 * step stay; later ones (damaged: else they had been resumed from) go too. Other runs'
 * files are left alone.
 */
int checkpoint_write(const char *folder, const struct checkpoint *, struct engine *, int keep,
                     struct err *e);

/*
 * Reads the newest checkpoint of `folder` that is whole and of this identity into
 * *out and the engine. 1: resumed; 0: there is none. Damaged files are passed
 * over; ERR_CONFIG: one of the same identity but of another fingerprint
 * while `exact_only`.
 */
int checkpoint_resume(const char *folder, const char *identity, const char *fingerprint,
                      bool exact_only, struct checkpoint *out, struct engine *, struct err *e);

/* 0 when the file is a whole checkpoint; its head comes back in *out. */
int checkpoint_verify(const char *path, struct checkpoint *out, struct err *e);

#endif
