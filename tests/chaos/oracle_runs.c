#include <stdlib.h>
#include <string.h>

#include "platform/json/json.h"
#include "schemas/model.h"
#include "schemas/run.h"
#include "tests/chaos/oracle.h"
#include "tests/chaos/oracle_int.h"

#define OBJECT_MAX ((size_t)16 << 20)

/* ---- ends ------------------------------------------------------------------------------------ */

static int get(struct oracle *o, const char *key, struct buf *b, char sha256[SHA256_HEX],
               struct err *e)
{
    int rc;

    buf_reset(b);
    if ((rc = blob_get(o->store, key, b, e)) == 0)
        sha256_of(b->data, b->len, sha256);
    return rc;
}

/* 1: read; 0: there is none. */
static int get_end(struct oracle *o, const char *run, struct arena *a, struct run_end *end,
                   char sha256[SHA256_HEX], struct err *e)
{
    char key[KEY_MAX];
    struct buf b;
    int rc = key_run(o->owner, run, RUN_END, key, e);

    if (rc < 0)
        return rc;
    buf_init(&b, OBJECT_MAX);
    if ((rc = get(o, key, &b, sha256, e)) == 0)
        rc = run_end_read(a, b.data, b.len, RECORD_SNIFF, end, e);
    buf_release(&b);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

int oracle_end(struct oracle *o, struct asked *job, struct err *e)
{
    struct run_end end;
    struct arena arena;
    char sha256[SHA256_HEX];
    int rc;

    arena_init(&arena, OBJECT_MAX);
    if ((rc = get_end(o, job->run, &arena, &end, sha256, e)) > 0) {
        if (job->ended && strcmp(job->end, sha256))
            violation(o, "run %s: its end changed", job->run);
        job->ended = true;
        job->state = end.state;
        memcpy(job->end, sha256, sizeof sha256);
    }
    arena_release(&arena);
    return rc;
}

/* ---- events ---------------------------------------------------------------------------------- */

struct event {
    char run[KEY_NAME_MAX];
    char manifest[SHA256_HEX];
};

struct events {
    struct event *items;
    size_t count;
};

static int add_event(struct oracle *o, struct events *all, const struct bus_message *m,
                     struct err *e)
{
    struct model_ready ready;
    struct event *more;
    struct arena arena;
    int rc;

    arena_init(&arena, OBJECT_MAX);
    rc = model_ready_read(&arena, m->value, m->value_len, RECORD_SNIFF, &ready, e);
    if (rc < 0) {
        violation(o, "an event that can't be read: %s", e->text);
        rc = 0;
    } else if (!(more = realloc(all->items, (all->count + 1) * sizeof *more))) {
        rc = err_set(e, ERR_NOMEM, "events");
    } else {
        all->items = more;
        more += all->count++;
        snprintf(more->run, sizeof more->run, "%s", ready.subject);
        snprintf(more->manifest, sizeof more->manifest, "%s",
                 ready.data->artifact->manifest_sha256);
    }
    arena_release(&arena);
    return rc;
}

static int read_events(struct oracle *o, struct events *all, struct err *e)
{
    char topic[KEY_MAX];
    struct bus_message *m;
    int64_t at, high;
    int p, count, rc;

    if ((rc = topic_of(o->keys, TOPIC_MODELS, o->owner, topic, e)) < 0 ||
        (rc = bus_partitions(o->bus, topic, &count, e)) < 0)
        return rc;
    for (p = 0; p < count; p++) {
        if ((rc = bus_watermarks(o->bus, topic, p, &at, &high, e)) < 0)
            return rc;
        while (at < high && (rc = bus_read_at(o->bus, topic, p, at, &m, e)) > 0) {
            at = m->offset + 1;
            rc = add_event(o, all, m, e);
            bus_read_free(o->bus, m);
            if (rc < 0)
                return rc;
        }
        if (rc < 0)
            return rc;
    }
    o->tally.events = all->count;
    return 0;
}

/* ---- one run --------------------------------------------------------------------------------- */

static int check_files(struct oracle *o, const char *run, uint64_t attempt,
                       const struct run_manifest *m, struct err *e)
{
    char key[KEY_MAX];
    uint64_t size;
    size_t i;
    int rc;

    for (i = 0; i < m->file_count; i++) {
        if ((rc = key_attempt_file(o->owner, run, attempt, m->files[i].path, key, e)) < 0)
            return rc;
        rc = blob_head(o->store, key, &size, e);
        if (rc < 0 && rc != ERR_NOT_FOUND)
            return rc;
        if (rc == ERR_NOT_FOUND || size != (uint64_t)m->files[i].size)
            violation(o, "run %s: %s is not the file that its manifest lists", run, key);
    }
    return 0;
}

static int check_artifact(struct oracle *o, const char *run, const struct run_end *end,
                          struct arena *a, struct err *e)
{
    struct run_manifest manifest;
    char key[KEY_MAX], sha256[SHA256_HEX];
    struct buf b;
    int rc;

    if ((rc = key_attempt_file(o->owner, run, (uint64_t)end->attempt, ATTEMPT_MANIFEST, key, e)) <
        0)
        return rc;
    buf_init(&b, OBJECT_MAX);
    rc = get(o, key, &b, sha256, e);
    if (rc == ERR_NOT_FOUND || (rc == 0 && strcmp(sha256, end->manifest_sha256)))
        violation(o, "run %s: %s is not the manifest that its end names", run, key);
    else if (rc == 0 && (rc = run_manifest_read(a, b.data, b.len, RECORD_SNIFF, &manifest, e)) == 0)
        rc = check_files(o, run, (uint64_t)end->attempt, &manifest, e);
    buf_release(&b);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void check_events(struct oracle *o, const struct asked *job, const struct run_end *end,
                         const struct events *all)
{
    size_t i, count = 0, expected = end->state == JOB_FINISHED;

    for (i = 0; i < all->count; i++)
        if (!strcmp(all->items[i].run, job->run)) {
            count++;
            if (!end->manifest_sha256 || strcmp(all->items[i].manifest, end->manifest_sha256))
                violation(o, "run %s: its event names another manifest than its end", job->run);
        }
    if (count != expected)
        violation(o, "run %s is %s and has %zu committed events", job->run,
                  job_state_names[end->state], count);
}

static int check_run(struct oracle *o, struct asked *job, const struct events *all, struct err *e)
{
    struct run_end end;
    struct arena arena;
    char sha256[SHA256_HEX];
    int rc;

    arena_init(&arena, OBJECT_MAX);
    rc = get_end(o, job->run, &arena, &end, sha256, e);
    if (rc == 0) {
        if (job->acknowledged)
            violation(o, "run %s was asked for and has no end", job->run);
    } else if (rc > 0) {
        if (job->ended && strcmp(sha256, job->end))
            violation(o, "run %s: its end changed", job->run);
        if (!job->valid && end.state != JOB_FAILED)
            violation(o, "run %s is %s, and its job was invalid", job->run,
                      job_state_names[end.state]);
        if (job->valid && end.state == JOB_CANCELLED && !job->cancelled)
            violation(o, "run %s is CANCELLED, and nobody cancelled it", job->run);
        if (job->valid && end.state == JOB_FAILED && !job->doomed)
            violation(o, "run %s is FAILED, and its job was valid: %s", job->run,
                      end.reason ? end.reason : "");
        o->tally.finished += end.state == JOB_FINISHED;
        o->tally.failed += end.state == JOB_FAILED;
        o->tally.cancelled += end.state == JOB_CANCELLED;
        check_events(o, job, &end, all);
        if (job->doomed && end.state != JOB_CANCELLED)
            rc = oracle_attempts(o, job, &end, e);
        if (rc >= 0 && end.state == JOB_FINISHED)
            rc = check_artifact(o, job->run, &end, &arena, e);
    }
    arena_release(&arena);
    return rc < 0 ? rc : 0;
}

static void check_strangers(struct oracle *o, const struct asked *jobs, size_t n,
                            const struct events *all)
{
    size_t i, j;

    for (i = 0; i < all->count; i++) {
        for (j = 0; j < n && strcmp(all->items[i].run, jobs[j].run); j++)
            ;
        if (j == n)
            violation(o, "an event of run %s, which nobody asked for", all->items[i].run);
    }
}

int oracle_runs(struct oracle *o, struct asked *jobs, size_t n, struct err *e)
{
    struct events all = {NULL, 0};
    size_t i;
    int rc = read_events(o, &all, e);

    for (i = 0; rc == 0 && i < n; i++)
        rc = check_run(o, &jobs[i], &all, e);
    if (rc == 0)
        check_strangers(o, jobs, n, &all);
    free(all.items);
    return rc;
}
