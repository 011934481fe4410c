/*
 * Jobs: what a user asks of the trainers. A message on jobs.<owner>, keyed by
 * run; accepted, it becomes the object job.json with `accepted` filled in. The
 * owner is the topic's, never the body's.
 *
 *                       .--------. resumed elsewhere
 *                       v        |
 *   CREATED --------> STARTED ---'-------> FINISHED
 *      |                 |  '------------> FAILED
 *      |                 '---------------> CANCELLED
 *      |---------------------------------> FAILED      (invalid, or never startable)
 *      '---------------------------------> CANCELLED
 *
 *   phases of STARTED: waiting, fetching, validating, training, evaluating, exporting, pushing
 *
 * CREATED: job.json exists. STARTED: an attempts/<n>.json exists. The other three: end.json says
 * so, and it alone. The table of transitions and the one function that applies it are in
 * trainer/job.c.
 */
#ifndef SCHEMAS_JOB_H
#define SCHEMAS_JOB_H

#include "platform/base/sha256.h"
#include "schemas/record.h"

enum job_kind { JOB_FIT, JOB_CANCEL };

enum job_state { JOB_CREATED, JOB_STARTED, JOB_FINISHED, JOB_FAILED, JOB_CANCELLED, JOB_STATES };
extern const char *const job_state_names[]; /* "CREATED", ...; NULL-terminated */

enum job_phase {
    PHASE_WAITING,
    PHASE_FETCHING,
    PHASE_VALIDATING,
    PHASE_TRAINING,
    PHASE_EVALUATING,
    PHASE_EXPORTING,
    PHASE_PUSHING,
    PHASES
};
extern const char *const job_phase_names[]; /* "waiting", ... */

enum job_schedule { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE };
enum job_optimizer { OPTIMIZER_ADAM, OPTIMIZER_ADAMW, OPTIMIZER_SGD };
enum job_loss {
    LOSS_TRIPLET,
    LOSS_CONTRASTIVE,
    LOSS_MULTI_SIMILARITY,
    LOSS_SUPCON,
    LOSS_NEGATIVES_RANKING,
    LOSS_BATCH_HARD,
    LOSS_BATCH_SEMIHARD,
    LOSS_COSENT,
    LOSS_AUTO /* as the documents are; a manifest says which it became */
};
enum job_miner {
    MINER_ALL,
    MINER_HARD,
    MINER_SEMIHARD,
    MINER_EASY,
    MINER_NONE,
    MINER_BATCH_HARD,
    MINER_EASY_POSITIVE,
    MINER_MULTI_SIMILARITY,
    MINER_BATCH_EASY_HARD,
    MINER_DEFAULT /* the loss's own */
};
enum job_strategy { STRATEGY_EASY, STRATEGY_SEMIHARD, STRATEGY_HARD, STRATEGY_ALL };
enum job_pooling { POOLING_MEAN, POOLING_MAX, POOLING_CLS, POOLING_GEM, POOLING_NONE };
enum job_eval { EVAL_MARKED, EVAL_STRATIFIED, EVAL_NONE };
enum job_export { EXPORT_AUTO, EXPORT_LAST, EXPORT_BEST };

/*
 * The one table of training parameters: `fit --local --set name=value`, jobs and
 * manifests use it, and its defaults are the project's.
 */
struct job_parameters {
    struct record_extra extra;
    int64_t epochs;
    int64_t batch_classes;   /* P */
    int64_t items_per_class; /* K */
    double learning_rate;
    int schedule;  /* enum job_schedule */
    double warmup; /* fraction of all steps */
    int optimizer; /* enum job_optimizer */
    double weight_decay;
    bool decay_norms;     /* biases and norms decay too */
    double layer_decay;   /* 1: every layer learns at learning_rate */
    double max_grad_norm; /* 0: not clipped */
    int64_t accumulate;   /* batches of an optimiser step */
    int64_t micro_batch;  /* documents in memory at once; 0: the whole batch */
    int loss;             /* enum job_loss */
    double margin;        /* 0: the loss's own */
    int miner;            /* enum job_miner */
    double miner_margin;  /* 0: as margin */
    int pos_strategy;     /* enum job_strategy, of the miner batch-easy-hard */
    int neg_strategy;
    bool swap;
    bool smooth;
    double temperature; /* 0: the loss's own */
    double alpha;       /* of multi-similarity, as the next two */
    double beta;
    double base;
    double epsilon;     /* of its miner */
    int pooling;        /* enum job_pooling */
    int64_t output_dim; /* 0: no projection */
    bool normalize;
    const char *freeze; /* "none", "embeddings", "layers:N", "head", "name:PATTERN" */
    int64_t max_length; /* tokens */
    int64_t seed;
    int64_t lanes;
    int eval; /* enum job_eval: which documents are held out */
    double eval_fraction;
    int64_t eval_k;
    int64_t eval_steps, eval_epochs; /* 0, 0: only before and after, or by epoch where needed */
    const char *best_metric;         /* "auto", or a metric's name */
    int64_t patience;                /* evaluations without a gain; 0: trains to the end */
    double min_delta;
    int export;               /* enum job_export */
    int64_t checkpoint_steps; /* 0: at the end of each epoch */
};
RECORD_DECLARE(job_parameters);

struct job_limits {
    struct record_extra extra;
    int64_t memory_bytes;
    int64_t time_seconds;
    int64_t threads; /* 0: what the worker offers */
};
RECORD_DECLARE(job_limits);

struct job_publish {
    struct record_extra extra;
    int64_t presign_seconds; /* 0: no https URLs */
    bool binary;             /* CloudEvents binary mode */
};
RECORD_DECLARE(job_publish);

struct job_gate {
    struct record_extra extra;
    const char *metric; /* "auto": the one by which the run was judged */
    double min_gain;    /* after - before must reach it */
};
RECORD_DECLARE(job_gate);

/* A docs partition's high watermark at acceptance: the snapshot waits for it. */
struct job_watermark {
    struct record_extra extra;
    int64_t partition;
    int64_t high;
};
RECORD_DECLARE(job_watermark);

/* Written by intake. */
struct job_accepted {
    struct record_extra extra;
    const char *request_sha256; /* of the job without `accepted`, canonical JSON */
    const char *nonce;
    int64_t time_ms;
    const struct job_watermark *watermarks;
    size_t watermark_count;
};
RECORD_DECLARE(job_accepted);

struct job {
    struct record_extra extra;
    int kind; /* enum job_kind; a cancel has a run and perhaps a reason */
    const char *run;
    const char *dataset;
    const char *model;
    const char *backbone;
    const char *backbone_sha256;             /* NULL: whatever is there; the manifest says which */
    const struct job_parameters *parameters; /* NULL: all defaults */
    int64_t priority;
    int64_t max_attempts;
    const struct job_limits *limits;   /* NULL: defaults */
    const struct job_publish *publish; /* NULL: defaults */
    const struct job_gate *gate;       /* NULL: no gate */
    const char *reason;                /* of a cancel */
    const struct job_accepted *accepted;
};
RECORD_DECLARE(job);

/*
 * A message of the jobs topic: key, when there, must equal `run`; `accepted`
 * is refused; parameters, limits and publish are filled in with their defaults.
 * `request_sha256` gets the hash that makes a duplicate.
 */
int job_admit(const void *key, size_t key_len, const void *value, size_t value_len, struct arena *a,
              struct job *out, char request_sha256[SHA256_HEX], struct err *e);

#endif
