#include "platform/proc/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "platform/base/buf.h"
#include "platform/clock/clock.h"

#define REDRAW_MS 100
#define LINE_MS   10000 /* between plain lines */
#define BAR_CELLS 20

struct progress {
    struct clock *clock;
    int fd;
    enum progress_style style; /* never AUTO */
    bool running, drawn;
    char title[64], unit[24], note[128];
    int64_t total, done, start_ms, shown_ms;
};

int progress_new(struct progress **out, struct clock *clock, int fd, enum progress_style style,
                 struct err *e)
{
    struct progress *p = calloc(1, sizeof *p);
    const char *term = getenv("TERM");

    if (!p)
        return err_set(e, ERR_NOMEM, "the progress bar");
    if (style == PROGRESS_AUTO)
        style = isatty(fd) && term && strcmp(term, "dumb") != 0 ? PROGRESS_BAR : PROGRESS_LINES;
    p->clock = clock;
    p->fd = fd;
    p->style = style;
    *out = p;
    return 0;
}

static void put(struct progress *p, const struct buf *b)
{
    size_t at = 0;
    ssize_t n;

    while (!b->failed && at < b->len && (n = write(p->fd, b->data + at, b->len - at)) > 0)
        at += (size_t)n;
}

static int columns(const struct progress *p)
{
    struct winsize w = {0};

    return ioctl(p->fd, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20 ? w.ws_col : 80;
}

/* 12500 -> "12,500" */
static void put_count(struct buf *b, int64_t v)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRId64, v < 0 ? 0 : v), i;

    for (i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            buf_char(b, ',');
        buf_char(b, digits[i]);
    }
}

static void put_amount(struct buf *b, const struct progress *p, double v)
{
    if (!strcmp(p->unit, "bytes"))
        buf_printf(b, "%.1f", v / 1048576);
    else
        put_count(b, (int64_t)v);
}

static void put_time(struct buf *b, int64_t ms)
{
    int64_t s = ms / 1000;

    if (ms < 10000)
        buf_printf(b, "%.1f s", (double)ms / 1000);
    else if (s < 120)
        buf_printf(b, "%" PRId64 " s", s);
    else
        buf_printf(b, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
}

static void put_bar(struct buf *b, double part)
{
    int full = (int)(part * BAR_CELLS), i;

    buf_str(b, "  [");
    for (i = 0; i < BAR_CELLS; i++)
        buf_char(b, i < full ? '#' : '.');
    buf_char(b, ']');
}

static void put_rate(struct buf *b, const struct progress *p, double per_second)
{
    if (!strcmp(p->unit, "bytes")) {
        buf_str(b, "  ");
        put_amount(b, p, per_second);
        buf_str(b, " MiB/s");
    } else if (per_second < 10) {
        buf_printf(b, "  %.1f/s", per_second);
    } else {
        buf_str(b, "  ");
        put_amount(b, p, per_second);
        buf_str(b, "/s");
    }
}

/* The state as one line of text, without its end. */
static void describe(const struct progress *p, bool ended, struct buf *b)
{
    int64_t ms = clock_mono_ms(p->clock) - p->start_ms;
    double part = p->total > 0 ? (double)p->done / (double)p->total : 0;
    bool bytes = !strcmp(p->unit, "bytes");

    part = part > 1 ? 1 : part;
    buf_str(b, p->title);
    if (p->style == PROGRESS_BAR && p->total > 0)
        put_bar(b, part);
    if (p->total > 0)
        buf_printf(b, "  %3d%%", (int)(part * 100));
    if (p->done > 0 || p->total > 0) {
        buf_str(b, "  ");
        put_amount(b, p, (double)p->done);
        if (p->total > 0 && !ended) {
            buf_str(b, " of ");
            put_amount(b, p, (double)p->total);
        }
        buf_printf(b, " %s", bytes ? "MiB" : p->unit);
    }
    if (p->done > 0 && ms >= 500)
        put_rate(b, p, (double)p->done * 1000 / (double)ms);
    if (p->note[0])
        buf_printf(b, "  %s", p->note);
    buf_str(b, "  ");
    if (!ended && part > 0 && ms >= 2000) {
        put_time(b, (int64_t)((double)ms * (1 - part) / part));
        buf_str(b, " left");
    } else {
        put_time(b, ms);
    }
}

/* Cut so that it never wraps; whole characters only. */
static void cut(struct buf *b, size_t width)
{
    if (b->failed || b->len <= width)
        return;
    while (width > 0 && ((unsigned char)b->data[width] & 0xc0) == 0x80)
        width--;
    b->len = width;
    b->data[width] = 0;
}

static void show(struct progress *p, bool ended)
{
    struct buf text, line;

    if (p->style == PROGRESS_QUIET)
        return;
    buf_init(&text, 1024);
    buf_init(&line, 1200);
    describe(p, ended, &text);
    if (p->style == PROGRESS_BAR) {
        cut(&text, (size_t)columns(p) - 1);
        buf_str(&line, "\r\x1b[K");
    }
    buf_str(&line, text.data ? text.data : "");
    if (ended || p->style == PROGRESS_LINES)
        buf_char(&line, '\n');
    put(p, &line);
    p->drawn = p->style == PROGRESS_BAR && !ended;
    p->shown_ms = clock_mono_ms(p->clock);
    buf_release(&text);
    buf_release(&line);
}

void progress_step(struct progress *p, const char *title, int64_t total, const char *unit)
{
    if (p->running)
        progress_done(p, NULL);
    snprintf(p->title, sizeof p->title, "%s", title);
    snprintf(p->unit, sizeof p->unit, "%s", unit ? unit : "");
    p->note[0] = 0;
    p->total = total;
    p->done = 0;
    p->start_ms = clock_mono_ms(p->clock);
    p->running = true;
    if (p->style == PROGRESS_BAR)
        show(p, false);
    p->shown_ms = p->start_ms;
}

static void set_note(struct progress *p, const char *note)
{
    size_t i;

    if (!note)
        return;
    snprintf(p->note, sizeof p->note, "%s", note);
    for (i = 0; p->note[i]; i++)
        if ((unsigned char)p->note[i] < 0x20) /* nothing may move the cursor */
            p->note[i] = ' ';
}

void progress_at(struct progress *p, int64_t done, const char *note)
{
    int64_t every = p->style == PROGRESS_BAR ? REDRAW_MS : LINE_MS;

    p->done = done;
    set_note(p, note);
    if (p->running && clock_mono_ms(p->clock) - p->shown_ms >= every)
        show(p, false);
}

void progress_done(struct progress *p, const char *note)
{
    if (!p->running)
        return;
    set_note(p, note);
    show(p, true);
    p->running = false;
}

void progress_say(struct progress *p, const char *format, ...)
{
    struct buf line;
    char text[1024];
    va_list args;

    if (p->style == PROGRESS_QUIET)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_init(&line, 1200);
    buf_printf(&line, "%s%s\n", p->drawn ? "\r\x1b[K" : "", text);
    put(p, &line);
    buf_release(&line);
    if (p->drawn)
        show(p, false);
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    if (p->drawn && write(p->fd, "\n", 1) < 0)
        p->drawn = false; /* nobody is watching */
    free(p);
}
