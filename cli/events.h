/*
 * Records of an owner's topics read by position, outside of any consumer group:
 * what watch and fit --follow look at. One thread.
 */
#ifndef CLI_EVENTS_H
#define CLI_EVENTS_H

#include "cli/client.h"

#define EVENTS_PARTITIONS_MAX 1000

struct bus_message;
/* 0: go on; anything else ends the look and is its result. */
typedef int (*events_fn)(void *arg, const struct bus_message *m, struct err *e);

struct events {
    struct client *client; /* borrowed */
    char topic[KEY_MAX];
    int partitions;
    int64_t *next; /* (partitions), owned */
};

/* At the topic's end, or (`from_start`) its beginning. */
int events_open(struct events *v, struct client *c, enum topic_kind kind, bool from_start,
                struct err *e);
void events_release(struct events *v); /* accepts a zeroed one */

/* Everything that is there now. */
int events_look(struct events *v, events_fn each, void *arg, struct err *e);

#endif
