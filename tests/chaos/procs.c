/*
 * Our programs, and the supervisor that an operator has: what ends is started
 * again a moment later. Which end was meant, which was a failpoint's and which is
 * a defect is told apart here.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"

enum { AGAIN_MS = 500, SLOWLY_MS = 1500, DRAIN_MS = 90000, NAMES = 64 };

struct proc procs[PROCS] = {
    {.name = "ingest-1", .role = INGEST},
    {.name = "ingest-2", .role = INGEST},
    {.name = "trainer-1", .role = TRAINER},
    {.name = "trainer-2", .role = TRAINER},
    {.name = "publisher-1", .role = PUBLISHER},
    {.name = "publisher-2", .role = PUBLISHER},
    {.name = "ingest-other", .role = INGEST, .second = true},
    {.name = "publisher-other", .role = PUBLISHER, .second = true},
};

static struct {
    char name[64];
    long count;
} deaths[NAMES];

long failpoint_deaths(const char *name)
{
    int i;

    for (i = 0; i < NAMES && deaths[i].name[0]; i++)
        if (!strcmp(deaths[i].name, name))
            return deaths[i].count;
    return 0;
}

static void count_death(const char *name)
{
    int i;

    for (i = 0; i < NAMES - 1 && deaths[i].name[0]; i++)
        if (!strcmp(deaths[i].name, name))
            break;
    snprintf(deaths[i].name, sizeof deaths[i].name, "%s", name);
    deaths[i].count++;
}

const char *path_of_failpoint(const char *name)
{
    char path[100];

    snprintf(path, sizeof path, "failpoints/%s", name);
    return path_of(path);
}

/* The file that lay in wait has this name now (platform/base/failpoint.h), and says which it was.
 */
static bool took_failpoint(pid_t pid, char name[64])
{
    char file[32];
    FILE *f;
    bool is;

    snprintf(file, sizeof file, "%ld", (long)pid);
    if (!(f = fopen(path_of_failpoint(file), "re")))
        return false;
    is = fscanf(f, "%63s", name) == 1;
    fclose(f);
    unlink(path_of_failpoint(file));
    return is;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* "name=value" settings: short times, so that all that waits for a time happens often. */
static const char *const settings[ROLES][12] = {
    [INGEST] = {"ingest.segment_age=1500ms", "ingest.segment_records=500",
                "ingest.session_timeout=6s", "ingest.recreated_after=8s", "s3.deadline=8s", NULL},
    [TRAINER] = {"trainer.lease=3s", "trainer.heartbeat=300ms", "trainer.poll=200ms",
                 "trainer.sweep=3s", "trainer.log_delay=300ms", "trainer.threads=1",
                 "redis.deadline=4s", "redis.timeout=2s", "s3.deadline=15s", NULL},
    [PUBLISHER] = {"publisher.session_timeout=6s", "publisher.retry=500ms", "s3.deadline=8s", NULL},
};
static const char *const common[] = {"http.address=127.0.0.1:0", "s3.connect_timeout=2s",
                                     "s3.stall_timeout=2s", NULL};

static void set_environment(const struct proc *p)
{
    char text[64];

    snprintf(text, sizeof text, "http://127.0.0.1:%d", chaos.proxy_port);
    setenv("TRIPLINE_S3_ENDPOINT", text, 1);
    if (p->second)
        setenv("TRIPLINE_S3_BUCKET", OTHER_BUCKET, 1);
    if (p->role == TRAINER)
        setenv("TRIPLINE_TRAINER_WORK", path_of(p->name), 1);
    if (!p->second)
        setenv("TRIPLINE_FAILPOINT_FOLDER", path_of("failpoints"), 1);
    if (chaos.defect)
        setenv("TRIPLINE_DEFECT", chaos.defect, 1);
}

static void become(const struct proc *p)
{
    static const char *const programs[ROLES] = {"chaos-ingest", "chaos-trainer", "chaos-publisher"};
    const char *argv[48], *const *s;
    char program[300], log[80];
    int fd, n = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing stays behind */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
          0); /* the right to mount was for the disk */
    set_environment(p);
    snprintf(program, sizeof program, "%s/%s", chaos.programs, programs[p->role]);
    snprintf(log, sizeof log, "%s.log", p->name);
    argv[n++] = program;
    for (s = common; *s; s++) {
        argv[n++] = "--set";
        argv[n++] = *s;
    }
    for (s = settings[p->role]; *s; s++) {
        argv[n++] = "--set";
        argv[n++] = *s;
    }
    argv[n] = NULL;
    fd = p->log ? fileno(p->log) : open(path_of(log), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 2);
    dup2(open("/dev/null", O_WRONLY), 1);
    if (p->log)
        signal(SIGXFSZ, SIG_IGN); /* at its limit a write says EFBIG instead */
    execv(program, (char *const *)argv);
    _exit(127);
}

