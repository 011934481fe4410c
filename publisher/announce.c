#include "publisher/publisher_int.h"

#include <stdio.h>
#include <string.h>

#include "platform/base/failpoint.h"

enum { BASE_MS = 200, CAP_MS = 10000, DONE_BYTES_MAX = 64 << 10, REASON_MAX = 200 };

enum outcome {
    OUT_EVENT,   /* committed, with the offset */
    OUT_KNOWN,   /* it had its event */
    OUT_NOTHING, /* there can't be one */
    OUT_PARK,    /* not now, for a reason of this owner's */
    OUT_AGAIN,   /* a server did not answer */
    OUT_RESTART, /* the transaction failed or another publisher took over */
    OUT_STOP
};

/* That a run failed is daily life, all else is somebody's mistake or a forgery. */
static void skip(struct publisher *pub, const char *reason, const char *owner, const char *run,
                 const char *why)
{
    metric_add(pub->m.skipped, 1, reason, NULL);
    log_event(strcmp(reason, "not_finished") ? LOG_WARN : LOG_INFO, "done.skipped", "reason",
              reason, "owner", owner, "run", run, "why", why, NULL);
}

/* --- the message: the run's name, and no word of it is believed --- */

static int parse(struct publisher *pub, const struct bus_message *m, struct run_name *name,
                 struct err *e)
{
    struct run_done done;
    int rc;

    if (m->value_len > DONE_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%zu bytes; %d at most", m->value_len, DONE_BYTES_MAX);
    if (!m->value)
        return err_set(e, ERR_FORMAT, "no value");
    if (!m->key || !key_run_id_parse(m->key, m->key_len, name->owner, name->run))
        return err_set(e, ERR_FORMAT, "the key is not <owner>/<run>");
    arena_reset(&pub->arena);
    if ((rc = run_done_read(&pub->arena, m->value, m->value_len, RECORD_SNIFF, &done, e)) < 0)
        return rc;
    if (strcmp(done.owner, name->owner) || strcmp(done.run, name->run))
        return err_set(e, ERR_FORMAT, "the key says %s/%s, the value %s/%s", name->owner, name->run,
                       done.owner, done.run);
    return key_run_id(name->owner, name->run, name->id, e);
}

/* --- the transaction --- */

struct message {
    struct bus_message m;
    struct bus_header headers[MODEL_READY_HEADERS];
    char topic[KEY_MAX];
    struct buf body;
};

static int write_event(const struct model_ready *event, bool binary, struct message *out,
                       struct err *e)
{
    struct model_ready_header rows[MODEL_READY_HEADERS];
    size_t i, count = 1;
    int rc;

    if (binary) {
        rc = model_ready_binary(event, rows, &count, &out->body, e);
    } else {
        rows[0] = (struct model_ready_header){"content-type", MODEL_READY_STRUCTURED};
        rc = model_ready_write(event, RECORD_JSON, &out->body, e);
    }
    if (rc < 0)
        return rc;
    for (i = 0; i < count; i++)
        out->headers[i] = (struct bus_header){rows[i].name, rows[i].value, strlen(rows[i].value)};
    out->m = (struct bus_message){.topic = out->topic,
                                  .partition = -1,
                                  .key = event->data->model,
                                  .key_len = strlen(event->data->model),
                                  .value = out->body.data,
                                  .value_len = out->body.len,
                                  .headers = out->headers,
                                  .header_count = count};
    return 0;
}

static int write_published(const struct release *r, struct buf *to, struct err *e)
{
    struct run_done record;

    run_done_init(&record);
    record.owner = r->name.owner;
    record.run = r->name.run;
    record.state = r->end.state;
    record.attempt = r->end.attempt;
    record.model = r->manifest.model;
    record.manifest_sha256 = r->end.manifest_sha256;
    record.time_ms = r->end.time_ms;
    return run_done_write(&record, RECORD_JSON, to, e);
}

/* Planted: the key on `published` in a transaction of its own. */
static int key_alone(struct part *p, const struct bus_message *published, struct err *e)
{
    int rc;

    if ((rc = bus_begin(p->producer, e)) < 0 ||
        (rc = bus_send(p->producer, published, NULL, e)) < 0)
        return rc;
    return bus_commit_transaction(p->producer, e);
}

/* The event, the key on `published`, the offset: all or nothing. */
static int transact(struct publisher *pub, struct part *p, const struct bus_message *event,
                    const struct bus_message *published, int64_t next, struct err *e)
{
    bool alone = DEFECT("publish.key-outside") || DEFECT("publish.key-before");
    int rc;

    if (DEFECT("publish.key-before") && (rc = key_alone(p, published, e)) < 0)
        return rc;
    if ((rc = bus_begin(p->producer, e)) < 0 || (rc = bus_send(p->producer, event, NULL, e)) < 0 ||
        (!alone && (rc = bus_send(p->producer, published, NULL, e)) < 0) ||
        (rc = bus_send_offset(p->producer, pub->consumer, pub->done, p->partition, next, e)) < 0)
        return rc;
    FAILPOINT("publish.open");
    if ((rc = bus_commit_transaction(p->producer, e)) == 0)
        FAILPOINT("publish.committed");
    if (rc == 0 && DEFECT("publish.key-outside"))
        rc = key_alone(p, published, e);
    return rc;
}

/*
 * After a refusal the transaction is aborted and the run judged; after anything
 * less clear (no answer, fenced) only a new producer and a new look at
 * `published` tell what was committed.
 */
static enum outcome judge_transaction(struct part *p, struct err *e)
{
    struct err why = ERR_INIT;

