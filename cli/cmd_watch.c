#include "cli/cmd_watch.h"

#include <string.h>

#include "cli/events.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"

#define LOOK_MS   500
#define ARENA_MAX ((size_t)64 << 20)

struct watch_options {
    struct client_options client;
    bool json, all, once;
    const char *run;
};

static const struct option_row rows[] = {
    {.name = "all",
     .type = OPTION_FLAG,
     .offset = offsetof(struct watch_options, all),
     .help = "begin with the events that are there"},
    {.name = "no-wait",
     .type = OPTION_FLAG,
     .offset = offsetof(struct watch_options, once),
     .help = "end after those, rather than wait for more (with --all)"},
    {.name = "run",
     .type = OPTION_TEXT,
     .offset = offsetof(struct watch_options, run),
     .value = "RUN",
     .help = "only this run's event; ends with it"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct watch_options, json),
     .help = "each event as one line of JSON (CloudEvents, structured)"},
    CLIENT_ROWS(watch_options),
};

int watch_decode(const struct bus_message *m, struct arena *a, struct model_ready *out,
                 struct err *e)
{
    struct model_ready_header *h = arena_array(a, m->header_count + 1, sizeof *h);
    size_t i;

    if (!h)
        return err_set(e, ERR_NOMEM, "an event");
    for (i = 0; i < m->header_count; i++) {
        h[i].name = m->headers[i].name;
        h[i].value = arena_strndup(a, m->headers[i].value ? m->headers[i].value : "",
                                   m->headers[i].value ? m->headers[i].value_len : 0);
        if (!h[i].value)
            return err_set(e, ERR_NOMEM, "an event");
    }
    return model_ready_from(h, m->header_count, m->value, m->value_len, a, out, e);
}

static double number_of(const struct record_number *list, size_t n, const char *name)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].value;
    return 0;
}

void watch_text(const struct model_ready *r, struct buf *to)
{
    const struct model_data *d = r->data;
    const struct model_evaluation *v = d->evaluation;

    buf_printf(to, "model-ready %s: model %s, %lld numbers, %s", r->id, d->model,
               (long long)d->dimension, d->artifact->url);
    if (v && v->judged_by && strcmp(v->judged_by, "map_at_k") != 0)
        buf_printf(to, ", %s %.4f -> %.4f", v->judged_by,
                   number_of(v->before, v->before_count, v->judged_by),
                   number_of(v->after, v->after_count, v->judged_by));
    else if (v)
        buf_printf(to, ", mAP@%lld %.4f -> %.4f", (long long)v->k,
                   number_of(v->before, v->before_count, "map_at_k"),
                   number_of(v->after, v->after_count, "map_at_k"));
    if (d->gate)
        buf_printf(to, ", gate %s", d->gate->passed ? "passed" : "not passed");
    buf_char(to, '\n');
}

static int show(void *arg, const struct bus_message *m, struct err *e)
{
    const struct watch_options *o = arg;
    struct model_ready event;
    struct arena a;
    struct buf b;
    int rc;

    arena_init(&a, ARENA_MAX);
    buf_init(&b, RECORD_BYTES_MAX);
    rc = watch_decode(m, &a, &event, e);
    if (rc < 0) {
        err_wrap(e, "an event at %s [%d] offset %lld", m->topic, (int)m->partition,
                 (long long)m->offset);
    } else if (!o->run || strcmp(o->run, event.subject) == 0) {
        if (o->json && (rc = model_ready_write(&event, RECORD_JSON, &b, e)) == 0)
            buf_char(&b, '\n');
        if (!o->json)
            watch_text(&event, &b);
        if (rc == 0)
            rc = cli_print(&b, e);
        if (rc == 0 && o->run)
            rc = 1;
    }
    buf_release(&b);
    arena_release(&a);
    return rc;
}

static int watch(struct client *c, struct watch_options *o, struct err *e)
{
    struct events v;
    int rc = events_open(&v, c, TOPIC_MODELS, o->all || o->run, e);

    while (rc == 0) {
        if ((rc = events_look(&v, show, o, e)) != 0 || o->once)
            break;
        if (clock_stopping(c->ports.clock))
            rc = CLI_INTERRUPTED;
        else
            clock_sleep_ms(c->ports.clock, LOOK_MS);
    }
    events_release(&v);
    return rc == 1 ? 0 : rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct watch_options o = {0};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 0, 0, e)) < 0)
        return rc;
    if ((rc = client_open(&c, &o.client, SETTINGS_KAFKA, e)) == 0 &&
        (rc = client_need_owner(&c, e)) == 0)
        rc = watch(&c, &o, e);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_watch = {
    .name = "watch",
    .summary = "Shows model-ready events as they come.",
    .usage = "watch [--all] [--run RUN] [--json]",
    .examples = "  tripline watch\n"
                "  tripline watch --run my-run --json      # waits for one\n"
                "  tripline watch --all --no-wait --json   # what there is\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
