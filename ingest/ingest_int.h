/*
 * Shared inside ingest/. One task owns all of it.
 *
 * A partition's life, and where each state leads:
 *
 *   GONE    not ours; what is known of its chain's end is kept for the next assignment
 *   FIND    look for the chain's end (at once, or after a back-off)     -> SHORT, READ
 *   SHORT   the partition ends before its chain: wait whether that stays -> FIND, READ
 *   READ    messages go into the open segment                           -> PUT, HOLD, FIND
 *   HOLD    a message could not be taken yet: read again from `next`    -> READ
 *   PUT     a finished segment waits to be created                      -> READ, FIND
 */
#ifndef INGEST_INGEST_INT_H
#define INGEST_INGEST_INT_H

#include "ingest/ingest.h"
#include "platform/base/arena.h"
#include "platform/base/buf.h"
#include "platform/base/log.h"
#include "platform/base/sha256.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/proc/metrics.h"
#include "schemas/keys.h"
#include "schemas/segment.h"

enum part_state { PART_GONE, PART_FIND, PART_SHORT, PART_READ, PART_HOLD, PART_PUT };

/* A record that Kafka must still agree with, if it has one there. */
struct anchor {
    bool there;
    bool hashed; /* false: the record was rejected, only offset and timestamp are known */
    int64_t offset, timestamp_ms;
    unsigned char hash[SHA256_SIZE]; /* anchor_hash */
};

/* What is known of a chain in S3. */
struct chain {
    bool known;
    uint64_t incarnation;
    int64_t first; /* where its first segment begins */
    int64_t next;  /* where the successor of the last segment begins */
    struct anchor anchor;
};

struct part {
    struct part *link;
    char topic[KEY_MAX];
    char owner[KEY_NAME_MAX], dataset[KEY_NAME_MAX];
    int32_t partition;
    enum part_state state;
    int64_t due_ms; /* FIND, SHORT, HOLD, PUT: when to act */
    int tries;      /* failures in a row */
    struct chain chain;
    int64_t short_since_ms;

    /* the open segment; NULL between segments */
    struct segment_writer *open;
    int64_t opened_ms, cut_ms; /* when it is cut by age or by a seal */
    int64_t last_cut_ms;
    int64_t next;     /* the next offset to take */
    int64_t heard_ms; /* when the last message came, or its end was looked at */
    size_t unflushed; /* rejected in the open segment, their copies perhaps not yet with Kafka */
    bool careful;     /* copies are sent one by one, since a flush failed */
    struct bus_message *last; /* the open segment's last record; NULL: it has none */
    struct anchor begin;      /* its first record; not there: it has none */
    bool behind;              /* the consumer is past `next`: seek */
    bool paused;
    size_t bytes; /* its share of ingest.bytes */
    size_t taken; /* records that no metric has counted yet */

    /* PUT: the finished segment */
    struct buf body;
    struct segment_size size;
    struct anchor anchor; /* its last record; not there: it has none */
    int64_t missing;      /* offsets that Kafka no longer had */
};

struct ingest_metrics {
    struct metric *records, *rejected, *bytes, *segments, *lost, *missing, *create_s, *lag,
        *partitions, *memory, *recreated, *errors;
};

struct ingest {
    struct ingest_options o;
    struct ingest_ports p;
    struct keys keys;
    struct ingest_metrics m;
    struct bus_consumer *consumer;
    struct bus_producer *rejects;
    struct part *parts, *hit; /* hit: the part of the last message */
    struct arena arena;       /* of one message */
    size_t bytes;             /* held in segments, all partitions together */
    int64_t now_ms;           /* at the last poll */
    int64_t tick_ms;          /* when to look again at what is due */
    int64_t store_ms;         /* the store failed: no create before this */
    int store_tries;
    struct part *watch; /* whose lag is asked for next */
    int64_t watch_ms;
    int consumer_tries;
    int64_t calm_ms; /* since when the consumer has had no trouble */
    bool ready;
    int fatal; /* set inside a callback */
    struct err fatal_err;
};

/* --- part.c --- */
struct part *part_find(struct ingest *in, const char *topic, int32_t partition);
int part_get(struct ingest *in, const char *topic, int32_t partition, struct part **out,
             struct err *e);
void part_free(struct ingest *in, struct part *p);
void part_account(struct ingest *in, struct part *p); /* after its segments changed */
void part_drop(struct ingest *in, struct part *p);    /* the open and the finished segment */
void part_keep(struct ingest *in, struct part *p, struct bus_message *m); /* as the last record */
void part_name(const struct part *p, int64_t first, struct segment_name *out);
/* Opens a segment at chain.next unless one is open. */
int part_open(struct ingest *in, struct part *p, struct err *e);
/* The bus delivers from p->next. */
int part_read(struct ingest *in, struct part *p, struct err *e);
/* Nothing is delivered until part_read. */
void part_pause(struct ingest *in, struct part *p);
/* Goes on in `state` after `ms`. */
void part_later(struct ingest *in, struct part *p, enum part_state state, int64_t ms);
/* After a failure: 0 and goes on in `state` after a back-off, or the code that ends the service. */
int part_failed(struct ingest *in, struct part *p, enum part_state state, const char *event,
                struct err *e);
