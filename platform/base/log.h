/*
 * JSON-line logs on stderr: one event per fact.
 *
 *   log_event(LOG_INFO, "segment.sealed", "owner", owner, "key", key, "records", LOG_U(n), NULL);
 *
 * Fields are name, value pairs of strings ended by NULL; numbers go through
 * LOG_I / LOG_U / LOG_F (they are printed as JSON numbers). Only services and
 * commands log; platform/ and the engine return errors. Any thread; one event
 * is one write(2).
 */
#ifndef PLATFORM_BASE_LOG_H
#define PLATFORM_BASE_LOG_H

#include "platform/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_number {
    char text[40]; /* first byte '\1': a number, not a string */
};
const char *log_i(struct log_number *n, long long v);
const char *log_u(struct log_number *n, unsigned long long v);
const char *log_f(struct log_number *n, double v);
#define LOG_I(v) log_i(&(struct log_number){{0}}, (v))
#define LOG_U(v) log_u(&(struct log_number){{0}}, (v))
#define LOG_F(v) log_f(&(struct log_number){{0}}, (v))

/* Once, at the start of main. Events below `level` are dropped. `service` is a field of each event.
 */
void log_init(const char *service, enum log_level level);

/* Where the time of an event comes from (milliseconds since 1970); the real clock unless set. */
void log_clock(long long (*now_ms)(void *arg), void *arg);

/* Where lines go; stderr unless set. For tests and for the simulation. */
void log_sink(void (*write_line)(void *arg, const char *line, unsigned long len), void *arg);

void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

/* An error, once, where it is handled: adds fields "error" (name) and "message". */
void log_error(const char *event, const struct err *e, ...) __attribute__((sentinel));

int log_level_parse(const char *text, enum log_level *level); /* 0 or -1 */

#endif
