/*
 * Which fault comes when, upon whom, for how long: all drawn from the seed before
 * anything begins. A bag with every kind is emptied again and again, so that each
 * comes about equally often. A fault that can't begin yet (its server is down, its
 * kind is still on) waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/chaos/proxy.h"

enum {
    EVENTS_MAX = 4096,
    EVERY_MS = 3300,
    DRAIN_MS = 90000,
    ARMED_MS = 25000,
    CATCH_UP_MS = 25000,
    PLANNED_ENOUGH = 3 /* times, that none took effect is a violation */
};
#define DISK_BYTES "16m"

struct fault { /* one of the plan */
    int kind;
    int64_t at_ms, for_ms; /* after the begin; how long it lasts */
    uint64_t draw;
};

enum answer { NOT_NOW, DONE, GOES_ON };

static struct {
    struct fault plan[EVENTS_MAX];
    size_t count;
    bool begun[EVENTS_MAX];
    bool on_tmpfs;
    bool broker_down;
} faults;

/* A kind's present fault; `target` and the others are what its begin noted for its end. */
struct kind {
    const char *name;
    const char *what; /* its hits are */
    int64_t least_ms, most_ms;
    enum answer (*begin)(struct kind *, const struct fault *);
    enum answer (*go_on)(struct kind *, const struct fault *); /* until DONE */
    int mode, percent;                                         /* of the proxy */
    const struct fault *now;                                   /* NULL: none */
    int64_t began_ms;
    struct proc *target;
    pid_t pid;
    long times, hits;
    bool step;
};

static bool is_over(const struct kind *k, const struct fault *f)
{
    return now_ms() - k->began_ms >= f->for_ms;
}

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

/* ---- processes ------------------------------------------------------------------------------- */

static enum answer kill_one(struct kind *k, const struct fault *f)
{
    struct proc *p = pick(f->draw, ROLES);

    if (!p)
        return NOT_NOW;
    say("kill -9 %s", p->name);
    proc_kill(p);
    k->hits++;
    return DONE;
}

static enum answer kill_child(struct kind *k, const struct fault *f)
{
    struct proc *p = pick(f->draw, TRAINER);
    pid_t child = p ? child_of(p->pid) : 0;

    if (!child)
        return NOT_NOW;
    say("kill -9 the training process of %s", p->name);
    kill(child, SIGKILL);
    k->hits++;
    return DONE;
}

static const struct {
    const char *name;
    enum role role;
} failpoints[] = {
    {"ingest.flushed", INGEST},       {"ingest.finished", INGEST},     {"ingest.created", INGEST},
    {"ingest.committed", INGEST},     {"ingest.begun", INGEST},        {"intake.marked", TRAINER},
    {"intake.accepted", TRAINER},     {"intake.done", TRAINER},        {"worker.begun", TRAINER},
    {"attempt.snapshot", TRAINER},    {"attempt.checkpoint", TRAINER}, {"attempt.files", TRAINER},
    {"attempt.manifest", TRAINER},    {"run.ended", TRAINER},          {"run.told", TRAINER},
    {"publish.fenced", PUBLISHER},    {"publish.claimed", PUBLISHER},  {"publish.open", PUBLISHER},
    {"publish.committed", PUBLISHER}, {"publish.told", PUBLISHER},
};
enum { FAILPOINTS = sizeof failpoints / sizeof failpoints[0] };

/* Names in turn; which life of which process passes it, and how often before, the seed says. */
static enum answer arm(struct kind *k, const struct fault *f)
{
    static size_t turn;
    size_t i = (turn + chaos.seed) % FAILPOINTS;

    if (!(k->target = pick(f->draw, failpoints[i].role)))
        return NOT_NOW;
    turn++;
    say("%s will die at %s", k->target->name, failpoints[i].name);
    proc_arm(k->target, failpoints[i].name, 1 + (int)((f->draw >> 32) % 2));
    k->step = false;
    return GOES_ON;
}

