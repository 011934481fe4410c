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

/* A point of the loss curve. */
struct checkpoint_point {
    int64_t step;
    double loss;
};

struct checkpoint {
    char identity[SHA256_HEX]; /* of the run: same parameters, same data, same backbone */
    char fingerprint[160];     /* numeric: equal ones give equal bytes */
    bool exact;                /* false once a resume went on under another fingerprint */
    int64_t step;              /* optimiser steps done */
    double loss;               /* of the last of them */
    double before[8]; /* metrics of the untrained model in evaluate_numbers' order, then queries */
    int point_count;
    struct checkpoint_point points[CHECKPOINT_HISTORY_MAX];
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
