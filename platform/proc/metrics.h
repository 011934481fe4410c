/*
 * Numbers that Prometheus collects: counters, gauges, histograms with labels.
 * A metric is added once, at start, and lives as long as its registry; series
 * come with the first use of their label values. A metric has at most
 * METRICS_SERIES_MAX series: what comes later is counted under the label values
 * "other", so that a flood of names costs no memory. Any thread. A NULL metric
 * or registry is accepted everywhere and does nothing.
 *
 *   struct metric *seen = metrics_counter(m, "tripline_documents_total", "Documents.", "owner",
 *                                         NULL);
 *   metric_add(seen, 1, owner, NULL);
 */
#ifndef PLATFORM_PROC_METRICS_H
#define PLATFORM_PROC_METRICS_H

#include <stddef.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"

#define METRICS_LABELS_MAX  4
#define METRICS_SERIES_MAX  200
#define METRICS_BUCKETS_MAX 24

struct metrics;
struct metric;

int metrics_new(struct metrics **out, struct err *e);
void metrics_free(struct metrics *m);

/*
 * Names are borrowed. Label names end with NULL. NULL is returned, and nothing
 * is counted, when a name is malformed or taken twice, or memory is exhausted.
 */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *help, ...)
    __attribute__((sentinel));
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help, ...)
    __attribute__((sentinel));
/* `bounds` rise and are borrowed; +Inf is added. */
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const double *bounds, size_t count, ...) __attribute__((sentinel));

/* Label values, in the order of the names, end with NULL. */
void metric_add(struct metric *m, double by, ...) __attribute__((sentinel));
void metric_set(struct metric *m, double to, ...) __attribute__((sentinel));
void metric_observe(struct metric *m, double value, ...) __attribute__((sentinel));

/* Everything, as Prometheus' text exposition format 0.0.4. */
void metrics_text(struct metrics *m, struct buf *to);

/* Bounds in seconds for the durations of calls: 5 ms to 60 s. */
extern const double metrics_seconds[];
extern const size_t metrics_seconds_count;

#endif
