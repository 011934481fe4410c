#include "cli/cli.h"

#include <stdio.h>

#include "platform/json/json.h"
#include "trainer/run.h"

struct inspect_options {
    const char *cut;
    bool json;
};

static const struct option_row rows[] = {
    {.name = "cut",
     .type = OPTION_TEXT,
     .offset = offsetof(struct inspect_options, cut),
     .value = "TENSOR",
     .help = "cut the head at this tensor (default: found)"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct inspect_options, json),
     .help = "one JSON object on standard output"},
};

/* Objects as indented "name: value" lines, for a person. */
static void put_value(struct buf *b, const char *name, const json_t *v, int depth)
{
    const char *key;
    json_t *item;
    size_t i;

    buf_printf(b, "%*s%s:", 2 * depth, "", name);
    if (json_is_object(v)) {
        buf_char(b, '\n');
        json_object_foreach((json_t *)v, key, item) put_value(b, key, item, depth + 1);
        return;
    }
    if (json_is_array(v)) {
        char index[24];

        buf_char(b, '\n');
        json_array_foreach(v, i, item)
        {
            snprintf(index, sizeof index, "%zu", i + 1);
            put_value(b, index, item, depth + 1);
        }
        return;
    }
    if (json_is_string(v))
        buf_printf(b, " %s", json_string_value(v));
    else if (json_is_integer(v))
        buf_printf(b, " %lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        buf_printf(b, " %.6g", json_real_value(v));
    else
        buf_printf(b, " %s", json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "none");
    buf_char(b, '\n');
}

static int show(const struct inspect_options *o, const struct buf *text, struct err *e)
{
    const char *key;
    json_t *v, *item;
    struct buf b;
    int rc = json_parse(text->data, text->len, NULL, &v, e);

    if (rc < 0)
        return rc;
    buf_init(&b, (size_t)64 << 20);
    if (o->json) {
        rc = json_write(v, JSON_CANONICAL, &b, e);
        buf_char(&b, '\n');
    } else {
        json_object_foreach(v, key, item) put_value(&b, key, item, 0);
    }
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    json_decref(v);
    return rc;
}

static int inspect(const struct inspect_options *o, const char *model, struct err *e)
{
    struct run_backbone files;
    struct surgery surgery;
    struct buf text;
    int rc = run_backbone_find(model, &files, e);

    if (rc < 0)
        return rc;
    surgery_init(&surgery);
    surgery.cut = o->cut;
    buf_init(&text, (size_t)64 << 20);
    rc = engine_inspect(files.model, &surgery, &text, e);
    if (rc == 0)
        rc = show(o, &text, e);
    buf_release(&text);
    return rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct inspect_options o = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 1, 1, e)) < 0)
        return rc;
    return inspect(&o, argv[0], e);
}

const struct cli_command cmd_inspect = {
    .name = "inspect",
    .summary = "Shows what a backbone is made of and where its head would be cut.",
    .usage = "inspect MODEL [--cut TENSOR] [--json]",
    .examples = "  tripline inspect backbones/all-MiniLM-L6-v2\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
