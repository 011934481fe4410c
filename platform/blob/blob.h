/*
 * Objects: the port to S3-compatible storage.
 *
 *   blob_s3      libcurl, SigV4             blob_libs3   libs3 2.0 (SigV2), same behaviour
 *   blob_dir     a folder (fit --local)     blob_mem     memory (tests, simulation)
 *
 * Keys are UTF-8 without leading '/', no empty, "." or ".." segments, at most
 * 1024 bytes; no object's key is a folder of another's. A handle may be used by
 * any thread, several at once. Calls block; each retries what is worth retrying
 * (timeouts, 5xx, 409, 429; no other 4xx) with jitter up to the handle's
 * deadline and then returns ERR_PEER. ERR_DENIED: wrong credentials, rights or bucket.
 */
#ifndef PLATFORM_BLOB_BLOB_H
#define PLATFORM_BLOB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "platform/base/sha256.h"

struct clock;
struct blob;

#define BLOB_CREATE_MAX ((size_t)64 << 20) /* conditional objects are single PUTs */

/* Called per object of a listing, in key order; stop the listing by returning non-zero (returned as
 * it is). */
typedef int (*blob_each_fn)(void *arg, const char *key, uint64_t size);

struct blob_ops {
    int (*get)(struct blob *, const char *key, struct buf *out, struct err *);
    int (*get_file)(struct blob *, const char *key, const char *path, char sha256[SHA256_HEX],
                    struct err *);
    int (*put)(struct blob *, const char *key, const void *bytes, size_t n, struct err *);
    int (*put_file)(struct blob *, const char *key, const char *path, struct err *);
    int (*create)(struct blob *, const char *key, const void *bytes, size_t n, struct err *);
    int (*head)(struct blob *, const char *key, uint64_t *size, struct err *);
    int (*list)(struct blob *, const char *prefix, const char *after, blob_each_fn, void *arg,
                struct err *);
    int (*remove)(struct blob *, const char *key, struct err *);
    int (*presign)(struct blob *, const char *key, int64_t seconds, struct buf *url, struct err *);
    int (*url)(struct blob *, const char *key, struct buf *url, struct err *);
    void (*free)(struct blob *);
};

struct blob {
    const struct blob_ops *ops;
};

struct blob_s3_options {
    const char *endpoint; /* "http://127.0.0.1:9000", "https://s3.eu-central-1.amazonaws.com" */
    const char *region;   /* "us-east-1" */
    const char *bucket;
    const char *access_key, *secret_key;
    const char *ca_file;    /* NULL: the system's */
    int connect_timeout_ms; /* 0: 5000 */
    int stall_timeout_ms;   /* no byte moved for so long; 0: 30000 */
    int deadline_ms;        /* all tries of one request; 0: 120000. get_file: no new try after it */
    size_t part_bytes;      /* multipart part; 0: 8 MiB; objects up to it are single PUTs */
};

int blob_s3(struct blob **out, const struct blob_s3_options *, struct clock *, struct err *e);
int blob_libs3(struct blob **out, const struct blob_s3_options *, struct clock *, struct err *e);
int blob_dir(struct blob **out, const char *folder, struct clock *, struct err *e);
int blob_mem(struct blob **out, struct clock *, struct err *e);

/* Whole object into `out`, replacing what it holds (its max is the limit: ERR_LIMIT).
 * ERR_NOT_FOUND. */
static inline int blob_get(struct blob *b, const char *key, struct buf *out, struct err *e)
{
    return b->ops->get(b, key, out, e);
}
/* Streams into a file, written by temporary name and rename; its SHA-256 comes back. */
static inline int blob_get_file(struct blob *b, const char *key, const char *path,
                                char sha256[SHA256_HEX], struct err *e)
{
    return b->ops->get_file(b, key, path, sha256, e);
}
/* Overwrites. The payload's SHA-256 is always signed. */
static inline int blob_put(struct blob *b, const char *key, const void *bytes, size_t n,
                           struct err *e)
{
    return b->ops->put(b, key, bytes, n, e);
}
/* Overwrites from a file; multipart above part_bytes. */
static inline int blob_put_file(struct blob *b, const char *key, const char *path, struct err *e)
{
    return b->ops->put_file(b, key, path, e);
}
/*
 * Conditional create (If-None-Match: *), the only lock. 0: the object is ours;
 * ERR_EXISTS: another body is there. On 412 the object is read and compared, so
 * one's own lost answer is a win: bodies must carry the writer's nonce. At most
 * BLOB_CREATE_MAX bytes.
 */
static inline int blob_create(struct blob *b, const char *key, const void *bytes, size_t n,
                              struct err *e)
{
    return b->ops->create(b, key, bytes, n, e);
}
/* ERR_NOT_FOUND when absent; `size` may be NULL. */
static inline int blob_head(struct blob *b, const char *key, uint64_t *size, struct err *e)
{
    return b->ops->head(b, key, size, e);
}
/* Keys that begin with `prefix` and are > `after` (NULL: all). Servers show temporary names: match
 * exactly. */
static inline int blob_list(struct blob *b, const char *prefix, const char *after,
                            blob_each_fn each, void *arg, struct err *e)
{
    return b->ops->list(b, prefix, after, each, arg, e);
}
/* A missing object is fine. */
static inline int blob_remove(struct blob *b, const char *key, struct err *e)
{
    return b->ops->remove(b, key, e);
}
/* A GET URL that works without credentials for so many seconds. ERR_UNSUPPORTED on blob_mem. */
static inline int blob_presign(struct blob *b, const char *key, int64_t seconds, struct buf *url,
                               struct err *e)
{
    return b->ops->presign(b, key, seconds, url, e);
}
/* "s3://bucket/key", "file:///folder/key", "mem:///key". */
static inline int blob_url(struct blob *b, const char *key, struct buf *url, struct err *e)
{
    return b->ops->url(b, key, url, e);
}
static inline void blob_free(struct blob *b)
{
    if (b)
        b->ops->free(b);
}

/* Races 64 creates (threads of the clock) under `prefix`; ERR_CONFIG when two won. For `--check`.
 */
int blob_check_create(struct blob *b, struct clock *c, const char *prefix, struct err *e);

/* Is the key well formed? Every implementation asks first. */
int blob_key_check(const char *key, struct err *e);

#endif
