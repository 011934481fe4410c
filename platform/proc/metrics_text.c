/*
 * The text exposition format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
 */
#include <inttypes.h>
#include <math.h>

#include "platform/proc/metrics_int.h"

static void put_number(struct buf *to, double v)
{
    if (isnan(v))
        buf_str(to, "NaN");
    else if (isinf(v))
        buf_str(to, v > 0 ? "+Inf" : "-Inf");
    else
        buf_printf(to, "%.17g", v);
}

static void put_escaped(struct buf *to, const char *text, int quotes)
{
    for (; *text; text++) {
        if (*text == '\n')
            buf_str(to, "\\n");
        else if (*text == '\\' || (quotes && *text == '"'))
            buf_printf(to, "\\%c", *text);
        else
            buf_char(to, *text);
    }
}

/* name suffix {labels, le} and a blank; `le` NULL: none */
static void put_head(struct buf *to, const struct metric *m, const struct series *s,
                     const char *suffix, const double *le)
{
    size_t i;

    buf_printf(to, "%s%s", m->name, suffix);
    if (m->label_count > 0 || le)
        buf_char(to, '{');
    for (i = 0; i < m->label_count; i++) {
        buf_printf(to, "%s%s=\"", i ? "," : "", m->labels[i]);
        put_escaped(to, s->values[i], 1);
        buf_char(to, '"');
    }
    if (le) {
        buf_printf(to, "%sle=\"", m->label_count ? "," : "");
        if (isinf(*le))
            buf_str(to, "+Inf");
        else
            buf_printf(to, "%g", *le);
        buf_char(to, '"');
    }
    buf_str(to, m->label_count > 0 || le ? "} " : " ");
}

static void put_histogram(struct buf *to, const struct metric *m, const struct series *s)
{
    const double infinite = HUGE_VAL;
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i <= m->bound_count; i++) {
        sum += s->buckets[i];
        put_head(to, m, s, "_bucket", i < m->bound_count ? &m->bounds[i] : &infinite);
        buf_printf(to, "%" PRIu64 "\n", sum);
    }
    put_head(to, m, s, "_sum", NULL);
    put_number(to, s->value);
    buf_char(to, '\n');
    put_head(to, m, s, "_count", NULL);
    buf_printf(to, "%" PRIu64 "\n", s->count);
}

static void put_metric(struct buf *to, const struct metric *m)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const struct series *s;

    buf_printf(to, "# HELP %s ", m->name);
    put_escaped(to, m->help, 0);
    buf_printf(to, "\n# TYPE %s %s\n", m->name, types[m->type]);
    if (!m->first && m->label_count == 0 && m->type != METRIC_HISTOGRAM)
        buf_printf(to, "%s 0\n", m->name); /* a series that is there from the start */
    for (s = m->first; s; s = s->next) {
        if (m->type == METRIC_HISTOGRAM) {
            put_histogram(to, m, s);
        } else {
            put_head(to, m, s, "", NULL);
            put_number(to, s->value);
            buf_char(to, '\n');
        }
    }
}

void metrics_text(struct metrics *m, struct buf *to)
{
    const struct metric *one;

    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    for (one = m->first; one; one = one->next)
        put_metric(to, one);
    pthread_mutex_unlock(&m->lock);
}
