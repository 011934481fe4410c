/*
 * A fresh process gives things up, for good, before it becomes the program:
 * network, privileges, resources, files, system calls. Runs between fork and exec.
 */
#include <errno.h>
#include <link.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/child/child_int.h"

#define OBJECTS_MAX ((size_t)1 << 20) /* bytes of the paths of shared libraries */

static int note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    if (info->dlpi_name[0] == '/')
        buf_add(arg, info->dlpi_name, strlen(info->dlpi_name) + 1);
    return 0;
}

int sandbox_prepare(struct sandbox *s, const struct child_spec *spec, struct err *e)
{
    struct buf objects;
    int rc;

    memset(s, 0, sizeof *s);
    s->spec = spec;
    snprintf(s->uid_map, sizeof s->uid_map, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(s->gid_map, sizeof s->gid_map, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    buf_init(&objects, OBJECTS_MAX);
    dl_iterate_phdr(note_object, &objects);
    if ((rc = buf_check(&objects, "the paths of shared libraries", e)) < 0) {
        buf_release(&objects);
        return rc;
    }
    s->objects_len = objects.len;
    s->objects = objects.data; /* taken over */
    return 0;
}

void sandbox_release(struct sandbox *s)
{
    free(s->objects);
    s->objects = NULL;
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
    rlim_t files = p->open_files ? (rlim_t)p->open_files : CHILD_OPEN_FILES;
    rlim_t cpu = (rlim_t)p->cpu_seconds;

    if (limit(RLIMIT_CORE, 0, 0) < 0 || limit(RLIMIT_NOFILE, files, files) < 0)
        return -1;
    if (p->memory_bytes && limit(RLIMIT_AS, p->memory_bytes, p->memory_bytes) < 0)
        return -1;
    if (p->file_bytes && limit(RLIMIT_FSIZE, p->file_bytes, p->file_bytes) < 0)
        return -1;
    if (cpu && limit(RLIMIT_CPU, cpu, cpu + 2) < 0) /* SIGXCPU, two seconds later SIGKILL */
        return -1;
    return 0;
}

/* Root's powers. What remains is a user who owns root's files: the guards are for that. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    int cap;

    for (cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* fails for a plain user, who has none to drop */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return (int)syscall(SYS_capset, &head, none);
}

static bool fenced(const struct child_spec *p)
{
    return p->readable || p->writable;
}

int sandbox_enter(const struct sandbox *s, const char **step)
{
    const struct child_spec *p = s->spec;
    bool guarded = p->policy != CHILD_OFF, all = p->policy == CHILD_REQUIRE;

    *step = "joining its group";
    if (s->door[0] && group_join(s->door) < 0)
        return -1;
    *step = "entering its folder";
    if (chdir(p->folder) < 0)
        return -1;
    if (guarded)
        guard_network(s); /* where it can't, guard_calls refuses the sockets */
    *step = "setting its limits";
    umask(077);
    if (set_limits(p) < 0)
        return -1;
    *step = "giving up privileges";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || (guarded && drop_capabilities() < 0))
        return -1;
    /* After the namespaces: a change of credentials clears the death signal. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -1;
    *step = "fencing its files (Landlock)";
    if (guarded && fenced(p) && guard_files(s) < 0 && all)
        return -1;
    *step = "filtering its system calls (seccomp)";
    return guarded && guard_calls() < 0 && all ? -1 : 0;
}

/* ---- what the host offers ---------------------------------------------------------------------
 */

const char *child_guard_name(enum child_guard g)
{
    static const char *const names[] = {
        [CHILD_CALLS] = "calls", [CHILD_FILES] = "files", [CHILD_NETWORK] = "network"};

    return names[g];
}

static int try_guard(enum child_guard g, const struct sandbox *s)
{
    if (g == CHILD_NETWORK)
        return guard_network(s);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return g == CHILD_FILES ? guard_files(s) : guard_calls();
}

int child_guard_try(enum child_guard g, struct err *e)
{
    static const char *const advice[] = {
        [CHILD_CALLS] = "the kernel has no seccomp filters here",
        [CHILD_FILES] =
            "Landlock (Linux 5.13 and later, switched on by lsm=landlock,...) is refused",
        [CHILD_NETWORK] = "neither a network nor a user namespace may be made here"};
    static const char *const no_argv[] = {"/", NULL};
    struct child_spec spec = {.argv = no_argv, .folder = "/"};
    struct sandbox s;
    pid_t pid;
    int rc = sandbox_prepare(&s, &spec, e), status = 0;

    if (rc < 0)
        return rc;
    if ((pid = fork()) == 0)
        _exit(try_guard(g, &s) < 0 ? errno & 0x7f : 0);
    sandbox_release(&s);
    if (pid < 0)
        return err_errno(e, ERR_IO, "a process that tries the guard of %s", child_guard_name(g));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return err_set(e, ERR_UNSUPPORTED, "%s: %s", advice[g],
                   WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "the process was killed");
}
