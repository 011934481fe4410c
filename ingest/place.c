#include "ingest/ingest_int.h"
#include "platform/base/failpoint.h"

#include <stdio.h>

enum { SHORT_AGAIN_MS = 1000 };

/* A hint only: without it the whole chain is listed. */
static int64_t committed(struct ingest *in, const struct part *p)
{
    struct err ignored = ERR_INIT;
    int64_t offset = -1;

    if (p->chain.known)
        return -1;
    if (bus_committed(in->consumer, p->topic, p->partition, &offset, &ignored) < 0)
        return -1;
    return offset;
}

static int begin(struct ingest *in, struct part *p, int64_t low, const char *reason, struct err *e)
{
    int rc = chain_begin(in, p, low, reason, e);

    if (rc < 0)
        return rc;
    p->chain.known = false;
    part_later(in, p, PART_FIND, 0);
    return 0;
}

/* The partition ends before its chain: a new topic, or a broker that does not know all yet. */
static int wait_short(struct ingest *in, struct part *p, int64_t low, int64_t high, struct err *e)
{
    int64_t now = clock_mono_ms(in->p.clock);
    char reason[160];

    if (p->state != PART_SHORT) {
        p->short_since_ms = now;
        log_event(LOG_WARN, "chain.ahead", "owner", p->owner, "dataset", p->dataset, "partition",
                  LOG_I(p->partition), "next", LOG_I(p->chain.next), "high", LOG_I(high), NULL);
    }
    if (now - p->short_since_ms < in->o.recreated_ms) {
        part_later(in, p, PART_SHORT, SHORT_AGAIN_MS);
        return 0;
    }
    snprintf(reason, sizeof reason,
             "topic re-created: it ends at offset %lld, the chain before at %lld", (long long)high,
             (long long)p->chain.next);
    return begin(in, p, low, reason, e);
}

int place_replaced(struct ingest *in, const struct part *p, struct err *e)
{
    const struct anchor *a = &p->chain.anchor;
    struct bus_message *m = NULL;
    int64_t low, high;
    int rc;

    if (!a->there || DEFECT("ingest.recreated-unseen"))
        return 0;
    if ((rc = bus_watermarks(in->p.bus, p->topic, p->partition, &low, &high, e)) < 0)
        return rc;
    if (a->offset < low)
        return 0;
    rc = bus_read_at(in->p.bus, p->topic, p->partition, a->offset, &m, e);
    if (rc <= 0)
        return rc;
    /* A record behind it means that this one was compacted away. */
    rc = m->offset == a->offset && !anchor_matches(a, m);
    bus_read_free(in->p.bus, m);
    return rc;
}

/* Offsets [next, low) are gone from Kafka before they were taken. */
static int note_missing(struct ingest *in, struct part *p, int64_t low, struct err *e)
{
    int rc;

    if ((rc = part_open(in, p, e)) < 0 ||
        (rc = DEFECT("ingest.missing-silent")
                  ? segment_writer_cover(p->open, low, e)
                  : segment_writer_missing(p->open, p->next, low, e)) < 0)
        return rc;
    log_event(LOG_WARN, "records.missing", "owner", p->owner, "dataset", p->dataset, "partition",
              LOG_I(p->partition), "first", LOG_I(p->next), "next", LOG_I(low), NULL);
    p->missing += low - p->next;
    p->next = low;
    part_account(in, p);
    return 0;
}

static int start(struct ingest *in, struct part *p, int64_t low, struct err *e)
{
    int rc;

    p->next = p->chain.next;
    p->missing = 0;
    if (low > p->next && (rc = note_missing(in, p, low, e)) < 0)
        return rc;
    if ((rc = part_read(in, p, e)) < 0)
        return rc;
    p->tries = 0;
    log_event(LOG_INFO, "partition.reading", "owner", p->owner, "dataset", p->dataset, "partition",
              LOG_I(p->partition), "incarnation", LOG_U(p->chain.incarnation), "next",
              LOG_I(p->next), NULL);
    return 0;
}

static int place(struct ingest *in, struct part *p, struct err *e)
{
    char reason[160];
    int64_t low, high, hint;
    int rc;

    hint = committed(in, p);
    if ((rc = chain_find(in, p, hint, e)) < 0)
        return rc;
    if (DEFECT("ingest.commits-first") && hint > p->chain.next)
        p->chain.next = hint;
    if ((rc = bus_watermarks(in->p.bus, p->topic, p->partition, &low, &high, e)) < 0)
        return rc;
    if (high < p->chain.next)
        return wait_short(in, p, low, high, e);
    if ((rc = place_replaced(in, p, e)) < 0)
        return rc;
    if (rc == 0)
        return start(in, p, low, e);
    snprintf(reason, sizeof reason,
             "topic re-created: another record at offset %lld, the last of the chain before",
             (long long)p->chain.anchor.offset);
    return begin(in, p, low, reason, e);
}

int place_part(struct ingest *in, struct part *p, struct err *e)
{
    enum part_state state = p->state;

    part_drop(in, p);
    if (place(in, p, e) == 0)
        return 0;
    return part_failed(in, p, state, "partition.find_failed", e);
}
