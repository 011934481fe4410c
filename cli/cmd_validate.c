#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/source.h"
#include "trainer/data/csv.h"

#define LISTED_MAX 1000 /* with --json, which is one object */

struct validate_options {
    struct client_options client;
    bool json;
    int format, columns; /* indices of the choices */
};

static const char *const formats[] = {"auto", "csv", "jsonl", NULL};

static const struct option_row rows[] = {
    {.name = "format",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct validate_options, format),
     .value = "csv|jsonl",
     .choices = formats,
     .help = "default: by the file's name; jsonl for standard input"},
    {.name = "columns",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct validate_options, columns),
     .value = "header|text,label|text,text|text,text,score",
     .choices = csv_kind_names,
     .help = "what the columns of a CSV file are (default: as the header says, else text,label)"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct validate_options, json),
     .help = "one JSON object; its list of errors ends after 1000"},
    CLIENT_ROWS(validate_options),
};

struct validation {
    const struct validate_options *o;
    const char *path;
    int64_t documents, refused;
    struct buf text; /* lines for people */
    json_t *errors;
};

/* The reason without the "file:line: " before it: what ingest would say. A long name of a file is
 * shortened there. */
static const char *reason_of(const struct err *why, long *line)
{
    const char *at = why->text;
    char *end;

    while ((at = strchr(at, ':'))) {
        *line = strtol(++at, &end, 10);
        if (end > at && strncmp(end, ": ", 2) == 0)
            return end + 2;
    }
    *line = 0;
    return why->text;
}

/* "parts[1].text: is empty": the path of the field, when the reason begins with one. */
static size_t field_length(const char *reason)
{
    size_t n = strspn(reason, "abcdefghijklmnopqrstuvwxyz_0123456789.[]");

    return reason[n] == ':' ? n : 0;
}

static void note(struct validation *v, const struct err *why)
{
    long line;
    const char *reason = reason_of(why, &line);
    size_t field = field_length(reason);
    json_t *one;

    v->refused++;
    if (!v->o->json) {
        buf_printf(&v->text, "%s\n", why->text);
        return;
    }
    if (v->refused > LISTED_MAX)
        return;
    one = json_object();
    json_put(&one, "code", json_string(err_name(why->code)));
    json_put(&one, "field", field ? json_stringn(reason, field) : json_null());
    json_put(&one, "line", json_integer(line));
    json_put(&one, "reason", json_string(reason));
    json_add(&v->errors, one);
}

/* Goes on behind a bad document; a file that can't be read any further says the same again. */
static int check_all(struct validation *v, struct source *s, struct err *e)
{
    struct source_item item;
    struct err why = ERR_INIT, last = ERR_INIT;
    int rc;

    while ((rc = source_next(s, &item, &why)) != 0) {
        if (rc == 1) {
            v->documents++;
            continue;
        }
        if (err_class(rc) != ERR_CLASS_REJECT) {
            *e = why;
            return rc;
        }
        if (strcmp(why.text, last.text) == 0)
            return 0;
        last = why;
        note(v, &why);
        v->documents++;
        if (v->text.len > 1 << 20 && (rc = cli_print(&v->text, e)) < 0)
            return rc;
        if (v->text.len > 1 << 20)
            buf_reset(&v->text);
    }
    return 0;
}

static int print(struct validation *v, struct err *e)
{
    json_t *all;
    int rc;

    if (!v->o->json) {
        buf_printf(&v->text, "%lld documents, %lld would be rejected\n", (long long)v->documents,
                   (long long)v->refused);
        return cli_print(&v->text, e);
    }
    all = json_object();
    json_put(&all, "documents", json_integer(v->documents));
    json_put(&all, "refused", json_integer(v->refused));
    json_put(&all, "errors", json_incref(v->errors));
    if ((rc = cli_json(&v->text, all, e)) < 0)
        return rc;
    return cli_print(&v->text, e);
}

static int work(struct validation *v, const char *owner, struct err *e)
{
    const struct source_options so = {.path = v->path,
                                      .format = v->o->format,
                                      .columns = v->o->columns,
                                      .owner = owner[0] ? owner : NULL,
                                      .split = -1};
    struct source *s = NULL;
    int rc = source_open(&s, &so, e);

    if (rc == 0 && (rc = check_all(v, s, e)) == 0)
        rc = print(v, e);
    source_free(s);
    if (rc < 0)
        return rc;
    return v->refused ? err_exit_status(ERR_FORMAT) : 0;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct validate_options o = {0};
    struct validation v = {.o = &o};
    struct client c = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 1, 1, e)) < 0)
        return rc;
    v.path = argv[0];
    v.errors = json_array();
    buf_init(&v.text, (size_t)64 << 20);
    if ((rc = client_open(&c, &o.client, 0, e)) == 0)
        rc = work(&v, c.owner, e);
    buf_release(&v.text);
    json_decref(v.errors);
    client_release(&c);
    return rc;
}

const struct cli_command cmd_validate = {
    .name = "validate",
    .summary = "Checks documents as ingest will, without a server.",
    .usage = "validate FILE.csv|FILE.jsonl|- [options]",
    .examples = "  tripline validate train.csv\n"
                "  tripline validate export.jsonl --owner acme --json | jq .refused\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
