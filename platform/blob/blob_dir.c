/*
 * A folder as a store. An object is a file; it is written under a temporary
 * name in the store's own corner (TEMP) and then linked (create) or renamed
 * (put) into place, so that no reader ever sees a part of it. Folders come with
 * the first object and go with the last. No symbolic link below the store's
 * folder is followed.
 */
#include "platform/blob/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/blob/ends.h"
#include "platform/clock/clock.h"

#define TEMP        ".blob-tmp"
#define TEMP_DAYS   1  /* leftovers of killed processes are removed after so long */
#define RACE_ROUNDS 64 /* another process removes a folder that we just made */

struct dir {
    struct blob blob;
    struct clock *clock; /* borrowed */
    char *folder;        /* absolute */
    int root, temp;      /* descriptors; -1: none */
};

/* A key taken apart: the folder that holds it, open, and the name within. */
struct place {
    const char *key, *name;
    int folder;
};

static int check_key(const char *key, struct err *e)
{
    int rc = blob_key_check(key, e);
    size_t n = strlen(TEMP);

    if (rc == 0 && strncmp(key, TEMP, n) == 0 && (key[n] == '/' || key[n] == '\0'))
        rc = err_set(e, ERR_USAGE, "key '%s': '%s' is the store's own", key, TEMP);
    return rc;
}

static int fail_at(const struct dir *d, const char *key, struct err *e)
{
    if (errno == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "%s/%s: not found", d->folder, key);
    if (errno == ENOTDIR || errno == EISDIR || errno == ELOOP)
        return err_set(e, ERR_USAGE,
                       "%s/%s: a file is where a folder should be, or a folder where a file should "
                       "be, or a link",
                       d->folder, key);
    return err_errno(e, errno == ENAMETOOLONG ? ERR_LIMIT : ERR_IO, "%s/%s", d->folder, key);
}

/* For a reader, what lies below a file, or is a folder, is no object. */
static int fail_read(const struct dir *d, const char *key, struct err *e)
{
    if (errno == ENOTDIR || errno == EISDIR)
        errno = ENOENT;
    return fail_at(d, key, e);
}

/* Walks `n` bytes of path below the root, link by link refused; a descriptor, or -1 and errno. */
static int walk(const struct dir *d, const char *path, size_t n, bool make)
{
    char name[NAME_MAX + 1];
    int at = fcntl(d->root, F_DUPFD_CLOEXEC, 0), next;
    size_t i = 0, k;

    while (at >= 0 && i < n) {
        const char *slash = memchr(path + i, '/', n - i);

        k = slash ? (size_t)(slash - path) - i : n - i;
        if (k > NAME_MAX) {
            close(at);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, path + i, k);
        name[k] = '\0';
        if (make && mkdirat(at, name, 0777) < 0 && errno != EEXIST)
            next = -1;
        else
            next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close(at);
        at = next;
        i += k + 1;
    }
    return at;
}

/* 0, or an error with errno's meaning. The caller closes place->folder. */
static int locate(const struct dir *d, const char *key, bool make, struct place *p, struct err *e)
{
    const char *slash = strrchr(key, '/');

    p->key = key;
    p->name = slash ? slash + 1 : key;
    p->folder = walk(d, key, slash ? (size_t)(slash - key) : 0, make);
    if (p->folder >= 0)
        return 0;
    return make ? fail_at(d, key, e) : fail_read(d, key, e);
}

static int copy_out(const struct blob_source *source, int fd, const char *key, struct err *e)
{
    char piece[65536];
    uint64_t at = 0;
    int rc;

    while (at < source->size) {
        size_t n = source->size - at < sizeof piece ? (size_t)(source->size - at) : sizeof piece;
        const char *p = piece;

        rc = source_read(source, at, piece, n, e);
        if (rc < 0)
            return rc;
        at += n;
        while (n > 0) {
            ssize_t k = write(fd, p, n);

            if (k < 0 && errno != EINTR)
                return err_errno(e, ERR_IO, "%s: writing", key);
            p += k > 0 ? k : 0;
            n -= k > 0 ? (size_t)k : 0;
        }
    }
    return 0;
}

