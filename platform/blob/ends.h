/*
 * The two ends of a transfer, shared by the implementations of the port.
 *
 * A source is what an upload reads: memory, or a file by pread, so that a try
 * can begin again anywhere and parts need no copy. A sink is what a download
 * writes: memory, a file, or a comparison with what one expects. A sink's
 * `begin` starts a body; a second `begin` starts it over (another try).
 *
 * Both are plain structs on the caller's stack and belong to one call; strings
 * and memory are borrowed.
 */
#ifndef PLATFORM_BLOB_ENDS_H
#define PLATFORM_BLOB_ENDS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "platform/base/sha256.h"

#define BLOB_KEY_MAX 1024

struct blob_source {
    const char *bytes; /* memory; NULL: the file */
    const char *path;
    int fd; /* -1: none */
    uint64_t size;
};

void source_memory(struct blob_source *s, const void *bytes, size_t n);
int source_file(struct blob_source *s, const char *path, struct err *e);
void source_release(struct blob_source *s); /* accepts one whose source_file failed */
/* Exactly `n` bytes at `offset`; a file that became shorter is ERR_IO. */
int source_read(const struct blob_source *s, uint64_t offset, void *to, size_t n, struct err *e);
int source_sha256(const struct blob_source *s, uint64_t offset, uint64_t n, char hex[SHA256_HEX],
                  struct err *e);

struct blob_sink {
    int (*begin)(struct blob_sink *, uint64_t length, struct err *);
    int (*write)(struct blob_sink *, const void *bytes, size_t n, struct err *);
};

/* Into a buffer, replacing what it holds; ERR_LIMIT above its max. */
struct sink_buf {
    struct blob_sink sink;
    struct buf *out;
    const char *key;
};
void sink_buf_init(struct sink_buf *s, struct buf *out, const char *key);

/* Into a temporary file beside `path`; sink_file_end gives it its name, release takes it away. */
struct sink_file {
    struct blob_sink sink;
    const char *path;
    char tmp[PATH_MAX];
    int fd; /* -1: none yet */
    struct sha256 *sha;
};
void sink_file_init(struct sink_file *s, const char *path);
int sink_file_end(struct sink_file *s, char sha256[SHA256_HEX], struct err *e);
void sink_file_release(struct sink_file *s);

/* Compares; ERR_EXISTS at the first difference (and of a body that never came: `seen` < n). */
struct sink_same {
    struct blob_sink sink;
    const char *want, *key;
    size_t n, seen;
};
void sink_same_init(struct sink_same *s, const void *want, size_t n, const char *key);
int sink_same_end(const struct sink_same *s, struct err *e); /* 0: all was equal */

/* A listing's prefix: as a key, but it may be empty, end in '/' or in the middle of a name. */
int blob_prefix_check(const char *prefix, struct err *e);

/* Percent-encodes all but unreserved characters (RFC 3986) and, when `keep_slash`, '/'. */
void blob_percent(struct buf *to, const char *text, bool keep_slash);

#endif
