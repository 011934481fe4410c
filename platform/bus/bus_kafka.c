#include "platform/bus/bus_kafka_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"

enum { END_MS = 5000, FEW_HEADERS = 8 };

int64_t kafka_now(const struct kafka *k)
{
    return clock_mono_ms(k->clock);
}

static const struct {
    rd_kafka_resp_err_t err;
    int code;
} codes[] = {
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, ERR_DENIED},
    {RD_KAFKA_RESP_ERR__SSL, ERR_DENIED},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ERR_DENIED},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, ERR_DENIED},
    {RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, ERR_DENIED},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERR_DENIED},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERR_DENIED},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ERR_DENIED},
    {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ERR_DENIED},
    {RD_KAFKA_RESP_ERR__FENCED, ERR_FENCED},
    {RD_KAFKA_RESP_ERR_PRODUCER_FENCED, ERR_FENCED},
    {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, ERR_FENCED},
    {RD_KAFKA_RESP_ERR_TRANSACTION_COORDINATOR_FENCED, ERR_FENCED},
    {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, ERR_FENCED},
    {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, ERR_FENCED},
    {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, ERR_FENCED},
    {RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST, ERR_FENCED},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERR_LIMIT},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, ERR_LIMIT},
    {RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, ERR_LIMIT},
    {RD_KAFKA_RESP_ERR_INVALID_CONFIG, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_INVALID_GROUP_ID, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, ERR_CONFIG},
    {RD_KAFKA_RESP_ERR__PURGE_QUEUE, ERR_CANCELLED},
    {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, ERR_CANCELLED},
    {RD_KAFKA_RESP_ERR__INVALID_ARG, ERR_USAGE},
    {RD_KAFKA_RESP_ERR__STATE, ERR_USAGE},
    {RD_KAFKA_RESP_ERR_SECURITY_DISABLED, ERR_UNSUPPORTED},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, ERR_UNSUPPORTED},
    {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, ERR_UNSUPPORTED},
};

/* What is not in the table passes with time or with another broker. */
int kafka_code(rd_kafka_resp_err_t err)
{
    size_t i;

    for (i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].err == err)
            return codes[i].code;
    return ERR_PEER;
}

static const char *advice(int code, rd_kafka_resp_err_t err)
{
    if (err == RD_KAFKA_RESP_ERR__SSL)
        return ": check the CA file and the certificate";
    if (err == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
        err == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED)
        return ": check user name, password and mechanism";
    if (err == RD_KAFKA_RESP_ERR_SECURITY_DISABLED)
        return ": the broker has no authorizer";
    if (code == ERR_DENIED)
        return ": the broker's ACLs refuse it, ask the operator";
    return "";
}

int kafka_fail(struct kafka_handle *h, rd_kafka_resp_err_t err, const char *why, struct err *e,
               const char *what, ...)
{
    char prefix[200], reason[256] = "", fatal[200];
    rd_kafka_resp_err_t last = RD_KAFKA_RESP_ERR_NO_ERROR;
    va_list args;
    int code;

    va_start(args, what);
    vsnprintf(prefix, sizeof prefix, what, args);
    va_end(args);
    if (h->rk && rd_kafka_fatal_error(h->rk, fatal, sizeof fatal)) {
        err = rd_kafka_fatal_error(h->rk, fatal, sizeof fatal);
        why = fatal;
    }
    code = kafka_code(err);
    if (code == ERR_PEER) { /* a refused login looks like a broker that does not answer */
        pthread_mutex_lock(&h->lock);
        last = h->last;
        snprintf(reason, sizeof reason, "%s", h->reason);
        pthread_mutex_unlock(&h->lock);
        if (last && kafka_code(last) == ERR_DENIED) {
            err = last;
            code = ERR_DENIED;
        }
    }
    if (!why || !*why)
        why = rd_kafka_err2str(err);
    if (code == ERR_PEER && last)
        return err_set(e, code, "%s: %s; broker unreachable at %s: is TRIPLINE_KAFKA right? (%s)",
                       prefix, why, h->bus->brokers, reason);
    if (code == ERR_PEER)
        return err_set(e, code, "%s: %s (Kafka at %s)", prefix, why, h->bus->brokers);
    return err_set(e, code, "%s: %s%s%s%s", prefix, why, last ? "; " : "", last ? reason : "",
                   advice(code, err));
}

void kafka_fine(struct kafka_handle *h)
{
    pthread_mutex_lock(&h->lock);
    h->last = RD_KAFKA_RESP_ERR_NO_ERROR;
    h->fresh = false;
    h->reason[0] = '\0';
    pthread_mutex_unlock(&h->lock);
}

/*
 * Trouble of the whole client. A single lost connection is daily life (idle
 * connections are closed), so its reason is only kept for a later message; a
 * refused login or the loss of every broker is kept as the state.
 */
