/*
 * A fresh process gives things up, for good, before it becomes the program:
 * network, privileges, resources. Runs between fork and exec.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/child/child_int.h"

void sandbox_prepare(struct sandbox *s, const struct child_spec *spec)
{
    s->spec = spec;
    snprintf(s->uid_map, sizeof s->uid_map, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(s->gid_map, sizeof s->gid_map, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        errno = 0; /* unmapped, the user is shown as "nobody": rights are the same */
    close(fd);
}

/*
 * An empty network namespace: not even loopback is up. Root makes one directly,
 * others inside a user namespace of their own. Where the system forbids both
 * (some containers do), the child keeps the network.
 */
static void leave_network(const struct sandbox *s)
{
    if (unshare(CLONE_NEWNET) == 0)
        return;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return;
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", s->uid_map);
    write_text("/proc/self/gid_map", s->gid_map);
}

/* Never above what the process may have already. */
static int limit(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit now, want = {soft, hard};

    if (getrlimit((__rlimit_resource_t)what, &now) < 0)
        return -1;
    if (want.rlim_max > now.rlim_max)
        want.rlim_max = now.rlim_max;
    if (want.rlim_cur > want.rlim_max)
        want.rlim_cur = want.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &want);
}

static int set_limits(const struct child_spec *p)
{
    rlim_t files = p->open_files ? (rlim_t)p->open_files : CHILD_FILES;
    rlim_t cpu = (rlim_t)p->cpu_seconds;

    if (limit(RLIMIT_CORE, 0, 0) < 0 || limit(RLIMIT_NOFILE, files, files) < 0)
        return -1;
    if (p->memory_bytes && limit(RLIMIT_AS, p->memory_bytes, p->memory_bytes) < 0)
        return -1;
    if (p->file_bytes && limit(RLIMIT_FSIZE, p->file_bytes, p->file_bytes) < 0)
        return -1;
    if (cpu && limit(RLIMIT_CPU, cpu, cpu + 2) < 0) /* SIGXCPU, two seconds later SIGKILL */
        return -1;
    if (p->processes && limit(RLIMIT_NPROC, (rlim_t)p->processes, (rlim_t)p->processes) < 0)
        return -1;
    return 0;
}

int sandbox_enter(const struct sandbox *s, const char **step)
{
    *step = "entering its folder";
    if (chdir(s->spec->folder) < 0)
        return -1;
    leave_network(s);
    *step = "setting its limits";
    umask(077);
    if (set_limits(s->spec) < 0)
        return -1;
    /* After the namespaces: a change of credentials clears the death signal. */
    *step = "giving up privileges";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}
