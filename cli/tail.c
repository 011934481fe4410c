#include "cli/tail.h"

#include <stdint.h>
#include <stdio.h>

#include "platform/clock/clock.h"

enum { POLL_MS = 1000, QUIET_POLLS = 60 };

int tail_open(struct tail *t, struct client *c, const char *topic, struct err *e)
{
    int rc, p;

    *t = (struct tail){.client = c, .topic = topic};
    if ((rc = bus_partitions(c->ports.bus, topic, &t->partitions, e)) < 0)
        return rc;
    if (t->partitions > TAIL_PARTITIONS_MAX)
        return err_set(e, ERR_LIMIT, "%s: more than %d partitions", topic, TAIL_PARTITIONS_MAX);
    for (p = 0; rc == 0 && p < t->partitions; p++)
        rc = tail_want(t, p, INT64_MAX, e);
    return rc;
}

int tail_want(struct tail *t, int32_t partition, int64_t from, struct err *e)
{
    int64_t low, high;
    int rc = bus_watermarks(t->client->ports.bus, t->topic, partition, &low, &high, e);

    if (rc < 0)
        return rc;
    t->end[partition] = high;
    t->next[partition] = from < low ? low : from < high ? from : high;
    return 0;
}

static void assigned(void *arg, const struct bus_partition *list, size_t n)
{
    struct tail *t = arg;
    size_t i;

    for (i = 0; i < n && t->failed == 0; i++)
        if (list[i].partition < t->partitions)
            t->failed = bus_seek(t->consumer, list[i].topic, list[i].partition,
                                 t->next[list[i].partition], &t->failure);
}

static void revoked(void *arg, const struct bus_partition *list, size_t n, bool lost)
{
    (void)arg, (void)list, (void)n, (void)lost; /* positions are ours: the next assignment seeks */
}

static bool at_end(const struct tail *t)
{
    int p;

    for (p = 0; p < t->partitions && t->next[p] >= t->end[p]; p++)
        ;
    return p == t->partitions;
}

/* 1: some partition has a record that was not read. What has none (the markers of transactions are
 * no records) is at its end. */
static int more(struct tail *t, struct err *e)
{
    struct bus *bus = t->client->ports.bus;
    struct bus_message *m;
    int rc, p;

    for (p = 0; p < t->partitions; p++) {
        if (t->next[p] >= t->end[p])
            continue;
        if ((rc = bus_read_at(bus, t->topic, p, t->next[p], &m, e)) < 0)
            return rc;
        if (rc == 1) {
            bus_read_free(bus, m);
            return 1;
        }
        t->next[p] = t->end[p];
    }
    return 0;
}

static int take(struct tail *t, struct bus_message *m, tail_fn each, void *arg, struct err *e)
{
    int32_t p = m->partition;
    int rc = 0;

    if (p < t->partitions && m->offset >= t->next[p] && m->offset < t->end[p])
        rc = each(arg, m, e);
    if (p < t->partitions && m->offset >= t->next[p])
        t->next[p] = m->offset + 1;
    bus_message_free(t->consumer, m);
    return rc;
}

static int read_on(struct tail *t, tail_fn each, void *arg, struct err *e)
{
    struct clock *clock = t->client->ports.clock;
    struct bus_message *m;
    int rc, quiet = 0;

    while (quiet < QUIET_POLLS && !at_end(t)) {
        if (clock_stopping(clock))
            return err_set(e, ERR_CANCELLED, "interrupted while %s was read", t->topic);
        if ((rc = bus_poll(t->consumer, POLL_MS, &m, e)) < 0)
            return rc;
        if (t->failed) {
            *e = t->failure;
            return t->failed;
        }
        quiet = rc == 1 ? 0 : quiet + 1;
        rc = rc == 1 ? take(t, m, each, arg, e) : more(t, e);
        if (rc < 0)
            return rc;
    }
    return at_end(t) ? 0 : err_set(e, ERR_PEER, "%s could not be read to its end", t->topic);
}

int tail_read(struct tail *t, tail_fn each, void *arg, struct err *e)
{
    char nonce[33], group[KEY_MAX];
    const struct bus_consumer_options o = {
        .group = group, .topics = &t->topic, .topic_count = 1, .rebalance = {assigned, revoked, t}};
    int rc = more(t, e);

    if (rc <= 0)
        return rc;
    clock_nonce(t->client->ports.clock, nonce);
    snprintf(group, sizeof group, "%s.tail-%.8s", t->client->owner, nonce);
    if ((rc = bus_consumer_open(t->client->ports.bus, &o, &t->consumer, e)) == 0)
        rc = read_on(t, each, arg, e);
    bus_consumer_free(t->consumer);
    t->consumer = NULL;
    return rc;
}
