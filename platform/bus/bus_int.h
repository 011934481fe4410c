/*
 * Inside the bus: what the implementations share.
 */
#ifndef PLATFORM_BUS_BUS_INT_H
#define PLATFORM_BUS_BUS_INT_H

#include "platform/bus/bus.h"

enum {
    BUS_POLL_STEP_MS = 100, /* how often a blocked call serves callbacks */
    BUS_REQUEST_MS = 15000, /* one question to the brokers */
    BUS_STABLE_MS = 60000,  /* waiting for open transactions: their own timeout */
    BUS_MESSAGE_TIMEOUT_MS = 60000,
    BUS_SESSION_MS = 10000,
    BUS_METADATA_MS = 5000,
};

/* One block that holds the message and all that it points to: free() it. NULL: out of memory. */
struct bus_message *bus_message_copy(const struct bus_message *m);

/* "topic[3]" for messages to people. */
#define BUS_AT "%s[%d]"

#endif
