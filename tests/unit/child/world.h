/* What the tests of children share. */
#ifndef TESTS_UNIT_CHILD_WORLD_H
#define TESTS_UNIT_CHILD_WORLD_H

#include <stdbool.h>

#include "platform/child/child.h"

/* A sanitizer's shadow memory needs more address space than any limit leaves, and at its end it
 * does what the guards forbid. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WORLD_SHADOWED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WORLD_SHADOWED 1
#endif
#endif

#ifdef WORLD_SHADOWED
#define WORLD_POLICY CHILD_OFF
#else
#define WORLD_POLICY CHILD_BEST
#endif

#define LONG_MS 20000 /* far more than anything here takes */

struct world {
    struct clock *clock;
    struct child_port *port;
    bool simulated;
};

/* Each is a cmocka fixture: real processes in real time, and the end of any world. */
int world_real(void **state);
int world_free(void **state);

#define WORLD_SPEC(program, ...)                                                                   \
    {                                                                                              \
        .argv = (const char *const[]){program, __VA_ARGS__, NULL}, .folder = "/",                  \
        .policy = WORLD_POLICY                                                                     \
    }

struct child *start(struct world *w, const struct child_spec *spec);
void expect_line(struct child *c, const char *want);
void expect_no_more(struct child *c);
struct child_end expect_end(struct child *c);

/* Starts it, and it says this line. */
void expect_start(struct world *w, struct child_spec spec, enum child_policy policy,
                  const char *line);

/* False: the guard can't be had here, and the log says why. */
bool holds(enum child_guard g);

#endif
