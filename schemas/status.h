/*
 * A run's live status, a hash in Redis (record_each_text, record_set) and the
 * JSON of `tripline status --json`. A hint for people: end.json and attempts
 * decide.
 */
#ifndef SCHEMAS_STATUS_H
#define SCHEMAS_STATUS_H

#include "schemas/job.h"
#include "schemas/record.h"

struct run_status {
    struct record_extra extra;
    const char *owner, *run;
    const char *model, *dataset;
    int state; /* enum job_state */
    int phase; /* enum job_phase */
    int64_t attempt, epoch, epochs, step, steps;
    double loss, docs_per_s; /* NaN: none yet */
    const struct record_number *metrics;
    size_t metric_count;
    const char *worker;
    int64_t created_ms, updated_ms;
    const char *message;
};
RECORD_DECLARE(run_status);

#endif
