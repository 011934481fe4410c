/*
 * From settings to ports: what a service reaches the world through. Opening does
 * not speak to the servers; ports_check does.
 */
#ifndef PLATFORM_PROC_PORTS_H
#define PLATFORM_PROC_PORTS_H

#include "platform/base/err.h"
#include "platform/conf/services.h"

struct blob;
struct board;
struct bus;
struct child_port;
struct clock;

struct ports {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct board *board;
    struct child_port *child;
};

/* Opens a real clock, processes, and of SETTINGS_KAFKA, SETTINGS_S3, SETTINGS_REDIS those in
 * `parts`; the others stay NULL. `client_id` names this program to Kafka. */
int ports_open(struct ports *p, const struct settings *s, unsigned parts, const char *client_id,
               struct err *e);
void ports_release(struct ports *p); /* accepts a zeroed or half-opened one */

/*
 * Speaks once to each server that is open: asks Kafka for `topic`, reads
 * `board_key` from Redis, lets 64 creates race under `blob_prefix` (NULL: only
 * lists). A topic or key that isn't there is fine; a wrong address or password is not.
 */
int ports_check(const struct ports *p, const char *topic, const char *board_key,
                const char *blob_prefix, struct err *e);

#endif
