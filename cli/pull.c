#include "cli/pull.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/model.h"
#include "cli/view.h"
#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "platform/proc/progress.h"
#include "trainer/artifact.h"

#define MANIFEST_MAX ((size_t)16 << 20)
#define ARENA_MAX    ((size_t)128 << 20)
#define MARK         ".tripline-pull" /* in DIR.partial: it is ours to remove; locked by a pull */

struct task {
    struct client *c;
    const struct pull_options *o;
    struct pull_result *out;
    struct progress *progress;
    struct arena arena;
    struct run_end end;
    struct run_manifest manifest;
    char around[PATH_MAX];  /* DIR.partial: the mark, and until all is verified the model */
    char partial[PATH_MAX]; /* the model there */
    int lock;               /* the mark; -1: not held */
};

/* ---- what is promised --------------------------------------------------------------------------
 */

static int read_end(struct task *t, struct err *e)
{
    char key[KEY_MAX];
    int rc = key_run(t->c->owner, t->o->run, RUN_END, key, e);

    if (rc < 0)
        return rc;
    rc = view_object(t->c, key, &run_end_record, &t->arena, &t->end, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND,
                       "run %s has not ended (or isn't there): tripline status %s", t->o->run,
                       t->o->run);
    if (rc == 0 && t->end.state != JOB_FINISHED)
        return err_set(e, ERR_CHILD, "run %s ended %s and has no model: %s", t->o->run,
                       job_state_names[t->end.state], t->end.reason ? t->end.reason : "no reason");
    return rc;
}

static int read_manifest(struct task *t, struct err *e)
{
    char key[KEY_MAX];
    struct buf b;
    int rc = key_attempt_file(t->c->owner, t->o->run, (uint64_t)t->end.attempt, ATTEMPT_MANIFEST,
                              key, e);

    if (rc < 0)
        return rc;
    buf_init(&b, MANIFEST_MAX);
    if ((rc = blob_get(t->c->ports.blob, key, &b, e)) == 0) {
        sha256_of(b.data, b.len, t->out->manifest_sha256);
        if (!t->end.manifest_sha256 || strcmp(t->out->manifest_sha256, t->end.manifest_sha256) != 0)
            rc = err_set(e, ERR_FORMAT, "%s is not the manifest that the run ended with", key);
        else if ((rc = run_manifest_read(&t->arena, b.data, b.len, RECORD_SNIFF, &t->manifest, e)) <
                 0)
            err_wrap(e, "%s", key);
    }
    buf_release(&b);
    return rc;
}

/* The path inside the artifact; NULL: the file is no part of it. */
static const char *inside(const struct run_file_entry *f)
{
    size_t n = strlen(ATTEMPT_MODEL);

    return strncmp(f->path, ATTEMPT_MODEL, n) == 0 ? f->path + n : NULL;
}

static void count_files(struct task *t)
{
    size_t i;

    for (i = 0; i < t->manifest.file_count; i++)
        if (inside(&t->manifest.files[i])) {
            t->out->files++;
            t->out->bytes += t->manifest.files[i].size;
        }
}

/* ---- files -------------------------------------------------------------------------------------
 */

static int check_file(const char *path, const struct run_file_entry *f, const char *sha256,
                      struct err *e)
{
    struct stat st;

    if (strcmp(sha256, f->sha256) != 0 || stat(path, &st) < 0 || st.st_size != f->size)
        return err_set(e, ERR_FORMAT, "%s: its bytes are not those of the manifest", path);
    return 0;
}

static int local_path(const char *folder, const char *file, char path[PATH_MAX], struct err *e)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, file) >= PATH_MAX)
        return err_set(e, ERR_USAGE, "%s: the path is too long", folder);
    return 0;
}

static int make_parent(const char *path, struct err *e)
{
    char folder[PATH_MAX], *slash;

    snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return 0;
    *slash = '\0';
    return file_mkdirs(folder, e);
}

static int fetch_file(struct task *t, const struct run_file_entry *f, struct err *e)
{
    char key[KEY_MAX], path[PATH_MAX], sha256[SHA256_HEX];
    int rc;

    /* also refuses a path that would leave the folder */
    if ((rc = key_attempt_file(t->c->owner, t->o->run, (uint64_t)t->end.attempt, f->path, key, e)) <
            0 ||
        (rc = local_path(t->partial, inside(f), path, e)) < 0 || (rc = make_parent(path, e)) < 0 ||
        (rc = blob_get_file(t->c->ports.blob, key, path, sha256, e)) < 0)
        return rc;
    return check_file(path, f, sha256, e);
}

