#include "platform/child/child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "platform/child/child_int.h"

void tail_add(struct tail *t, const char *bytes, size_t n)
{
    if (n > sizeof t->bytes) {
        t->total += n - sizeof t->bytes;
        bytes += n - sizeof t->bytes;
        n = sizeof t->bytes;
    }
    while (n > 0) {
        size_t at = t->total % sizeof t->bytes, k = sizeof t->bytes - at;

        k = k < n ? k : n;
        memcpy(t->bytes + at, bytes, k);
        t->total += k;
        bytes += k;
        n -= k;
    }
}

void tail_copy(const struct tail *t, struct buf *to)
{
    size_t kept = t->total < sizeof t->bytes ? t->total : sizeof t->bytes, i = t->total - kept;

    if (i > 0) /* the first line was cut: begin behind its end, if there is one */
        for (; i < t->total && t->bytes[i % sizeof t->bytes] != '\n'; i++)
            ;
    i = i == t->total ? t->total - kept : i > t->total - kept ? i + 1 : i;
    for (; i < t->total; i++)
        buf_char(to, t->bytes[i % sizeof t->bytes]);
}

int child_spec_check(const struct child_spec *s, struct err *e)
{
    if (!s->argv || !s->argv[0] || s->argv[0][0] != '/')
        return err_set(e, ERR_USAGE, "a child needs the absolute path of its program, not '%s'",
                       s->argv && s->argv[0] ? s->argv[0] : "");
    if (!s->folder || s->folder[0] != '/')
        return err_set(e, ERR_USAGE, "a child needs an absolute working directory, not '%s'",
                       s->folder ? s->folder : "");
    if (s->cpu_seconds < 0 || s->open_files < 0 || s->processes < 0 || s->cpus < 0)
        return err_set(e, ERR_USAGE, "a child's limits cannot be negative");
    return 0;
}

static const char *hint(int signum)
{
    switch (signum) {
    case SIGKILL:
        return " (out of memory?)";
    case SIGXCPU:
        return " (over its CPU time)";
    case SIGXFSZ:
        return " (over its largest file)";
    case SIGSYS:
        return " (a forbidden system call)";
    default:
        return "";
    }
}

void child_end_set(struct child_end *end, int signum, int status)
{
    const char *name = signum ? sigabbrev_np(signum) : NULL;

    end->signalled = signum != 0;
    end->status = signum ? signum : status;
    if (name)
        snprintf(end->why, sizeof end->why, "killed by SIG%s%s", name, hint(signum));
    else if (signum)
        snprintf(end->why, sizeof end->why, "killed by signal %d", signum);
    else
        snprintf(end->why, sizeof end->why, "exit status %d", status);
}