static void start(struct proc *p)
{
    fflush(NULL);
    if ((p->pid = fork()) == 0)
        become(p);
    if (p->pid < 0)
        die("%s can't be started", p->name);
    p->killed = p->draining = false;
    p->lives++;
}

void procs_start(void)
{
    struct proc *p;

    for (p = procs; p < procs + PROCS; p++)
        p->wanted = !p->second;
    procs_tick();
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void judge_exit(struct proc *p, int status)
{
    p->exits += status != 0;
    if (status == err_exit_status(ERR_INTERNAL))
        violation(&chaos.oracle, "%s ended with status %d, a defect: see %s.log", p->name, status,
                  p->name);
    else
        say("%s ended with status %d%s", p->name, status, p->draining ? ", drained" : "");
}

static void judge_signal(struct proc *p, int number)
{
    char failpoint[64];

    if (number == SIGKILL && took_failpoint(p->pid, failpoint)) {
        say("%s died at failpoint %s", p->name, failpoint);
        count_death(failpoint);
        return;
    }
    if (number == SIGKILL && p->killed)
        return;
    if (number == SIGTERM && p->draining) /* it had not begun to listen yet */
        return;
    violation(&chaos.oracle, "%s died of signal %d: see %s.log", p->name, number, p->name);
}

static void reap(struct proc *p)
{
    int status = 0;

    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        return;
    if (WIFEXITED(status))
        judge_exit(p, WEXITSTATUS(status));
    else
        judge_signal(p, WTERMSIG(status));
    p->pid = 0;
    p->start_at_ms = now_ms() + (WIFEXITED(status) && !p->draining ? SLOWLY_MS : AGAIN_MS);
}

void procs_tick(void)
{
    struct proc *p;

    for (p = procs; p < procs + PROCS; p++) {
        if (p->pid)
            reap(p);
        if (!p->pid && p->wanted && now_ms() >= p->start_at_ms)
            start(p);
    }
}

void proc_kill(struct proc *p)
{
    if (!p->pid)
        return;
    p->killed = true;
    kill(p->pid, SIGKILL);
}

pid_t child_of(pid_t parent)
{
    char path[300], line[512], *at, *rest = NULL;
    struct dirent *d;
    pid_t found = 0;
    DIR *all = opendir("/proc");
    FILE *f;

    while (all && !found && (d = readdir(all))) {
        snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
        if (d->d_name[0] < '1' || d->d_name[0] > '9' || !(f = fopen(path, "re")))
            continue; /* "pid (name) state parent ..." */
        if (fgets(line, sizeof line, f) && (at = strrchr(line, ')')) && strlen(at) > 4 &&
            (pid_t)strtol(at + 4, &rest, 10) == parent)
            found = (pid_t)strtol(d->d_name, NULL, 10);
        fclose(f);
    }
    if (all)
        closedir(all);
    return found;
}

void procs_drain(void)
{
    int64_t until = now_ms() + DRAIN_MS;
    bool running = true;
    struct proc *p;

    for (p = procs; p < procs + PROCS; p++) {
        p->wanted = false;
        p->draining = true;
        if (p->pid)
            kill(p->pid, SIGTERM);
    }
    while (running && now_ms() < until) {
        procs_tick();
        running = false;
        for (p = procs; p < procs + PROCS; p++)
            running |= p->pid != 0;
        clock_sleep_ms(chaos.clock, 50);
    }
    for (p = procs; p < procs + PROCS; p++)
        if (p->pid)
            violation(&chaos.oracle, "%s did not drain within %d s", p->name, DRAIN_MS / 1000);
}

void procs_kill(void)
{
    struct proc *p;

    for (p = procs; p < procs + PROCS; p++)
        if (p->pid) {
            kill(p->pid, SIGKILL);
            waitpid(p->pid, NULL, 0);
            p->pid = 0;
        }
}
