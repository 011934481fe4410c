#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"

static const struct cli_command *const commands[] = {
    &cmd_push,   &cmd_fit,     &cmd_runs,     &cmd_status,   &cmd_logs,     &cmd_metrics,
    &cmd_cancel, &cmd_pull,    &cmd_watch,    &cmd_rejected, &cmd_validate, &cmd_eval,
    &cmd_encode, &cmd_inspect, &cmd_backbone, &cmd_login,    &cmd_owner,
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void put_help(struct buf *b)
{
    int i;

    buf_str(b, "tripline: labeled documents in, embedding models out\n\nusage: tripline COMMAND "
               "[options]\n\n");
    for (i = 0; i < COMMANDS; i++)
        buf_printf(b, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    buf_str(b, "\n`tripline COMMAND --help` explains a command with examples. Also: --version,\n"
               "--print-example-config, --print-config-page. Settings of the servers come from the "
               "profile\n"
               "that `tripline login` writes, then the environment (TRIPLINE_KAFKA, ...).\n");
}

static void put_command_help(const struct cli_command *c, struct buf *b)
{
    buf_printf(b, "usage: tripline %s\n\n%s\n\noptions:\n", c->usage, c->summary);
    options_help(c->options, c->option_count, b);
    if (c->examples)
        buf_printf(b, "\nexamples:\n%s", c->examples);
}

int cli_json(struct buf *b, json_t *v, struct err *e)
{
    int rc = v ? json_write(v, JSON_CANONICAL, b, e) : err_set(e, ERR_NOMEM, "the result");

    buf_char(b, '\n');
    json_decref(v);
    return rc;
}

int cli_print(const struct buf *b, struct err *e)
{
    int rc = buf_check(b, "output", e);

    if (rc < 0)
        return rc;
    if (fwrite(b->data ? b->data : "", 1, b->len, stdout) != b->len || fflush(stdout) != 0)
        return err_errno(e, ERR_IO, "standard output");
    return 0;
}

static bool asks_help(int argc, char **argv)
{
    int i;

    for (i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

int cli_parse(const struct cli_command *c, void *base, int argc, char **argv, int *operands,
              struct err *e)
{
    struct buf b;
    int rc;

    if (!asks_help(argc, argv)) {
        rc = options_parse(c->options, c->option_count, base, argc, argv, operands, e);
        return rc < 0 ? err_wrap(e, "%s", c->name) : rc;
    }
    buf_init(&b, 1 << 20);
    put_command_help(c, &b);
    rc = cli_print(&b, e);
    buf_release(&b);
    return rc < 0 ? rc : 1;
}

int cli_operands(const struct cli_command *c, int count, int min, int max, struct err *e)
{
    if (count >= min && count <= max)
        return 0;
    return err_set(e, ERR_USAGE, "%s: %s (usage: tripline %s)", c->name,
                   count < min ? "something is missing" : "too many words", c->usage);
}

static int unknown(const char *typed, struct err *e)
{
    const char *names[COMMANDS + 1] = {0};
    int i;

    for (i = 0; i < COMMANDS; i++)
        names[i] = commands[i]->name;
    return options_unknown("command", typed, names, e);
}

static int print_settings(bool page, struct err *e)
{
    struct client c = {0};
    struct buf b;
    int rc;

    buf_init(&b, 1 << 20);
    if ((rc = client_rows(&c, e)) == 0) {
        if (page)
            conf_markdown(c.conf, &b);
        else
            conf_example(c.conf, "tripline", &b);
        rc = cli_print(&b, e);
    }
    buf_release(&b);
    client_release(&c);
    return rc;
}

static int dispatch(int argc, char **argv, struct err *e)
{
    struct buf b;
    int i, rc;

    if (argc >= 2 && strcmp(argv[1], "--version") == 0)
        return printf("tripline %s\n", TRIPLINE_VERSION) < 0 ? err_errno(e, ERR_IO, "stdout") : 0;
    if (argc >= 2 && strcmp(argv[1], "--print-example-config") == 0)
        return print_settings(false, e);
    if (argc >= 2 && strcmp(argv[1], "--print-config-page") == 0)
        return print_settings(true, e);
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        buf_init(&b, 1 << 20);
        put_help(&b);
        rc = cli_print(&b, e);
        buf_release(&b);
        if (rc == 0 && argc < 2)
            return err_set(e, ERR_USAGE, "which command? see above");
        return rc;
    }
    for (i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(commands[i], argc - 2, argv + 2, e);
    return unknown(argv[1], e);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    int rc;

    signal(SIGPIPE, SIG_IGN); /* a write then fails, with an error that can be told */
    signal(SIGXFSZ, SIG_IGN);
    rc = dispatch(argc, argv, &e);
    if (rc >= 0)
        return rc; /* a command's own exit status */
    fprintf(stderr, "tripline: %s\n", e.text);
    return err_exit_status(rc);
}
