/*
 * Groups of cgroup v2: each child in one of its own, with its limits, below a group that was given
 * to this service or that it is in and that was delegated to it.
 *
 * A group with controllers for its children has no processes itself: where the service alone is in
 * it, it moves into a leaf.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/base/text.h"
#include "platform/child/child_int.h"

#define LEAF      "tripline-worker"
#define RUN       "tripline-run-"
#define TEXT_MAX  ((size_t)1 << 20) /* of a file of /proc or of a group */
#define PERIOD_US 100000            /* of cpu.max */
#define REMOVE_MS 500               /* that dead processes may take to leave their group */

/* ---- where --------------------------------------------------------------------------------------
 */

/* The path of this process in the hierarchy: the line "0::/path". */
static bool own_place(const char *cgroups, char *to, size_t size)
{
    const char *line = strncmp(cgroups, "0::/", 4) == 0 ? cgroups : strstr(cgroups, "\n0::/");
    size_t n;

    if (!line)
        return false;
    line = strchr(line, '/');
    n = strcspn(line, "\n");
    return n < size && snprintf(to, size, "%.*s", (int)n, line) >= 0;
}

/* A line of mountinfo(5): "36 35 98:0 ROOT POINT options tags - TYPE source options". */
static bool mount_line(const char *line, char root[CHILD_GROUP_MAX], char point[CHILD_GROUP_MAX])
{
    const char *type = strstr(line, " - ");

    return type && strncmp(type, " - cgroup2 ", 11) == 0 &&
           sscanf(line, "%*s %*s %*s %511s %511s", root, point) == 2 && !strchr(point, '\\');
}

/* Is the group `place` `root` or below it? */
static bool below(const char *place, const char *root)
{
    size_t n = strlen(root);

    return strncmp(place, root, n) == 0 && (place[n] == '/' || place[n] == '\0');
}

int group_find(const char *cgroups, const char *mounts, char path[CHILD_GROUP_MAX], struct err *e)
{
    char place[CHILD_GROUP_MAX], root[CHILD_GROUP_MAX], point[CHILD_GROUP_MAX], line[4096];
    size_t n;

    if (!own_place(cgroups, place, sizeof place))
        return err_set(e, ERR_UNSUPPORTED, "there is no cgroup v2 here");
    for (; *mounts; mounts += n + (mounts[n] == '\n')) {
        n = strcspn(mounts, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : 0), mounts);
        if (!mount_line(line, root, point))
            continue;
        if (strcmp(root, "/") == 0)
            root[0] = '\0';
        if (!below(place, root) || strstr(place, "/.."))
            continue;
        if (snprintf(path, CHILD_GROUP_MAX, "%s%s", point, place + strlen(root)) <
            CHILD_GROUP_MAX) {
            n = strlen(path);
            if (path[n - 1] == '/')
                path[n - 1] = '\0';
            return 0;
        }
    }
    return err_set(e, ERR_UNSUPPORTED, "no cgroup v2 is mounted that holds this process");
}

static int read_text(const char *folder, const char *name, struct buf *b, struct err *e)
{
    char path[CHILD_GROUP_MAX + 64];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    buf_reset(b);
    return file_read(path, b, e);
}

/* This process's own group: that above the leaf, if it has moved already. */
static int own_group(char path[CHILD_GROUP_MAX], struct err *e)
{
    struct buf cgroups, mounts;
    size_t leaf = strlen("/" LEAF), n;
    int rc;

    buf_init(&cgroups, TEXT_MAX);
    buf_init(&mounts, TEXT_MAX);
    if ((rc = read_text("/proc/self", "cgroup", &cgroups, e)) < 0 ||
        (rc = read_text("/proc/self", "mountinfo", &mounts, e)) < 0)
        rc = err_set(e, ERR_UNSUPPORTED, "there is no /proc here");
    else
        rc = group_find(cgroups.data ? cgroups.data : "", mounts.data ? mounts.data : "", path, e);
    buf_release(&cgroups);
    buf_release(&mounts);
    n = rc == 0 ? strlen(path) : 0;
    if (n > leaf && strcmp(path + n - leaf, "/" LEAF) == 0)
        path[n - leaf] = '\0';
    return rc;
}

/* Root may write to any group, but one that a service manager keeps for itself is not to be used.
 * The topmost group that is seen is nobody else's. */
