#include "platform/bus/bus_kafka_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kafka_producer {
    struct bus_producer base;
    struct kafka_handle h;
    bus_delivered_fn delivered;
    void *arg;
    int timeout_ms;
    bool closing;
    bool committing;        /* a commit did not end in time: it can only be gone on with */
    struct err failure;     /* the first since the last flush, begin or abort */
    struct err txn_failure; /* the first of the open transaction */
};

/* Runs inside rd_kafka_poll, flush and commit: on the caller's thread. */
static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct kafka_handle *h = opaque;
    struct kafka_producer *p =
        (struct kafka_producer *)((char *)h - offsetof(struct kafka_producer, h));
    struct err why = ERR_INIT;

    (void)rk;
    if (p->closing)
        return;
    if (m->err)
        kafka_fail(h, m->err, NULL, &why, "a message for %s", rd_kafka_topic_name(m->rkt));
    else
        kafka_fine(h);
    if (why.code && why.code != ERR_CANCELLED) { /* an abort drops what is left: no failure */
        if (!p->failure.code)
            p->failure = why;
        if (!p->txn_failure.code)
            p->txn_failure = why;
    }
    if (p->delivered)
        p->delivered(p->arg, m->_private, why.code, m->partition, m->err ? -1 : m->offset,
                     why.text);
}

static int configure(rd_kafka_conf_t *conf, const struct bus_producer_options *o, int timeout_ms,
                     struct err *e)
{
    char timeout[16], linger[16];

    snprintf(timeout, sizeof timeout, "%d", timeout_ms);
    snprintf(linger, sizeof linger, "%d", o->linger_ms ? o->linger_ms : 5);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    /* The size limit is the topic's; the client's is only a bound on memory. */
    return kafka_set(conf, e, "enable.idempotence", "true", "acks", "all", "partitioner",
                     "murmur2_random", "message.timeout.ms", timeout, "transactional.id",
                     o->transactional_id, "transaction.timeout.ms",
                     o->transactional_id ? timeout : NULL, "linger.ms", linger, "message.max.bytes",
                     "67108864", "queue.buffering.max.kbytes", "131072", "compression.codec", "lz4",
                     NULL);
}

/* An error object of the transaction calls; frees it. */
static int transaction_fail(struct kafka_producer *p, rd_kafka_error_t *error, struct err *e,
                            const char *what)
{
    int rc;

    if (p->txn_failure.code && kafka_code(rd_kafka_error_code(error)) != ERR_FENCED &&
        !rd_kafka_error_is_fatal(error)) {
        *e = p->txn_failure; /* what really happened */
        rc = err_wrap(e, "%s", what);
    } else {
        rc = kafka_fail(&p->h, rd_kafka_error_code(error), rd_kafka_error_string(error), e, "%s",
                        what);
    }
    rd_kafka_error_destroy(error);
    return rc;
}

int kafka_producer_open(struct bus *b, const struct bus_producer_options *o, bus_delivered_fn fn,
                        void *arg, struct bus_producer **out, struct err *e)
{
    struct kafka *k = (struct kafka *)b;
    struct kafka_producer *p = calloc(1, sizeof *p);
    rd_kafka_conf_t *conf;
    rd_kafka_error_t *error;
    int rc;

    if (!p)
        return err_set(e, ERR_NOMEM, "a producer");
    p->base.bus = b;
    p->delivered = fn;
    p->arg = arg;
    p->timeout_ms = o->message_timeout_ms ? o->message_timeout_ms : BUS_MESSAGE_TIMEOUT_MS;
    conf = rd_kafka_conf_dup(k->conf);
    if ((rc = configure(conf, o, p->timeout_ms, e)) < 0) {
        rd_kafka_conf_destroy(conf);
        goto fail;
    }
    if ((rc = kafka_handle_init(&p->h, k, RD_KAFKA_PRODUCER, conf, e)) < 0)
        goto fail;
    if (o->transactional_id) {
        if ((rc = kafka_reach(&p->h, k->timeout_ms, e)) < 0)
            goto fail;
        error = rd_kafka_init_transactions(p->h.rk, p->timeout_ms);
        if (error) {
            rc = transaction_fail(p, error, e, o->transactional_id);
            goto fail;
        }
    }
    *out = &p->base;
    return 0;
fail:
    kafka_producer_free(&p->base);
    return rc;
}

static rd_kafka_headers_t *make_headers(const struct bus_message *m)
{
    rd_kafka_headers_t *list = rd_kafka_headers_new(m->header_count);
    size_t i;

    for (i = 0; list && i < m->header_count; i++)
        rd_kafka_header_add(list, m->headers[i].name, -1, m->headers[i].value,
                            (ssize_t)m->headers[i].value_len);
    return list;
}

