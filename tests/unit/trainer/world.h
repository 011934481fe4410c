/*
 * A deployment for the trainer's tests: simulated time, stores in memory, scripted
 * training processes, any number of trainers, each of which may crash at its n-th
 * port call. One thread, unless it is opened for real processes.
 */
#ifndef TESTS_UNIT_TRAINER_WORLD_H
#define TESTS_UNIT_TRAINER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "platform/bus/bus.h"
#include "platform/child/child.h"
#include "platform/clock/clock.h"
#include "schemas/keys.h"
#include "schemas/run.h"
#include "schemas/snapshot.h"
#include "trainer/trainer.h"

#define OWNER "acme"

enum script {
    PLAY_FINE,
    PLAY_CRASH_ONCE, /* behind its first checkpoint, unless it resumed */
    PLAY_CRASH,      /* always, behind its first checkpoint */
    PLAY_REFUSE,     /* a deterministic error */
    PLAY_LINK,       /* its artifact has a link that leads out */
    PLAY_GARBAGE,    /* prints garbage, then goes on */
    PLAY_WORSE       /* says that the model is worse than its backbone */
};

struct world {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct board *board;
    struct child_port *child;
    struct bus_producer *producer;
    struct keys keys;
    const char *program; /* of real training processes, in real time; NULL: scripted ones */
    char folder[64];
    enum script script;
    int steps;            /* of a whole training; 10 */
    int step_ms;          /* 500 */
    int children;         /* started */
    int resumed;          /* of those that found a checkpoint */
    int64_t wait_ms;      /* for ingest; 60000 */
    int64_t checkpoints;  /* that stay; 2 */
    uint64_t incarnation; /* of segments that are put */
    int segment_docs;     /* 4 */
    int classes;          /* of the documents; 3 */
    int label_bytes;      /* at least */
};

/* One trainer with its faults. */
struct node {
    struct world *w;
    struct trainer *trainer;
    struct task *task;
    char work[96];
    bool crashed;
    _Atomic long calls;
    long crash_at; /* 0: never */
    bool frozen;   /* its board calls fail: it can't renew */
    int upload_ms; /* that each file takes to the store */
    int rc;
    struct err e;
    struct blob blob;
    struct board board;
    struct bus bus;
    struct child_port child;
    struct bus_ops bus_table;
};

void world_open(struct world *w, uint64_t seed);
/* Real time, threads and processes; the stores stay in memory. */
void world_open_real(struct world *w, const char *program);
void world_close(struct world *w);

/* `docs` documents in the topic; `ingested` of them in segments. */
void world_documents(struct world *w, int docs, int ingested);
void world_close_chain(struct world *w, int end);                   /* of w->incarnation */
void world_job(struct world *w, const char *run, const char *more); /* more: ",\"x\":1" or "" */
void world_cancel(struct world *w, const char *run);
void world_message(struct world *w, const char *key, const char *value);

void node_start(struct node *n, struct world *w, const char *name, long crash_at);
void node_stop(struct node *n); /* drains it, and waits */
void world_run(struct world *w, int64_t ms);

/* Runs until the run has an end; its state. -1: none within the time. */
int world_until_end(struct world *w, const char *run, int64_t ms);
int world_state(struct world *w, const char *run); /* by end.json; -1 */
struct run_end world_end(struct world *w, const char *run, struct arena *a);
void world_snapshot(struct world *w, const char *run, struct arena *a, struct snapshot *out);
bool world_has(struct world *w, const char *key);
int world_count(struct world *w, const char *prefix);
int world_messages(struct world *w, const char *topic); /* records in partition 0 */
/* One end, one result, and it is what an undisturbed training gives. */
void world_check_finished(struct world *w, const char *run);
char *world_board(struct world *w, const char *run, const char *field, char out[256]);

#endif