static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct kafka_handle *h = opaque;
    bool state = kafka_code(err) == ERR_DENIED || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
                 err == RD_KAFKA_RESP_ERR__FATAL;

    (void)rk;
    pthread_mutex_lock(&h->lock);
    if (state && kafka_code(h->last) != ERR_DENIED)
        h->last = err;
    h->fresh |= state;
    if (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || !h->reason[0])
        snprintf(h->reason, sizeof h->reason, "%s", reason);
    pthread_mutex_unlock(&h->lock);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk, (void)level, (void)facility, (void)text;
}

static int set_one(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *e)
{
    char why[256] = "";

    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        return err_set(e, ERR_CONFIG, "librdkafka refuses %s: %s", name, why);
    return 0;
}

int kafka_set(rd_kafka_conf_t *conf, struct err *e, ...)
{
    const char *name, *value;
    va_list args;
    int rc = 0;

    va_start(args, e);
    while (rc == 0 && (name = va_arg(args, const char *))) {
        value = va_arg(args, const char *);
        if (value)
            rc = set_one(conf, name, value, e);
    }
    va_end(args);
    return rc;
}

int kafka_handle_init(struct kafka_handle *h, struct kafka *bus, rd_kafka_type_t type,
                      rd_kafka_conf_t *conf, struct err *e)
{
    char why[256] = "";

    h->bus = bus;
    pthread_mutex_init(&h->lock, NULL);
    rd_kafka_conf_set_opaque(conf, h);
    h->rk = rd_kafka_new(type, conf, why, sizeof why);
    if (h->rk)
        return 0;
    rd_kafka_conf_destroy(conf);
    return err_set(e, ERR_CONFIG, "a Kafka client for %s: %s", bus->brokers, why);
}

static void *end(void *rk)
{
    rd_kafka_destroy(rk);
    return NULL;
}

static void *end_unclosed(void *rk)
{
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return NULL;
}

/*
 * rd_kafka_destroy waits without a limit until its threads and its group have ended. What does not
 * end within END_MS is left to itself, so that a program can stop: nothing of ours is called from
 * there.
 */
static void end_in_time(struct kafka_handle *h)
{
    void *(*how)(void *) = h->unclosed ? end_unclosed : end;
    int64_t until = clock_wall_ms(h->bus->clock) + END_MS;
    const struct timespec limit = {until / 1000, until % 1000 * 1000000};
    pthread_t thread;

    if (pthread_create(&thread, NULL, how, h->rk))
        how(h->rk);
    else if (pthread_timedjoin_np(thread, NULL, &limit))
        pthread_detach(thread);
}

void kafka_handle_release(struct kafka_handle *h)
{
    if (h->rk)
        end_in_time(h);
    h->rk = NULL;
    if (h->bus)
        pthread_mutex_destroy(&h->lock);
    h->bus = NULL;
}

int kafka_reach(struct kafka_handle *h, int timeout_ms, struct err *e)
{
    const struct rd_kafka_metadata *seen;
    int64_t until = kafka_now(h->bus) + timeout_ms;
    rd_kafka_resp_err_t err;
    bool denied;

    do {
        err = rd_kafka_metadata(h->rk, 0, NULL, &seen, timeout_ms < 500 ? timeout_ms : 500);
        if (!err) {
            rd_kafka_metadata_destroy(seen);
            kafka_fine(h);
            return 0;
        }
        if (!h->grouped)
            rd_kafka_poll(h->rk, 0); /* runs on_error */
        pthread_mutex_lock(&h->lock);
        denied = h->last && kafka_code(h->last) == ERR_DENIED;
        pthread_mutex_unlock(&h->lock);
    } while (!denied && kafka_now(h->bus) < until);
    return kafka_fail(h, err, NULL, e, "Kafka at %s", h->bus->brokers);
}

/* Questions are asked by a consumer without a group: read_committed, so that the end of a
 * partition is its last stable offset. One record is read at a time, so little is fetched ahead. */
static int make_meta(struct kafka *k, struct err *e)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(k->conf);
    int rc = kafka_set(conf, e, "isolation.level", "read_committed", "enable.partition.eof", "true",
                       "auto.offset.reset", "error", "fetch.wait.max.ms", "50",
                       "fetch.message.max.bytes", "65536", "queued.max.messages.kbytes", "64",
                       "enable.auto.commit", "false", NULL);

    if (rc < 0) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rc = kafka_handle_init(&k->meta, k, RD_KAFKA_CONSUMER, conf, e);
    if (rc < 0)
        kafka_handle_release(&k->meta);
    return rc;
}

int kafka_meta(struct kafka *k, rd_kafka_t **rk, struct err *e)
{
    int rc = 0;

    pthread_mutex_lock(&k->lock);
    if (!k->meta.rk)
        rc = make_meta(k, e);
    if (rc == 0 && !k->meta_ready) {
        rc = kafka_reach(&k->meta, k->timeout_ms, e);
        k->meta_ready = rc == 0;
    }
    *rk = k->meta.rk;
    pthread_mutex_unlock(&k->lock);
    if (rc == 0)
        rd_kafka_poll(*rk, 0); /* runs on_error */
    return rc;
}

