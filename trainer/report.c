#include "trainer/report.h"

#include <math.h>
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

static double highest_loss(const struct report *r)
{
    double top = 0;
    size_t i;

    for (i = 0; i < r->point_count; i++)
        if (isfinite(r->points[i].loss) && r->points[i].loss > top)
            top = r->points[i].loss;
    return top > 0 ? top : 1;
}

static void put_curve(struct buf *b, const struct report *r)
{
    double top = highest_loss(r), last;
    size_t i;

    if (r->point_count < 2)
        return;
    last = (double)r->points[r->point_count - 1].step;
    buf_printf(b,
               "<h2>Loss</h2>\n<svg viewBox=\"-50 -10 %d %d\" width=\"%d\" role=\"img\" "
               "aria-label=\"loss by step\">\n<path d=\"M0 0V%dH%d\" class=\"axis\"/>\n"
               "<text x=\"-6\" y=\"6\" text-anchor=\"end\">%.3g</text>"
               "<text x=\"-6\" y=\"%d\" text-anchor=\"end\">0</text>"
               "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">step %.0f</text>\n<polyline points=\"",
               WIDTH + 60, HEIGHT + 40, WIDTH, HEIGHT, WIDTH, top, HEIGHT, WIDTH, HEIGHT + 18,
               last);
    for (i = 0; i < r->point_count; i++)
        if (isfinite(r->points[i].loss))
            buf_printf(b, "%.1f,%.1f ", WIDTH * (double)r->points[i].step / (last > 0 ? last : 1),
                       HEIGHT * (1 - r->points[i].loss / top));
    buf_str(b, "\"/>\n</svg>\n");
}

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

static const char style[] =
    "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;"
    "color:#222}table{border-collapse:collapse}td,th{padding:.25em .9em .25em 0;text-align:left;"
    "border-bottom:1px solid #ddd}.better{color:#176d2c}.worse{color:#a11}"
    "polyline{fill:none;stroke:#2258a5;stroke-width:1.5}.axis{fill:none;stroke:#999}"
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
    put_metrics(&b, r);
    put_curve(&b, r);
    put_facts(&b, r);
    buf_str(&b, "</body></html>\n");
    rc = buf_check(&b, path, e);
    if (rc == 0)
        rc = file_write(path, b.data, b.len, e);
    buf_release(&b);
    return rc;
}
