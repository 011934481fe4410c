/*
 * Landlock rules (landlock(7)): whatever is not listed can be neither read, written nor run, by
 * whatever name or link; newer kernels also refuse TCP, and signals to others. Names and sizes stay
 * visible, modes and times can be set: Landlock does not cover stat(2) and chmod(2), but
 * guard_calls refuses the latter.
 *
 * In what it may write to, it can make regular files and folders, and nothing else: a link there
 * might lead its parent astray.
 */
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/child/child_int.h"

/* Newer than the headers of Debian 12. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

/* A ruleset as Linux 6.12 knows it: headers are older. */
struct ruleset {
    __u64 files;
    __u64 network; /* version 4: TCP to bind, to connect */
    __u64 scoped;  /* version 6: abstract Unix sockets, signals, of processes outside */
};

#define READ_FILE  (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE)
#define READ       (READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_FILE (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define WRITE                                                                                      \
    (WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |                     \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                              \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REFER)

/* What every program of this system reads: libraries, and how many processors there are. */
static const char *const system_files[] = {"/lib",
                                           "/lib64",
                                           "/usr/lib",
                                           "/usr/lib64",
                                           "/usr/local/lib",
                                           "/etc/ld.so.cache",
                                           "/proc/self",
                                           "/proc/cpuinfo",
                                           "/proc/meminfo",
                                           "/proc/stat",
                                           "/sys/devices/system/cpu",
                                           "/sys/devices/system/node",
                                           NULL};

/* All rights that this kernel's version knows, so that what is not granted is refused. */
static __u64 rights_of(int version)
{
    __u64 all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

    if (version >= 2)
        all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        all |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (version >= 5)
        all |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    return all;
}

/* A path that isn't there needs no rule. */
static int allow(int ruleset, const char *path, __u64 rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};
    struct stat st;
    int rc;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return 0;
    rc = fstat(rule.parent_fd, &st);
    if (rc == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= READ_FILE | WRITE_FILE;
    if (rc == 0)
        rc = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return rc;
}

static int allow_list(int ruleset, const char *const *paths, __u64 rights)
{
    for (; paths && *paths; paths++)
        if (allow(ruleset, *paths, rights) < 0)
            return -1;
    return 0;
}

static int allow_all(int ruleset, const struct sandbox *s, __u64 all)
{
    size_t i;

    for (i = 0; i < s->objects_len; i += strlen(s->objects + i) + 1)
        if (allow(ruleset, s->objects + i, READ & all) < 0)
            return -1;
    if (allow(ruleset, s->spec->argv[0], READ_FILE & all) < 0 ||
        allow_list(ruleset, system_files, READ & all) < 0 ||
        allow_list(ruleset, s->spec->readable, (READ & ~LANDLOCK_ACCESS_FS_EXECUTE) & all) < 0)
        return -1;
    return allow_list(ruleset, s->spec->writable, WRITE & all);
}

int guard_files(const struct sandbox *s)
{
    int version =
        (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset attr = {
        .files = rights_of(version),
        .network = 3,
        .scoped = 3,
    };
    size_t size = version >= 6   ? sizeof attr
                  : version >= 4 ? offsetof(struct ruleset, scoped)
                                 : offsetof(struct ruleset, network);
    int ruleset, rc;

    if (version < 0)
        return -1;
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (ruleset < 0)
        return -1;
    rc = allow_all(ruleset, s, attr.files);
    if (rc == 0)
        rc = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return rc;
}
