/* The folders that a run writes into: may it, and what is left of them when it fails. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>

#include "platform/base/arena.h"
#include "platform/base/file.h"
#include "trainer/artifact.h"
#include "trainer/run_int.h"

#define MANIFEST_MAX ((size_t)4 << 20)

/* A run of local files has no nonce of its own: its identity stands in, so that it is known again.
 */
const char *run_nonce(struct run *r)
{
    if (r->spec->identity.nonce)
        return r->spec->identity.nonce;
    snprintf(r->nonce, sizeof r->nonce, "%.32s", r->state->identity);
    return r->nonce;
}

/* 1: a folder, 0: nothing there. */
static int is_folder(const char *path, const char *what, struct err *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, ERR_IO, "%s", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_EXISTS, "%s is a file, the %s a folder: name another one", path,
                       what);
    if (access(path, W_OK | X_OK) < 0)
        return err_errno(e, ERR_IO, "%s: writing into the folder", path);
    return 1;
}

/* 1: the folder holds a finished artifact and *ours says whether this very run made it; 0: it
 * doesn't. A manifest that can't be read is a stranger's. */
static int finished(struct run *r, const char *folder, bool *ours, struct err *e)
{
    struct run_manifest manifest;
    struct err ignored = ERR_INIT;
    char path[PATH_MAX];
    struct arena a;
    struct buf b;
    int rc;

    *ours = false;
    if (snprintf(path, sizeof path, "%s/manifest.json", folder) >= (int)sizeof path)
        return err_set(e, ERR_IO, "%s: the path is too long", folder);
    if (access(path, F_OK) < 0)
        return 0;
    arena_init(&a, MANIFEST_MAX);
    buf_init(&b, MANIFEST_MAX);
    rc = file_read(path, &b, &ignored);
    if (rc == 0)
        rc = run_manifest_read(&a, b.data, b.len, RECORD_JSON, &manifest, &ignored);
    *ours = rc == 0 && manifest.nonce && strcmp(manifest.nonce, run_nonce(r)) == 0;
    buf_release(&b);
    arena_release(&a);
    return rc == ERR_NOMEM ? err_set(e, rc, "%s", ignored.text) : 1;
}

/* The name inside `folder` of a work folder that lies there; "": it lies elsewhere. */
static void work_inside(const struct run_spec *s, const char *folder, char name[NAME_MAX + 1])
{
    size_t n = strlen(folder);

    name[0] = '\0';
    if (strncmp(s->work, folder, n) == 0 && s->work[n] == '/')
        snprintf(name, NAME_MAX + 1, "%.*s", (int)strcspn(s->work + n + 1, "/"), s->work + n + 1);
}

static int check_finished(struct run *r, const char *folder, struct err *e)
{
    char work[NAME_MAX + 1], name[NAME_MAX + 1];
    bool ours;
    int rc = finished(r, folder, &ours, e);

    if (rc < 0 || ours)
        return rc < 0 ? rc : 0;
    if (rc == 1)
        return err_set(e, ERR_EXISTS,
                       "%s holds a finished model of another run (other parameters, documents or "
                       "backbone): choose another folder, or --force to replace it",
                       folder);
    work_inside(r->spec, folder, work);
    rc = artifact_foreign(folder, work, name, e);
    if (rc == 1)
        return err_set(e, ERR_EXISTS,
                       "%s holds '%s', which is no part of a model: choose an empty or a new "
                       "folder, or --force to write beside it",
                       folder, name);
    return rc;
}

/* Two processes that train one run would write each other's files. Held until the run is released.
 */
static int lock(struct run *r, struct err *e)
{
    r->lock = open(r->spec->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->lock < 0)
        return err_errno(e, ERR_IO, "%s", r->spec->work);
    if (flock(r->lock, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return err_set(e, ERR_EXISTS,
                       "%s: another process trains there: wait for it, or choose another folder",
                       r->spec->work);
    return 0; /* a file system without locks is used without */
}

int run_out_open(struct run *r, struct err *e)
{
    int out, work, untrained = 0, rc;

    if ((out = is_folder(r->spec->out, "model is", e)) < 0)
        return out;
    if ((work = is_folder(r->spec->work, "checkpoints need", e)) < 0)
        return work;
    if (r->spec->untrained &&
        (untrained = is_folder(r->spec->untrained, "untrained model may be", e)) < 0)
        return untrained;
    if (r->spec->keep_finished &&
        ((out == 1 && (rc = check_finished(r, r->spec->out, e)) < 0) ||
         (untrained == 1 && (rc = check_finished(r, r->spec->untrained, e)) < 0)))
        return rc;
    r->made_out = out == 0;
    r->made_work = work == 0;
    if ((rc = file_mkdirs(r->spec->out, e)) < 0 || (rc = file_mkdirs(r->spec->work, e)) < 0)
        return rc;
    return lock(r, e);
}

int run_out_untrained(struct run *r, bool keep, struct err *e)
{
    int rc;

    if (keep)
        return file_mkdirs(r->spec->untrained, e);
    if ((rc = artifact_clear(r->spec->untrained, e)) == 0)
        rmdir(r->spec->untrained); /* only when it is empty */
    return rc;
}

void run_out_close(struct run *r, bool failed)
{
    if (r->lock >= 0)
        close(r->lock);
    if (!failed)
        return;
    if (r->made_work) /* rmdir: only when they are empty */
        rmdir(r->spec->work);
    if (r->made_out)
        rmdir(r->spec->out);
}
