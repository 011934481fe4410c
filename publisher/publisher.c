#include "publisher/publisher.h"

#include <stdlib.h>

#include "publisher/publisher_int.h"

#define ARENA_MAX ((size_t)256 << 20) /* a manifest of OBJECT_BYTES_MAX and its event */

enum { RUN_WAIT_MS = 100, SETUP_BASE_MS = 200, SETUP_CAP_MS = 5000, STANDBY_MS = 15000 };

void publisher_options_init(struct publisher_options *o)
{
    *o = (struct publisher_options){.partitions = 4,
                                    .mode = PUBLISHER_JOB,
                                    .presign_ms = INT64_C(7) * 86400 * 1000,
                                    .retry_ms = 2000,
                                    .retry_cap_ms = 60000,
                                    .message_timeout_ms = 30000};
}

static void open_metrics(struct publisher *pub)
{
    struct publisher_metrics *m = &pub->m;
    struct metrics *r = pub->p.metrics;

    m->events =
        metrics_counter(r, "tripline_publisher_events_total", "Model-ready events.", "owner", NULL);
    m->duplicates = metrics_counter(r, "tripline_publisher_duplicates_total",
                                    "Messages of runs that had their event.", NULL);
    m->skipped = metrics_counter(r, "tripline_publisher_skipped_total",
                                 "Messages that can't lead to an event.", "reason", NULL);
    m->parked = metrics_counter(r, "tripline_publisher_parked_total",
                                "Runs put off because of their owner's topic.", "owner", NULL);
    m->failures = metrics_counter(r, "tripline_publisher_failures_total",
                                  "Failures that are tried again.", "event", NULL);
    m->waiting = metrics_gauge(r, "tripline_publisher_waiting", "Runs put off.", NULL);
    m->partitions = metrics_gauge(r, "tripline_publisher_partitions", "Partitions read.", NULL);
    m->seconds = metrics_histogram(r, "tripline_publisher_publish_seconds",
                                   "Seconds from a message to its committed event.",
                                   metrics_seconds, metrics_seconds_count, NULL);
}

int publisher_new(struct publisher **out, const struct publisher_options *o,
                  const struct publisher_ports *p, struct err *e)
{
    struct publisher *pub = calloc(1, sizeof *pub);
    int rc;

    if (!pub)
        return err_set(e, ERR_NOMEM, "the publisher");
    pub->o = *o;
    pub->p = *p;
    arena_init(&pub->arena, ARENA_MAX);
    open_metrics(pub);
    if ((rc = keys_init(&pub->keys, o->prefix, e)) < 0)
        goto fail;
    topic_internal(&pub->keys, TOPIC_DONE, pub->done);
    topic_internal(&pub->keys, TOPIC_PUBLISHED, pub->published);
    *out = pub;
    return 0;
fail:
    publisher_free(pub);
    return rc;
}

void publisher_free(struct publisher *pub)
{
    struct part *p;

    if (!pub)
        return;
    while ((p = pub->parts)) {
        pub->parts = p->link;
        part_free(pub, p);
    }
    current_release(pub);
    bus_producer_free(pub->sender);
    bus_consumer_free(pub->consumer);
    arena_release(&pub->arena);
    free(pub);
}

static void tell_ready(struct publisher *pub)
{
    const char *why = "";
    const struct part *p;
    size_t held = 0, reading = 0;
    bool ready;

    for (p = pub->parts; p; p = p->link) {
        held += p->state != PART_GONE;
        reading += p->state == PART_READ;
    }
    metric_set(pub->m.partitions, (double)reading, NULL);
    /* more publishers than partitions: one without any stands by, and is fine */
    ready = pub->consumer && held == reading &&
            (held || clock_mono_ms(pub->p.clock) - pub->heard_ms > STANDBY_MS);
    if (!ready)
        why = !pub->consumer ? "the topics are not there yet"
              : held         ? "published runs are being read"
                             : "no partition is assigned yet";
    if (pub->p.ready && (!pub->told || ready != pub->ready))
        pub->p.ready(pub->p.ready_arg, ready, why);
    pub->told = true;
    pub->ready = ready;
}

/* Not now: 0, and it is tried again. */
static int set_up(struct publisher *pub, int wait_ms, struct err *e)
{
    int64_t now = clock_mono_ms(pub->p.clock), wait;
    int rc;

    if (now < pub->setup_ms) {
        clock_sleep_ms(pub->p.clock, wait_ms);
        return 0;
    }
    if ((rc = watch_open(pub, e)) == 0) {
        pub->heard_ms = clock_mono_ms(pub->p.clock);
        return 0;
    }
    if (err_class(rc) == ERR_CLASS_STOP)
        return rc;
    wait = clock_backoff_ms(pub->p.clock, pub->setup_tries++, SETUP_BASE_MS, SETUP_CAP_MS);
    pub->setup_ms = clock_mono_ms(pub->p.clock) + wait;
    log_error("start.failed", e, "again_ms", LOG_I(wait), NULL);
    metric_add(pub->m.failures, 1, "start.failed", NULL);
    return 0;
}

int publisher_step(struct publisher *pub, int wait_ms, struct err *e)
{
    int rc = 0;

    if (!pub->consumer)
        rc = set_up(pub, wait_ms, e);
    else if ((rc = watch_tick(pub, e)) == 0) {
        current_tick(pub);
        rc = watch_poll(pub, wait_ms, e);
    }
    tell_ready(pub);
    return rc;
}

int publisher_run(struct publisher *pub, struct err *e)
{
    int rc;

    while (!clock_stopping(pub->p.clock))
        if ((rc = publisher_step(pub, RUN_WAIT_MS, e)) < 0)
            return rc;
    return 0;
}