static bool delegated(const char *path)
{
    char file[CHILD_GROUP_MAX + 64], mark[8];

    snprintf(file, sizeof file, "%s/cgroup.subtree_control", path);
    if (access(file, W_OK) < 0)
        return false;
    snprintf(file, sizeof file, "%s/../cgroup.procs", path);
    return geteuid() != 0 || access(file, F_OK) < 0 ||
           getxattr(path, "user.delegate", mark, sizeof mark) > 0 ||
           getxattr(path, "trusted.delegate", mark, sizeof mark) > 0;
}

/* ---- its files ----------------------------------------------------------------------------------
 */

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC), errnum;
    bool failed;

    if (fd < 0)
        return -1;
    failed = write(fd, text, strlen(text)) < 0;
    errnum = errno;
    close(fd);
    errno = errnum;
    return failed ? -1 : 0;
}

static int write_text(const char *folder, const char *name, const char *text)
{
    char path[CHILD_GROUP_MAX + 128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return write_file(path, text);
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (text += strspn(text, " \n"); *text; text += strspn(text, " \n")) {
        if (strcspn(text, " \n") == n && strncmp(text, word, n) == 0)
            return true;
        text += strcspn(text, " \n");
    }
    return false;
}

uint64_t group_count(const char *events, const char *name)
{
    size_t n = strlen(name);
    const char *line;

    for (line = events; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, name, n) == 0 && line[n] == ' ')
            return strtoull(line + n, NULL, 10);
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static int need_controllers(struct groups *g, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, TEXT_MAX);
    if (read_text(g->path, "cgroup.controllers", &b, e) < 0 || !b.data)
        rc = err_set(e, ERR_UNSUPPORTED, "%s is no group of cgroup v2", g->path);
    else if (!has_word(b.data, "memory") || !has_word(b.data, "pids"))
        rc = err_set(e, ERR_UNSUPPORTED, "%s lacks the controllers memory and pids (it has: %.*s)",
                     g->path, (int)strcspn(b.data, "\n"), b.data);
    else
        rc = 0;
    g->cpu = rc == 0 && has_word(b.data, "cpu");
    buf_release(&b);
    return rc;
}

/* Out of the group itself, if no other process is there. */
static int move_to_leaf(const struct groups *g, struct err *e)
{
    char leaf[CHILD_GROUP_MAX + 64], self[32];
    struct buf b;
    int rc;

    buf_init(&b, TEXT_MAX);
    snprintf(self, sizeof self, "%d\n", (int)getpid());
    if ((rc = read_text(g->path, "cgroup.procs", &b, e)) == 0 &&
        (!b.data || strcmp(b.data, self) != 0))
        rc = err_set(e, ERR_UNSUPPORTED,
                     "other processes are in %s: this one needs a group of its own", g->path);
    buf_release(&b);
    if (rc < 0)
        return rc;
    snprintf(leaf, sizeof leaf, "%s/" LEAF, g->path);
    if ((mkdir(leaf, 0755) < 0 && errno != EEXIST) || write_text(leaf, "cgroup.procs", "0") < 0)
        return err_errno(e, ERR_UNSUPPORTED, "%s", leaf);
    return 0;
}

static int enable_controllers(const struct groups *g, struct err *e)
{
    const char *want = g->cpu ? "+memory +pids +cpu" : "+memory +pids";

    if (write_text(g->path, "cgroup.subtree_control", want) == 0)
        return 0;
    if (errno == EBUSY && move_to_leaf(g, e) < 0)
        return e->code;
    if (write_text(g->path, "cgroup.subtree_control", want) == 0)
        return 0;
    return err_errno(e, ERR_UNSUPPORTED, "%s/cgroup.subtree_control", g->path);
}

