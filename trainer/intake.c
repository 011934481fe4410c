/*
 * Intake: messages of the jobs topics into job.json and end.json. A message is
 * done with before its offset is committed, and doing it again does no harm: a
 * duplicate finds its own job.json. Long training blocks nothing here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/failpoint.h"
#include "platform/base/log.h"
#include "platform/base/text.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "trainer/parameters.h"
#include "trainer/trainer_int.h"

#define POLL_MS        500
#define BACKOFF_MS     200
#define BACKOFF_CAP_MS 10000
#define ARENA_MAX      ((size_t)256 << 20)

struct intake {
    struct actor actor;
    struct trainer *t;
    struct bus_consumer *consumer;
    struct arena arena; /* of one message */
};

/* ---- what can't be accepted -------------------------------------------------------------------
 */

static int send_rejected(struct intake *in, const char *owner, const struct bus_message *m,
                         const struct err *why, struct err *e)
{
    char topic[KEY_MAX], partition[24], offset[24];
    const char *code = err_name(why->code);
    struct bus_header headers[] = {
        {HEADER_REJECT_CODE, code, strlen(code)},
        {HEADER_REJECT_REASON, why->text, strlen(why->text)},
        {HEADER_REJECT_TOPIC, m->topic, strlen(m->topic)},
        {HEADER_REJECT_PARTITION, partition, 0},
        {HEADER_REJECT_OFFSET, offset, 0},
    };
    struct bus_message out = {.topic = topic,
                              .partition = -1,
                              .key = m->key,
                              .key_len = m->key_len,
                              .value = m->value,
                              .value_len = m->value_len,
                              .headers = headers,
                              .header_count = sizeof headers / sizeof headers[0]};
    int rc = topic_of(&in->t->keys, TOPIC_REJECTED, owner, topic, e);

    if (rc < 0)
        return rc;
    headers[3].value_len = (size_t)snprintf(partition, sizeof partition, "%d", (int)m->partition);
    headers[4].value_len = (size_t)snprintf(offset, sizeof offset, "%lld", (long long)m->offset);
    return job_send(&in->actor, &out, e);
}

/* A copy for the owner. Where there is no topic for it the log has to do. */
static int reject(struct intake *in, const char *owner, const struct bus_message *m,
                  const struct err *why, struct err *e)
{
    int rc;

    metric_add(in->t->m.jobs, 1, "rejected", NULL);
    log_error("job.rejected", why, "owner", owner, "topic", m->topic, "partition",
              LOG_I(m->partition), "offset", LOG_I(m->offset), NULL);
    rc = send_rejected(in, owner, m, why, e);
    if (rc == ERR_NOT_FOUND || rc == ERR_DENIED || rc == ERR_LIMIT) {
        log_error("job.rejected_unsent", e, "owner", owner, NULL);
        return 0;
    }
    return rc;
}

/* The name that a broken message is about, as far as one can tell: its key's. */
static bool run_of(const struct bus_message *m, char run[KEY_NAME_MAX])
{
    if (!m->key || !text_is_name(m->key, m->key_len))
        return false;
    memcpy(run, m->key, m->key_len);
    run[m->key_len] = '\0';
    return true;
}

/*
 * A job that is wrong fails its run, so that who asked for it learns why where he
 * looks; unless another job has that name already: that one isn't harmed.
 */
static int bad_job(struct intake *in, const char *owner, const struct bus_message *m,
                   const struct err *why, struct err *e)
{
    struct job_ref r;
    struct run_end end;
    struct job job;
    char run[KEY_NAME_MAX];
    size_t valid = text_utf8_valid(why->text, strlen(why->text));
    int rc;

    if (!run_of(m, run) || job_ref_set(&r, owner, run, e) < 0)
        return reject(in, owner, m, why, e);
    rc = job_load(in->t, &r, &in->arena, &job, e);
    if (rc != ERR_NOT_FOUND)
        return rc == 0 || rc == ERR_FORMAT ? reject(in, owner, m, why, e) : rc;
    metric_add(in->t->m.jobs, 1, "invalid", NULL);
    run_end_init(&end);
    end.state = JOB_FAILED;
    end.attempt = 0;
    end.reason = arena_strndup(&in->arena, why->text, valid);
    return job_end(&in->actor, &r, JOB_CREATED, NULL, &in->arena, &end, e);
}

