/*
 * One fine-tuning, from documents to an artifact folder: tokenise, evaluate,
 * train with checkpoints, evaluate again, export. The same function serves
 * `tripline fit --local` and a trainer's child; it reaches the world through
 * folders, the clock and one callback. It runs on the caller's thread (the
 * engine uses threads inside) and prints nothing.
 *
 * The same spec again after a kill continues from the newest whole checkpoint
 * of `work`; at an equal numeric fingerprint the result is the same bytes.
 */
#ifndef TRAINER_RUN_H
#define TRAINER_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/base/err.h"
#include "schemas/job.h"
#include "trainer/data/dataset.h"
#include "trainer/data/metrics.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/engine.h"

struct clock;

enum run_event_kind {
    RUN_PHASE,      /* phase */
    RUN_STEP,       /* epoch, step, loss, ...: one optimiser step is done */
    RUN_EVAL,       /* metrics, metric, value, step, when: "before", "training", "after" */
    RUN_CHECKPOINT, /* path: a whole checkpoint, now on disk */
    RUN_RESUMED,    /* step: continues from there */
    RUN_WARNING,    /* text */
    RUN_WORSE       /* text, metric, value: by how much; the last event of the run */
};

struct run_event {
    enum run_event_kind kind;
    enum job_phase phase;
    int64_t epoch, epochs; /* 1, 2, ... */
    int64_t step, steps;
    double loss, learning_rate, docs_per_s;
    double active;             /* share of triplets with a loss */
    double positive, negative; /* mean distances */
    double similarity;         /* mean cosine of all pairs: near 1, the embeddings collapse */
    double gradient_norm;      /* before clipping */
    const char *when;
    const struct retrieval *metrics;
    const char *metric; /* the one that counts */
    double value;       /* of it */
    const char *path;
    const char *text;
};
typedef void (*run_event_fn)(void *arg, const struct run_event *);

/* Who the manifest says this run is; all borrowed. NULL members become "local" or are left out. */
struct run_identity {
    const char *owner, *run, *model, *dataset;
    int64_t attempt; /* 0: 1 */
    const char *nonce, *snapshot_sha256, *backbone;
};

struct run_spec {
    const char *backbone;  /* a folder (onnx/model.onnx or model.onnx, tokenizer.json) or a
                              model.onnx beside its tokenizer.json */
    const char *out;       /* the artifact's folder: made, or of an earlier try of this run */
    const char *work;      /* folder for checkpoints: made */
    const char *untrained; /* where the untrained model goes when training has made things worse:
                              made, else an older one there is removed; NULL: it is not kept */
    const struct dataset *train;
    const struct dataset *eval; /* NULL or empty: nothing is measured */
    const struct job_parameters *parameters;
    struct run_identity identity;
    const char *backend; /* NULL: "cpu" */
    int threads;         /* 0: the machine's */
    bool keep_finished;  /* refuse an `out` with another run's artifact, or with other files */
    bool resume_any;     /* go on from a checkpoint of another fingerprint (then exact is false) */
    int keep;            /* checkpoints to keep; 0: 2 */
    int64_t checkpoint_ms; /* also after so much time; 0: only by step and epoch */
    struct clock *clock;
    run_event_fn on_event; /* may be NULL */
    /* Before and behind each training step (not evaluations), on the run's thread; NULL: nobody. */
    void (*around_step)(void *arg, struct backend *, bool begins);
    void *arg;
};

struct run_result {
    bool evaluated;
    struct retrieval before, after;
    const char *judged_by; /* the metric of best and worse; NULL when nothing was measured */
    double before_value, after_value; /* of it */
    bool worse;                       /* it fell: `untrained` has the better model */
    double loss;                      /* of the last step */
    int64_t steps;                    /* done in all */
    int64_t exported_step;            /* whose weights were exported */
    bool stopped_early;
    double seconds;    /* of training alone, in this process */
    double docs_per_s; /* trained documents a second, in this process */
    int64_t resumed_step;
    bool exact;
    char fingerprint[160];
    char backbone_sha256[SHA256_HEX];
    char manifest_sha256[SHA256_HEX];
    int dim;
};

/*
 * 0, or: ERR_FORMAT / ERR_UNSUPPORTED (the backbone or its tokenizer), ERR_CONFIG
 * (documents that can't be trained on, a checkpoint of another fingerprint, a loss that is
 * not a number), ERR_EXISTS (`out` is not ours, or another process works in `work`),
 * ERR_CANCELLED (the clock is stopping: a checkpoint was written first), ERR_IO, ERR_NOMEM.
 * After an error `out` holds nothing of the run; `work` keeps its checkpoints.
 */
int run_fit(const struct run_spec *, struct run_result *, struct err *e);

/*
 * --check-determinism: the first steps of the spec, RUN_CHECK_RUNS times over, the last
 * time with another number of threads. `out` and `work` of the spec are not used. Only
 * RUN_STEP is told. Errors as run_fit; bytes that differ are no error, but said.
 */
enum { RUN_CHECK_STEPS = 2, RUN_CHECK_RUNS = 3 };
struct run_check {
    bool equal;
    int steps, threads[RUN_CHECK_RUNS];
    int differs_run, differs_step; /* the first that differs from run 1; counted from 1 */
    char digest[SHA256_HEX];       /* of parameters and moments behind the last step of run 1 */
    char fingerprint[160];
};
int run_check(const struct run_spec *, struct run_check *out, struct err *e);

/* Where a backbone's files are; PATH_MAX each. ERR_NOT_FOUND says which is missing. */
struct run_backbone {
    char model[4096], tokenizer[4096], folder[4096];
};
int run_backbone_find(const char *path, struct run_backbone *out, struct err *e);

/* Can it be trained? Asked before documents are read: an operator that is missing is named with its
 * node. */
int run_backbone_check(const char *path, struct err *e);

/* Opens the tokenizer; ERR_FORMAT when it has ids that the backbone has no row for. */
int run_tokenizer(struct tokenizer **out, const struct run_backbone *, const struct engine *,
                  struct err *e);

/* What the parameters say is done to the backbone; borrows from them. */
int run_surgery(const struct job_parameters *, struct surgery *out, struct err *e);

#endif
