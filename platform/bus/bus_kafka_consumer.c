#include "platform/bus/bus_kafka_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"

enum {
    REPORT_EVERY_MS = 1000,
    REPORT_AGAIN_MS = 5000,
    PROBE_MS = 500,
    STABLE_STEP_MS = 5000,
    CLOSE_MS = 5000,
    WAKE_EVERY = 1 << 20 /* bytes taken; a fraction of queued.max.messages.kbytes */
};

/*
 * Positions are ours, not librdkafka's: each held partition has the offset of
 * the next record to give out, and every change of it (the first bus_seek after
 * an assignment, a later one) is one rd_kafka_assign of all partitions that
 * have a position, made at the next poll. An assignment starts its fetchers
 * anew behind a version barrier, so no record from before a seek can come
 * through, and a partition without a position is not fetched at all: there is
 * no moment in which it could deliver. rd_kafka_seek has neither property (it
 * fails while a fetcher starts). A rebalance is no danger: between revoke and
 * assign nothing is held, so nothing is assigned by us.
 */
struct held {
    char *topic;
    int32_t partition;
    int64_t position; /* next offset; NOWHERE; or RD_KAFKA_OFFSET_STORED (no callbacks) */
    bool paused;
};
#define NOWHERE INT64_MIN

struct kafka_consumer {
    struct bus_consumer base;
    struct kafka_handle h;
    struct bus_rebalance rebalance;
    struct held *held;
    size_t held_count;
    bool moved;   /* a position changed: assign before the next poll */
    bool closing; /* being freed: no callbacks */
    bool broken;  /* an assignment failed; `failure` says how */
    struct err failure;
    int64_t reported_ms; /* when a poll last told of trouble */
    size_t taken;        /* bytes out of librdkafka's queue since its fetchers were woken */
    char failed_topic[256];
};

static struct kafka_consumer *owner(void *opaque)
{
    return (struct kafka_consumer *)((char *)opaque - offsetof(struct kafka_consumer, h));
}

rd_kafka_t *kafka_consumer_rk(struct bus_consumer *c)
{
    return ((struct kafka_consumer *)c)->h.rk;
}

static void release_held(struct kafka_consumer *c)
{
    size_t i;

    for (i = 0; i < c->held_count; i++)
        free(c->held[i].topic);
    free(c->held);
    c->held = NULL;
    c->held_count = 0;
    c->moved = false;
}

static struct held *find(struct kafka_consumer *c, const char *topic, int32_t partition)
{
    size_t i;

    for (i = 0; i < c->held_count; i++)
        if (c->held[i].partition == partition && !strcmp(c->held[i].topic, topic))
            return &c->held[i];
    return NULL;
}

static int hold(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *list)
{
    int i;

    release_held(c);
    c->held = calloc((size_t)list->cnt + 1, sizeof *c->held);
    for (i = 0; c->held && i < list->cnt; i++) {
        struct held *h = &c->held[i];

        h->topic = strdup(list->elems[i].topic);
        if (!h->topic)
            break;
        h->partition = list->elems[i].partition;
        h->position = c->rebalance.assigned ? NOWHERE : RD_KAFKA_OFFSET_STORED;
        c->held_count++;
    }
    if (c->held && i == list->cnt)
        return 0;
    c->broken = true;
    return err_set(&c->failure, ERR_NOMEM, "an assignment of %d partitions", list->cnt);
}

static rd_kafka_topic_partition_list_t *placed(const struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)c->held_count + 1);
    size_t i;

    for (i = 0; i < c->held_count; i++)
        if (c->held[i].position != NOWHERE)
            rd_kafka_topic_partition_list_add(list, c->held[i].topic, c->held[i].partition)
                ->offset = c->held[i].position;
    return list;
}

static rd_kafka_topic_partition_list_t *paused(const struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)c->held_count + 1);
    size_t i;

    for (i = 0; i < c->held_count; i++)
        if (c->held[i].paused)
            rd_kafka_topic_partition_list_add(list, c->held[i].topic, c->held[i].partition);
    return list;
}

