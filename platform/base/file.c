#include "platform/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read(const char *path, struct buf *b, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n = 0;
    bool over = false;
    char *to, extra;
    int rc = 0;

    if (fd < 0)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        rc = err_set(e, ERR_IO, "%s: not a regular file", path);
        goto done;
    }
    do {
        size_t want = st.st_size > (off_t)b->len ? (size_t)st.st_size - b->len : 4096;

        if (b->len == b->max) { /* full: is this its end? */
            n = read(fd, &extra, 1);
            over = n > 0;
            continue;
        }
        if (want > b->max - b->len) /* st_size may promise more than is true */
            want = b->max - b->len;
        to = buf_reserve(b, want);
        if (!to)
            break;
        n = read(fd, to, want);
        if (n > 0)
            b->len += (size_t)n;
    } while ((n > 0 && !over) || (n < 0 && errno == EINTR));
    if (n < 0)
        rc = err_errno(e, ERR_IO, "%s: reading", path);
    else if (over)
        rc = err_set(e, ERR_LIMIT, "%s: larger than %zu bytes", path, b->max);
    else
        rc = buf_check(b, path, e);
    if (b->data)
        b->data[b->len] = '\0';
done:
    close(fd);
    return rc;
}

static int write_all(int fd, const char *bytes, size_t n)
{
    ssize_t k;

    while (n > 0) {
        k = write(fd, bytes, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        bytes += k;
        n -= (size_t)k;
    }
    return 0;
}

static int write_mode(const char *path, const void *bytes, size_t n, mode_t mode, struct err *e)
{
    char tmp[PATH_MAX];
    int fd, rc = 0;

    if (snprintf(tmp, sizeof tmp, "%s.XXXXXX", path) >= (int)sizeof tmp)
        return err_set(e, ERR_IO, "%s: the path is too long", path);
    fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, ERR_IO, "%s: creating", path);
    if (write_all(fd, bytes, n) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0)
        rc = err_errno(e, ERR_IO, "%s: writing", path);
    if (close(fd) < 0 && rc == 0)
        rc = err_errno(e, ERR_IO, "%s: closing", path);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = err_errno(e, ERR_IO, "%s: renaming", path);
    if (rc < 0)
        unlink(tmp);
    return rc;
}

int file_write(const char *path, const void *bytes, size_t n, struct err *e)
{
    return write_mode(path, bytes, n, 0644, e);
}

int file_write_secret(const char *path, const void *bytes, size_t n, struct err *e)
{
    return write_mode(path, bytes, n, 0600, e);
}

int file_mkdirs(const char *path, struct err *e)
{
    char part[PATH_MAX];
    size_t i, n = strlen(path);

    if (n == 0 || n >= sizeof part)
        return err_set(e, ERR_IO, "%s: not a usable folder name", path);
    if (mkdir(path, 0777) == 0 || errno == EEXIST) /* as it mostly is */
        return 0;
    if (errno != ENOENT)
        return err_errno(e, ERR_IO, "%s: creating the folder", path);
    memcpy(part, path, n + 1);
    for (i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0777) < 0 && errno != EEXIST)
            return err_errno(e, ERR_IO, "%s: creating the folder", part);
        part[i] = path[i];
    }
    return 0;
}

/* A folder that nobody may read: once more with the right to. */
static int open_up(FTS *tree, FTSENT *x)
{
    if (x->fts_number++ || fchmodat(AT_FDCWD, x->fts_path, 0700, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    x->fts_errno = 0; /* else it comes back as an error */
    return fts_set(tree, x, FTS_AGAIN);
}

/* What is gone meanwhile is as it should be. */
static int remove_entry(FTS *tree, FTSENT *x)
{
    int rc = 0;

    errno = x->fts_errno;
    switch (x->fts_info) {
    case FTS_D: /* on the way down */
        return 0;
    case FTS_DP:
        rc = rmdir(x->fts_path);
        break;
    case FTS_DNR:
        rc = open_up(tree, x);
        break;
    case FTS_ERR:
    case FTS_NS:
        rc = -1;
        break;
    default: /* not looked at: a link count may lie, or be old, and it is a folder after all */
        rc = unlink(x->fts_path);
        if (rc < 0 && errno == EISDIR)
            rc = fts_set(tree, x, FTS_AGAIN);
    }
    return rc < 0 && errno != ENOENT ? -1 : 0;
}

int file_remove_tree(const char *path, struct err *e)
{
    char *const roots[] = {(char *)(uintptr_t)path, NULL};
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    FTSENT *x = NULL;
    int rc = 0;

    while (tree && rc == 0 && (errno = 0, x = fts_read(tree)))
        rc = remove_entry(tree, x);
    if (!tree || rc < 0 || errno)
        rc = err_errno(e, ERR_IO, "%s: removing", path);
    if (tree)
        fts_close(tree);
    return rc;
}
