#include "ingest/ingest_int.h"

#include "platform/base/failpoint.h"

enum { STORE_BASE_MS = 250, STORE_CAP_MS = 15000 };

/* Offsets from next to *high hold no record, now and for ever: *high was asked for first, and it
 * is the last stable offset. 1: so; 0: not; < 0. */
static int quiet_end(struct ingest *in, const struct part *p, int64_t *high, struct err *e)
{
    struct bus_message *m = NULL;
    int64_t low;
    int rc;

    if ((rc = bus_watermarks(in->p.bus, p->topic, p->partition, &low, high, e)) < 0)
        return rc;
    if (*high <= p->next || low > p->next)
        return 0;
    rc = bus_read_at(in->p.bus, p->topic, p->partition, p->next, &m, e);
    if (rc > 0)
        bus_read_free(in->p.bus, m);
    return rc < 0 ? rc : rc == 0;
}

int commit_cover(struct ingest *in, struct part *p, struct err *e)
{
    int rc = part_open(in, p, e);

    return rc < 0 ? rc : commit_cut(in, p, true, e);
}

static void take_last(struct ingest *in, struct part *p)
{
    const struct bus_message *m = p->last;

    p->anchor.there = m != NULL;
    if (!m)
        return;
    anchor_of(&p->anchor, m);
    part_keep(in, p, NULL);
}

static int finish(struct ingest *in, struct part *p, struct err *e)
{
    char hash[SHA256_HEX];
    int rc;

    segment_writer_size(p->open, &p->size);
    rc = segment_writer_finish(p->open, &p->body, hash, e);
    segment_writer_free(p->open);
    p->open = NULL;
    if (rc < 0)
        return rc;
    take_last(in, p);
    p->state = PART_PUT;
    p->due_ms = 0;
    p->last_cut_ms = clock_mono_ms(in->p.clock);
    part_account(in, p);
    return 0;
}

/*
 * A topic that is re-created while it is read may go on at the same offset. Then the open segment
 * may mix two topics' records, or call offsets empty that are not: it is dropped, and the new topic
 * read from its begin. The old one's last records are gone with it. So they are if it is shorter
 * now than what was read, or deleted: what was read may be of more than one before it.
 */
static void drop_mixed(struct ingest *in, struct part *p)
{
    log_event(LOG_WARN, "segment.dropped", "owner", p->owner, "dataset", p->dataset, "partition",
              LOG_I(p->partition), "next", LOG_I(p->next), "why", "the topic was re-created", NULL);
    part_drop(in, p);
    part_later(in, p, PART_FIND, 0);
}

/* 1: the segment up to `upto` may be created; 0: dropped; < 0. */
static int confirm(struct ingest *in, struct part *p, int64_t upto, struct anchor *inside,
                   struct err *e)
{
    struct topic_look look;

    if (DEFECT("ingest.not-compared-at-cut"))
        return 1;
    if (place_compare(in, p, upto, &look, e) < 0) { /* not known: it is read again */
        part_drop(in, p);
        return part_failed(in, p, PART_FIND, "segment.unsure", e);
    }
    *inside = look.inside;
    if (look.is == TOPIC_SAME || look.is == TOPIC_UNPROVEN)
        return 1;
    drop_mixed(in, p);
    return 0;
}

/* 1: the finished segment has that record, if it is one; 0: dropped; < 0. */
static int confirm_inside(struct ingest *in, struct part *p, const struct anchor *inside,
                          struct err *e)
{
    struct anchor found;
    int rc;

    if (!inside->there)
        return 1;
    if ((rc = chain_finished_record(p, inside->offset, &found, e)) < 0)
        return rc;
    if (rc > 0 && anchor_equals(&found, inside))
        return 1;
    drop_mixed(in, p);
    return 0;
}

/* Transaction markers at the end are covered too, else a reader would wait for them. 1: the open
 * segment can be created; 0: it was dropped; < 0. */
static int complete(struct ingest *in, struct part *p, bool idle, struct anchor *inside,
                    struct err *e)
{
    struct err ignored = ERR_INIT; /* measure_watch asks again for a quiet end */
    struct segment_size size;
    int64_t high, upto = p->next;
    int rc;

    if (idle && quiet_end(in, p, &high, &ignored) > 0)
        upto = high;
    segment_writer_size(p->open, &size);
    if (upto == size.first) {
        part_drop(in, p);
        return 0;
    }
    if ((rc = confirm(in, p, upto, inside, e)) <= 0)
        return rc;
    if (upto > p->next && (rc = segment_writer_cover(p->open, upto, e)) < 0)
        return rc;
    p->next = upto;
    return 1;
}

