/*
 * Inside the bus in memory: topics, producers' transactions, groups.
 *
 * One mutex guards all of it and is never held while a call waits: waiting is
 * clock_sleep_ms in small steps, so that tasks may be fibers of one thread.
 */
#ifndef PLATFORM_BUS_BUS_MEM_INT_H
#define PLATFORM_BUS_BUS_MEM_INT_H

#include <pthread.h>
#include <regex.h>

#include "platform/bus/bus_int.h"

enum mem_state {
    MEM_VISIBLE, /* committed, or written outside a transaction */
    MEM_PENDING, /* its transaction is open */
    MEM_ABORTED,
    MEM_MARKER, /* the end of a transaction: takes an offset, is never delivered */
};

struct mem_record {
    enum mem_state state;
    uint64_t txn;          /* 0: none */
    struct bus_message *m; /* owned; NULL for a marker */
};

struct mem_part {
    int64_t low; /* offset of records[0] */
    struct mem_record *records;
    size_t count, cap;
    size_t settled; /* no record before this index is pending */
};

struct mem_topic {
    struct mem_topic *next;
    char *name;
    bool append_time; /* message.timestamp.type=LogAppendTime */
    size_t message_max;
    int part_count;
    struct mem_part *parts;
};

struct mem_offset {
    struct mem_offset *next;
    char *group, *topic;
    int32_t partition;
    int64_t offset;
};

/* A position in one partition that a member holds. */
struct mem_held {
    char *topic;
    int32_t partition;
    int64_t position; /* -1: waits for bus_seek */
    bool paused;
};

struct mem_consumer {
    struct bus_consumer base;
    struct mem *mem; /* borrowed; outlives the consumer */
    struct mem_consumer *next;
    struct mem_group *group; /* NULL once the group expelled it */
    char *name;              /* of the group */
    char **topics;
    regex_t *patterns; /* one a topic; compiled where it begins with '^' */
    size_t topic_count, compiled;
    struct bus_rebalance rebalance;
    int64_t session_ms, seen_ms;
    uint64_t generation; /* whose assignment it holds */
    bool revoked;        /* gave its partitions up for the rebalance that is going on */
    bool told;           /* `assigned` was called for what it holds */
    struct mem_held *held;
    size_t held_count, turn;
};

struct mem_group {
    struct mem_group *next;
    char *name;
    uint64_t generation;
    bool balancing;               /* members are giving up what they hold */
    size_t dealt;                 /* partitions dealt out in this generation */
    uint64_t counted;             /* mem.changes when the wanted partitions were counted */
    struct mem_consumer *members; /* in the order of joining */
};

struct mem_producer {
    struct bus_producer base;
    struct mem *mem;
    struct mem_producer *next;
    char *id; /* transactional id or NULL */
    bool fenced;
    bool orphan;  /* its owner freed it with something open, as a crash does */
    uint64_t txn; /* the open one, or 0 */
    int64_t txn_began_ms;
    struct mem_touched {
        struct mem_part *part;
        int64_t first; /* the transaction's first record there */
    } * touched;
    size_t touched_count, touched_cap;
    struct mem_offset *offsets; /* pending: of the transaction, or come behind the end of one */
    bool offset_sent;           /* in the open transaction: its end settles what is pending */
    bus_delivered_fn delivered;
    void *arg;
    struct mem_report {
        void *token;
        int code;
        int32_t partition;
        int64_t offset;
    } * reports; /* not yet told */
    size_t report_count, report_cap;
    struct err failure;     /* the first since the last flush */
    struct err txn_failure; /* the first of the open transaction, which can only be aborted */
    uint32_t turn;          /* round robin for messages without a key */
};

struct mem {
    struct bus base;
    struct clock *clock; /* borrowed */
    pthread_mutex_t lock;
    struct mem_topic *topics;
    struct mem_group *groups;
    struct mem_producer *producers;
    struct mem_offset *committed;
    uint64_t last_txn;
    uint64_t changes; /* of topics and memberships */
};

void mem_lock(struct mem *m);
void mem_unlock(struct mem *m);

/* Below: with the lock held. */
struct mem_topic *mem_topic_find(struct mem *m, const char *name);
int mem_part_find(struct mem *m, const char *topic, int32_t partition, struct mem_part **out,
                  struct err *e);
int64_t mem_high(const struct mem_part *p);
int64_t mem_stable(struct mem_part *p); /* the last stable offset */
/* The first visible record at or after `offset` below the last stable one, or NULL. */
const struct bus_message *mem_read(struct mem_part *p, int64_t offset);
/* Takes over `copy` (NULL: a marker). */
int mem_append(struct mem_part *p, enum mem_state state, uint64_t txn, struct bus_message *copy,
               struct err *e);
struct mem_offset *mem_offset_find(struct mem_offset *list, const char *group, const char *topic,
                                   int32_t partition);
int mem_offset_set(struct mem_offset **list, const char *group, const char *topic,
                   int32_t partition, int64_t offset, struct err *e);
void mem_offsets_free(struct mem_offset *list);
void mem_end_transaction(struct mem *m, struct mem_producer *p, bool commit);
void mem_expire_transactions(struct mem *m);
void mem_producer_destroy(struct mem *m, struct mem_producer *p);
bool mem_offset_pending(struct mem *m, const char *group, const char *topic, int32_t partition);
bool mem_subscribed(const struct mem_consumer *c, const char *topic);

/* Producers: bus_mem_producer.c. Without the lock. */
int mem_producer_open(struct bus *, const struct bus_producer_options *, bus_delivered_fn,
                      void *arg, struct bus_producer **, struct err *);
int mem_send(struct bus_producer *, const struct bus_message *, void *token, struct err *);
int mem_flush(struct bus_producer *, int timeout_ms, struct err *);
int mem_begin(struct bus_producer *, struct err *);
int mem_send_offset(struct bus_producer *, struct bus_consumer *, const char *topic,
                    int32_t partition, int64_t offset, struct err *);
int mem_commit_transaction(struct bus_producer *, struct err *);
int mem_abort_transaction(struct bus_producer *, struct err *);
void mem_producer_free(struct bus_producer *);

/* Consumers: bus_mem_consumer.c, their groups: bus_mem_group.c. */
int mem_consumer_open(struct bus *, const struct bus_consumer_options *, struct bus_consumer **,
                      struct err *);
int mem_poll(struct bus_consumer *, int timeout_ms, struct bus_message **, struct err *);
void mem_message_free(struct bus_consumer *, struct bus_message *);
int mem_seek(struct bus_consumer *, const char *topic, int32_t partition, int64_t offset,
             struct err *);
int mem_pause(struct bus_consumer *, const char *topic, int32_t partition, bool paused,
              struct err *);
int mem_committed(struct bus_consumer *, const char *topic, int32_t partition, int64_t *offset,
                  struct err *);
int mem_commit(struct bus_consumer *, const char *topic, int32_t partition, int64_t offset,
               struct err *);
void mem_consumer_free(struct bus_consumer *);

/* With the lock held. */
int mem_group_join(struct mem *m, const char *name, struct mem_consumer *c, struct err *e);
void mem_group_leave(struct mem_consumer *c);
/* Expels silent members, notices new topics. */
void mem_group_tick(struct mem *m, struct mem_group *g);
/* When every member has given up: deals the partitions out. */
int mem_group_deal(struct mem *m, struct mem_group *g, struct err *e);
void mem_held_release(struct mem_consumer *c);

/* Waits one step, longer each time. */
void mem_wait(struct mem *m, int64_t *step_ms, int64_t until_ms);

#endif
