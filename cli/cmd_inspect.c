#include "cli/cli.h"

#include <stdio.h>

#include "cli/cmd_fit.h"
#include "cli/inspect.h"
#include "trainer/run.h"

struct inspect_options {
    const char *cut;
    struct option_list set;
    bool json, dot, svg;
};

static const struct option_row rows[] = {
    {.name = "cut",
     .type = OPTION_TEXT,
     .offset = offsetof(struct inspect_options, cut),
     .value = "TENSOR",
     .help = "cut the head at this tensor (default: found)"},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct inspect_options, set),
     .value = "NAME=VALUE",
     .help = "a parameter of training, as `fit` takes it: what would be frozen, pooled, planned"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct inspect_options, json),
     .help = "one JSON object on standard output"},
    {.name = "dot",
     .type = OPTION_FLAG,
     .offset = offsetof(struct inspect_options, dot),
     .help = "the blocks as a Graphviz graph"},
    {.name = "svg",
     .type = OPTION_FLAG,
     .offset = offsetof(struct inspect_options, svg),
     .help = "the blocks as a picture"},
};

static int show(const struct inspect_options *o, const struct buf *text, struct err *e)
{
    struct buf b;
    json_t *model;
    int rc = json_parse(text->data, text->len, NULL, &model, e);

    if (rc < 0)
        return rc;
    buf_init(&b, (size_t)64 << 20);
    if (o->json)
        rc = cli_json(&b, json_incref(model), e);
    else if (o->svg)
        rc = inspect_svg(model, &b, e);
    else if (o->dot)
        inspect_dot(model, &b);
    else
        inspect_text(model, &b);
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    json_decref(model);
    return rc;
}

/* What `fit --local` with the same --set would do to the model and run at once. */
static int prepare(const struct inspect_options *o, struct arena *a, struct surgery *surgery,
                   struct engine_batch *batch, struct err *e)
{
    struct fit_options fit = {.epochs = -1, .seed = -1, .set = o->set};
    struct job_parameters p;
    int rc;

    if ((rc = fit_parameters(&fit, a, &p, e)) < 0 || (rc = run_surgery(&p, surgery, e)) < 0)
        return rc;
    if (o->cut)
        surgery->cut = o->cut;
    batch->documents = (int)(p.batch_classes * p.items_per_class);
    if (p.micro_batch > 0 && p.micro_batch < batch->documents)
        batch->documents = (int)p.micro_batch;
    batch->max_length = (int)p.max_length;
    batch->lanes = (int)p.lanes;
    return 0;
}

static int inspect(const struct inspect_options *o, const char *model, struct err *e)
{
    struct run_backbone files;
    struct engine_batch batch;
    struct surgery surgery;
    struct arena a;
    struct buf text;
    int rc;

    arena_init(&a, 1 << 20);
    buf_init(&text, (size_t)64 << 20);
    if ((rc = prepare(o, &a, &surgery, &batch, e)) == 0 &&
        (rc = run_backbone_find(model, &files, e)) == 0 &&
        (rc = engine_inspect(files.model, &surgery, &batch, &text, e)) == 0)
        rc = show(o, &text, e);
    buf_release(&text);
    arena_release(&a);
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
    if (o.json + o.dot + o.svg > 1)
        return err_set(e, ERR_USAGE, "inspect: choose one of --json, --dot and --svg");
    return inspect(&o, argv[0], e);
}

const struct cli_command cmd_inspect = {
    .name = "inspect",
    .summary = "Shows what a backbone is made of, what would train, what it costs.",
    .usage = "inspect MODEL [--cut TENSOR] [--set NAME=VALUE]... [--json | --dot | --svg]",
    .examples = "  tripline inspect backbones/all-MiniLM-L6-v2\n"
                "  tripline inspect backbones/all-MiniLM-L6-v2 --set freeze=layers:2\n"
                "  tripline inspect backbones/all-MiniLM-L6-v2 --svg > model.svg\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
