/*
 * A tiny HTTP server on a loopback port that answers by script: one step per
 * request, the last step for all that follow. It notes what it was asked. One
 * connection at a time; one thread of its own, ended by fault_server_stop.
 */
#ifndef TESTS_UNIT_BLOB_FAULT_SERVER_H
#define TESTS_UNIT_BLOB_FAULT_SERVER_H

#include <stdbool.h>
#include <stddef.h>

enum fault_how {
    ANSWER,    /* all of it, then close */
    KEEP,      /* all of it, and the connection stays */
    CUT,       /* the length of all, half of the body */
    HANG,      /* nothing, ever */
    DROP,      /* reads the request and closes */
    NO_LENGTH, /* the body ends with the connection */
    ENDLESS,   /* states a length of 10^12 */
};

struct fault_step {
    enum fault_how how;
    int status;
    const char *body;    /* NULL: none */
    const char *headers; /* NULL: none; else lines that end in CRLF */
};

struct fault_request {
    char method[8], target[1024];
    bool if_absent;   /* If-None-Match: * */
    bool signed_v4;   /* a SigV4 Authorization header */
    bool hash_right;  /* x-amz-content-sha256 is the body's */
    bool md5_present; /* Content-MD5 */
    size_t body_len;
};

struct fault_server;

struct fault_server *fault_server_start(const struct fault_step *steps, size_t n);
const char *fault_server_endpoint(const struct fault_server *s);
/* After these, from the test's thread, once the calls have returned. */
size_t fault_server_count(struct fault_server *s); /* requests */
size_t fault_server_connections(struct fault_server *s);
struct fault_request fault_server_request(struct fault_server *s, size_t i);
void fault_server_stop(struct fault_server *s);

#endif
