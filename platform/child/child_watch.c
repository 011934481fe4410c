/*
 * A thread that watches a child while its parent is busy with other things: no kernel limit knows
 * how much a process wrote in all, or, without a group, how many threads it has.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "platform/base/file.h"
#include "platform/child/child_int.h"

#define LOOK_MS 100 /* between looks at its threads and the disk's free space */
#define WALKS   10  /* looks until its folders are walked through in any case */

struct watch {
    pthread_t thread;
    pid_t pid; /* also its process group; not reaped before watch_join */
    int pidfd;
    int threads_max;      /* 0: no limit */
    uint64_t space_bytes; /* 0: no limit */
    char **writable;      /* copies, NULL-terminated */
    int since;            /* looks since the last walk */
    uint64_t used, free;  /* then: by it, and left on the disk */
    char why[WATCH_WHY];  /* it killed the child, for this */
};

static void end_it(struct watch *w, const char *what, uint64_t limit, const char *unit)
{
    snprintf(w->why, sizeof w->why, "killed: %s over %llu %s", what, (unsigned long long)limit,
             unit);
    kill(-w->pid, SIGKILL);
}

/* The 20th field of /proc/PID/stat; 0: it can't be told. */
static long threads_of(pid_t pid)
{
    char path[64], *fields = NULL;
    struct err e = ERR_INIT;
    struct buf b;
    long n = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    buf_init(&b, 4096);
    if (file_read(path, &b, &e) == 0 && b.data)
        fields = strrchr(b.data, ')'); /* the end of its name, which may hold anything */
    if (fields && sscanf(fields,
                         ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d"
                         " %*d %ld",
                         &n) != 1)
        n = 0;
    buf_release(&b);
    return n;
}

static uint64_t free_bytes(const char *folder)
{
    struct statvfs s;

    return statvfs(folder, &s) == 0 ? (uint64_t)s.f_bfree * s.f_frsize : 0;
}

/* Walking costs: only after a while, or when so much left the disk that it may be the child's
 * limit. */
static bool is_walk_due(struct watch *w)
{
    uint64_t now = free_bytes(w->writable[0]), left = w->space_bytes - w->used;

    return w->since++ >= WALKS || (now < w->free && w->free - now >= left / 2);
}

static void look_at_space(struct watch *w)
{
    char **at;

    if (!w->space_bytes || !is_walk_due(w))
        return;
    w->since = 0;
    w->free = free_bytes(w->writable[0]);
    w->used = space_unlinked(w->pid);
    for (at = w->writable; *at && w->used <= w->space_bytes; at++)
        w->used += space_used(*at, w->space_bytes);
    if (w->used > w->space_bytes)
        end_it(w, "its files are", w->space_bytes, "bytes");
}

static void *watch_thread(void *arg)
{
    struct watch *w = arg;
    struct pollfd fd = {.fd = w->pidfd, .events = POLLIN};
    int rc;

    while ((rc = poll(&fd, 1, LOOK_MS)) == 0 || (rc < 0 && errno == EINTR)) {
        if (w->why[0])
            continue;
        if (w->threads_max && threads_of(w->pid) > w->threads_max)
            end_it(w, "it has", (uint64_t)w->threads_max, "threads");
        else
            look_at_space(w);
    }
    return NULL;
}

static void watch_free(struct watch *w)
{
    char **at;

    for (at = w->writable; at && *at; at++)
        free(*at);
    free(w->writable);
    free(w);
}

static int copy_writable(struct watch *w, const struct child_spec *spec)
{
    size_t n = 0;

    if (!spec->space_bytes || !spec->writable || !spec->writable[0])
        return 0;
    while (spec->writable[n])
        n++;
    if (!(w->writable = calloc(n + 1, sizeof *w->writable)))
        return -1;
    for (n = 0; spec->writable[n]; n++)
        if (!(w->writable[n] = strdup(spec->writable[n])))
            return -1;
    w->space_bytes = spec->space_bytes;
    w->free = free_bytes(w->writable[0]);
    return 0;
}

int watch_start(struct watch **out, const struct child_spec *spec, pid_t pid, int pidfd,
                struct err *e)
{
    struct watch *w;
    sigset_t all, before;
    int failed;

    if (!spec->processes && !spec->space_bytes)
        return 0;
    w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "watching %s", spec->argv[0]);
    w->pid = pid;
    w->pidfd = pidfd;
    w->threads_max = spec->processes;
    failed = copy_writable(w, spec);
    sigfillset(&all); /* signals are for other threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = failed < 0 || pthread_create(&w->thread, NULL, watch_thread, w) != 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        watch_free(w);
        return err_set(e, ERR_NOMEM, "watching %s", spec->argv[0]);
    }
    *out = w;
    return 0;
}

void watch_join(struct watch *w, char why[WATCH_WHY])
{
    why[0] = '\0';
    if (!w)
        return;
    pthread_join(w->thread, NULL);
    memcpy(why, w->why, WATCH_WHY);
    watch_free(w);
}