/* The bytes, safe on disk, as TEMP/`tmp`. */
static int write_temp(struct dir *d, const struct blob_source *source, const char *key,
                      char tmp[33], struct err *e)
{
    int fd, rc;

    clock_nonce(d->clock, tmp);
    fd = openat(d->temp, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_errno(e, ERR_IO, "%s/" TEMP ": creating", d->folder);
    rc = copy_out(source, fd, key, e);
    if (rc == 0 && fsync(fd) < 0)
        rc = err_errno(e, ERR_IO, "%s: writing", key);
    if (close(fd) < 0 && rc == 0)
        rc = err_errno(e, ERR_IO, "%s: closing", key);
    if (rc < 0)
        unlinkat(d->temp, tmp, 0);
    return rc;
}

/* Into place: replacing, or only where nothing is (errno EEXIST). */
static int enter(struct dir *d, const char *tmp, const struct place *p, bool replace)
{
    struct stat st;
    int rc;

    if (replace)
        return renameat(d->temp, tmp, p->folder, p->name);
    if (fstatat(p->folder, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    rc = linkat(d->temp, tmp, p->folder, p->name, 0);
    if (rc < 0 && (errno == EPERM || errno == EOPNOTSUPP)) /* a file system without hard links */
        rc = renameat2(d->temp, tmp, p->folder, p->name, RENAME_NOREPLACE);
    return rc;
}

static int store(struct dir *d, const char *key, const struct blob_source *source, bool replace,
                 struct err *e)
{
    struct place p;
    char tmp[33];
    int rc, i, entered = -1;

    rc = write_temp(d, source, key, tmp, e);
    if (rc < 0)
        return rc;
    for (i = 0; i < RACE_ROUNDS && entered < 0; i++) {
        rc = locate(d, key, true, &p, e);
        if (rc == ERR_NOT_FOUND)
            continue; /* a folder on the way was removed in between */
        if (rc < 0)
            break;
        entered = enter(d, tmp, &p, replace);
        if (entered == 0 && fsync(p.folder) < 0)
            rc = err_errno(e, ERR_IO, "%s/%s: writing the folder", d->folder, key);
        else if (entered < 0 && errno == EEXIST && !replace)
            rc = err_set(e, ERR_EXISTS, "%s/%s: exists already", d->folder, key);
        else if (entered < 0)
            rc = fail_at(d, key, e);
        close(p.folder);
        if (entered < 0 && rc != ERR_NOT_FOUND)
            break;
    }
    unlinkat(d->temp, tmp, 0); /* gone already when renamed */
    return rc == ERR_NOT_FOUND
               ? err_set(e, ERR_IO, "%s/%s: its folder vanishes again and again", d->folder, key)
               : rc;
}

/* The object through a sink. */
static int drain(struct dir *d, const char *key, struct blob_sink *sink, struct err *e)
{
    struct blob_source source = {.path = key, .fd = -1};
    char piece[65536];
    struct place p;
    struct stat st;
    uint64_t at;
    int rc = locate(d, key, false, &p, e);

    if (rc < 0)
        return rc;
    source.fd = openat(p.folder, p.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    rc = source.fd < 0 || fstat(source.fd, &st) < 0 ? fail_read(d, key, e) : 0;
    close(p.folder);
    if (rc == 0 && !S_ISREG(st.st_mode))
        rc = err_set(e, ERR_NOT_FOUND, "%s/%s: not a regular file", d->folder, key);
    if (rc == 0) {
        source.size = (uint64_t)st.st_size;
        rc = sink->begin(sink, source.size, e);
    }
    for (at = 0; rc == 0 && at < source.size;) {
        size_t n = source.size - at < sizeof piece ? (size_t)(source.size - at) : sizeof piece;

        rc = source_read(&source, at, piece, n, e);
        if (rc == 0)
            rc = sink->write(sink, piece, n, e);
        at += n;
    }
    source_release(&source);
    return rc;
}

static int dir_get(struct blob *b, const char *key, struct buf *out, struct err *e)
{
    struct sink_buf sink;
    int rc = check_key(key, e);

    sink_buf_init(&sink, out, key);
    return rc < 0 ? rc : drain((struct dir *)b, key, &sink.sink, e);
}

static int dir_get_file(struct blob *b, const char *key, const char *path, char sha256[SHA256_HEX],
                        struct err *e)
{
    struct sink_file sink;
    int rc = check_key(key, e);

    sink_file_init(&sink, path);
    if (rc == 0)
        rc = drain((struct dir *)b, key, &sink.sink, e);
    if (rc == 0)
        rc = sink_file_end(&sink, sha256, e);
    sink_file_release(&sink);
    return rc;
}

static int dir_put(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    struct blob_source source;
    int rc = check_key(key, e);

    source_memory(&source, bytes, n);
    return rc < 0 ? rc : store((struct dir *)b, key, &source, true, e);
}

static int dir_put_file(struct blob *b, const char *key, const char *path, struct err *e)
{
    struct blob_source source;
    int rc = check_key(key, e);

    if (rc < 0)
        return rc;
    rc = source_file(&source, path, e);
    if (rc == 0)
        rc = store((struct dir *)b, key, &source, true, e);
    source_release(&source);
    return rc;
}

static int dir_create(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    struct blob_source source;
    struct sink_same same;
    int rc = check_key(key, e), i;

    if (rc == 0 && n > BLOB_CREATE_MAX)
        rc = err_set(e, ERR_LIMIT, "%s: %zu bytes, a conditional object has at most %zu", key, n,
                     BLOB_CREATE_MAX);
    source_memory(&source, bytes, n);
    for (i = 0; i < RACE_ROUNDS && rc == 0; i++) {
        rc = store((struct dir *)b, key, &source, false, e);
        if (rc != ERR_EXISTS)
            return rc;
        sink_same_init(&same, bytes, n, key);
        rc = drain((struct dir *)b, key, &same.sink, e);
        if (rc == 0)
            return sink_same_end(&same, e);
        if (rc == ERR_NOT_FOUND) /* removed in between */
            rc = i + 1 < RACE_ROUNDS ? 0 : err_set(e, ERR_IO, "%s: comes and goes", key);
    }
    return rc;
}

static int dir_head(struct blob *b, const char *key, uint64_t *size, struct err *e)
{
    struct dir *d = (struct dir *)b;
    struct place p;
    struct stat st;
    int rc = check_key(key, e);

    if (rc == 0)
        rc = locate(d, key, false, &p, e);
    if (rc < 0)
        return rc;
    if (fstatat(p.folder, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        rc = fail_at(d, key, e);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_NOT_FOUND, "%s/%s: not a regular file", d->folder, key);
    else if (size)
        *size = (uint64_t)st.st_size;
    close(p.folder);
    return rc;
}

/* The folders above a removed object, as long as they are empty. */
static void prune(struct dir *d, const char *key)
{
    char part[BLOB_KEY_MAX + 1];
    struct err ignored = ERR_INIT;
    struct place p;
    char *slash;
    bool gone = true;

    snprintf(part, sizeof part, "%s", key);
    while (gone && (slash = strrchr(part, '/'))) {
        *slash = '\0';
        if (locate(d, part, false, &p, &ignored) < 0)
            return;
        gone = unlinkat(p.folder, p.name, AT_REMOVEDIR) == 0;
        close(p.folder);
    }
}

static int dir_remove(struct blob *b, const char *key, struct err *e)
{
    struct dir *d = (struct dir *)b;
    struct place p;
    int rc = check_key(key, e);

    if (rc == 0)
        rc = locate(d, key, false, &p, e);
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    if (unlinkat(p.folder, p.name, 0) < 0)
        rc = fail_read(d, key, e);
    close(p.folder);
    if (rc == 0)
        prune(d, key);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* One folder's entries; folders carry a '/' so that sorting by bytes is the order of keys. */
struct entries {
    char **names;
    size_t count, cap;
};

struct listing {
    struct dir *dir;
    const char *prefix, *after; /* after: NULL or text */
    blob_each_fn each;
    void *arg;
    struct err *e;
};

static void entries_release(struct entries *list)
{
    size_t i;

    for (i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}

static int add_entry(struct entries *list, const char *name, bool folder, struct err *e)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        char **names = realloc(list->names, cap * sizeof *names);

        if (!names)
            return err_set(e, ERR_NOMEM, "no memory for a listing");
        list->names = names;
        list->cap = cap;
    }
    if (asprintf(&list->names[list->count], "%s%s", name, folder ? "/" : "") < 0)
        return err_set(e, ERR_NOMEM, "no memory for a listing");
    list->count++;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Consumes the descriptor. */
static int read_entries(int fd, struct entries *list, struct err *e)
{
    DIR *folder = fdopendir(fd);
    struct dirent *entry;
    struct stat st;
    int rc = 0;

    if (!folder) {
        close(fd);
        return err_errno(e, ERR_IO, "reading a folder");
    }
    while (rc == 0 && (errno = 0, entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
            rc = add_entry(list, entry->d_name, S_ISDIR(st.st_mode), e);
    }
    if (rc == 0 && errno)
        rc = err_errno(e, ERR_IO, "reading a folder");
    closedir(folder);
    if (list->count > 1)
        qsort(list->names, list->count, sizeof *list->names, compare);
    return rc;
}

static int list_file(struct listing *l, const char *key)
{
    struct err ignored = ERR_INIT;
    uint64_t size;

    if (strncmp(key, l->prefix, strlen(l->prefix)) != 0 || (l->after && strcmp(key, l->after) <= 0))
        return 0;
    if (dir_head(&l->dir->blob, key, &size, &ignored) < 0)
        return 0; /* removed in between, or a name that is no key */
    return l->each(l->arg, key, size);
}

/* Can a key that begins with `path` (ends in '/') be wanted? */
static bool worth_entering(const struct listing *l, const char *path)
{
    size_t n = strlen(path), k = strlen(l->prefix);

    if (strncmp(path, l->prefix, n < k ? n : k) != 0 || strcmp(path, TEMP "/") == 0)
        return false;
    return !l->after || strncmp(path, l->after, n) >= 0;
}

/* `path`: "" or a folder with its '/'. The depth is bounded by the length of a key. */
static int list_folder(struct listing *l, const char *path)
{
    size_t n = strlen(path), i;
    struct entries list = {NULL, 0, 0};
    char below[BLOB_KEY_MAX + 2];
    int fd = walk(l->dir, path, n ? n - 1 : 0, false), rc;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0
                                                                     : fail_at(l->dir, path, l->e);
    rc = read_entries(fd, &list, l->e);
    for (i = 0; i < list.count && rc == 0; i++) {
        if (snprintf(below, sizeof below, "%s%s", path, list.names[i]) > BLOB_KEY_MAX)
            continue; /* no key */
        if (below[strlen(below) - 1] != '/')
            rc = list_file(l, below);
        else if (worth_entering(l, below))
            rc = list_folder(l, below);
    }
    entries_release(&list);
    return rc;
}

static int dir_list(struct blob *b, const char *prefix, const char *after, blob_each_fn each,
                    void *arg, struct err *e)
{
    struct listing l = {(struct dir *)b, prefix, after, each, arg, e};
    const char *slash = strrchr(prefix, '/');
    char start[BLOB_KEY_MAX + 1];
    int rc = blob_prefix_check(prefix, e);

    if (rc == 0 && after)
        rc = blob_prefix_check(after, e);
    if (rc < 0)
        return rc;
    snprintf(start, sizeof start, "%.*s", slash ? (int)(slash + 1 - prefix) : 0, prefix);
    if (start[0] && !worth_entering(&l, start))
        return 0;
    return list_folder(&l, start);
}

/* Whoever may read the folder may read the object: its URL needs no signature. */
static int dir_url(struct blob *b, const char *key, struct buf *url, struct err *e)
{
    int rc = check_key(key, e);

    if (rc < 0)
        return rc;
    buf_str(url, "file://");
    blob_percent(url, ((struct dir *)b)->folder, true);
    buf_char(url, '/');
    blob_percent(url, key, true);
    return buf_check(url, "an object's URL", e);
}

static int dir_presign(struct blob *b, const char *key, int64_t seconds, struct buf *url,
                       struct err *e)
{
    return dir_url(b, key, url, e);
}

static void dir_free(struct blob *b)
{
    struct dir *d = (struct dir *)b;

    if (d->root >= 0)
        close(d->root);
    if (d->temp >= 0)
        close(d->temp);
    free(d->folder);
    free(d);
}

static const struct blob_ops ops = {
    .get = dir_get,
    .get_file = dir_get_file,
    .put = dir_put,
    .put_file = dir_put_file,
    .create = dir_create,
    .head = dir_head,
    .list = dir_list,
    .remove = dir_remove,
    .presign = dir_presign,
    .url = dir_url,
    .free = dir_free,
};

/* Temporary files that nobody can still be writing. */
static void sweep_temp(struct dir *d)
{
    int64_t oldest = clock_wall_ms(d->clock) / 1000 - TEMP_DAYS * 86400;
    int fd = openat(d->temp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat st;

    if (!folder) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(folder)))
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            (int64_t)st.st_mtime < oldest)
            unlinkat(fd, entry->d_name, 0);
    closedir(folder);
}

static int open_folder(struct dir *d, const char *folder, struct err *e)
{
    int rc = file_mkdirs(folder, e);

    if (rc < 0)
        return rc;
    d->folder = realpath(folder, NULL);
    if (!d->folder)
        return err_errno(e, ERR_IO, "%s", folder);
    d->root = open(d->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->root < 0)
        return err_errno(e, ERR_IO, "%s: opening the folder", folder);
    if (mkdirat(d->root, TEMP, 0777) < 0 && errno != EEXIST)
        return err_errno(e, ERR_IO, "%s: creating its " TEMP, folder);
    d->temp = openat(d->root, TEMP, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->temp < 0)
        return err_errno(e, ERR_IO, "%s/" TEMP, folder);
    sweep_temp(d);
    return 0;
}

int blob_dir(struct blob **out, const char *folder, struct clock *clock, struct err *e)
{
    struct dir *d = calloc(1, sizeof *d);
    int rc;

    if (!d)
        return err_set(e, ERR_NOMEM, "no memory for a store");
    d->blob.ops = &ops;
    d->clock = clock;
    d->root = d->temp = -1;
    rc = open_folder(d, folder, e);
    if (rc < 0)
        dir_free(&d->blob);
    else
        *out = &d->blob;
    return rc;
}
