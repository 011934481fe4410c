/*
 * How far a command is, for the person in front of it: a bar that redraws itself
 * on a terminal, a plain line now and then elsewhere.
 *
 *   Uploading  [##########..........]  50%  12,500 of 25,000 documents  4,100/s  3 s left
 *
 * Belongs to one task. Writing errors are ignored: progress is no result.
 */
#ifndef PLATFORM_PROC_PROGRESS_H
#define PLATFORM_PROC_PROGRESS_H

#include <stdint.h>

#include "platform/base/err.h"

struct clock;
struct progress;

enum progress_style {
    PROGRESS_AUTO, /* a bar if fd is a terminal (and TERM is not "dumb"), else lines */
    PROGRESS_BAR,
    PROGRESS_LINES,
    PROGRESS_QUIET
};

/* `fd` is usually 2. The clock is borrowed. */
int progress_new(struct progress **out, struct clock *clock, int fd, enum progress_style style,
                 struct err *e);
void progress_free(struct progress *p); /* accepts NULL; leaves the terminal on a fresh line */

/* A new step: `total` 0 when it isn't known; `unit` "documents", "bytes" (shown as MiB). Ends the
 * step before. Texts are copied. */
void progress_step(struct progress *p, const char *title, int64_t total, const char *unit);
/* Cheap enough to be called per item; `note` may be NULL ("loss 0.123"). */
void progress_at(struct progress *p, int64_t done, const char *note);
/* The step is complete; its last state stays on the screen with the time it took. */
void progress_done(struct progress *p, const char *note);
/* A line of its own, above the bar. */
void progress_say(struct progress *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
