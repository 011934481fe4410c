/* Faults that befall our programs. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/faults.h"

enum { DRAIN_MS = 90000 };

/* A running process of the first deployment, of that role (ROLES: any). */
static struct proc *pick(uint64_t x, enum role role)
{
    struct proc *fit[PROCS];
    size_t n = 0;
    int i;

    for (i = 0; i < PROCS; i++)
        if (procs[i].pid && procs[i].wanted && !procs[i].second && !procs[i].draining &&
            (role == ROLES || procs[i].role == role))
            fit[n++] = &procs[i];
    return n ? fit[x % n] : NULL;
}

enum answer kill_one(struct kind *k)
{
    struct proc *p = pick(k->draw, ROLES);

    if (!p)
        return NOT_NOW;
    say("kill -9 %s", p->name);
    proc_kill(p);
    k->took++;
    return DONE;
}

enum answer await_child(struct kind *k)
{
    k->target = pick(k->draw, TRAINER);
    return k->target ? GOES_ON : NOT_NOW;
}

/* The next that there is; they are short. */
enum answer kill_child(struct kind *k)
{
    struct proc *p = k->target;
    pid_t child = p->pid ? child_of(p->pid) : 0;

    if (!child)
        return kind_is_over(k) ? DONE : GOES_ON;
    say("kill -9 the training process of %s", p->name);
    kill(child, SIGKILL);
    k->took++;
    return DONE;
}

enum answer pause_one(struct kind *k)
{
    if (!(k->target = pick(k->draw, ROLES)))
        return NOT_NOW;
    k->pid = k->target->pid;
    say("SIGSTOP %s for %lld ms", k->target->name, (long long)k->for_ms);
    kill(k->pid, SIGSTOP);
    return GOES_ON;
}

enum answer wake(struct kind *k)
{
    if (k->target->pid != k->pid) /* killed meanwhile */
        return DONE;
    if (!kind_is_over(k))
        return GOES_ON;
    say("SIGCONT %s", k->target->name);
    kill(k->pid, SIGCONT);
    k->took++;
    return DONE;
}

enum answer drain(struct kind *k)
{
    if (!(k->target = pick(k->draw, ROLES)))
        return NOT_NOW;
    say("SIGTERM %s", k->target->name);
    k->pid = k->target->pid;
    k->target->draining = true;
    kill(k->pid, SIGTERM);
    return GOES_ON;
}

enum answer drained(struct kind *k)
{
    if (k->target->pid != k->pid) {
        k->took++;
        return DONE;
    }
    if (now_ms() - k->began_ms < DRAIN_MS)
        return GOES_ON;
    violation(&chaos.oracle, "%s does not drain within %d s", k->target->name, DRAIN_MS / 1000);
    proc_kill(k->target);
    return DONE;
}

/* An ingest and a publisher with the same topics and another bucket. */
enum answer second_deployment(struct kind *k)
{
    if (broker_is_down())
        return NOT_NOW;
    say("a second deployment on the same topics, with another bucket");
    procs[6].wanted = procs[7].wanted = true;
    return GOES_ON;
}

enum answer second_ends(struct kind *k)
{
    struct proc *a = &procs[6], *b = &procs[7];

    if (!kind_is_over(k))
        return GOES_ON;
    if (a->wanted) {
        a->wanted = b->wanted = false;
        k->took += a->pid && b->pid;
        a->draining = true;
        if (a->pid)
            kill(a->pid, SIGTERM);
        proc_kill(b);
        say("the second deployment ends");
    }
    if (now_ms() - k->began_ms > k->for_ms + DRAIN_MS) {
        violation(&chaos.oracle, "%s does not drain within %d s", a->name, DRAIN_MS / 1000);
        proc_kill(a);
    }
    return a->pid || b->pid ? GOES_ON : DONE;
}

/* ---- failpoints ------------------------------------------------------------------------------ */

static const char *const failpoints[] = {
    "ingest.flushed", "ingest.finished",  "ingest.created",   "ingest.committed",
    "ingest.closed",  "ingest.begun",     "intake.marked",    "intake.accepted",
    "intake.done",    "worker.begun",     "attempt.snapshot", "attempt.checkpoint",
    "attempt.files",  "attempt.manifest", "run.ended",        "run.told",
    "publish.fenced", "publish.claimed",  "publish.open",     "publish.committed",
    "publish.told",
};
enum { FAILPOINTS = sizeof failpoints / sizeof failpoints[0] };

/* The rarest that does not lie in wait already. Who passes it first dies: that may be soon, or
 * never. */
enum answer arm(struct kind *k)
{
    const char *rarest = NULL;
    size_t i;
    int fd;

    for (i = 0; i < FAILPOINTS; i++) {
        const char *name = failpoints[(i + k->draw) % FAILPOINTS];

        if (access(path_of_failpoint(name), F_OK) < 0 &&
            (!rarest || failpoint_deaths(name) < failpoint_deaths(rarest)))
            rarest = name;
    }
    if (!rarest)
        return NOT_NOW;
    if ((fd = open(path_of_failpoint(rarest), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) < 0 ||
        write(fd, rarest, strlen(rarest)) < 0)
        die("%s can't be written", path_of_failpoint(rarest));
    close(fd);
    say("who comes to %s next dies there", rarest);
    return DONE;
}

void failpoints_disarm(void)
{
    size_t i;

    for (i = 0; i < FAILPOINTS; i++)
        unlink(path_of_failpoint(failpoints[i]));
}

long failpoints_hit(int *names, int *all)
{
    long deaths = 0;
    size_t i;

    *all = FAILPOINTS;
    *names = 0;
    for (i = 0; i < FAILPOINTS; i++) {
        deaths += failpoint_deaths(failpoints[i]);
        *names += failpoint_deaths(failpoints[i]) > 0;
    }
    return deaths;
}

void failpoints_print(FILE *to)
{
    size_t i;

    fprintf(to, "\n  deaths at failpoints:");
    for (i = 0; i < FAILPOINTS; i++)
        fprintf(to, "%s %s %ld", i ? "," : "", failpoints[i], failpoint_deaths(failpoints[i]));
    fputc('\n', to);
}
