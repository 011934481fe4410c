/*
 * Every topic, object and Redis key of a deployment, spelled once.
 *
 * Builders write into the caller's `char out[KEY_MAX]`, check each name
 * (text_is_name) and return 0 or ERR_USAGE naming the bad one. Parsers accept
 * exact matches only: no leading zeros, no other suffix, nothing behind it
 * (listings of some servers show temporary names, topics may look alike); they
 * return true and fill `out`, or false and leave it undefined. Plain memory,
 * any thread.
 *
 * Prefixes that rights are given on end in '.', '/' or ':', so that the owner
 * `acme` never matches `acme-two`.
 *
 *   prefix.docs.<owner>.<dataset>     prefix.rejected.<owner>    prefix.jobs.<owner>
 *   prefix.models.<owner>             prefix.current.<owner>     prefix.done, prefix.published
 *
 *   owners/<owner>/datasets/<dataset>/segments/<incarnation>/<partition>/<first, 20 digits>.seg
 *                                                                       /base.json
 *   owners/<owner>/runs/<run>/job.json, snapshot.json, end.json, attempts/<n>.json,
 *                             attempts/<n>/manifest.json, attempts/<n>/<file>,
 *                             attempts/<n>/checkpoints/<step, 20 digits>.ckpt,
 *                             attempts/<n>/logs/<first line, 20 digits>.jsonl
 *   owners/<owner>/models/<model>/<n>.json     owners/<owner>/backbones/<name>/<file>
 *   open/<owner>/<run>                         backbones/<name>/<file>
 *
 *   prefix:{<owner>}:run:<run> and the others in KEY_BOARD below, prefix:ring, prefix:epoch
 *
 * Incarnations begin at 0, attempts and a model's versions at 1.
 */
#ifndef SCHEMAS_KEYS_H
#define SCHEMAS_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/base/err.h"

#define KEY_MAX 512 /* bytes of any topic, object or Redis key, with the NUL */
#define KEY_NAME_MAX                                                                               \
    64 /* bytes of an owner, dataset, run, model or backbone name, with the NUL                    \
        */
#define KEY_FILE_MAX                                                                               \
    200 /* bytes of a file's path inside an attempt or a backbone, with the NUL                    \
         */
#define KEYS_PREFIX      "tripline"
#define KEYS_OPEN_PREFIX "open/" /* all unfinished runs */

/* The configurable first word of topics, groups and Redis keys. */
struct keys {
    char prefix[KEY_NAME_MAX];
};
int keys_init(struct keys *k, const char *prefix, struct err *e); /* NULL: KEYS_PREFIX */

/* --- topics ------------------------------------------------------------------------------- */

enum topic_kind { /* topics of one owner */
                  TOPIC_REJECTED,
                  TOPIC_JOBS,
                  TOPIC_MODELS,
                  TOPIC_CURRENT
};
enum topic_internal { TOPIC_DONE, TOPIC_PUBLISHED };
enum key_service { KEY_INGEST, KEY_TRAINER, KEY_PUBLISHER };

int topic_docs(const struct keys *k, const char *owner, const char *dataset, char out[KEY_MAX],
               struct err *e);
int topic_of(const struct keys *k, enum topic_kind kind, const char *owner, char out[KEY_MAX],
             struct err *e);
void topic_internal(const struct keys *k, enum topic_internal kind, char out[KEY_MAX]);

/* "prefix.docs.<owner>.": all datasets of an owner, for ACLs. */
int topic_docs_prefix(const struct keys *k, const char *owner, char out[KEY_MAX], struct err *e);

/* Subscription patterns ('^...$', POSIX extended): every owner's topic of that kind. They match
 * a little more than the parsers accept: parse each topic's name. */
void topic_docs_pattern(const struct keys *k, char out[KEY_MAX]);
void topic_pattern(const struct keys *k, enum topic_kind kind, char out[KEY_MAX]);

