/*
 * A whole deployment on simulated time under one seed: the real code of the
 * services over the ports in memory, in one thread.
 *
 *   fate.c      what befalls a call, and the list of what did
 *   node_*.c    the ports of one process: each call goes on to the world's, unless fate says else
 *   node.c      seats: a process lives, dies and is started again
 *   people.c    producers with their log of what was acknowledged; what happens to topics
 *   users.c     jobs, cancels, training processes
 *   watch.c     objects that may never change
 *   check_*.c   what an outsider can see in the end, against what the people did
 *   world.c     one seed from begin to verdict
 *
 * Everything follows from the seed. Each fault has an id that does not depend on
 * the others, so that a run can be repeated with some of them left out.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/arena.h"
#include "platform/base/err.h"
#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "platform/bus/bus.h"
#include "platform/child/child.h"
#include "platform/clock/clock.h"
#include "schemas/keys.h"

/* What may go wrong at one call of one process, then what may happen in the world. */
#define FAULTS(X)                                                                                  \
    X(SLOW, "slow")                                                                                \
    X(FAIL, "fails")                                                                               \
    X(LOST, "answer lost")                                                                         \
    X(LATE, "fails, takes effect later")                                                           \
    X(TWICE, "takes effect twice")                                                                 \
    X(CUT, "server unreachable")                                                                   \
    X(PAUSE, "process paused")                                                                     \
    X(CRASH_BEFORE, "crash before")                                                                \
    X(CRASH_AFTER, "crash after")                                                                  \
    X(SKEW, "clock jumps")                                                                         \
    X(DRAIN, "SIGTERM")                                                                            \
    X(FLUSH, "FLUSHALL")                                                                           \
    X(BUS_DOWN, "Kafka down")                                                                      \
    X(BLOB_DOWN, "S3 answers 5xx")                                                                 \
    X(BOARD_DOWN, "Redis down")                                                                    \
    X(BLOB_SLOW, "S3 slow")                                                                        \
    X(TRIM, "retention")                                                                           \
    X(RECREATE, "topic re-created")                                                                \
    X(ABORT, "transaction aborted")                                                                \
    X(HOSTILE, "hostile message")                                                                  \
    X(LEAVE, "process stays away")                                                                 \
    X(JOB_TWICE, "job sent twice")                                                                 \
    X(JOB_BAD, "bad job")                                                                          \
    X(CANCEL, "cancel")                                                                            \
    X(CHILD_DIES, "training dies")                                                                 \
    X(CHILD_HANGS, "training hangs")                                                               \
    X(FORGED, "forged done")                                                                       \
    X(OFFSET_LATE, "offset comes late")                                                            \
    X(POISON, "job that kills its trainings")                                                      \
    X(NO_TOPIC, "owner can't be told yet")

enum fault {
    FAULT_NONE,
#define X(name, text) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_KINDS
};
extern const char *const fault_texts[FAULT_KINDS];
/* Of a call that asks no server: opening a consumer, say. */
#define CALL_LOCAL (1u << 31)
enum { FAULT_CALLS = FAULT_DRAIN + 1 /* kinds below happen at calls */ };

enum server { SERVER_BUS, SERVER_BLOB, SERVER_BOARD, SERVERS };
enum service { INGEST, TRAINER, PUBLISHER, SERVICES };

enum { OWNERS = 2, DATASETS = 3, PARTS_MAX = 3, SEATS_MAX = 10, LIVES_MAX = 8 };

struct world;
struct seat;
struct trouble;

/* --- fate.c --- */

struct fired {
    uint64_t id;
    enum fault kind;
};
struct fired_list {
    struct fired *items;
    size_t count, cap;
};
void fired_free(struct fired_list *l);

