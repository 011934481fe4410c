#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/view.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "schemas/model.h"

#define ARENA_MAX ((size_t)64 << 20)
#define RUNS_MAX  100000

struct status_options {
    struct client_options client;
    bool json;
};

static const struct option_row rows[] = {
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct status_options, json),
     .help = "JSON on standard output: status one object, runs one object with a list"},
    CLIENT_ROWS(status_options),
};

/* ---- status ------------------------------------------------------------------------------------
 */

static void put_time(struct buf *b, const char *name, int64_t ms)
{
    char text[32];

    if (ms == RECORD_NO_INT)
        return;
    model_time(ms, text);
    buf_printf(b, "%-10s %s\n", name, text);
}

static void put_status(const struct view *v, int64_t now_ms, struct buf *b)
{
    const struct run_status *s = &v->status;
    size_t i;

    buf_printf(b, "%-10s %s\n%-10s ", "run", s->run, "state");
    view_line(v, b);
    buf_char(b, '\n');
    if (s->model)
        buf_printf(b, "%-10s %s\n", "model", s->model);
    if (s->dataset)
        buf_printf(b, "%-10s %s\n", "dataset", s->dataset);
    if (s->attempt > 0)
        buf_printf(b, "%-10s %lld\n", "attempt", (long long)s->attempt);
    if (s->worker)
        buf_printf(b, "%-10s %s\n", "worker", s->worker);
    if (!isnan(s->docs_per_s) && s->state == JOB_STARTED)
        buf_printf(b, "%-10s %.0f documents/s\n", "speed", s->docs_per_s);
    for (i = 0; i < s->metric_count; i++)
        buf_printf(b, "%-10s %.4f\n", s->metrics[i].name, s->metrics[i].value);
    put_time(b, "created", s->created_ms);
    put_time(b, "updated", s->updated_ms);
    if (!v->live)
        buf_str(b, "(from S3: Redis does not have it)\n");
    else if (!v->ended && s->state == JOB_STARTED && s->updated_ms != RECORD_NO_INT)
        buf_printf(b, "%-10s %lld s ago\n", "heard of",
                   (long long)((now_ms - s->updated_ms) / 1000));
}

static int print_status(struct client *c, const char *run, bool json, struct err *e)
{
    struct arena a;
    struct view v;
    struct buf b;
    int rc;

    arena_init(&a, ARENA_MAX);
    buf_init(&b, 1 << 20);
    if ((rc = view_load(c, run, true, &a, &v, e)) == 0) {
        if (json && (rc = run_status_write(&v.status, RECORD_JSON, &b, e)) == 0)
            buf_char(&b, '\n');
        if (!json)
            put_status(&v, clock_wall_ms(c->ports.clock), &b);
        if (rc == 0)
            rc = cli_print(&b, e);
    }
    buf_release(&b);
    arena_release(&a);
    return rc;
}

static int run_status_command(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct status_options o = {0};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 1, 1, e)) < 0 || (rc = view_check_name(argv[0], e)) < 0)
        return rc;
    if ((rc = client_open_stores(&c, &o.client, 0, e)) == 0)
        rc = print_status(&c, argv[0], o.json, e);
    client_release(&c);
    return rc;
}

/* ---- runs --------------------------------------------------------------------------------------
 */

struct names {
    char (*items)[KEY_NAME_MAX];
    size_t count, room;
    struct err *e;
};

static int each_key(void *arg, const char *key, uint64_t size)
{
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX];
    struct names *n = arg;
    enum run_file file;
    void *more;

    if (!key_run_parse(key, owner, run, &file) || file == RUN_SNAPSHOT)
        return 0;
    if (n->count && strcmp(n->items[n->count - 1], run) == 0) /* keys come in order */
        return 0;
    if (n->count == RUNS_MAX)
        return err_set(n->e, ERR_LIMIT, "more than %d runs", RUNS_MAX);
    if (n->count == n->room) {
        n->room = n->room ? n->room * 2 : 256;
        if (!(more = realloc(n->items, n->room * sizeof *n->items)))
            return err_set(n->e, ERR_NOMEM, "the list of runs");
        n->items = more;
    }
    memcpy(n->items[n->count++], run, sizeof run);
    return 0;
}

static void put_run(const struct view *v, struct buf *b)
{
    char time[32] = "-";

    if (v->status.created_ms != RECORD_NO_INT)
        model_time(v->status.created_ms, time);
    time[16] = '\0';
    buf_printf(b, "%-32s %-16s %-16s ", v->status.run, time,
               v->status.model ? v->status.model : "-");
    view_line(v, b);
    buf_char(b, '\n');
}

static int put_each(struct client *c, const struct names *names, bool json, struct buf *b,
                    struct err *e)
{
    struct arena a;
    struct view v;
    size_t i;
    int rc = 0;

    arena_init(&a, ARENA_MAX);
    if (json)
        buf_str(b, "{\"runs\":[");
    else if (names->count)
        buf_printf(b, "%-32s %-16s %-16s %s\n", "run", "created (UTC)", "model", "state");
    for (i = 0; rc == 0 && i < names->count; i++) {
        arena_reset(&a);
        if ((rc = view_load(c, names->items[i], false, &a, &v, e)) < 0)
            break;
        if (json && i)
            buf_char(b, ',');
        if (json)
            rc = run_status_write(&v.status, RECORD_JSON, b, e);
        else
            put_run(&v, b);
    }
    if (json)
        buf_str(b, "]}\n");
    else if (!names->count)
        buf_printf(b, "owner %s has no runs yet\n", c->owner);
    arena_release(&a);
    return rc;
}

static int print_runs(struct client *c, bool json, struct err *e)
{
    struct names names = {.e = e};
    char prefix[KEY_MAX];
    struct buf b;
    int rc = key_runs_prefix(c->owner, prefix, e);

    if (rc < 0)
        return rc;
    buf_init(&b, (size_t)64 << 20);
    rc = blob_list(c->ports.blob, prefix, NULL, each_key, &names, e);
    if (rc >= 0 && (rc = put_each(c, &names, json, &b, e)) == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    free(names.items);
    return rc;
}

static int run_runs_command(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct status_options o = {0};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 0, 0, e)) < 0)
        return rc;
    if ((rc = client_open_stores(&c, &o.client, 0, e)) == 0)
        rc = print_runs(&c, o.json, e);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_status = {
    .name = "status",
    .summary = "Where a run is.",
    .usage = "status RUN [--json]",
    .examples = "  tripline status intents-20260131-120000-4f2a\n"
                "  tripline status my-run --json\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run_status_command,
};
const struct cli_command cmd_runs = {
    .name = "runs",
    .summary = "Lists the owner's runs.",
    .usage = "runs [--json]",
    .examples = "  tripline runs\n  tripline runs --owner acme --json\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run_runs_command,
};