static int fetch_all(struct task *t, struct err *e)
{
    int64_t bytes = 0;
    size_t i;
    int rc;

    progress_step(t->progress, "pulling", t->out->bytes, "bytes");
    for (i = 0; i < t->manifest.file_count; i++) {
        const struct run_file_entry *f = &t->manifest.files[i];

        if (!inside(f))
            continue;
        if (clock_stopping(t->c->ports.clock))
            return err_set(e, ERR_CANCELLED, "interrupted; nothing was left");
        if ((rc = fetch_file(t, f, e)) < 0)
            return rc;
        bytes += f->size;
        progress_at(t->progress, bytes, inside(f));
    }
    progress_done(t->progress, "every SHA-256 matches");
    return 0;
}

/* Does the folder hold exactly what the manifest says? */
static bool holds(const struct task *t, const char *folder)
{
    char path[PATH_MAX], sha256[SHA256_HEX];
    struct err e = ERR_INIT;
    size_t i, n = 0;

    for (i = 0; i < t->manifest.file_count; i++) {
        const struct run_file_entry *f = &t->manifest.files[i];

        if (!inside(f))
            continue;
        if (local_path(folder, inside(f), path, &e) < 0 ||
            sha256_file(path, sha256, NULL, &e) < 0 || check_file(path, f, sha256, &e) < 0)
            return false;
        n++;
    }
    return n > 0;
}

/* ---- golden vectors ----------------------------------------------------------------------------
 */

static int golden_dataset(const struct artifact_golden_set *g, struct dataset **out, struct err *e)
{
    int i, rc = 0;

    if (!(*out = dataset_new()))
        return err_set(e, ERR_NOMEM, "the golden texts");
    for (i = 0; rc == 0 && i < g->count; i++)
        rc = dataset_add(*out, NULL, 0, g->texts[i], strlen(g->texts[i]), "golden", 6, DATASET_EVAL,
                         e);
    return rc == 0 ? dataset_seal(*out, e) : rc;
}

static int compare(struct task *t, const struct artifact_golden_set *g, const float *vectors,
                   struct err *e)
{
    double largest = 0;
    int i;

    for (i = 0; i < g->count * g->dim; i++) {
        double d = fabs((double)vectors[i] - (double)g->vectors[i]);

        largest = d <= largest ? largest : d; /* a NaN stays */
    }
    t->out->golden = g->count;
    t->out->largest = largest;
    if (largest <= g->tolerance)
        return 0;
    return err_set(e, ERR_FORMAT,
                   "golden vectors differ by %.3g, %.3g is allowed: don't serve this model on this "
                   "machine",
                   largest, g->tolerance);
}

static int verify_golden(struct task *t, const char *folder, struct err *e)
{
    struct artifact_golden_set g = {0};
    struct dataset *d = NULL;
    struct model m = {0};
    float *vectors = NULL;
    char path[PATH_MAX];
    double seconds;
    int rc;

    if (t->o->unverified)
        return 0;
    if ((rc = local_path(folder, "golden.json", path, e)) < 0)
        return rc;
    if (access(path, F_OK) != 0)
        return 0;
    progress_step(t->progress, "verifying", 0, "vectors");
    if ((rc = artifact_golden_read(folder, &g, e)) < 0 || (rc = golden_dataset(&g, &d, e)) < 0 ||
        (rc = model_open(&m, folder, 0, 0, e)) < 0)
        goto done;
    if (engine_info(m.engine)->dim != g.dim || dataset_count(d) != g.count)
        rc = err_set(e, ERR_FORMAT, "golden.json has vectors of %d numbers, the model gives %d",
                     g.dim, engine_info(m.engine)->dim);
    else if ((rc = model_encode(&m, d, &vectors, &seconds, e)) == 0)
        rc = compare(t, &g, vectors, e);
    if (rc == 0)
        progress_done(t->progress, "golden vectors agree");
done:
    free(vectors);
    model_release(&m);
    dataset_free(d);
    artifact_golden_free(&g);
    return rc;
}