    if (e->code == ERR_NOMEM)
        return OUT_STOP;
    if (DEFECT("publish.lost-commit-again") && e->code == ERR_PEER) {
        (void)bus_abort_transaction(p->producer, &why);
        return OUT_AGAIN;
    }
    if (e->code != ERR_NOT_FOUND && e->code != ERR_DENIED && e->code != ERR_LIMIT)
        return OUT_RESTART;
    if (bus_abort_transaction(p->producer, &why) < 0)
        return OUT_RESTART;
    return e->code == ERR_LIMIT ? OUT_NOTHING : OUT_PARK;
}

static enum outcome judge(const struct err *e)
{
    switch (err_class(e->code)) {
    case ERR_CLASS_RETRY:
    case ERR_CLASS_LOST:
        return OUT_AGAIN;
    case ERR_CLASS_REJECT:
        return OUT_NOTHING;
    case ERR_CLASS_STOP:
        break;
    }
    return e->code == ERR_DENIED ? OUT_PARK : OUT_STOP; /* this owner's bucket or topic, perhaps */
}

static enum outcome commit(struct publisher *pub, struct part *p, const struct release *r,
                           const struct message *event, int64_t next, struct err *e)
{
    struct bus_message m = {.topic = pub->published,
                            .partition = p->partition,
                            .key = r->name.id,
                            .key_len = strlen(r->name.id)};
    enum outcome out;
    struct buf b;

    buf_init(&b, DONE_BYTES_MAX);
    if (write_published(r, &b, e) < 0) {
        out = judge(e);
    } else {
        m.value = b.data;
        m.value_len = b.len;
        out = transact(pub, p, &event->m, &m, next, e) < 0 ? judge_transaction(p, e) : OUT_EVENT;
    }
    buf_release(&b);
    return out;
}

/* Checks the owner's topic before anything is created or begun. */
static enum outcome prepare(struct publisher *pub, struct release *r, struct message *msg,
                            struct err *e)
{
    struct model_ready event;
    bool binary;
    int count, rc = topic_of(&pub->keys, TOPIC_MODELS, r->name.owner, msg->topic, e);

