#include "ingest/ingest_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKOFF_BASE_MS = 200, BACKOFF_CAP_MS = 15000, TURN_MS = 2000 };

struct part *part_find(struct ingest *in, const char *topic, int32_t partition)
{
    struct part *p = in->hit;

    if (p && p->partition == partition && !strcmp(p->topic, topic))
        return p;
    for (p = in->parts; p; p = p->link)
        if (p->partition == partition && !strcmp(p->topic, topic))
            break;
    in->hit = p;
    return p;
}

int part_get(struct ingest *in, const char *topic, int32_t partition, struct part **out,
             struct err *e)
{
    struct part *p = part_find(in, topic, partition);

    *out = p;
    if (p)
        return 0;
    p = calloc(1, sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "partition %d of %s", (int)partition, topic);
    if (strlen(topic) >= sizeof p->topic ||
        !topic_docs_parse(&in->keys, topic, p->owner, p->dataset)) {
        free(p);
        return err_set(e, ERR_FORMAT, "topic %s is not <prefix>.docs.<owner>.<dataset>", topic);
    }
    snprintf(p->topic, sizeof p->topic, "%s", topic);
    p->partition = partition;
    buf_init(&p->body, SEGMENT_BYTES_MAX);
    p->link = in->parts;
    in->parts = p;
    *out = p;
    return 0;
}

void part_account(struct ingest *in, struct part *p)
{
    struct segment_size size = {0};

    if (p->open)
        segment_writer_size(p->open, &size);
    in->bytes -= p->bytes;
    p->bytes = size.bytes + p->body.cap + (p->last ? p->last->key_len + p->last->value_len : 0);
    in->bytes += p->bytes;
}

void part_keep(struct ingest *in, struct part *p, struct bus_message *m)
{
    if (!m)
        p->begin.there = false;
    else if (!p->last)
        anchor_of(&p->begin, m);
    if (p->last)
        bus_message_free(in->consumer, p->last);
    p->last = m;
}

void part_drop(struct ingest *in, struct part *p)
{
    segment_writer_free(p->open);
    p->open = NULL;
    part_keep(in, p, NULL);
    buf_release(&p->body);
    buf_init(&p->body, SEGMENT_BYTES_MAX);
    p->unflushed = 0;
    part_account(in, p);
}

void part_free(struct ingest *in, struct part *p)
{
    measure_taken(in, p);
    part_drop(in, p);
    buf_release(&p->body);
    free(p);
}

void part_name(const struct part *p, int64_t first, struct segment_name *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->owner, sizeof out->owner, "%s", p->owner);
    snprintf(out->dataset, sizeof out->dataset, "%s", p->dataset);
    out->incarnation = p->chain.incarnation;
    out->partition = p->partition;
    out->first = first;
}

int part_open(struct ingest *in, struct part *p, struct err *e)
{
    struct segment_name name;
    char nonce[33];
    int rc;

    if (p->open)
        return 0;
    part_name(p, p->chain.next, &name);
    clock_nonce(in->p.clock, nonce);
    rc = segment_writer_new(&p->open, &name, nonce, clock_wall_ms(in->p.clock), e);
    if (rc < 0)
        return rc;
    segment_writer_level(p->open, (int)in->o.zstd_level);
    p->opened_ms = clock_mono_ms(in->p.clock);
    p->cut_ms = p->opened_ms + in->o.segment_age_ms;
    return 0;
}

int part_read(struct ingest *in, struct part *p, struct err *e)
{
    int rc = bus_seek(in->consumer, p->topic, p->partition, p->next, e);

    if (rc < 0)
        return rc;
    if (p->paused && (rc = bus_pause(in->consumer, p->topic, p->partition, false, e)) < 0)
        return rc;
    p->paused = false;
    p->behind = false;
    p->state = PART_READ;
    p->heard_ms = clock_mono_ms(in->p.clock);
    return 0;
}

/* That the bus does not know the partition (any more) is no harm: then it delivers nothing. */
void part_pause(struct ingest *in, struct part *p)
{
    struct err ignored = ERR_INIT;

    if (!p->paused)
        (void)bus_pause(in->consumer, p->topic, p->partition, true, &ignored);
    p->paused = true;
}

void part_later(struct ingest *in, struct part *p, enum part_state state, int64_t ms)
{
    part_pause(in, p);
    p->state = state;
    p->due_ms = clock_mono_ms(in->p.clock) + ms;
    p->behind = true;
    if (p->due_ms < in->tick_ms)
        in->tick_ms = p->due_ms;
}

int part_failed(struct ingest *in, struct part *p, enum part_state state, const char *event,
                struct err *e)
{
    int64_t wait;

    if (err_class(e->code) == ERR_CLASS_STOP)
        return e->code;
    wait = clock_backoff_ms(in->p.clock, p->tries++, BACKOFF_BASE_MS, BACKOFF_CAP_MS);
    log_error(event, e, "owner", p->owner, "dataset", p->dataset, "partition", LOG_I(p->partition),
              "again_ms", LOG_I(wait), NULL);
    metric_add(in->m.errors, 1, event, NULL);
    part_later(in, p, state, wait);
    return 0;
}

static int hold_on(struct ingest *in, struct part *p, struct err *e)
{
    int rc = part_read(in, p, e);

    return rc < 0 ? part_failed(in, p, PART_FIND, "partition.seek_failed", e) : 0;
}

static int part_due(struct ingest *in, struct part *p, int64_t now, struct err *e)
{
    switch (p->state) {
    case PART_FIND:
    case PART_SHORT:
        return p->due_ms <= now ? place_part(in, p, e) : 0;
    case PART_HOLD:
        return p->due_ms <= now ? hold_on(in, p, e) : 0;
    case PART_PUT:
        return p->due_ms <= now ? commit_put(in, p, e) : 0;
    case PART_READ:
        if (p->behind)
            return hold_on(in, p, e);
        return p->open && p->cut_ms <= now ? commit_cut(in, p, true, e) : 0;
    case PART_GONE:
        break;
    }
    return 0;
}

int part_tick(struct ingest *in, struct err *e)
{
    int64_t began = clock_mono_ms(in->p.clock), now = began;
    struct part *p;
    int rc;

    if (now < in->tick_ms)
        return 0;
    in->tick_ms = now + 20;
    for (p = in->parts; p; p = p->link) {
        measure_taken(in, p);
        if ((rc = part_due(in, p, now, e)) < 0)
            return rc;
        now = clock_mono_ms(in->p.clock);
        if (now - began > TURN_MS)
            break; /* the group waits for a poll */
    }
    metric_set(in->m.memory, (double)in->bytes, NULL);
    return 0;
}

static struct part *largest_open(struct ingest *in)
{
    struct part *p, *found = NULL;

    for (p = in->parts; p; p = p->link)
        if (p->state == PART_READ && p->open && (!found || p->bytes > found->bytes))
            found = p;
    return found;
}

int part_make_room(struct ingest *in, struct err *e)
{
    struct part *p;
    int rc;

    while (in->bytes > (size_t)in->o.memory_bytes && (p = largest_open(in)))
        if ((rc = commit_cut(in, p, false, e)) < 0)
            return rc;
    return 0;
}
