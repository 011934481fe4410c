#include "schemas/run.h"

#include <string.h>

#include "schemas/record_int.h"

#define COUNT .min = 0, .max = RECORD_INT_MAX
#define NONCE .min = 1, .max = 64, .help = "The writer's, so that it knows its own object."
#define TIME  .min = 0, .max = RECORD_INT_MAX, .help = "When, in milliseconds since 1970."

static const struct record_field resume_fields[] = {
    RECORD_FIELD(run_resume, attempt, INT, REQUIRED, .min = 1, .max = RECORD_INT_MAX,
                 .help = "The attempt that wrote it."),
    RECORD_FIELD(run_resume, step, INT, REQUIRED, COUNT, .help = "Steps done in it."),
    RECORD_FIELD(run_resume, key, STRING, REQUIRED, .min = 1, .max = 511, .help = "Its object."),
    RECORD_FIELD(run_resume, sha256, SHA256, OPTIONAL, .help = "Its SHA-256."),
};
const struct record run_resume_record = {.name = "resume",
                                         .title = "A checkpoint to go on from",
                                         .size = sizeof(struct run_resume),
                                         RECORD_TABLE(resume_fields)};

static const struct record_field attempt_fields[] = {
    RECORD_FIELD(run_attempt, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(run_attempt, run, NAME, REQUIRED, .help = "The run."),
    RECORD_FIELD(run_attempt, n, INT, REQUIRED, .min = 1, .max = RECORD_INT_MAX,
                 .help = "The attempt's number: the fencing token."),
    RECORD_FIELD(run_attempt, worker, STRING, REQUIRED, .min = 1, .max = 256,
                 .help = "Who makes it."),
    RECORD_FIELD(run_attempt, nonce, STRING, REQUIRED, NONCE),
    RECORD_FIELD(run_attempt, created_ms, INT, REQUIRED, TIME),
    RECORD_FIELD(run_attempt, resumed_from, OBJECT, OPTIONAL, .of = &run_resume_record,
                 .help = "The checkpoint it goes on from; absent: from the start."),
};
const struct record run_attempt_record = {
    .name = "attempt",
    .title = "An attempt",
    .help = "`attempts/<n>.json`, conditionally created by the worker that makes attempt n. It "
            "writes only below `attempts/<n>/`.",
    .size = sizeof(struct run_attempt),
    RECORD_TABLE(attempt_fields),
};

static const struct record_field file_fields[] = {
    RECORD_FIELD(run_file_entry, path, STRING, REQUIRED, .min = 1, .max = 200,
                 .help = "Below the attempt's folder."),
    RECORD_FIELD(run_file_entry, size, INT, REQUIRED, COUNT, .help = "Bytes."),
    RECORD_FIELD(run_file_entry, sha256, SHA256, REQUIRED, .help = "Its SHA-256."),
};
const struct record run_file_entry_record = {.name = "file",
                                             .title = "A file",
                                             .size = sizeof(struct run_file_entry),
                                             RECORD_TABLE(file_fields)};

static const struct record_field manifest_fields[] = {
    RECORD_FIELD(run_manifest, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(run_manifest, run, NAME, REQUIRED, .help = "The run."),
    RECORD_FIELD(run_manifest, attempt, INT, REQUIRED, .min = 1, .max = RECORD_INT_MAX,
                 .help = "The attempt that made it."),
    RECORD_FIELD(run_manifest, model, NAME, REQUIRED, .help = "The model."),
    RECORD_FIELD(run_manifest, dataset, NAME, OPTIONAL, .help = "What it was trained on."),
    RECORD_FIELD(run_manifest, created_ms, INT, REQUIRED, TIME),
    RECORD_FIELD(run_manifest, nonce, STRING, OPTIONAL, NONCE),
    RECORD_LIST(run_manifest, files, file_count, ARRAY, OBJECT, REQUIRED, .min = 1, .max = 10000,
                .of = &run_file_entry_record, .help = "The artifact's files, without this one."),
    RECORD_FIELD(run_manifest, snapshot_sha256, SHA256, OPTIONAL,
                 .help = "Of `snapshot.json`; absent when trained from local files."),
    RECORD_FIELD(run_manifest, backbone, STRING, OPTIONAL, .min = 1, .max = 256,
                 .help = "The backbone's name."),
    RECORD_FIELD(run_manifest, backbone_sha256, SHA256, OPTIONAL, .help = "Of its content."),
    RECORD_FIELD(run_manifest, parameters, OBJECT, REQUIRED, .of = &job_parameters_record,
                 .help = "How it was trained."),
    RECORD_LIST(run_manifest, before, before_count, MAP, NUMBER, OPTIONAL,
                .help = "Metrics of the backbone on the held-out documents."),
    RECORD_LIST(run_manifest, after, after_count, MAP, NUMBER, OPTIONAL,
                .help = "Metrics of the model on the same documents."),
    RECORD_FIELD(run_manifest, fingerprint, STRING, REQUIRED, .min = 1, .max = 512,
                 .help = "The numeric fingerprint: equal ones give equal bytes."),
    RECORD_FIELD(run_manifest, exact, BOOL, REQUIRED,
                 .help = "Whether all of it ran under that fingerprint."),
    RECORD_LIST(run_manifest, versions, version_count, MAP, STRING, OPTIONAL,
                .help = "Versions of what made it."),
    RECORD_FIELD(run_manifest, dimension, INT, REQUIRED, .min = 1, .max = 1 << 20,
                 .help = "Numbers in a vector."),
    RECORD_FIELD(run_manifest, metric, STRING, DEFAULT, .fallback = "cosine", .min = 1, .max = 32,
                 .help = "How vectors are compared."),
    RECORD_FIELD(run_manifest, modality, STRING, DEFAULT, .fallback = "text", .min = 1, .max = 64,
                 .help = "What the model reads."),
    RECORD_FIELD(run_manifest, max_length, INT, OPTIONAL, COUNT, .help = "Tokens of a text."),
    RECORD_FIELD(run_manifest, normalized, BOOL, REQUIRED,
                 .help = "Whether vectors have length 1."),
    RECORD_FIELD(run_manifest, steps, INT, OPTIONAL, COUNT, .help = "Optimiser steps."),
    RECORD_FIELD(run_manifest, train_documents, INT, OPTIONAL, COUNT,
                 .help = "Documents trained on."),
    RECORD_FIELD(run_manifest, eval_documents, INT, OPTIONAL, COUNT, .help = "Documents held out."),
    RECORD_FIELD(run_manifest, labels, INT, OPTIONAL, COUNT, .help = "Classes trained on."),
    RECORD_FIELD(run_manifest, loss, NUMBER, OPTIONAL, .help = "Of the last step."),
    RECORD_FIELD(run_manifest, seconds, NUMBER, OPTIONAL, .help = "Time of training."),
    RECORD_FIELD(run_manifest, judged_by, STRING, OPTIONAL, .min = 1, .max = 64,
                 .help = "The metric by which the best weights are chosen and `worse` is said; "
                         "absent: nothing was held out."),
    RECORD_FIELD(run_manifest, exported_step, INT, OPTIONAL, COUNT,
                 .help = "The step whose weights the model has; 0: the untrained ones."),
    RECORD_FIELD(run_manifest, stopped_early, BOOL, DEFAULT, .fallback = "false",
                 .help = "Whether `patience` ended the training."),
    RECORD_FIELD(run_manifest, worse, BOOL, DEFAULT, .fallback = "false",
                 .help = "Whether `judged_by` fell: the backbone was better on the held-out "
                         "documents."),
};
const struct record run_manifest_record = {
    .name = "manifest",
    .title = "A manifest",
    .help = "`attempts/<n>/manifest.json`, written after the model's files and before `end.json`, "
            "which names its hash.",
    .size = sizeof(struct run_manifest),
    RECORD_TABLE(manifest_fields),
};

static int is_terminal(int state)
{
    return state == JOB_FINISHED || state == JOB_FAILED || state == JOB_CANCELLED;
}

static int check_terminal(int state, const char *manifest_sha256, int64_t attempt, struct err *e)
{
    if (!is_terminal(state))
        return err_set(e, ERR_FORMAT, "state: %s is not an end", job_state_names[state]);
    if (state == JOB_FINISHED && !manifest_sha256)
        return err_set(e, ERR_FORMAT, "manifest_sha256: missing in a finished run");
    if (state != JOB_FINISHED && manifest_sha256)
        return err_set(e, ERR_FORMAT, "manifest_sha256: only a finished run has one");
    if (state == JOB_FINISHED && attempt < 1)
        return err_set(e, ERR_FORMAT, "attempt: 0 in a finished run");
    return 0;
}

static int check_end(const void *record, struct err *e)
{
    const struct run_end *r = record;

    return check_terminal(r->state, r->manifest_sha256, r->attempt, e);
}

/* Terminal states only, and a manifest's hash exactly when finished. */
#define TERMINAL                                                                                   \
    "{\"allOf\":[{\"properties\":{\"state\":{\"enum\":[\"FINISHED\",\"FAILED\",\"CANCELLED\"]}}}]" \
    ","                                                                                            \
    "\"if\":{\"properties\":{\"state\":{\"const\":\"FINISHED\"}}},\"then\":{\"required\":["        \
    "\"manifest_sha256\"],\"properties\":{\"attempt\":{\"minimum\":1}}},\"else\":{\"not\":{"       \
    "\"required\":[\"manifest_sha256\"]}}}"

static const struct record_field end_fields[] = {
    RECORD_FIELD(run_end, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(run_end, run, NAME, REQUIRED, .help = "The run."),
    RECORD_FIELD(run_end, state, ENUM, REQUIRED, .names = job_state_names,
                 .help = "`FINISHED`, `FAILED` or `CANCELLED`."),
    RECORD_FIELD(run_end, attempt, INT, REQUIRED, COUNT,
                 .help = "The attempt that ended it; 0: none was begun."),
    RECORD_FIELD(run_end, manifest_sha256, SHA256, OPTIONAL,
                 .help = "Of the attempt's `manifest.json`; exactly when finished."),
    RECORD_FIELD(run_end, reason, STRING, OPTIONAL, .max = 1024,
                 .help = "Why it failed or was cancelled; in a finished run: that the model is "
                         "worse than its backbone, in words."),
    RECORD_FIELD(run_end, nonce, STRING, REQUIRED, NONCE),
    RECORD_FIELD(run_end, time_ms, INT, REQUIRED, TIME),
};
const struct record run_end_record = {
    .name = "end",
    .title = "The end of a run",
    .help =
        "`end.json`, conditionally created: the only terminal record. Who loses the create reads "
        "it and obeys.",
    .size = sizeof(struct run_end),
    .check = check_end,
    .schema_extra = TERMINAL,
    RECORD_TABLE(end_fields),
};

static int check_done(const void *record, struct err *e)
{
    const struct run_done *r = record;

    return check_terminal(r->state, r->manifest_sha256, r->attempt, e);
}

static const struct record_field done_fields[] = {
    RECORD_FIELD(run_done, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(run_done, run, NAME, REQUIRED, .help = "The run."),
    RECORD_FIELD(run_done, state, ENUM, REQUIRED, .names = job_state_names,
                 .help = "As in `end.json`."),
    RECORD_FIELD(run_done, attempt, INT, REQUIRED, COUNT, .help = "As in `end.json`."),
    RECORD_FIELD(run_done, model, NAME, OPTIONAL, .help = "The model it made."),
    RECORD_FIELD(run_done, manifest_sha256, SHA256, OPTIONAL, .help = "As in `end.json`."),
    RECORD_FIELD(run_done, time_ms, INT, REQUIRED, TIME),
};
const struct record run_done_record = {
    .name = "done",
    .title = "A finished run's message",
    .help = "A message on `tripline.done`, key `<owner>/<run>`, sent at least once after "
            "`end.json`; the publisher checks it against that.",
    .size = sizeof(struct run_done),
    .check = check_done,
    .schema_extra = TERMINAL,
    RECORD_TABLE(done_fields),
};