    if (rc == 0 && (rc = bus_partitions(pub->p.bus, msg->topic, &count, e)) == ERR_NOT_FOUND) {
        err_wrap(e, "owner %s can't be told (`tripline owner create` makes the topic)",
                 r->name.owner);
        return OUT_PARK;
    }
    if (rc < 0 || (rc = event_build(pub, r, &event, &binary, e)) < 0 ||
        (rc = current_claim(pub, r, e)) < 0)
        return judge(e);
    FAILPOINT("publish.claimed");
    event_decide(r);
    return write_event(&event, binary, msg, e) < 0 ? judge(e) : OUT_EVENT;
}

/* `next`: the offset of done to commit with it. The release stays valid until the next call. */
static enum outcome publish(struct publisher *pub, struct part *p, const struct run_name *name,
                            int64_t next, struct release *r, struct err *e)
{
    const char *why = "";
    struct message msg;
    enum outcome out;
    int rc;

    if (known_has(&p->known, name->id) && !DEFECT("publish.again"))
        return OUT_KNOWN;
    arena_reset(&pub->arena);
    if ((rc = release_load(pub, name, r, &why, e)) == 0) {
        skip(pub, r->end.run ? "not_finished" : "unknown_run", name->owner, name->run, why);
        e->code = 0;
        return OUT_NOTHING;
    }
    if (rc < 0)
        return judge(e);
    buf_init(&msg.body, EVENT_BYTES_MAX);
    if ((out = prepare(pub, r, &msg, e)) == OUT_EVENT)
        out = commit(pub, p, r, &msg, next, e);
    buf_release(&msg.body);
    if (out == OUT_EVENT && known_add(&p->known, name->id, e) < 0)
        return OUT_STOP;
    return out;
}

/* --- afterwards: what a crash leaves out is made good by a sweep or the next assignment --- */

static void remove_marker(struct publisher *pub, const struct run_name *name)
{
    struct err e = ERR_INIT;
    char key[KEY_MAX];

    if (key_open(name->owner, name->run, key, &e) < 0 || blob_remove(pub->p.blob, key, &e) < 0)
        log_error("marker.kept", &e, "owner", name->owner, "run", name->run, NULL);
}

static void tell(struct publisher *pub, const struct release *r)
{
    char model[KEY_NAME_MAX];
    struct err e = ERR_INIT;

    metric_add(pub->m.events, 1, r->name.owner, NULL);
    log_event(LOG_INFO, "run.published", "owner", r->name.owner, "run", r->name.run, "model",
              r->manifest.model, "version", LOG_U(r->n), "attempt", LOG_I(r->end.attempt), NULL);
    if (r->n) {
        snprintf(model, sizeof model, "%s", r->manifest.model);
        if (current_tell(pub, r->name.owner, model, &e) < 0) {
            log_error("current.failed", &e, "owner", r->name.owner, "model", model, NULL);
            current_later(pub, r->name.owner, model);
        }
    }
    FAILPOINT("publish.told");
    remove_marker(pub, &r->name);
}

static void finish(struct publisher *pub, enum outcome out, const struct run_name *name,
                   const struct release *r, const struct err *e)
{
    if (out == OUT_EVENT) {
        tell(pub, r);
    } else if (out == OUT_KNOWN) {
        metric_add(pub->m.duplicates, 1, NULL);
        remove_marker(pub, name);
    } else if (e->code) {
        metric_add(pub->m.skipped, 1, "unpublishable", NULL);
        log_error("run.unpublishable", e, "owner", name->owner, "run", name->run, NULL);
    }
}

/* --- messages and runs that waited --- */

/* The message leads to nothing more: only its offset is committed. */
static void pass(struct publisher *pub, struct part *p, int64_t next, struct err *e)
{
    if (bus_commit(pub->consumer, pub->done, p->partition, next, e) < 0) {
        part_restart(pub, p, e);
        return;
    }
    p->next = next;
    p->tries = 0;
}

static void hold(struct publisher *pub, struct part *p, struct bus_message *m, bool *kept,
                 const struct run_name *name, struct err *e)
{
    int64_t wait = clock_backoff_ms(pub->p.clock, p->tries++, BASE_MS, CAP_MS);

    log_error("run.again", e, "owner", name->owner, "run", name->run, "again_ms", LOG_I(wait),
              NULL);
    metric_add(pub->m.failures, 1, "run.again", NULL);
    if (bus_pause(pub->consumer, pub->done, p->partition, true, e) < 0) {
        part_restart(pub, p, e);
        return;
    }
    p->held = m;
    p->due_ms = clock_mono_ms(pub->p.clock) + wait;
    *kept = true;
}

static enum outcome park(struct publisher *pub, struct part *p, const struct run_name *name,
                         struct err *e)
{
    log_error("run.parked", e, "owner", name->owner, "run", name->run, NULL);
    if (parked_add(pub, p, name, e) < 0 && err_class(e->code) == ERR_CLASS_RETRY)
        return OUT_AGAIN;
    return OUT_PARK;
}

int announce_message(struct publisher *pub, struct part *p, struct bus_message *m, bool *kept,
                     struct err *e)
{
    int64_t began = clock_mono_ms(pub->p.clock), next = m->offset + 1;
    struct run_name name = {.owner = "", .run = ""};
    struct release r;
    enum outcome out;

    e->code = 0;
    if (parse(pub, m, &name, e) < 0) {
        if (e->code == ERR_NOMEM)
            return e->code;
        skip(pub, "malformed", "", "", e->text);
        pass(pub, p, next, e);
        return 0;
    }
    if (DEFECT("publish.marker-first"))
        remove_marker(pub, &name);
    out = publish(pub, p, &name, next, &r, e);
    if (out == OUT_PARK)
        out = park(pub, p, &name, e);
    if (out == OUT_STOP)
        return e->code;
    if (out == OUT_AGAIN) {
        hold(pub, p, m, kept, &name, e);
    } else if (out == OUT_RESTART) {
        part_restart(pub, p, e);
    } else if (out == OUT_EVENT) {
        p->next = next;
        p->tries = 0;
        metric_observe(pub->m.seconds, (double)(clock_mono_ms(pub->p.clock) - began) / 1000.0,
                       NULL);
        finish(pub, out, &name, &r, e);
    } else {
        if (out != OUT_PARK)
            finish(pub, out, &name, &r, e);
        pass(pub, p, next, e);
    }
    return 0;
}

int announce_parked(struct publisher *pub, struct part *p, struct err *e)
{
    struct parked *item = parked_due(pub, p);
    struct run_name name;
    struct release r;
    enum outcome out;

    if (!item)
        return 0;
    name = item->name;
    e->code = 0;
    out = publish(pub, p, &name, p->next, &r, e);
    if (out == OUT_STOP)
        return e->code;
    if (out == OUT_AGAIN || out == OUT_PARK || out == OUT_RESTART) {
        log_error("run.parked", e, "owner", name.owner, "run", name.run, NULL);
        parked_again(pub, item);
        if (out == OUT_RESTART)
            part_restart(pub, p, e);
        return 0;
    }
    p->tries = 0;
    parked_drop(pub, p, item);
    finish(pub, out, &name, &r, e);
    return 0;
}
