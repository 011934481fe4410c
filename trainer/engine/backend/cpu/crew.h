/*
 * A crew of threads that runs numbered tasks: the caller works too, so a crew
 * of 1 has no thread of its own. Each task is run once, by whoever is free;
 * nothing that a task computes may depend on who that is. Waiting threads spin
 * for some microseconds, then sleep. One caller at a time; not from a task.
 */
#ifndef TRAINER_ENGINE_BACKEND_CPU_CREW_H
#define TRAINER_ENGINE_BACKEND_CPU_CREW_H

#include "platform/base/err.h"

struct crew;

/* `start` (may be NULL) is called once in each new thread. */
int crew_new(struct crew **out, int threads, void (*start)(void), struct err *e);
void crew_free(struct crew *); /* accepts NULL */
int crew_threads(const struct crew *);
void crew_run(struct crew *, int tasks, void (*fn)(void *arg, int task), void *arg);

#endif
