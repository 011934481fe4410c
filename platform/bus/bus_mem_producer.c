#include "platform/bus/bus_mem_int.h"

#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"

enum { TRANSACTION_MS = 60000 };

void mem_offsets_free(struct mem_offset *list)
{
    struct mem_offset *o;

    while ((o = list)) {
        list = o->next;
        free(o->group);
        free(o->topic);
        free(o);
    }
}

struct mem_offset *mem_offset_find(struct mem_offset *list, const char *group, const char *topic,
                                   int32_t partition)
{
    for (; list; list = list->next)
        if (list->partition == partition && !strcmp(list->topic, topic) &&
            !strcmp(list->group, group))
            return list;
    return NULL;
}

int mem_offset_set(struct mem_offset **list, const char *group, const char *topic,
                   int32_t partition, int64_t offset, struct err *e)
{
    struct mem_offset *o = mem_offset_find(*list, group, topic, partition);

    if (!o) {
        o = calloc(1, sizeof *o);
        if (o) {
            o->group = strdup(group);
            o->topic = strdup(topic);
        }
        if (!o || !o->group || !o->topic) {
            mem_offsets_free(o);
            return err_set(e, ERR_NOMEM, "an offset of group %s", group);
        }
        o->partition = partition;
        o->next = *list;
        *list = o;
    }
    o->offset = offset;
    return 0;
}

bool mem_offset_pending(struct mem *m, const char *group, const char *topic, int32_t partition)
{
    struct mem_producer *p;

    for (p = m->producers; p; p = p->next)
        if (mem_offset_find(p->offsets, group, topic, partition))
            return true;
    return false;
}

/*
 * Settles the offsets that are pending under this producer's id, its own or not. The end of a
 * transaction that sent none is not told to the group's coordinator.
 */
static void settle_offsets(struct mem *m, struct mem_producer *p, bool commit)
{
    struct err ignored;
    struct mem_offset *o;

    if (!p->offset_sent)
        return;
    for (o = commit ? p->offsets : NULL; o; o = o->next)
        (void)mem_offset_set(&m->committed, o->group, o->topic, o->partition, o->offset, &ignored);
    mem_offsets_free(p->offsets);
    p->offsets = NULL;
    p->offset_sent = false;
}

/* Settles the records, writes the markers, and with `commit` the offsets. */
void mem_end_transaction(struct mem *m, struct mem_producer *p, bool commit)
{
    struct err ignored;
    size_t i;
    int64_t k;

    for (i = 0; i < p->touched_count; i++) {
        struct mem_part *part = p->touched[i].part;

        for (k = p->touched[i].first - part->low; k < (int64_t)part->count; k++)
            if (part->records[k].txn == p->txn)
                part->records[k].state = commit ? MEM_VISIBLE : MEM_ABORTED;
        (void)mem_append(part, MEM_MARKER, 0, NULL, &ignored); /* no memory: no gap, no harm */
    }
    settle_offsets(m, p, commit);
    p->touched_count = 0;
    p->txn = 0;
}

void mem_producer_destroy(struct mem *m, struct mem_producer *p)
{
    struct mem_producer **at;

    for (at = &m->producers; *at && *at != p; at = &(*at)->next)
        ;
    if (*at)
        *at = p->next;
    mem_offsets_free(p->offsets);
    free(p->touched);
    free(p->reports);
    free(p->id);
    free(p);
}

/* The broker's side of a producer that was replaced or that kept a transaction open too long. */
static void fence(struct mem *m, struct mem_producer *p)
{
    if (p->txn)
        mem_end_transaction(m, p, false);
    p->fenced = true;
}

static void bury(struct mem *m, struct mem_producer *p)
{
    if (p->orphan && !p->txn && !p->offsets)
        mem_producer_destroy(m, p);
}

static struct mem_producer *producer_new(struct mem *m, const char *id, struct err *e)
{
    struct mem_producer *p = calloc(1, sizeof *p);

    if (p && id && !(p->id = strdup(id))) {
        free(p);
        p = NULL;
    }
    if (!p) {
        (void)err_set(e, ERR_NOMEM, "a producer");
        return NULL;
    }
    p->base.bus = &m->base;
    p->mem = m;
    return p;
}

/* The newest of this id. */
static struct mem_producer *producer_find(struct mem *m, const char *id)
{
    struct mem_producer *p;

    for (p = m->producers; p && (!p->id || strcmp(p->id, id)); p = p->next)
        ;
    return p;
}

static void producer_add(struct mem *m, struct mem_producer *p)
{
    p->next = m->producers;
    m->producers = p;
}

void mem_expire_transactions(struct mem *m)
{
    struct mem_producer *p, *next;
    int64_t now = clock_mono_ms(m->clock);

    for (p = m->producers; p; p = next) {
        next = p->next;
        if (p->txn && now - p->txn_began_ms > TRANSACTION_MS) {
            fence(m, p);
            bury(m, p);
        }
    }
}

