/*
 * A topic from where its partitions are to be read from to where they ended when it began, by a
 * consumer in a group of its own: reading by position costs round trips for each record.
 */
#ifndef CLI_TAIL_H
#define CLI_TAIL_H

#include "cli/client.h"
#include "platform/bus/bus.h"

enum { TAIL_PARTITIONS_MAX = 1000 };

struct tail {
    struct client *client;
    const char *topic;
    int partitions;
    int64_t next[TAIL_PARTITIONS_MAX],
        end[TAIL_PARTITIONS_MAX]; /* [next, end) is still to be read */
    struct bus_consumer *consumer;
    int failed; /* inside a callback */
    struct err failure;
};

/* < 0 ends the reading. */
typedef int (*tail_fn)(void *arg, const struct bus_message *m, struct err *e);

/* Every partition has nothing to be read. ERR_NOT_FOUND: no such topic; ERR_LIMIT. */
int tail_open(struct tail *t, struct client *c, const char *topic, struct err *e);

/* [from, the partition's end) is to be read, or less when less is there. */
int tail_want(struct tail *t, int32_t partition, int64_t from, struct err *e);

/* Calls `each` for what is to be read. ERR_CANCELLED: the process is to stop. */
int tail_read(struct tail *t, tail_fn each, void *arg, struct err *e);

#endif
