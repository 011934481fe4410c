#include "platform/bus/bus_mem_int.h"

#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/clock/clock.h"

enum { MESSAGE_MAX = 1048588 /* Kafka's default of max.message.bytes */, PARTITIONS_MAX = 10000 };

void mem_lock(struct mem *m)
{
    pthread_mutex_lock(&m->lock);
}

void mem_unlock(struct mem *m)
{
    pthread_mutex_unlock(&m->lock);
}

void mem_wait(struct mem *m, int64_t *step_ms, int64_t until_ms)
{
    int64_t left = until_ms - clock_mono_ms(m->clock);

    *step_ms = *step_ms < 5 ? *step_ms + 1 : 10;
    if (left > 0)
        clock_sleep_ms(m->clock, left < *step_ms ? left : *step_ms);
}

struct mem_topic *mem_topic_find(struct mem *m, const char *name)
{
    struct mem_topic *t;

    for (t = m->topics; t; t = t->next)
        if (!strcmp(t->name, name))
            return t;
    return NULL;
}

int mem_part_find(struct mem *m, const char *topic, int32_t partition, struct mem_part **out,
                  struct err *e)
{
    struct mem_topic *t = mem_topic_find(m, topic);

    if (!t)
        return err_set(e, ERR_NOT_FOUND, "topic %s does not exist", topic);
    if (partition < 0 || partition >= t->part_count)
        return err_set(e, ERR_NOT_FOUND, "topic %s has %d partitions, no partition %d", topic,
                       t->part_count, (int)partition);
    *out = &t->parts[partition];
    return 0;
}

int64_t mem_high(const struct mem_part *p)
{
    return p->low + (int64_t)p->count;
}

int64_t mem_stable(struct mem_part *p)
{
    while (p->settled < p->count && p->records[p->settled].state != MEM_PENDING)
        p->settled++;
    return p->low + (int64_t)p->settled;
}

const struct bus_message *mem_read(struct mem_part *p, int64_t offset)
{
    int64_t end = mem_stable(p);

    for (; offset < end; offset++)
        if (p->records[offset - p->low].state == MEM_VISIBLE)
            return p->records[offset - p->low].m;
    return NULL;
}

int mem_append(struct mem_part *p, enum mem_state state, uint64_t txn, struct bus_message *copy,
               struct err *e)
{
    struct mem_record *r;
    size_t cap;

    if (p->count == p->cap) {
        cap = p->cap ? p->cap * 2 : 16;
        r = realloc(p->records, cap * sizeof *r);
        if (!r) {
            free(copy);
            return err_set(e, ERR_NOMEM, "a partition in memory");
        }
        p->records = r;
        p->cap = cap;
    }
    p->records[p->count++] = (struct mem_record){state, txn, copy};
    return 0;
}

static void topic_free(struct mem_topic *t)
{
    int i;
    size_t k;

    if (!t)
        return;
    for (i = 0; t->parts && i < t->part_count; i++) {
        for (k = 0; k < t->parts[i].count; k++)
            free(t->parts[i].records[k].m);
        free(t->parts[i].records);
    }
    free(t->parts);
    free(t->name);
    free(t);
}

static int configure(struct mem_topic *t, const char *pair, struct err *e)
{
    static const char time_key[] = "message.timestamp.type=";
    static const char size_key[] = "max.message.bytes=";
    int64_t n;

    if (!strchr(pair, '='))
        return err_set(e, ERR_CONFIG, "topic %s: '%s' is not key=value", t->name, pair);
    if (!strncmp(pair, time_key, sizeof time_key - 1)) {
        t->append_time = !strcmp(pair + sizeof time_key - 1, "LogAppendTime");
    } else if (!strncmp(pair, size_key, sizeof size_key - 1)) {
        if (text_i64(pair + sizeof size_key - 1, 0, INT32_MAX, &n) < 0)
            return err_set(e, ERR_CONFIG, "topic %s: bad number in '%s'", t->name, pair);
        t->message_max = (size_t)n;
    }
    return 0;
}

static int create_topic(struct mem *m, const struct bus_topic *want, struct err *e)
{
    struct mem_topic *t;
    const char *const *pair;
    int rc;

    if (mem_topic_find(m, want->name))
        return 0;
    if (want->partitions < 1 || want->partitions > PARTITIONS_MAX)
        return err_set(e, ERR_CONFIG, "topic %s: %d partitions, 1 to %d are possible", want->name,
                       want->partitions, PARTITIONS_MAX);
    t = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "topic %s", want->name);
    t->message_max = MESSAGE_MAX;
    t->part_count = want->partitions;
    t->name = strdup(want->name);
    t->parts = calloc((size_t)want->partitions, sizeof *t->parts);
    if (!t->name || !t->parts) {
        rc = err_set(e, ERR_NOMEM, "topic %s", want->name);
        goto fail;
    }
    for (pair = want->config; pair && *pair; pair++)
        if ((rc = configure(t, *pair, e)) < 0)
            goto fail;
    t->next = m->topics;
    m->topics = t;
    m->changes++;
    return 0;
fail:
    topic_free(t);
    return rc;
}

static int mem_create_topics(struct bus *b, const struct bus_topic *t, size_t n, struct err *e)
{
    struct mem *m = (struct mem *)b;
    size_t i;
    int rc = 0;

    mem_lock(m);
    for (i = 0; i < n && rc == 0; i++)
        rc = create_topic(m, &t[i], e);
    mem_unlock(m);
    return rc;
}

