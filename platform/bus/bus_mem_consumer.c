#include "platform/bus/bus_mem_int.h"

#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"

static void consumer_destroy(struct mem_consumer *c)
{
    size_t i;

    mem_held_release(c);
    for (i = 0; i < c->compiled; i++)
        if (c->topics[i][0] == '^')
            regfree(&c->patterns[i]);
    for (i = 0; c->topics && i < c->topic_count; i++)
        free(c->topics[i]);
    free(c->topics);
    free(c->patterns);
    free(c->name);
    free(c);
}

static int subscribe(struct mem_consumer *c, const struct bus_consumer_options *o, struct err *e)
{
    size_t i;

    c->topic_count = o->topic_count;
    c->topics = calloc(o->topic_count + 1, sizeof *c->topics);
    c->patterns = calloc(o->topic_count + 1, sizeof *c->patterns);
    c->name = strdup(o->group);
    if (!c->topics || !c->patterns || !c->name)
        return err_set(e, ERR_NOMEM, "a consumer");
    for (i = 0; i < o->topic_count; i++) {
        if (!(c->topics[i] = strdup(o->topics[i])))
            return err_set(e, ERR_NOMEM, "a consumer");
        if (o->topics[i][0] == '^' &&
            regcomp(&c->patterns[i], o->topics[i], REG_EXTENDED | REG_NOSUB))
            return err_set(e, ERR_CONFIG, "'%s' is not a regular expression", o->topics[i]);
        c->compiled = i + 1;
    }
    return 0;
}

int mem_consumer_open(struct bus *b, const struct bus_consumer_options *o,
                      struct bus_consumer **out, struct err *e)
{
    struct mem_consumer *c = calloc(1, sizeof *c);
    int rc;

    if (!c)
        return err_set(e, ERR_NOMEM, "a consumer");
    c->base.bus = b;
    c->mem = (struct mem *)b;
    c->rebalance = o->rebalance;
    c->session_ms = o->session_timeout_ms ? o->session_timeout_ms : BUS_SESSION_MS;
    if ((rc = subscribe(c, o, e)) < 0)
        goto fail;
    mem_lock(c->mem);
    rc = mem_group_join(c->mem, o->group, c, e);
    mem_unlock(c->mem);
    if (rc < 0)
        goto fail;
    *out = &c->base;
    return 0;
fail:
    consumer_destroy(c);
    return rc;
}

void mem_consumer_free(struct bus_consumer *bc)
{
    struct mem_consumer *c = (struct mem_consumer *)bc;
    struct mem *m = c->mem;

    mem_lock(m);
    mem_group_leave(c);
    mem_unlock(m);
    consumer_destroy(c);
}

/* Without the lock: a callback may commit and seek. What is held does not change meanwhile. */
static void tell(struct mem_consumer *c, bool assigned, bool lost)
{
    struct bus_partition *list;
    size_t i, n = c->held_count;

    if (!n || (assigned ? !c->rebalance.assigned : !c->rebalance.revoked || !c->told))
        return;
    list = calloc(n, sizeof *list);
    if (!list)
        abort(); /* a member that is not told of its partitions breaks every promise */
    for (i = 0; i < n; i++)
        list[i] = (struct bus_partition){c->held[i].topic, c->held[i].partition};
    if (assigned)
        c->rebalance.assigned(c->rebalance.arg, list, n);
    else
        c->rebalance.revoked(c->rebalance.arg, list, n, lost);
    free(list);
}

/* Without callbacks: the committed offset, else the earliest. */
static void place(struct mem_consumer *c)
{
    const struct mem_offset *o;
    struct mem_part *p;
    struct err ignored;
    size_t i;

    for (i = 0; i < c->held_count && !c->rebalance.assigned; i++) {
        struct mem_held *h = &c->held[i];

        o = mem_offset_find(c->mem->committed, c->name, h->topic, h->partition);
        if (o)
            h->position = o->offset;
        else if (mem_part_find(c->mem, h->topic, h->partition, &p, &ignored) == 0)
            h->position = p->low;
    }
}

/* Brings the member in step with its group. With the lock held, which the callbacks release. */
static int settle(struct mem_consumer *c, struct err *e)
{
    struct mem *m = c->mem;
    int rc;

    c->seen_ms = clock_mono_ms(m->clock);
    if (!c->group) {
        mem_unlock(m);
        tell(c, false, true);
        mem_lock(m);
        mem_held_release(c);
        if ((rc = mem_group_join(m, c->name, c, e)) < 0)
            return rc;
    }
    mem_group_tick(m, c->group);
    if (c->group->balancing && !c->revoked) {
        mem_unlock(m);
        tell(c, false, false);
        mem_lock(m);
        mem_held_release(c);
        c->revoked = true;
        c->seen_ms = clock_mono_ms(m->clock);
    }
    if (!c->group)
        return 0; /* expelled meanwhile: the next turn joins again */
    if (c->group->balancing && (rc = mem_group_deal(m, c->group, e)) < 0)
        return rc;
    if (!c->group->balancing && c->generation != c->group->generation) {
        c->generation = c->group->generation;
        c->told = true;
        place(c);
        mem_unlock(m);
        tell(c, true, false);
        mem_lock(m);
        c->seen_ms = clock_mono_ms(m->clock);
    }
    return 0;
}

static struct mem_held *held_find(struct mem_consumer *c, const char *topic, int32_t partition)
{
    size_t i;

    for (i = 0; i < c->held_count; i++)
        if (c->held[i].partition == partition && !strcmp(c->held[i].topic, topic))
            return &c->held[i];
    return NULL;
}

