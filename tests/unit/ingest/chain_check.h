/*
 * What a chain of segments holds, read back from a store and compared with what
 * Kafka holds: every record in exactly one segment, or rejected, or missing.
 */
#ifndef TESTS_UNIT_INGEST_CHAIN_CHECK_H
#define TESTS_UNIT_INGEST_CHAIN_CHECK_H

#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "schemas/segment.h"

struct chain_seen {
    size_t segments, documents, tombstones, seals, rejected;
    int64_t first, next, missing;
    bool closed;
    char reason[600]; /* of the last rejection */
    char uri[600];    /* the last HEADER_URI */
};

/* Fails the test unless the segments under the prefix are exactly one chain that begins at
 * base.json's first, or 0. With a bus: unless it agrees with the topic from `from` on. */
void chain_check(struct blob *store, struct bus *bus, const char *topic,
                 const struct segment_name *name, int64_t from, struct chain_seen *out);

#endif
