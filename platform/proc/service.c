#include "platform/proc/service.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/log.h"
#include "platform/clock/clock.h"
#include "platform/proc/http.h"
#include "platform/proc/options.h"
#include "platform/proc/signals.h"

#define PRINT_MAX ((size_t)1 << 20)

extern char **environ;

struct service_ready {
    pthread_mutex_t lock;
    bool ready;
    char why[128];
};

struct arguments {
    const char *config;
    struct option_list set;
    bool print_config, print_example, print_page, check, help, version;
};

#define AT(field) offsetof(struct arguments, field)

static const struct option_row option_rows[] = {
    {.name = "config",
     .letter = 'c',
     .type = OPTION_TEXT,
     .offset = AT(config),
     .value = "FILE",
     .help = "Read settings from FILE."},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = AT(set),
     .value = "KEY=VALUE",
     .help = "Set one setting; wins over file and environment. May be repeated."},
    {.name = "print-config",
     .type = OPTION_FLAG,
     .offset = AT(print_config),
     .help = "Print the settings in force and where each came from."},
    {.name = "print-example-config",
     .type = OPTION_FLAG,
     .offset = AT(print_example),
     .help = "Print a commented file of all settings."},
    {.name = "print-config-page",
     .type = OPTION_FLAG,
     .offset = AT(print_page),
     .help = "Print all settings as tables in Markdown."},
    {.name = "check",
     .type = OPTION_FLAG,
     .offset = AT(check),
     .help = "Check settings and servers, then end."},
    {.name = "help", .letter = 'h', .type = OPTION_FLAG, .offset = AT(help), .help = "This."},
    {.name = "version",
     .letter = 'V',
     .type = OPTION_FLAG,
     .offset = AT(version),
     .help = "Print the version."},
};

#define OPTIONS (sizeof option_rows / sizeof option_rows[0])

struct running {
    const struct service *service;
    struct arguments args;
    struct conf *conf;
    struct settings settings;
    struct ports ports;
    struct metrics *metrics;
    struct http *http;
    struct service_ready ready;
    bool signals, serving;
    struct service_context context;
};

void service_set_ready(struct service_context *x, bool ready, const char *why)
{
    struct service_ready *r = x->ready;

    pthread_mutex_lock(&r->lock);
    r->ready = ready;
    snprintf(r->why, sizeof r->why, "%s", why ? why : "");
    pthread_mutex_unlock(&r->lock);
}

static bool is_ready(void *arg, struct err *why)
{
    struct running *r = arg;
    bool ready;

    pthread_mutex_lock(&r->ready.lock);
    ready = r->ready.ready && !clock_stopping(r->ports.clock);
    if (!ready)
        err_set(why, ERR_PEER, "%s", clock_stopping(r->ports.clock) ? "stopping" : r->ready.why);
    pthread_mutex_unlock(&r->ready.lock);
    return ready;
}

static int print(const struct buf *b, struct err *e)
{
    int rc = buf_check(b, "what to print", e);

    if (rc < 0)
        return rc;
    if (fwrite(b->data, 1, b->len, stdout) != b->len || fflush(stdout) != 0)
        return err_errno(e, ERR_IO, "writing to standard output");
    return 0;
}

static int print_help(const struct service *s, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, PRINT_MAX);
    buf_printf(&b, "%s: %s\n\nusage: %s [options]\n\n", s->name, s->about, s->name);
    options_help(option_rows, OPTIONS, &b);
    buf_printf(&b,
               "\nSettings come from the file, then the environment (TRIPLINE_...), then --set.\n"
               "SIGTERM ends it after a drain.\n\nexample:\n"
               "  %s --print-example-config > %s.conf\n  %s --config %s.conf --check\n",
               s->name, s->name, s->name, s->name);
    rc = print(&b, e);
    buf_release(&b);
    return rc;
}

static int print_version(const struct service *s, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, 256);
    buf_printf(&b, "%s %s\n", s->name, TRIPLINE_VERSION);
    rc = print(&b, e);
    buf_release(&b);
    return rc;
}

static int load_rows(struct running *r, struct err *e)
{
    const struct service *s = r->service;
    int rc;

    if ((rc = conf_new(&r->conf, e)) < 0)
        return rc;
    if ((rc = settings_add(r->conf, &r->settings, s->parts, e)) < 0)
        return rc;
    if (s->http_address && (s->parts & SETTINGS_HTTP) &&
        (rc = conf_default(r->conf, "http.address", s->http_address, e)) < 0)
        return rc;
    return s->settings ? s->settings(s->self, r->conf, e) : 0;
}

