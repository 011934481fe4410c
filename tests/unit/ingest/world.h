/*
 * A deployment in memory for tests of ingest: simulated time, bus_mem, blob_mem,
 * one producer, and faults at any call that an ingester makes through its ports.
 */
#ifndef TESTS_UNIT_INGEST_WORLD_H
#define TESTS_UNIT_INGEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ingest/ingest.h"
#include "platform/base/log.h"
#include "platform/blob/blob_mem.h"
#include "platform/clock/clock.h"
#include "tests/unit/ingest/chain_check.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_BEFORE,       /* one call fails without its effect */
    FAULT_AFTER,        /* one call has its effect, its answer is lost */
    FAULT_CRASH_BEFORE, /* that call and all later ones fail: the process is dead */
    FAULT_CRASH_AFTER,
    FAULT_KINDS
};

struct world {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct bus_producer *producer;
    struct ingest_options o;
    /* faults; `armed` only while an ingester runs */
    enum fault_kind kind;
    bool armed, fired, dead;
    int at, calls;
    int64_t compacted_from, compacted_to; /* offsets [from, to) are not read back any more */
    void (*on_read)(void);                /* befalls the topic once, before the next read_at */
    void (*on_create)(void);              /* befalls the store once, before the next create */
    /* the events of the log since the begin */
    struct buf log;
    bool ready;
};

#define TOPIC "tripline.docs.acme.news"

void world_open(struct world *w);
void world_close(struct world *w);
void world_topic(struct world *w, const char *topic, int partitions);

struct ingest *world_ingest(struct world *w);
void world_run(struct world *w, struct ingest *in, int64_t ms);

void world_put(struct world *w, int32_t partition, const char *id, const char *label);
void world_send(struct world *w, int32_t partition, const char *key, const void *value,
                size_t value_len, const char *header, const char *header_value);
void world_seal(struct world *w, int32_t partition);
/* `count` documents in one transaction. */
void world_transaction(struct world *w, int32_t partition, int count, bool commit);

/* chain_check of one partition of TOPIC. */
struct chain_seen world_check(struct world *w, uint64_t incarnation, int32_t partition);
/* As world_check, and all that is in the topic is covered. */
struct chain_seen world_check_all(struct world *w, int32_t partition);
size_t world_count(struct world *w, const char *topic); /* records in all partitions */
int world_logged(const struct world *w, const char *event);

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

#endif
