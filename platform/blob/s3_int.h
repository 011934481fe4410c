/*
 * The inside of an S3 client, shared by s3_client.c (settings, connections) and
 * s3_http.c (requests).
 */
#ifndef PLATFORM_BLOB_S3_INT_H
#define PLATFORM_BLOB_S3_INT_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "platform/base/buf.h"
#include "platform/blob/s3_http.h"

#define S3_IDLE_MAX 16 /* kept connections; more may be open at once */

struct s3_client {
    struct clock *clock; /* borrowed */
    char *base;          /* "http://127.0.0.1:9000" */
    const char *host;    /* the part of `base` behind "://" */
    char *region, *bucket, *access_key, *secret_key, *ca_file;
    bool loopback; /* never through a proxy */
    int connect_timeout_ms, stall_timeout_ms, deadline_ms;
    size_t part_bytes;

    pthread_mutex_t lock; /* idle, idle_count */
    CURL *idle[S3_IDLE_MAX];
    size_t idle_count;
};

/* A handle carries its connection: the last one put back is the warmest. NULL: out of memory. */
CURL *s3_take_handle(struct s3_client *c);
void s3_put_handle(struct s3_client *c, CURL *easy);

/* Appends the encoded path of an object, or of the bucket (NULL). */
void s3_path(const struct s3_client *c, const char *key, struct buf *path);

#endif
