/*
 * AWS Signature Version 4 for S3, in headers and in query strings.
 *
 * The project signs by itself, although libcurl can: presigned URLs need the
 * query form, which libcurl does not offer, and libcurl 7.88 signs some queries
 * as they stand (unsorted, "uploads" without '='). One signer for both is less
 * than two, and the published examples of AWS test it.
 *
 * Plain functions on borrowed text; any thread. Results go into buffers that
 * the caller checks.
 */
#ifndef PLATFORM_BLOB_SIGV4_H
#define PLATFORM_BLOB_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"

#define SIGV4_TIME  17 /* "20130524T000000Z" with its NUL */
#define SIGV4_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct sigv4_keys {
    const char *access_key, *secret_key, *region;
};

struct sigv4_header {
    const char *name, *value; /* name in lower case, value without outer blanks */
};

struct sigv4_request {
    const char *method;
    const char *path;                   /* percent-encoded, begins with '/' */
    const char *query;                  /* "a=1&b=": encoded and sorted; "" when there is none */
    const struct sigv4_header *headers; /* all that is signed, `host` too, sorted by name */
    size_t header_count;
    const char *payload; /* SHA-256 of the body in hex */
    char time[SIGV4_TIME];
};

/* UTC, of milliseconds since 1970. */
void sigv4_time(int64_t wall_ms, char time[SIGV4_TIME]);

/* Appends the value of the Authorization header. */
void sigv4_authorization(const struct sigv4_keys *k, const struct sigv4_request *r, struct buf *to);

/* Appends the presigned query of a GET of `path` at `host`, valid for `seconds` from `time`. */
void sigv4_presign(const struct sigv4_keys *k, const char *host, const char *path, const char *time,
                   int64_t seconds, struct buf *to);

#endif
