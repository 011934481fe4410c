/*
 * What downstream indexers consume: the model-ready event (CloudEvents 1.0) and
 * the model in force.
 */
#ifndef SCHEMAS_MODEL_H
#define SCHEMAS_MODEL_H

#include "schemas/record.h"

#define MODEL_READY_TYPE "tripline.model.ready"

struct model_file {
    struct record_extra extra;
    const char *path;      /* inside the artifact folder: "onnx/model.onnx" */
    const char *url;       /* s3://bucket/key */
    const char *https_url; /* presigned; NULL: not asked for */
    int64_t size;
    const char *sha256;
};
RECORD_DECLARE(model_file);

struct model_artifact {
    struct record_extra extra;
    const char *url; /* of the folder, ends in '/' */
    const struct model_file *files;
    size_t file_count;
    const char *manifest_url, *manifest_sha256;
    const char *expires_at; /* of the https URLs, RFC 3339; NULL: none */
};
RECORD_DECLARE(model_artifact);

struct model_lineage {
    struct record_extra extra;
    const char *dataset;
    const char *snapshot_url, *snapshot_sha256;
    const char *backbone, *backbone_sha256;
    int64_t attempt, seed;
    const char *fingerprint;
    bool exact;
    int64_t documents, labels;
};
RECORD_DECLARE(model_lineage);

struct model_evaluation {
    struct record_extra extra;
    int64_t k, documents;
    const struct record_number *before, *after;
    size_t before_count, after_count;
    const char *judged_by; /* the metric of `worse` */
    bool worse;            /* it fell */
};
RECORD_DECLARE(model_evaluation);

struct model_gate {
    struct record_extra extra;
    bool passed;
    const char *metric;
    double min_gain, before, after;
    const char *reason;
};
RECORD_DECLARE(model_gate);

struct model_reindex {
    struct record_extra extra;
    bool required; /* vectors of the previous model can't be compared with this one's */
    const char *previous_run;
    const char *reason;
};
RECORD_DECLARE(model_reindex);

struct model_data {
    struct record_extra extra;
    const char *owner, *run, *model;
    const struct model_artifact *artifact;
    int64_t dimension;
    const char *metric, *modality;
    int64_t max_length;
    bool normalized;
    const struct model_lineage *lineage;
    const struct model_evaluation *evaluation; /* NULL: no document was held out */
    const struct model_gate *gate;             /* NULL: the job asked for none */
    const struct model_reindex *reindex;
};
RECORD_DECLARE(model_data);

/* CloudEvents 1.0, JSON structured mode. */
struct model_ready {
    struct record_extra extra;
    const char *specversion; /* "1.0" */
    const char *id;          /* <owner>/<run> */
    const char *source;      /* "/tripline/owners/<owner>" */
    const char *type;        /* MODEL_READY_TYPE */
    const char *subject;     /* run */
    const char *time;        /* RFC 3339 */
    const char *datacontenttype;
    const struct model_data *data;
};
RECORD_DECLARE(model_ready);

#define MODEL_READY_STRUCTURED "application/cloudevents+json; charset=UTF-8" /* content-type */
#define MODEL_READY_HEADERS    8
struct model_ready_header {
    const char *name, *value; /* borrowed from the event */
};
/* Binary mode: the attributes as headers ("ce_id", ..., "content-type"), the data as the body. */
int model_ready_binary(const struct model_ready *in,
                       struct model_ready_header headers[MODEL_READY_HEADERS], size_t *count,
                       struct buf *body, struct err *e);
/* Either mode, by the headers. */
int model_ready_from(const struct model_ready_header *headers, size_t count, const void *value,
                     size_t n, struct arena *a, struct model_ready *out, struct err *e);

/* RFC 3339 in UTC with milliseconds, "2026-01-31T12:00:00.000Z". */
void model_time(int64_t ms, char out[32]);

/* The model in force: models/<name>/<n>.json and the value on current.<owner> (key: the name). */
struct model_current {
    struct record_extra extra;
    const char *owner, *model;
    int64_t n; /* readers ignore a lower one */
    const char *run;
    int64_t attempt;
    const char *manifest_sha256;
    int64_t dimension;
    const char *reason;
    const char *nonce;
    int64_t time_ms;
};
RECORD_DECLARE(model_current);

#endif
