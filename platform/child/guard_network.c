/*
 * An empty network namespace: not even loopback is up. Root makes one directly,
 * others inside a user namespace of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "platform/child/child_int.h"

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        errno = 0; /* unmapped, the user is shown as "nobody": rights are the same */
    close(fd);
}

int guard_network(const struct sandbox *s)
{
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

    if (unshare(CLONE_NEWNET) == 0)
        return 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return -1;
    /* The maps are root's in a process that isn't dumpable, as a parent with secrets made us. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", s->uid_map);
    write_text("/proc/self/gid_map", s->gid_map);
    prctl(PR_SET_DUMPABLE, dumpable == 1, 0, 0, 0);
    return 0;
}
