#include "schemas/job.h"

#include <string.h>

#include "platform/base/sha256.h"
#include "platform/base/text.h"
#include "schemas/keys.h"
#include "schemas/record_int.h"

const char *const job_state_names[] = {"CREATED", "STARTED",   "FINISHED",
                                       "FAILED",  "CANCELLED", NULL};
const char *const job_phase_names[] = {"waiting",    "fetching",  "validating", "training",
                                       "evaluating", "exporting", "pushing",    NULL};

static const char *const kind_names[] = {"fit", "cancel", NULL};
static const char *const schedule_names[] = {"constant", "linear", "cosine", NULL};
static const char *const optimizer_names[] = {"adam", "adamw", "sgd", NULL};
static const char *const loss_names[] = {
    "triplet",    "contrastive",     "multi-similarity", "supcon", "multiple-negatives",
    "batch-hard", "batch-semi-hard", "cosent",           "auto",   NULL};
static const char *const miner_names[] = {"all",
                                          "hard",
                                          "semihard",
                                          "easy",
                                          "none",
                                          "batch-hard",
                                          "easy-positive",
                                          "multi-similarity",
                                          "batch-easy-hard",
                                          "default",
                                          NULL};
static const char *const strategy_names[] = {"easy", "semihard", "hard", "all", NULL};
static const char *const pooling_names[] = {"mean", "max", "cls", "gem", "none", NULL};
static const char *const eval_names[] = {"marked", "stratified", "none", NULL};
static const char *const export_names[] = {"auto", "last", "best", NULL};

/* "none", "embeddings", "head", "layers:N", "name:PATTERN" */
static int check_parameters(const void *record, struct err *e)
{
    const struct job_parameters *p = record;
    int64_t layers;

    if (!strcmp(p->freeze, "none") || !strcmp(p->freeze, "embeddings") ||
        !strcmp(p->freeze, "head") || (!strncmp(p->freeze, "name:", 5) && p->freeze[5]) ||
        (!strncmp(p->freeze, "layers:", 7) && text_i64(p->freeze + 7, 1, 1000, &layers) == 0))
        return 0;
    return err_set(e, ERR_FORMAT,
                   "freeze: '%.60s' is none of none, embeddings, layers:N, head, name:PATTERN",
                   p->freeze);
}

