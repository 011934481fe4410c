#include "platform/base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "platform/base/buf.h"
#include "platform/base/text.h"

#define LINE_MAX_BYTES 16384

static struct {
    const char *service;
    enum log_level level;
    long long (*now_ms)(void *);
    void *now_arg;
    void (*write_line)(void *, const char *, unsigned long);
    void *write_arg;
} state = {.service = "tripline", .level = LOG_INFO};

const char *log_i(struct log_number *n, long long v)
{
    snprintf(n->text, sizeof n->text, "\1%lld", v);
    return n->text;
}

const char *log_u(struct log_number *n, unsigned long long v)
{
    snprintf(n->text, sizeof n->text, "\1%llu", v);
    return n->text;
}

const char *log_f(struct log_number *n, double v)
{
    if (isfinite(v))
        snprintf(n->text, sizeof n->text, "\1%.9g", v);
    else
        snprintf(n->text, sizeof n->text, "\1null"); /* JSON has no NaN */
    return n->text;
}

void log_init(const char *service, enum log_level level)
{
    state.service = service;
    state.level = level;
}

void log_clock(long long (*now_ms)(void *), void *arg)
{
    state.now_ms = now_ms;
    state.now_arg = arg;
}

void log_sink(void (*write_line)(void *, const char *, unsigned long), void *arg)
{
    state.write_line = write_line;
    state.write_arg = arg;
}

static long long now(void)
{
    struct timespec t;

    if (state.now_ms)
        return state.now_ms(state.now_arg);
    clock_gettime(CLOCK_REALTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put_time(struct buf *b)
{
    long long ms = now();
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];

    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(b, "{\"time\":\"%s.%03dZ\"", text, (int)(ms % 1000));
}

static void put_field(struct buf *b, const char *name, const char *value)
{
    buf_char(b, ',');
    text_json(b, name, strlen(name));
    buf_char(b, ':');
    if (!value)
        buf_str(b, "null");
    else if (value[0] == '\1')
        buf_str(b, value + 1);
    else
        text_json(b, value, strlen(value));
}

static void put_line(const char *line, size_t len)
{
    if (state.write_line)
        state.write_line(state.write_arg, line, len);
    else if (write(STDERR_FILENO, line, len) < 0)
        return; /* nowhere left to tell it */
}

static void emit(enum log_level level, const char *event, const struct err *e, va_list args)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct buf b;
    const char *name;

    if (level < state.level)
        return;
    buf_init(&b, LINE_MAX_BYTES);
    put_time(&b);
    put_field(&b, "level", names[level]);
    put_field(&b, "service", state.service);
    put_field(&b, "event", event);
    if (e) {
        put_field(&b, "error", err_name(e->code));
        put_field(&b, "message", e->text);
    }
    while ((name = va_arg(args, const char *)))
        put_field(&b, name, va_arg(args, const char *));
    buf_str(&b, "}\n");
    if (!b.failed)
        put_line(b.data, b.len);
    else
        put_line("{\"event\":\"log.too_long\"}\n", 25);
    buf_release(&b);
}

void log_event(enum log_level level, const char *event, ...)
{
    va_list args;

    va_start(args, event);
    emit(level, event, NULL, args);
    va_end(args);
}

void log_error(const char *event, const struct err *e, ...)
{
    va_list args;

    va_start(args, e);
    emit(LOG_ERROR, event, e, args);
    va_end(args);
}

int log_level_parse(const char *text, enum log_level *level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    int i;

    for (i = 0; i < 4; i++)
        if (!strcmp(text, names[i])) {
            *level = (enum log_level)i;
            return 0;
        }
    return -1;
}
