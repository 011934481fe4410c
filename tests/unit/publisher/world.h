/*
 * A deployment in memory for tests of the publisher: simulated time, bus_mem,
 * blob_mem, and faults at any call that a publisher makes through its ports.
 */
#ifndef TESTS_UNIT_PUBLISHER_WORLD_H
#define TESTS_UNIT_PUBLISHER_WORLD_H

#include "platform/base/log.h"
#include "platform/blob/blob_mem.h"
#include "publisher/publisher.h"
#include "tests/unit/publisher/facts.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_BEFORE,       /* one call fails without its effect */
    FAULT_AFTER,        /* one call has its effect, its answer is lost */
    FAULT_CRASH_BEFORE, /* that call and all later ones fail: the process is dead */
    FAULT_CRASH_AFTER,
    FAULT_KINDS
};

struct world {
    struct facts f;
    struct publisher_options o;
    struct arena arena;
    /* faults; `armed` only while a publisher runs */
    enum fault_kind kind;
    bool armed, fired, dead;
    int at, calls;
    /* called once, before the named call of a publisher */
    const char *hook_call;
    void (*hook)(struct world *);
    struct buf log;
    bool ready;
};

void world_open(struct world *w);
void world_close(struct world *w);
struct publisher *world_publisher(struct world *w);
void world_run(struct world *w, struct publisher *pub, int64_t ms);
int world_logged(const struct world *w, const char *event);

#endif