static int load_values(struct running *r, struct err *e)
{
    size_t i;
    int rc;

    if (r->args.config && (rc = conf_file(r->conf, r->args.config, e)) < 0)
        return rc;
    if ((rc = conf_env(r->conf, environ, e)) < 0)
        return rc;
    for (i = 0; i < r->args.set.count; i++)
        if ((rc = conf_set(r->conf, r->args.set.items[i], e)) < 0)
            return rc;
    return 0;
}

static int print_conf(const struct running *r, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, PRINT_MAX);
    if (r->args.print_example)
        conf_example(r->conf, r->service->name, &b);
    else if (r->args.print_page)
        conf_markdown(r->conf, &b);
    else
        conf_print(r->conf, &b);
    rc = print(&b, e);
    buf_release(&b);
    return rc;
}

static int start_http(struct running *r, struct err *e)
{
    struct http_options o = {
        .address = r->settings.http.address, .metrics = r->metrics, .ready = is_ready, .arg = r};
    struct metric *build = metrics_gauge(r->metrics, "tripline_build_info",
                                         "Always 1; the labels tell.", "service", "version", NULL);
    struct metric *start =
        metrics_gauge(r->metrics, "process_start_time_seconds", "When this process started.", NULL);
    int rc;

    metric_set(build, 1, r->service->name, TRIPLINE_VERSION, NULL);
    metric_set(start, (double)clock_wall_ms(r->ports.clock) / 1000, NULL);
    if (!(r->service->parts & SETTINGS_HTTP) || !o.address)
        return 0;
    if ((rc = http_start(&r->http, &o, e)) < 0)
        return rc;
    log_event(LOG_INFO, "http.listening", "address", o.address, "port", LOG_I(http_port(r->http)),
              NULL);
    return 0;
}

static int serve(struct running *r, struct err *e)
{
    const struct service *s = r->service;
    int rc;

    if ((rc = signals_install(r->ports.clock, e)) < 0)
        return rc;
    r->signals = true;
    if ((rc = start_http(r, e)) < 0)
        return rc;
    r->serving = true;
    log_event(LOG_INFO, "service.started", "version", TRIPLINE_VERSION, NULL);
    rc = s->run(s->self, &r->context, e);
    if (rc == 0)
        log_event(LOG_INFO, "service.drained", NULL);
    return rc < 0 ? rc : 0;
}

static int check(struct running *r, struct err *e)
{
    const struct service *s = r->service;
    int rc = s->check ? s->check(s->self, &r->context, e) : 0;

    if (rc == 0)
        fprintf(stderr, "%s: settings and servers are fine\n", s->name);
    return rc;
}

static int with_ports(struct running *r, struct err *e)
{
    int rc;

    log_init(r->service->name, (enum log_level)r->settings.log.level);
    if ((rc = ports_open(&r->ports, &r->settings, r->service->parts, r->service->name, e)) < 0)
        return rc;
    if ((rc = metrics_new(&r->metrics, e)) < 0)
        return rc;
    r->context = (struct service_context){&r->settings, r->conf, &r->ports, r->metrics, &r->ready};
    return r->args.check ? check(r, e) : serve(r, e);
}

static int act(struct running *r, int argc, char **argv, struct err *e)
{
    int rc, operands;

    r->settings.log.level = LOG_INFO; /* for services without that part */
    rc = options_parse(option_rows, OPTIONS, &r->args, argc - 1, argv + 1, &operands, e);
    if (rc < 0)
        return rc;
    if (operands > 0)
        return err_set(e, ERR_USAGE, "unexpected argument '%s' (--help lists the options)",
                       argv[1]);
    if (r->args.help)
        return print_help(r->service, e);
    if (r->args.version)
        return print_version(r->service, e);
    if ((rc = load_rows(r, e)) < 0)
        return rc;
    if (r->args.print_example || r->args.print_page)
        return print_conf(r, e);
    if ((rc = load_values(r, e)) < 0)
        return rc;
    if (r->args.print_config)
        return print_conf(r, e);
    return with_ports(r, e);
}

int service_main(const struct service *s, int argc, char **argv)
{
    struct running r = {.service = s, .ready.why = "starting"};
    struct err e = ERR_INIT;
    int rc;

    pthread_mutex_init(&r.ready.lock, NULL);
    rc = act(&r, argc, argv, &e);
    if (rc < 0 && r.serving)
        log_error("service.failed", &e, NULL);
    else if (rc < 0) /* a person reads what goes wrong at the start */
        fprintf(stderr, "%s: %s\n", s->name, e.text);
    http_stop(r.http);
    metrics_free(r.metrics);
    if (r.signals)
        signals_release();
    ports_release(&r.ports);
    conf_free(r.conf);
    pthread_mutex_destroy(&r.ready.lock);
    return err_exit_status(rc);
}
