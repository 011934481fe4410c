#include "platform/proc/metrics.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/proc/metrics_int.h"

const double metrics_seconds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
const size_t metrics_seconds_count = sizeof metrics_seconds / sizeof metrics_seconds[0];

int metrics_new(struct metrics **out, struct err *e)
{
    struct metrics *m = calloc(1, sizeof *m);

    if (!m)
        return err_set(e, ERR_NOMEM, "the metrics");
    pthread_mutex_init(&m->lock, NULL);
    m->last = &m->first;
    *out = m;
    return 0;
}

static void metric_free(struct metric *m)
{
    struct series *s;

    while ((s = m->first)) {
        m->first = s->next;
        free(s);
    }
    free(m);
}

void metrics_free(struct metrics *m)
{
    struct metric *one;

    if (!m)
        return;
    while ((one = m->first)) {
        m->first = one->next;
        metric_free(one);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* [a-zA-Z_:][a-zA-Z0-9_:]* */
static bool is_name(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";

    return name[0] && !(name[0] >= '0' && name[0] <= '9') && !name[strspn(name, letters)];
}

static bool taken(const struct metrics *m, const char *name)
{
    const struct metric *one;

    for (one = m->first; one; one = one->next)
        if (!strcmp(one->name, name))
            return true;
    return false;
}

static struct metric *add_metric(struct metrics *m, enum metric_type type, const char *name,
                                 const char *help, va_list labels)
{
    struct metric *one;
    const char *label;

    if (!m || !is_name(name) || !(one = calloc(1, sizeof *one)))
        return NULL;
    one->owner = m;
    one->type = type;
    one->name = name;
    one->help = help;
    one->last = &one->first;
    while ((label = va_arg(labels, const char *))) {
        if (one->label_count == METRICS_LABELS_MAX || !is_name(label))
            goto fail;
        one->labels[one->label_count++] = label;
    }
    pthread_mutex_lock(&m->lock);
    if (taken(m, name)) {
        pthread_mutex_unlock(&m->lock);
        goto fail;
    }
    *m->last = one;
    m->last = &one->next;
    pthread_mutex_unlock(&m->lock);
    return one;
fail:
    metric_free(one);
    return NULL;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *help, ...)
{
    struct metric *one;
    va_list args;

    va_start(args, help);
    one = add_metric(m, METRIC_COUNTER, name, help, args);
    va_end(args);
    return one;
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help, ...)
{
    struct metric *one;
    va_list args;

    va_start(args, help);
    one = add_metric(m, METRIC_GAUGE, name, help, args);
    va_end(args);
    return one;
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const double *bounds, size_t count, ...)
{
    struct metric *one;
    va_list args;

    if (count > METRICS_BUCKETS_MAX)
        return NULL;
    va_start(args, count);
    one = add_metric(m, METRIC_HISTOGRAM, name, help, args);
    va_end(args);
    if (one) {
        pthread_mutex_lock(&m->lock);
        one->bounds = bounds;
        one->bound_count = count;
        pthread_mutex_unlock(&m->lock);
    }
    return one;
}

static bool same(const struct metric *m, const struct series *s, const char *const *values)
{
    size_t i;

    for (i = 0; i < m->label_count; i++)
        if (strcmp(s->values[i], values[i]) != 0)
            return false;
    return true;
}

static struct series *new_series(struct metric *m, const char *const *values)
{
    size_t numbers = (m->bound_count + 1) * sizeof(uint64_t), bytes = 0, i;
    struct series *s;
    char *at;

    for (i = 0; i < m->label_count; i++)
        bytes += strlen(values[i]) + 1;
    s = calloc(1, sizeof *s + numbers + bytes);
    if (!s)
        return NULL;
    at = (char *)s + sizeof *s + numbers;
    for (i = 0; i < m->label_count; i++) {
        s->values[i] = at;
        at = stpcpy(at, values[i]) + 1;
    }
    *m->last = s;
    m->last = &s->next;
    m->series_count++;
    return s;
}

/* The series of these values, made if need be; the common one when there are too many. */
static struct series *series_of(struct metric *m, const char *const *values)
{
    static const char *const others[METRICS_LABELS_MAX] = {"other", "other", "other", "other"};
    struct series *s;

    for (s = m->first; s; s = s->next)
        if (same(m, s, values))
            return s;
    if (m->series_count < METRICS_SERIES_MAX)
        return new_series(m, values);
    if (!m->other)
        m->other = new_series(m, others);
    return m->other;
}

/* Missing values are empty; what no label may hold is "invalid". */
static void collect(const struct metric *m, va_list args, const char *values[METRICS_LABELS_MAX])
{
    size_t i, n;

    for (i = 0; i < m->label_count; i++)
        values[i] = "";
    for (i = 0; i < m->label_count; i++) {
        const char *v = va_arg(args, const char *);

        if (!v)
            return;
        n = strnlen(v, METRICS_VALUE_MAX + 1);
        values[i] = n <= METRICS_VALUE_MAX && text_utf8_valid(v, n) == n ? v : "invalid";
    }
}

static void observe(struct metric *m, struct series *s, double value)
{
    size_t i = 0;

    while (i < m->bound_count && value > m->bounds[i])
        i++;
    s->buckets[i]++;
    s->count++;
    s->value += value;
}

static void record(struct metric *m, enum metric_type type, bool set, double v, va_list args)
{
    const char *values[METRICS_LABELS_MAX];
    struct series *s;

    if ((m->type == METRIC_HISTOGRAM) != (type == METRIC_HISTOGRAM) ||
        (m->type == METRIC_COUNTER && (set || !(v >= 0)))) /* counters only rise */
        return;
    collect(m, args, values);
    pthread_mutex_lock(&m->owner->lock);
    s = series_of(m, values);
    if (s && type == METRIC_HISTOGRAM)
        observe(m, s, v);
    else if (s)
        s->value = set ? v : s->value + v;
    pthread_mutex_unlock(&m->owner->lock);
}

void metric_add(struct metric *m, double by, ...)
{
    va_list args;

    if (!m)
        return;
    va_start(args, by);
    record(m, METRIC_COUNTER, false, by, args);
    va_end(args);
}

void metric_set(struct metric *m, double to, ...)
{
    va_list args;

    if (!m)
        return;
    va_start(args, to);
    record(m, METRIC_GAUGE, true, to, args);
    va_end(args);
}

void metric_observe(struct metric *m, double value, ...)
{
    va_list args;

    if (!m)
        return;
    va_start(args, value);
    record(m, METRIC_HISTOGRAM, false, value, args);
    va_end(args);
}
