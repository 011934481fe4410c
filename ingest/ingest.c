#include "ingest/ingest.h"

#include <stdlib.h>

#include "ingest/ingest_int.h"

/* A document of DOCUMENT_BYTES_MAX decodes to less, unless it is made of the smallest values. */
#define ARENA_MAX ((size_t)96 << 20)

enum { RUN_WAIT_MS = 50, DRAIN_WAIT_MS = 50 };

void ingest_options_init(struct ingest_options *o)
{
    *o = (struct ingest_options){.segment_bytes = 8 << 20,
                                 .segment_records = 200000,
                                 .segment_age_ms = 30000,
                                 .zstd_level = SEGMENT_LEVEL,
                                 .memory_bytes = 48 << 20,
                                 .uri_bytes = 16 << 20,
                                 .recreated_ms = 30000,
                                 .drain_ms = 20000};
}

int ingest_new(struct ingest **out, const struct ingest_options *o, const struct ingest_ports *p,
               struct err *e)
{
    struct ingest *in = calloc(1, sizeof *in);
    int rc;

    if (!in)
        return err_set(e, ERR_NOMEM, "ingest");
    in->o = *o;
    in->p = *p;
    arena_init(&in->arena, ARENA_MAX);
    measure_open(in);
    if ((rc = keys_init(&in->keys, o->prefix, e)) < 0 || (rc = reject_open(in, e)) < 0 ||
        (rc = intake_open(in, e)) < 0)
        goto fail;
    *out = in;
    return 0;
fail:
    ingest_free(in);
    return rc;
}

void ingest_free(struct ingest *in)
{
    struct part *p;

    if (!in)
        return;
    while ((p = in->parts)) {
        in->parts = p->link;
        part_free(in, p);
    }
    bus_consumer_free(in->consumer);
    bus_producer_free(in->rejects);
    arena_release(&in->arena);
    free(in);
}

int ingest_step(struct ingest *in, int wait_ms, struct err *e)
{
    int rc;

    if ((rc = part_tick(in, e)) < 0 || (rc = measure_watch(in, e)) < 0)
        return rc;
    return intake_poll(in, wait_ms, e);
}

static bool unwritten(const struct ingest *in)
{
    const struct part *p;

    for (p = in->parts; p; p = p->link)
        if (p->open || p->state == PART_PUT)
            return true;
    return false;
}

/* Each may wait for a server that does not answer: none is begun after `until`. */
static int cut_all(struct ingest *in, int64_t until, struct err *e)
{
    struct part *p;
    int rc;

    for (p = in->parts; p && clock_mono_ms(in->p.clock) <= until; p = p->link) {
        rc = p->state == PART_PUT ? commit_put(in, p, e) : commit_cut(in, p, false, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int ingest_drain(struct ingest *in, struct err *e)
{
    int64_t until = clock_mono_ms(in->p.clock) + in->o.drain_ms;
    int rc;

    for (;;) {
        if ((rc = cut_all(in, until, e)) < 0)
            return rc;
        if (!unwritten(in))
            return 0;
        if (clock_mono_ms(in->p.clock) >= until)
            break;
        clock_sleep_ms(in->p.clock, DRAIN_WAIT_MS);
    }
    log_event(LOG_WARN, "drain.given_up", "bytes", LOG_U(in->bytes), "why",
              "the store does not answer; the records stay in Kafka", NULL);
    return 0;
}

int ingest_run(struct ingest *in, struct err *e)
{
    int rc;

    while (!clock_stopping(in->p.clock))
        if ((rc = ingest_step(in, RUN_WAIT_MS, e)) < 0)
            return rc;
    return ingest_drain(in, e);
}
