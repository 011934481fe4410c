#include "tests/bench/ingest/raw.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <time.h>

enum { POLL_MS = 100, PATIENCE_MS = 60000 };

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *partitions, void *opaque)
{
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        *(long long *)opaque = now_ms();
        rd_kafka_assign(rk, partitions);
    } else {
        rd_kafka_assign(rk, NULL);
    }
}

/* Brokers, group, begin: the rest is librdkafka's default, but for what ingest asks for, too. */
static rd_kafka_t *open_consumer(const char *brokers, const char *topic, long long *assigned)
{
    const char *const settings[][2] = {
        {"bootstrap.servers", brokers},  {"group.id", topic},    {"auto.offset.reset", "earliest"},
        {"enable.auto.commit", "false"}, {"check.crcs", "true"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    char why[256] = "";
    rd_kafka_t *rk;
    size_t i;

    for (i = 0; i < sizeof settings / sizeof settings[0]; i++)
        rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why);
    rd_kafka_conf_set_opaque(conf, assigned);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (rk) {
        rd_kafka_poll_set_consumer(rk);
        rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
        rd_kafka_subscribe(rk, list);
    } else {
        rd_kafka_conf_destroy(conf);
        fprintf(stderr, "bench_ingest: %s\n", why);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return rk;
}

int raw_main(const char *brokers, const char *topic, long long count)
{
    long long assigned = 0, seen = 0, bytes = 0, until = now_ms() + PATIENCE_MS;
    rd_kafka_t *rk = open_consumer(brokers, topic, &assigned);
    rd_kafka_message_t *m;

    if (!rk)
        return 70;
    while (seen < count && now_ms() < until) {
        if (!(m = rd_kafka_consumer_poll(rk, POLL_MS)))
            continue;
        if (!m->err) {
            seen++;
            bytes += (long long)(m->len + m->key_len);
            until = now_ms() + PATIENCE_MS;
        }
        rd_kafka_message_destroy(m);
    }
    if (seen == count)
        fprintf(stderr, "{\"event\":\"raw\",\"ms\":%lld,\"bytes\":%lld}\n", now_ms() - assigned,
                bytes);
    else
        fprintf(stderr, "bench_ingest: %lld of %lld messages came\n", seen, count);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return seen == count ? 0 : 69;
}
