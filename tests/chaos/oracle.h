/*
 * The oracle: what a producer was told, against what an outsider can read in the
 * store and on the topics when all is quiet.
 *
 *   records   each acknowledged one is in exactly one segment, or rejected in exactly one, or in a
 *             stated missing range; a segment holds nothing that was never sent, nothing twice; a
 *             partition's segments are one chain for each incarnation; a rejected record has a copy
 *   runs      each accepted job has one end that never changed; a finished run one committed event
 *             that names its manifest and all its files are there, any other run none
 *
 * It knows no fault, and nothing of the services but the keys and formats of schemas/. One thread.
 */
#ifndef TESTS_CHAOS_ORACLE_H
#define TESTS_CHAOS_ORACLE_H

#include <stdio.h>

#include "platform/base/sha256.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "schemas/keys.h"
#include "schemas/segment.h"

enum { STREAM_LIVES = 256, STREAMS_MAX = 256, PARTITIONS_MAX = 64, INCARNATIONS_MAX = 256 };

/* A docs topic. Each time it is deleted and created again a new life begins. */
struct stream {
    char dataset[KEY_NAME_MAX];
    int partitions;            /* the most that it ever had */
    int life;                  /* the present one */
    bool deleted;              /* for good */
    bool abrupt[STREAM_LIVES]; /* deleted while records were not ingested yet: they may be gone */
};

enum sent_kind { SENT_GOOD, SENT_BAD /* will be rejected */ };

struct sent {
    int stream, life;
    enum sent_kind kind;
    int32_t partition;
    int64_t offset; /* -1: never acknowledged */
    unsigned char hash[SHA256_SIZE];
};
/* Of key and value; NULL and empty differ. */
void sent_hash(const void *key, size_t key_len, const void *value, size_t value_len,
               unsigned char hash[SHA256_SIZE]);

struct asked { /* a job that was sent */
    char run[KEY_NAME_MAX];
    bool acknowledged;    /* by the broker; else it may not be there */
    bool valid;           /* else it must have FAILED */
    bool cancelled;       /* it may have ended so */
    int doomed;           /* its training always dies, and may do so as often; 0: it is well */
    bool ended;           /* an end.json was seen */
    char end[SHA256_HEX]; /* its hash when first seen */
    int state;
};

struct found {                       /* a record in a segment */
    unsigned char hash[SHA256_SIZE]; /* not of rejected ones */
    int stream;
    uint64_t incarnation;
    int32_t partition;
    int64_t offset;
    bool rejected;
};

struct place { /* how far a partition's chain was read */
    uint64_t incarnation;
    int64_t next;
    size_t segments; /* of this incarnation */
    bool closed;     /* by the last of them */
};

struct tally {
    size_t acknowledged, unanswered, documents, rejected, missing, gone, segments, incarnations;
    size_t finished, failed, cancelled, doomed, events, violations;
};

struct oracle {
    struct blob *store; /* borrowed, as the next three */
    struct bus *bus;
    const struct keys *keys;
    const char *owner;
    FILE *out; /* violations go here, a line each */
    struct stream *streams;
    int stream_count;
    struct tally tally;

    struct found *found; /* owned: all below */
    size_t count, room;
    size_t *table; /* by hash: index + 1 of the first */
    size_t slots;
    struct place places[STREAMS_MAX][PARTITIONS_MAX];
    struct gap {
        int stream;
        int32_t partition;
        int64_t first, next;
    } * gaps;
    size_t gap_count;
};

void oracle_release(struct oracle *o);
void violation(struct oracle *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads on where it stopped, to the end of each partition's newest chain; < 0: the store failed. */
int oracle_read(struct oracle *o, int stream, struct err *e);
const struct found *oracle_find(const struct oracle *o, const unsigned char hash[SHA256_SIZE]);
/* Sent records of this stream's present life that are acknowledged and that no segment tells of. */
size_t oracle_awaits(const struct oracle *o, int stream, const struct sent *s, size_t n);
bool oracle_reached(const struct oracle *o, int stream, int32_t partition, int64_t high);

/* The verdicts; after oracle_read of each stream. */
int oracle_records(struct oracle *o, const struct sent *s, size_t n, struct err *e);
/* Only that what the segments hold was sent, and that each is in a chain. */
int oracle_origin(struct oracle *o, const struct sent *s, size_t n, struct err *e);
/* Each rejected record has its copy on the owner's topic for them, which holds nothing else of his
 * documents. */
int oracle_copies(struct oracle *o, const struct sent *s, size_t n, struct err *e);
int oracle_runs(struct oracle *o, struct asked *jobs, size_t n, struct err *e);
/* Notes an end that is there. 1: it is; 0: not yet. */
int oracle_end(struct oracle *o, struct asked *job, struct err *e);

#endif