static void check(struct kafka_consumer *c, rd_kafka_resp_err_t err)
{
    if (!err)
        return;
    c->broken = true;
    kafka_fail(&c->h, err, NULL, &c->failure, "assigning %zu partitions", c->held_count);
}

/*
 * A partition that an assignment stops is still called started until its fetcher's answer has come
 * back through the queue of librdkafka's main thread. A second assignment before that stops it
 * twice, and the second answer aborts the process (librdkafka 2.0.2). Two questions through the
 * same queue wait for it: the first comes behind the request to stop, the second behind its answer.
 */
static rd_kafka_resp_err_t assign(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *to)
{
    rd_kafka_resp_err_t err = rd_kafka_assign(rk, to);
    rd_kafka_topic_partition_list_t *list;
    int i;

    for (i = 0; i < 2; i++)
        if (!rd_kafka_assignment(rk, &list))
            rd_kafka_topic_partition_list_destroy(list);
    return err;
}

/* Makes librdkafka fetch exactly the partitions that have a position, from there. */
static void apply(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = placed(c);

    check(c, assign(c->h.rk, list));
    rd_kafka_topic_partition_list_destroy(list);
    list = paused(c);
    if (list->cnt)
        rd_kafka_pause_partitions(c->h.rk, list); /* what slips through, give() holds back */
    rd_kafka_topic_partition_list_destroy(list);
    c->moved = false;
}

static void tell(struct kafka_consumer *c, bool assigned, bool lost)
{
    struct bus_partition *list;
    size_t i, n = c->held_count;

    if (!n || c->closing || (assigned ? !c->rebalance.assigned : !c->rebalance.revoked))
        return;
    list = calloc(n, sizeof *list);
    if (!list)
        abort(); /* a member that is not told of its partitions breaks every promise */
    for (i = 0; i < n; i++)
        list[i] = (struct bus_partition){c->held[i].topic, c->held[i].partition};
    if (assigned)
        c->rebalance.assigned(c->rebalance.arg, list, n);
    else
        c->rebalance.revoked(c->rebalance.arg, list, n, lost);
    free(list);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    struct kafka_consumer *c = owner(opaque);
    rd_kafka_topic_partition_list_t *list;

    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !c->closing && hold(c, partitions) == 0) {
        tell(c, true, false);
        apply(c);
        return;
    }
    tell(c, false, rd_kafka_assignment_lost(rk));
    list = paused(c);
    release_held(c);
    check(c, assign(rk, NULL));
    if (list->cnt) /* librdkafka remembers a pause beyond the assignment */
        rd_kafka_resume_partitions(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static int configure(rd_kafka_conf_t *conf, const struct bus_consumer_options *o, struct err *e)
{
    char session[16], refresh[16];

    snprintf(session, sizeof session, "%d",
             o->session_timeout_ms ? o->session_timeout_ms : BUS_SESSION_MS);
    snprintf(refresh, sizeof refresh, "%d",
             o->metadata_refresh_ms ? o->metadata_refresh_ms : BUS_METADATA_MS);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    /* Known to librdkafka 2.2 and later; the fetchers of earlier ones are woken: see wake(). */
    (void)rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", NULL, 0);
    /* A seek waits for the fetch that is under way, so that may not wait long for records. */
    return kafka_set(conf, e, "group.id", o->group, "isolation.level", "read_committed",
                     "enable.auto.commit", "false", "enable.auto.offset.store", "false",
                     "auto.offset.reset", o->rebalance.assigned ? "error" : "earliest",
                     "session.timeout.ms", session, "topic.metadata.refresh.interval.ms", refresh,
                     "check.crcs", "true", "queued.max.messages.kbytes", "8192", "fetch.max.bytes",
                     "4194304", "fetch.wait.max.ms", "100", "partition.assignment.strategy",
                     "range", NULL);
}

static int subscribe(struct kafka_consumer *c, const struct bus_consumer_options *o, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)o->topic_count);
    rd_kafka_resp_err_t err;
    size_t i;

    for (i = 0; i < o->topic_count; i++)
        rd_kafka_topic_partition_list_add(list, o->topics[i], RD_KAFKA_PARTITION_UA);
    err = rd_kafka_subscribe(c->h.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (err == RD_KAFKA_RESP_ERR__INVALID_ARG)
        return err_set(e, ERR_CONFIG,
                       "group %s: a topic name or regular expression is wrong (%s%s)", o->group,
                       o->topics[0], o->topic_count > 1 ? ", ..." : "");
    return err ? kafka_fail(&c->h, err, NULL, e, "group %s", o->group) : 0;
}

