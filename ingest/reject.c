/*
 * Copies of rejected messages, for their owner to look at: the original bytes,
 * with reason, topic, partition and offset as headers. At least once: they are
 * with Kafka before the segment that covers them is created. A segment whose
 * copies failed is read again, then with one flush per copy, so that it is known
 * which one it was.
 */
#include "ingest/ingest_int.h"

#include <stdio.h>
#include <string.h>

#include "platform/base/text.h"

enum { REJECT_HEADERS = 5, FLUSH_MS = 30000 };

int reject_open(struct ingest *in, struct err *e)
{
    struct bus_producer_options o = {.message_timeout_ms = in->o.message_timeout_ms};

    return bus_producer_open(in->p.bus, &o, NULL, NULL, &in->rejects, e);
}

/* The owner's copy is one more reader of what a producer wrote: one clean line of UTF-8. */
static void clean(char *to, size_t size, const char *from)
{
    size_t len = strlen(from), i, ok = text_utf8_valid(from, len);

    for (i = 0; i < len && i + 1 < size; i++)
        to[i] = (unsigned char)from[i] < 0x20 || (i >= ok && (from[i] & 0x80)) ? '?' : from[i];
    to[i] = 0;
    to[text_utf8_valid(to, i)] = 0;
}

static void add(struct bus_header *h, const char *name, const char *value)
{
    *h = (struct bus_header){name, value, strlen(value)};
}

static int send_copy(struct ingest *in, const struct part *p, const struct bus_message *m,
                     bool stub, const struct err *why, struct err *e)
{
    size_t n = stub ? 0 : m->header_count;
    char topic[KEY_MAX], reason[sizeof why->text + 64], partition[16], offset[24];
    struct bus_message copy = *m;
    struct bus_header *h;
    int rc;

    if ((rc = topic_of(&in->keys, TOPIC_REJECTED, p->owner, topic, e)) < 0)
        return rc;
    if (!(h = arena_array(&in->arena, n + REJECT_HEADERS, sizeof *h)))
        return err_set(e, ERR_LIMIT, "%zu headers", n);
    if (n)
        memcpy(h, m->headers, n * sizeof *h);
    clean(reason, sizeof why->text, why->text);
    if (stub)
        snprintf(reason + strlen(reason), 64, " (%zu bytes left out: too large for this topic)",
                 m->value_len);
    snprintf(partition, sizeof partition, "%d", (int)m->partition);
    snprintf(offset, sizeof offset, "%lld", (long long)m->offset);
    add(&h[n], HEADER_REJECT_CODE, err_name(why->code));
    add(&h[n + 1], HEADER_REJECT_REASON, reason);
    add(&h[n + 2], HEADER_REJECT_TOPIC, m->topic);
    add(&h[n + 3], HEADER_REJECT_PARTITION, partition);
    add(&h[n + 4], HEADER_REJECT_OFFSET, offset);
    copy.topic = topic;
    copy.partition = -1;
    copy.headers = h;
    copy.header_count = n + REJECT_HEADERS;
    if (stub) {
        copy.value_len = 0;
        copy.key_len = m->key_len < 512 ? m->key_len : 512;
    }
    return bus_send(in->rejects, &copy, NULL, e);
}

/* A deployment's owner topics are made by the operator; one that was forgotten is made here. */
static int make_topic(struct ingest *in, const struct part *p, struct err *e)
{
    char name[KEY_MAX];
    static const char *const config[] = {DOCUMENT_TOPIC_SIZE, NULL};
    const struct bus_topic topic = {.name = name, .partitions = 1, .config = config};
    struct err why = ERR_INIT;

    if (topic_of(&in->keys, TOPIC_REJECTED, p->owner, name, &why) < 0 ||
        bus_create_topics(in->p.bus, &topic, 1, &why) < 0)
        return e->code;
    log_event(LOG_WARN, "topic.created", "owner", p->owner, "topic", name, NULL);
    return err_set(e, ERR_PEER, "%s was missing and is made now", name);
}

static int send_careful(struct ingest *in, const struct part *p, const struct bus_message *m,
                        const struct err *why, struct err *e)
{
    int rc = send_copy(in, p, m, false, why, e);

    if (rc == 0)
        rc = bus_flush(in->rejects, FLUSH_MS, e);
    if (rc == ERR_LIMIT) {
        rc = send_copy(in, p, m, true, why, e);
        if (rc == 0)
            rc = bus_flush(in->rejects, FLUSH_MS, e);
    }
    return rc == ERR_NOT_FOUND ? make_topic(in, p, e) : rc;
}

/* Copies of this partition's open segment may not have arrived: it is read again. */
static int again(struct ingest *in, struct part *p, struct err *e)
{
    p->careful = true;
    part_drop(in, p);
    return part_failed(in, p, PART_FIND, "reject.copy_failed", e);
}

int reject_send(struct ingest *in, struct part *p, const struct bus_message *m,
                const struct err *why, struct err *e)
{
    struct err failed = ERR_INIT;
    int rc;

    if (p->careful && (rc = reject_flush(in, e)) != 0)
        return rc;
    if (p->careful)
        rc = send_careful(in, p, m, why, &failed);
    else
        rc = send_copy(in, p, m, false, why, &failed);
    if (rc == 0) {
        p->unflushed += !p->careful;
        return 0;
    }
    if ((rc = again(in, p, &failed)) == 0)
        return 1;
    *e = failed;
    return rc;
}

int reject_flush(struct ingest *in, struct err *e)
{
    struct err failed = ERR_INIT, one;
    struct part *p;
    int rc = bus_flush(in->rejects, FLUSH_MS, &failed);

    for (p = in->parts; p; p = p->link) {
        if (!p->unflushed)
            continue;
        p->unflushed = 0;
        one = failed;
        if (rc < 0 && again(in, p, &one) < 0) {
            *e = failed;
            return rc;
        }
    }
    return rc < 0;
}