static bool is_gone(const char *name)
{
    char number[16];
    int64_t pid;

    snprintf(number, sizeof number, "%.*s", (int)strcspn(name + strlen(RUN), "-"),
             name + strlen(RUN));
    if (text_i64(number, 1, INT32_MAX, &pid) < 0)
        return false; /* not ours */
    return pid == getpid() || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

/* Groups of a process that is gone, and whoever may still be in them. */
static void remove_left(const struct groups *g)
{
    char path[CHILD_GROUP_MAX + 300];
    DIR *d = opendir(g->path);
    struct dirent *entry;

    while (d && (entry = readdir(d))) {
        if (strncmp(entry->d_name, RUN, strlen(RUN)) != 0 || !is_gone(entry->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", g->path, entry->d_name);
        group_remove(path);
    }
    if (d)
        closedir(d);
}

/* Does a process get in? */
static int try_group(struct groups *g, struct err *e)
{
    static const char *const no_argv[] = {"/", NULL};
    const struct child_spec spec = {
        .argv = no_argv, .folder = "/", .memory_bytes = 64 << 20, .processes = 8, .cpus = 1};
    char path[CHILD_GROUP_MAX], door[CHILD_DOOR_MAX];
    int status = 0;
    pid_t pid;

    if (group_make(g, &spec, path, e) < 0)
        return e->code;
    group_door(path, door);
    if ((pid = fork()) == 0)
        _exit(group_join(door) < 0 ? errno & 0x7f : 0);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    group_remove(path);
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return err_set(e, ERR_UNSUPPORTED, "no process can be put into a group below %s: %s", g->path,
                   pid > 0 && WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "it was killed");
}

int groups_open(struct groups *g, const char *path, struct err *e)
{
    int rc = 0;

    memset(g, 0, sizeof *g);
    if (!path)
        rc = own_group(g->path, e);
    else if (snprintf(g->path, sizeof g->path, "%s", path) >= (int)sizeof g->path)
        rc = err_set(e, ERR_UNSUPPORTED, "the path of a group is over %zu bytes", sizeof g->path);
    if (rc == 0 && (rc = need_controllers(g, e)) == 0 && !path && !delegated(g->path))
        rc = err_set(e, ERR_UNSUPPORTED, "%s is not delegated to this process", g->path);
    if (rc == 0 && (rc = enable_controllers(g, e)) == 0) {
        remove_left(g);
        rc = try_group(g, e);
    }
    if (rc < 0)
        g->path[0] = '\0';
    return rc;
}

/* ---- a child's ----------------------------------------------------------------------------------
 */

static int set_number(const char *group, const char *name, uint64_t value)
{
    char text[64];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return write_text(group, name, text);
}

static int set_limits(const struct groups *g, const struct child_spec *s, const char *group)
{
    char cpu[64];

    snprintf(cpu, sizeof cpu, "%lld %d", (long long)s->cpus * PERIOD_US, PERIOD_US);
    write_text(group, "memory.oom.group", "1");
    if (s->memory_bytes && (set_number(group, "memory.max", s->memory_bytes) < 0 ||
                            (set_number(group, "memory.swap.max", 0) < 0 && errno != ENOENT)))
        return -1;
    if (s->processes && set_number(group, "pids.max", (uint64_t)s->processes) < 0)
        return -1;
    return g->cpu && s->cpus ? write_text(group, "cpu.max", cpu) : 0;
}

int group_make(struct groups *g, const struct child_spec *spec, char path[CHILD_GROUP_MAX],
               struct err *e)
{
    int n = snprintf(path, CHILD_GROUP_MAX, "%s/" RUN "%d-%u", g->path, (int)getpid(),
                     atomic_fetch_add(&g->made, 1));

    if (n >= CHILD_GROUP_MAX)
        return err_set(e, ERR_UNSUPPORTED, "the path of a group is over %d bytes", CHILD_GROUP_MAX);
    if (mkdir(path, 0755) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (set_limits(g, spec, path) == 0)
        return 0;
    err_errno(e, ERR_IO, "the limits of %s", path);
    group_remove(path);
    return e->code;
}

void group_door(const char *path, char door[CHILD_DOOR_MAX])
{
    snprintf(door, CHILD_DOOR_MAX, "%s/cgroup.procs", path);
}

int group_join(const char *door)
{
    return write_file(door, "0");
}

uint64_t group_remove(const char *path)
{
    struct err e = ERR_INIT;
    struct buf b;
    uint64_t killed = 0;
    int i;

    buf_init(&b, TEXT_MAX);
    if (read_text(path, "memory.events", &b, &e) == 0 && b.data)
        killed = group_count(b.data, "oom_kill");
    buf_release(&b);
    write_text(path, "cgroup.kill", "1");
    for (i = 0; i < REMOVE_MS && rmdir(path) < 0 && errno == EBUSY; i++)
        usleep(1000);
    return killed;
}
