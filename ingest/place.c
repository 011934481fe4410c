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

/* In the incarnation behind a closed chain: who closed it may have died before this. */
static int go_on(struct ingest *in, struct part *p, const char *reason, struct err *e)
{
    int rc = chain_begin(in, p, reason, e);

    if (rc == 0)
        part_later(in, p, PART_FIND, 0);
    return rc;
}

/*
 * The topic is a new one: first the chain is closed. If another appended to it meanwhile, this look
 * is too old: what stands there now may be of the new topic. It is looked at again.
 */
static int begin(struct ingest *in, struct part *p, const char *reason, struct err *e)
{
    int rc = chain_close(in, p, reason, e);

    if (rc == 0)
        return go_on(in, p, reason, e);
    if (rc != ERR_EXISTS)
        return rc;
    part_later(in, p, PART_FIND, 0);
    return 0;
}

/* The partition ended before its chain at `asked_ms`: a new topic, or a broker that does not know
 * all yet. */
static int wait_short(struct ingest *in, struct part *p, int64_t asked_ms, int64_t high,
                      struct err *e)
{
    char reason[160];

    if (p->state != PART_SHORT) {
        p->short_since_ms = asked_ms;
        log_event(LOG_WARN, "chain.ahead", "owner", p->owner, "dataset", p->dataset, "partition",
                  LOG_I(p->partition), "next", LOG_I(p->chain.next), "high", LOG_I(high), NULL);
    }
    if (asked_ms - p->short_since_ms < in->o.recreated_ms) {
        part_later(in, p, PART_SHORT, SHORT_AGAIN_MS);
        return 0;
    }
    snprintf(reason, sizeof reason,
             "topic re-created: it ends at offset %lld, the chain before at %lld", (long long)high,
             (long long)p->chain.next);
    return begin(in, p, reason, e);
}

/*
 * Is it the same topic? librdkafka gives no topic ids before 2.3, so records tell. An offset that
 * was read, or that was seen to hold none, never gets another record: a record in Kafka that the
 * chain has not, or has otherwise, proves a new topic. One that both have proves the old one at the
 * moment of that read, and since a topic that is gone never comes back, all that was learnt before
 * is of it too. What is learnt from Kafka must therefore be compared after, and before S3 is told:
 * a topic that is re-created between the comparison and the create does not spoil the segment.
 *
 * The chain's last record is looked for first: one read. It may be gone (compaction, retention) or
 * be a transaction's marker in the new topic; then Kafka's oldest record is looked up in the chain.
 * If that lies behind the chain's end, the topic holds nothing that the chain left out, and it is
 * looked up in the open segment.
 */

/* The first record at or after `offset`: 1, 0, < 0. ERR_NOT_FOUND: no such topic. */
static int read_at(struct ingest *in, const struct part *p, int64_t offset, struct bus_message **m,
                   struct err *e)
{
    struct err why = ERR_INIT;
    int64_t low, high;
    int rc = bus_read_at(in->p.bus, p->topic, p->partition, offset, m, &why);

    if (rc < 0 && rc != ERR_NOT_FOUND)
        *e = why;
    if (rc != ERR_NOT_FOUND)
        return rc;
    if ((rc = bus_watermarks(in->p.bus, p->topic, p->partition, &low, &high, e)) < 0)
        return rc;
    return err_set(e, ERR_PEER, "%s/%d changed while it was read: %s", p->topic, (int)p->partition,
                   why.text);
}

/* A record below the chain's end. */
static int compare_chain(struct ingest *in, struct part *p, const struct bus_message *m,
                         struct topic_look *look, struct err *e)
{
    struct err why = ERR_INIT;
    struct anchor found;
    int rc = chain_record(in, p, m->offset, &found, &why);

    look->offset = m->offset;
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc < 0) {
        *e = why;
        return rc;
    }
    look->is = rc > 0 && anchor_matches(&found, m) ? TOPIC_SAME : TOPIC_NEW;
    if (look->is == TOPIC_SAME)
        p->chain.anchor = found; /* the next comparison is one read again */
    return 0;
}

/* The oldest record in Kafka lies behind the chain. */
static void compare_open(const struct part *p, const struct bus_message *m, int64_t upto,
                         struct topic_look *look)
{
    const struct anchor *begin = &p->begin;

    look->offset = m->offset;
    if (begin->there && m->offset == begin->offset)
        look->is = anchor_matches(begin, m) ? TOPIC_SAME : TOPIC_NEW;
    else if (m->offset < (begin->there ? begin->offset : upto))
        look->is = TOPIC_NEW;
    else if (m->offset < upto)
        anchor_of(&look->inside, m);
}