/* The stream tells uses apart; a pure function of the seed and these two. */
uint64_t fate_draw(const struct world *w, uint32_t stream, uint64_t index);
uint64_t fate_below(const struct world *w, uint32_t stream, uint64_t index, uint64_t n);
/* False: this fault is left out in this run. Else it is counted and noted. */
bool fate_fires(struct world *w, uint64_t id, enum fault kind, const char *where, const char *what);
/* An event of the world, decided by its own stream and index: once in `n`. */
bool fate_event(struct world *w, uint32_t stream, uint64_t index, enum fault kind, uint64_t n,
                const char *where);
void fate_open(struct world *w);

/* --- node.c: a process --- */

/* A producer's messages that are not with Kafka yet. */
struct unsent {
    struct unsent *next;
    struct bus_message *m;
    void *token;
};
struct outbox {
    struct outbox *next;
    struct bus_producer *producer;
    struct unsent *first, **last;
    int64_t since_ms;
};

struct node {
    struct world *w;
    struct seat *seat;
    uint32_t stream; /* of this life's faults */
    uint64_t calls, drawn, slept;
    int64_t moment_ms; /* when it called last, */
    uint64_t at_once;  /* and how often then */
    struct clock clock;
    struct blob blob;
    struct board board;
    struct bus bus;
    struct child_port *child; /* child_mem over the node's clock */
    bool dead, stopping;
    int64_t dead_ms; /* time goes on for the dead without the world */
    int64_t paused_until_ms, skew_ms;
    int64_t cut_until_ms[SERVERS];
    struct outbox *outboxes;
};

struct seat {
    struct world *w;
    enum service service;
    int number; /* of all seats */
    char name[32];
    uint64_t lives;
    struct node *node; /* NULL: nobody sits here */
    struct task *task;
};
void seat_main(void *seat);

void node_clock_init(struct node *n);
void node_stores_init(struct node *n);
void node_bus_init(struct node *n);

void node_gate(struct node *n); /* a paused process waits here */
void node_die(struct node *n);
/* < 0: the call fails without its effect. `can`: bits of 1 << enum fault beyond the usual ones. */
int node_enter(struct node *n, enum server s, const char *call, const char *what, unsigned can,
               enum fault *f, struct err *e);
int node_leave(struct node *n, enum fault f, int rc, struct err *e);
/* How often something befell a trainer or its S3 that may use up an attempt, from `from` on and
 * before `to`; and how often one was told to drain, whose attempts do not count. */
struct troubles {
    int used_up, drains;
};
struct troubles node_troubles(const struct world *w, uint64_t from, uint64_t to);
/* Between the two, in a port's function that has n, f, rc and e: a call, perhaps twice; its answer,
 * perhaps not. */
#define CALL(call)                                                                                 \
    do {                                                                                           \
        rc = call;                                                                                 \
        if (f == FAULT_TWICE)                                                                      \
            rc = call;                                                                             \
        return node_leave(n, f, rc, e);                                                            \
    } while (0)

/* --- people.c --- */

enum sent_kind { SENT_DOCUMENT, SENT_TOMBSTONE, SENT_SEAL, SENT_HOSTILE };
struct sent {
    enum sent_kind kind;
    bool visible; /* acknowledged, and its transaction, if any, committed */
    int32_t partition;
    int64_t offset;
    int64_t ms;    /* when: its timestamp, for docs topics have LogAppendTime */
    uint64_t hash; /* of key and value */
    int seen;      /* in how many segments, as a record or a rejection */
};
/* Retention: from that moment on Kafka had nothing below `low`. */
struct trim {
    uint64_t at;
    int32_t partition;
    int64_t low;
};
/* A topic between its creation and its deletion. */
struct topic_life {
    uint64_t born, gone; /* moments; gone 0: it is there */
    struct sent **sent;  /* in order of sending */
    size_t count, cap;
    struct trim *trims; /* in order */
    size_t trim_count;
};
struct dataset {
    struct world *w;
    int number;
    const char *owner;
    char name[32], topic[KEY_MAX];
    int parts;
    struct topic_life lives[LIVES_MAX];
    int life_count;
    uint64_t turn;
    struct bus_producer *producer;
    struct task *task;
};
void dataset_main(void *dataset);
void dataset_release(struct dataset *d);
uint64_t sent_hash(const void *key, size_t key_len, const void *value, size_t value_len);

