#include "cli/events.h"

#include <stdlib.h>
#include <string.h>

#include "platform/bus/bus.h"
#include "platform/clock/clock.h"

int events_open(struct events *v, struct client *c, enum topic_kind kind, bool from_start,
                struct err *e)
{
    int64_t low, high;
    int i, rc;

    memset(v, 0, sizeof *v);
    v->client = c;
    if ((rc = topic_of(&c->keys, kind, c->owner, v->topic, e)) < 0)
        return rc;
    rc = bus_partitions(c->ports.bus, v->topic, &v->partitions, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND,
                       "there is no topic %s: the operator runs `tripline owner create %s`",
                       v->topic, c->owner);
    if (rc < 0)
        return rc;
    if (!(v->next = calloc((size_t)v->partitions, sizeof *v->next)))
        return err_set(e, ERR_NOMEM, "topic %s", v->topic);
    for (i = 0; i < v->partitions; i++) {
        if ((rc = bus_watermarks(c->ports.bus, v->topic, i, &low, &high, e)) < 0)
            return rc;
        v->next[i] = from_start ? low : high;
    }
    return 0;
}

void events_release(struct events *v)
{
    free(v->next);
    memset(v, 0, sizeof *v);
}

static int look_at(struct events *v, int32_t partition, events_fn each, void *arg, struct err *e)
{
    struct bus *bus = v->client->ports.bus;
    struct bus_message *m;
    int rc;

    while ((rc = bus_read_at(bus, v->topic, partition, v->next[partition], &m, e)) == 1) {
        v->next[partition] = m->offset + 1;
        rc = each(arg, m, e);
        bus_read_free(bus, m);
        if (rc != 0 || clock_stopping(v->client->ports.clock))
            return rc;
    }
    return rc;
}

int events_look(struct events *v, events_fn each, void *arg, struct err *e)
{
    int i, rc = 0;

    for (i = 0; rc == 0 && i < v->partitions; i++)
        rc = look_at(v, i, each, arg, e);
    return rc;
}
