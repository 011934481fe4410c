/*
 * Shared inside platform/child.
 */
#ifndef PLATFORM_CHILD_CHILD_INT_H
#define PLATFORM_CHILD_CHILD_INT_H

#include <stddef.h>

#include "platform/child/child.h"

#define CHILD_LINE_MAX   ((size_t)1 << 20) /* bytes of one line of stdout */
#define CHILD_ERRORS_MAX 16384             /* bytes of stderr that are kept */
#define CHILD_OPEN_FILES 256               /* open files where the spec says 0 */

/* The last bytes of a stream. */
struct tail {
    char bytes[CHILD_ERRORS_MAX];
    size_t total; /* bytes that were ever added */
};

void tail_add(struct tail *t, const char *bytes, size_t n);
void tail_copy(const struct tail *t, struct buf *to); /* whole lines, if some were lost */

int child_spec_check(const struct child_spec *s, struct err *e);

/* Fills `end`; signum 0: it exited with `status`. */
void child_end_set(struct child_end *end, int signum, int status);

/*
 * What a fresh process does to itself between fork and exec. Made before the
 * fork: afterwards only async-signal-safe calls are allowed, so no memory, no stdio.
 */
struct sandbox {
    const struct child_spec *spec;
    char uid_map[64], gid_map[64]; /* this user, as itself, in a new user namespace */
    char *objects;                 /* this program's shared libraries, each with its NUL */
    size_t objects_len;
};

int sandbox_prepare(struct sandbox *s, const struct child_spec *spec, struct err *e);
void sandbox_release(struct sandbox *s);

/* 0, or -1 with errno; *step then names what failed. */
int sandbox_enter(const struct sandbox *s, const char **step);

/* The guards, each in its file: 0, or -1 with errno. Async-signal-safe, for good; CHILD_FILES and
 * CHILD_CALLS need no_new_privs, and CHILD_CALLS is the last, since it forbids the others. */
int guard_network(const struct sandbox *s);
int guard_files(const struct sandbox *s);
int guard_calls(void);

/* Bytes that a folder's files hold on disk, a page more for each entry; a broken tree counts as far
 * as it can be read. */
uint64_t space_used(const char *folder);

#endif
