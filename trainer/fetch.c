/*
 * Bytes that a run needs besides its documents. Backbones are immutable, so they
 * stay in the work folder's cache, each under the hash of its listing, with an
 * index of their hashes that is verified at each use.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "trainer/attempt.h"
#include "trainer/checkpoint.h"

#define FILES_MAX 64
#define INDEX     "index"

struct backbone {
    struct attempt *a;
    const char *owner; /* NULL: the operator's */
    struct err *e;
    struct {
        char file[KEY_FILE_MAX];
        uint64_t size;
    } files[FILES_MAX];
    size_t count;
    uint64_t bytes;
    struct buf listing;
    char entry[SHA256_HEX];
};

static int each_file(void *arg, const char *key, uint64_t size)
{
    struct backbone *b = arg;
    char prefix[KEY_MAX], again[KEY_MAX];
    struct err ignored = ERR_INIT;
    const char *file;
    size_t n;

    if (key_backbone_prefix(b->owner, b->a->job.backbone, prefix, b->e) < 0)
        return b->e->code;
    n = strlen(prefix);
    file = strncmp(key, prefix, n) == 0 ? key + n : "";
    if (!*file || strlen(file) >= KEY_FILE_MAX || strcmp(file, INDEX) == 0 ||
        key_backbone_file(b->owner, b->a->job.backbone, file, again, &ignored) < 0)
        return 0;
    if (b->count == FILES_MAX)
        return err_set(b->e, ERR_LIMIT, "backbone %s has more than %d files", b->a->job.backbone,
                       FILES_MAX);
    memcpy(b->files[b->count].file, file, strlen(file) + 1);
    b->files[b->count++].size = size;
    b->bytes += size;
    buf_printf(&b->listing, "%s %llu\n", key, (unsigned long long)size);
    return 0;
}

/* The owner's of that name, else the operator's. */
static int find_backbone(struct backbone *b, struct err *e)
{
    const char *owners[] = {b->a->ref.owner, NULL};
    char prefix[KEY_MAX];
    int i, rc;

    for (i = 0; i < 2 && b->count == 0; i++) {
        b->owner = owners[i];
        if ((rc = key_backbone_prefix(b->owner, b->a->job.backbone, prefix, e)) < 0 ||
            (rc = blob_list(b->a->t->p.blob, prefix, NULL, each_file, b, e)) < 0)
            return rc;
    }
    if (b->count == 0)
        return err_set(e, ERR_NOT_FOUND,
                       "there is no backbone %s: upload it below owners/%s/backbones/%s/",
                       b->a->job.backbone, b->a->ref.owner, b->a->job.backbone);
    if (b->bytes > (uint64_t)b->a->t->o.work_bytes)
        return err_set(e, ERR_LIMIT, "backbone %s has %llu bytes, trainer.work_bytes allows %lld",
                       b->a->job.backbone, (unsigned long long)b->bytes,
                       (long long)b->a->t->o.work_bytes);
    if ((rc = buf_check(&b->listing, "a backbone's listing", e)) < 0)
        return rc;
    sha256_of(b->listing.data, b->listing.len, b->entry);
    return 0;
}

static int make_parents(char *path, struct err *e)
{
    char *slash = strrchr(path, '/');
    int rc;

    *slash = '\0';
    rc = file_mkdirs(path, e);
    *slash = '/';
    return rc;
}

static int download(struct backbone *b, const char *folder, struct err *e)
{
    char key[KEY_MAX], path[TRAINER_PATH_MAX], sha256[SHA256_HEX];
    struct buf index;
    size_t i;
    int rc = 0;

    buf_init(&index, 1 << 20);
    buf_printf(&index, "%llu\n", (unsigned long long)b->bytes);
    for (i = 0; rc == 0 && i < b->count; i++) {
        const char *file = b->files[i].file;

        if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path)
            rc = err_set(e, ERR_LIMIT, "%s: the path is too long", folder);
        if (rc == 0 && (rc = attempt_go_on(b->a, e)) == 0 && (rc = make_parents(path, e)) == 0 &&
            (rc = key_backbone_file(b->owner, b->a->job.backbone, file, key, e)) == 0)
            rc = blob_get_file(b->a->t->p.blob, key, path, sha256, e);
        buf_printf(&index, "%s %s\n", sha256, file);
    }
    if (rc == 0 && snprintf(path, sizeof path, "%s/" INDEX, folder) >= (int)sizeof path)
        rc = err_set(e, ERR_LIMIT, "%s: the path is too long", folder);
    if (rc == 0 && (rc = buf_check(&index, "a backbone's index", e)) == 0)
        rc = file_write(path, index.data, index.len, e);
    buf_release(&index);
    return rc;
}

