/*
 * A dataset as a run saw it: its chains of segments with offset ranges and
 * hashes (snapshot.json), and the record that begins a chain (base.json). Both
 * are conditionally created, once.
 */
#ifndef SCHEMAS_SNAPSHOT_H
#define SCHEMAS_SNAPSHOT_H

#include "schemas/job.h"
#include "schemas/record.h"

/* segments/<incarnation>/<partition>/base.json: where this incarnation's chain begins. Without
 * one a chain begins at offset 0. */
struct chain_base {
    struct record_extra extra;
    const char *owner, *dataset;
    int64_t incarnation, partition;
    int64_t first;
    const char *reason; /* "first records no longer retained", "topic re-created", ... */
    const char *nonce;
    int64_t time_ms;
};
RECORD_DECLARE(chain_base);

struct offset_range { /* [first, next) */
    struct record_extra extra;
    int64_t first, next;
};
RECORD_DECLARE(offset_range);

struct snapshot_segment {
    struct record_extra extra;
    const char *key;
    const char *sha256; /* of the whole object */
    int64_t first, next;
    int64_t size; /* bytes */
    int64_t documents, tombstones, rejected;
};
RECORD_DECLARE(snapshot_segment);

struct snapshot_chain {
    struct record_extra extra;
    int64_t incarnation, partition;
    int64_t first, next;
    const struct snapshot_segment *segments; /* in offset order, without gaps */
    size_t segment_count;
    const struct offset_range *missing; /* offsets that Kafka no longer had */
    size_t missing_count;
};
RECORD_DECLARE(snapshot_chain);

struct label_count {
    struct record_extra extra;
    struct record_label label;
    int64_t count;
};
RECORD_DECLARE(label_count);

enum { SNAPSHOT_LABELS_MAX = 65536 }; /* more classes are only counted */

struct snapshot {
    struct record_extra extra;
    const char *owner, *dataset, *run;
    int64_t created_ms;
    const char *nonce;
    const struct job_watermark *watermarks; /* asked for at acceptance, all reached */
    size_t watermark_count;
    const struct snapshot_chain *chains;
    size_t chain_count;
    const struct label_count
        *labels; /* accepted records per label, before the last of an id wins */
    size_t label_count;
    int64_t classes; /* as many; above label_count where there were too many to list */
    int64_t documents, tombstones, rejected;
};
RECORD_DECLARE(snapshot);

#endif