static int misplaced(struct mem_consumer *c, struct mem_held *h, const struct mem_part *p,
                     struct err *e)
{
    int64_t position = h->position;

    if (!c->rebalance.assigned) {
        h->position = p->low;
        return 0;
    }
    h->position = -1;
    c->base.failed = (struct bus_partition){h->topic, h->partition};
    c->base.failed_offset = position;
    return err_set(e, ERR_NOT_FOUND, BUS_AT ": offset %lld is not there (%lld to %lld are)",
                   h->topic, (int)h->partition, (long long)position, (long long)p->low,
                   (long long)mem_high(p));
}

/* One message of any held partition, in turns. With the lock held. */
static int take(struct mem_consumer *c, struct bus_message **out, struct err *e)
{
    const struct bus_message *found;
    struct mem_held *h;
    struct mem_part *p;
    size_t i;
    int rc;

    for (i = 0; i < c->held_count; i++) {
        h = &c->held[(c->turn + i) % c->held_count];
        if (h->position < 0 || h->paused ||
            mem_part_find(c->mem, h->topic, h->partition, &p, e) < 0)
            continue;
        if ((h->position < p->low || h->position > mem_high(p)) && (rc = misplaced(c, h, p, e)) < 0)
            return rc;
        if (!(found = mem_read(p, h->position)))
            continue;
        if (!(*out = bus_message_copy(found)))
            return err_set(e, ERR_NOMEM, "a message of " BUS_AT, h->topic, (int)h->partition);
        h->position = found->offset + 1;
        c->turn = (c->turn + i + 1) % c->held_count;
        return 1;
    }
    return 0;
}

int mem_poll(struct bus_consumer *bc, int timeout_ms, struct bus_message **out, struct err *e)
{
    struct mem_consumer *c = (struct mem_consumer *)bc;
    int64_t until = clock_mono_ms(c->mem->clock) + timeout_ms;
    int64_t step = 0;
    int rc;

    *out = NULL;
    c->base.failed.topic = NULL;
    for (;;) {
        mem_lock(c->mem);
        mem_expire_transactions(c->mem);
        rc = settle(c, e);
        if (rc == 0 && c->group && c->generation == c->group->generation && !c->revoked)
            rc = take(c, out, e);
        mem_unlock(c->mem);
        if (rc != 0 || clock_mono_ms(c->mem->clock) >= until)
            return rc;
        mem_wait(c->mem, &step, until);
    }
}

void mem_message_free(struct bus_consumer *c, struct bus_message *m)
{
    (void)c;
    free(m);
}

static int not_held(const char *topic, int32_t partition, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, BUS_AT " is not assigned to this consumer", topic,
                   (int)partition);
}

int mem_seek(struct bus_consumer *bc, const char *topic, int32_t partition, int64_t offset,
             struct err *e)
{
    struct mem_consumer *c = (struct mem_consumer *)bc;
    struct mem_held *h;
    int rc = 0;

    if (offset < 0)
        return err_set(e, ERR_USAGE, BUS_AT ": no offset %lld", topic, (int)partition,
                       (long long)offset);
    mem_lock(c->mem);
    if (!(h = held_find(c, topic, partition)))
        rc = not_held(topic, partition, e);
    else
        h->position = offset;
    mem_unlock(c->mem);
    return rc;
}

int mem_pause(struct bus_consumer *bc, const char *topic, int32_t partition, bool paused,
              struct err *e)
{
    struct mem_consumer *c = (struct mem_consumer *)bc;
    struct mem_held *h;
    int rc = 0;

    mem_lock(c->mem);
    if (!(h = held_find(c, topic, partition)))
        rc = not_held(topic, partition, e);
    else
        h->paused = paused;
    mem_unlock(c->mem);
    return rc;
}

int mem_committed(struct bus_consumer *bc, const char *topic, int32_t partition, int64_t *offset,
                  struct err *e)
{
    struct mem_consumer *c = (struct mem_consumer *)bc;
    int64_t until = clock_mono_ms(c->mem->clock) + BUS_STABLE_MS;
    const struct mem_offset *o;
    struct mem_part *p;
    int64_t step = 0;
    bool open;
    int rc;

    for (;;) {
        mem_lock(c->mem);
        c->seen_ms = clock_mono_ms(c->mem->clock);
        mem_expire_transactions(c->mem);
        rc = mem_part_find(c->mem, topic, partition, &p, e);
        open = mem_offset_pending(c->mem, c->name, topic, partition);
        o = mem_offset_find(c->mem->committed, c->name, topic, partition);
        *offset = o ? o->offset : -1;
        mem_unlock(c->mem);
        if (rc < 0 || !open)
            return rc;
        if (clock_mono_ms(c->mem->clock) >= until)
            return err_set(e, ERR_TIMEOUT, "a transaction on the offset of " BUS_AT " stays open",
                           topic, (int)partition);
        mem_wait(c->mem, &step, until);
    }
}

int mem_commit(struct bus_consumer *bc, const char *topic, int32_t partition, int64_t offset,
               struct err *e)
{
    struct mem_consumer *c = (struct mem_consumer *)bc;
    struct mem_part *p;
    int rc;

    mem_lock(c->mem);
    c->seen_ms = clock_mono_ms(c->mem->clock);
    rc = mem_part_find(c->mem, topic, partition, &p, e);
    if (rc == 0 && !c->group)
        rc = err_set(e, ERR_FENCED,
                     "group %s expelled this consumer: its offset of " BUS_AT " is not taken",
                     c->name, topic, (int)partition);
    if (rc == 0)
        rc = mem_offset_set(&c->mem->committed, c->name, topic, partition, offset, e);
    mem_unlock(c->mem);
    return rc;
}