static rd_kafka_resp_err_t produce(struct kafka_producer *p, const struct bus_message *m,
                                   void *token)
{
    rd_kafka_headers_t *headers = m->header_count ? make_headers(m) : NULL;
    rd_kafka_resp_err_t err;

    /* A timestamp of 0 is librdkafka's "now". */
    err = rd_kafka_producev(
        p->h.rk, RD_KAFKA_V_TOPIC(m->topic),
        RD_KAFKA_V_PARTITION(m->partition < 0 ? RD_KAFKA_PARTITION_UA : m->partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(m->key, m->key_len),
        RD_KAFKA_V_VALUE((void *)m->value, m->value_len),
        RD_KAFKA_V_TIMESTAMP(m->timestamp_ms > 0 ? m->timestamp_ms : 0), RD_KAFKA_V_OPAQUE(token),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (err && headers)
        rd_kafka_headers_destroy(headers);
    return err;
}

int kafka_send(struct bus_producer *bp, const struct bus_message *m, void *token, struct err *e)
{
    struct kafka_producer *p = (struct kafka_producer *)bp;
    int64_t until = kafka_now(p->h.bus) + p->timeout_ms;
    rd_kafka_resp_err_t err;

    rd_kafka_poll(p->h.rk, 0);
    while ((err = produce(p, m, token)) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
           kafka_now(p->h.bus) < until)
        rd_kafka_poll(p->h.rk, BUS_POLL_STEP_MS);
    if (!err)
        return 0;
    return kafka_fail(&p->h, err, NULL, e, "a message of %zu bytes for %s",
                      m->key_len + m->value_len, m->topic);
}

int kafka_flush(struct bus_producer *bp, int timeout_ms, struct err *e)
{
    struct kafka_producer *p = (struct kafka_producer *)bp;
    rd_kafka_resp_err_t err =
        rd_kafka_flush(p->h.rk, timeout_ms >= 0 ? timeout_ms : p->timeout_ms + BUS_REQUEST_MS);

    if (p->failure.code) {
        *e = p->failure;
        p->failure.code = 0;
        return e->code;
    }
    if (err)
        return kafka_fail(&p->h, err, NULL, e, "%d messages are not acknowledged",
                          rd_kafka_outq_len(p->h.rk));
    return 0;
}

int kafka_begin(struct bus_producer *bp, struct err *e)
{
    struct kafka_producer *p = (struct kafka_producer *)bp;
    rd_kafka_error_t *error;

    p->failure.code = p->txn_failure.code = 0;
    error = rd_kafka_begin_transaction(p->h.rk);
    return error ? transaction_fail(p, error, e, "beginning a transaction") : 0;
}

int kafka_send_offset(struct bus_producer *bp, struct bus_consumer *c, const char *topic,
                      int32_t partition, int64_t offset, struct err *e)
{
    struct kafka_producer *p = (struct kafka_producer *)bp;
    rd_kafka_consumer_group_metadata_t *group;
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_error_t *error;

    group = rd_kafka_consumer_group_metadata(kafka_consumer_rk(c));
    if (!group)
        return err_set(e, ERR_USAGE, "this consumer has no group");
    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    error = rd_kafka_send_offsets_to_transaction(p->h.rk, list, group, p->timeout_ms);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_group_metadata_destroy(group);
    return error ? transaction_fail(p, error, e, "an offset in a transaction") : 0;
}

/* Calls again while librdkafka says that it may. */
static int finish(struct kafka_producer *p, rd_kafka_error_t *(*call)(rd_kafka_t *, int),
                  const char *what, struct err *e)
{
    int64_t left, until = kafka_now(p->h.bus) + p->timeout_ms;
    rd_kafka_error_t *error;

    p->committing = false;
    for (;;) {
        left = until - kafka_now(p->h.bus);
        error = call(p->h.rk, left > 0 ? (int)left : 1);
        if (!error)
            return 0;
        if (!rd_kafka_error_is_retriable(error) || kafka_now(p->h.bus) >= until) {
            p->committing =
                rd_kafka_error_is_retriable(error) && call == rd_kafka_commit_transaction;
            return transaction_fail(p, error, e, what);
        }
        rd_kafka_error_destroy(error);
        rd_kafka_poll(p->h.rk, BUS_POLL_STEP_MS);
    }
}

int kafka_commit_transaction(struct bus_producer *bp, struct err *e)
{
    return finish((struct kafka_producer *)bp, rd_kafka_commit_transaction,
                  "committing a transaction", e);
}

int kafka_abort_transaction(struct bus_producer *bp, struct err *e)
{
    struct kafka_producer *p = (struct kafka_producer *)bp;
    int rc;

    if (p->committing) {
        rc = kafka_commit_transaction(bp, e);
        if (rc == 0 || p->committing)
            return rc; /* it had been under way, or still is */
    }
    rc = finish(p, rd_kafka_abort_transaction, "aborting a transaction", e);
    if (rc == 0)
        p->failure.code = p->txn_failure.code = 0;
    return rc;
}

/* What was not flushed is dropped without a report. */
void kafka_producer_free(struct bus_producer *bp)
{
    struct kafka_producer *p = (struct kafka_producer *)bp;

    p->closing = true;
    if (p->h.rk)
        rd_kafka_purge(p->h.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                    RD_KAFKA_PURGE_F_NON_BLOCKING);
    kafka_handle_release(&p->h);
    free(p);
}