/* What comes after the last of the id's producers was freed waits with one without owner. */
int bus_mem_late_offset(struct bus *b, const char *transactional_id, const char *group,
                        const char *topic, int32_t partition, int64_t offset, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct mem_producer *p;
    int rc;

    mem_lock(m);
    mem_expire_transactions(m);
    p = producer_find(m, transactional_id);
    if (!p && (p = producer_new(m, transactional_id, e))) {
        p->orphan = true;
        producer_add(m, p);
    }
    rc = p ? mem_offset_set(&p->offsets, group, topic, partition, offset, e) : e->code;
    mem_unlock(m);
    return rc;
}

/* Ends what the id's producer before had open; an offset that came late stays pending. */
static void take_over(struct mem *m, struct mem_producer *p)
{
    struct mem_producer *other = producer_find(m, p->id);

    if (!other)
        return;
    fence(m, other);
    p->offsets = other->offsets;
    other->offsets = NULL;
    bury(m, other);
}

int mem_producer_open(struct bus *b, const struct bus_producer_options *o, bus_delivered_fn fn,
                      void *arg, struct bus_producer **out, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct mem_producer *p = producer_new(m, o->transactional_id, e);

    if (!p)
        return e->code;
    p->delivered = fn;
    p->arg = arg;
    mem_lock(m);
    if (p->id)
        take_over(m, p);
    producer_add(m, p);
    mem_unlock(m);
    *out = &p->base;
    return 0;
}

static int report(struct mem_producer *p, void *token, int code, int32_t partition, int64_t offset,
                  struct err *e)
{
    struct mem_report *more;
    size_t cap;

    if (p->report_count == p->report_cap) {
        cap = p->report_cap ? p->report_cap * 2 : 16;
        more = realloc(p->reports, cap * sizeof *more);
        if (!more)
            return err_set(e, ERR_NOMEM, "a delivery report");
        p->reports = more;
        p->report_cap = cap;
    }
    p->reports[p->report_count++] = (struct mem_report){token, code, partition, offset};
    return 0;
}

/* Tells what became of earlier messages. Without the lock: the callback may call the bus. */
static void tell(struct mem_producer *p)
{
    struct mem_report *reports = p->reports;
    size_t i, n = p->report_count;

    p->reports = NULL; /* a callback may send, too */
    p->report_count = p->report_cap = 0;
    for (i = 0; p->delivered && i < n; i++)
        p->delivered(p->arg, reports[i].token, reports[i].code, reports[i].partition,
                     reports[i].offset, reports[i].code ? err_text(reports[i].code) : "");
    free(reports);
}

static int fenced(const struct mem_producer *p, struct err *e)
{
    if (!p->fenced)
        return 0;
    return err_set(e, ERR_FENCED, "another producer took over transactional id %s", p->id);
}

static int touch(struct mem_producer *p, struct mem_part *part, struct err *e)
{
    struct mem_touched *more;
    size_t i, cap;

    for (i = 0; i < p->touched_count; i++)
        if (p->touched[i].part == part)
            return 0;
    if (p->touched_count == p->touched_cap) {
        cap = p->touched_cap ? p->touched_cap * 2 : 4;
        more = realloc(p->touched, cap * sizeof *more);
        if (!more)
            return err_set(e, ERR_NOMEM, "a transaction");
        p->touched = more;
        p->touched_cap = cap;
    }
    p->touched[p->touched_count++] = (struct mem_touched){part, mem_high(part)};
    return 0;
}

static int32_t choose(struct mem_producer *p, const struct mem_topic *t,
                      const struct bus_message *msg)
{
    if (msg->partition >= 0)
        return msg->partition;
    if (msg->key)
        return (int32_t)(bus_murmur2(msg->key, msg->key_len) % (uint32_t)t->part_count);
    return (int32_t)(p->turn++ % (uint32_t)t->part_count);
}

/* The broker's part: 0 and where the record lies, or why it was refused. */
static int deliver(struct mem_producer *p, const struct bus_message *msg, int32_t *partition,
                   int64_t *offset, struct err *e)
{
    struct mem *m = p->mem;
    struct mem_topic *t = mem_topic_find(m, msg->topic);
    struct bus_message record = *msg;
    struct bus_message *copy;
    struct mem_part *part;
    int rc;

    if (!t)
        return err_set(e, ERR_NOT_FOUND, "topic %s does not exist", msg->topic);
    record.partition = choose(p, t, msg);
    if ((rc = mem_part_find(m, msg->topic, record.partition, &part, e)) < 0)
        return rc;
    if (msg->key_len + msg->value_len > t->message_max)
        return err_set(e, ERR_LIMIT, "a message of %zu bytes for %s: the topic takes %zu",
                       msg->key_len + msg->value_len, msg->topic, t->message_max);
    record.offset = mem_high(part);
    if (t->append_time || record.timestamp_ms <= 0)
        record.timestamp_ms = clock_wall_ms(m->clock);
    if (p->txn && (rc = touch(p, part, e)) < 0)
        return rc;
    if (!(copy = bus_message_copy(&record)))
        return err_set(e, ERR_NOMEM, "a message for %s", msg->topic);
    *partition = record.partition;
    *offset = record.offset;
    return mem_append(part, p->txn ? MEM_PENDING : MEM_VISIBLE, p->txn, copy, e);
}

