/*
 * The half of `fit` that asks the trainers: a job message; with --follow the run
 * until its end and its model-ready event; with --pull the model.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cmd_fit.h"
#include "cli/cmd_watch.h"
#include "cli/events.h"
#include "cli/lines.h"
#include "cli/pull.h"
#include "cli/send.h"
#include "cli/view.h"
#include "platform/blob/blob.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/proc/progress.h"

#define LOOK_MS     300
#define ACCEPT_MS   60000 /* then somebody is told that no trainer seems to run */
#define EVENT_MS    60000
#define END_LOOK_MS 3000 /* between looks at S3 while Redis says that it goes on */
#define ARENA_MAX   ((size_t)64 << 20)

struct remote {
    const struct fit_options *o;
    struct client c;
    char run[KEY_NAME_MAX];
    struct arena arena, look; /* of the job; of one look */
    struct job job;
    struct job_parameters parameters;
    struct job_publish publish;
    struct job_gate gate;
    struct events events;
    struct progress *progress;
    struct view view;
    int phase; /* shown; -1: none */
    int64_t attempt, steps;
    bool known; /* the run was there before this command */
    bool announced;
    struct buf event; /* the model-ready event, for people */
};

/* ---- the job -----------------------------------------------------------------------------------
 */

static int need(const char *value, const char *option, struct err *e)
{
    if (value)
        return 0;
    return err_set(e, ERR_USAGE, "fit: %s is missing (or --local to train here; see fit --help)",
                   option);
}

/* "<model>-<date>-<time>-<4 hex digits>" */
static void name_run(struct remote *r)
{
    time_t now = (time_t)(clock_wall_ms(r->c.ports.clock) / 1000);
    char stamp[16], nonce[33];
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    clock_nonce(r->c.ports.clock, nonce);
    snprintf(r->run, sizeof r->run, "%.*s-%s-%.4s", (int)sizeof r->run - 22, r->job.model, stamp,
             nonce);
}

static int fill_job(struct remote *r, struct err *e)
{
    const struct fit_options *o = r->o;
    int rc;

    if ((rc = need(o->dataset, "--dataset", e)) < 0 ||
        (rc = need(o->backbone, "--backbone", e)) < 0 ||
        (rc = fit_parameters(o, &r->arena, &r->parameters, e)) < 0)
        return rc;
    job_init(&r->job);
    r->job.kind = JOB_FIT;
    r->job.dataset = o->dataset;
    r->job.model = o->model ? o->model : o->dataset;
    r->job.backbone = o->backbone;
    r->job.parameters = &r->parameters;
    if (o->priority != FIT_NO_PRIORITY)
        r->job.priority = o->priority;
    if (o->presign >= 0) {
        job_publish_init(&r->publish);
        r->publish.presign_seconds = o->presign;
        r->job.publish = &r->publish;
    }
    if (o->min_gain > -1) {
        job_gate_init(&r->gate);
        r->gate.min_gain = o->min_gain;
        r->job.gate = &r->gate;
    }
    if (o->name)
        snprintf(r->run, sizeof r->run, "%s", o->name);
    else
        name_run(r);
    r->job.run = r->run;
    if (o->name && (rc = view_check_name(o->name, e)) < 0)
        return rc;
    rc = record_check(&job_record, &r->job, e);
    if (rc == ERR_FORMAT)
        e->code = rc = ERR_USAGE; /* what was typed, not what was read */
    return rc;
}

static int stop_listing(void *arg, const char *key, uint64_t size)
{
    return 1;
}

/* What the run would fail for later is said now. */
static int check_world(struct remote *r, struct err *e)
{
    char topic[KEY_MAX], own[KEY_MAX], shared[KEY_MAX];
    struct client *c = &r->c;
    int count, rc;

    if ((rc = topic_docs(&c->keys, c->owner, r->job.dataset, topic, e)) < 0 ||
        (rc = key_backbone_prefix(c->owner, r->job.backbone, own, e)) < 0 ||
        (rc = key_backbone_prefix(NULL, r->job.backbone, shared, e)) < 0)
        return rc;
    rc = bus_partitions(c->ports.bus, topic, &count, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "owner %s has no dataset %s: tripline push %s FILE",
                       c->owner, r->job.dataset, r->job.dataset);
    if (rc < 0)
        return rc;
    rc = blob_list(c->ports.blob, own, NULL, stop_listing, NULL, e);
    if (rc == 0)
        rc = blob_list(c->ports.blob, shared, NULL, stop_listing, NULL, e);
    if (rc == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no backbone %s: tripline backbone push %s DIR",
                       r->job.backbone, r->job.backbone);
    return rc == ERR_DENIED || rc > 0 ? 0 : rc; /* the operator's may be hidden from us */
}