/* ---- jobs -------------------------------------------------------------------------------------
 */

/* How far each partition of the dataset is now: the snapshot will wait for that. */
static int read_watermarks(struct intake *in, const struct job_ref *r, const char *dataset,
                           struct job_accepted *out, struct err *e)
{
    char topic[KEY_MAX];
    struct job_watermark *list;
    int64_t low;
    int i, count, rc = topic_docs(&in->t->keys, r->owner, dataset, topic, e);

    if (rc < 0)
        return rc;
    rc = bus_partitions(in->t->p.bus, topic, &count, e);
    if (rc == ERR_NOT_FOUND) /* what is in S3 may still do */
        return 0;
    if (rc == ERR_DENIED) /* one owner's trouble, not the service's */
        return err_set(e, ERR_UNSUPPORTED, "the trainer has no right to read topic %s", topic);
    if (rc < 0)
        return rc;
    if (!(list = arena_array(&in->arena, (size_t)count + 1, sizeof *list)))
        return err_set(e, ERR_NOMEM, "the watermarks of %s", topic);
    for (i = 0; i < count; i++) {
        job_watermark_init(&list[i]);
        list[i].partition = i;
        if ((rc = bus_watermarks(in->t->p.bus, topic, i, &low, &list[i].high, e)) < 0)
            return rc;
    }
    out->watermarks = list;
    out->watermark_count = (size_t)count;
    return 0;
}

static int create_job(struct intake *in, const struct job_ref *r, struct job *job,
                      const char *sha256, struct err *e)
{
    struct trainer *t = in->t;
    struct job_accepted *accepted = arena_alloc(&in->arena, sizeof *accepted);
    char key[KEY_MAX], *nonce = arena_alloc(&in->arena, 33);
    struct buf b;
    int rc;

    if (!accepted || !nonce)
        return err_set(e, ERR_NOMEM, "a job");
    clock_nonce(t->p.clock, nonce);
    job_accepted_init(accepted);
    accepted->request_sha256 = sha256;
    accepted->nonce = nonce;
    accepted->time_ms = clock_wall_ms(t->p.clock);
    if ((rc = read_watermarks(in, r, job->dataset, accepted, e)) < 0)
        return rc;
    job->accepted = accepted;
    if ((rc = key_open(r->owner, r->run, key, e)) < 0 ||
        (!DEFECT("intake.no-marker") && !DEFECT("intake.marker-later") &&
         (rc = blob_put(t->p.blob, key, "", 0, e)) < 0) ||
        (rc = key_run(r->owner, r->run, RUN_JOB, key, e)) < 0)
        return rc;
    FAILPOINT("intake.marked");
    buf_init(&b, TRAINER_JSON_MAX);
    if ((rc = job_write(job, RECORD_JSON, &b, e)) == 0)
        rc = job_change(t, r, JOB_CREATED, JOB_CREATED, key, &b, e);
    buf_release(&b);
    if (DEFECT("intake.marker-later") && rc == 0 && (rc = key_open(r->owner, r->run, key, e)) == 0)
        rc = blob_put(t->p.blob, key, "", 0, e);
    return rc;
}

/* Visible and in the queue; a sweep does it again if this fails. */
static void announce(struct intake *in, const struct job_ref *r, const struct job *job)
{
    struct run_status s;

    job_status_of(r, job, &s);
    s.epochs = job->parameters->epochs;
    s.updated_ms = job->accepted->time_ms;
    job_status_put(in->t, r, &s);
    job_queue(in->t, r, job);
}

