/*
 * What operators ask a service over HTTP: /metrics, /healthz, /readyz, by GET or
 * HEAD, nothing else. One thread of libmicrohttpd with few connections, small
 * requests and short patience; the callbacks run on it.
 */
#ifndef PLATFORM_PROC_HTTP_H
#define PLATFORM_PROC_HTTP_H

#include <stdbool.h>

#include "platform/base/err.h"

struct http;
struct metrics;

struct http_options {
    const char *address;     /* "127.0.0.1:9100", "[::1]:0"; port 0: a free one */
    struct metrics *metrics; /* borrowed */
    /* Writes a reason into `why` when false. NULL: always. */
    bool (*healthy)(void *arg, struct err *why);
    bool (*ready)(void *arg, struct err *why);
    void *arg;
};

int http_start(struct http **out, const struct http_options *o, struct err *e);
void http_stop(struct http *h); /* accepts NULL; no callback runs after it */
int http_port(const struct http *h);

#endif
