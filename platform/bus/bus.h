/*
 * Messages: the port to Kafka.
 *
 *   bus_kafka   librdkafka: idempotent and transactional producers, read_committed consumers,
 *               murmur2 partitioner      bus_mem   memory (tests, simulation, fit --local)
 *
 * A `struct bus` may be shared by threads; a consumer or a producer belongs to
 * one task at a time. Offsets, timestamps: int64, milliseconds since 1970.
 * ERR_PEER: unreachable or timed out (retry); ERR_DENIED: authentication or ACL;
 * ERR_FENCED: another producer with this transactional id took over;
 * ERR_FENCED from a consumer: the group expelled it (its partitions are lost; the
 * next poll says so and joins again); ERR_NOT_FOUND: no such topic or partition, or
 * a position outside what the partition holds; ERR_LIMIT: message too large.
 */
#ifndef PLATFORM_BUS_BUS_H
#define PLATFORM_BUS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

struct clock;
struct bus;
struct bus_consumer;
struct bus_producer;

struct bus_header {
    const char *name; /* NUL-terminated */
    const void *value;
    size_t value_len;
};

struct bus_message {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    const void *key; /* NULL: no key */
    size_t key_len;
    const void *value; /* NULL: a tombstone */
    size_t value_len;
    const struct bus_header *headers;
    size_t header_count;
};

struct bus_partition {
    const char *topic;
    int32_t partition;
};

/*
 * Rebalance callbacks run inside bus_poll, on the caller's task. After `assigned`
 * the consumer delivers nothing of a partition until bus_seek gave it a position.
 */
struct bus_rebalance {
    void (*assigned)(void *arg, const struct bus_partition *, size_t n);
    void (*revoked)(void *arg, const struct bus_partition *, size_t n, bool lost);
    void *arg;
};

struct bus_consumer_options {
    const char *group;
    const char *const *topics; /* names, or patterns that begin with '^' (regex, POSIX extended) */
    size_t topic_count;
    struct bus_rebalance
        rebalance; /* callbacks may be NULL: start at the committed offset, else earliest */
    int session_timeout_ms;  /* 0: 10000 */
    int metadata_refresh_ms; /* 0: 5000 */
};

struct bus_producer_options {
    const char *transactional_id; /* NULL: idempotent, not transactional */
    int message_timeout_ms;       /* 0: 60000 */
    int linger_ms;                /* 0: 5 */
};

/* Reported once per message sent: code 0 and the offset, or a failure. Runs inside send, flush or
 * commit. */
typedef void (*bus_delivered_fn)(void *arg, void *token, int code, int32_t partition,
                                 int64_t offset, const char *why);

struct bus_topic {
    const char *name;
    int partitions;
    const char *const *config; /* "key=value", NULL-terminated; NULL: none */
};

struct bus_acl {
    const char *principal; /* "User:acme" */
    const char *resource;  /* topic or group name, or a prefix that ends in '.' */
    enum { BUS_ACL_TOPIC, BUS_ACL_GROUP, BUS_ACL_TRANSACTION } kind;
    bool prefixed;
    enum {
        BUS_ACL_READ = 1,
        BUS_ACL_WRITE = 2,
        BUS_ACL_DESCRIBE = 4,
        BUS_ACL_CREATE = 8
    } operations; /* or-ed */
};

struct bus_ops {
    int (*consumer)(struct bus *, const struct bus_consumer_options *, struct bus_consumer **,
                    struct err *);
    int (*poll)(struct bus_consumer *, int timeout_ms, struct bus_message **, struct err *);
    void (*message_free)(struct bus_consumer *, struct bus_message *);
    int (*seek)(struct bus_consumer *, const char *topic, int32_t partition, int64_t offset,
                struct err *);
    int (*pause)(struct bus_consumer *, const char *topic, int32_t partition, bool paused,
                 struct err *);
    int (*committed)(struct bus_consumer *, const char *topic, int32_t partition, int64_t *offset,
                     struct err *);
    int (*commit)(struct bus_consumer *, const char *topic, int32_t partition, int64_t offset,
                  struct err *);
    void (*consumer_free)(struct bus_consumer *);

