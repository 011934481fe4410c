/*
 * Learning rate schedules: a factor for each optimiser step, as transformers'
 * get_constant_schedule_with_warmup, get_linear_schedule_with_warmup and
 * get_cosine_schedule_with_warmup; and the names of schedules and optimisers.
 * Pure; any thread.
 */
#ifndef TRAINER_LEARN_SCHEDULE_H
#define TRAINER_LEARN_SCHEDULE_H

#include <stdint.h>

#include "trainer/engine/backend/backend.h"

enum schedule { SCHEDULE_IS_CONSTANT, SCHEDULE_IS_LINEAR, SCHEDULE_IS_COSINE, SCHEDULE_KINDS };

/* Step 0 is the first of `total`; the first `warmup` steps rise from 0 to 1. */
double schedule_factor(enum schedule kind, int64_t step, int64_t warmup, int64_t total);

const char *schedule_name(enum schedule kind);             /* "constant", "linear", "cosine" */
int schedule_parse(const char *text, enum schedule *kind); /* 0 or -1 */
const char *optim_name(enum optim_kind kind);              /* "adamw", "adam", "sgd" */
int optim_parse(const char *text, enum optim_kind *kind);  /* 0 or -1 */

#endif