/* job.json is there: this very job's, or another's. */
static int known_job(struct intake *in, const struct job_ref *r, const struct bus_message *m,
                     const struct job *there, const char *sha256, struct err *e)
{
    struct run_end end;
    struct err why = ERR_INIT;
    int rc;

    if (strcmp(there->accepted->request_sha256, sha256) != 0) {
        err_set(&why, ERR_EXISTS, "run %s exists, with another job: choose another name", r->run);
        return reject(in, r->owner, m, &why, e);
    }
    metric_add(in->t->m.jobs, 1, "duplicate", NULL);
    rc = job_end_load(in->t, r, &in->arena, &end, e);
    if (rc == ERR_NOT_FOUND) {
        job_queue(in->t, r, there);
        return 0;
    }
    return rc == ERR_FORMAT ? 0 : rc;
}

static int accept_job(struct intake *in, const struct job_ref *r, const struct bus_message *m,
                      struct job *job, const char *sha256, struct err *e)
{
    struct job there;
    struct run_end end;
    struct err why = ERR_INIT;
    int rc = job_load(in->t, r, &in->arena, &there, e);

    if (rc == ERR_NOT_FOUND) {
        rc = job_end_load(in->t, r, &in->arena, &end, e);
        if (rc == 0 || rc == ERR_FORMAT) { /* an invalid job had that name */
            err_set(&why, ERR_EXISTS, "run %s exists and has ended: choose another name", r->run);
            return reject(in, r->owner, m, &why, e);
        }
        if (rc != ERR_NOT_FOUND)
            return rc;
        rc = create_job(in, r, job, sha256, e);
        if (rc == 0) {
            FAILPOINT("intake.accepted");
            metric_add(in->t->m.jobs, 1, "accepted", NULL);
            announce(in, r, job);
            return 0;
        }
        if (rc == ERR_EXISTS)
            rc = job_load(in->t, r, &in->arena, &there, e);
    }
    if (rc == ERR_FORMAT)
        return reject(in, r->owner, m, e, &why);
    return rc < 0 ? rc : known_job(in, r, m, &there, sha256, e);
}

