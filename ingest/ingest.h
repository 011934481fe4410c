/*
 * Ingest: labeled documents from Kafka into segments in S3, each accepted record
 * in exactly one of them.
 *
 * Every partition of every `docs` topic is a chain: a segment covers the offsets
 * [first, next), its key names only `first`, and a conditional create lets
 * exactly one successor of a segment exist. So the truth of how far a partition
 * was taken is the chain's end in S3; Kafka's committed offset is written after
 * it, for lag monitors, and read only as a hint where to look.
 *
 *   intake.c   subscription, rebalances, the route of a message to its partition
 *   admit.c    a message -> accepted, or rejected with a reason; reject.c copies
 *              rejected ones to the owner's topic; content.c hashes what a uri names
 *   part.c     a partition, its open segment, when it is cut
 *   chain.c    the chain's end in S3; place.c from there to a position in Kafka:
 *              re-created topics, records that are no longer retained
 *   commit.c   conditional create, then the offset
 *
 * An `ingest` belongs to one task. It reaches the world through the ports only.
 */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

struct blob;
struct bus;
struct clock;
struct ingest;
struct metrics;

struct ingest_options {
    const char *prefix; /* NULL: "tripline" */
    const char *bucket; /* what a uri may name besides a bare key; NULL: any */
    /* A segment is cut when it has so many bytes (compressed, roughly), records, milliseconds. */
    int64_t segment_bytes, segment_records, segment_age_ms;
    int64_t zstd_level;   /* of the segments; more is smaller and slower */
    int64_t memory_bytes; /* of all open and unwritten segments together */
    int64_t uri_bytes;    /* largest object that a uri may name */
    int64_t recreated_ms; /* a high watermark below the chain's end for so long: a new topic */
    int64_t drain_ms;     /* patience with the servers once a stop was asked for */
    int64_t session_timeout_ms; /* of the consumer group; 0: the port's default */
    int metadata_refresh_ms;    /* how soon a new dataset is seen; 0: the port's default */
    int message_timeout_ms;     /* of a copy for the rejected topic; 0: the port's default */
};
void ingest_options_init(struct ingest_options *o);

/* Borrowed; they outlive the ingest. */
struct ingest_ports {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct metrics *metrics; /* may be NULL */
    /* Told when it becomes ready or ceases to be (`why`); may be NULL. */
    void (*ready)(void *arg, bool ready, const char *why);
    void *ready_arg;
};

/* Strings of the options are borrowed. Opens the consumer and the producer. */
int ingest_new(struct ingest **out, const struct ingest_options *o, const struct ingest_ports *p,
               struct err *e);
/* Leaves the group and drops what is open (it is read again from Kafka); accepts NULL. */
void ingest_free(struct ingest *in);

/* Steps until clock_stopping, then drains. 0, or the error that ends the service. */
int ingest_run(struct ingest *in, struct err *e);

/* One turn: what is due, then the messages that come within `wait_ms`. 0 or a fatal error. */
int ingest_step(struct ingest *in, int wait_ms, struct err *e);

/* Cuts and commits what is open, for at most drain_ms. */
int ingest_drain(struct ingest *in, struct err *e);

#endif