int kafka_consumer_open(struct bus *b, const struct bus_consumer_options *o,
                        struct bus_consumer **out, struct err *e)
{
    struct kafka *k = (struct kafka *)b;
    struct kafka_consumer *c = calloc(1, sizeof *c);
    rd_kafka_conf_t *conf;
    int rc;

    if (!c)
        return err_set(e, ERR_NOMEM, "a consumer");
    c->base.bus = b;
    c->rebalance = o->rebalance;
    conf = rd_kafka_conf_dup(k->conf);
    if ((rc = configure(conf, o, e)) < 0) {
        rd_kafka_conf_destroy(conf);
        goto fail;
    }
    if ((rc = kafka_handle_init(&c->h, k, RD_KAFKA_CONSUMER, conf, e)) < 0)
        goto fail;
    rd_kafka_poll_set_consumer(c->h.rk);
    c->h.grouped = true;
    if ((rc = subscribe(c, o, e)) < 0)
        goto fail;
    *out = &c->base;
    return 0;
fail:
    kafka_consumer_free(&c->base);
    return rc;
}

/*
 * Trouble of the whole client: at once when it is new, again every few seconds
 * as long as it lasts. librdkafka tells of a loss once and of no recovery, so
 * before the second time the brokers are asked whether they are back.
 */
static int trouble(struct kafka_consumer *c, struct err *e)
{
    int64_t now = kafka_now(c->h.bus);
    rd_kafka_resp_err_t last;
    bool fresh;

    if (c->broken) {
        c->broken = false;
        *e = c->failure;
        return e->code;
    }
    pthread_mutex_lock(&c->h.lock);
    last = c->h.last;
    fresh = c->h.fresh;
    pthread_mutex_unlock(&c->h.lock);
    if (!last || now - c->reported_ms < (fresh ? REPORT_EVERY_MS : REPORT_AGAIN_MS))
        return 0;
    c->reported_ms = now;
    if (!fresh)
        return kafka_reach(&c->h, PROBE_MS, e);
    pthread_mutex_lock(&c->h.lock);
    c->h.fresh = false;
    pthread_mutex_unlock(&c->h.lock);
    return kafka_fail(&c->h, last, NULL, e, "Kafka at %s", c->h.bus->brokers);
}

/* An error that came in place of a message. */
static int refused(struct kafka_consumer *c, const rd_kafka_message_t *m, struct err *e)
{
    const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : "";
    struct held *h = m->rkt ? find(c, topic, m->partition) : NULL;

    if (m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && topic[0] == '^')
        return 0; /* a pattern that no topic matches yet is no failure */
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED: /* the rebalance that follows says it */
        return 0;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        if (!h || h->position == NOWHERE)
            return 0;
        snprintf(c->failed_topic, sizeof c->failed_topic, "%s", topic);
        c->base.failed = (struct bus_partition){c->failed_topic, m->partition};
        c->base.failed_offset = h->position;
        h->position = NOWHERE;
        c->moved = true;
        return err_set(e, ERR_NOT_FOUND, BUS_AT ": offset %lld is not there: %s", topic,
                       (int)m->partition, (long long)c->base.failed_offset,
                       rd_kafka_message_errstr(m));
    default:
        if (m->rkt && m->partition >= 0)
            return kafka_fail(&c->h, m->err, rd_kafka_message_errstr(m), e, BUS_AT, topic,
                              (int)m->partition);
        return kafka_fail(&c->h, m->err, rd_kafka_message_errstr(m), e, "Kafka at %s",
                          c->h.bus->brokers);
    }
}

