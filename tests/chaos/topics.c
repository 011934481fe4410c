/* What the bus port has no words for: topics deleted, partitions added. */
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/chaos.h"

enum { ANSWER_MS = 5000 };

static rd_kafka_t *handle(void)
{
    static rd_kafka_t *rk;
    rd_kafka_conf_t *conf;
    char why[200];

    if (rk)
        return rk;
    conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", getenv("TRIPLINE_KAFKA"), why, sizeof why) ||
        rd_kafka_conf_set(conf, "log_level", "0", why, sizeof why) ||
        !(rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why)))
        die("librdkafka: %s", why);
    return rk;
}

static rd_kafka_resp_err_t first_error(rd_kafka_event_t *ev)
{
    const rd_kafka_topic_result_t **list = NULL;
    size_t n = 0;

    if (rd_kafka_event_error(ev))
        return rd_kafka_event_error(ev);
    if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DELETETOPICS_RESULT)
        list = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n);
    else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT)
        list =
            rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev), &n);
    return n ? rd_kafka_topic_result_error(list[0]) : RD_KAFKA_RESP_ERR__FAIL;
}

static rd_kafka_resp_err_t answer(rd_kafka_queue_t *q)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, ANSWER_MS);
    rd_kafka_resp_err_t err = ev ? first_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;

    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    return err;
}

/* An answer to a change may be lost and the change done: then the second try says so. */
bool topic_delete(const char *dataset)
{
    rd_kafka_queue_t *q = rd_kafka_queue_new(handle());
    rd_kafka_DeleteTopic_t *d;
    rd_kafka_resp_err_t err;
    struct err e = ERR_INIT;
    char topic[KEY_MAX];

    if (topic_docs(&chaos.keys, OWNER, dataset, topic, &e) < 0)
        die("%s", e.text);
    d = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(handle(), &d, 1, NULL, q);
    err = answer(q);
    rd_kafka_DeleteTopic_destroy(d);
    return !err || err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

bool topic_grow(const char *dataset, int partitions)
{
    char topic[KEY_MAX], why[200];
    rd_kafka_queue_t *q = rd_kafka_queue_new(handle());
    rd_kafka_NewPartitions_t *n;
    rd_kafka_resp_err_t err;
    struct err e = ERR_INIT;
    int count;

    if (topic_docs(&chaos.keys, OWNER, dataset, topic, &e) < 0 ||
        !(n = rd_kafka_NewPartitions_new(topic, (size_t)partitions, why, sizeof why)))
        die("%s", e.text);
    rd_kafka_CreatePartitions(handle(), &n, 1, NULL, q);
    err = answer(q);
    rd_kafka_NewPartitions_destroy(n);
    return !err || (bus_partitions(chaos.bus, topic, &count, &e) == 0 && count == partitions);
}

/* A topic that was deleted may seem to exist still: then its partitions are others'. */
bool topic_create(const char *dataset, int partitions)
{
    static const char *const config[] = {"message.timestamp.type=LogAppendTime", NULL};
    char topic[KEY_MAX];
    const struct bus_topic t = {.name = topic, .partitions = partitions, .config = config};
    struct err e = ERR_INIT;
    int count;

    if (topic_docs(&chaos.keys, OWNER, dataset, topic, &e) < 0)
        die("%s", e.text);
    return bus_create_topics(chaos.bus, &t, 1, &e) == 0 &&
           bus_partitions(chaos.bus, topic, &count, &e) == 0 && count == partitions;
}
