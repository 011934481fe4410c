#include "ingest/ingest_int.h"

#include <stdio.h>

enum { WATCH_MS = 5000, WATCH_MIN_MS = 100, CALM_MS = 5000 };

void measure_open(struct ingest *in)
{
    struct ingest_metrics *m = &in->m;
    struct metrics *r = in->p.metrics;

    m->records = metrics_counter(r, "tripline_ingest_records_total",
                                 "Messages taken into segments.", "owner", "dataset", NULL);
    m->rejected = metrics_counter(r, "tripline_ingest_rejected_total", "Messages rejected.",
                                  "owner", "dataset", "code", NULL);
    m->bytes = metrics_counter(r, "tripline_ingest_segment_bytes_total", "Bytes of segments.",
                               "owner", "dataset", NULL);
    m->segments = metrics_counter(r, "tripline_ingest_segments_total", "Segments created.", "owner",
                                  "dataset", NULL);
    m->lost =
        metrics_counter(r, "tripline_ingest_creates_lost_total",
                        "Segments that another ingester had created.", "owner", "dataset", NULL);
    m->missing = metrics_counter(r, "tripline_ingest_missing_total",
                                 "Offsets that Kafka no longer had.", "owner", "dataset", NULL);
    m->recreated =
        metrics_counter(r, "tripline_ingest_recreated_total",
                        "Partitions of topics that were re-created.", "owner", "dataset", NULL);
    m->errors = metrics_counter(r, "tripline_ingest_errors_total", "Failures that are tried again.",
                                "event", NULL);
    m->create_s =
        metrics_histogram(r, "tripline_ingest_create_seconds", "Seconds of conditional creates.",
                          metrics_seconds, metrics_seconds_count, NULL);
    m->lag =
        metrics_gauge(r, "tripline_ingest_lag_records", "Offsets behind what segments in S3 cover.",
                      "owner", "dataset", "partition", NULL);
    m->partitions = metrics_gauge(r, "tripline_ingest_partitions", "Partitions held.", NULL);
    m->memory =
        metrics_gauge(r, "tripline_ingest_memory_bytes", "Bytes of unwritten segments.", NULL);
}

static size_t held(const struct ingest *in)
{
    const struct part *p;
    size_t n = 0;

    for (p = in->parts; p; p = p->link)
        n += p->state != PART_GONE;
    return n;
}

void measure_ready(struct ingest *in)
{
    size_t n = held(in);
    bool is = n > 0 || clock_mono_ms(in->p.clock) - in->calm_ms >= CALM_MS;

    metric_set(in->m.partitions, (double)n, NULL);
    if (in->p.ready && in->ready != is)
        in->p.ready(in->p.ready_arg, is, is ? "" : "no partition is assigned");
    in->ready = is;
}

void measure_taken(struct ingest *in, struct part *p)
{
    if (p->taken)
        metric_add(in->m.records, (double)p->taken, p->owner, p->dataset, NULL);
    p->taken = 0;
}

static struct part *next_held(struct ingest *in)
{
    struct part *p = in->watch, *began = p;

    do {
        p = p && p->link ? p->link : in->parts;
        if (p && p->state == PART_READ)
            return p;
    } while (p && p != began && (began || p->link));
    return NULL;
}

int measure_watch(struct ingest *in, struct err *e)
{
    struct err ignored = ERR_INIT;
    int64_t now = clock_mono_ms(in->p.clock), low, high;
    char partition[16];
    struct part *p;
    size_t n;

    if (now < in->watch_ms)
        return 0;
    measure_ready(in);
    n = held(in);
    in->watch_ms = now + (n > WATCH_MS / WATCH_MIN_MS ? WATCH_MIN_MS : WATCH_MS / (int64_t)(n + 1));
    p = in->watch = next_held(in);
    if (!p || bus_watermarks(in->p.bus, p->topic, p->partition, &low, &high, &ignored) < 0)
        return 0;
    snprintf(partition, sizeof partition, "%d", (int)p->partition);
    metric_set(in->m.lag, (double)(high > p->chain.next ? high - p->chain.next : 0), p->owner,
               p->dataset, partition, NULL);
    if (p->open || now - p->heard_ms < in->o.segment_age_ms)
        return 0;
    if (high > p->next)
        return commit_cover(in, p, e);
    place_watch(in, p);
    return 0;
}
