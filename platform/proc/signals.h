/*
 * SIGTERM and SIGINT ask the clock to stop (a drain); a second one ends the
 * process at once with 128 + its number. SIGPIPE is ignored: a broken pipe is an
 * error of write. Once per process, by main, before any task starts.
 */
#ifndef PLATFORM_PROC_SIGNALS_H
#define PLATFORM_PROC_SIGNALS_H

#include "platform/base/err.h"

struct clock;

/* `clock` must live until signals_release. */
int signals_install(struct clock *clock, struct err *e);
void signals_release(void); /* the former handlers again */

#endif