    int (*watermarks)(struct bus *, const char *topic, int32_t partition, int64_t *low,
                      int64_t *high, struct err *);
    int (*partitions)(struct bus *, const char *topic, int *count, struct err *);
    int (*read_at)(struct bus *, const char *topic, int32_t partition, int64_t offset,
                   struct bus_message **, struct err *);
    void (*read_free)(struct bus *, struct bus_message *);

    int (*producer)(struct bus *, const struct bus_producer_options *, bus_delivered_fn, void *arg,
                    struct bus_producer **, struct err *);
    int (*send)(struct bus_producer *, const struct bus_message *, void *token, struct err *);
    int (*flush)(struct bus_producer *, int timeout_ms, struct err *);
    int (*begin)(struct bus_producer *, struct err *);
    int (*send_offset)(struct bus_producer *, struct bus_consumer *, const char *topic,
                       int32_t partition, int64_t offset, struct err *);
    int (*commit_transaction)(struct bus_producer *, struct err *);
    int (*abort_transaction)(struct bus_producer *, struct err *);
    void (*producer_free)(struct bus_producer *);

    int (*create_topics)(struct bus *, const struct bus_topic *, size_t n, struct err *);
    int (*create_acls)(struct bus *, const struct bus_acl *, size_t n, struct err *);
    void (*free)(struct bus *);
};

struct bus {
    const struct bus_ops *ops;
};
struct bus_consumer {
    struct bus *bus;
    /* After ERR_NOT_FOUND from bus_poll: the position that is not there (topic NULL: another
     * cause; valid until the next poll). The partition waits for bus_seek again. */
    struct bus_partition failed;
    int64_t failed_offset;
};
struct bus_producer {
    struct bus *bus;
};

struct bus_kafka_options {
    const char *brokers;           /* "host:port,..." */
    const char *client_id;         /* NULL: "tripline" */
    const char *security_protocol; /* NULL: plaintext; "ssl", "sasl_ssl", "sasl_plaintext" */
    const char *ca_file, *cert_file, *key_file;
    const char *sasl_mechanism, *username, *password;
    const char *const *extra; /* "key=value" passed on to librdkafka, NULL-terminated */
    int timeout_ms;           /* of one question to the brokers; 0: 15000 */
};

int bus_kafka(struct bus **out, const struct bus_kafka_options *, struct clock *, struct err *e);
int bus_mem(struct bus **out, struct clock *, struct err *e);

/* What befalls a topic in the course of time, for tests on bus_mem: retention, deletion. */
int bus_mem_trim(struct bus *b, const char *topic, int32_t partition, int64_t low, struct err *e);
int bus_mem_delete_topic(struct bus *b, const char *topic, struct err *e);
/*
 * An offset that was sent in an earlier transaction of this id reaches the group's coordinator only
 * now, as Kafka allows it before KIP-890. It is pending as if the id's open transaction had sent
 * it, or its next one: the end of one that sends an offset settles it. A commit makes it the
 * committed offset where that transaction did not send another one afterwards.
 */
int bus_mem_late_offset(struct bus *b, const char *transactional_id, const char *group,
                        const char *topic, int32_t partition, int64_t offset, struct err *e);

static inline int bus_consumer_open(struct bus *b, const struct bus_consumer_options *o,
                                    struct bus_consumer **out, struct err *e)
{
    return b->ops->consumer(b, o, out, e);
}
/* 1: *out is a message (bus_message_free it); 0: none within the time; < 0: an error. A gap in
 * offsets (transaction markers, compaction) shows as the next message's larger offset. */
static inline int bus_poll(struct bus_consumer *c, int timeout_ms, struct bus_message **out,
                           struct err *e)
{
    return c->bus->ops->poll(c, timeout_ms, out, e);
}
static inline void bus_message_free(struct bus_consumer *c, struct bus_message *m)
{
    c->bus->ops->message_free(c, m);
}
static inline int bus_seek(struct bus_consumer *c, const char *topic, int32_t partition,
                           int64_t offset, struct err *e)
{
    return c->bus->ops->seek(c, topic, partition, offset, e);
}
/* A pause ends with the assignment: what is assigned anew is not paused. */
static inline int bus_pause(struct bus_consumer *c, const char *topic, int32_t partition,
                            bool paused, struct err *e)
{
    return c->bus->ops->pause(c, topic, partition, paused, e);
}
/* -1 in *offset: nothing committed. Waits for open transactions on these offsets; ERR_TIMEOUT: one
 * stays open, though the brokers answer. */