static int cancel(struct intake *in, const struct job_ref *r, const struct bus_message *m,
                  const struct job *request, struct err *e)
{
    struct job_attempts history;
    struct run_end end;
    struct job job;
    struct err why = ERR_INIT;
    int rc = job_load(in->t, r, &in->arena, &job, e);

    if (rc == ERR_NOT_FOUND || rc == ERR_FORMAT) {
        err_set(&why, ERR_NOT_FOUND, "there is no run %s to cancel", r->run);
        return reject(in, r->owner, m, &why, e);
    }
    if (rc < 0)
        return rc;
    if ((rc = job_attempts(in->t, r, &history, e)) < 0)
        return rc;
    metric_add(in->t->m.jobs, 1, "cancel", NULL);
    run_end_init(&end);
    end.state = JOB_CANCELLED;
    end.attempt = (int64_t)history.highest;
    end.reason = request->reason ? request->reason : "cancelled by its owner";
    return job_end(&in->actor, r, history.highest ? JOB_STARTED : JOB_CREATED, &job, &in->arena,
                   &end, e);
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static int take(struct intake *in, const struct bus_message *m, struct err *e)
{
    struct err why = ERR_INIT;
    struct job job;
    struct job_ref r;
    char owner[KEY_NAME_MAX], sha256[SHA256_HEX];
    int rc;

    if (!topic_parse(&in->t->keys, TOPIC_JOBS, m->topic, owner))
        return 0; /* the pattern matches a little more */
    arena_reset(&in->arena);
    rc = job_admit(m->key, m->key_len, m->value, m->value_len, &in->arena, &job, sha256, &why);
    if (rc < 0 && err_class(rc) != ERR_CLASS_REJECT) {
        *e = why;
        return rc;
    }
    if (rc == 0 && job.kind == JOB_FIT)
        rc = parameters_check(job.parameters, &why);
    if (rc == 0 && (rc = job_ref_set(&r, owner, job.run, &why)) == 0) {
        rc = job.kind == JOB_FIT ? accept_job(in, &r, m, &job, sha256, e)
                                 : cancel(in, &r, m, &job, e);
        if (rc >= 0 || err_class(rc) != ERR_CLASS_REJECT)
            return rc;
        why = *e; /* well formed, and yet it can't be taken */
    }
    return bad_job(in, owner, m, &why, e);
}

/* Until it is done with, or the service stops. A poison of ours is not taken for ever. */
static int take_surely(struct intake *in, const struct bus_message *m, struct err *e)
{
    int attempt, rc;

    for (attempt = 0;; attempt++) {
        rc = take(in, m, e);
        if (rc >= 0 || err_class(rc) == ERR_CLASS_STOP || trainer_stopping(in->t))
            return rc;
        log_error("job.trouble", e, "topic", m->topic, "partition", LOG_I(m->partition), "offset",
                  LOG_I(m->offset), NULL);
        if (err_class(rc) == ERR_CLASS_REJECT && attempt > 5)
            return 0;
        trainer_sleep(in->t, clock_backoff_ms(in->t->p.clock, attempt, BACKOFF_MS, BACKOFF_CAP_MS));
    }
}

static int step(struct intake *in, struct err *e)
{
    struct bus_message *m;
    int rc = bus_poll(in->consumer, POLL_MS, &m, e), committed;

    if (rc <= 0)
        return rc;
    if (DEFECT("intake.commits-first"))
        (void)bus_commit(in->consumer, m->topic, m->partition, m->offset + 1, e);
    rc = take_surely(in, m, e);
    if (rc >= 0) {
        struct err late = ERR_INIT;

        FAILPOINT("intake.done");
        committed = bus_commit(in->consumer, m->topic, m->partition, m->offset + 1, &late);
        if (committed < 0) /* it will come again, and be known */
            log_error("job.commit", &late, NULL);
        rc = 1;
    }
    bus_message_free(in->consumer, m);
    return rc;
}

static int open_consumer(struct intake *in, struct err *e)
{
    char pattern[KEY_MAX], group[KEY_MAX];
    const char *topics[] = {pattern};
    struct bus_consumer_options o = {.group = group, .topics = topics, .topic_count = 1};

    topic_pattern(&in->t->keys, TOPIC_JOBS, pattern);
    key_group(&in->t->keys, KEY_TRAINER, group);
    return bus_consumer_open(in->t->p.bus, &o, &in->consumer, e);
}

static void set_ready(struct intake *in, bool *was, bool is, const char *why)
{
    if (in->t->p.ready && *was != is)
        in->t->p.ready(in->t->p.ready_arg, is, why);
    *was = is;
}

void intake_task(void *trainer)
{
    struct trainer *t = trainer;
    struct intake in = {.t = t, .actor.t = t};
    struct err e = ERR_INIT;
    bool ready = false;
    int rc, failures = 0;

    arena_init(&in.arena, ARENA_MAX);
    if (open_consumer(&in, &e) < 0)
        trainer_fail(t, &e);
    while (!trainer_stopping(t)) {
        rc = step(&in, &e);
        failures = rc < 0 ? failures + 1 : 0;
        set_ready(&in, &ready, rc >= 0, rc < 0 ? e.text : NULL);
        if (rc >= 0 || trainer_stopping(t))
            continue;
        if (err_class(rc) == ERR_CLASS_STOP) {
            trainer_fail(t, &e);
            break;
        }
        log_error("intake", &e, NULL);
        trainer_sleep(t, clock_backoff_ms(t->p.clock, failures, BACKOFF_MS, BACKOFF_CAP_MS));
    }
    bus_consumer_free(in.consumer);
    actor_release(&in.actor);
    arena_release(&in.arena);
}