/* Nothing stands where the chain's last record was, up to its end. */
static int compare_oldest(struct ingest *in, struct part *p, int64_t upto, struct topic_look *look,
                          struct err *e)
{
    struct bus_message *m = NULL;
    int rc = read_at(in, p, 0, &m, e);

    if (rc <= 0)
        return rc;
    rc = 0;
    if (m->offset < p->chain.next)
        rc = compare_chain(in, p, m, look, e);
    else if (!DEFECT("ingest.chain-alone") && !DEFECT("ingest.missing-early"))
        compare_open(p, m, upto, look);
    bus_read_free(in->p.bus, m);
    return rc;
}

static int compare(struct ingest *in, struct part *p, int64_t upto, struct topic_look *look,
                   struct err *e)
{
    const struct anchor *a = &p->chain.anchor;
    struct bus_message *m = NULL;
    int rc;

    if (!a->there)
        return compare_oldest(in, p, upto, look, e);
    if ((rc = read_at(in, p, a->offset, &m, e)) < 0)
        return rc;
    if (m && m->offset == a->offset) {
        look->is = anchor_matches(a, m) ? TOPIC_SAME : TOPIC_NEW;
        look->offset = m->offset;
    } else if (m && m->offset < p->chain.next) {
        rc = compare_chain(in, p, m, look, e);
    } else if (DEFECT("ingest.absent-is-new")) {
        look->is = TOPIC_NEW;
    } else if (!DEFECT("ingest.last-record-only")) {
        rc = compare_oldest(in, p, upto, look, e);
    }
    if (m)
        bus_read_free(in->p.bus, m);
    return rc < 0 ? rc : 0;
}

int place_compare(struct ingest *in, struct part *p, int64_t upto, struct topic_look *look,
                  struct err *e)
{
    struct err why = ERR_INIT;
    int64_t low, high;
    int rc;

    *look = (struct topic_look){.is = TOPIC_UNPROVEN};
    if (DEFECT("ingest.recreated-unseen"))
        return 0;
    if ((rc = compare(in, p, upto, look, e)) < 0 || look->is == TOPIC_SAME)
        return rc;
    rc = bus_watermarks(in->p.bus, p->topic, p->partition, &low, &high, &why);
    if (rc == 0 && high < upto)
        look->is = TOPIC_SHORTER;
    if (rc == 0 || look->is == TOPIC_NEW)
        return 0;
    *e = why;
    return rc;
}

/* An answer that does not come is no harm: it is looked at again. */
void place_watch(struct ingest *in, struct part *p)
{
    struct err ignored = ERR_INIT;
    struct topic_look look;

    if (DEFECT("ingest.no-watch") || place_compare(in, p, p->next, &look, &ignored) < 0)
        return;
    if (look.is == TOPIC_NEW || look.is == TOPIC_SHORTER)
        part_later(in, p, PART_FIND, 0);
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

    if (!DEFECT("ingest.loser-reads-on") || p->next < p->chain.next)
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
    struct topic_look look;
    char reason[160];
    int64_t low, high, hint, asked_ms;
    int rc;

    hint = committed(in, p);
    if ((rc = chain_find(in, p, hint, e)) != 0)
        return rc < 0 ? rc : go_on(in, p, "the incarnation before was closed", e);
    if (DEFECT("ingest.commits-first") && hint > p->chain.next)
        p->chain.next = hint;
    asked_ms = clock_mono_ms(in->p.clock);
    if ((rc = bus_watermarks(in->p.bus, p->topic, p->partition, &low, &high, e)) < 0)
        return rc;
    if (high < p->chain.next)
        return wait_short(in, p, asked_ms, high, e);
    if ((rc = place_compare(in, p, p->chain.next, &look, e)) < 0)
        return rc;
    if (look.is == TOPIC_SHORTER) { /* since a moment */
        part_later(in, p, PART_FIND, SHORT_AGAIN_MS);
        return 0;
    }
    if (DEFECT("ingest.missing-early") && low > p->chain.next && low + 1 < high)
        low++;
    if (DEFECT("ingest.missing-too-much") && low > p->chain.next)
        low = high;
    if (look.is != TOPIC_NEW)
        return start(in, p, low, e);
    snprintf(reason, sizeof reason,
             "topic re-created: a record at offset %lld that the chain before does not hold",
             (long long)look.offset);
    return begin(in, p, reason, e);
}

int place_part(struct ingest *in, struct part *p, struct err *e)
{
    enum part_state state = p->state;

    part_drop(in, p);
    if (place(in, p, e) == 0)
        return 0;
    return part_failed(in, p, state, "partition.find_failed", e);
}