static inline int bus_committed(struct bus_consumer *c, const char *topic, int32_t partition,
                                int64_t *offset, struct err *e)
{
    return c->bus->ops->committed(c, topic, partition, offset, e);
}
/* `offset` is the next one to read. Synchronous. */
static inline int bus_commit(struct bus_consumer *c, const char *topic, int32_t partition,
                             int64_t offset, struct err *e)
{
    return c->bus->ops->commit(c, topic, partition, offset, e);
}
/* Leaves the group. `revoked` is not called for what the consumer still holds. */
static inline void bus_consumer_free(struct bus_consumer *c)
{
    if (c)
        c->bus->ops->consumer_free(c);
}
/* [low, high): high is the next offset to be written (the last stable one for read_committed). */
static inline int bus_watermarks(struct bus *b, const char *topic, int32_t partition, int64_t *low,
                                 int64_t *high, struct err *e)
{
    return b->ops->watermarks(b, topic, partition, low, high, e);
}
static inline int bus_partitions(struct bus *b, const char *topic, int *count, struct err *e)
{
    return b->ops->partitions(b, topic, count, e);
}
/* The first record at or after `offset`, outside of any group. 1, 0 (none there now), or < 0. Free
 * by bus_read_free. */
static inline int bus_read_at(struct bus *b, const char *topic, int32_t partition, int64_t offset,
                              struct bus_message **out, struct err *e)
{
    return b->ops->read_at(b, topic, partition, offset, out, e);
}
static inline void bus_read_free(struct bus *b, struct bus_message *m)
{
    b->ops->read_free(b, m);
}
static inline int bus_producer_open(struct bus *b, const struct bus_producer_options *o,
                                    bus_delivered_fn fn, void *arg, struct bus_producer **out,
                                    struct err *e)
{
    return b->ops->producer(b, o, fn, arg, out, e);
}
/* Copies the message. partition < 0: by murmur2 of the key (as Java), else round robin. Blocks
 * while the queue is full. */
static inline int bus_send(struct bus_producer *p, const struct bus_message *m, void *token,
                           struct err *e)
{
    return p->bus->ops->send(p, m, token, e);
}
/* Waits until all that was sent is acknowledged; the first failed delivery since the last flush is
 * the result. */
static inline int bus_flush(struct bus_producer *p, int timeout_ms, struct err *e)
{
    return p->bus->ops->flush(p, timeout_ms, e);
}
/*
 * Transactions. After any failure but ERR_FENCED: bus_abort_transaction until it
 * succeeds, then begin again. A commit that failed with ERR_PEER may have taken
 * effect all the same (abort then ends it either way): bus_committed tells.
 */
static inline int bus_begin(struct bus_producer *p, struct err *e)
{
    return p->bus->ops->begin(p, e);
}
static inline int bus_send_offset(struct bus_producer *p, struct bus_consumer *c, const char *topic,
                                  int32_t partition, int64_t offset, struct err *e)
{
    return p->bus->ops->send_offset(p, c, topic, partition, offset, e);
}
static inline int bus_commit_transaction(struct bus_producer *p, struct err *e)
{
    return p->bus->ops->commit_transaction(p, e);
}
static inline int bus_abort_transaction(struct bus_producer *p, struct err *e)
{
    return p->bus->ops->abort_transaction(p, e);
}
static inline void bus_producer_free(struct bus_producer *p)
{
    if (p)
        p->bus->ops->producer_free(p);
}
/* A topic that exists is fine. */
static inline int bus_create_topics(struct bus *b, const struct bus_topic *t, size_t n,
                                    struct err *e)
{
    return b->ops->create_topics(b, t, n, e);
}
static inline int bus_create_acls(struct bus *b, const struct bus_acl *a, size_t n, struct err *e)
{
    return b->ops->create_acls(b, a, n, e);
}
static inline void bus_free(struct bus *b)
{
    if (b)
        b->ops->free(b);
}

/* Java's murmur2 (seed 0x9747b28c) & 0x7fffffff: partition = that % count. */
uint32_t bus_murmur2(const void *key, size_t n);

#endif
