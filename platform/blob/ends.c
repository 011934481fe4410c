#include "platform/blob/ends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void source_memory(struct blob_source *s, const void *bytes, size_t n)
{
    memset(s, 0, sizeof *s);
    s->bytes = n ? bytes : "";
    s->fd = -1;
    s->size = n;
}

int source_file(struct blob_source *s, const char *path, struct err *e)
{
    struct stat st;

    memset(s, 0, sizeof *s);
    s->path = path;
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: opening for upload",
                         path);
    if (fstat(s->fd, &st) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_IO, "%s: not a regular file", path);
    s->size = (uint64_t)st.st_size;
    return 0;
}

void source_release(struct blob_source *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int source_read(const struct blob_source *s, uint64_t offset, void *to, size_t n, struct err *e)
{
    char *at = to;
    ssize_t k;

    if (s->bytes) {
        memcpy(to, s->bytes + offset, n);
        return 0;
    }
    while (n > 0) {
        k = pread(s->fd, at, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(e, ERR_IO, "%s: reading", s->path);
        if (k == 0)
            return err_set(e, ERR_IO, "%s: became shorter while it was read", s->path);
        at += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return 0;
}

int source_sha256(const struct blob_source *s, uint64_t offset, uint64_t n, char hex[SHA256_HEX],
                  struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    char piece[32768];
    struct sha256 *sha;
    int rc = 0;

    if (s->bytes) {
        sha256_of(s->bytes + offset, n, hex);
        return 0;
    }
    sha = sha256_new();
    if (!sha)
        return err_set(e, ERR_NOMEM, "%s: no memory to hash it", s->path);
    while (n > 0 && rc == 0) {
        size_t k = n < sizeof piece ? (size_t)n : sizeof piece;

        rc = source_read(s, offset, piece, k, e);
        if (rc == 0)
            sha256_add(sha, piece, k);
        offset += k;
        n -= k;
    }
    sha256_end(sha, digest);
    sha256_hex(digest, hex);
    sha256_free(sha);
    return rc;
}

static int buf_begin(struct blob_sink *sink, uint64_t length, struct err *e)
{
    struct sink_buf *s = (struct sink_buf *)sink;

    buf_reset(s->out);
    if (length > s->out->max)
        return err_set(e, ERR_LIMIT, "%s: %llu bytes, more than the %zu allowed here", s->key,
                       (unsigned long long)length, s->out->max);
    return 0;
}

static int buf_write(struct blob_sink *sink, const void *bytes, size_t n, struct err *e)
{
    struct sink_buf *s = (struct sink_buf *)sink;

    buf_add(s->out, bytes, n);
    return buf_check(s->out, s->key, e);
}

void sink_buf_init(struct sink_buf *s, struct buf *out, const char *key)
{
    s->sink.begin = buf_begin;
    s->sink.write = buf_write;
    s->out = out;
    s->key = key;
}

static int file_begin(struct blob_sink *sink, uint64_t length, struct err *e)
{
    struct sink_file *s = (struct sink_file *)sink;
    unsigned char drop[SHA256_SIZE];

    if (!s->sha)
        s->sha = sha256_new();
    if (!s->sha)
        return err_set(e, ERR_NOMEM, "%s: no memory to hash it", s->path);
    sha256_end(s->sha, drop); /* an earlier try's bytes */
    if (s->fd < 0) {
        if (snprintf(s->tmp, sizeof s->tmp, "%s.XXXXXX", s->path) >= (int)sizeof s->tmp)
            return err_set(e, ERR_IO, "%s: the path is too long", s->path);
        s->fd = mkostemp(s->tmp, O_CLOEXEC);
        if (s->fd < 0)
            return err_errno(e, ERR_IO, "%s: creating", s->path);
    }
    if (ftruncate(s->fd, 0) < 0 || lseek(s->fd, 0, SEEK_SET) < 0)
        return err_errno(e, ERR_IO, "%s: starting over", s->path);
    return 0;
}

static int file_write_some(struct blob_sink *sink, const void *bytes, size_t n, struct err *e)
{
    struct sink_file *s = (struct sink_file *)sink;
    const char *at = bytes;
    ssize_t k;

    sha256_add(s->sha, bytes, n);
    while (n > 0) {
        k = write(s->fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(e, ERR_IO, "%s: writing", s->path);
        at += k;
        n -= (size_t)k;
    }
    return 0;
}

void sink_file_init(struct sink_file *s, const char *path)
{
    memset(s, 0, sizeof *s);
    s->sink.begin = file_begin;
    s->sink.write = file_write_some;
    s->path = path;
    s->fd = -1;
}

int sink_file_end(struct sink_file *s, char sha256[SHA256_HEX], struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    int fd = s->fd, rc = 0;

    if (fchmod(fd, 0644) < 0 || fsync(fd) < 0)
        rc = err_errno(e, ERR_IO, "%s: writing", s->path);
    s->fd = -1;
    if (close(fd) < 0 && rc == 0)
        rc = err_errno(e, ERR_IO, "%s: closing", s->path);
    if (rc == 0 && rename(s->tmp, s->path) < 0)
        rc = err_errno(e, ERR_IO, "%s: renaming", s->path);
    if (rc < 0) {
        unlink(s->tmp);
        return rc;
    }
    sha256_end(s->sha, digest);
    sha256_hex(digest, sha256);
    return 0;
}

void sink_file_release(struct sink_file *s)
{
    if (s->fd >= 0) {
        close(s->fd);
        unlink(s->tmp);
    }
    s->fd = -1;
    sha256_free(s->sha);
    s->sha = NULL;
}

static int differs(const struct sink_same *s, struct err *e)
{
    return err_set(e, ERR_EXISTS, "%s: exists already, with another content", s->key);
}

static int same_begin(struct blob_sink *sink, uint64_t length, struct err *e)
{
    struct sink_same *s = (struct sink_same *)sink;

    s->seen = 0;
    return length == s->n ? 0 : differs(s, e);
}

static int same_write(struct blob_sink *sink, const void *bytes, size_t n, struct err *e)
{
    struct sink_same *s = (struct sink_same *)sink;

    if (n > s->n - s->seen || memcmp(s->want + s->seen, bytes, n) != 0)
        return differs(s, e);
    s->seen += n;
    return 0;
}

void sink_same_init(struct sink_same *s, const void *want, size_t n, const char *key)
{
    s->sink.begin = same_begin;
    s->sink.write = same_write;
    s->want = n ? want : "";
    s->n = n;
    s->seen = 0;
    s->key = key;
}

int sink_same_end(const struct sink_same *s, struct err *e)
{
    return s->seen == s->n ? 0 : differs(s, e);
}

void blob_percent(struct buf *to, const char *text, bool keep_slash)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char digits[] = "0123456789ABCDEF";
    const unsigned char *p;

    for (p = (const unsigned char *)text; *p; p++) {
        if (strchr(plain, *p) || (keep_slash && *p == '/')) {
            buf_char(to, (char)*p);
        } else {
            buf_char(to, '%');
            buf_char(to, digits[*p >> 4]);
            buf_char(to, digits[*p & 15]);
        }
    }
}