static const struct record_field parameter_fields[] = {
    RECORD_FIELD(job_parameters, epochs, INT, DEFAULT, .fallback = "3", .min = 1, .max = 10000,
                 .help = "Passes over the documents."),
    RECORD_FIELD(job_parameters, batch_classes, INT, DEFAULT, .fallback = "16", .min = 2,
                 .max = 4096, .help = "Classes in a batch (P)."),
    RECORD_FIELD(job_parameters, items_per_class, INT, DEFAULT, .fallback = "4", .min = 2,
                 .max = 1024, .help = "Documents of each class in a batch (K)."),
    RECORD_FIELD(job_parameters, learning_rate, NUMBER, DEFAULT, .fallback = "2e-4", .min = 1e-12,
                 .max = 10,
                 .help = "The largest step size; the schedule scales it. Encoders larger than "
                         "MiniLM want less."),
    RECORD_FIELD(job_parameters, schedule, ENUM, DEFAULT, .fallback = "linear",
                 .names = schedule_names, .help = "How the step size falls after the warm-up."),
    RECORD_FIELD(job_parameters, warmup, NUMBER, DEFAULT, .fallback = "0.1", .min = 0, .max = 1,
                 .help = "Share of all steps in which the step size rises from 0."),
    RECORD_FIELD(job_parameters, optimizer, ENUM, DEFAULT, .fallback = "adamw",
                 .names = optimizer_names, .help = "The optimiser."),
    RECORD_FIELD(job_parameters, weight_decay, NUMBER, DEFAULT, .fallback = "0.01", .min = 0,
                 .max = 10, .help = "Decay of weights; see `decay_norms`."),
    RECORD_FIELD(job_parameters, decay_norms, BOOL, DEFAULT, .fallback = "false",
                 .help = "Whether biases and norms decay too."),
    RECORD_FIELD(job_parameters, layer_decay, NUMBER, DEFAULT, .fallback = "1", .min = 0.01,
                 .max = 1,
                 .help = "The last layer learns at `learning_rate`, each one below at so much of "
                         "the one above it, the embeddings at the least; 1: all alike."),
    RECORD_FIELD(job_parameters, max_grad_norm, NUMBER, DEFAULT, .fallback = "0", .min = 0,
                 .max = 1e6,
                 .help = "A longer gradient is scaled to this length before a step; 0: never."),
    RECORD_FIELD(job_parameters, accumulate, INT, DEFAULT, .fallback = "1", .min = 1, .max = 10000,
                 .help = "Batches whose gradients make one step, as their mean; each batch has its "
                         "own triplets. An epoch's last step may have fewer."),
    RECORD_FIELD(job_parameters, micro_batch, INT, DEFAULT, .fallback = "0", .min = 0,
                 .max = RECORD_INT_MAX,
                 .help = "Documents of a batch that are in memory at once (gradient caching): the "
                         "loss and its gradients are the whole batch's; each document runs "
                         "forward twice. 0: the whole batch."),
    RECORD_FIELD(job_parameters, loss, ENUM, DEFAULT, .fallback = "auto", .names = loss_names,
                 .help =
                     "The loss; `auto`: `cosent` for scored pairs, else `multi-similarity` (the "
                     "manifest says which); formulas as in pytorch-metric-learning, batch-hard, "
                     "batch-semi-hard and cosent as in sentence-transformers. Scored pairs "
                     "need `cosent`, and it needs them."),
    RECORD_FIELD(job_parameters, margin, NUMBER, DEFAULT, .fallback = "0", .min = 0, .max = 10,
                 .help =
                     "By how much a negative must be farther than a positive; 0: the loss's own "
                     "(triplet 0.2, contrastive 1, batch-hard and batch-semi-hard 5)."),
    RECORD_FIELD(job_parameters, miner, ENUM, DEFAULT, .fallback = "default", .names = miner_names,
                 .help =
                     "Which triplets or pairs of a batch count; default: `semihard` for triplet, "
                     "`multi-similarity` for that loss, else `none`."),
    RECORD_FIELD(job_parameters, miner_margin, NUMBER, DEFAULT, .fallback = "0", .min = 0,
                 .max = 10,
                 .help = "The margin by which `all`, `hard`, `semihard` and `easy` tell triplets "
                         "apart; 0: `margin`."),
    RECORD_FIELD(job_parameters, pos_strategy, ENUM, DEFAULT, .fallback = "easy",
                 .names = strategy_names,
                 .help = "Which positive of an anchor the miner `batch-easy-hard` takes."),
    RECORD_FIELD(job_parameters, neg_strategy, ENUM, DEFAULT, .fallback = "semihard",
                 .names = strategy_names,
                 .help = "Which negative it takes; `semihard` is the nearest that is farther than "
                         "the positive."),
    RECORD_FIELD(job_parameters, swap, BOOL, DEFAULT, .fallback = "false",
                 .help = "Triplet: the negative's distance is to the positive where that is less "
                         "than to the anchor."),
    RECORD_FIELD(job_parameters, smooth, BOOL, DEFAULT, .fallback = "false",
                 .help = "Triplet: log(1 + exp(x)) instead of max(0, x)."),
    RECORD_FIELD(job_parameters, temperature, NUMBER, DEFAULT, .fallback = "0", .min = 0,
                 .max = 100,
                 .help = "Divides cosines; 0: the loss's own (supcon 0.1, multiple-negatives and "
                         "cosent 0.05)."),
    RECORD_FIELD(job_parameters, alpha, NUMBER, DEFAULT, .fallback = "2", .min = 0.001, .max = 1000,
                 .help = "Multi-similarity: weight of positives."),
    RECORD_FIELD(job_parameters, beta, NUMBER, DEFAULT, .fallback = "50", .min = 0.001, .max = 1000,
                 .help = "Multi-similarity: weight of negatives."),
    RECORD_FIELD(job_parameters, base, NUMBER, DEFAULT, .fallback = "0.5", .min = 0.001, .max = 1,
                 .help = "Multi-similarity: the cosine that separates the two."),
    RECORD_FIELD(job_parameters, epsilon, NUMBER, DEFAULT, .fallback = "0.1", .min = 0.000001,
                 .max = 2, .help = "Margin of the miner `multi-similarity`."),
    RECORD_FIELD(job_parameters, pooling, ENUM, DEFAULT, .fallback = "mean", .names = pooling_names,
                 .help = "How token vectors become one."),
    RECORD_FIELD(job_parameters, output_dim, INT, DEFAULT, .fallback = "0", .min = 0, .max = 65536,
                 .help = "Width of an added projection; 0: none."),
    RECORD_FIELD(job_parameters, normalize, BOOL, DEFAULT, .fallback = "true",
                 .help = "L2 normalisation at the end of the model."),
    RECORD_FIELD(job_parameters, freeze, STRING, DEFAULT, .fallback = "none", .min = 1, .max = 256,
                 .help =
                     "What is not trained: `none`, `embeddings`, `layers:N` (embeddings and the "
                     "first N), `head` (all but pooling and projection), `name:PATTERN`."),
    RECORD_FIELD(job_parameters, max_length, INT, DEFAULT, .fallback = "128", .min = 1,
                 .max = 32768, .help = "Tokens of a text; the rest is cut."),
    RECORD_FIELD(job_parameters, seed, INT, DEFAULT, .fallback = "1", .min = 0,
                 .max = RECORD_INT_MAX, .help = "Seed of everything that is chosen by chance."),
    RECORD_FIELD(job_parameters, lanes, INT, DEFAULT, .fallback = "2", .min = 1, .max = 256,
                 .help = "Pieces a batch is cut into; part of the numeric result."),
    RECORD_FIELD(job_parameters, eval, ENUM, DEFAULT, .fallback = "marked", .names = eval_names,
                 .help = "Which documents are held out: those `marked` with `split` = `eval`, a "
                         "`stratified` share of each class, or `none`."),
    RECORD_FIELD(job_parameters, eval_fraction, NUMBER, DEFAULT, .fallback = "0.2", .min = 0.001,
                 .max = 0.9, .help = "The share of `stratified`."),
    RECORD_FIELD(job_parameters, eval_k, INT, DEFAULT, .fallback = "20", .min = 1, .max = 10000,
                 .help = "How many neighbours the metrics look at."),
    RECORD_FIELD(job_parameters, eval_steps, INT, DEFAULT, .fallback = "0", .min = 0, .max = 1e9,
                 .help = "Steps between evaluations while training; 0: none by steps."),
    RECORD_FIELD(job_parameters, eval_epochs, INT, DEFAULT, .fallback = "0", .min = 0, .max = 10000,
                 .help =
                     "Epochs between evaluations while training; 0: none by epochs. With both 0 "
                     "the model is measured before and after, and after each epoch where "
                     "`patience` or `export` need it."),
    RECORD_FIELD(job_parameters, best_metric, STRING, DEFAULT, .fallback = "auto", .min = 1,
                 .max = 64,
                 .help = "The metric by which one evaluation is better than another, by its name "
                         "in `metrics.json`; `auto`: `map_at_k`, of scored pairs `spearman`."),
    RECORD_FIELD(job_parameters, patience, INT, DEFAULT, .fallback = "0", .min = 0, .max = 1e6,
                 .help = "Training ends early after so many evaluations in a row without a gain; "
                         "0: it goes to its end."),
    RECORD_FIELD(job_parameters, min_delta, NUMBER, DEFAULT, .fallback = "0", .min = 0, .max = 1,
                 .help = "What `patience` counts as a gain: more than this above the best so far."),
    RECORD_FIELD(job_parameters, export, ENUM, DEFAULT, .fallback = "auto", .names = export_names,
                 .help = "Which weights become the model: of the `last` step, or of the `best` "
                         "evaluation; `auto`: `best` with `patience`, else `last`, since a model "
                         "that its held-out documents chose is measured too well by them."),
    RECORD_FIELD(job_parameters, checkpoint_steps, INT, DEFAULT, .fallback = "0", .min = 0,
                 .max = 1e9, .help = "Steps between checkpoints; 0: at the end of each epoch."),
};
const struct record job_parameters_record = {
    .name = "job_parameters",
    .title = "Training parameters",
    .help = "In a job (`parameters`), in a manifest, and with `tripline fit --set name=value`. "
            "What is left out has its default.",
    .size = sizeof(struct job_parameters),
    .check = check_parameters,
    RECORD_TABLE(parameter_fields),
};

