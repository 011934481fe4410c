/*
 * The user's command, `tripline`. main.c finds the command in its table; each
 * command is one function in a file of its own that parses its options, does
 * its work and returns 0 or an error code, whose exit status docs/cli.md lists.
 * Results go to stdout (with --json: one JSON object), everything else to stderr.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "platform/json/json.h"
#include "platform/proc/options.h"

/* Exit statuses beside those of platform/base/err.h. */
enum { CLI_OK = 0, CLI_RUN_FAILED = 1, CLI_WORSE = 3 };

struct cli_command {
    const char *name;
    const char *summary; /* one line */
    const char *usage;   /* "fit --local --train FILE ... [options]" */
    const char *examples;
    const struct option_row *options;
    size_t option_count;
    /* argv begins behind the command's name. */
    int (*run)(const struct cli_command *self, int argc, char **argv, struct err *e);
};

/* 1: --help was asked for and printed; 0: parsed; < 0: ERR_USAGE. */
int cli_parse(const struct cli_command *c, void *base, int argc, char **argv, int *operands,
              struct err *e);

/* ERR_USAGE unless there are between min and max operands. */
int cli_operands(const struct cli_command *c, int count, int min, int max, struct err *e);

/* Appends one line of canonical JSON and takes `v`; NULL: building it ran out of memory. */
int cli_json(struct buf *b, json_t *v, struct err *e);

/* Writes the buffer to stdout; ERR_IO when it can't (a full disk, a closed pipe). */
int cli_print(const struct buf *b, struct err *e);

extern const struct cli_command cmd_backbone, cmd_cancel, cmd_encode, cmd_eval, cmd_fit,
    cmd_inspect, cmd_login, cmd_logs, cmd_metrics, cmd_owner, cmd_pull, cmd_push, cmd_rejected,
    cmd_runs, cmd_status, cmd_validate, cmd_watch;

#endif