static enum answer await_death(struct kind *k, const struct fault *f)
{
    if (k->target->pid && !k->target->killed) /* the armed life has begun */
        k->step = true;
    if (k->step && !k->target->armed[0])
        return DONE;
    if (now_ms() - k->began_ms < ARMED_MS)
        return GOES_ON;
    say("%s did not come to %s", k->target->name, k->target->armed);
    proc_kill(k->target);
    return DONE;
}

static enum answer pause_one(struct kind *k, const struct fault *f)
{
    if (!(k->target = pick(f->draw, ROLES)))
        return NOT_NOW;
    k->pid = k->target->pid;
    say("SIGSTOP %s for %lld ms", k->target->name, (long long)f->for_ms);
    kill(k->pid, SIGSTOP);
    return GOES_ON;
}

static enum answer wake(struct kind *k, const struct fault *f)
{
    if (k->target->pid != k->pid) /* killed meanwhile */
        return DONE;
    if (!is_over(k, f))
        return GOES_ON;
    say("SIGCONT %s", k->target->name);
    kill(k->pid, SIGCONT);
    k->hits++;
    return DONE;
}

static enum answer drain(struct kind *k, const struct fault *f)
{
    if (!(k->target = pick(f->draw, ROLES)))
        return NOT_NOW;
    say("SIGTERM %s", k->target->name);
    k->pid = k->target->pid;
    k->target->draining = true;
    kill(k->pid, SIGTERM);
    return GOES_ON;
}

static enum answer drained(struct kind *k, const struct fault *f)
{
    if (k->target->pid != k->pid) {
        k->hits++;
        return DONE;
    }
    if (now_ms() - k->began_ms < DRAIN_MS)
        return GOES_ON;
    violation(&chaos.oracle, "%s does not drain within %d s", k->target->name, DRAIN_MS / 1000);
    proc_kill(k->target);
    return DONE;
}

/* An ingest and a publisher with the same topics and another bucket. */
static enum answer second_deployment(struct kind *k, const struct fault *f)
{
    if (faults.broker_down)
        return NOT_NOW;
    say("a second deployment on the same topics, with another bucket");
    procs[6].wanted = procs[7].wanted = true;
    return GOES_ON;
}

static enum answer second_ends(struct kind *k, const struct fault *f)
{
    struct proc *a = &procs[6], *b = &procs[7];

    if (!is_over(k, f))
        return GOES_ON;
    if (a->wanted) {
        a->wanted = b->wanted = false;
        k->hits += a->pid && b->pid;
        a->draining = true;
        if (a->pid)
            kill(a->pid, SIGTERM);
        proc_kill(b);
        say("the second deployment ends");
    }
    if (now_ms() - k->began_ms > f->for_ms + DRAIN_MS) {
        violation(&chaos.oracle, "%s does not drain within %d s", a->name, DRAIN_MS / 1000);
        proc_kill(a);
    }
    return a->pid || b->pid ? GOES_ON : DONE;
}

/* ---- servers --------------------------------------------------------------------------------- */

static enum answer kill_server(struct kind *k, const char *name, bool *down)
{
    if (!server_kill(name))
        return NOT_NOW;
    say("kill -9 %s", name);
    *down = true;
    k->pid = 0;
    k->hits++;
    return GOES_ON;
}

static enum answer revive_server(struct kind *k, const struct fault *f, const char *name,
                                 bool *down)
{
    if (!k->pid && is_over(k, f))
        k->pid = server_restart(name);
    if (!k->pid || !command_ended(k->pid, name))
        return GOES_ON;
    *down = false;
    say("%s is back", name);
    return DONE;
}

static enum answer kill_kafka(struct kind *k, const struct fault *f)
{
    return kill_server(k, "kafka", &faults.broker_down);
}
static enum answer revive_kafka(struct kind *k, const struct fault *f)
{
    return revive_server(k, f, "kafka", &faults.broker_down);
}

