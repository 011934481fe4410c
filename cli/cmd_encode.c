#include <stdlib.h>

#include "cli/cli.h"
#include "cli/model.h"
#include "platform/json/json.h"
#include "trainer/data/npy.h"

struct encode_options {
    const char *out;
    int64_t threads, max_length;
    bool json;
};

static const struct option_row rows[] = {
    {.name = "out",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = offsetof(struct encode_options, out),
     .value = "FILE.npy",
     .help = "where the vectors go: float32, a row a document, in the file's order"},
    {.name = "max-length",
     .type = OPTION_INT,
     .offset = offsetof(struct encode_options, max_length),
     .value = "N",
     .help = "tokens of a text (default: the model's; 256 for a backbone)",
     .min = 2,
     .max = 32768},
    {.name = "threads",
     .type = OPTION_INT,
     .offset = offsetof(struct encode_options, threads),
     .value = "N",
     .help = "threads to use",
     .min = 1,
     .max = 1024},
    {.name = "json",
     .type = OPTION_FLAG,
     .offset = offsetof(struct encode_options, json),
     .help = "one JSON object on standard output"},
};

static int print_result(const struct encode_options *o, int documents, int dim, double seconds,
                        struct err *e)
{
    double rate = seconds > 0 ? documents / seconds : 0;
    json_t *v = NULL;
    struct buf b;
    int rc = 0;

    buf_init(&b, 1 << 16);
    if (o->json) {
        v = json_pack("{s:i, s:i, s:s, s:f}", "documents", documents, "dimension", dim, "out",
                      o->out, "docs_per_s", rate);
        rc = cli_json(&b, v, e);
    } else {
        buf_printf(&b, "%s: %d vectors of %d numbers (%.0f documents/s)\n", o->out, documents, dim,
                   rate);
    }
    if (rc == 0)
        rc = cli_print(&b, e);
    buf_release(&b);
    return rc;
}

static int encode(const struct encode_options *o, const char *model, const char *file,
                  struct err *e)
{
    struct csv_options csv = {.label_optional = true};
    struct dataset *d = NULL;
    struct model m = {0};
    float *vectors = NULL;
    double seconds;
    int rc, dim;

    if ((rc = dataset_from_csv(&d, file, &csv, DATASET_EVAL, e)) < 0 ||
        (rc = model_open(&m, model, (int)o->threads, (int)o->max_length, e)) < 0 ||
        (rc = model_encode(&m, d, &vectors, &seconds, e)) < 0)
        goto done;
    dim = engine_info(m.engine)->dim;
    rc = npy_write_f32(o->out, vectors, (size_t)dataset_count(d), (size_t)dim, e);
    if (rc == 0)
        rc = print_result(o, dataset_count(d), dim, seconds, e);
done:
    free(vectors);
    model_release(&m);
    dataset_free(d);
    return rc;
}

static int run(const struct cli_command *self, int argc, char **argv, struct err *e)
{
    struct encode_options o = {0};
    int operands, rc;

    rc = cli_parse(self, &o, argc, argv, &operands, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = cli_operands(self, operands, 2, 2, e)) < 0)
        return rc;
    if (!o.out)
        return err_set(e, ERR_USAGE, "encode: --out is missing: where shall the vectors go?");
    return encode(&o, argv[0], argv[1], e);
}

const struct cli_command cmd_encode = {
    .name = "encode",
    .summary = "Writes the embeddings of documents to a NumPy file.",
    .usage = "encode MODEL FILE.csv --out VECTORS.npy [--json]",
    .examples = "  tripline encode model documents.csv --out vectors.npy\n",
    .options = rows,
    .option_count = sizeof rows / sizeof rows[0],
    .run = run,
};
