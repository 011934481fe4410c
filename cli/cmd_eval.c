#include <stdlib.h>

#include "cli/cli.h"
#include "cli/model.h"
#include "platform/json/json.h"
#include "trainer/evaluate.h"

struct eval_options {
    int64_t k, threads, max_length;
    int columns; /* enum csv_kind */
    bool json;
};

static const struct option_row rows[] = {
    {.name = "k",
     .letter = 'k',
     .type = OPTION_INT,
     .offset = offsetof(struct eval_options, k),
     .value = "N",
     .help = "how many results count (default 20)",
     .min = 1,
     .max = 10000},
    {.name = "columns",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct eval_options, columns),
     .value = "header|text,label|text,text|text,text,score",
     .choices = csv_kind_names,
     .help = "what the columns of the file are (default: as the header says, else text,label)"},
    {.name = "max-length",
     .type = OPTION_INT,
     .offset = offsetof(struct eval_options, max_length),
     .value = "N",
     .help = "tokens of a text (default: the model's; 256 for a backbone)",
     .min = 2,
     .max = 32768},
    {.name = "threads",
     .type = OPTION_INT,
     .offset = offsetof(struct eval_options, threads),
     .value = "N",
     .help = "threads to use",
     .min = 1,
     .max = 1024},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct eval_options, json),
     .help = "one JSON object on standard output"},
};

static int print_result(const struct eval_options *o, const struct retrieval *r, int documents,
                        double seconds, struct err *e)
{
    struct record_number numbers[EVALUATE_METRICS];
    double rate = seconds > 0 ? documents / seconds : 0;
    json_t *v = NULL;
    struct buf b;
    int i, count = evaluate_numbers(r, numbers), rc = 0;

    buf_init(&b, 1 << 16);
    if (o->json) {
        v = r->pairs
                ? json_pack("{s:i, s:i, s:f}", "documents", documents, "pairs", r->pairs,
                            "docs_per_s", rate)
                : json_pack("{s:i, s:i, s:i, s:i, s:f}", "documents", documents, "queries",
                            r->queries, "excluded", r->excluded, "k", r->k, "docs_per_s", rate);
        for (i = 0; v && i < count; i++)
            json_object_set_new(v, numbers[i].name, json_real(numbers[i].value));
        rc = cli_json(&b, v, e);
    } else {
        for (i = 0; i < count; i++)
            buf_printf(&b, "%-16s %.4f\n", numbers[i].name, numbers[i].value);
        if (r->pairs)
            buf_printf(&b, "%d pairs, %.0f documents/s\n", r->pairs, rate);
        else
            buf_printf(&b,
                       "%d documents, %d queries (%d without another of their label), k = %d, "
                       "%.0f documents/s\n",
                       documents, r->queries, r->excluded, r->k, rate);
    }
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int evaluate(const struct eval_options *o, const char *model, const char *file,
                    struct err *e)
{
    struct dataset *d = NULL;
    struct retrieval result;
    struct model m = {0};
    float *vectors = NULL;
    double seconds;
    int rc;

    const struct csv_options csv = {.kind = (enum csv_kind)o->columns};
    if ((rc = dataset_from_csv(&d, file, &csv, DATASET_EVAL, e)) < 0 ||
        (rc = model_open(&m, model, (int)o->threads, (int)o->max_length, e)) < 0 ||
        (rc = model_encode(&m, d, &vectors, &seconds, e)) < 0 ||
        (rc = evaluate_vectors(vectors, engine_info(m.engine)->dim, d, (int)o->k, &result, e)) < 0)
        goto done;
    rc = print_result(o, &result, dataset_count(d), seconds, e);
done:
    free(vectors);
    model_release(&m);
    dataset_free(d);
    return rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct eval_options o = {.k = 20};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 2, 2, e)) < 0)
        return rc;
    return evaluate(&o, argv[0], argv[1], e);
}

const struct cli_command cmd_eval = {
    .name = "eval",
    .summary =
        "Prints metrics of a model: retrieval of labeled documents (leave-one-out), or correlation "
        "with scored pairs.",
    .usage = "eval MODEL FILE.csv [--k N] [--columns KIND] [--json]",
    .examples = "  tripline eval model test.csv\n"
                "  tripline eval backbones/all-MiniLM-L6-v2 test.csv --k 10 --json\n"
                "  tripline eval model pairs.csv --columns text,text,score\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
