/*
 * Real processes. Waiting is poll(2) on the pipes and a pidfd; time comes from
 * the clock, which therefore must be a real one. The kernel ends the child when
 * the thread that started it ends (PR_SET_PDEATHSIG).
 */
#include "platform/child/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/child/child_int.h"
#include "platform/clock/clock.h"

#define SLICE_MS   100 /* how late a stop of the clock may be noticed */
#define READ_BYTES 65536

struct exec_port {
    struct child_port port;
    struct clock *clock; /* borrowed */
    struct groups groups;
};

struct exec_child {
    struct child child;
    struct clock *clock;
    pid_t pid;              /* also its process group; 0: none */
    int pidfd, out, errors; /* -1: closed */
    struct buf in;          /* bytes of stdout that were read */
    size_t pos, scanned;    /* consumed; searched for '\n' */
    bool ended;             /* reaped; `end` is valid */
    struct child_end end;
    struct watch *watch;         /* NULL: nothing is watched */
    char group[CHILD_GROUP_MAX]; /* "": none */
    struct tail tail;
};

/* What a child that could not become the program writes into the report pipe. */
struct report {
    const char *step; /* valid in the parent too: the child is its copy */
    int errnum;
};

struct pipes {
    int out[2], errors[2], report[2];
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void pipes_close(struct pipes *p)
{
    int i;

    for (i = 0; i < 2; i++) {
        close_fd(&p->out[i]);
        close_fd(&p->errors[i]);
        close_fd(&p->report[i]);
    }
}

static int pipes_open(struct pipes *p, struct err *e)
{
    memset(p, -1, sizeof *p);
    if (pipe2(p->out, O_CLOEXEC) < 0 || pipe2(p->errors, O_CLOEXEC) < 0 ||
        pipe2(p->report, O_CLOEXEC) < 0 || fcntl(p->out[0], F_SETFL, O_NONBLOCK) < 0 ||
        fcntl(p->errors[0], F_SETFL, O_NONBLOCK) < 0) {
        err_errno(e, ERR_IO, "the pipes of a child");
        pipes_close(p);
        return e->code;
    }
    return 0;
}

/* Below: only async-signal-safe calls, in the new process. */

static void default_signals(void)
{
    struct sigaction act = {.sa_handler = SIG_DFL};
    sigset_t none;
    int i;

    for (i = 1; i < NSIG; i++)
        sigaction(i, &act, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* 0 /dev/null, 1 out, 2 errors, 3 the report (closed by exec), nothing else. The ends are first
 * moved above 3, since the parent may have had 0 to 2 closed. */
static int arrange_files(const struct pipes *p)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int from[4] = {null, p->out[1], p->errors[1], p->report[1]};
    int i;

    for (i = 0; i < 4; i++)
        if ((from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 10)) < 0)
            return -1;
    for (i = 0; i < 4; i++)
        if (dup2(from[i], i) < 0)
            return -1;
    if (fcntl(3, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    return close_range(4, ~0U, 0);
}

static void become(const struct child_spec *spec, const struct sandbox *sandbox,
                   const struct pipes *p, pid_t parent)
{
    static const char *const no_env[] = {NULL};
    struct report r = {.step = "arranging its files"};
    int report = p->report[1];

    setpgid(0, 0);
    default_signals();
    if (arrange_files(p) < 0)
        goto fail;
    report = 3;
    if (sandbox_enter(sandbox, &r.step) < 0)
        goto fail;
    if (getppid() != parent) /* it ended before the death signal was set */
        _exit(127);
    r.step = "starting the program";
    execve(spec->argv[0], (char *const *)spec->argv,
           (char *const *)(spec->env ? spec->env : no_env));
fail:
    r.errnum = errno;
    if (write(report, &r, sizeof r) < 0)
        _exit(126);
    _exit(127);
}

/* Above: the new process. */

/* Waits until the child became the program (its end closes) or said why not. */
static int read_report(int fd, const struct child_spec *spec, struct err *e)
{
    struct report r;
    ssize_t n;

    do
        n = read(fd, &r, sizeof r);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof r)
        return err_set(e, ERR_INTERNAL, "%s: no report from the new process", spec->argv[0]);
    errno = r.errnum;
    return err_errno(e, r.errnum == ENOMEM ? ERR_NOMEM : ERR_CONFIG, "child %s: %s (in %s)",
                     spec->argv[0], r.step, spec->folder);
}

/* Its group goes with it; whom the kernel killed there ran out of memory. */
static void leave_group(struct exec_child *c)
{
    uint64_t killed = c->group[0] ? group_remove(c->group) : 0;

    c->group[0] = '\0';
    if (killed && c->end.signalled && c->end.status == SIGKILL)
        snprintf(c->end.why, sizeof c->end.why,
                 "killed: out of memory (over the limit of its group)");
}

static void reap(struct exec_child *c)
{
    siginfo_t info = {0};
    char why[WATCH_WHY];

    /* While the dead leader is unreaped its number can't be given away: the rest of the group is
     * surely ours. */
    kill(-c->pid, SIGKILL);
    watch_join(c->watch, why);
    c->watch = NULL;
    while (waitid(P_PID, (id_t)c->pid, &info, WEXITED) < 0 && errno == EINTR)
        ;
    c->ended = true;
    if (info.si_code == CLD_EXITED)
        child_end_set(&c->end, 0, info.si_status);
    else
        child_end_set(&c->end, info.si_status, 0);
    if (why[0])
        snprintf(c->end.why, sizeof c->end.why, "%s", why);
    leave_group(c);
    close_fd(&c->pidfd);
}

static void exec_child_free(struct child *child)
{
    struct exec_child *c = (struct exec_child *)child;

    if (!c)
        return;
    if (c->pid > 0 && !c->ended)
        reap(c);
    leave_group(c); /* of one that was never started */
    close_fd(&c->pidfd);
    close_fd(&c->out);
    close_fd(&c->errors);
    buf_release(&c->in);
    free(c);
}

static int launch(struct exec_child *c, const struct child_spec *spec, struct pipes *p,
                  struct err *e)
{
    struct sandbox sandbox;
    pid_t self = getpid();

    if (sandbox_prepare(&sandbox, spec, e) < 0)
        return e->code;
    if (c->group[0])
        group_door(c->group, sandbox.door);
    c->pid = fork();
    if (c->pid != 0)
        sandbox_release(&sandbox);
    if (c->pid < 0) {
        c->pid = 0;
        return err_errno(e, ERR_IO, "a new process for %s", spec->argv[0]);
    }
    if (c->pid == 0)
        become(spec, &sandbox, p, self);
    setpgid(c->pid, c->pid); /* whoever comes first; EACCES once it is the program */
    close_fd(&p->out[1]);
    close_fd(&p->errors[1]);
    close_fd(&p->report[1]);
    if (read_report(p->report[0], spec, e) < 0)
        return e->code;
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (c->pidfd < 0)
        return err_errno(e, ERR_IO, "watching the process of %s", spec->argv[0]);
    return watch_start(&c->watch, spec, c->pid, c->pidfd, e);
}

/* Where the port has groups: what is limited otherwise too is limited for good there. */
static int enter_group(struct exec_child *c, struct groups *groups, const struct child_spec *spec,
                       struct err *e)
{
    int rc =
        groups->path[0] && spec->policy != CHILD_OFF ? group_make(groups, spec, c->group, e) : 0;

    if (rc < 0)
        c->group[0] = '\0';
    return rc;
}

static int exec_start(struct child_port *port, const struct child_spec *spec, struct child **out,
                      struct err *e)
{
    struct exec_port *own = (struct exec_port *)port;
    struct exec_child *c;
    struct pipes p;
    int rc;

    if ((rc = child_spec_check(spec, e)) < 0)
        return rc;
    c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "starting %s", spec->argv[0]);
    c->child.port = port;
    c->clock = own->clock;
    c->pidfd = c->out = c->errors = -1;
    buf_init(&c->in, CHILD_LINE_MAX + READ_BYTES);
    if ((rc = enter_group(c, &own->groups, spec, e)) < 0 || (rc = pipes_open(&p, e)) < 0)
        goto fail;
    rc = launch(c, spec, &p, e);
    c->out = p.out[0];
    c->errors = p.errors[0];
    p.out[0] = p.errors[0] = -1;
    pipes_close(&p);
    if (rc < 0)
        goto fail;
    *out = &c->child;
    return 0;
fail:
    exec_child_free(&c->child);
    return rc;
}

/* A full pipe's worth at most, lest an endless complainer keeps us here. */
static void take_errors(struct exec_child *c)
{
    char bytes[4096];
    ssize_t n = 1;
    int i;

    for (i = 0; i < 16 && c->errors >= 0 && n > 0; i++)
        if ((n = read(c->errors, bytes, sizeof bytes)) > 0)
            tail_add(&c->tail, bytes, (size_t)n);
    if (n == 0)
        close_fd(&c->errors);
}

/* Takes what is there from stderr, then what fits from stdout. */
static int take(struct exec_child *c, struct err *e)
{
    char *to;
    ssize_t n;

    take_errors(c);
    if (c->out < 0 || c->in.len - c->pos > CHILD_LINE_MAX)
        return 0;
    if (c->pos > 0) {
        memmove(c->in.data, c->in.data + c->pos, c->in.len - c->pos);
        c->in.len -= c->pos;
        c->scanned -= c->pos;
        c->pos = 0;
    }
    to = buf_reserve(&c->in, READ_BYTES);
    if (!to)
        return buf_check(&c->in, "a child's output", e);
    n = read(c->out, to, READ_BYTES);
    if (n > 0)
        c->in.len += (size_t)n;
    else if (n == 0)
        close_fd(&c->out);
    return 0;
}

/* 1: a line was moved to `line`; 0: none yet; ERR_NOT_FOUND: the stream is over; ERR_LIMIT. */
static int next_line(struct exec_child *c, struct buf *line, struct err *e)
{
    size_t fresh = c->in.len - c->scanned, n;
    char *end = fresh ? memchr(c->in.data + c->scanned, '\n', fresh) : NULL;

    c->scanned = c->in.len;
    n = end ? (size_t)(end - c->in.data) - c->pos : c->in.len - c->pos;
    if (n > CHILD_LINE_MAX)
        return err_set(e, ERR_LIMIT, "a line of the child's output is longer than %zu bytes",
                       CHILD_LINE_MAX);
    if (!end && c->out >= 0)
        return 0;
    if (!end && n == 0)
        return err_set(e, ERR_NOT_FOUND, "the child's output has ended");
    buf_reset(line);
    buf_add(line, c->in.data + c->pos, n);
    c->pos = end ? c->pos + n + 1 : c->in.len; /* a last line may lack its '\n' */
    c->scanned = c->pos;
    return buf_check(line, "a line of the child's output", e) < 0 ? e->code : 1;
}

/* When a wait gives up: its time is over, or a stop came meanwhile. */
struct patience {
    int64_t until_ms;
    bool was_stopping;
};

static struct patience patience(struct exec_child *c, int timeout_ms)
{
    return (struct patience){clock_mono_ms(c->clock) + (timeout_ms > 0 ? timeout_ms : 0),
                             clock_stopping(c->clock)};
}

/* Waits a little for either pipe (and for the end, if asked). false: patience is over. */
static bool wait_bit(struct exec_child *c, const struct patience *p, bool for_end)
{
    struct pollfd fds[3] = {
        {.fd = c->errors, .events = POLLIN},
        {.fd = c->in.len - c->pos > CHILD_LINE_MAX ? -1 : c->out, .events = POLLIN},
        {.fd = for_end ? c->pidfd : -1, .events = POLLIN}};
    int64_t left = p->until_ms - clock_mono_ms(c->clock);

    if (left <= 0 || (!p->was_stopping && clock_stopping(c->clock)))
        return false;
    poll(fds, 3, (int)(left < SLICE_MS ? left : SLICE_MS));
    return true;
}

static int exec_read(struct child *child, int timeout_ms, struct buf *line, struct err *e)
{
    struct exec_child *c = (struct exec_child *)child;
    struct patience p = patience(c, timeout_ms);
    int rc;

    for (;;) {
        if ((rc = next_line(c, line, e)) != 0)
            return rc;
        if ((rc = take(c, e)) < 0)
            return rc;
        if ((rc = next_line(c, line, e)) != 0)
            return rc;
        if (!wait_bit(c, &p, false))
            return 0;
    }
}

static void exec_signal(struct child *child, int signum)
{
    struct exec_child *c = (struct exec_child *)child;

    if (!c->ended)
        kill(-c->pid, signum);
}

static int exec_wait(struct child *child, int timeout_ms, struct child_end *end, struct err *e)
{
    struct exec_child *c = (struct exec_child *)child;
    struct patience p = patience(c, timeout_ms);
    struct pollfd fd;
    int rc;

    for (;;) {
        if ((rc = take(c, e)) < 0) /* else it might block on a full pipe */
            return rc;
        fd = (struct pollfd){.fd = c->pidfd, .events = POLLIN};
        if (!c->ended && poll(&fd, 1, 0) == 1)
            reap(c);
        if (c->ended) {
            *end = c->end;
            return 1;
        }
        if (!wait_bit(c, &p, true))
            return 0;
    }
}

static void exec_errors(struct child *child, struct buf *tail)
{
    struct exec_child *c = (struct exec_child *)child;
    struct err e = ERR_INIT;

    take(c, &e); /* an error is met again by the next read */
    tail_copy(&c->tail, tail);
}

static void exec_free(struct child_port *port)
{
    free(port);
}

static const struct child_port_ops exec_ops = {
    .start = exec_start,
    .read = exec_read,
    .signal = exec_signal,
    .wait = exec_wait,
    .errors = exec_errors,
    .child_free = exec_child_free,
    .free = exec_free,
};

int child_exec(struct child_port **out, struct clock *clock, struct err *e)
{
    struct exec_port *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(e, ERR_NOMEM, "the port to processes");
    p->port.ops = &exec_ops;
    p->clock = clock;
    *out = &p->port;
    return 0;
}

int child_exec_groups(struct child_port *port, const char *path, struct err *e)
{
    return groups_open(&((struct exec_port *)port)->groups, path, e);
}
