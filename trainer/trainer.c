#include "trainer/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/clock/clock.h"
#include "trainer/trainer_int.h"

#define SLEEP_MS 200 /* how late a stop of this trainer alone may be noticed */

void trainer_options_init(struct trainer_options *o)
{
    *o = (struct trainer_options){
        .work_bytes = INT64_C(64) << 30,
        .cache_bytes = INT64_C(16) << 30,
        .lease_ms = 30000,
        .heartbeat_ms = 5000,
        .poll_ms = 1000,
        .sweep_ms = 60000,
        .wait_ms = 3600000,
        .log_ms = 2000,
        .checkpoint_ms = 300000,
        .checkpoints = 2,
        .workers = 1,
        .max_attempts = 1000,
        .max_memory_bytes = INT64_MAX,
        .max_time_ms = INT64_C(31536000) * 1000,
        .resume_any = true,
    };
}

bool trainer_stopping(struct trainer *t)
{
    return atomic_load(&t->stop) || clock_stopping(t->p.clock);
}

void trainer_stop(struct trainer *t)
{
    atomic_store(&t->stop, true);
}

void trainer_sleep(struct trainer *t, int64_t ms)
{
    int64_t until = clock_mono_ms(t->p.clock) + ms, left;

    while (!trainer_stopping(t) && (left = until - clock_mono_ms(t->p.clock)) > 0)
        clock_sleep_ms(t->p.clock, left < SLEEP_MS ? left : SLEEP_MS);
}

void trainer_fail(struct trainer *t, const struct err *e)
{
    pthread_mutex_lock(&t->lock);
    if (!t->failure.code)
        t->failure = *e;
    pthread_mutex_unlock(&t->lock);
    trainer_stop(t);
}

static void add_metrics(struct trainer *t)
{
    struct metrics *m = t->p.metrics;
    struct trainer_metrics *x = &t->m;

    x->jobs = metrics_counter(m, "tripline_trainer_jobs_total",
                              "Job messages by what became of them.", "result", NULL);
    x->runs = metrics_counter(m, "tripline_trainer_runs_total", "Runs that came into a state here.",
                              "state", NULL);
    x->attempts =
        metrics_counter(m, "tripline_trainer_attempts_total", "Attempts begun here.", NULL);
    x->fenced = metrics_counter(m, "tripline_trainer_lease_lost_total",
                                "Attempts that another worker took over.", NULL);
    x->crashes = metrics_counter(m, "tripline_trainer_child_crashes_total",
                                 "Training processes that died.", NULL);
    x->steps = metrics_counter(m, "tripline_trainer_steps_total", "Optimiser steps.", NULL);
    x->rate = metrics_gauge(m, "tripline_trainer_documents_per_second",
                            "Documents trained a second, in the newest report.", NULL);
    x->running = metrics_gauge(m, "tripline_trainer_running", "Attempts going on here.", NULL);
    x->open = metrics_gauge(m, "tripline_trainer_open_runs",
                            "Runs without an end or not announced, "
                            "at the last sweep.",
                            NULL);
}

static int set_names(struct trainer *t, struct err *e)
{
    char nonce[33];
    int rc = keys_init(&t->keys, t->o.prefix, e);

    if (rc < 0)
        return rc;
    clock_nonce(t->p.clock, nonce);
    snprintf(t->life, sizeof t->life, "%.8s", nonce + 16);
    if (t->o.name)
        snprintf(t->name, sizeof t->name, "%s", t->o.name);
    else
        snprintf(t->name, sizeof t->name, "trainer-%.12s", nonce);
    key_board_ring(&t->keys, t->ring);
    key_board_group(&t->keys, t->group);
    t->queue = (struct board_queue){t->ring, t->group, KEY_BOARD_SUFFIX};
    return 0;
}

int trainer_new(struct trainer **out, const struct trainer_options *o,
                const struct trainer_ports *p, struct err *e)
{
    struct trainer *t = calloc(1, sizeof *t);
    int64_t i;
    int rc;

    if (!t)
        return err_set(e, ERR_NOMEM, "a trainer");
    t->o = *o;
    t->p = *p;
    pthread_mutex_init(&t->lock, NULL);
    add_metrics(t);
    if ((rc = set_names(t, e)) < 0)
        goto fail;
    if (!(t->workers = calloc((size_t)o->workers + 1, sizeof *t->workers))) {
        rc = err_set(e, ERR_NOMEM, "%lld workers", (long long)o->workers);
        goto fail;
    }
    for (i = 0; i < o->workers; i++) {
        t->workers[i].t = t;
        t->workers[i].number = (int)i;
        t->workers[i].actor.t = t;
        /* a lease belongs to this life of the process: a nonce tells it from an earlier one */
        snprintf(t->workers[i].holder, sizeof t->workers[i].holder, "%s/%s/%lld", t->name, t->life,
                 (long long)i);
    }
    *out = t;
    return 0;
fail:
    trainer_free(t);
    return rc;
}

void trainer_free(struct trainer *t)
{
    if (!t)
        return;
    free(t->workers);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* What an earlier life left. The cache stays. */
static int make_folders(struct trainer *t, struct err *e)
{
    char path[TRAINER_PATH_MAX];
    int rc;

    if (!t->o.work || snprintf(path, sizeof path, "%s/runs", t->o.work) >= (int)sizeof path - 512)
        return err_set(e, ERR_CONFIG, "trainer.work is unset or too long a path");
    if ((rc = file_remove_tree(path, e)) < 0 || (rc = file_mkdirs(path, e)) < 0)
        return err_wrap(e, "trainer.work");
    snprintf(path, sizeof path, "%s/cache", t->o.work);
    if ((rc = file_mkdirs(path, e)) < 0)
        return err_wrap(e, "trainer.work");
    return 0;
}

static void start(struct trainer *t, const char *name, void (*fn)(void *), void *arg,
                  struct task **out)
{
    struct err e = ERR_INIT;

    *out = NULL;
    if (!trainer_stopping(t) && clock_go(t->p.clock, name, fn, arg, out, &e) < 0)
        trainer_fail(t, &e);
}

static void join(struct trainer *t, struct task *task)
{
    if (task)
        clock_join(t->p.clock, task);
}

int trainer_run(struct trainer *t, struct err *e)
{
    struct task *intake, *sweep;
    int64_t i;
    int rc = make_folders(t, e);

    if (rc < 0)
        return rc;
    start(t, "intake", intake_task, t, &intake);
    start(t, "sweep", sweep_task, t, &sweep);
    for (i = 0; i < t->o.workers; i++)
        start(t, "worker", worker_task, &t->workers[i], &t->workers[i].task);
    join(t, intake);
    join(t, sweep);
    for (i = 0; i < t->o.workers; i++)
        join(t, t->workers[i].task);
    if (t->failure.code) {
        *e = t->failure;
        return e->code;
    }
    return 0;
}
