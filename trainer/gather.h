/*
 * Segments into a dataset: for each id the last message wins, by (incarnation,
 * timestamp, partition, offset); a tombstone that wins removes the id. Documents
 * keep the order of (incarnation, partition, offset), so that a snapshot gives
 * one and the same dataset everywhere. A document with two parts that are texts,
 * and with a score or without a label, is a pair (trainer/data/dataset.h).
 */
#ifndef TRAINER_GATHER_H
#define TRAINER_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

struct dataset;

struct gather_segment {
    int64_t incarnation, partition, first;
};

struct gather_counts {
    int64_t messages; /* documents and tombstones, before the last of an id wins */
    int64_t skipped;  /* documents without a text or a label, and no pair */
};

/* Segments as snapshot_segment_path names them in `folder`, sorted. *out is sealed; the caller's.
 */
int gather(struct dataset **out, const char *folder, const char *owner,
           const struct gather_segment *segments, size_t count, struct gather_counts *counts,
           struct err *e);

#endif
