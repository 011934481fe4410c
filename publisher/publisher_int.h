/*
 * Shared inside the publisher. One task.
 */
#ifndef PUBLISHER_PUBLISHER_INT_H
#define PUBLISHER_PUBLISHER_INT_H

#include "platform/base/arena.h"
#include "platform/base/buf.h"
#include "platform/base/log.h"
#include "platform/base/sha256.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/proc/metrics.h"
#include "publisher/publisher.h"
#include "schemas/job.h"
#include "schemas/keys.h"
#include "schemas/model.h"
#include "schemas/run.h"

#define OBJECT_BYTES_MAX ((size_t)16 << 20) /* of end.json, a manifest, job.json */
#define EVENT_BYTES_MAX  ((size_t)32 << 20)
#define PARKED_MAX       1000 /* a partition; what is more waits for the trainers' sweep */

/* --- runs that have their event: known.c --- */

/* A set of "<owner>/<run>", each as 128 bits of its SHA-256. Zeroed: empty. */
struct known {
    unsigned char (*slots)[16]; /* open addressing; all zero: free */
    size_t count, cap;
};
bool known_has(const struct known *k, const char *id);
int known_add(struct known *k, const char *id, struct err *e); /* once more is fine */
void known_release(struct known *k);

/* --- a partition of done and of published: watch.c --- */

struct run_name {
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX];
    char id[KEY_MAX]; /* "<owner>/<run>" */
};

struct parked {
    struct parked *link;
    struct run_name name;
    int64_t due_ms;
    int tries;
};

enum part_state {
    PART_GONE,  /* not ours */
    PART_FENCE, /* at due_ms: take over the transactional id, ask where to begin */
    PART_LOAD,  /* `published` is being read */
    PART_READ
};

struct part {
    struct part *link;
    int32_t partition;
    enum part_state state;
    bool done_held, published_held;
    int64_t due_ms;
    int tries; /* failures in a row */
    struct bus_producer *producer;
    struct known known;       /* runs that have their event */
    struct known owners;      /* of them */
    int64_t loaded, load_end; /* the next offset of `published`, and where it ended when we began */
    int64_t heard_ms;         /* when one of its records last came */
    int64_t next;             /* of `done`: all before it is settled */
    struct bus_message *held; /* is tried again at due_ms; the partition is paused meanwhile */
    struct parked *parked;
    size_t parked_count;
};

/* --- the model in force: current.c --- */

/* What is to be told again: all models of an owner (model empty), or one. */
struct repair {
    struct repair *link;
    char owner[KEY_NAME_MAX], model[KEY_NAME_MAX];
    int64_t due_ms;
    int tries;
};

struct publisher_metrics {
    struct metric *events, *duplicates, *skipped, *parked, *failures, *waiting, *partitions,
        *seconds;
};

struct publisher {
    struct publisher_options o;
    struct publisher_ports p;
    struct keys keys;
    char done[KEY_MAX], published[KEY_MAX];
    struct bus_consumer *consumer; /* NULL until the topics are there */
    struct bus_producer *sender;   /* not transactional, for current.*; NULL until needed */
    int64_t setup_ms, heard_ms; /* when to try to begin; when the consumer last failed or began */
    int setup_tries, consumer_tries;
    struct part *parts;
    struct repair *repairs;
    size_t waiting;     /* parked runs of all partitions */
    struct arena arena; /* of one run */
    struct publisher_metrics m;
    bool ready, told;
    int fatal; /* from a callback, and its message */
    struct err fatal_err;
};

/* --- watch.c --- */

int watch_open(struct publisher *pub, struct err *e); /* topics and consumer */
int watch_tick(struct publisher *pub, struct err *e);
int watch_poll(struct publisher *pub, int wait_ms, struct err *e);
void part_free(struct publisher *pub, struct part *p);
/* Begins again with step 1, later. What was being handled comes again. */
void part_restart(struct publisher *pub, struct part *p, const struct err *why);

/* --- release.c: what S3 says of a finished run --- */

struct release {
    struct run_name name;
    struct run_end end;
    struct run_manifest manifest;
    struct job job;
    /* filled in by current_claim */
    uint64_t n;             /* its version of the model; 0: it does not come into force */
    const char *previous;   /* the run in force before; NULL: none */
    const char *why;        /* when n is 0 */
    struct model_gate gate; /* when job.gate asks for one */
    struct model_reindex reindex;
};
/*
 * 1: filled in, in the arena; 0: the run has no end.json or another end than
 * FINISHED (*why says which); ERR_FORMAT: it is finished, but what it left can't
 * be published.
 */
int release_load(struct publisher *pub, const struct run_name *name, struct release *r,
                 const char **why, struct err *e);
int release_get(struct publisher *pub, const char *key, struct buf *to, struct err *e);

/* --- event.c --- */

/* The record, in the arena, pointing at the release; *binary: the mode. Valid as it is, but what
 * rests on the release's version is still to come: event_decide. */
int event_build(struct publisher *pub, struct release *r, struct model_ready *out, bool *binary,
                struct err *e);
void event_decide(struct release *r);

/* --- current.c --- */

void current_judge(struct release *r); /* the gate */
/* Decides whether the run's model comes into force, and if so creates its models/<model>/<n>.json
 * (or finds the one it has). */
int current_claim(struct publisher *pub, struct release *r, struct err *e);
/* Puts the newest version of a model on current.<owner>. */
int current_tell(struct publisher *pub, const char *owner, const char *model, struct err *e);
/* As current_tell, at the next tick, and again until it succeeds. `model` "": all of the owner. */
void current_later(struct publisher *pub, const char *owner, const char *model);
void current_tick(struct publisher *pub); /* one repair that is due */
void current_release(struct publisher *pub);

/* --- announce.c --- */

/* A message of done. 0: settled, or it is kept in p->held or the partition begins again. */
int announce_message(struct publisher *pub, struct part *p, struct bus_message *m, bool *kept,
                     struct err *e);
int announce_parked(struct publisher *pub, struct part *p, struct err *e); /* one that is due */

/* --- parked.c --- */

/* 0: it is remembered here or, by its marker, in S3, so that the offset may go on. */
int parked_add(struct publisher *pub, struct part *p, const struct run_name *name, struct err *e);
struct parked *parked_due(struct publisher *pub, struct part *p);
void parked_again(struct publisher *pub, struct parked *item);
void parked_drop(struct publisher *pub, struct part *p, struct parked *item);
void parked_release(struct publisher *pub, struct part *p);

#endif