/* ---- the folder --------------------------------------------------------------------------------
 */

/* Two pulls would remove each other's files. The mark that was locked has to be the one that is
 * there: another pull may have ended, and removed it, in between. */
static int lock_mark(struct task *t, const char *mark, struct err *e)
{
    struct stat held, there;

    if ((t->lock = open(mark, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0) {
        err_errno(e, ERR_IO, "%s", mark);
        rmdir(t->around); /* without a mark it would be in the way */
        return ERR_IO;
    }
    if ((flock(t->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && /* or without locks */
        fstat(t->lock, &held) == 0 && stat(mark, &there) == 0 && held.st_dev == there.st_dev &&
        held.st_ino == there.st_ino)
        return 0;
    close(t->lock);
    t->lock = -1;
    return err_set(e, ERR_EXISTS, "%s: another pull works there: wait for it", t->around);
}

static int begin_partial(struct task *t, struct err *e)
{
    char mark[PATH_MAX];
    int rc;

    if (snprintf(t->around, sizeof t->around, "%s.partial", t->out->folder) >=
        (int)sizeof t->around)
        return err_set(e, ERR_USAGE, "%s: the path is too long", t->out->folder);
    if ((rc = local_path(t->around, MARK, mark, e)) < 0 ||
        (rc = local_path(t->around, "model", t->partial, e)) < 0)
        return rc;
    if (access(t->around, F_OK) == 0 && access(mark, F_OK) != 0)
        return err_set(e, ERR_EXISTS, "%s is in the way: move it", t->around);
    if ((rc = file_mkdirs(t->around, e)) < 0 || (rc = lock_mark(t, mark, e)) < 0 ||
        (rc = file_remove_tree(t->partial, e)) < 0) /* of one that died */
        return rc;
    return file_mkdirs(t->partial, e);
}

static int finish_partial(struct task *t, struct err *e)
{
    int rc;

    if (t->o->force && (rc = file_remove_tree(t->out->folder, e)) < 0)
        return rc;
    if (rename(t->partial, t->out->folder) < 0)
        return err_errno(e, ERR_IO, "%s", t->out->folder);
    return 0;
}

/* What is left of it, whether the model is out or not. */
static void end_partial(struct task *t)
{
    struct err ignored = ERR_INIT;

    if (t->lock < 0)
        return;
    file_remove_tree(t->around, &ignored);
    close(t->lock);
}

static int pull_into(struct task *t, struct err *e)
{
    struct stat st;
    int rc;

    if (lstat(t->out->folder, &st) == 0) {
        if (holds(t, t->out->folder)) {
            t->out->already_there = true;
            return verify_golden(t, t->out->folder, e);
        }
        if (!t->o->force)
            return err_set(e, ERR_EXISTS,
                           "%s is there and holds something else: --force replaces it",
                           t->out->folder);
    }
    if ((rc = begin_partial(t, e)) == 0 && (rc = fetch_all(t, e)) == 0 &&
        (rc = verify_golden(t, t->partial, e)) == 0)
        rc = finish_partial(t, e);
    end_partial(t);
    return rc;
}

int pull(struct client *c, const struct pull_options *o, struct pull_result *out, struct err *e)
{
    struct task *t = calloc(1, sizeof *t);
    const char *folder = o->folder ? o->folder : o->run;
    size_t n;
    int rc;

    memset(out, 0, sizeof *out);
    if (!t)
        return err_set(e, ERR_NOMEM, "a pull");
    *t = (struct task){.c = c, .o = o, .out = out, .lock = -1};
    arena_init(&t->arena, ARENA_MAX);
    n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    if (n == 0 || snprintf(out->folder, sizeof out->folder, "%.*s", (int)n, folder) >= PATH_MAX)
        rc = err_set(e, ERR_USAGE, "the folder's path is empty or too long");
    else if ((rc = read_end(t, e)) == 0 && (rc = read_manifest(t, e)) == 0 &&
             (rc = progress_new(&t->progress, c->ports.clock, 2, PROGRESS_AUTO, e)) == 0) {
        count_files(t);
        rc = pull_into(t, e);
    }
    progress_free(t->progress);
    arena_release(&t->arena);
    free(t);
    return rc;
}