bool topic_docs_parse(const struct keys *k, const char *topic, char owner[KEY_NAME_MAX],
                      char dataset[KEY_NAME_MAX]);
bool topic_parse(const struct keys *k, enum topic_kind kind, const char *topic,
                 char owner[KEY_NAME_MAX]);

/* Key of records on done and published, id of model-ready events: "<owner>/<run>". */
int key_run_id(const char *owner, const char *run, char out[KEY_MAX], struct err *e);
bool key_run_id_parse(const char *text, size_t len, char owner[KEY_NAME_MAX],
                      char run[KEY_NAME_MAX]);

/* Consumer group of a service, "prefix.ingest"; a transactional id, "prefix.publisher.<name>". */
void key_group(const struct keys *k, enum key_service service, char out[KEY_MAX]);
int key_transaction(const struct keys *k, const char *instance, char out[KEY_MAX], struct err *e);

/* Headers of documents. */
#define HEADER_CONTENT_TYPE     "content-type"     /* application/json, application/msgpack */
#define HEADER_CONTROL          "tripline-control" /* value: CONTROL_SEAL */
#define CONTROL_SEAL            "seal"
/* Written by ingest into a segment, one per uri of a document: "<sha256> <size> <key>". */
#define HEADER_URI              "tripline-uri"
/* Of a rejected message that was sent again, to the partition it came from: its first offset. */
#define HEADER_REPLAY           "tripline-replay"
#define HEADER_REJECT_CODE      "tripline-reject-code"   /* err_name */
#define HEADER_REJECT_REASON    "tripline-reject-reason" /* one line */
#define HEADER_REJECT_TOPIC     "tripline-reject-topic"
#define HEADER_REJECT_PARTITION "tripline-reject-partition"
#define HEADER_REJECT_OFFSET    "tripline-reject-offset"

/* --- segments ----------------------------------------------------------------------------- */

struct segment_name {
    char owner[KEY_NAME_MAX], dataset[KEY_NAME_MAX];
    uint64_t incarnation;
    int32_t partition;
    int64_t first; /* the offset it begins at: the predecessor's `next` */
};
int key_segment(const struct segment_name *n, char out[KEY_MAX], struct err *e);
bool key_segment_parse(const char *key, struct segment_name *out);
/* The first offset of an incarnation's partition; `first` of the name is not used. */
int key_base(const struct segment_name *n, char out[KEY_MAX], struct err *e);
bool key_base_parse(const char *key, struct segment_name *out); /* first = 0 */

int key_datasets_prefix(const char *owner, char out[KEY_MAX], struct err *e);
bool key_dataset_parse(const char *key, char owner[KEY_NAME_MAX], char dataset[KEY_NAME_MAX]);
int key_segments_prefix(const char *owner, const char *dataset, char out[KEY_MAX], struct err *e);
int key_chain_prefix(const struct segment_name *n, char out[KEY_MAX], struct err *e);

/* --- runs --------------------------------------------------------------------------------- */

enum run_file { RUN_JOB, RUN_SNAPSHOT, RUN_END }; /* job.json, snapshot.json, end.json */

int key_owner_prefix(const char *owner, char out[KEY_MAX], struct err *e); /* all of an owner */
int key_runs_prefix(const char *owner, char out[KEY_MAX], struct err *e);
int key_run_prefix(const char *owner, const char *run, char out[KEY_MAX], struct err *e);
int key_run(const char *owner, const char *run, enum run_file file, char out[KEY_MAX],
            struct err *e);
bool key_run_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX],
                   enum run_file *file);

int key_attempts_prefix(const char *owner, const char *run, char out[KEY_MAX], struct err *e);
int key_attempt(const char *owner, const char *run, uint64_t n, char out[KEY_MAX], struct err *e);
bool key_attempt_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX],
                       uint64_t *n);