static const struct record_field limit_fields[] = {
    RECORD_FIELD(job_limits, memory_bytes, INT, DEFAULT, .fallback = "4294967296", .min = 64 << 20,
                 .max = RECORD_INT_MAX, .help = "Memory of the training process."),
    RECORD_FIELD(job_limits, time_seconds, INT, DEFAULT, .fallback = "86400", .min = 1,
                 .max = 31536000, .help = "Time of one attempt."),
    RECORD_FIELD(job_limits, threads, INT, DEFAULT, .fallback = "0", .min = 0, .max = 1024,
                 .help = "Threads; 0: what the worker offers."),
};
const struct record job_limits_record = {.name = "job_limits",
                                         .title = "Limits of a run",
                                         .size = sizeof(struct job_limits),
                                         RECORD_TABLE(limit_fields)};

static const struct record_field publish_fields[] = {
    RECORD_FIELD(job_publish, presign_seconds, INT, DEFAULT, .fallback = "0", .min = 0,
                 .max = 604800,
                 .help = "How long presigned https URLs in the event work; 0: none are made."),
    RECORD_FIELD(job_publish, binary, BOOL, DEFAULT, .fallback = "false",
                 .help = "The event in CloudEvents' binary mode."),
};
const struct record job_publish_record = {.name = "job_publish",
                                          .title = "Publishing options",
                                          .size = sizeof(struct job_publish),
                                          RECORD_TABLE(publish_fields)};

