#include "publisher/publisher_int.h"

#include <stdio.h>
#include <string.h>

#define URL_MAX 4096

static int no_memory(const struct release *r, struct err *e)
{
    return err_set(e, ERR_LIMIT, "the event of %s needs more memory than the arena allows",
                   r->name.id);
}

/* The object's URL, or with `seconds` a presigned one, in the arena. */
static int url_of(struct publisher *pub, const struct release *r, const char *key, int64_t seconds,
                  const char *tail, const char **out, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, URL_MAX);
    rc = seconds ? blob_presign(pub->p.blob, key, seconds, &b, e)
                 : blob_url(pub->p.blob, key, &b, e);
    if (rc == 0) {
        buf_str(&b, tail);
        rc = buf_check(&b, "a URL", e);
    }
    if (rc == 0 && !(*out = arena_strndup(&pub->arena, b.data, b.len)))
        rc = no_memory(r, e);
    buf_release(&b);
    return rc;
}

static int add_file(struct publisher *pub, const struct release *r,
                    const struct run_file_entry *from, int64_t seconds, struct model_file *to,
                    struct err *e)
{
    char key[KEY_MAX];
    int rc =
        key_attempt_file(r->name.owner, r->name.run, (uint64_t)r->end.attempt, from->path, key, e);

    if (rc < 0)
        return e->code = ERR_FORMAT; /* the manifest's, not ours */
    model_file_init(to);
    to->path = from->path + strlen(ATTEMPT_MODEL);
    to->size = from->size;
    to->sha256 = from->sha256;
    if ((rc = url_of(pub, r, key, 0, "", &to->url, e)) < 0)
        return rc;
    return seconds ? url_of(pub, r, key, seconds, "", &to->https_url, e) : 0;
}

static int add_files(struct publisher *pub, const struct release *r, int64_t seconds,
                     struct model_artifact *a, struct err *e)
{
    const struct run_manifest *m = &r->manifest;
    struct model_file *files = arena_array(&pub->arena, m->file_count + 1, sizeof *files);
    size_t i;
    int rc;

    if (!files)
        return no_memory(r, e);
    a->files = files;
    a->file_count = 0;
    for (i = 0; i < m->file_count; i++) {
        if (strncmp(m->files[i].path, ATTEMPT_MODEL, strlen(ATTEMPT_MODEL)))
            continue; /* beside the artifact */
        if ((rc = add_file(pub, r, &m->files[i], seconds, &files[a->file_count], e)) < 0)
            return rc;
        a->file_count++;
    }
    if (!a->file_count)
        return err_set(e, ERR_FORMAT, "the manifest of %s names no file of a model", r->name.id);
    return 0;
}

/* How long presigned URLs live; 0: none are asked for. */
static int64_t presign_seconds(const struct publisher *pub, const struct release *r)
{
    int64_t want = r->job.publish ? r->job.publish->presign_seconds : 0;
    int64_t most = pub->o.presign_ms / 1000;

    return want < most ? want : most;
}

static int build_artifact(struct publisher *pub, const struct release *r, int64_t now_ms,
                          struct model_artifact *a, struct err *e)
{
    const uint64_t n = (uint64_t)r->end.attempt;
    int64_t seconds = presign_seconds(pub, r);
    char key[KEY_MAX], *expires;
    int rc;

    model_artifact_init(a);
    a->manifest_sha256 = r->end.manifest_sha256;
    if ((rc = key_attempt_file(r->name.owner, r->name.run, n, "model", key, e)) < 0 ||
        (rc = url_of(pub, r, key, 0, "/", &a->url, e)) < 0 ||
        (rc = key_attempt_file(r->name.owner, r->name.run, n, ATTEMPT_MANIFEST, key, e)) < 0 ||
        (rc = url_of(pub, r, key, 0, "", &a->manifest_url, e)) < 0)
        return rc;
    rc = add_files(pub, r, seconds, a, e);
    if (rc == ERR_UNSUPPORTED && seconds) { /* this store has no such URLs */
        log_error("presign.impossible", e, "owner", r->name.owner, "run", r->name.run, NULL);
        seconds = 0;
        rc = add_files(pub, r, 0, a, e);
    }
    if (rc < 0 || !seconds)
        return rc;
    if (!(expires = arena_alloc(&pub->arena, 32)))
        return no_memory(r, e);
    model_time(now_ms / 1000 * 1000 + seconds * 1000, expires);
    a->expires_at = expires;
    return 0;
}

