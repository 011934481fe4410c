/* tripline-trainer: settings, and the service or, with --child, its training process. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/child/child.h"
#include "platform/proc/service.h"
#include "schemas/keys.h"
#include "trainer/trainer.h"

struct settings_own {
    struct trainer_options o;
    const char *cgroup; /* NULL: the process's own */
    char program[PATH_MAX];
    int lock; /* on the work folder; -1: none */
};

#define AT(field) offsetof(struct settings_own, o.field)
#define DAY_MS    (24.0 * 3600 * 1000)
#define TERA      (1024.0 * 1024 * 1024 * 1024)

static const char *const policies[] = {
    [CHILD_BEST] = "best", [CHILD_REQUIRE] = "require", [CHILD_OFF] = "off", NULL};

static const struct conf_row rows[] = {
    {"trainer.work", CONF_PATH, AT(work), "/var/lib/tripline/trainer", 1, 1024, NULL, NULL,
     "Folder for the files of running attempts and a cache of backbones; for this process alone."},
    {"trainer.work_size", CONF_SIZE, AT(work_bytes), "64G", 1 << 20, TERA, NULL, NULL,
     "What one attempt may have there: the dataset half of it, the training process's files all."},
    {"trainer.cache_size", CONF_SIZE, AT(cache_bytes), "16G", 0, TERA, NULL, NULL,
     "Backbones that are kept between runs."},
    {"trainer.name", CONF_STRING, AT(name), NULL, 1, 100, NULL, NULL,
     "Name of this process in statuses; unset: a random one."},
    {"trainer.workers", CONF_INT, AT(workers), "1", 0, 64, NULL, NULL,
     "Runs trained at the same time; 0: only intake and sweep."},
    {"trainer.threads", CONF_INT, AT(threads), "0", 0, 1024, NULL, NULL,
     "Threads of a training process; 0: one for each processor."},
    {"trainer.lease", CONF_DURATION, AT(lease_ms), "30s", 500, DAY_MS, NULL, NULL,
     "A worker that isn't heard of for so long has lost its run to another."},
    {"trainer.heartbeat", CONF_DURATION, AT(heartbeat_ms), "5s", 50, DAY_MS, NULL, NULL,
     "How often it is heard of, and looks whether its run was taken over, ended or cancelled."},
    {"trainer.poll", CONF_DURATION, AT(poll_ms), "1s", 10, DAY_MS, NULL, NULL,
     "Between looks at an empty queue."},
    {"trainer.sweep", CONF_DURATION, AT(sweep_ms), "1m", 100, DAY_MS, NULL, NULL,
     "Between sweeps, which find in S3 what Redis or a dead process forgot."},
    {"trainer.wait", CONF_DURATION, AT(wait_ms), "1h", 100, 30 * DAY_MS, NULL, NULL,
     "How long a run waits until ingest has reached the documents that were there when it was "
     "asked for; then it fails."},
    {"trainer.log_delay", CONF_DURATION, AT(log_ms), "2s", 10, DAY_MS, NULL, NULL,
     "How long a log line may wait for others before they are written to S3 together."},
    {"trainer.checkpoint", CONF_DURATION, AT(checkpoint_ms), "5m", 0, DAY_MS, NULL, NULL,
     "Time between checkpoints, besides those that a job asks for; 0: only those."},
    {"trainer.checkpoints", CONF_INT, AT(checkpoints), "2", 1, TRAINER_CHECKPOINTS_MAX, NULL, NULL,
     "Newest checkpoints of an attempt that stay in S3; each holds the best weights so far, too."},
    {"trainer.max_attempts", CONF_INT, AT(max_attempts), "1000", 1, 1000, NULL, NULL,
     "No run gets more attempts, whatever its job says."},
    {"trainer.max_memory", CONF_SIZE, AT(max_memory_bytes), "64G", 64 << 20, TERA, NULL, NULL,
     "No training process gets more memory (address space), whatever its job says."},
    {"trainer.max_time", CONF_DURATION, AT(max_time_ms), "30d", 1000, 366 * DAY_MS, NULL, NULL,
     "No attempt gets more time, whatever its job says."},
    {"trainer.sandbox", CONF_ENUM, AT(sandbox), "best", 0, 0, policies, NULL,
     "How a training process is shut in (seccomp, Landlock, a network namespace, a cgroup): by "
     "what the host offers; require: refuse to start where a guard is missing; off: by limits "
     "alone. --check says what holds here."},
    {"trainer.cgroup", CONF_PATH, offsetof(struct settings_own, cgroup), NULL, 1, 400, NULL, NULL,
     "Folder of a cgroup (v2) with memory and pids controllers, for this process alone: each "
     "training process gets a group below it. Unset: the trainer's own, if it is delegated."},
    {"trainer.resume_any", CONF_BOOL, AT(resume_any), "true", 0, 0, NULL, NULL,
     "Go on from a checkpoint of a machine with another numeric fingerprint (the manifest then "
     "says exact: false); else such a run fails."},
};

static int add_settings(void *self, struct conf *c, struct err *e)
{
    struct settings_own *own = self;

    trainer_options_init(&own->o);
    return conf_add(c, rows, sizeof rows / sizeof rows[0], own, e);
}

static void tell_guard(const char *name, int rc, const struct err *why)
{
    fprintf(stderr, "tripline-trainer: sandbox: %s: %s%s\n", name,
            rc == 0 ? "yes" : "no: ", rc == 0 ? "" : why->text);
}

/* A guard that is missing: told, logged, or too much. A network that can't be left is no gap while
 * no socket can be made. */
