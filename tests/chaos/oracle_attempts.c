#include <stdio.h>
#include <string.h>

#include "tests/chaos/oracle_int.h"

#define LOG_MAX ((size_t)16 << 20)
enum { ATTEMPTS_MAX = 1000 };

/* The attempts at one run. */
struct attempts {
    struct oracle *o;
    const char *run;
    size_t made;
    bool trained[ATTEMPTS_MAX], released[ATTEMPTS_MAX]; /* by number */
    struct err *e;
};

/* It had its documents: an attempt that only waits for others to end has none. */
static int look_at_log(struct attempts *all, const char *key, uint64_t n)
{
    struct buf b;
    int rc;

    buf_init(&b, LOG_MAX);
    if ((rc = blob_get(all->o->store, key, &b, all->e)) == 0 && b.len &&
        strstr(b.data, "\"event\":\"snapshot\""))
        all->trained[n] = true;
    buf_release(&b);
    return rc;
}

static int each(void *arg, const char *key, uint64_t size)
{
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX], file[KEY_FILE_MAX];
    struct attempts *all = arg;
    uint64_t n, number;

    (void)size;
    if (key_attempt_parse(key, owner, run, &n)) {
        all->made++;
        return 0;
    }
    if (!key_attempt_file_parse(key, owner, run, &n, file))
        return 0;
    if (n >= ATTEMPTS_MAX) {
        violation(all->o, "run %s has an attempt %llu", all->run, (unsigned long long)n);
        return 0;
    }
    all->released[n] |= strcmp(file, "released.json") == 0;
    return attempt_series_parse(ATTEMPT_LOG, file, &number) ? look_at_log(all, key, n) : 0;
}

static void judge_reason(struct oracle *o, const struct asked *job, const struct run_end *end)
{
    char spent[48];

    snprintf(spent, sizeof spent, "attempt %d of %d: ", job->doomed, job->doomed);
    if (end->state != JOB_FAILED || !end->reason ||
        (!strstr(end->reason, spent) && !strstr(end->reason, "attempts were made, none came to")))
        violation(o, "run %s, of which each training dies, is %s: %s", job->run,
                  job_state_names[end->state], end->reason ? end->reason : "");
}

int oracle_attempts(struct oracle *o, const struct asked *job, const struct run_end *end,
                    struct err *e)
{
    struct attempts all = {.o = o, .run = job->run, .e = e};
    char prefix[KEY_MAX];
    int i, rc, counted = 0;

    judge_reason(o, job, end);
    if ((rc = key_attempts_prefix(o->owner, job->run, prefix, e)) < 0 ||
        (rc = blob_list(o->store, prefix, NULL, each, &all, e)) < 0)
        return rc;
    for (i = 0; i < ATTEMPTS_MAX; i++)
        counted += all.trained[i] && !all.released[i];
    if (counted > job->doomed)
        violation(o, "run %s was trained %d times that count, and %d are allowed", job->run,
                  counted, job->doomed);
    if (all.made < (size_t)job->doomed)
        violation(o, "run %s was given up after %zu attempts of %d", job->run, all.made,
                  job->doomed);
    o->tally.doomed++;
    return 0;
}
