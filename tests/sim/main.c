/*
 * sim [--seeds N] [--from S] [--jobs J] [--all] [--seed N [--trace]] [--defect NAME] [--twice]
 *
 * Runs seeds, prints what was simulated, how often each fault struck, and the
 * promises that were broken. Exit status 0: none; 1: one was, with a short
 * trace of the seed that did it.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform/base/text.h"
#include "tests/sim/plant.h"
#include "tests/sim/shrink.h"
#include "tests/sim/sim.h"

enum { JOBS_MAX = 64, SEED_SECONDS = 120, SHRUNK_MAX = 400, PROGRESS = 100 };

struct options {
    int64_t seeds, from, jobs, seed;
    bool one, trace, twice, all;
};

/* What a process that runs seeds tells its parent, in shared memory. */
struct share {
    int64_t seeds, simulated_ms, faults;
    uint64_t counts[FAULT_KINDS];
    int64_t at;  /* the seed that runs */
    int64_t bad; /* the first seed that broke a promise; -1 */
    bool same;   /* it was run twice, with equal traces */
};

static int usage(const char *what)
{
    int i;

    fprintf(stderr,
            "sim: %s\nusage: sim [--seeds N] [--from S] [--jobs J] [--all] [--seed N [--trace]] "
            "[--twice] [--defect NAME]\ndefects:",
            what);
    for (i = 0; plant_names[i]; i++)
        fprintf(stderr, " %s", plant_names[i]);
    fputc('\n', stderr);
    return 64;
}

static int parse(int argc, char **argv, struct options *o)
{
    int i;

    for (i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        int64_t *number = !strcmp(name, "--seeds")  ? &o->seeds
                          : !strcmp(name, "--from") ? &o->from
                          : !strcmp(name, "--jobs") ? &o->jobs
                          : !strcmp(name, "--seed") ? &o->seed
                                                    : NULL;

        if (!strcmp(name, "--trace")) {
            o->trace = true;
        } else if (!strcmp(name, "--twice")) {
            o->twice = true;
        } else if (!strcmp(name, "--all")) {
            o->all = true;
        } else if (number) {
            if (text_i64(value, 0, INT64_MAX, number) < 0)
                return usage("a number is missing or bad");
            o->one |= number == &o->seed;
            i++;
        } else if (!strcmp(name, "--defect")) {
            if (plant(value) < 0)
                return usage("no such defect");
            i++;
        } else {
            return usage("unknown option");
        }
    }
    if (o->jobs < 1 || o->jobs > JOBS_MAX)
        return usage("--jobs is 1 to 64");
    return 0;
}

static void print_fault(const struct fired *f)
{
    printf("  %016llx %s\n", (unsigned long long)f->id, fault_texts[f->kind]);
}

/* Again with few faults, then with its trace. */
static void explain(struct world_options o, struct verdict *v)
{
    struct verdict small;
    size_t i;

    printf("seed %llu: %s\n%zu faults", (unsigned long long)o.seed, v->violation, v->fired.count);
    shrink(&o, v->broken, &v->fired);
    printf(", %zu of them are enough:\n", v->fired.count);
    for (i = 0; i < v->fired.count && i < SHRUNK_MAX; i++)
        print_fault(&v->fired.items[i]);
    o.only = &v->fired;
    o.trace = true;
    world_run(&o, &small);
    printf("seed %llu, shrunk: %s\n", (unsigned long long)o.seed, small.violation);
    verdict_free(&small);
}

static int run_one(const struct options *o)
{
    struct world_options w = {.seed = (uint64_t)o->seed, .trace = o->trace};
    struct verdict v;
    int bad;

    world_run(&w, &v);
    bad = v.violation[0] != '\0';
    if (bad && !o->trace)
        explain(w, &v);
    printf("seed %lld: %s, %zu faults, trace %016llx\n", (long long)o->seed,
           bad ? v.violation : "fine", v.fired.count, (unsigned long long)v.trace_hash);
    verdict_free(&v);
    return bad;
}

