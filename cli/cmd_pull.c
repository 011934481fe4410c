#include "cli/pull.h"
#include "cli/view.h"
#include "platform/json/json.h"

struct pull_command_options {
    struct client_options client;
    struct pull_options pull;
    bool json;
};

static const struct option_row rows[] = {
    {.name = "force",
     .type = OPTION_FLAG,
     .offset = offsetof(struct pull_command_options, pull.force),
     .help = "replace the folder if it holds something else"},
    {.name = "no-verify",
     .type = OPTION_FLAG,
     .offset = offsetof(struct pull_command_options, pull.unverified),
     .help = "don't compare golden vectors (hashes are always compared)"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct pull_command_options, json),
     .help = "one JSON object on standard output"},
    CLIENT_ROWS(pull_command_options),
};

static int print(const struct pull_result *r, bool json, struct err *e)
{
    struct buf b;
    json_t *v;
    int rc = 0;

    buf_init(&b, 1 << 20);
    if (json) {
        v = json_pack("{s:s, s:s, s:I, s:I, s:i, s:f, s:b}", "folder", r->folder, "manifest_sha256",
                      r->manifest_sha256, "files", (json_int_t)r->files, "bytes",
                      (json_int_t)r->bytes, "golden", r->golden, "golden_difference", r->largest,
                      "already_there", (int)r->already_there);
        rc = cli_json(&b, v, e);
    } else {
        buf_printf(&b, "%s: %lld files, %.1f MiB, every SHA-256 matches%s\n", r->folder,
                   (long long)r->files, (double)r->bytes / (1 << 20),
                   r->already_there ? " (was there)" : "");
        if (r->golden)
            buf_printf(&b, "%d golden vectors agree (largest difference %.2g)\n", r->golden,
                       r->largest);
    }
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct pull_command_options o = {0};
    struct pull_result result;
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 1, 2, e)) < 0 || (rc = view_check_name(argv[0], e)) < 0)
        return rc;
    o.pull.run = argv[0];
    o.pull.folder = operands > 1 ? argv[1] : NULL;
    if ((rc = client_open(&c, &o.client, SETTINGS_S3, e)) == 0 &&
        (rc = client_need_owner(&c, e)) == 0 && (rc = pull(&c, &o.pull, &result, e)) == 0)
        rc = print(&result, o.json, e);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_pull = {
    .name = "pull",
    .summary = "Fetches a finished run's model and verifies it.",
    .usage = "pull RUN [DIR] [--force] [--no-verify]",
    .examples = "  tripline pull my-run model\n  tripline pull my-run --json\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