/* 1: given out; 0: not wanted now. */
static int give(struct kafka_consumer *c, const rd_kafka_message_t *m, struct bus_message **out,
                struct err *e)
{
    struct held *h = find(c, rd_kafka_topic_name(m->rkt), m->partition);

    if (!h || h->position == NOWHERE)
        return 0;
    if (h->paused) { /* fetched before the pause took hold: again after it */
        h->position = m->offset;
        c->moved = true;
        return 0;
    }
    if (!(*out = kafka_message(m, e)))
        return e->code;
    h->position = m->offset + 1;
    kafka_fine(&c->h);
    return 1;
}

/*
 * A fetcher that finds the queue full sleeps for up to a second, whether or not it is emptied
 * meanwhile (librdkafka 2.0.2). A request to its broker wakes it: the ends of the partitions, whose
 * answer is not waited for.
 */
static void wake(struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    rd_kafka_topic_partition_list_t *list;
    int i;

    c->taken += m->len + m->key_len;
    if (c->taken < WAKE_EVERY)
        return;
    c->taken = 0;
    list = placed(c);
    for (i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    (void)rd_kafka_offsets_for_times(c->h.rk, list, 0);
    rd_kafka_topic_partition_list_destroy(list);
}

int kafka_poll(struct bus_consumer *bc, int timeout_ms, struct bus_message **out, struct err *e)
{
    struct kafka_consumer *c = (struct kafka_consumer *)bc;
    /* who only takes what is there needs no clock */
    int64_t until = timeout_ms > 0 ? kafka_now(c->h.bus) + timeout_ms : 0;
    int64_t left = timeout_ms;
    rd_kafka_message_t *m;
    int rc;

    *out = NULL;
    c->base.failed.topic = NULL;
    do {
        if (c->moved)
            apply(c);
        m = rd_kafka_consumer_poll(c->h.rk, left < BUS_POLL_STEP_MS ? (int)left : BUS_POLL_STEP_MS);
        rc = m ? (m->err ? refused(c, m, e) : give(c, m, out, e)) : 0;
        if (m) {
            wake(c, m);
            rd_kafka_message_destroy(m);
        }
        if (rc == 0)
            rc = trouble(c, e);
        if (rc != 0)
            return rc;
        left = timeout_ms > 0 ? until - kafka_now(c->h.bus) : 0;
    } while (left > 0);
    return 0;
}

void kafka_message_free(struct bus_consumer *c, struct bus_message *m)
{
    (void)c;
    free(m);
}

static int not_held(const char *topic, int32_t partition, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, BUS_AT " is not assigned to this consumer", topic,
                   (int)partition);
}

int kafka_seek(struct bus_consumer *bc, const char *topic, int32_t partition, int64_t offset,
               struct err *e)
{
    struct kafka_consumer *c = (struct kafka_consumer *)bc;
    struct held *h = find(c, topic, partition);

    if (!h)
        return not_held(topic, partition, e);
    if (offset < 0)
        return err_set(e, ERR_USAGE, BUS_AT ": no offset %lld", topic, (int)partition,
                       (long long)offset);
    h->position = offset;
    c->moved = true;
    return 0;
}

int kafka_pause(struct bus_consumer *bc, const char *topic, int32_t partition, bool paused,
                struct err *e)
{
    struct kafka_consumer *c = (struct kafka_consumer *)bc;
    struct held *h = find(c, topic, partition);
    rd_kafka_topic_partition_list_t *list;

    if (!h)
        return not_held(topic, partition, e);
    h->paused = paused; /* a partition that librdkafka does not have yet: see apply() */
    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    if (paused)
        rd_kafka_pause_partitions(c->h.rk, list);
    else
        rd_kafka_resume_partitions(c->h.rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return 0;
}

int kafka_committed(struct bus_consumer *bc, const char *topic, int32_t partition, int64_t *offset,
                    struct err *e)
{
    struct kafka_consumer *c = (struct kafka_consumer *)bc;
    int64_t until = kafka_now(c->h.bus) + BUS_STABLE_MS;
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t err;
    struct err ignored;

