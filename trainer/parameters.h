/*
 * What training parameters mean for a loss and a head, and whether they go together.
 * What they alone decide is asked where a job comes in (the command, the intake), so
 * that a run which can't start isn't begun. Pure functions; nothing is kept.
 */
#ifndef TRAINER_PARAMETERS_H
#define TRAINER_PARAMETERS_H

#include "platform/base/err.h"
#include "schemas/job.h"
#include "trainer/engine/engine.h"
#include "trainer/learn/loss.h"

/* ERR_CONFIG: an option of another loss, or one that needs held-out documents with eval = none;
 * ERR_UNSUPPORTED: a pooling that texts don't have. With the loss `auto` what one of the losses
 * that it may become takes is right. */
int parameters_check(const struct job_parameters *, struct err *e);

/* The loss and its miner; `auto` reads as that of labeled documents. */
void parameters_loss(const struct job_parameters *, struct loss_options *out);

/* ERR_UNSUPPORTED: none. */
int parameters_pool(const struct job_parameters *, enum pool *out, struct err *e);

/* The parameter that is for nothing without held-out documents; NULL: none. */
const char *parameters_need_eval(const struct job_parameters *);

#endif
