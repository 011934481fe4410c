/*
 * A run's process: started with limits, watched through pipes, ended for sure.
 *
 *   child_exec   fork + exec, guards, rlimits, no inherited descriptors or environment, own process
 *                group
 *   child_mem    a scripted twin for tests and the simulation
 *
 * A child belongs to the task that started it. Its stdout is a stream of lines
 * (events), its stderr the last of which are kept for a failure's report.
 */
#ifndef PLATFORM_CHILD_CHILD_H
#define PLATFORM_CHILD_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"

struct clock;
struct child_port;
struct child;

/*
 * What keeps a child from reaching further than its files. Each rests on something that the host
 * may lack.
 *
 *   CHILD_CALLS    a seccomp filter: no sockets, no other process (fork, ptrace, kill, System V
 *                  memory), no modes, owners or times of files, no links, no memory that no limit
 *                  counts, no namespaces or mounts, no io_uring
 *   CHILD_FILES    Landlock rules: its program, the shared libraries, what the spec lists
 *   CHILD_NETWORK  an empty network namespace
 *
 * no_new_privs, the limits and, for root, the loss of all capabilities hold everywhere. Groups
 * (child_exec_groups) count what the other limits don't: the kernel's memory for it, its pages of
 * files, its share of the processors.
 */
enum child_guard { CHILD_CALLS, CHILD_FILES, CHILD_NETWORK, CHILD_GUARDS };

enum child_policy {
    CHILD_BEST,    /* the guards that the host offers */
    CHILD_REQUIRE, /* all but CHILD_NETWORK, which CHILD_CALLS implies; else no start */
    CHILD_OFF      /* limits only: for sanitizers, which need what the guards forbid */
};

struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is an absolute path */
    const char *const *env;  /* "NAME=value", NULL-terminated: the whole environment */
    const char *folder;      /* working directory */
    enum child_policy policy;
    const char *const
        *readable; /* files and folders, NULL-terminated; NULL with `writable` NULL: */
    const char *const *writable; /* no CHILD_FILES. Folders: regular files and folders, no links */
    uint64_t space_bytes;  /* of all that it wrote in `writable`, by a thread that looks; 0: none */
    uint64_t memory_bytes; /* address space limit, and its group's; 0: none */
    uint64_t file_bytes;   /* largest file it may write; 0: none */
    int64_t cpu_seconds;   /* 0: none */
    int open_files;        /* 0: 256 */
    int processes;         /* threads that it may have, by that thread and by its group; 0: none */
    int cpus;              /* processors that it gets in a group; 0: all */
};

struct child_end {
    bool signalled;
    int status;    /* exit status, or the signal's number */
    char why[128]; /* "exit status 3", "killed by SIGKILL (out of memory?)" */
};

struct child_port_ops {
    int (*start)(struct child_port *, const struct child_spec *, struct child **, struct err *);
    int (*read)(struct child *, int timeout_ms, struct buf *line, struct err *);
    void (*signal)(struct child *, int signum);
    int (*wait)(struct child *, int timeout_ms, struct child_end *, struct err *);
    void (*errors)(struct child *, struct buf *tail);
    void (*child_free)(struct child *);
    void (*free)(struct child_port *);
};

struct child_port {
    const struct child_port_ops *ops;
};
struct child {
    struct child_port *port;
};

/* Needs a real clock. A child dies with the thread that started it. A program that cannot be
 * started, or a guard that CHILD_REQUIRE misses, is an error of child_start (ERR_CONFIG). */
int child_exec(struct child_port **out, struct clock *, struct err *e);

/*
 * From now on each child of a child_exec has a group of cgroup v2, with the memory, threads and
 * processors of its spec, below the group at `path`, which is for this process alone; NULL: below
 * this process's own, if that is delegated to it. In either case this process moves to a leaf of it
 * if it must. What a dead process left there is removed. ERR_UNSUPPORTED: why there are none, and
 * children are started without.
 */
int child_exec_groups(struct child_port *, const char *path, struct err *e);

/* Tries the guard in a process of its own. 0: it holds on this host; ERR_UNSUPPORTED: why not. */
int child_guard_try(enum child_guard g, struct err *e);
const char *child_guard_name(enum child_guard g); /* "calls", ... */

/*
 * The twin: `body` plays the child as a task of the clock. It emits lines, returns its exit status
 * or minus the number of a signal that killed it, and returns soon after child_mem_signalled.
 */
typedef int (*child_mem_body)(void *arg, struct child *self, const struct child_spec *spec);
int child_mem(struct child_port **out, struct clock *, child_mem_body body, void *arg,
              struct err *e);
void child_mem_emit(struct child *self, const char *line);     /* a line of stdout, without '\n' */
void child_mem_complain(struct child *self, const char *line); /* a line of stderr */
bool child_mem_signalled(struct child *self, int *signum);     /* has SIGTERM / SIGKILL arrived? */

/* Everything in the spec is copied. */
static inline int child_start(struct child_port *p, const struct child_spec *s, struct child **out,
                              struct err *e)
{
    return p->ops->start(p, s, out, e);
}
/* 1: one line of its stdout (without '\n') replaced what was in `line`; 0: none within the time, or
 * the clock was stopped meanwhile; ERR_NOT_FOUND: its stdout has ended; ERR_LIMIT: a line is over
 * 1 MiB. */
static inline int child_read(struct child *c, int timeout_ms, struct buf *line, struct err *e)
{
    return c->port->ops->read(c, timeout_ms, line, e);
}
/* To its whole process group. */
static inline void child_signal(struct child *c, int signum)
{
    c->port->ops->signal(c, signum);
}
/* 1: it ended, *end says how (what is left of its process group is killed); 0: still running. */
static inline int child_wait(struct child *c, int timeout_ms, struct child_end *end, struct err *e)
{
    return c->port->ops->wait(c, timeout_ms, end, e);
}
/* The last lines of its stderr (at most 16 KiB), appended to `tail`. */
static inline void child_errors(struct child *c, struct buf *tail)
{
    c->port->ops->errors(c, tail);
}
/* Kills its process group if it still runs, and reaps it. Accepts NULL. */
static inline void child_free(struct child *c)
{
    if (c)
        c->port->ops->child_free(c);
}
static inline void child_port_free(struct child_port *p)
{
    if (p)
        p->ops->free(p);
}

#endif
