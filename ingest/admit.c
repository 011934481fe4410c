#include "ingest/ingest_int.h"

#include <string.h>
#include <strings.h>

#include "platform/base/failpoint.h"

/* A hostile producer that seals again and again makes no more segments than this allows. */
enum { SEAL_APART_MS = 200, HEADERS_MORE = DOCUMENT_PARTS_MAX + 1 };

struct admission {
    struct document_message message; /* headers: in the arena, with room for HEADERS_MORE */
    enum document_kind kind;
    struct document document;
};

static int convert(struct ingest *in, const struct bus_message *m, struct document_message *out,
                   struct err *e)
{
    struct document_header *h;
    size_t i;

    h = arena_array(&in->arena, m->header_count + HEADERS_MORE, sizeof *h);
    if (!h)
        return err_set(e, ERR_LIMIT, "%zu headers", m->header_count);
    for (i = 0; i < m->header_count; i++) {
        h[i] = (struct document_header){m->headers[i].name, m->headers[i].value,
                                        m->headers[i].value_len};
        if (!strcasecmp(h[i].name, HEADER_URI))
            return err_set(e, ERR_UNSUPPORTED, "header " HEADER_URI ": only ingest writes it");
    }
    *out = (struct document_message){.key = m->key,
                                     .key_len = m->key_len,
                                     .value = m->value,
                                     .value_len = m->value_len,
                                     .headers = h,
                                     .header_count = m->header_count};
    return 0;
}

/* The arena is bounded, so what does not fit in it is the message's fault unless it is small. */
static int blame(const struct ingest *in, const struct bus_message *m, struct err *e)
{
    if (e->code == ERR_NOMEM && in->arena.used + 64 * m->value_len > in->arena.max / 2)
        return err_set(e, ERR_LIMIT, "%zu bytes that decode to too many", m->value_len);
    return e->code;
}

static int decide(struct ingest *in, const struct part *p, const struct bus_message *m,
                  struct admission *a, struct err *e)
{
    size_t count = m->header_count;
    int rc;

    if ((rc = convert(in, m, &a->message, e)) < 0)
        return rc;
    rc = document_admit(&a->message, p->owner, &in->arena, &a->kind, &a->document, e);
    if (rc < 0)
        return blame(in, m, e);
    if (a->kind != DOCUMENT_PUT)
        return 0;
    rc = content_record(in, p->owner, &a->document, (struct document_header *)a->message.headers,
                        &count, m->header_count + HEADERS_MORE, e);
    a->message.header_count = count;
    return rc;
}

/* Room for a record of that size, in a new segment if need be. 1: there is; 0: not now; < 0. */
static int room(struct ingest *in, struct part *p, size_t bytes, struct err *e)
{
    int rc = part_open(in, p, e);

    if (rc < 0)
        return rc;
    if (segment_writer_fits(p->open, bytes))
        return 1;
    if ((rc = commit_cut(in, p, false, e)) < 0)
        return rc;
    if (p->state != PART_READ)
        return 0;
    if ((rc = part_open(in, p, e)) < 0)
        return rc;
    return 1;
}

static int refuse(struct ingest *in, struct part *p, const struct bus_message *m,
                  const struct err *why, struct err *e)
{
    int rc = room(in, p, 0, e);

    if (rc <= 0)
        return rc;
    if ((rc = reject_send(in, p, m, why, e)) != 0)
        return rc < 0 ? rc : 0;
    if ((rc = segment_writer_reject(p->open, m->offset, m->timestamp_ms, why, e)) < 0)
        return rc;
    log_event(LOG_DEBUG, "message.rejected", "owner", p->owner, "dataset", p->dataset, "partition",
              LOG_I(p->partition), "offset", LOG_I(m->offset), "code", err_name(why->code),
              "reason", why->text, NULL);
    metric_add(in->m.rejected, 1, p->owner, p->dataset, err_name(why->code), NULL);
    return 1;
}

/* 1: in the open segment; 0: not taken, it comes again; < 0: fatal. */
static int take(struct ingest *in, struct part *p, const struct bus_message *m, struct err *e)
{
    struct err why = ERR_INIT;
    struct admission a;
    int rc = decide(in, p, m, &a, &why);

    if (rc == 0) {
        if ((rc = room(in, p, m->key_len + m->value_len, e)) <= 0)
            return rc;
        if (DEFECT("ingest.forgets") && m->offset % 50 == 7)
            return 1;
        rc = segment_writer_add(p->open, m->offset, m->timestamp_ms, &a.message, a.kind,
                                &a.document, &why);
    }
    if (rc == 0) {
        p->taken++;
        if (a.kind == DOCUMENT_SEAL && p->cut_ms > p->last_cut_ms + SEAL_APART_MS)
            p->cut_ms = p->last_cut_ms ? p->last_cut_ms + SEAL_APART_MS : 0;
        return 1;
    }
    switch (err_class(rc)) {
    case ERR_CLASS_REJECT:
        return refuse(in, p, m, &why, e);
    case ERR_CLASS_RETRY:
        return part_failed(in, p, PART_HOLD, "message.held", &why);
    default:
        *e = why;
        return err_wrap(e, "%s/%d offset %lld", p->topic, (int)p->partition, (long long)m->offset);
    }
}

static int cut_if_full(struct ingest *in, struct part *p, struct err *e)
{
    struct segment_size size;
    int64_t now;

    segment_writer_size(p->open, &size);
    if ((int64_t)size.bytes >= in->o.segment_bytes ||
        (int64_t)size.records >= in->o.segment_records)
        return commit_cut(in, p, false, e);
    now = p->cut_ms < p->opened_ms + in->o.segment_age_ms ? clock_mono_ms(in->p.clock) : 0;
    if (now && now >= p->cut_ms) /* sealed */
        return commit_cut(in, p, true, e);
    return 0;
}

int admit(struct ingest *in, struct part *p, struct bus_message *m, bool *kept, struct err *e)
{
    int rc;

    *kept = false;
    /* behind: one before it was not taken, and comes first */
    if (p->state != PART_READ || (p->behind && !DEFECT("ingest.passes-over")) ||
        m->offset < p->next)
        return 0;
    arena_reset(&in->arena);
    rc = take(in, p, m, e);
    if (rc <= 0) {
        p->behind = true;
        return rc;
    }
    p->next = m->offset + 1;
    part_keep(in, p, m);
    *kept = true;
    part_account(in, p);
    if ((rc = cut_if_full(in, p, e)) < 0)
        return rc;
    return part_make_room(in, e);
}
