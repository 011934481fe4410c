/*
 * Shared by metrics.c and metrics_text.c.
 */
#ifndef PLATFORM_PROC_METRICS_INT_H
#define PLATFORM_PROC_METRICS_INT_H

#include <pthread.h>
#include <stdint.h>

#include "platform/proc/metrics.h"

#define METRICS_VALUE_MAX 128 /* bytes of a label's value */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct series {
    struct series *next;
    char *values[METRICS_LABELS_MAX]; /* point behind the struct */
    double value;                     /* a histogram's sum */
    uint64_t count;
    uint64_t buckets[]; /* of histograms; each its own, not cumulative */
};

struct metric {
    struct metric *next;
    struct metrics *owner;
    enum metric_type type;
    const char *name, *help;
    const char *labels[METRICS_LABELS_MAX];
    size_t label_count;
    const double *bounds;
    size_t bound_count;
    struct series *first, **last, *other;
    size_t series_count;
};

struct metrics {
    pthread_mutex_t lock; /* all below */
    struct metric *first, **last;
};

#endif