/* Memory has one user: there is nothing to allow. */
static int mem_create_acls(struct bus *b, const struct bus_acl *a, size_t n, struct err *e)
{
    (void)b, (void)a, (void)n, (void)e;
    return 0;
}

static int mem_watermarks(struct bus *b, const char *topic, int32_t partition, int64_t *low,
                          int64_t *high, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct mem_part *p;
    int rc;

    mem_lock(m);
    mem_expire_transactions(m);
    rc = mem_part_find(m, topic, partition, &p, e);
    if (rc == 0) {
        *low = p->low;
        *high = mem_stable(p);
    }
    mem_unlock(m);
    return rc;
}

static int mem_partitions(struct bus *b, const char *topic, int *count, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct mem_part *p;
    int rc;

    mem_lock(m);
    rc = mem_part_find(m, topic, 0, &p, e);
    if (rc == 0)
        *count = mem_topic_find(m, topic)->part_count;
    mem_unlock(m);
    return rc;
}

static int mem_read_at(struct bus *b, const char *topic, int32_t partition, int64_t offset,
                       struct bus_message **out, struct err *e)
{
    struct mem *m = (struct mem *)b;
    const struct bus_message *found = NULL;
    struct mem_part *p;
    int rc;

    *out = NULL;
    mem_lock(m);
    mem_expire_transactions(m);
    rc = mem_part_find(m, topic, partition, &p, e);
    if (rc == 0)
        found = mem_read(p, offset < p->low ? p->low : offset);
    if (found) {
        *out = bus_message_copy(found);
        rc = *out ? 1 : err_set(e, ERR_NOMEM, "a message of " BUS_AT, topic, (int)partition);
    }
    mem_unlock(m);
    return rc;
}

static void mem_read_free(struct bus *b, struct bus_message *msg)
{
    (void)b;
    free(msg);
}

int bus_mem_trim(struct bus *b, const char *topic, int32_t partition, int64_t low, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct mem_part *p;
    size_t gone, i;
    int rc;

    mem_lock(m);
    rc = mem_part_find(m, topic, partition, &p, e);
    if (rc == 0 && (low < p->low || low > mem_stable(p)))
        rc = err_set(e, ERR_USAGE, BUS_AT ": cannot trim to %lld", topic, (int)partition,
                     (long long)low);
    if (rc == 0) {
        gone = (size_t)(low - p->low);
        for (i = 0; i < gone; i++)
            free(p->records[i].m);
        if (gone)
            memmove(p->records, p->records + gone, (p->count - gone) * sizeof *p->records);
        p->count -= gone;
        p->settled -= gone;
        p->low = low;
    }
    mem_unlock(m);
    return rc;
}

int bus_mem_delete_topic(struct bus *b, const char *topic, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct mem_topic **at, *t = NULL;
    struct mem_producer *p;
    size_t i;

    mem_lock(m);
    for (at = &m->topics; *at && strcmp((*at)->name, topic); at = &(*at)->next)
        ;
    if (*at) {
        t = *at;
        *at = t->next;
        m->changes++;
        for (p = m->producers; p; p = p->next)
            for (i = 0; i < p->touched_count;)
                if (p->touched[i].part >= t->parts && p->touched[i].part < t->parts + t->part_count)
                    p->touched[i] = p->touched[--p->touched_count];
                else
                    i++;
    }
    mem_unlock(m);
    if (!t)
        return err_set(e, ERR_NOT_FOUND, "topic %s does not exist", topic);
    topic_free(t);
    return 0;
}

/* Consumers and producers are the callers' and are freed before. */
static void mem_free(struct bus *b)
{
    struct mem *m = (struct mem *)b;
    struct mem_topic *t;
    struct mem_group *g;

    while (m->producers)
        mem_producer_destroy(m, m->producers);
    while ((t = m->topics)) {
        m->topics = t->next;
        topic_free(t);
    }
    while ((g = m->groups)) {
        m->groups = g->next;
        free(g->name);
        free(g);
    }
    mem_offsets_free(m->committed);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct bus_ops mem_ops = {
    .consumer = mem_consumer_open,
    .poll = mem_poll,
    .message_free = mem_message_free,
    .seek = mem_seek,
    .pause = mem_pause,
    .committed = mem_committed,
    .commit = mem_commit,
    .consumer_free = mem_consumer_free,
    .watermarks = mem_watermarks,
    .partitions = mem_partitions,
    .read_at = mem_read_at,
    .read_free = mem_read_free,
    .producer = mem_producer_open,
    .send = mem_send,
    .flush = mem_flush,
    .begin = mem_begin,
    .send_offset = mem_send_offset,
    .commit_transaction = mem_commit_transaction,
    .abort_transaction = mem_abort_transaction,
    .producer_free = mem_producer_free,
    .create_topics = mem_create_topics,
    .create_acls = mem_create_acls,
    .free = mem_free,
};

int bus_mem(struct bus **out, struct clock *clock, struct err *e)
{
    struct mem *m = calloc(1, sizeof *m);

    if (!m)
        return err_set(e, ERR_NOMEM, "the bus in memory");
    m->base.ops = &mem_ops;
    m->clock = clock;
    pthread_mutex_init(&m->lock, NULL);
    *out = &m->base;
    return 0;
}