static const struct record_field gate_fields[] = {
    RECORD_FIELD(job_gate, metric, STRING, DEFAULT, .fallback = "auto", .min = 1, .max = 64,
                 .help = "A metric of the evaluation; `auto`: the one by which the run was judged "
                         "(`best_metric`)."),
    RECORD_FIELD(job_gate, min_gain, NUMBER, DEFAULT, .fallback = "0", .min = -1, .max = 1,
                 .help = "By how much it must have risen."),
};
const struct record job_gate_record = {.name = "job_gate",
                                       .title = "A gate",
                                       .size = sizeof(struct job_gate),
                                       RECORD_TABLE(gate_fields)};

static const struct record_field watermark_fields[] = {
    RECORD_FIELD(job_watermark, partition, INT, REQUIRED, .min = 0, .max = INT32_MAX,
                 .help = "A partition of the docs topic."),
    RECORD_FIELD(job_watermark, high, INT, REQUIRED, .min = 0, .max = RECORD_INT_MAX,
                 .help = "Its high watermark when the job was accepted."),
};
const struct record job_watermark_record = {.name = "job_watermark",
                                            .title = "A watermark",
                                            .size = sizeof(struct job_watermark),
                                            RECORD_TABLE(watermark_fields)};

static const struct record_field accepted_fields[] = {
    RECORD_FIELD(job_accepted, request_sha256, SHA256, REQUIRED,
                 .help = "Of the message as canonical JSON: an equal one is a duplicate."),
    RECORD_FIELD(job_accepted, nonce, STRING, REQUIRED, .min = 1, .max = 64,
                 .help = "The writer's."),
    RECORD_FIELD(job_accepted, time_ms, INT, REQUIRED, .min = 0, .max = RECORD_INT_MAX,
                 .help = "When, in milliseconds since 1970."),
    RECORD_LIST(job_accepted, watermarks, watermark_count, ARRAY, OBJECT, REQUIRED, .max = 10000,
                .of = &job_watermark_record, .help = "The snapshot waits until all are reached."),
};
const struct record job_accepted_record = {.name = "job_accepted",
                                           .title = "Acceptance of a job",
                                           .size = sizeof(struct job_accepted),
                                           RECORD_TABLE(accepted_fields)};

static int check_job(const void *record, struct err *e)
{
    const struct job *j = record;

    if (j->kind == JOB_CANCEL)
        return 0;
    if (!j->dataset)
        return err_set(e, ERR_FORMAT, "dataset: missing");
    if (!j->model)
        return err_set(e, ERR_FORMAT, "model: missing");
    if (!j->backbone)
        return err_set(e, ERR_FORMAT, "backbone: missing");
    return 0;
}

