#include "trainer/report.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "platform/base/buf.h"
#include "platform/base/file.h"

#define PAGE_MAX ((size_t)4 << 20)
enum { WIDTH = 640, HEIGHT = 220 };

static void escaped(struct buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            buf_str(b, "&lt;");
        else if (*text == '&')
            buf_str(b, "&amp;");
        else if (*text == '"')
            buf_str(b, "&quot;");
        else
            buf_char(b, *text);
    }
}

static void put_metrics(struct buf *b, const struct report *r)
{
    size_t i;

    if (r->metric_count == 0)
        return;
    buf_str(b, "<h2>Held-out documents</h2>\n<table><tr><th>metric</th><th>before</th>"
               "<th>after</th><th>change</th></tr>\n");
    for (i = 0; i < r->metric_count; i++) {
        const struct report_metric *m = &r->metrics[i];

        buf_str(b, "<tr><td>");
        escaped(b, m->name);
        buf_printf(b, "</td><td>%.4f</td><td>%.4f</td><td class=\"%s\">%+.4f</td></tr>\n",
                   m->before, m->after, m->after < m->before ? "worse" : "better",
                   m->after - m->before);
    }
    buf_str(b, "</table>\n");
}

/* ---- curves -----------------------------------------------------------------------------------
 */

struct series {
    const char *name;
    size_t offset; /* in a checkpoint_point */
};
#define SERIES(name, member)                                                                       \
    {                                                                                              \
        name, offsetof(struct checkpoint_point, member)                                            \
    }
enum { SERIES_MAX = 2 };

/* A picture: one or two series on one scale from 0. */
static const struct curve {
    const char *title;
    struct series series[SERIES_MAX];
} curves[] = {
    {"Loss", {SERIES("loss", loss)}},
    {"Active triplets, and collapse",
     {SERIES("share of triplets with a loss", active),
      SERIES("mean cosine of all pairs (near 1: collapse)", similarity)}},
    {"Mean distances", {SERIES("of one label", positive), SERIES("of two labels", negative)}},
    {"Gradient norm", {SERIES("before clipping", gradient_norm)}},
};

static double value_of(const struct checkpoint_point *p, const struct series *s)
{
    double v;

    memcpy(&v, (const char *)p + s->offset, sizeof v);
    return v;
}

static double highest(const struct checkpoint *c, const struct curve *curve)
{
    double top = 0;
    int i, k;

    for (k = 0; k < SERIES_MAX && curve->series[k].name; k++)
        for (i = 0; i < c->point_count; i++) {
            double v = value_of(&c->points[i], &curve->series[k]);

            if (isfinite(v) && v > top)
                top = v;
        }
    return top > 0 ? top : 1;
}

static void put_series(struct buf *b, const struct checkpoint *c, const struct series *s, int which,
                       double top)
{
    double last = (double)c->points[c->point_count - 1].step;
    int i;

    buf_printf(b, "<polyline class=\"line%d\" points=\"", which);
    for (i = 0; i < c->point_count; i++) {
        double v = value_of(&c->points[i], s);

        if (isfinite(v))
            buf_printf(b, "%.1f,%.1f ", WIDTH * (double)c->points[i].step / (last > 0 ? last : 1),
                       HEIGHT * (1 - fmax(v, 0) / top));
    }
    buf_str(b, "\"/>\n");
}

static void put_curve(struct buf *b, const struct checkpoint *c, const struct curve *curve)
{
    double top = highest(c, curve);
    int k;

    buf_printf(b, "<h2>%s</h2>\n<p>", curve->title);
    for (k = 0; k < SERIES_MAX && curve->series[k].name; k++)
        buf_printf(b, "<span class=\"key%d\">%s</span> ", k, curve->series[k].name);
    buf_printf(b,
               "</p>\n<svg viewBox=\"-50 -10 %d %d\" width=\"%d\" role=\"img\" "
               "aria-label=\"%s by step\">\n<path d=\"M0 0V%dH%d\" class=\"axis\"/>\n"
               "<text x=\"-6\" y=\"6\" text-anchor=\"end\">%.3g</text>"
               "<text x=\"-6\" y=\"%d\" text-anchor=\"end\">0</text>"
               "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">step %lld</text>\n",
               WIDTH + 60, HEIGHT + 40, WIDTH, curve->title, HEIGHT, WIDTH, top, HEIGHT, WIDTH,
               HEIGHT + 18, (long long)c->points[c->point_count - 1].step);
    for (k = 0; k < SERIES_MAX && curve->series[k].name; k++)
        put_series(b, c, &curve->series[k], k, top);
    buf_str(b, "</svg>\n");
}

static void put_history(struct buf *b, const struct report *r)
{
    const struct checkpoint *c = r->history;
    size_t i;

    for (i = 0; c && c->point_count > 1 && i < sizeof curves / sizeof curves[0]; i++)
        put_curve(b, c, &curves[i]);
}

static void put_evaluations(struct buf *b, const struct report *r)
{
    const struct checkpoint *c = r->history;
    int i;

    if (!c || c->eval_count < 2 || !r->judged_by)
        return;
    buf_str(b, "<h2>Evaluations</h2>\n<table><tr><th>step</th><th>");
    escaped(b, r->judged_by);
    buf_str(b, "</th></tr>\n");
    for (i = 0; i < c->eval_count; i++)
        buf_printf(b, "<tr><td>%lld</td><td%s>%.4f</td></tr>\n", (long long)c->evals[i].step,
                   c->evals[i].step == c->best_step ? " class=\"better\"" : "", c->evals[i].value);
    buf_str(b, "</table>\n");
}

/* ---- the page ---------------------------------------------------------------------------------
 */

static void put_facts(struct buf *b, const struct report *r)
{
    size_t i;

    buf_str(b, "<h2>The run</h2>\n<table>\n");
    for (i = 0; i < r->fact_count; i++) {
        buf_str(b, "<tr><td>");
        escaped(b, r->facts[i].name);
        buf_str(b, "</td><td>");
        escaped(b, r->facts[i].value);
        buf_str(b, "</td></tr>\n");
    }
    buf_str(b, "</table>\n");
}

static void put_alarm(struct buf *b, const struct report *r)
{
    if (!r->alarm)
        return;
    buf_str(b, "<p class=\"alarm\">");
    escaped(b, r->alarm);
    buf_str(b, "</p>\n");
}

static const char style[] =
    "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;"
    "color:#222}table{border-collapse:collapse}td,th{padding:.25em .9em .25em 0;text-align:left;"
    "border-bottom:1px solid #ddd}.better{color:#176d2c}.worse{color:#a11}"
    ".alarm{background:#a11;color:#fff;padding:.6em .9em;font-weight:bold}"
    "polyline{fill:none;stroke-width:1.5}.line0{stroke:#2258a5}.line1{stroke:#c1761b}"
    ".key0{color:#2258a5}.key1{color:#c1761b}.axis{fill:none;stroke:#999}"
    "text{font-size:11px;fill:#555}</style>";

int report_write(const char *path, const struct report *r, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, PAGE_MAX);
    buf_str(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    escaped(&b, r->title);
    buf_printf(&b, "</title>%s</head><body>\n<h1>", style);
    escaped(&b, r->title);
    buf_str(&b, "</h1>\n");
    put_alarm(&b, r);
    put_metrics(&b, r);
    put_evaluations(&b, r);
    put_history(&b, r);
    put_facts(&b, r);
    buf_str(&b, "</body></html>\n");
    rc = buf_check(&b, path, e);
    if (rc == 0)
        rc = file_write(path, b.data, b.len, e);
    buf_release(&b);
    return rc;
}