int mem_send(struct bus_producer *bp, const struct bus_message *msg, void *token, struct err *e)
{
    struct mem_producer *p = (struct mem_producer *)bp;
    struct err why = ERR_INIT;
    int32_t partition = msg->partition;
    int64_t offset = -1;
    int rc, code;

    tell(p);
    mem_lock(p->mem);
    rc = fenced(p, e);
    if (rc == 0 && p->id && !p->txn)
        rc = err_set(e, ERR_USAGE, "producer %s sends outside a transaction", p->id);
    if (rc == 0) {
        code = deliver(p, msg, &partition, &offset, &why);
        if (code < 0 && !p->failure.code)
            p->failure = why;
        if (code < 0 && p->txn && !p->txn_failure.code)
            p->txn_failure = why;
        rc = report(p, token, code, partition, offset, e);
    }
    mem_unlock(p->mem);
    return rc;
}

int mem_flush(struct bus_producer *bp, int timeout_ms, struct err *e)
{
    struct mem_producer *p = (struct mem_producer *)bp;

    (void)timeout_ms;
    tell(p);
    if (!p->failure.code)
        return 0;
    *e = p->failure;
    p->failure.code = 0;
    return e->code;
}

int mem_begin(struct bus_producer *bp, struct err *e)
{
    struct mem_producer *p = (struct mem_producer *)bp;
    int rc;

    mem_lock(p->mem);
    rc = fenced(p, e);
    if (rc == 0 && !p->id)
        rc = err_set(e, ERR_USAGE, "a producer without transactional id begins a transaction");
    if (rc == 0 && p->txn)
        rc = err_set(e, ERR_USAGE, "producer %s: a transaction is open already", p->id);
    if (rc == 0) {
        p->txn = ++p->mem->last_txn;
        p->txn_began_ms = clock_mono_ms(p->mem->clock);
        p->failure.code = p->txn_failure.code = 0;
    }
    mem_unlock(p->mem);
    return rc;
}

static int in_transaction(struct mem_producer *p, struct err *e)
{
    int rc;

    mem_expire_transactions(p->mem);
    if ((rc = fenced(p, e)) < 0)
        return rc;
    if (!p->txn)
        return err_set(e, ERR_USAGE, "producer %s: no transaction is open", p->id ? p->id : "");
    return 0;
}

int mem_send_offset(struct bus_producer *bp, struct bus_consumer *bc, const char *topic,
                    int32_t partition, int64_t offset, struct err *e)
{
    struct mem_producer *p = (struct mem_producer *)bp;
    struct mem_consumer *c = (struct mem_consumer *)bc;
    int rc;

    mem_lock(p->mem);
    rc = in_transaction(p, e);
    if (rc == 0 && !c->group)
        rc = err_set(e, ERR_FENCED,
                     "the group expelled this consumer: its offset of " BUS_AT " is not taken",
                     topic, (int)partition);
    if (rc == 0)
        rc = mem_offset_set(&p->offsets, c->group->name, topic, partition, offset, e);
    if (rc == 0)
        p->offset_sent = true;
    mem_unlock(p->mem);
    return rc;
}

int mem_commit_transaction(struct bus_producer *bp, struct err *e)
{
    struct mem_producer *p = (struct mem_producer *)bp;
    int rc;

    tell(p);
    mem_lock(p->mem);
    rc = in_transaction(p, e);
    if (rc == 0 && p->txn_failure.code) {
        *e = p->txn_failure;
        rc = err_wrap(e, "transaction of %s must be aborted", p->id);
    }
    if (rc == 0)
        mem_end_transaction(p->mem, p, true);
    mem_unlock(p->mem);
    return rc;
}

int mem_abort_transaction(struct bus_producer *bp, struct err *e)
{
    struct mem_producer *p = (struct mem_producer *)bp;
    int rc;

    tell(p);
    mem_lock(p->mem);
    rc = in_transaction(p, e);
    if (rc == 0) {
        mem_end_transaction(p->mem, p, false);
        p->failure.code = p->txn_failure.code = 0;
    }
    mem_unlock(p->mem);
    return rc;
}

/* An open transaction stays open until it expires or its id is taken over, as after a crash. */
void mem_producer_free(struct bus_producer *bp)
{
    struct mem_producer *p = (struct mem_producer *)bp;
    struct mem *m = p->mem;

    mem_lock(m);
    p->orphan = true;
    bury(m, p);
    mem_unlock(m);
}
