#include <string.h>

#include "cli/send.h"
#include "cli/view.h"
#include "platform/clock/clock.h"

#define LOOK_MS   250
#define ARENA_MAX ((size_t)16 << 20)

struct cancel_options {
    struct client_options client;
    const char *reason;
    int64_t wait; /* s */
    bool json;
};

static const struct option_row rows[] = {
    {.name = "reason",
     .type = OPTION_TEXT,
     .offset = offsetof(struct cancel_options, reason),
     .value = "TEXT",
     .help = "for people"},
    {.name = "wait",
     .type = OPTION_INT,
     .offset = offsetof(struct cancel_options, wait),
     .value = "SECONDS",
     .min = 0,
     .max = 86400,
     .help = "for the run's end (default 30; 0: don't)"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct cancel_options, json),
     .help = "one JSON object on standard output"},
    CLIENT_ROWS(cancel_options),
};

/* The state that won: a run that had ended stays as it ended. */
static int wait_for_end(struct client *c, const char *run, int64_t seconds, struct arena *a,
                        struct view *v, struct err *e)
{
    struct clock *clock = c->ports.clock;
    int64_t until = clock_mono_ms(clock) + seconds * 1000;
    int rc;

    for (;;) {
        arena_reset(a);
        rc = view_load(c, run, true, a, v, e);
        if (rc < 0 && rc != ERR_NOT_FOUND)
            return rc;
        if (rc == 0 && v->ended)
            return 0;
        if (clock_stopping(clock))
            return err_set(e, ERR_CANCELLED, "the cancel is on its way: tripline status %s", run);
        if (clock_mono_ms(clock) >= until)
            return err_set(e, ERR_TIMEOUT,
                           "run %s has not ended within %lld s%s; the cancel is on its way (do "
                           "trainers run?)",
                           run, (long long)seconds,
                           rc == 0 ? "" : ": nobody has accepted such a run (tripline runs)");
        clock_sleep_ms(clock, LOOK_MS);
    }
}

static int print(const struct view *v, bool json, struct err *e)
{
    struct buf b;
    int rc = 0;

    buf_init(&b, 1 << 20);
    if (json) {
        rc = run_status_write(&v->status, RECORD_JSON, &b, e);
    } else {
        buf_printf(&b, "%s: ", v->status.run);
        view_line(v, &b);
    }
    buf_char(&b, '\n');
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int cancel(struct client *c, const struct cancel_options *o, const char *run, struct err *e)
{
    struct arena a;
    struct view v;
    struct job job;
    int rc;

    job_init(&job);
    job.kind = JOB_CANCEL;
    job.run = run;
    job.reason = o->reason ? o->reason : "cancelled by its owner";
    if (record_check(&job_record, &job, e) < 0)
        return e->code = ERR_USAGE; /* what was typed, not what was read */
    if ((rc = send_job(c, &job, e)) < 0 || o->wait == 0)
        return rc;
    arena_init(&a, ARENA_MAX);
    if ((rc = wait_for_end(c, run, o->wait, &a, &v, e)) == 0)
        rc = print(&v, o->json, e);
    if (rc == 0 && v.status.state != JOB_CANCELLED)
        rc = CLI_RUN_FAILED; /* it had ended otherwise */
    arena_release(&a);
    return rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct cancel_options o = {.wait = 30};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 1, 1, e)) < 0 || (rc = view_check_name(argv[0], e)) < 0)
        return rc;
    if ((rc = client_open_stores(&c, &o.client, SETTINGS_KAFKA, e)) == 0)
        rc = cancel(&c, &o, argv[0], e);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_cancel = {
    .name = "cancel",
    .summary = "Ends a run that has not ended; says which state won.",
    .usage = "cancel RUN [--reason TEXT] [--wait SECONDS]",
    .examples = "  tripline cancel my-run\n  tripline cancel my-run --reason \"wrong dataset\"\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