int key_attempt_prefix(const char *owner, const char *run, uint64_t n, char out[KEY_MAX],
                       struct err *e); /* attempts/<n>/ */
/* `file` is a relative path of [A-Za-z0-9._-] segments, "model/onnx/model.onnx". */
int key_attempt_file(const char *owner, const char *run, uint64_t n, const char *file,
                     char out[KEY_MAX], struct err *e);
bool key_attempt_file_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX],
                            uint64_t *n, char file[KEY_FILE_MAX]);
#define ATTEMPT_MANIFEST "manifest.json"
#define ATTEMPT_MODEL    "model/" /* the artifact folder lies below it */
/* Names of numbered files inside an attempt, for key_attempt_file. */
enum attempt_series { ATTEMPT_CHECKPOINT, ATTEMPT_LOG };
void attempt_series_file(enum attempt_series series, uint64_t number, char out[KEY_FILE_MAX]);
bool attempt_series_parse(enum attempt_series series, const char *file, uint64_t *number);

int key_open(const char *owner, const char *run, char out[KEY_MAX], struct err *e);
bool key_open_parse(const char *key, char owner[KEY_NAME_MAX], char run[KEY_NAME_MAX]);
int key_open_prefix(const char *owner, char out[KEY_MAX], struct err *e); /* of one owner */

/* --- models and backbones ----------------------------------------------------------------- */

int key_models_prefix(const char *owner, char out[KEY_MAX], struct err *e); /* all models */
int key_model_prefix(const char *owner, const char *model, char out[KEY_MAX], struct err *e);
int key_model(const char *owner, const char *model, uint64_t n, char out[KEY_MAX], struct err *e);
bool key_model_parse(const char *key, char owner[KEY_NAME_MAX], char model[KEY_NAME_MAX],
                     uint64_t *n);

/* `owner` NULL: the operator's shared ones. */
int key_backbone_prefix(const char *owner, const char *name, char out[KEY_MAX], struct err *e);
int key_backbone_file(const char *owner, const char *name, const char *file, char out[KEY_MAX],
                      struct err *e);

/* The key that a document's uri names: "s3://<bucket>/owners/<owner>/..." or "owners/<owner>/...".
 * False unless the object is below the owner's prefix, in this bucket (`bucket` NULL: any), and
 * the key is well formed (no empty, "." or ".." segment, no '?' or '#'). Points into `uri`. */
bool key_of_uri(const char *uri, const char *bucket, const char *owner, const char **key);

/* --- Redis -------------------------------------------------------------------------------- */

/* what it is, the word in the key, whether a run's name follows */
#define KEY_BOARD(X)                                                                               \
    X(STATUS, "run", 1)      /* hash: the fields of a status record */                             \
    X(LOG, "log", 1)         /* capped log: lines of the running attempt */                        \
    X(METRICS, "metrics", 1) /* capped log: one JSON object per step reported */                   \
    X(LOCK, "lock", 1)       /* hints that must expire */                                          \
    X(RUNS, "runs", 0)       /* capped log or hash of the owner's runs */

enum key_board {
#define X(id, word, run) BOARD_##id,
    KEY_BOARD(X)
#undef X
        BOARD_KEYS
};
/* `run` is NULL exactly for the kinds that take none. */
int key_board(const struct keys *k, enum key_board kind, const char *owner, const char *run,
              char out[KEY_MAX], struct err *e);
int key_board_prefix(const struct keys *k, const char *owner, char out[KEY_MAX],
                     struct err *e); /* "prefix:{owner}:" */

void key_board_epoch(const struct keys *k, char out[KEY_MAX]); /* absent: Redis was flushed */
void key_board_ring(const struct keys *k, char out[KEY_MAX]);  /* board_queue.ring */
void key_board_group(const struct keys *k, char out[KEY_MAX]); /* board_queue.prefix: "prefix:{" */
#define KEY_BOARD_SUFFIX "}"                                   /* board_queue.suffix */

#endif
