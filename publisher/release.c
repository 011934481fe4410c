#include "publisher/publisher_int.h"

#include <stdlib.h>
#include <string.h>

#include "platform/base/failpoint.h"

int release_get(struct publisher *pub, const char *key, struct buf *to, struct err *e)
{
    int rc = blob_get(pub->p.blob, key, to, e);

    return rc < 0 ? err_wrap(e, "%s", key) : 0;
}

static int load_end(struct publisher *pub, struct release *r, struct buf *b, const char **why,
                    struct err *e)
{
    char key[KEY_MAX];
    int rc;

    if ((rc = key_run(r->name.owner, r->name.run, RUN_END, key, e)) < 0)
        return rc;
    rc = release_get(pub, key, b, e);
    if (rc == ERR_NOT_FOUND && DEFECT("publish.done-believed")) {
        r->end = (struct run_end){
            .owner = r->name.owner, .run = r->name.run, .state = JOB_FINISHED, .attempt = 1};
        return 1;
    }
    if (rc == ERR_NOT_FOUND) {
        *why = "no such run has ended";
        return 0;
    }
    if (rc < 0)
        return rc;
    if ((rc = run_end_read(&pub->arena, b->data, b->len, RECORD_SNIFF, &r->end, e)) < 0)
        return err_wrap(e, "%s", key);
    if (strcmp(r->end.owner, r->name.owner) || strcmp(r->end.run, r->name.run))
        return err_set(e, ERR_FORMAT, "%s speaks of %s/%s", key, r->end.owner, r->end.run);
    if (r->end.state == JOB_FINISHED || DEFECT("publish.done-believed"))
        return 1;
    *why = r->end.state == JOB_FAILED ? "it failed" : "it was cancelled";
    return 0;
}

static int load_manifest(struct publisher *pub, struct release *r, struct buf *b, struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    char key[KEY_MAX], hash[SHA256_HEX];
    struct run_manifest *m = &r->manifest;
    int rc;

    if ((rc = key_attempt_file(r->name.owner, r->name.run, (uint64_t)r->end.attempt,
                               ATTEMPT_MANIFEST, key, e)) < 0 ||
        (rc = release_get(pub, key, b, e)) < 0)
        return rc;
    sha256(b->data, b->len, digest);
    sha256_hex(digest, hash);
    if (DEFECT("publish.done-believed"))
        r->end.manifest_sha256 = arena_strndup(&pub->arena, hash, strlen(hash));
    if (strcmp(hash, r->end.manifest_sha256))
        return err_set(e, ERR_FORMAT, "%s has the SHA-256 %s, end.json says %s", key, hash,
                       r->end.manifest_sha256);
    if ((rc = run_manifest_read(&pub->arena, b->data, b->len, RECORD_SNIFF, m, e)) < 0)
        return err_wrap(e, "%s", key);
    if (strcmp(m->owner, r->name.owner) || strcmp(m->run, r->name.run) ||
        m->attempt != r->end.attempt)
        return err_set(e, ERR_FORMAT, "%s speaks of attempt %lld of %s/%s", key,
                       (long long)m->attempt, m->owner, m->run);
    return 0;
}

static int load_job(struct publisher *pub, struct release *r, struct buf *b, struct err *e)
{
    char key[KEY_MAX];
    int rc;

    if ((rc = key_run(r->name.owner, r->name.run, RUN_JOB, key, e)) < 0 ||
        (rc = release_get(pub, key, b, e)) < 0)
        return rc;
    if ((rc = job_read(&pub->arena, b->data, b->len, RECORD_SNIFF, &r->job, e)) < 0)
        return err_wrap(e, "%s", key);
    if (strcmp(r->job.run, r->name.run))
        return err_set(e, ERR_FORMAT, "%s speaks of run %s", key, r->job.run);
    return 0;
}

int release_load(struct publisher *pub, const struct run_name *name, struct release *r,
                 const char **why, struct err *e)
{
    struct buf b;
    int rc;

    memset(r, 0, sizeof *r);
    r->name = *name;
    buf_init(&b, OBJECT_BYTES_MAX);
    if ((rc = load_end(pub, r, &b, why, e)) <= 0)
        goto done;
    if ((rc = load_manifest(pub, r, &b, e)) == 0)
        rc = load_job(pub, r, &b, e);
    if (rc == ERR_NOT_FOUND || rc == ERR_USAGE) /* gone, or a name that can't be one */
        rc = e->code = ERR_FORMAT;
    if (rc == 0)
        rc = 1;
done:
    buf_release(&b);
    return rc;
}