/* Do the files have the hashes that the index says? */
static bool intact(const char *folder)
{
    char path[TRAINER_PATH_MAX + 8], sha256[SHA256_HEX], *line, *rest = NULL;
    struct err e = ERR_INIT;
    struct buf index;
    bool good = false;

    buf_init(&index, 1 << 20);
    snprintf(path, sizeof path, "%s/" INDEX, folder);
    if (file_read(path, &index, &e) == 0 && strtok_r(index.data, "\n", &rest)) {
        good = true;
        while (good && (line = strtok_r(NULL, "\n", &rest)))
            good = strlen(line) > SHA256_HEX &&
                   snprintf(path, sizeof path, "%s/%s", folder, line + SHA256_HEX) <
                       (int)sizeof path &&
                   sha256_file(path, sha256, NULL, &e) == 0 &&
                   strncmp(line, sha256, SHA256_HEX - 1) == 0;
    }
    buf_release(&index);
    return good;
}

static int fill_cache(struct backbone *b, const char *folder, struct err *e)
{
    char fresh[TRAINER_PATH_MAX + 64];
    int rc;

    if (intact(folder)) {
        utimensat(AT_FDCWD, folder, NULL, 0); /* used just now */
        return 0;
    }
    snprintf(fresh, sizeof fresh, "%s.%d", folder, b->a->w->number);
    if ((rc = file_remove_tree(fresh, e)) < 0 || (rc = file_mkdirs(fresh, e)) < 0 ||
        (rc = download(b, fresh, e)) < 0)
        return rc;
    pthread_mutex_lock(&b->a->t->lock);
    rc = intact(folder) ? 0 : file_remove_tree(folder, e);
    if (rc == 0 && rename(fresh, folder) < 0 && !intact(folder))
        rc = err_errno(e, ERR_IO, "%s", folder);
    pthread_mutex_unlock(&b->a->t->lock);
    return rc;
}

/* The hash that a job pins and a manifest names is that of the model's file. */
static int check_pin(struct attempt *a, struct err *e)
{
    static const char *const names[] = {"onnx/model.onnx", "model.onnx"};
    char path[TRAINER_PATH_MAX + 32], sha256[SHA256_HEX];
    const char *pin = a->job.backbone_sha256;
    int i, rc = ERR_NOT_FOUND;

    for (i = 0; i < 2 && rc == ERR_NOT_FOUND; i++) {
        snprintf(path, sizeof path, "%s/%s", a->backbone, names[i]);
        if (access(path, F_OK) == 0)
            rc = sha256_file(path, sha256, NULL, e);
    }
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "backbone %s has no onnx/model.onnx", a->job.backbone);
    if (rc == 0 && pin && strcmp(pin, sha256) != 0)
        return err_set(e, ERR_CONFIG, "backbone %s has SHA-256 %s, the job pins %s",
                       a->job.backbone, sha256, pin);
    return rc;
}

int fetch_backbone(struct attempt *a, struct err *e)
{
    struct backbone *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return err_set(e, ERR_NOMEM, "a backbone's files");
    b->a = a;
    b->e = e;
    buf_init(&b->listing, 1 << 20);
    if ((rc = find_backbone(b, e)) < 0)
        goto done;
    if (snprintf(a->backbone, sizeof a->backbone, "%s/cache/%s", a->t->o.work, b->entry) >=
        (int)sizeof a->backbone - 64) {
        rc = err_set(e, ERR_CONFIG, "trainer.work is too long a path");
        goto done;
    }
    pthread_mutex_lock(&a->t->lock);
    memcpy(a->w->cached, b->entry, SHA256_HEX);
    pthread_mutex_unlock(&a->t->lock);
    if ((rc = fill_cache(b, a->backbone, e)) == 0)
        rc = check_pin(a, e);
done:
    buf_release(&b->listing);
    free(b);
    return rc;
}

/* ---- the cache's limit ------------------------------------------------------------------------
 */

struct entry {
    char name[SHA256_HEX];
    int64_t bytes;
    struct timespec used;
};