static const struct record_field job_fields[] = {
    RECORD_FIELD(job, kind, ENUM, DEFAULT, .fallback = "fit", .names = kind_names,
                 .help = "`cancel` needs only `run`."),
    RECORD_FIELD(job, run, NAME, REQUIRED, .help = "The run's name, new for each fit."),
    RECORD_FIELD(job, dataset, NAME, OPTIONAL, .help = "What it trains on. A fit needs it."),
    RECORD_FIELD(job, model, NAME, OPTIONAL,
                 .help = "The model that it makes a version of. A fit needs it."),
    RECORD_FIELD(job, backbone, NAME, OPTIONAL,
                 .help = "The backbone: the owner's of that name, else the operator's. A fit needs "
                         "it."),
    RECORD_FIELD(job, backbone_sha256, SHA256, OPTIONAL,
                 .help = "Pins the backbone's content; another one fails the run."),
    RECORD_FIELD(job, parameters, OBJECT, OPTIONAL, .of = &job_parameters_record,
                 .help = "How it is trained."),
    RECORD_FIELD(job, priority, INT, DEFAULT, .fallback = "0", .min = -100, .max = 100,
                 .help = "Among the owner's own runs; greater is earlier."),
    RECORD_FIELD(job, max_attempts, INT, DEFAULT, .fallback = "5", .min = 1, .max = 1000,
                 .help = "Attempts before the run has failed."),
    RECORD_FIELD(job, limits, OBJECT, OPTIONAL, .of = &job_limits_record,
                 .help = "What the training process may use."),
    RECORD_FIELD(job, publish, OBJECT, OPTIONAL, .of = &job_publish_record,
                 .help = "How it is announced."),
    RECORD_FIELD(job, gate, OBJECT, OPTIONAL, .of = &job_gate_record,
                 .help = "What the model must reach; the event carries the verdict."),
    RECORD_FIELD(job, reason, STRING, OPTIONAL, .min = 1, .max = 400, .help = "Of a cancel."),
    RECORD_FIELD(job, accepted, OBJECT, OPTIONAL, .of = &job_accepted_record,
                 .help = "Written by intake; refused in a message."),
};
const struct record job_record = {
    .name = "job",
    .title = "A job",
    .help = "A message on `tripline.jobs.<owner>`, msgpack or JSON, keyed by run; accepted, it is "
            "the object `job.json` of the run. The owner is the topic's.",
    .size = sizeof(struct job),
    .check = check_job,
    .schema_extra = "{\"anyOf\":[{\"properties\":{\"kind\":{\"const\":\"cancel\"}},\"required\":["
                    "\"kind\"]},{\"required\":[\"dataset\",\"model\",\"backbone\"]}]}",
    RECORD_TABLE(job_fields),
};

/* Of the message's own content, so that defaults which change don't make a duplicate another job.
 */
static int hash_request(const void *value, size_t len, struct arena *a, char hex[SHA256_HEX],
                        struct err *e)
{
    const unsigned char *s = value;
    struct buf text;
    msgpack_object tree;
    json_t *v = NULL;
    int rc;

    buf_init(&text, RECORD_BYTES_MAX);
    rc = s[0] >= 0x80 ? tree_of_msgpack(a, value, len, &tree, e)
                      : tree_of_json(a, value, len, &tree, e);
    if (rc == 0 && (rc = tree_to_json(&tree, &v, e)) == 0 &&
        (rc = json_write(v, JSON_CANONICAL, &text, e)) == 0)
        sha256_of(text.data, text.len, hex);
    json_decref(v);
    buf_release(&text);
    return rc;
}

/* A default object where the message has none. */
static int fill(const struct record *r, struct arena *a, const void **p, struct err *e)
{
    void *record;

    if (*p)
        return 0;
    if (!(record = arena_alloc(a, r->size)))
        return err_set(e, ERR_NOMEM, "%s: more memory than the arena allows", r->name);
    record_init(r, record);
    *p = record;
    return 0;
}

int job_admit(const void *key, size_t key_len, const void *value, size_t value_len, struct arena *a,
              struct job *out, char request_sha256[SHA256_HEX], struct err *e)
{
    int rc;

    job_init(out);
    if (!value || !value_len)
        return err_set(e, ERR_FORMAT, "a job without a value");
    if ((rc = job_read(a, value, value_len, RECORD_SNIFF, out, e)) < 0 ||
        (rc = hash_request(value, value_len, a, request_sha256, e)) < 0)
        return rc;
    if (out->accepted)
        return err_set(e, ERR_FORMAT, "accepted: not allowed in a message");
    if (key && key_len && (strlen(out->run) != key_len || memcmp(out->run, key, key_len) != 0))
        return err_set(e, ERR_FORMAT, "run: '%s' differs from the message's key '%.*s'", out->run,
                       (int)(key_len < 80 ? key_len : 80), (const char *)key);
    if (out->kind == JOB_CANCEL)
        return 0;
    if ((rc = fill(&job_parameters_record, a, (const void **)&out->parameters, e)) < 0 ||
        (rc = fill(&job_limits_record, a, (const void **)&out->limits, e)) < 0)
        return rc;
    return fill(&job_publish_record, a, (const void **)&out->publish, e);
}