/* Everything whose time has come. */
int part_tick(struct ingest *in, struct err *e);
/* Cuts the largest until the memory is within its bound or all wait for the store. */
int part_make_room(struct ingest *in, struct err *e);

/* --- chain.c --- */
void anchor_of(struct anchor *a, const struct bus_message *m);
bool anchor_matches(const struct anchor *a, const struct bus_message *m);
bool anchor_equals(const struct anchor *a, const struct anchor *b);
/* Follows the newest chain from what p->chain knows, or finds it from `hint` (a committed offset or
 * -1). 0: its end; 1: it is closed, and nobody has begun the next incarnation yet; < 0. */
int chain_find(struct ingest *in, struct part *p, int64_t hint, struct err *e);
/* 1: the chain has a record at `offset` below its end; 0: it covers the offset, and has none there;
 * ERR_NOT_FOUND: the segment that tells is not in the store any more. */
int chain_record(struct ingest *in, const struct part *p, int64_t offset, struct anchor *out,
                 struct err *e);
/* The same of p->body, the finished segment. */
int chain_finished_record(const struct part *p, int64_t offset, struct anchor *out, struct err *e);
/* Creates the closing segment at the chain's end, so that nobody appends to it any more.
 * ERR_EXISTS: another segment is there. */
int chain_close(struct ingest *in, struct part *p, const char *reason, struct err *e);
/* Begins the incarnation behind a closed chain; that another did so first is fine. Then find again.
 */
int chain_begin(struct ingest *in, struct part *p, const char *reason, struct err *e);

/* --- place.c --- */
int place_part(struct ingest *in, struct part *p, struct err *e); /* FIND, SHORT -> READ, SHORT */

enum topic_is {
    TOPIC_SAME, /* all that was read before it was compared is of the topic that is there now */
    TOPIC_NEW,  /* it was re-created; `offset` has a record that was never read from the old one */
    TOPIC_SHORTER, /* it was re-created, and has not got to `upto`; or a broker does not know all */
    TOPIC_UNPROVEN /* it has no record to compare, and none that was left out */
};
struct topic_look {
    enum topic_is is;
    int64_t offset;
    struct anchor inside; /* UNPROVEN: what the finished segment must have, if there */
};
/* Is it the topic that the chain, and the open segment up to `upto`, was read from? ERR_NOT_FOUND:
 * there is none. */
int place_compare(struct ingest *in, struct part *p, int64_t upto, struct topic_look *look,
                  struct err *e);
/* For a partition that is quiet: places it again if it is another topic's. */
void place_watch(struct ingest *in, struct part *p);

/* --- commit.c --- */
int commit_cut(struct ingest *in, struct part *p, bool idle, struct err *e);
int commit_put(struct ingest *in, struct part *p, struct err *e); /* PUT, once due */
/* The partition's end holds no record: cover it too. */
int commit_cover(struct ingest *in, struct part *p, struct err *e);

/* --- admit.c --- */
/* 0 or a fatal error. *kept: the partition has the message now; else it is still the caller's. */
int admit(struct ingest *in, struct part *p, struct bus_message *m, bool *kept, struct err *e);

/* --- content.c --- */
/* Appends a header HEADER_URI for each uri of the document. `headers` has room for `max`. */
int content_record(struct ingest *in, const char *owner, const struct document *doc,
                   struct document_header *headers, size_t *count, size_t max, struct err *e);

/* --- reject.c --- */
int reject_open(struct ingest *in, struct err *e);
/* 0: sent; 1: not, the partition is read again; < 0: fatal. */
int reject_send(struct ingest *in, struct part *p, const struct bus_message *m,
                const struct err *why, struct err *e);
/* Waits for all copies. 1: they failed, every segment that counts on them is read again. */
int reject_flush(struct ingest *in, struct err *e);

/* --- intake.c --- */
int intake_open(struct ingest *in, struct err *e);
int intake_poll(struct ingest *in, int wait_ms, struct err *e);

/* --- measure.c --- */
void measure_open(struct ingest *in);
/* Ready: it holds partitions, or none while its consumer is well: there may be no dataset yet, or
 * more ingesters than partitions. */
void measure_ready(struct ingest *in);
void measure_taken(struct ingest *in, struct part *p);
/* Lag and a quiet end of one partition at a time. */
int measure_watch(struct ingest *in, struct err *e);

#endif
