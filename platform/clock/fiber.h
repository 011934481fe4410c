/*
 * A fiber: a stack of its own inside one thread, switched by hand (ucontext).
 * The sanitizers are told of each switch, so that their shadow stacks follow.
 * A fiber belongs to the thread that made it; switching happens only between
 * it and the context that resumed it. A fiber that is freed before its end
 * just never goes on; what it held on the heap is not released.
 */
#ifndef PLATFORM_CLOCK_FIBER_H
#define PLATFORM_CLOCK_FIBER_H

#include <stdbool.h>

#include "platform/base/err.h"

struct fiber;

int fiber_new(struct fiber **out, void (*fn)(void *), void *arg, struct err *e);
void fiber_free(struct fiber *f); /* accepts NULL; never the running one */

void fiber_resume(struct fiber *f);      /* runs it until it yields or ends */
void fiber_yield(struct fiber *f);       /* called inside f: back to who resumed it */
bool fiber_ended(const struct fiber *f); /* its function returned */

#endif