/* As intake tells duplicates: by the hash of what was sent. */
static int hash_job(const struct job *job, struct arena *a, char sha256[SHA256_HEX], struct err *e)
{
    struct job again;
    struct buf b;
    int rc;

    buf_init(&b, RECORD_BYTES_MAX);
    if ((rc = job_write(job, RECORD_JSON, &b, e)) == 0)
        rc = job_admit(NULL, 0, b.data, b.len, a, &again, sha256, e);
    buf_release(&b);
    return rc;
}

/* A run's name means one job: 1 if the run there is of this one, 0 if intake accepted none,
 * ERR_EXISTS if it is another's. */
static int is_mine(struct remote *r, struct err *e)
{
    char key[KEY_MAX], sha256[SHA256_HEX];
    struct arena a;
    struct job there;
    int rc;

    arena_init(&a, ARENA_MAX);
    if ((rc = key_run(r->c.owner, r->run, RUN_JOB, key, e)) == 0 &&
        (rc = view_object(&r->c, key, &job_record, &a, &there, e)) == 0 &&
        (rc = hash_job(&r->job, &a, sha256, e)) == 0)
        rc = !there.accepted || strcmp(there.accepted->request_sha256, sha256) == 0
                 ? 1
                 : err_set(e, ERR_EXISTS, "run %s exists, with another job: choose another --name",
                           r->run);
    arena_release(&a);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Before the job is sent: intake would refuse a name that is taken. */
static int check_name(struct remote *r, struct err *e)
{
    struct err absent = ERR_INIT;
    struct run_end end;
    char key[KEY_MAX];
    int rc = is_mine(r, e);

    if (rc != 0) {
        r->known = rc == 1;
        return rc < 0 ? rc : 0;
    }
    if ((rc = key_run(r->c.owner, r->run, RUN_END, key, e)) < 0)
        return rc;
    arena_reset(&r->look);
    if (view_object(&r->c, key, &run_end_record, &r->look, &end, &absent) < 0)
        return 0;
    return err_set(e, ERR_EXISTS, "run %s exists and has ended: choose another --name", r->run);
}

/* ---- following ---------------------------------------------------------------------------------
 */

static void show_line(void *arg, const json_t *v, const char *text)
{
    const char *event = json_string_value(json_object_get(v, "event"));
    struct remote *r = arg;
    struct buf b;

    if (!event || strcmp(event, "step") == 0 || strcmp(event, "phase") == 0 ||
        strcmp(event, "checkpoint") == 0)
        return; /* the bar says it */
    buf_init(&b, 1 << 16);
    lines_text_of(v, &b);
    if (b.len > 1)
        progress_say(r->progress, "%.*s", (int)b.len - 1, b.data);
    buf_release(&b);
}

static void show_status(struct remote *r)
{
    const struct run_status *s = &r->view.status;
    char note[96] = "";

    if (s->state == JOB_STARTED && (s->phase != r->phase || s->attempt != r->attempt ||
                                    (s->phase == PHASE_TRAINING && s->steps != r->steps))) {
        r->phase = s->phase;
        r->attempt = s->attempt;
        r->steps = s->steps;
        progress_step(r->progress, job_phase_names[s->phase],
                      s->phase == PHASE_TRAINING ? s->steps : 0, "steps");
    }
    if (s->state != JOB_STARTED || s->phase != PHASE_TRAINING || isnan(s->loss))
        return;
    snprintf(note, sizeof note, "epoch %lld/%lld  loss %.4f  %.0f docs/s", (long long)s->epoch,
             (long long)s->epochs, s->loss, isnan(s->docs_per_s) ? 0 : s->docs_per_s);
    progress_at(r->progress, s->step, note);
}

/* 1: ended; 0: not yet. */
static int look(struct remote *r, bool at_store, struct err *e)
{
    int rc;

    arena_reset(&r->look);
    rc = view_load(&r->c, r->run, at_store, &r->look, &r->view, e);
    if (rc == ERR_NOT_FOUND)
        return 0; /* not accepted yet */
    if (rc < 0)
        return rc;
    show_status(r);
    return r->view.ended;
}

static int interrupted(struct remote *r, struct err *e)
{
    return err_set(e, ERR_CANCELLED, "stopped following; run %s goes on: tripline status %s",
                   r->run, r->run);
}

static int follow(struct remote *r, struct err *e)
{
    struct clock *clock = r->c.ports.clock;
    int64_t began = clock_mono_ms(clock), looked = 0;
    struct lines l;
    bool told = false;
    int rc;

    lines_init(&l, &r->c, r->run, show_line, r);
    progress_step(r->progress, "accepted by Kafka; waiting for a trainer", 0, "");
    for (;;) {
        bool at_store = clock_mono_ms(clock) >= looked + END_LOOK_MS;

        if (at_store)
            looked = clock_mono_ms(clock);
        rc = look(r, at_store, e);
        if (rc >= 0 && r->view.status.attempt > 0 && lines_look(&l, rc == 1, e) < 0)
            rc = e->code;
        if (rc != 0)
            break;
        if (clock_stopping(clock)) {
            rc = interrupted(r, e);
            break;
        }
        if (!told && r->view.status.attempt == 0 && clock_mono_ms(clock) > began + ACCEPT_MS) {
            told = true;
            progress_say(r->progress,
                         "no trainer took the job for 60 s: does tripline-trainer run?");
        }
        clock_sleep_ms(clock, LOOK_MS);
    }
    lines_release(&l);
    return rc < 0 ? rc : 0;
}

static int each_event(void *arg, const struct bus_message *m, struct err *e)
{
    struct remote *r = arg;
    struct model_ready event;
    struct err ignored = ERR_INIT;
    struct arena a;
    int rc = 0;

    (void)e;
    arena_init(&a, ARENA_MAX);
    if (watch_decode(m, &a, &event, &ignored) == 0 && strcmp(event.subject, r->run) == 0) {
        watch_text(&event, &r->event);
        rc = 1;
    }
    arena_release(&a);
    return rc;
}

static int wait_for_event(struct remote *r, struct err *e)
{
    struct clock *clock = r->c.ports.clock;
    int64_t until = clock_mono_ms(clock) + EVENT_MS;
    int rc;

    progress_step(r->progress, "waiting for the model-ready event", 0, "");
    while ((rc = events_look(&r->events, each_event, r, e)) == 0) {
        if (clock_stopping(clock))
            return interrupted(r, e);
        if (clock_mono_ms(clock) >= until) {
            progress_say(r->progress,
                         "no model-ready event within %d s (does tripline-publisher run?)",
                         EVENT_MS / 1000);
            return 0;
        }
        clock_sleep_ms(clock, LOOK_MS);
    }
    r->announced = rc == 1;
    progress_done(r->progress, NULL);
    return rc < 0 ? rc : 0;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static int print_json(struct remote *r, const struct pull_result *pulled, struct err *e)
{
    const struct run_status *s = &r->view.status;
    bool followed = r->o->follow;
    struct buf b;
    json_t *v;
    int rc;

    v = json_pack("{s:s, s:s, s:s, s:s}", "run", r->run, "owner", r->c.owner, "dataset",
                  r->job.dataset, "model", r->job.model);
    if (!v)
        return err_set(e, ERR_NOMEM, "the result");
    json_object_set_new(v, "state",
                        json_string(job_state_names[followed ? s->state : JOB_CREATED]));
    if (followed) {
        json_object_set_new(v, "attempt", json_integer(s->attempt));
        json_object_set_new(v, "announced", json_boolean(r->announced));
    }
    if (followed && s->message)
        json_object_set_new(v, "reason", json_string(s->message));
    if (pulled) {
        json_object_set_new(v, "folder", json_string(pulled->folder));
        json_object_set_new(v, "manifest_sha256", json_string(pulled->manifest_sha256));
        json_object_set_new(v, "golden", json_integer(pulled->golden));
        json_object_set_new(v, "golden_difference", json_real(pulled->largest));
    }
    buf_init(&b, 1 << 20);
    rc = json_write(v, JSON_CANONICAL, &b, e);
    buf_char(&b, '\n');
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    json_decref(v);
    return rc;
}

static int print_text(struct remote *r, const struct pull_result *pulled, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, 1 << 20);
    if (!r->o->follow) {
        buf_printf(&b, "run %s: its job is sent; tripline status %s, tripline logs %s -f\n", r->run,
                   r->run, r->run);
    } else {
        buf_printf(&b, "run %s: ", r->run);
        view_line(&r->view, &b);
        buf_printf(&b, "\n%s", r->event.len ? r->event.data : "");
    }
    if (pulled) {
        buf_printf(&b, "%s: %lld files, every SHA-256 matches", pulled->folder,
                   (long long)pulled->files);
        if (pulled->golden)
            buf_printf(&b, "; %d golden vectors agree (largest difference %.2g)", pulled->golden,
                       pulled->largest);
        buf_char(&b, '\n');
    }
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int finish(struct remote *r, struct err *e)
{
    const struct pull_options po = {.run = r->run, .folder = r->o->pull, .force = false};
    struct pull_result pulled;
    bool finished = r->o->follow && r->view.status.state == JOB_FINISHED;
    bool take = finished && r->o->pull;
    int rc = 0;

    if (finished && (rc = wait_for_event(r, e)) < 0)
        return rc;
    progress_free(r->progress);
    r->progress = NULL;
    if (take && (rc = pull(&r->c, &po, &pulled, e)) < 0)
        return err_wrap(e, "run %s finished, but", r->run);
    rc = r->o->json ? print_json(r, take ? &pulled : NULL, e)
                    : print_text(r, take ? &pulled : NULL, e);
    if (rc < 0 || !r->o->follow)
        return rc;
    return !finished ? CLI_RUN_FAILED : r->view.status.message ? CLI_WORSE : 0;
}

/* A folder that is in the way is in the way before the training, too. */
static int check_folder(const struct fit_options *o, struct err *e)
{
    if (!o->pull || o->name || access(o->pull, F_OK) != 0)
        return 0;
    return err_set(e, ERR_EXISTS, "--pull %s: it is there already; choose another folder", o->pull);
}

static int fit(struct remote *r, struct err *e)
{
    int rc;

    if ((rc = check_folder(r->o, e)) < 0 ||
        (rc = client_open_stores(&r->c, &r->o->client, SETTINGS_KAFKA, e)) < 0 ||
        (rc = fill_job(r, e)) < 0 || (rc = check_world(r, e)) < 0 || (rc = check_name(r, e)) < 0 ||
        (rc = progress_new(&r->progress, r->c.ports.clock, 2, PROGRESS_AUTO, e)) < 0)
        return rc;
    if (r->o->follow && (rc = events_open(&r->events, &r->c, TOPIC_MODELS, r->known, e)) < 0)
        return rc;
    if ((rc = send_job(&r->c, &r->job, e)) < 0)
        return rc;
    progress_say(r->progress, "run %s: %s on dataset %s from %s", r->run, r->job.model,
                 r->job.dataset, r->job.backbone);
    if (r->o->follow && ((rc = follow(r, e)) < 0 || (rc = is_mine(r, e)) < 0))
        return rc;
    return finish(r, e);
}

int fit_remote(const struct fit_options *given, struct err *e)
{
    struct fit_options o = *given;
    struct remote r = {.o = &o, .phase = -1};
    int rc;

    if (o.train || o.eval || o.out || o.work || o.check_determinism || o.profile || o.resume_any ||
        o.force || o.threads > 0)
        return err_set(e, ERR_USAGE,
                       "fit: --train, --eval, --out, --work, --threads, --resume-any, --force, "
                       "--check-determinism and --profile go with --local; a run on the servers "
                       "has --dataset and --backbone");
    if (o.columns)
        return err_set(e, ERR_USAGE,
                       "fit: --columns goes with --local; on the servers `push --columns` said it");
    o.follow = o.follow || o.pull;
    arena_init(&r.arena, ARENA_MAX);
    arena_init(&r.look, ARENA_MAX);
    buf_init(&r.event, 1 << 16);
    rc = fit(&r, e);
    progress_free(r.progress);
    events_release(&r.events);
    buf_release(&r.event);
    arena_release(&r.look);
    arena_release(&r.arena);
    client_release(&r.c);
    return rc;
}
