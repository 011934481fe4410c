#include "platform/bus/bus_kafka_int.h"

#include <stdlib.h>

#include "platform/clock/clock.h"

/* The broker answers, but the partition has no leader yet (a new topic) or just changes it. */
static bool moving(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           err == RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE ||
           err == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE ||
           err == RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR;
}

/*
 * One end of a partition. rd_kafka_offsets_for_times takes the protocol's
 * special times as offsets; rd_kafka_query_watermark_offsets would do as well
 * if it did not wait for ever, whatever its timeout, when the broker goes away
 * (librdkafka 2.0.2).
 */
static rd_kafka_resp_err_t ask_end(rd_kafka_t *rk, const char *topic, int32_t partition,
                                   int64_t which, int64_t *offset, int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t err;

    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = which;
    err = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    if (!err)
        err = list->elems[0].err;
    *offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return err;
}

int kafka_watermarks(struct bus *b, const char *topic, int32_t partition, int64_t *low,
                     int64_t *high, struct err *e)
{
    struct kafka *k = (struct kafka *)b;
    struct err ignored = ERR_INIT;
    rd_kafka_resp_err_t err;
    bool refreshed = false;
    rd_kafka_t *rk;
    int64_t until;
    int count, rc = kafka_meta(k, &rk, e);

    if (rc < 0)
        return rc;
    until = kafka_now(k) + k->timeout_ms;
    for (;;) {
        err = ask_end(rk, topic, partition, RD_KAFKA_OFFSET_BEGINNING, low, k->timeout_ms);
        if (!err) /* after `low`: never below it */
            err = ask_end(rk, topic, partition, RD_KAFKA_OFFSET_END, high, k->timeout_ms);
        if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION && !refreshed) {
            refreshed = true; /* perhaps it was added after librdkafka asked for the last time */
            (void)kafka_partitions(b, topic, &count, &ignored);
            continue;
        }
        if (!moving(err) || kafka_now(k) >= until)
            break;
        clock_sleep_ms(k->clock, BUS_POLL_STEP_MS);
    }
    rd_kafka_poll(rk, 0); /* runs on_error */
    if (err)
        return kafka_fail(&k->meta, err, NULL, e, BUS_AT, topic, (int)partition);
    kafka_fine(&k->meta);
    return 0;
}

int kafka_partitions(struct bus *b, const char *topic, int *count, struct err *e)
{
    struct kafka *k = (struct kafka *)b;
    const struct rd_kafka_metadata *seen = NULL;
    rd_kafka_topic_t *rkt;
    rd_kafka_resp_err_t err;
    rd_kafka_t *rk;
    int rc = kafka_meta(k, &rk, e);

    if (rc < 0)
        return rc;
    rkt = rd_kafka_topic_new(rk, topic, NULL);
    if (!rkt)
        return kafka_fail(&k->meta, rd_kafka_last_error(), NULL, e, "topic %s", topic);
    err = rd_kafka_metadata(rk, 0, rkt, &seen, k->timeout_ms);
    if (!err && seen->topic_cnt == 1)
        err = seen->topics[0].err;
    if (err)
        rc = kafka_fail(&k->meta, err, NULL, e, "topic %s", topic);
    else if (seen->topic_cnt != 1 || !seen->topics[0].partition_cnt)
        rc = err_set(e, ERR_NOT_FOUND, "topic %s does not exist", topic);
    else
        *count = seen->topics[0].partition_cnt;
    if (seen)
        rd_kafka_metadata_destroy(seen);
    rd_kafka_topic_destroy(rkt);
    if (rc == 0)
        kafka_fine(&k->meta);
    return rc;
}

/* Reads on from where the partition was started until a record or the end. */
static int read_one(struct kafka *k, rd_kafka_topic_t *rkt, int32_t partition,
                    struct bus_message **out, struct err *e)
{
    int64_t until = kafka_now(k) + k->timeout_ms;
    const char *topic = rd_kafka_topic_name(rkt);
    rd_kafka_message_t *m;
    int rc;

    do {
        m = rd_kafka_consume(rkt, partition, BUS_POLL_STEP_MS);
        rd_kafka_poll(k->meta.rk, 0);
        if (!m)
            continue;
        if (!m->err)
            rc = (*out = kafka_message(m, e)) ? 1 : e->code;
        else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            rc = 0;
        else
            rc = kafka_fail(&k->meta, m->err, rd_kafka_message_errstr(m), e, BUS_AT, topic,
                            (int)partition);
        rd_kafka_message_destroy(m);
        return rc;
    } while (kafka_now(k) < until);
    return kafka_fail(&k->meta, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, e, "reading " BUS_AT, topic,
                      (int)partition);
}

int kafka_read_at(struct bus *b, const char *topic, int32_t partition, int64_t offset,
                  struct bus_message **out, struct err *e)
{
    struct kafka *k = (struct kafka *)b;
    rd_kafka_topic_t *rkt;
    int64_t low, high;
    int rc;

    *out = NULL;
    if ((rc = kafka_watermarks(b, topic, partition, &low, &high, e)) < 0)
        return rc;
    if (offset < low)
        offset = low;
    if (offset >= high)
        return 0;
    rkt = rd_kafka_topic_new(k->meta.rk, topic, NULL);
    if (!rkt)
        return kafka_fail(&k->meta, rd_kafka_last_error(), NULL, e, "topic %s", topic);
    pthread_mutex_lock(&k->read_lock);
    if (rd_kafka_consume_start(rkt, partition, offset) < 0) {
        rc = kafka_fail(&k->meta, rd_kafka_last_error(), NULL, e, "reading " BUS_AT, topic,
                        (int)partition);
    } else {
        rc = read_one(k, rkt, partition, out, e);
        rd_kafka_consume_stop(rkt, partition);
    }
    pthread_mutex_unlock(&k->read_lock);
    rd_kafka_topic_destroy(rkt);
    return rc;
}

void kafka_read_free(struct bus *b, struct bus_message *m)
{
    (void)b;
    free(m);
}