    do { /* as long as a transaction is waited for, not a broker, and no stop is asked for */
        list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, partition);
        err = rd_kafka_committed(c->h.rk, list, STABLE_STEP_MS);
        if (!err)
            err = list->elems[0].err;
        *offset = list->elems[0].offset >= 0 ? list->elems[0].offset : -1;
        rd_kafka_topic_partition_list_destroy(list);
    } while (err && kafka_code(err) == ERR_PEER && kafka_now(c->h.bus) < until &&
             !clock_stopping(c->h.bus->clock) && kafka_reach(&c->h, 2 * PROBE_MS, &ignored) == 0);
    if (err && kafka_code(err) == ERR_PEER && kafka_now(c->h.bus) >= until)
        return err_set(e, ERR_TIMEOUT, "a transaction on the offset of " BUS_AT " stays open",
                       topic, (int)partition);
    if (err)
        return kafka_fail(&c->h, err, NULL, e, "the committed offset of " BUS_AT, topic,
                          (int)partition);
    kafka_fine(&c->h);
    return 0;
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    rd_kafka_resp_err_t *answer = opaque;

    (void)rk;
    *answer = !err && offsets ? offsets->elems[0].err : err;
}

/*
 * Not by rd_kafka_commit: that waits for ever when the broker goes away with
 * the request (librdkafka 2.0.2). A queue that is destroyed takes its late
 * answer along, so nothing points to this stack afterwards.
 */
int kafka_commit(struct bus_consumer *bc, const char *topic, int32_t partition, int64_t offset,
                 struct err *e)
{
    struct kafka_consumer *c = (struct kafka_consumer *)bc;
    int64_t left, until = kafka_now(c->h.bus) + c->h.bus->timeout_ms;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->h.rk);
    rd_kafka_resp_err_t err, answer = RD_KAFKA_RESP_ERR__IN_PROGRESS;

    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    err = rd_kafka_commit_queue(c->h.rk, list, q, on_commit, &answer);
    while (!err && answer == RD_KAFKA_RESP_ERR__IN_PROGRESS &&
           (left = until - kafka_now(c->h.bus)) > 0)
        rd_kafka_queue_poll_callback(q, (int)left);
    if (!err)
        err = answer == RD_KAFKA_RESP_ERR__IN_PROGRESS ? RD_KAFKA_RESP_ERR__TIMED_OUT : answer;
    rd_kafka_queue_destroy(q);
    rd_kafka_topic_partition_list_destroy(list);
    return err ? kafka_fail(&c->h, err, NULL, e, "committing offset %lld of " BUS_AT,
                            (long long)offset, topic, (int)partition)
               : 0;
}

/* Leaves the group, for at most CLOSE_MS; rd_kafka_consumer_close has no limit. */
static void close_group(struct kafka_consumer *c)
{
    int64_t until = kafka_now(c->h.bus) + CLOSE_MS;
    rd_kafka_queue_t *q = rd_kafka_queue_new(c->h.rk);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(c->h.rk, q);
    rd_kafka_event_t *ev;

    while (!error && !rd_kafka_consumer_closed(c->h.rk) && kafka_now(c->h.bus) < until) {
        ev = rd_kafka_queue_poll(q, BUS_POLL_STEP_MS);
        if (!ev)
            continue;
        if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_REBALANCE)
            rd_kafka_assign(c->h.rk, NULL);
        rd_kafka_event_destroy(ev); /* and the records that were fetched ahead */
    }
    if (error)
        rd_kafka_error_destroy(error);
    c->h.unclosed = !rd_kafka_consumer_closed(c->h.rk);
    rd_kafka_queue_destroy(q);
}

void kafka_consumer_free(struct bus_consumer *bc)
{
    struct kafka_consumer *c = (struct kafka_consumer *)bc;

    c->closing = true;
    if (c->h.rk)
        close_group(c);
    kafka_handle_release(&c->h);
    release_held(c);
    free(c);
}