/* --- users.c --- */

enum { RUNS_MAX = 64, STEPS = 10 };
struct user_run {
    const char *owner;
    const struct dataset *dataset;
    char name[32], model[16];
    bool bad;       /* its job can't be accepted */
    bool cancelled; /* a cancel was sent, and perhaps was too late */
    bool poison;    /* each of its trainings dies */
    int max_attempts;
    int deaths, counted; /* trainings that died; while no later attempt was there */
    uint64_t begun;      /* the moment */
};
void users_open(struct world *w);
void users_main(void *world);
/* A training process: what it computes depends on its steps alone. `node` is its parent. */
int train(void *node, struct child *self, const struct child_spec *spec);
void trained_text(int steps, char to[64]);

/* --- watch.c --- */

struct watched {
    char *key;
    uint64_t created; /* the moment: when it took effect, not when it was asked for */
    uint64_t hash;
    uint64_t round;
};
void watch_main(void *world);
void watch_once(struct world *w);
/* Before a write without a condition, or a removal: `bytes` NULL. */
void watch_write(struct world *w, const char *key, const void *bytes, size_t size);
int watch_create(struct world *w, const char *key, const void *bytes, size_t size, struct err *e);
/* The moment an object was created that never changes. After watch_once. */
uint64_t watch_created(const struct world *w, const char *key);
void watch_release(struct world *w);

/* --- check_chain.c --- */

void check_chains(struct world *w);
void check_copies(struct world *w); /* after check_chains */

/* --- check_runs.c --- */

void check_runs(struct world *w);

/* --- world.c --- */

struct world_options {
    uint64_t seed;
    bool trace;
    const struct fired_list *only; /* NULL: all faults that the seed draws */
};

struct world {
    struct world_options o;
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct board *board;
    struct keys keys;
    char folder[64];
    int64_t quantum_ms; /* how coarse the timers of the processes are */
    int64_t active_ms;
    int64_t down_until_ms[SERVERS], slow_until_ms;
    bool quiet, closing;
    int64_t closing_ms;
    uint32_t weights[FAULT_CALLS], weight_sum, rate, poll_rate; /* per 100,000 calls */
    struct seat seats[SEATS_MAX];
    int seat_count;
    struct dataset datasets[DATASETS];
    int dataset_count;
    uint64_t serial; /* of documents */
    uint64_t moment; /* what happened so far to topics and objects: their order, also within a ms */
    struct user_run runs[RUNS_MAX];
    int run_count;
    uint64_t children;
    struct trouble *troubles;
    size_t trouble_count, trouble_cap;
    struct bus_consumer *
        *graves; /* of dead processes: members of their group until it expels them */
    size_t grave_count;
    struct late_commit *late_commits;
    struct late_offset *late_offsets;
    uint32_t late_every; /* one offset of so many; 0: none */
    struct watched *watched;
    size_t watched_count, watched_cap;
    uint64_t watch_round;
    struct fired_list fired;
    uint64_t counts[FAULT_KINDS];
    uint64_t trace_hash;
    char violation[600]; /* the first */
    const char *broken;  /* its format: which promise that is */
};

/* What a run left. */
struct verdict {
    char violation[600]; /* "": none */
    const char *broken;  /* the promise, for comparing; NULL: none */
    struct fired_list fired;
    uint64_t counts[FAULT_KINDS];
    uint64_t trace_hash;
    int64_t simulated_ms;
};
void verdict_free(struct verdict *v);

void world_run(const struct world_options *o, struct verdict *out);
int64_t world_now(const struct world *w);
void world_violation(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void world_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes a file and makes its folders; no crash falls into it, so it needs no second name. */
void local_file(const char *path, const void *bytes, size_t size);
/* A failure of the simulation itself. */
void world_must(int rc, const struct err *e);

#endif
