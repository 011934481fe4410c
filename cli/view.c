#include "cli/view.h"

#include <math.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/blob/blob.h"
#include "platform/board/board.h"

#define OBJECT_MAX ((size_t)64 << 20)

int view_check_name(const char *run, struct err *e)
{
    if (text_is_name(run, strlen(run)))
        return 0;
    return err_set(e, ERR_USAGE,
                   "run '%.80s': a name has a-z, 0-9 and '-' (tripline runs lists them)", run);
}

int view_object(struct client *c, const char *key, const struct record *type, struct arena *a,
                void *out, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, OBJECT_MAX);
    if ((rc = blob_get(c->ports.blob, key, &b, e)) == 0 &&
        (rc = record_read(type, a, b.data, b.len, RECORD_SNIFF, out, e)) < 0)
        err_wrap(e, "%s", key);
    buf_release(&b);
    return rc;
}

struct filling {
    struct arena *arena;
    struct run_status *status;
    size_t fields;
};

/* A field that a newer writer added, or that is broken, is no reason to show nothing. */
static int each_field(void *arg, const char *name, const char *value, size_t len)
{
    struct filling *f = arg;
    struct err ignored = ERR_INIT;
    char *text = arena_strndup(f->arena, value, len);

    if (text && record_set(&run_status_record, f->arena, name, text, f->status, &ignored) == 0)
        f->fields++;
    return 0;
}

/* True: Redis knows the run. That it does not answer is no failure. */
static bool ask_board(struct client *c, const char *run, struct arena *a, struct view *v)
{
    struct filling f = {a, &v->status, 0};
    struct err why = ERR_INIT;
    char key[KEY_MAX];

    if (!c->ports.board || c->board_down ||
        key_board(&c->keys, BOARD_STATUS, c->owner, run, key, &why) < 0)
        return false;
    if (board_each(c->ports.board, key, each_field, &f, &why) < 0)
        client_board_failed(c, &why);
    return f.fields > 0;
}

static int ask_end(struct client *c, const char *run, struct arena *a, struct view *v,
                   struct err *e)
{
    char key[KEY_MAX];
    int rc = key_run(c->owner, run, RUN_END, key, e);

    if (rc < 0)
        return rc;
    rc = view_object(c, key, &run_end_record, a, &v->end, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    v->ended = true;
    v->status.state = v->end.state;
    v->status.attempt = v->end.attempt;
    v->status.message = v->end.reason;
    v->status.updated_ms = v->end.time_ms;
    return 0;
}

static int each_attempt(void *arg, const char *key, uint64_t size)
{
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX];
    struct view *v = arg;
    uint64_t n;

    if (key_attempt_parse(key, owner, run, &n) && (int64_t)n > v->status.attempt)
        v->status.attempt = (int64_t)n;
    return 0;
}

/* What Redis would have said, from the objects. */
static int rebuild(struct client *c, const char *run, struct arena *a, struct view *v,
                   struct err *e)
{
    char key[KEY_MAX];
    struct job job;
    int rc = key_run(c->owner, run, RUN_JOB, key, e);

    if (rc < 0)
        return rc;
    rc = view_object(c, key, &job_record, a, &job, e);
    if (rc == ERR_NOT_FOUND && v->ended) /* a cancel, or a job that was no good */
        return 0;
    if (rc < 0)
        return rc;
    v->status.model = job.model;
    v->status.dataset = job.dataset;
    if (job.accepted)
        v->status.created_ms = job.accepted->time_ms;
    if ((rc = key_attempts_prefix(c->owner, run, key, e)) < 0 ||
        (rc = blob_list(c->ports.blob, key, NULL, each_attempt, v, e)) < 0)
        return rc;
    if (!v->ended)
        v->status.state = v->status.attempt > 0 ? JOB_STARTED : JOB_CREATED;
    return 0;
}

int view_load(struct client *c, const char *run, bool look_for_end, struct arena *a,
              struct view *out, struct err *e)
{
    int rc = 0;

    memset(out, 0, sizeof *out);
    run_status_init(&out->status);
    run_end_init(&out->end);
    out->live = ask_board(c, run, a, out);
    if (look_for_end || !out->live || out->status.state >= JOB_FINISHED)
        rc = ask_end(c, run, a, out, e);
    if (rc == 0 && !out->live)
        rc = rebuild(c, run, a, out, e);
    out->status.owner = c->owner;
    out->status.run = run;
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "owner %s has no run %s (tripline runs lists them)",
                       c->owner, run);
    return rc;
}

void view_text(const char *text, struct buf *to)
{
    for (; *text; text++)
        buf_char(to, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

void view_line(const struct view *v, struct buf *to)
{
    const struct run_status *s = &v->status;

    buf_str(to, job_state_names[s->state]);
    if (s->state == JOB_STARTED)
        buf_printf(to, " %s", job_phase_names[s->phase]);
    if (s->state == JOB_STARTED && s->phase == PHASE_TRAINING && s->steps > 0)
        buf_printf(to, " %lld/%lld, epoch %lld/%lld", (long long)s->step, (long long)s->steps,
                   (long long)s->epoch, (long long)s->epochs);
    if (s->state == JOB_STARTED && !isnan(s->loss))
        buf_printf(to, ", loss %.4f", s->loss);
    if (s->message && *s->message) {
        buf_str(to, ": ");
        view_text(s->message, to);
    }
}
