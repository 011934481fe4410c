#include "cli/cmd_fit.h"

#include <stdio.h>
#include <string.h>

#include "trainer/data/csv.h"
#include "trainer/parameters.h"

static const struct option_row rows[] = {
    {.name = "local",
     .type = OPTION_FLAG,
     .offset = offsetof(struct fit_options, local),
     .help = "train here, without any server"},
    {.name = "train",
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, train),
     .value = "FILE",
     .help = "documents to train on: CSV of text,label, of pairs text,text, or of scored pairs "
             "text,text,score"},
    {.name = "eval",
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, eval),
     .value = "FILE",
     .help = "held-out documents: measured before and after"},
    {.name = "columns",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct fit_options, columns),
     .value = "header|text,label|text,text|text,text,score",
     .choices = csv_kind_names,
     .help = "what the columns of both files are (default: as the header says, else text,label)"},
    {.name = "model",
     .letter = 'm',
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, model),
     .value = "DIR|NAME",
     .help = "with --local the backbone: a folder with model.onnx and tokenizer.json, or the .onnx "
             "itself; else the model's name (default: the dataset's)"},
    {.name = "out",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, out),
     .value = "DIR",
     .help = "where the artifact goes; the same command again resumes"},
    {.name = "work",
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, work),
     .value = "DIR",
     .help = "where checkpoints go (default: OUT.work)"},
    {.name = "dataset",
     .letter = 'd',
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, dataset),
     .value = "NAME",
     .help = "what was pushed"},
    {.name = "backbone",
     .letter = 'b',
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, backbone),
     .value = "NAME",
     .help = "what `tripline backbone push` uploaded, the owner's or the operator's"},
    {.name = "name",
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, name),
     .value = "RUN",
     .help = "of the run (default: the model's, date and time)"},
    {.name = "follow",
     .letter = 'f',
     .type = OPTION_FLAG,
     .offset = offsetof(struct fit_options, follow),
     .help = "stay until the run has ended and its model was announced"},
    {.name = "pull",
     .type = OPTION_TEXT,
     .offset = offsetof(struct fit_options, pull),
     .value = "DIR",
     .help = "follow, then fetch the model into DIR and verify it"},
    {.name = "priority",
     .type = OPTION_INT,
     .offset = offsetof(struct fit_options, priority),
     .value = "N",
     .help = "among the owner's runs; greater goes first",
     .min = -100,
     .max = 100},
    {.name = "presign",
     .type = OPTION_INT,
     .offset = offsetof(struct fit_options, presign),
     .value = "SECONDS",
     .help = "https URLs in the event that work for so long",
     .min = 1,
     .max = 604800},
    {.name = "min-gain",
     .type = OPTION_FLOAT,
     .offset = offsetof(struct fit_options, min_gain),
     .value = "X",
     .help = "a gate: mAP@k (of scored pairs Spearman's correlation) must rise by so much, or the "
             "event says that it did not",
     .min = -0.999,
     .max = 1},
    {.name = "epochs",
     .type = OPTION_INT,
     .offset = offsetof(struct fit_options, epochs),
     .value = "N",
     .help = "passes over the documents",
     .min = 1,
     .max = 10000},
    {.name = "seed",
     .type = OPTION_INT,
     .offset = offsetof(struct fit_options, seed),
     .value = "N",
     .help = "seed of everything chosen by chance",
     .min = 0,
     .max = 9e15},
    {.name = "threads",
     .type = OPTION_INT,
     .offset = offsetof(struct fit_options, threads),
     .value = "N",
     .help = "threads to use; the result does not depend on it",
     .min = 1,
     .max = 1024},
    {.name = "set",
     .type = OPTION_LIST,
     .offset = offsetof(struct fit_options, set),
     .value = "NAME=VALUE",
     .help = "any training parameter, see docs/formats.md"},
    {.name = "resume-any",
     .type = OPTION_FLAG,
     .offset = offsetof(struct fit_options, resume_any),
     .help = "go on from a checkpoint of another machine kind (not the same bytes)"},
    {.name = "check-determinism",
     .type = OPTION_FLAG,
     .offset = offsetof(struct fit_options, check_determinism),
     .help = "with --local: trains two steps three times, once with another number of threads, "
             "and says whether the bytes are equal; writes nothing"},
    {.name = "profile",
     .type = OPTION_FLAG,
     .offset = offsetof(struct fit_options, profile),
     .help = "with --local: says at the end where the steps' time went, kernel by kernel"},
    {.name = "force",
     .type = OPTION_FLAG,
     .offset = offsetof(struct fit_options, force),
     .help = "replace the finished model of another run that OUT holds"},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct fit_options, json),
     .help = "one JSON object on standard output"},
    CLIENT_ROWS(fit_options),
};

static int set_one(const char *item, struct arena *a, struct job_parameters *out, struct err *e)
{
    const char *equals = strchr(item, '=');
    char *name;
    int rc;

    if (!equals || equals == item)
        return err_set(e, ERR_USAGE, "--set %s: write NAME=VALUE", item);
    name = arena_strndup(a, item, (size_t)(equals - item));
    if (!name)
        return err_set(e, ERR_NOMEM, "--set %s", item);
    rc = record_set(&job_parameters_record, a, name, equals + 1, out, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_USAGE,
                       "--set %s: there is no parameter '%s'; docs/formats.md lists them", item,
                       name);
    if (rc < 0) {
        err_wrap(e, "--set %s", item);
        e->code = ERR_USAGE;
        return ERR_USAGE;
    }
    return 0;
}

int fit_parameters(const struct fit_options *o, struct arena *a, struct job_parameters *out,
                   struct err *e)
{
    struct buf check;
    size_t i;
    int rc;

    job_parameters_init(out);
    if (o->epochs >= 0)
        out->epochs = o->epochs;
    if (o->seed >= 0)
        out->seed = o->seed;
    for (i = 0; i < o->set.count; i++)
        if ((rc = set_one(o->set.items[i], a, out, e)) < 0)
            return rc;
    buf_init(&check, 1 << 20); /* what the table can't say is checked when it is written */
    rc = job_parameters_write(out, RECORD_JSON, &check, e);
    buf_release(&check);
    if (rc < 0 || (rc = parameters_check(out, e)) < 0) {
        err_wrap(e, "--set");
        e->code = ERR_USAGE;
        return ERR_USAGE;
    }
    return 0;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct fit_options o = {.epochs = -1,
                            .seed = -1,
                            .threads = -1,
                            .priority = FIT_NO_PRIORITY,
                            .presign = -1,
                            .min_gain = -1};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 0, 0, e)) < 0)
        return rc;
    return o.local ? fit_local(&o, e) : fit_remote(&o, e);
}

const struct cli_command cmd_fit = {
    .name = "fit",
    .summary = "Fine-tunes a backbone on labeled documents.",
    .usage =
        "fit --dataset NAME --backbone NAME [--follow] [--pull DIR] [options]\n"
        "       tripline fit --local --train FILE [--eval FILE] --model DIR --out DIR [options]",
    .examples =
        "  tripline fit --dataset intents --backbone minilm --follow --pull model\n"
        "  tripline fit --local --train train.csv --eval test.csv --model backbone --out model\n"
        "  tripline fit --local --train train.csv --model backbone --out model \\\n"
        "      --epochs 5 --set learning_rate=2e-5 --set freeze=layers:2 --json\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
