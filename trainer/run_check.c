/*
 * Do the same steps give the same bytes? Trains a few steps several times over, once
 * with another number of threads, and compares digests of everything that the next
 * step would depend on. Nothing is written.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "trainer/run_int.h"

/* Two or more where the machine is free to choose, so that "another" can be one. */
static int threads_of(const struct run_spec *s)
{
    long machine = sysconf(_SC_NPROCESSORS_ONLN);

    if (s->threads > 0)
        return s->threads;
    return machine > 2 ? (int)machine : 2;
}

static int steps(struct run *r, struct run_check *out, char digests[][SHA256_HEX], struct err *e)
{
    int i, rc;

    for (i = 0; i < out->steps; i++) {
        struct run_event event = {.kind = RUN_STEP, .steps = out->steps};

        if ((rc = run_step(r, &event, e)) < 0)
            return rc;
        event.step = ++r->state->step;
        run_tell(r, &event);
        if ((rc = engine_digest(r->engine, digests[i], e)) < 0)
            return rc;
    }
    return 0;
}

static int one_run(const struct run_spec *spec, int threads, struct run_check *out,
                   char digests[][SHA256_HEX], struct err *e)
{
    struct run_spec with = *spec;
    struct run_result result = {0};
    struct run r = {.spec = &with, .result = &result, .lock = -1};
    int rc;

    with.threads = threads;
    if ((rc = run_open(&r, e)) == 0) {
        if (r.steps < out->steps)
            out->steps = (int)r.steps;
        memcpy(out->fingerprint, result.fingerprint, sizeof out->fingerprint);
        rc = steps(&r, out, digests, e);
    }
    run_release(&r);
    return rc;
}

static void compare(struct run_check *out, int run, char first[][SHA256_HEX],
                    char other[][SHA256_HEX])
{
    int i;

    for (i = 0; i < out->steps && out->equal; i++)
        if (strcmp(first[i], other[i]) != 0) {
            out->equal = false;
            out->differs_run = run;
            out->differs_step = i + 1;
        }
}

int run_check(const struct run_spec *spec, struct run_check *out, struct err *e)
{
    char first[RUN_CHECK_STEPS][SHA256_HEX] = {{0}}, other[RUN_CHECK_STEPS][SHA256_HEX] = {{0}};
    int threads = threads_of(spec), i, rc;

    *out = (struct run_check){.equal = true, .steps = RUN_CHECK_STEPS};
    for (i = 0; i < RUN_CHECK_RUNS; i++) {
        out->threads[i] = i < RUN_CHECK_RUNS - 1 ? threads : threads == 1 ? 2 : 1;
        if ((rc = one_run(spec, out->threads[i], out, i ? other : first, e)) < 0)
            return rc;
        if (i)
            compare(out, i + 1, first, other);
    }
    memcpy(out->digest, first[out->steps - 1], sizeof out->digest);
    return 0;
}
