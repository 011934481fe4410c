/*
 * The main of a service: command line, settings, ports, metrics, signals. What
 * is left for the service is a table of its own settings and a loop.
 *
 *   --config FILE  --set key=value  --print-config  --print-example-config
 *   --print-config-page  --check  --help  --version
 *
 * Exit status: 0 after a drain or a check that passed; else that of the error
 * (platform/base/err.h), which is also one line on stderr.
 */
#ifndef PLATFORM_PROC_SERVICE_H
#define PLATFORM_PROC_SERVICE_H

#include <stdbool.h>

#include "platform/conf/services.h"
#include "platform/proc/metrics.h"
#include "platform/proc/ports.h"

struct service_ready; /* shared with the HTTP thread */

/* What a running service has. All of it is lent. */
struct service_context {
    const struct settings *settings;
    struct conf *conf;
    struct ports *ports;
    struct metrics *metrics;
    struct service_ready *ready;
};

struct service {
    const char *name;         /* "tripline-ingest" */
    const char *about;        /* one line for --help */
    unsigned parts;           /* which shared settings, and with them which ports */
    const char *http_address; /* the default of http.address; NULL: the table's */
    void *self;               /* handed to the functions below */
    /* Adds the service's own rows; NULL: none. */
    int (*settings)(void *self, struct conf *c, struct err *e);
    /* Speaks to the servers once (ports_check); for --check. NULL: nothing to check. */
    int (*check)(void *self, struct service_context *x, struct err *e);
    /* Runs until clock_stopping; 0: drained. */
    int (*run)(void *self, struct service_context *x, struct err *e);
};

/* What /readyz says; before the first call: not ready, "starting". `why` is copied. */
void service_set_ready(struct service_context *x, bool ready, const char *why);

int service_main(const struct service *s, int argc, char **argv);

#endif
