/*
 * `tripline fit` has two halves behind one set of options: --local trains here
 * and now, without it a job message is sent to the trainers.
 */
#ifndef CLI_CMD_FIT_H
#define CLI_CMD_FIT_H

#include <stdint.h>

#include "cli/client.h"
#include "platform/base/arena.h"
#include "schemas/job.h"

enum { FIT_NO_PRIORITY = -1000 };

struct fit_options {
    bool local, json, resume_any, force, check_determinism, profile;
    const char *train, *eval, *model, *out; /* --local */
    const char *work;
    int64_t epochs, seed, threads; /* -1: not given */
    struct option_list set;        /* name=value of job_parameters */
    int columns;                   /* enum csv_kind, of train and eval */
    /* on the servers; model is the model's name then */
    struct client_options client;
    const char *dataset, *backbone, *name, *pull;
    bool follow;
    int64_t priority; /* FIT_NO_PRIORITY: not given */
    int64_t presign;  /* -1: not given */
    double min_gain;  /* -1: not given */
};

/* --epochs, --seed and --set over the defaults. ERR_USAGE names the setting and what it takes. */
int fit_parameters(const struct fit_options *o, struct arena *a, struct job_parameters *out,
                   struct err *e);

/* 0, an error, or CLI_WORSE. */
int fit_local(const struct fit_options *o, struct err *e);

/* 0, an error, CLI_RUN_FAILED or CLI_WORSE. */
int fit_remote(const struct fit_options *o, struct err *e);

#endif
