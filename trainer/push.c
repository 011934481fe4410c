/*
 * The artifact from the training process's folder to S3: each file that its
 * manifest lists, compared with the hash there; then the manifest of the attempt,
 * in which all that the parent knows better is the parent's.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "platform/base/failpoint.h"
#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "trainer/attempt.h"

#define LOCAL_MANIFEST "manifest.json"

/* The real path of a regular file below the artifact's folder: no link leads out of it. */
static int local_path(const struct attempt *a, const char *file, char path[PATH_MAX], struct err *e)
{
    char folder[TRAINER_PATH_MAX + 8], inside[PATH_MAX], whole[TRAINER_PATH_MAX + 256];
    struct stat st;
    size_t n;

    snprintf(folder, sizeof folder, "%s/out", a->folder);
    snprintf(whole, sizeof whole, "%s/%s", folder, file);
    if (!realpath(folder, inside) || !realpath(whole, path))
        return err_errno(e, ERR_CHILD, "the artifact's file %s", file);
    n = strlen(inside);
    if (strncmp(path, inside, n) != 0 || path[n] != '/' || lstat(path, &st) < 0 ||
        !S_ISREG(st.st_mode))
        return err_set(e, ERR_CHILD, "the artifact's %s is no file of its folder", file);
    return 0;
}

/* Hashes and sends one file; *entry says what was sent. */
static int push_file(struct attempt *a, const char *file, struct run_file_entry *entry,
                     struct err *e)
{
    char path[PATH_MAX], key[KEY_MAX], name[KEY_FILE_MAX], sha256[SHA256_HEX];
    unsigned long long size;
    int rc;

    if (snprintf(name, sizeof name, ATTEMPT_MODEL "%s", file) >= (int)sizeof name)
        return err_set(e, ERR_CHILD, "the artifact has a file with too long a name");
    if (key_attempt_file(a->ref.owner, a->ref.run, a->n, name, key, e) < 0)
        return err_set(e, ERR_CHILD, "the artifact has a file with a strange name");
    if ((rc = attempt_go_on(a, e)) < 0 || (rc = local_path(a, file, path, e)) < 0 ||
        (rc = sha256_file(path, sha256, &size, e)) < 0)
        return rc;
    if (entry->sha256 && (strcmp(sha256, entry->sha256) != 0 || entry->size != (int64_t)size))
        return err_set(e, ERR_CHILD, "the artifact's %s is not the file that its manifest lists",
                       file);
    entry->path = arena_strndup(&a->arena, name, strlen(name));
    entry->sha256 = arena_strndup(&a->arena, sha256, strlen(sha256));
    entry->size = (int64_t)size;
    if (!entry->path || !entry->sha256)
        return err_set(e, ERR_NOMEM, "the artifact's list of files");
    return blob_put_file(a->t->p.blob, key, path, e);
}

static int read_manifest(struct attempt *a, struct run_manifest *m, struct err *e)
{
    char path[PATH_MAX];
    struct buf b;
    int rc;

    buf_init(&b, TRAINER_JSON_MAX);
    if ((rc = local_path(a, LOCAL_MANIFEST, path, e)) == 0 && (rc = file_read(path, &b, e)) == 0 &&
        run_manifest_read(&a->arena, b.data, b.len, RECORD_SNIFF, m, e) < 0)
        rc = err_set(e, ERR_CHILD, "the training process wrote a broken manifest");
    buf_release(&b);
    return rc;
}

static int push_files(struct attempt *a, struct run_manifest *m, struct err *e)
{
    struct run_file_entry *files = arena_array(&a->arena, m->file_count + 1, sizeof *files);
    size_t i;
    int rc;

    if (!files)
        return err_set(e, ERR_NOMEM, "the artifact's list of files");
    for (i = 0; i < m->file_count; i++) {
        files[i] = m->files[i];
        if ((rc = push_file(a, m->files[i].path, &files[i], e)) < 0)
            return rc;
    }
    run_file_entry_init(&files[i]);
    files[i].sha256 = NULL;
    if ((rc = push_file(a, LOCAL_MANIFEST, &files[i], e)) < 0) /* so that the folder is whole */
        return rc;
    m->files = files;
    m->file_count++;
    return 0;
}

/* Planted: the end comes before the manifest. */
static void end_first(struct attempt *a, char sha256[SHA256_HEX])
{
    struct run_end end;
    struct err e = ERR_INIT;

    run_end_init(&end);
    end.state = JOB_FINISHED;
    end.attempt = (int64_t)a->n;
    end.manifest_sha256 = sha256;
    (void)job_end(&a->w->actor, &a->ref, JOB_STARTED, &a->job, &a->arena, &end, &e);
}

static int push_manifest(struct attempt *a, struct run_manifest *m, char sha256[SHA256_HEX],
                         struct err *e)
{
    char key[KEY_MAX];
    struct buf b;
    int rc = key_attempt_file(a->ref.owner, a->ref.run, a->n, ATTEMPT_MANIFEST, key, e);

    if (rc < 0)
        return rc;
    m->owner = a->ref.owner;
    m->run = a->ref.run;
    m->attempt = (int64_t)a->n;
    m->model = a->job.model;
    m->dataset = a->job.dataset;
    m->created_ms = clock_wall_ms(a->t->p.clock);
    m->nonce = a->nonce;
    m->snapshot_sha256 = a->snapshot_sha256;
    m->backbone = a->job.backbone;
    m->parameters = a->job.parameters;
    buf_init(&b, TRAINER_JSON_MAX);
    if (run_manifest_write(m, RECORD_JSON, &b, e) < 0)
        rc = err_set(e, ERR_CHILD, "the artifact's manifest can't be written");
    if (rc == 0) {
        sha256_of(b.data, b.len, sha256);
        if (DEFECT("run.end-first"))
            end_first(a, sha256);
        rc = blob_put(a->t->p.blob, key, b.data, b.len, e);
    }
    buf_release(&b);
    return rc;
}

int push_artifact(struct attempt *a, char sha256[SHA256_HEX], struct err *e)
{
    struct run_manifest m;
    int rc;

    if ((rc = read_manifest(a, &m, e)) < 0 || (rc = push_files(a, &m, e)) < 0)
        return rc;
    FAILPOINT("attempt.files");
    if ((rc = push_manifest(a, &m, sha256, e)) < 0)
        return rc;
    FAILPOINT("attempt.manifest");
    return attempt_look(a, e);
}
