/*
 * Inside the bus on Kafka: one librdkafka handle per consumer and producer, and
 * one without a group for questions (topics, offsets, single records).
 *
 * librdkafka never prints: its logs are dropped, its errors come through
 * kafka_handle and end up in the text of the call that failed.
 */
#ifndef PLATFORM_BUS_BUS_KAFKA_INT_H
#define PLATFORM_BUS_BUS_KAFKA_INT_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "platform/bus/bus_int.h"

/* The callbacks' opaque of every handle; the first member of what owns it. */
struct kafka_handle {
    struct kafka *bus; /* borrowed */
    rd_kafka_t *rk;
    bool unclosed; /* its group could not be left in time */
    bool grouped;  /* all comes through rd_kafka_consumer_poll; rd_kafka_poll would lose messages */
    pthread_mutex_t lock;     /* of the fields below */
    rd_kafka_resp_err_t last; /* the last error that concerns the whole client */
    bool fresh;               /* not reported by a poll yet */
    char reason[256];
};

struct kafka {
    struct bus base;
    struct clock *clock;   /* borrowed */
    rd_kafka_conf_t *conf; /* what every handle has in common */
    char *brokers;
    int timeout_ms;
    pthread_mutex_t lock;      /* creation of `meta` */
    pthread_mutex_t read_lock; /* read_at: one partition is read by one thread at a time */
    struct kafka_handle meta;
    bool meta_ready;
};

/* Sets properties from "name", "value", ..., NULL. */
int kafka_set(rd_kafka_conf_t *conf, struct err *e, ...) __attribute__((sentinel));

/* Makes the handle; `conf` is consumed in any case. */
int kafka_handle_init(struct kafka_handle *h, struct kafka *bus, rd_kafka_type_t type,
                      rd_kafka_conf_t *conf, struct err *e);
/* Destroys it; all queues, events, messages were freed before. Accepts a zeroed one. */
void kafka_handle_release(struct kafka_handle *h);

/* Waits until a broker answers, at most `timeout_ms`. */
int kafka_reach(struct kafka_handle *h, int timeout_ms, struct err *e);
/* The handle for questions, reachable. */
int kafka_meta(struct kafka *k, rd_kafka_t **rk, struct err *e);

/* The table of errors. */
int kafka_code(rd_kafka_resp_err_t err);
/* Writes "what: why (the client's last trouble): advice". */
int kafka_fail(struct kafka_handle *h, rd_kafka_resp_err_t err, const char *why, struct err *e,
               const char *what, ...) __attribute__((format(printf, 5, 6)));
void kafka_fine(struct kafka_handle *h); /* a call succeeded: earlier trouble is over */

/* A copy of a received message (free() it), or NULL and an error. */
struct bus_message *kafka_message(const rd_kafka_message_t *m, struct err *e);

int64_t kafka_now(const struct kafka *k);

/* bus_kafka_read.c */
int kafka_watermarks(struct bus *, const char *topic, int32_t partition, int64_t *low,
                     int64_t *high, struct err *);
int kafka_partitions(struct bus *, const char *topic, int *count, struct err *);
int kafka_read_at(struct bus *, const char *topic, int32_t partition, int64_t offset,
                  struct bus_message **, struct err *);
void kafka_read_free(struct bus *, struct bus_message *);

/* bus_kafka_consumer.c */
int kafka_consumer_open(struct bus *, const struct bus_consumer_options *, struct bus_consumer **,
                        struct err *);
int kafka_poll(struct bus_consumer *, int timeout_ms, struct bus_message **, struct err *);
void kafka_message_free(struct bus_consumer *, struct bus_message *);
int kafka_seek(struct bus_consumer *, const char *topic, int32_t partition, int64_t offset,
               struct err *);
int kafka_pause(struct bus_consumer *, const char *topic, int32_t partition, bool paused,
                struct err *);
int kafka_committed(struct bus_consumer *, const char *topic, int32_t partition, int64_t *offset,
                    struct err *);
int kafka_commit(struct bus_consumer *, const char *topic, int32_t partition, int64_t offset,
                 struct err *);
void kafka_consumer_free(struct bus_consumer *);
rd_kafka_t *kafka_consumer_rk(struct bus_consumer *);

/* bus_kafka_producer.c */
int kafka_producer_open(struct bus *, const struct bus_producer_options *, bus_delivered_fn,
                        void *arg, struct bus_producer **, struct err *);
int kafka_send(struct bus_producer *, const struct bus_message *, void *token, struct err *);
int kafka_flush(struct bus_producer *, int timeout_ms, struct err *);
int kafka_begin(struct bus_producer *, struct err *);
int kafka_send_offset(struct bus_producer *, struct bus_consumer *, const char *topic,
                      int32_t partition, int64_t offset, struct err *);
int kafka_commit_transaction(struct bus_producer *, struct err *);
int kafka_abort_transaction(struct bus_producer *, struct err *);
void kafka_producer_free(struct bus_producer *);

/* bus_kafka_admin.c */
int kafka_create_topics(struct bus *, const struct bus_topic *, size_t n, struct err *);
int kafka_create_acls(struct bus *, const struct bus_acl *, size_t n, struct err *);

#endif
