#include <stdio.h>
#include <string.h>

#include "cli/lines.h"
#include "cli/view.h"
#include "platform/clock/clock.h"

#define LOOK_MS   500
#define ARENA_MAX ((size_t)16 << 20)

struct logs_options {
    struct client_options client;
    bool follow, json;
};

static const struct option_row rows[] = {
    {.name = "follow",
     .letter = 'f',
     .type = OPTION_FLAG,
     .offset = offsetof(struct logs_options, follow),
     .help = "go on until the run has ended"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct logs_options, json),
     .help = "one JSON object a line"},
    CLIENT_ROWS(logs_options),
};

struct showing {
    bool json, metrics;
    struct err *e;
    int rc;
};

static bool is_metric(const json_t *v)
{
    const char *event = json_string_value(json_object_get(v, "event"));

    return event && (strcmp(event, "step") == 0 || strcmp(event, "eval") == 0);
}

static void show(void *arg, const json_t *v, const char *text)
{
    struct showing *s = arg;
    struct buf b;

    if (s->rc < 0 || (s->metrics && !is_metric(v)))
        return;
    buf_init(&b, 1 << 20);
    if (s->json)
        buf_printf(&b, "%s\n", text);
    else
        lines_text_of(v, &b);
    s->rc = cli_print(&b, s->e);
    buf_release(&b);
}

/* 1: the run has ended. */
static int ended(struct client *c, const char *run, struct err *e)
{
    struct arena a;
    struct view v;
    int rc;

    arena_init(&a, ARENA_MAX);
    rc = view_load(c, run, false, &a, &v, e);
    arena_release(&a);
    return rc < 0 ? rc : v.ended;
}

static int follow(struct client *c, const char *run, bool on, struct lines *l, struct showing *s,
                  struct err *e)
{
    int over = ended(c, run, e), rc;

    for (;;) {
        if (over < 0 || (rc = lines_look(l, over, e)) < 0)
            return e->code;
        if (s->rc < 0)
            return s->rc;
        if (over || !on)
            return 0;
        if (clock_stopping(c->ports.clock))
            return CLI_INTERRUPTED;
        clock_sleep_ms(c->ports.clock, LOOK_MS);
        over = ended(c, run, e);
    }
}

static int run_lines(const struct cli_command *self, int argc, char **argv, bool metrics,
                     struct err *e)
{
    struct logs_options o = {0};
    struct client c = {0};
    struct lines l = {0};
    struct showing s = {.metrics = metrics, .e = e};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 1, 1, e)) < 0 || (rc = view_check_name(argv[0], e)) < 0)
        return rc;
    s.json = o.json;
    if ((rc = client_open_stores(&c, &o.client, 0, e)) == 0) {
        lines_init(&l, &c, argv[0], show, &s);
        rc = follow(&c, argv[0], o.follow, &l, &s, e);
        lines_release(&l);
    }
    client_release(&c);
    return rc;
}

static int run_logs(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    return run_lines(self, argc, argv, false, e);
}

static int run_metrics(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    return run_lines(self, argc, argv, true, e);
}

const struct cli_command cmd_logs = {
    .name = "logs",
    .summary = "What a run says: its attempts' log lines.",
    .usage = "logs RUN [-f] [--json]",
    .examples = "  tripline logs my-run\n  tripline logs my-run -f\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run_logs,
};
const struct cli_command cmd_metrics = {
    .name = "metrics",
    .summary = "A run's losses, speeds and evaluations.",
    .usage = "metrics RUN [-f] [--json]",
    .examples = "  tripline metrics my-run\n  tripline metrics my-run --json | jq .loss\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run_metrics,
};
