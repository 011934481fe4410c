#include "platform/bus/bus_mem_int.h"

#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"

void mem_held_release(struct mem_consumer *c)
{
    size_t i;

    for (i = 0; i < c->held_count; i++)
        free(c->held[i].topic);
    free(c->held);
    c->held = NULL;
    c->held_count = 0;
    c->told = false;
}

bool mem_subscribed(const struct mem_consumer *c, const char *topic)
{
    size_t i;

    for (i = 0; i < c->topic_count; i++)
        if (c->topics[i][0] == '^' ? !regexec(&c->patterns[i], topic, 0, NULL, 0)
                                   : !strcmp(c->topics[i], topic))
            return true;
    return false;
}

static struct mem_group *group_get(struct mem *m, const char *name)
{
    struct mem_group *g;

    for (g = m->groups; g; g = g->next)
        if (!strcmp(g->name, name))
            return g;
    g = calloc(1, sizeof *g);
    if (!g || !(g->name = strdup(name))) {
        free(g);
        return NULL;
    }
    g->next = m->groups;
    m->groups = g;
    return g;
}

int mem_group_join(struct mem *m, const char *name, struct mem_consumer *c, struct err *e)
{
    struct mem_group *g = group_get(m, name);
    struct mem_consumer **at;

    if (!g)
        return err_set(e, ERR_NOMEM, "group %s", name);
    for (at = &g->members; *at; at = &(*at)->next)
        ;
    *at = c;
    c->next = NULL;
    c->group = g;
    c->generation = 0;
    c->revoked = true; /* it holds nothing */
    c->seen_ms = clock_mono_ms(m->clock);
    g->balancing = true;
    m->changes++;
    return 0;
}

void mem_group_leave(struct mem_consumer *c)
{
    struct mem_group *g = c->group;
    struct mem_consumer **at;

    if (!g)
        return;
    for (at = &g->members; *at && *at != c; at = &(*at)->next)
        ;
    if (*at)
        *at = c->next;
    c->group = NULL;
    g->balancing = true;
    c->mem->changes++;
}

static bool wanted(const struct mem_group *g, const char *topic)
{
    const struct mem_consumer *c;

    for (c = g->members; c; c = c->next)
        if (mem_subscribed(c, topic))
            return true;
    return false;
}

void mem_group_tick(struct mem *m, struct mem_group *g)
{
    struct mem_consumer *c, *next;
    const struct mem_topic *t;
    int64_t now = clock_mono_ms(m->clock);
    size_t parts = 0;

    for (c = g->members; c; c = next) {
        next = c->next;
        if (now - c->seen_ms > c->session_ms)
            mem_group_leave(c);
    }
    if (g->counted == m->changes)
        return;
    g->counted = m->changes;
    for (t = m->topics; t; t = t->next)
        if (wanted(g, t->name))
            parts += (size_t)t->part_count;
    if (parts != g->dealt)
        g->balancing = true;
}

static int hold(struct mem_consumer *c, const char *topic, int32_t partition, struct err *e)
{
    struct mem_held *more = realloc(c->held, (c->held_count + 1) * sizeof *more);

    if (!more)
        return err_set(e, ERR_NOMEM, "an assignment");
    c->held = more;
    more[c->held_count] = (struct mem_held){strdup(topic), partition, -1, false};
    if (!more[c->held_count].topic)
        return err_set(e, ERR_NOMEM, "an assignment");
    c->held_count++;
    return 0;
}

/* Kafka's range assignor: neighbouring partitions of each topic, the first members get one more. */
static int deal_topic(struct mem_group *g, const struct mem_topic *t, struct err *e)
{
    struct mem_consumer *c;
    int members = 0, at = 0, next = 0, take, rc;

    for (c = g->members; c; c = c->next)
        members += mem_subscribed(c, t->name);
    for (c = g->members; c; c = c->next) {
        if (!mem_subscribed(c, t->name))
            continue;
        take = t->part_count / members + (at < t->part_count % members);
        for (at++; take > 0; take--)
            if ((rc = hold(c, t->name, next++, e)) < 0)
                return rc;
    }
    g->dealt += (size_t)next;
    return 0;
}

int mem_group_deal(struct mem *m, struct mem_group *g, struct err *e)
{
    struct mem_consumer *c;
    const struct mem_topic *t;
    int rc;

    for (c = g->members; c; c = c->next)
        if (!c->revoked)
            return 0;
    for (c = g->members; c; c = c->next)
        mem_held_release(c);
    g->dealt = 0;
    for (t = m->topics; t; t = t->next)
        if ((rc = deal_topic(g, t, e)) < 0)
            return rc;
    for (c = g->members; c; c = c->next)
        c->revoked = false;
    g->generation++;
    g->balancing = false;
    return 0;
}