static void add(struct share *s, const struct verdict *v)
{
    int k;

    s->seeds++;
    s->simulated_ms += v->simulated_ms;
    s->faults += (int64_t)v->fired.count;
    for (k = 0; k < FAULT_KINDS; k++)
        s->counts[k] += v->counts[k];
}

static void run_share(const struct options *o, struct share *s, int64_t job)
{
    struct world_options w = {0};
    struct verdict v, again;

    for (s->at = o->from + job; s->at < o->from + o->seeds && (s->bad < 0 || o->all);
         s->at += o->jobs) {
        w.seed = (uint64_t)s->at;
        alarm(SEED_SECONDS);
        world_run(&w, &v);
        add(s, &v);
        if (s->seeds % PROGRESS == 0)
            fprintf(stderr, "%lld: %lld seeds, %lld faults\n", (long long)job, (long long)s->seeds,
                    (long long)s->faults);
        if (v.violation[0]) {
            s->bad = s->bad < 0 ? s->at : s->bad;
            printf("seed %lld: %s\n", (long long)s->at, v.violation);
            fflush(stdout);
        }
        if (o->twice) {
            world_run(&w, &again);
            s->same &= again.trace_hash == v.trace_hash && again.fired.count == v.fired.count;
            verdict_free(&again);
        }
        verdict_free(&v);
    }
}

static double cpu_seconds(void)
{
    struct rusage r;

    getrusage(RUSAGE_CHILDREN, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void report(const struct share *sum)
{
    double hours = (double)sum->simulated_ms / 3600e3, cpu = cpu_seconds();
    int k;

    printf("%lld seeds, %.0f simulated hours, %.1f CPU s: %.0f hours per CPU minute\n",
           (long long)sum->seeds, hours, cpu, cpu > 0 ? hours / cpu * 60 : 0);
    printf("%lld faults:\n", (long long)sum->faults);
    for (k = FAULT_NONE + 1; k < FAULT_KINDS; k++)
        printf("  %10llu  %s\n", (unsigned long long)sum->counts[k], fault_texts[k]);
}

static int run_many(const struct options *o)
{
    struct share *shares = mmap(NULL, sizeof *shares * JOBS_MAX, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct share sum = {.same = true};
    int64_t job, bad = -1;
    pid_t pids[JOBS_MAX];
    int status, k;

    if (shares == MAP_FAILED)
        return 71;
    fflush(stdout);
    for (job = 0; job < o->jobs; job++) {
        shares[job].bad = -1;
        shares[job].same = true;
        if ((pids[job] = fork()) == 0) {
            run_share(o, &shares[job], job);
            _exit(0);
        }
    }
    for (job = 0; job < o->jobs; job++) {
        if (waitpid(pids[job], &status, 0) < 0 || status) {
            shares[job].bad = shares[job].at;
            printf("seed %lld: %s\n", (long long)shares[job].at,
                   WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : "crashed");
        }
        if (shares[job].bad >= 0 && (bad < 0 || shares[job].bad < bad))
            bad = shares[job].bad;
        sum.seeds += shares[job].seeds;
        sum.simulated_ms += shares[job].simulated_ms;
        sum.faults += shares[job].faults;
        sum.same &= shares[job].same;
        for (k = 0; k < FAULT_KINDS; k++)
            sum.counts[k] += shares[job].counts[k];
    }
    report(&sum);
    if (!sum.same)
        printf("one seed gave two traces\n");
    printf(bad < 0 ? "0 violations\n" : "violation: seed %lld\n", (long long)bad);
    return bad >= 0 || !sum.same;
}

int main(int argc, char **argv)
{
    struct options o = {.seeds = 100, .from = 1, .jobs = 1};
    int rc = parse(argc, argv, &o);

#ifdef M_MMAP_THRESHOLD /* memory that the kernel gets back is cleared when it comes again */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (rc == 0)
        rc = o.one ? run_one(&o) : run_many(&o);
    return rc;
}
