/*
 * Shared inside platform/child.
 */
#ifndef PLATFORM_CHILD_CHILD_INT_H
#define PLATFORM_CHILD_CHILD_INT_H

#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

#include "platform/child/child.h"

#define CHILD_LINE_MAX   ((size_t)1 << 20) /* bytes of one line of stdout */
#define CHILD_ERRORS_MAX 16384             /* bytes of stderr that are kept */
#define CHILD_OPEN_FILES 256               /* open files where the spec says 0 */
#define CHILD_GROUP_MAX  512               /* bytes of a group's path */
#define CHILD_DOOR_MAX   (CHILD_GROUP_MAX + 64)

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
    char door[CHILD_DOOR_MAX];     /* of the group to join; "": none */
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
 * as it can be read, and counting stops above `enough`. */
uint64_t space_used(const char *folder, uint64_t enough);
/* Of a process's open files that have no name any more. */
uint64_t space_unlinked(pid_t pid);

/*
 * The thread beside a child: kills its process group when its files or its threads are over the
 * limits. To be joined when the child has ended or was killed, before it is reaped.
 */
#define WATCH_WHY 96
struct watch;
int watch_start(struct watch **out, const struct child_spec *spec, pid_t pid, int pidfd,
                struct err *e); /* *out stays as it is if nothing is to be watched */
void watch_join(struct watch *w, char why[WATCH_WHY]); /* accepts NULL; "": it killed nobody */

/*
 * Groups of cgroup v2. One that cannot be used is ERR_UNSUPPORTED, and its path is empty then.
 */
struct groups {
    char path[CHILD_GROUP_MAX]; /* children's groups are below it; "": none */
    bool cpu;                   /* that controller is there too */
    _Atomic unsigned made;
};
int groups_open(struct groups *g, const char *path, struct err *e); /* NULL: this process's own */
int group_make(struct groups *g, const struct child_spec *spec, char path[CHILD_GROUP_MAX],
               struct err *e);
void group_door(const char *path, char door[CHILD_DOOR_MAX]);
int group_join(const char *door); /* async-signal-safe; -1 with errno */
/* Kills who is in it. How often the kernel did so before, for memory. */
uint64_t group_remove(const char *path);

/* This process's group as /proc/self/cgroup and /proc/self/mountinfo tell. */
int group_find(const char *cgroups, const char *mounts, char path[CHILD_GROUP_MAX], struct err *e);
/* A number of memory.events. */
uint64_t group_count(const char *events, const char *name);

#endif
