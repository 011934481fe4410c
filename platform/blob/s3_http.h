/*
 * One request to an S3 server: signed, sent over a kept connection, tried again
 * while that makes sense. blob_s3 and its multipart upload are written on it.
 *
 * What is tried again, with full jitter, until the deadline: timeouts and
 * broken connections, answers cut short, 5xx (but not 501), 409, 429, 408. A
 * server that cannot be reached at all is given up sooner (retry.h). No redirect is followed: the
 * signature is for this server. Certificates are always verified.
 *
 * A client is used by any thread; a request and its reply belong to one call.
 */
#ifndef PLATFORM_BLOB_S3_HTTP_H
#define PLATFORM_BLOB_S3_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "platform/blob/blob.h"
#include "platform/blob/ends.h"

#define S3_REPLY_MAX ((size_t)16 << 20) /* a page of 1000 keys of 1024 bytes, encoded, fits */

struct s3_client;

struct s3_request {
    const char *method;               /* GET PUT POST HEAD DELETE */
    const char *key;                  /* NULL: the bucket */
    const char *query;                /* encoded, sorted; NULL: none */
    bool if_absent;                   /* If-None-Match: * */
    const struct blob_source *source; /* NULL: no body; else bytes [offset, offset + size) */
    uint64_t offset, size;
    struct blob_sink *sink; /* where a 2xx body goes; NULL: into the reply */
    bool endless;           /* may take longer than the deadline as long as bytes move */
    int64_t give_up_ms;     /* mono time; 0: the client's deadline from now */
};

struct s3_reply {
    int status;      /* of the last answer; 0: there was none */
    uint64_t length; /* Content-Length of a HEAD or GET */
    int tries;
    char etag[256];
    char code[64], message[256]; /* of an error answer */
    struct buf body;
};

int s3_client_new(struct s3_client **out, const struct blob_s3_options *, struct clock *,
                  struct err *e);
void s3_client_free(struct s3_client *c); /* accepts NULL */

struct clock *s3_client_clock(const struct s3_client *c);
const char *s3_client_bucket(const struct s3_client *c);
size_t s3_client_part_bytes(const struct s3_client *c);
int64_t s3_client_give_up(const struct s3_client *c); /* mono time of a deadline that starts now */

/* 0: a 2xx. Else what the answer means: ERR_NOT_FOUND (404), ERR_EXISTS (412), ERR_DENIED (401,
 * 403), ERR_CONFIG (no such bucket, wrong region), ERR_PEER, or what the sink or source returned.
 */
int s3_send(struct s3_client *c, const struct s3_request *r, struct s3_reply *reply, struct err *e);

void s3_reply_init(struct s3_reply *reply);
void s3_reply_release(struct s3_reply *reply);

/* Appends a GET URL that is valid for `seconds`. */
int s3_presign(struct s3_client *c, const char *key, int64_t seconds, struct buf *url,
               struct err *e);

#endif