static int build_lineage(struct publisher *pub, const struct release *r, struct model_lineage *l,
                         struct err *e)
{
    const struct run_manifest *m = &r->manifest;
    char key[KEY_MAX];
    int rc;

    model_lineage_init(l);
    l->dataset = m->dataset ? m->dataset : r->job.dataset;
    l->snapshot_sha256 = m->snapshot_sha256;
    l->backbone = m->backbone ? m->backbone : r->job.backbone;
    l->backbone_sha256 = m->backbone_sha256;
    l->attempt = m->attempt;
    l->seed = m->parameters->seed;
    l->fingerprint = m->fingerprint;
    l->exact = m->exact;
    l->documents = m->train_documents;
    l->labels = m->labels;
    if (!l->snapshot_sha256)
        return 0;
    if ((rc = key_run(r->name.owner, r->name.run, RUN_SNAPSHOT, key, e)) < 0)
        return rc;
    return url_of(pub, r, key, 0, "", &l->snapshot_url, e);
}

/* False: nothing was held out. */
static bool build_evaluation(const struct release *r, struct model_evaluation *v)
{
    const struct run_manifest *m = &r->manifest;

    model_evaluation_init(v);
    v->k = m->parameters->eval_k;
    v->documents = m->eval_documents > 0 ? m->eval_documents : 0;
    v->before = m->before;
    v->before_count = m->before_count;
    v->after = m->after;
    v->after_count = m->after_count;
    v->judged_by = m->judged_by;
    v->worse = m->worse;
    return m->before_count && m->after_count;
}

void event_decide(struct release *r)
{
    struct model_reindex *x = &r->reindex;

    x->previous_run = r->previous;
    x->required = r->n != 0;
    if (!r->n)
        x->reason = r->why;
    else if (r->previous)
        x->reason = "its vectors can't be compared with those of the model before";
    else
        x->reason = "the first version of this model";
}

/* What the data points at. */
struct parts {
    struct model_data data;
    struct model_artifact artifact;
    struct model_lineage lineage;
    struct model_evaluation evaluation;
    char source[2 * KEY_NAME_MAX + 16], time[32];
};

static void build_data(struct release *r, struct parts *p)
{
    const struct run_manifest *m = &r->manifest;
    struct model_data *d = &p->data;

    model_data_init(d);
    d->owner = r->name.owner;
    d->run = r->name.run;
    d->model = m->model;
    d->artifact = &p->artifact;
    d->dimension = m->dimension;
    d->metric = m->metric;
    d->modality = m->modality;
    d->max_length = m->max_length;
    d->normalized = m->normalized;
    d->lineage = &p->lineage;
    d->evaluation = build_evaluation(r, &p->evaluation) ? &p->evaluation : NULL;
    d->gate = r->job.gate ? &r->gate : NULL;
    d->reindex = &r->reindex;
    current_judge(r);
    model_reindex_init(&r->reindex);
}

int event_build(struct publisher *pub, struct release *r, struct model_ready *out, bool *binary,
                struct err *e)
{
    struct parts *p = arena_alloc(&pub->arena, sizeof *p);
    int64_t now = clock_wall_ms(pub->p.clock);
    int rc;

    if (!p)
        return no_memory(r, e);
    if ((rc = build_artifact(pub, r, now, &p->artifact, e)) < 0 ||
        (rc = build_lineage(pub, r, &p->lineage, e)) < 0)
        return rc;
    build_data(r, p);
    snprintf(p->source, sizeof p->source, "/%s/owners/%s", pub->keys.prefix, r->name.owner);
    model_time(now, p->time);
    model_ready_init(out);
    out->id = r->name.id;
    out->source = p->source;
    out->subject = r->name.run;
    out->time = p->time;
    out->data = &p->data;
    *binary = pub->o.mode == PUBLISHER_BINARY ||
              (pub->o.mode == PUBLISHER_JOB && r->job.publish && r->job.publish->binary);
    return record_check(&model_ready_record, out, e);
}
