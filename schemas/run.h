/*
 * The objects of a run besides job.json and snapshot.json: attempts/<n>.json,
 * attempts/<n>/manifest.json, end.json, and the message on `done`.
 */
#ifndef SCHEMAS_RUN_H
#define SCHEMAS_RUN_H

#include "schemas/job.h"
#include "schemas/record.h"

/* The checkpoint that an attempt continues from. */
struct run_resume {
    struct record_extra extra;
    int64_t attempt, step;
    const char *key, *sha256;
};
RECORD_DECLARE(run_resume);

/* attempts/<n>.json, conditionally created: n is the fencing token. */
struct run_attempt {
    struct record_extra extra;
    const char *owner, *run;
    int64_t n;
    const char *worker, *nonce;
    int64_t created_ms;
    const struct run_resume *resumed_from; /* NULL: from the start */
};
RECORD_DECLARE(run_attempt);

struct run_file_entry {
    struct record_extra extra;
    const char *path; /* below attempts/<n>/ */
    int64_t size;
    const char *sha256;
};
RECORD_DECLARE(run_file_entry);

struct run_manifest {
    struct record_extra extra;
    const char *owner, *run;
    int64_t attempt;
    const char *model, *dataset;
    int64_t created_ms;
    const char *nonce;
    const struct run_file_entry *files;
    size_t file_count;
    const char *snapshot_sha256; /* of the object snapshot.json; NULL: local files */
    const char *backbone, *backbone_sha256;
    const struct job_parameters *parameters;
    const struct record_number *before, *after; /* metrics on held-out documents */
    size_t before_count, after_count;
    const char *fingerprint;            /* numeric: equal ones give equal bytes */
    bool exact;                         /* false: resumed under another fingerprint */
    const struct record_text *versions; /* "tripline", "onednn", ... */
    size_t version_count;
    int64_t dimension;
    const char *metric;   /* "cosine" */
    const char *modality; /* "text" */
    int64_t max_length;
    bool normalized;
    int64_t steps, train_documents, eval_documents, labels;
    double loss; /* of the last step */
    double seconds;
    const char *judged_by; /* the metric of best and worse; NULL: nothing was measured */
    int64_t exported_step; /* whose weights the model has */
    bool stopped_early;    /* by `patience` */
    bool worse;            /* judged_by fell from before to after */
};
RECORD_DECLARE(run_manifest);

/* end.json: the only terminal record, conditionally created. */
struct run_end {
    struct record_extra extra;
    const char *owner, *run;
    int state;                   /* JOB_FINISHED, JOB_FAILED or JOB_CANCELLED */
    int64_t attempt;             /* 0: none was begun */
    const char *manifest_sha256; /* FINISHED only */
    const char *reason;          /* FAILED, CANCELLED; of FINISHED: that it got worse */
    const char *nonce;
    int64_t time_ms;
};
RECORD_DECLARE(run_end);

/* The message on `done`, key <owner>/<run>; sent at least once. */
struct run_done {
    struct record_extra extra;
    const char *owner, *run;
    int state;
    int64_t attempt;
    const char *model;
    const char *manifest_sha256;
    int64_t time_ms;
};
RECORD_DECLARE(run_done);

#endif