static int judge_guard(const struct settings_own *own, enum child_guard g, bool tell, bool no_gap,
                       struct err *e)
{
    const char *name = child_guard_name(g);
    struct err why = ERR_INIT;
    int rc = own->o.sandbox == CHILD_OFF ? err_set(&why, ERR_UNSUPPORTED, "trainer.sandbox is off")
                                         : child_guard_try(g, &why);

    if (rc < 0 && rc != ERR_UNSUPPORTED) {
        *e = why;
        return rc;
    }
    if (tell)
        tell_guard(name, rc, &why);
    else if (rc < 0 && own->o.sandbox == CHILD_BEST && !no_gap)
        log_error("sandbox.missing", &why, "guard", name, NULL);
    if (rc < 0 && own->o.sandbox == CHILD_REQUIRE && !no_gap)
        return err_set(e, ERR_CONFIG, "trainer.sandbox = require, but no guard of %s: %s", name,
                       why.text);
    return rc == 0;
}

/* A group that was asked for must be there; that there is none otherwise is usual. */
static int open_groups(const struct settings_own *own, struct child_port *port, bool tell,
                       struct err *e)
{
    struct err why = ERR_INIT;
    int rc = own->o.sandbox == CHILD_OFF ? err_set(&why, ERR_UNSUPPORTED, "trainer.sandbox is off")
                                         : child_exec_groups(port, own->cgroup, &why);

    if (tell)
        tell_guard("group", rc, &why);
    if (rc < 0 && own->cgroup && own->o.sandbox != CHILD_OFF)
        return err_set(e, ERR_CONFIG, "trainer.cgroup: %s", why.text);
    if (!tell)
        log_event(LOG_INFO, "sandbox.group", "held", rc == 0 ? "yes" : "no", "why", why.text, NULL);
    return 0;
}

/* Which guards hold here? */
static int check_sandbox(const struct settings_own *own, struct child_port *port, bool tell,
                         struct err *e)
{
    bool calls = false;
    int g, rc;

    for (g = 0; g < CHILD_GUARDS; g++) {
        if ((rc = judge_guard(own, (enum child_guard)g, tell, g == CHILD_NETWORK && calls, e)) < 0)
            return rc;
        calls = calls || (g == CHILD_CALLS && rc == 1);
    }
    return open_groups(own, port, tell, e);
}

/* Another process of this user, such as a training process, may neither trace this one nor read its
 * environment, where secrets may be. A sanitizer traces its own process. */
static void hide(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static int check(void *self, struct service_context *x, struct err *e)
{
    struct settings_own *own = self;
    struct keys keys;
    char done[KEY_MAX], status[KEY_MAX];
    int rc = keys_init(&keys, x->settings->tripline.prefix, e);

    if (rc < 0)
        return rc;
    if ((rc = file_mkdirs(own->o.work, e)) < 0)
        return err_wrap(e, "trainer.work");
    if ((rc = check_sandbox(own, x->ports->child, true, e)) < 0)
        return rc;
    topic_internal(&keys, TOPIC_DONE, done);
    if ((rc = key_board(&keys, BOARD_STATUS, "check", "check", status, e)) < 0)
        return rc;
    return ports_check(x->ports, done, status, "check/", e);
}

/* Two processes in one folder would remove each other's files. The kernel drops the lock with us.
 */
static int lock_work(struct settings_own *own, struct err *e)
{
    char path[PATH_MAX];
    int rc;

    if ((rc = file_mkdirs(own->o.work, e)) < 0)
        return err_wrap(e, "trainer.work");
    if (snprintf(path, sizeof path, "%s/lock", own->o.work) >= (int)sizeof path)
        return err_set(e, ERR_CONFIG, "trainer.work is too long a path");
    if ((own->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0)
        return err_errno(e, ERR_IO, "%s", path);
    if (flock(own->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return err_set(e, ERR_CONFIG,
                           "another process uses %s: give each its own folder (trainer.work)",
                           own->o.work);
        return err_errno(e, ERR_IO, "%s", path);
    }
    return 0;
}

static void on_ready(void *arg, bool ready, const char *why)
{
    service_set_ready(arg, ready, why);
}

static int run(void *self, struct service_context *x, struct err *e)
{
    struct settings_own *own = self;
    struct trainer_ports p = {.clock = x->ports->clock,
                              .bus = x->ports->bus,
                              .blob = x->ports->blob,
                              .board = x->ports->board,
                              .child = x->ports->child,
                              .metrics = x->metrics,
                              .ready = on_ready,
                              .ready_arg = x};
    struct trainer *t = NULL;
    ssize_t n = readlink("/proc/self/exe", own->program, sizeof own->program - 1);
    int rc;

    if (n <= 0)
        return err_errno(e, ERR_IO, "/proc/self/exe");
    own->program[n] = '\0';
    own->o.program = own->program;
    own->o.prefix = x->settings->tripline.prefix;
    hide();
    if ((rc = check_sandbox(own, x->ports->child, false, e)) == 0 &&
        (rc = lock_work(own, e)) == 0 && (rc = trainer_new(&t, &own->o, &p, e)) == 0)
        rc = trainer_run(t, e);
    trainer_free(t);
    if (own->lock >= 0)
        close(own->lock);
    return rc;
}

int main(int argc, char **argv)
{
    struct settings_own own = {.lock = -1};
    const struct service service = {
        .name = "tripline-trainer",
        .about = "turns job messages into fine-tuned models",
        .parts = SETTINGS_ALL,
        .http_address = "127.0.0.1:9182",
        .self = &own,
        .settings = add_settings,
        .check = check,
        .run = run,
    };

    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return trainer_child(argv[2]);
    return service_main(&service, argc, argv);
}