static bool redis_down;
static enum answer kill_redis(struct kind *k, const struct fault *f)
{
    return kill_server(k, "redis", &redis_down);
}
static enum answer revive_redis(struct kind *k, const struct fault *f)
{
    return revive_server(k, f, "redis", &redis_down);
}
static enum answer flush(struct kind *k, const struct fault *f)
{
    if (redis_down || !redis_flush())
        return NOT_NOW;
    say("FLUSHALL");
    k->hits++;
    return DONE;
}

static enum answer proxy_on(struct kind *k, const struct fault *f)
{
    say("%s for %lld ms", k->name, (long long)f->for_ms);
    proxy_set((enum proxy_mode)k->mode, k->percent);
    return GOES_ON;
}
static enum answer proxy_off(struct kind *k, const struct fault *f)
{
    if (!is_over(k, f))
        return GOES_ON;
    proxy_set((enum proxy_mode)k->mode, 0);
    k->hits = proxy_count((enum proxy_mode)k->mode);
    return DONE;
}

/* ---- the disk -------------------------------------------------------------------------------- */

bool disk_set_up(void)
{
    const char *folder = path_of("trainer-1");

    faults.on_tmpfs =
        mkdir(folder, 0700) == 0 &&
        mount("tripline-chaos", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=" DISK_BYTES) == 0;
    return faults.on_tmpfs;
}

void disk_take_down(void)
{
    if (faults.on_tmpfs)
        umount2(path_of("trainer-1"), MNT_DETACH);
}

static void fill_disk(void)
{
    static const char zeros[65536];
    int fd = open(path_of("trainer-1/ballast"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_t n = sizeof zeros;

    while (fd >= 0 && n > 0)
        if (write(fd, zeros, n) <= 0)
            n /= 2;
    if (fd >= 0)
        close(fd);
}

static enum answer disk_full(struct kind *k, const struct fault *f)
{
    k->target = &procs[2];
    if (!faults.on_tmpfs) {
        if (pick(f->draw, TRAINER) == NULL || !k->target->pid)
            return NOT_NOW;
        k->target->limited = true;
        proc_kill(k->target);
    } else {
        fill_disk();
    }
    say("the disk of %s is full for %lld ms", k->target->name, (long long)f->for_ms);
    k->hits++;
    return GOES_ON;
}

static enum answer disk_empty(struct kind *k, const struct fault *f)
{
    if (!is_over(k, f)) {
        if (faults.on_tmpfs) /* what was freed meanwhile */
            fill_disk();
        return GOES_ON;
    }
    if (faults.on_tmpfs)
        unlink(path_of("trainer-1/ballast"));
    else if (k->target->limited)
        proc_kill(k->target);
    k->target->limited = false;
    return DONE;
}

/* ---- topics ---------------------------------------------------------------------------------- */

static enum answer new_topic(struct kind *k, const struct fault *f)
{
    char name[KEY_NAME_MAX];

    if (faults.broker_down || chaos.stream_count == STREAMS_MAX)
        return NOT_NOW;
    snprintf(name, sizeof name, "late-%d", chaos.stream_count);
    if (!topic_create(name, 1))
        return NOT_NOW;
    say("topic %s is created", name);
    load_stream(name, 1);
    k->hits++;
    return DONE;
}

static enum answer add_partition(struct kind *k, const struct fault *f)
{
    struct stream *s = &chaos.streams[0];

    if (faults.broker_down || s->partitions == PARTITIONS_MAX ||
        !topic_grow(s->dataset, s->partitions + 1))
        return NOT_NOW;
    s->partitions++;
    say("%s has %d partitions", s->dataset, s->partitions);
    k->hits++;
    return DONE;
}

/* Every second time ingest may first write all that was acknowledged: nothing may be gone then. */
static enum answer hold_fickle(struct kind *k, const struct fault *f)
{
    if (faults.broker_down || chaos.streams[1].life + 1 == STREAM_LIVES)
        return NOT_NOW;
    load_hold(1, true);
    k->step = f->draw % 2;
    say("%s will be deleted%s", chaos.streams[1].dataset, k->step ? " once it is ingested" : "");
    return GOES_ON;
}

static enum answer recreate(struct kind *k, const struct fault *f)
{
    struct stream *s = &chaos.streams[1];
    struct err e = ERR_INIT;
    size_t awaits = 0;

    if (faults.broker_down)
        return GOES_ON;
    if (oracle_read(&chaos.oracle, 1, &e) == 0)
        awaits = load_awaits(1);
    if (k->step && awaits && now_ms() - k->began_ms < CATCH_UP_MS)
        return GOES_ON;
    s->abrupt[s->life] = awaits > 0;
    if (!topic_delete(s->dataset) || !topic_create(s->dataset, 1 + (int)((f->draw >> 8) % 3)))
        return GOES_ON; /* the broker died on the way: again */
    load_new_life(1);
    if (s->partitions < 3)
        s->partitions = 3;
    load_hold(1, false);
    say("%s is deleted and created again, %zu records of it were not ingested", s->dataset, awaits);
    k->hits++;
    return DONE;
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct kind kinds[] = {
    {.name = "kill -9, any moment", .what = "processes", .begin = kill_one},
    {.name = "kill -9, failpoint", .what = "deaths there", .begin = arm, .go_on = await_death},
    {.name = "kill -9, training process", .what = "processes", .begin = kill_child},
    {.name = "SIGSTOP, SIGCONT",
     .what = "woken",
     .least_ms = 7500,
     .most_ms = 10000,
     .begin = pause_one,
     .go_on = wake},
    {.name = "SIGTERM", .what = "drained", .begin = drain, .go_on = drained},
    {.name = "Kafka kill -9",
     .what = "deaths",
     .least_ms = 0,
     .most_ms = 3000,
     .begin = kill_kafka,
     .go_on = revive_kafka},
    {.name = "Redis kill -9",
     .what = "deaths",
     .least_ms = 0,
     .most_ms = 4000,
     .begin = kill_redis,
     .go_on = revive_redis},
    {.name = "Redis FLUSHALL", .what = "flushes", .begin = flush},
    {.name = "S3 5xx",
     .what = "requests",
     .least_ms = 1500,
     .most_ms = 5000,
     .begin = proxy_on,
     .go_on = proxy_off,
     .mode = PROXY_5XX,
     .percent = 60},
    {.name = "S3 401, 403",
     .what = "requests",
     .least_ms = 800,
     .most_ms = 3000,
     .begin = proxy_on,
     .go_on = proxy_off,
     .mode = PROXY_4XX,
     .percent = 100},
    {.name = "S3 no answer",
     .what = "requests",
     .least_ms = 1500,
     .most_ms = 5000,
     .begin = proxy_on,
     .go_on = proxy_off,
     .mode = PROXY_HANG,
     .percent = 40},
    {.name = "S3 slow",
     .what = "requests",
     .least_ms = 2000,
     .most_ms = 6000,
     .begin = proxy_on,
     .go_on = proxy_off,
     .mode = PROXY_SLOW,
     .percent = 80},
    {.name = "S3 cut",
     .what = "requests",
     .least_ms = 1500,
     .most_ms = 5000,
     .begin = proxy_on,
     .go_on = proxy_off,
     .mode = PROXY_CUT,
     .percent = 50},
    {.name = "S3 answer lost",
     .what = "requests",
     .least_ms = 1500,
     .most_ms = 5000,
     .begin = proxy_on,
     .go_on = proxy_off,
     .mode = PROXY_LOST,
     .percent = 50},
    {.name = "disk full",
     .what = "times",
     .least_ms = 2000,
     .most_ms = 6000,
     .begin = disk_full,
     .go_on = disk_empty},
    {.name = "topic created", .what = "topics", .begin = new_topic},
    {.name = "topic re-created", .what = "topics", .begin = hold_fickle, .go_on = recreate},
    {.name = "partition added", .what = "partitions", .begin = add_partition},
    {.name = "second deployment",
     .what = "both ran",
     .least_ms = 6000,
     .most_ms = 9000,
     .begin = second_deployment,
     .go_on = second_ends},
};
enum { KINDS = sizeof kinds / sizeof kinds[0], AT_FAILPOINT = 1 };

void faults_plan(void)
{
    int64_t all = (int64_t)(chaos.minutes * 60000);
    int64_t every = all / KINDS < EVERY_MS ? all / KINDS : EVERY_MS;
    int bag[KINDS], i, j, left = 0, swap;
    uint64_t x = 0;
    struct fault *f;

    for (; faults.count < EVENTS_MAX && (int64_t)(faults.count + 1) * every <= all;
         faults.count++) {
        if (!left) {
            for (left = 0; left < KINDS; left++)
                bag[left] = left;
            for (i = KINDS - 1; i > 0; i--) {
                j = (int)(draw(chaos.seed, x++) % (uint64_t)(i + 1));
                swap = bag[i];
                bag[i] = bag[j];
                bag[j] = swap;
            }
        }
        f = &faults.plan[faults.count];
        f->kind = bag[--left];
        f->at_ms =
            (int64_t)faults.count * every + (int64_t)(draw(chaos.seed, x++) % (uint64_t)every);
        f->for_ms = kinds[f->kind].least_ms +
                    (int64_t)(draw(chaos.seed, x++) %
                              (uint64_t)(kinds[f->kind].most_ms - kinds[f->kind].least_ms + 1));
        f->draw = draw(chaos.seed, x++);
    }
}

static void try_to_begin(size_t i)
{
    struct fault *f = &faults.plan[i];
    struct kind *k = &kinds[f->kind];
    enum answer a;

    if (k->now)
        return;
    k->began_ms = now_ms();
    if ((a = k->begin(k, f)) == NOT_NOW)
        return;
    faults.begun[i] = true;
    k->times++;
    k->now = a == GOES_ON ? f : NULL;
}

void faults_tick(bool stop)
{
    int64_t at = now_ms() - chaos.start_ms;
    size_t i;
    int k;

    for (k = 0; k < KINDS; k++)
        if (kinds[k].now && kinds[k].go_on(&kinds[k], kinds[k].now) == DONE)
            kinds[k].now = NULL;
    for (i = 0; !stop && i < faults.count && faults.plan[i].at_ms <= at; i++)
        if (!faults.begun[i])
            try_to_begin(i);
}

bool faults_over(void)
{
    int k;

    for (k = 0; k < KINDS; k++)
        if (kinds[k].now)
            return false;
    return true;
}

void faults_print(FILE *to)
{
    size_t i, planned;
    int k;

    for (i = 0; i < FAILPOINTS; i++)
        kinds[AT_FAILPOINT].hits += failpoint_deaths(failpoints[i].name);
    fprintf(to, "\n  %-26s %7s %7s %8s  %s\n", "fault", "planned", "begun", "hits", "hits are");
    for (k = 0; k < KINDS; k++) {
        for (planned = i = 0; i < faults.count; i++)
            planned += faults.plan[i].kind == k;
        fprintf(to, "  %-26s %7zu %7ld %8ld  %s\n", kinds[k].name, planned, kinds[k].times,
                kinds[k].hits, kinds[k].what);
        if (planned >= PLANNED_ENOUGH && !kinds[k].hits)
            violation(&chaos.oracle, "not one '%s' took effect", kinds[k].name);
    }
    fprintf(to, "\n  deaths at failpoints:");
    for (i = 0; i < FAILPOINTS; i++)
        fprintf(to, "%s %s %ld", i ? "," : "", failpoints[i].name,
                failpoint_deaths(failpoints[i].name));
    fprintf(to, "\n  a full disk is %s\n",
            faults.on_tmpfs ? "a tmpfs of " DISK_BYTES " that is full"
                            : "RLIMIT_FSIZE (no right to mount)");
}
