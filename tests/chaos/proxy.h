/*
 * A fault proxy before the S3 server: every request comes through it on a
 * loopback port of its own, and is answered as the modes that are on ask for.
 * Without one it is carried over unchanged. Threads of its own; the calls may be
 * made from any.
 */
#ifndef TESTS_CHAOS_PROXY_H
#define TESTS_CHAOS_PROXY_H

#include <stdbool.h>

enum proxy_mode {
    PROXY_5XX,  /* 500, 502, 503 or 504 instead; half of them after the server did it */
    PROXY_4XX,  /* 401 or 403 to everything */
    PROXY_HANG, /* no answer until the client gives up */
    PROXY_SLOW, /* the answer comes 0.2 to 2 s later */
    PROXY_CUT,  /* half of the request, or half of the answer, then the connection ends */
    PROXY_LOST, /* the server does it, and its answer never arrives */
    PROXY_MODES
};

/* Serves http://127.0.0.1:PORT for the server at that loopback port; the own port, or -1. */
int proxy_start(int upstream_port);
/* `percent` of the requests; 0: off. */
void proxy_set(enum proxy_mode mode, int percent);
/* Requests that the mode spoilt so far. */
long proxy_count(enum proxy_mode mode);

#endif