int commit_cut(struct ingest *in, struct part *p, bool idle, struct err *e)
{
    struct anchor inside = {0};
    int rc;

    if (!p->open)
        return 0;
    if ((rc = complete(in, p, idle, &inside, e)) <= 0)
        return rc;
    if (p->unflushed && !DEFECT("ingest.copies-later") && (rc = reject_flush(in, e)) != 0)
        return rc < 0 ? rc : 0;
    FAILPOINT("ingest.flushed");
    if ((rc = finish(in, p, e)) < 0)
        return err_wrap(e, "%s/%d", p->topic, (int)p->partition);
    rc = confirm_inside(in, p, &inside, e);
    return rc <= 0 ? rc : commit_put(in, p, e);
}

/* For lag monitors and as a hint: that it fails is no harm. */
static int commit_offset(struct ingest *in, struct part *p, struct err *e)
{
    int rc = bus_commit(in->consumer, p->topic, p->partition, p->chain.next, e);

    if (rc == 0)
        return 0;
    if (err_class(rc) == ERR_CLASS_STOP)
        return rc;
    log_error("offset.not_committed", e, "owner", p->owner, "dataset", p->dataset, "partition",
              LOG_I(p->partition), NULL);
    return 0;
}

static int created(struct ingest *in, struct part *p, const char *key, struct err *e)
{
    int rc;

    FAILPOINT("ingest.created");
    log_event(LOG_INFO, "segment.created", "owner", p->owner, "dataset", p->dataset, "key", key,
              "first", LOG_I(p->size.first), "next", LOG_I(p->size.next), "records",
              LOG_U(p->size.records), "bytes", LOG_U(p->body.len), "missing", LOG_I(p->missing),
              NULL);
    metric_add(in->m.segments, 1, p->owner, p->dataset, NULL);
    metric_add(in->m.bytes, (double)p->body.len, p->owner, p->dataset, NULL);
    if (p->missing)
        metric_add(in->m.missing, (double)p->missing, p->owner, p->dataset, NULL);
    p->missing = 0;
    p->chain.next = p->size.next;
    if (p->anchor.there)
        p->chain.anchor = p->anchor;
    p->tries = in->store_tries = 0;
    p->careful = false;
    part_drop(in, p);
    p->state = PART_READ;
    if ((rc = commit_offset(in, p, e)) < 0)
        return rc;
    FAILPOINT("ingest.committed");
    if ((p->paused || p->behind) && (rc = part_read(in, p, e)) < 0)
        return part_failed(in, p, PART_FIND, "partition.seek_failed", e);
    return 0;
}

/* Another ingester wrote this successor: what it covers is its; go on behind it. It may have closed
 * the chain, for it saw a record of a new topic: these records are of the next incarnation then. */
static int lost(struct ingest *in, struct part *p, const char *key)
{
    metric_add(in->m.lost, 1, p->owner, p->dataset, NULL);
    log_event(LOG_WARN, "segment.lost", "owner", p->owner, "dataset", p->dataset, "key", key,
              "first", LOG_I(p->size.first), "next", LOG_I(p->size.next), NULL);
    part_drop(in, p);
    part_later(in, p, PART_FIND, 0);
    return 0;
}

static int create(struct ingest *in, struct part *p, const char *key, struct err *e)
{
    if (DEFECT("ingest.overwrites"))
        return blob_put(in->p.blob, key, p->body.data, p->body.len, e);
    return blob_create(in->p.blob, key, p->body.data, p->body.len, e);
}

int commit_put(struct ingest *in, struct part *p, struct err *e)
{
    int64_t began = clock_mono_ms(in->p.clock);
    struct segment_name name;
    char key[KEY_MAX];
    int rc;

    if (began < in->store_ms) { /* one that waits is enough to find out that the store is back */
        part_later(in, p, PART_PUT, in->store_ms - began);
        return 0;
    }
    part_name(p, p->size.first, &name);
    if ((rc = key_segment(&name, key, e)) < 0)
        return rc;
    FAILPOINT("ingest.finished");
    if (DEFECT("ingest.commits-first"))
        (void)bus_commit(in->consumer, p->topic, p->partition, p->size.next, e);
    rc = create(in, p, key, e);
    metric_observe(in->m.create_s, (double)(clock_mono_ms(in->p.clock) - began) / 1000, NULL);
    if (rc == 0 || (DEFECT("ingest.lost-is-won") && rc == ERR_EXISTS))
        return created(in, p, key, e);
    if (rc == ERR_EXISTS)
        return lost(in, p, key);
    (void)err_wrap(e, "%s", key);
    if ((rc = part_failed(in, p, PART_PUT, "segment.create_failed", e)) == 0)
        in->store_ms = clock_mono_ms(in->p.clock) + clock_backoff_ms(in->p.clock, in->store_tries++,
                                                                     STORE_BASE_MS, STORE_CAP_MS);
    return rc;
}
