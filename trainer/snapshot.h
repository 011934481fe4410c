/*
 * A run's snapshot: which segments of its dataset it trains on. Taken once, when
 * every chain has reached the watermark that was recorded at acceptance, and from
 * then on read. Segments come into `folder` as snapshot_segment_path names them.
 *
 * One task. What a snapshot points to lives in the caller's arena.
 */
#ifndef TRAINER_SNAPSHOT_H
#define TRAINER_SNAPSHOT_H

#include "platform/base/arena.h"
#include "platform/base/sha256.h"
#include "schemas/snapshot.h"
#include "trainer/job.h"

struct snapshot_task {
    struct trainer *t;
    const struct job_ref *ref;
    const struct job *job;
    const char *folder; /* exists */
    struct arena *arena;
    int64_t bytes_max; /* of all segments; ERR_LIMIT */
    /* < 0 (having set the error) ends the work between two segments. */
    int (*go_on)(void *arg, struct err *e);
    void *arg;
};

/* snapshot.json as it is; `sha256` of the object. ERR_NOT_FOUND: none was taken. */
int snapshot_load(const struct snapshot_task *s, struct snapshot *out, char sha256[SHA256_HEX],
                  struct err *e);

/* 1: ingest has reached every watermark; 0: not yet, `why` says where it stands. */
int snapshot_reached(const struct snapshot_task *s, char why[256], struct err *e);

/* 1: took it, and its segments are in the folder; 0: another worker was first, this is his.
 * ERR_CONFIG: the dataset is empty. */
int snapshot_take(const struct snapshot_task *s, struct snapshot *out, char sha256[SHA256_HEX],
                  struct err *e);

/* Brings the segments that are not in the folder yet, and compares all with their hashes. */
int snapshot_fetch(const struct snapshot_task *s, const struct snapshot *from, struct err *e);

/* "<folder>/<incarnation>-<partition>-<first>.seg"; ERR_LIMIT: the path is too long. */
int snapshot_segment_path(const char *folder, int64_t incarnation, int64_t partition, int64_t first,
                          char path[4096], struct err *e);

#endif