struct bus_message *kafka_message(const rd_kafka_message_t *m, struct err *e)
{
    struct bus_header few[FEW_HEADERS], *headers = few;
    struct bus_message view = {0};
    struct bus_message *copy = NULL;
    rd_kafka_headers_t *list = NULL;
    rd_kafka_timestamp_type_t type;
    size_t i;

    view.topic = rd_kafka_topic_name(m->rkt);
    view.partition = m->partition;
    view.offset = m->offset;
    view.timestamp_ms = rd_kafka_message_timestamp(m, &type);
    view.key = m->key;
    view.key_len = m->key_len;
    view.value = m->payload;
    view.value_len = m->len;
    if (!rd_kafka_message_headers(m, &list) && list)
        view.header_count = rd_kafka_header_cnt(list);
    if (view.header_count > FEW_HEADERS)
        headers = calloc(view.header_count, sizeof *headers);
    if (!headers)
        goto done;
    for (i = 0; i < view.header_count; i++)
        rd_kafka_header_get_all(list, i, &headers[i].name, &headers[i].value,
                                &headers[i].value_len);
    view.headers = headers;
    copy = bus_message_copy(&view);
done:
    if (headers != few)
        free(headers);
    if (!copy)
        err_set(e, ERR_NOMEM, "a message of %s", view.topic);
    return copy;
}

static void kafka_free(struct bus *b)
{
    struct kafka *k = (struct kafka *)b;

    kafka_handle_release(&k->meta);
    if (k->conf)
        rd_kafka_conf_destroy(k->conf);
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->read_lock);
    free(k->brokers);
    free(k);
}

static const struct bus_ops kafka_ops = {
    .consumer = kafka_consumer_open,
    .poll = kafka_poll,
    .message_free = kafka_message_free,
    .seek = kafka_seek,
    .pause = kafka_pause,
    .committed = kafka_committed,
    .commit = kafka_commit,
    .consumer_free = kafka_consumer_free,
    .watermarks = kafka_watermarks,
    .partitions = kafka_partitions,
    .read_at = kafka_read_at,
    .read_free = kafka_read_free,
    .producer = kafka_producer_open,
    .send = kafka_send,
    .flush = kafka_flush,
    .begin = kafka_begin,
    .send_offset = kafka_send_offset,
    .commit_transaction = kafka_commit_transaction,
    .abort_transaction = kafka_abort_transaction,
    .producer_free = kafka_producer_free,
    .create_topics = kafka_create_topics,
    .create_acls = kafka_create_acls,
    .free = kafka_free,
};

static int set_extra(rd_kafka_conf_t *conf, const char *const *extra, struct err *e)
{
    char name[128];
    const char *equals;
    int rc = 0;

    for (; rc == 0 && extra && *extra; extra++) {
        equals = strchr(*extra, '=');
        if (!equals || (size_t)(equals - *extra) >= sizeof name)
            return err_set(e, ERR_CONFIG, "'%s' is not key=value", *extra);
        snprintf(name, sizeof name, "%.*s", (int)(equals - *extra), *extra);
        rc = set_one(conf, name, equals + 1, e);
    }
    return rc;
}

static int configure(rd_kafka_conf_t *conf, const struct bus_kafka_options *o, struct err *e)
{
    int rc = kafka_set(conf, e, "bootstrap.servers", o->brokers, "client.id",
                       o->client_id ? o->client_id : "tripline", "security.protocol",
                       o->security_protocol, "ssl.ca.location", o->ca_file,
                       "ssl.certificate.location", o->cert_file, "ssl.key.location", o->key_file,
                       "sasl.mechanism", o->sasl_mechanism, "sasl.username", o->username,
                       "sasl.password", o->password, "reconnect.backoff.max.ms", "2000",
                       "topic.metadata.propagation.max.ms", "5000", NULL);

    if (rc < 0)
        return rc;
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    return set_extra(conf, o->extra, e);
}

int bus_kafka(struct bus **out, const struct bus_kafka_options *o, struct clock *clock,
              struct err *e)
{
    struct kafka *k;
    int rc;

    if (!o->brokers || !*o->brokers)
        return err_set(e, ERR_CONFIG, "no Kafka brokers given: set TRIPLINE_KAFKA to host:port");
    k = calloc(1, sizeof *k);
    if (!k)
        return err_set(e, ERR_NOMEM, "the bus");
    k->base.ops = &kafka_ops;
    k->clock = clock;
    k->timeout_ms = o->timeout_ms ? o->timeout_ms : BUS_REQUEST_MS;
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->read_lock, NULL);
    k->conf = rd_kafka_conf_new();
    k->brokers = strdup(o->brokers);
    if (!k->brokers) {
        rc = err_set(e, ERR_NOMEM, "the bus");
        goto fail;
    }
    if ((rc = configure(k->conf, o, e)) < 0)
        goto fail;
    *out = &k->base;
    return 0;
fail:
    kafka_free(&k->base);
    return rc;
}