static int64_t index_bytes(const char *folder)
{
    char path[TRAINER_PATH_MAX + 96];
    struct err e = ERR_INIT;
    struct buf b;
    int64_t n = 0;

    buf_init(&b, 1 << 20);
    snprintf(path, sizeof path, "%s/" INDEX, folder);
    if (file_read(path, &b, &e) == 0)
        n = strtoll(b.data, NULL, 10);
    buf_release(&b);
    return n > 0 ? n : 0;
}

/* Reads one entry; false: it is none. */
static bool read_entry(const struct trainer *t, const char *name, struct entry *out)
{
    char path[TRAINER_PATH_MAX + 80];
    struct stat st;

    if (strlen(name) != SHA256_HEX - 1 || strspn(name, "0123456789abcdef") != SHA256_HEX - 1)
        return false;
    snprintf(path, sizeof path, "%s/cache/%s", t->o.work, name);
    if (stat(path, &st) < 0)
        return false;
    memcpy(out->name, name, SHA256_HEX);
    out->bytes = index_bytes(path);
    out->used = st.st_mtim;
    return true;
}

static bool in_use(const struct trainer *t, const char *name)
{
    int64_t i;

    for (i = 0; i < t->o.workers; i++)
        if (strcmp(t->workers[i].cached, name) == 0)
            return true;
    return false;
}

/* The oldest that nobody uses into *oldest; the bytes of all. */
static int64_t survey(const struct trainer *t, struct entry *oldest, bool *found)
{
    char path[TRAINER_PATH_MAX + 16];
    struct entry at;
    struct dirent *d;
    int64_t total = 0;
    DIR *dir;

    *found = false;
    snprintf(path, sizeof path, "%s/cache", t->o.work);
    if (!(dir = opendir(path)))
        return 0;
    while ((d = readdir(dir))) {
        if (!read_entry(t, d->d_name, &at))
            continue;
        total += at.bytes;
        if (in_use(t, at.name) || (*found && (at.used.tv_sec > oldest->used.tv_sec ||
                                              (at.used.tv_sec == oldest->used.tv_sec &&
                                               at.used.tv_nsec >= oldest->used.tv_nsec))))
            continue;
        *oldest = at;
        *found = true;
    }
    closedir(dir);
    return total;
}

void cache_trim(struct trainer *t)
{
    char path[TRAINER_PATH_MAX + 80];
    struct err e = ERR_INIT;
    struct entry oldest;
    bool found;

    pthread_mutex_lock(&t->lock);
    while (survey(t, &oldest, &found) > t->o.cache_bytes && found) {
        snprintf(path, sizeof path, "%s/cache/%s", t->o.work, oldest.name);
        if (file_remove_tree(path, &e) < 0) {
            log_error("cache.trim", &e, NULL);
            break;
        }
    }
    pthread_mutex_unlock(&t->lock);
}

void cache_release(struct worker *w)
{
    pthread_mutex_lock(&w->t->lock);
    w->cached[0] = '\0';
    pthread_mutex_unlock(&w->t->lock);
}

/* ---- checkpoints ------------------------------------------------------------------------------
 */

int fetch_checkpoints(struct attempt *a, struct err *e)
{
    char folder[TRAINER_PATH_MAX + 16], path[TRAINER_PATH_MAX + 64], key[KEY_MAX];
    char file[KEY_FILE_MAX], sha256[SHA256_HEX];
    size_t i;
    int rc;

    snprintf(folder, sizeof folder, "%s/checkpoints", a->folder);
    if ((rc = file_mkdirs(folder, e)) < 0)
        return rc;
    for (i = 0; i < a->resume_count; i++) {
        const struct job_checkpoint *c = &a->resume[i];

        if ((rc = attempt_go_on(a, e)) < 0)
            return rc;
        snprintf(path, sizeof path, "%s/" CHECKPOINT_NAME, folder, (long long)c->step);
        attempt_series_file(ATTEMPT_CHECKPOINT, c->step, file);
        if ((rc = key_attempt_file(a->ref.owner, a->ref.run, c->attempt, file, key, e)) < 0)
            return rc;
        rc = blob_get_file(a->t->p.blob, key, path, sha256, e);
        if (rc < 0 && rc != ERR_NOT_FOUND)
            return rc;
    }
    return 0;
}
