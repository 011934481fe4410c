#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "platform/base/buf.h"
#include "platform/base/file.h"
#include "platform/base/text.h"
#include "trainer/data/names.h"
#include "trainer/parameters.h"
#include "trainer/run_int.h"

/* ---- the backbone's files ---------------------------------------------------------------------
 */

static bool is_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* folder/name into `to`: is there such a file? */
static bool look(char to[4096], const char *folder, const char *name)
{
    return snprintf(to, 4096, "%s/%s", folder, name) < 4096 && is_file(to);
}

static int split_file(const char *path, struct run_backbone *out, struct err *e)
{
    const char *slash = strrchr(path, '/');

    if (snprintf(out->model, sizeof out->model, "%s", path) >= (int)sizeof out->model)
        return err_set(e, ERR_IO, "%s: the path is too long", path);
    if (slash)
        snprintf(out->folder, sizeof out->folder, "%.*s", (int)(slash - path), path);
    else
        snprintf(out->folder, sizeof out->folder, ".");
    return 0;
}

int run_backbone_find(const char *path, struct run_backbone *out, struct err *e)
{
    struct stat st;
    size_t n;
    int rc;

    if (stat(path, &st) < 0)
        return err_errno(e, ERR_NOT_FOUND, "backbone %s", path);
    if (S_ISREG(st.st_mode)) {
        if ((rc = split_file(path, out, e)) < 0)
            return rc;
        n = strlen(out->folder);
        if (n > 5 && strcmp(out->folder + n - 5, "/onnx") == 0 &&
            !look(out->tokenizer, out->folder, "tokenizer.json"))
            out->folder[n - 5] = '\0';
    } else {
        if (snprintf(out->folder, sizeof out->folder, "%s", path) >= (int)sizeof out->folder)
            return err_set(e, ERR_IO, "%s: the path is too long", path);
        if (!look(out->model, path, "onnx/model.onnx") && !look(out->model, path, "model.onnx"))
            return err_set(e, ERR_NOT_FOUND,
                           "%s has neither onnx/model.onnx nor model.onnx: is it a backbone?",
                           path);
    }
    if (!look(out->tokenizer, out->folder, "tokenizer.json"))
        return err_set(
            e, ERR_NOT_FOUND,
            "%s/tokenizer.json is missing: put the backbone's Hugging Face tokenizer there",
            out->folder);
    return 0;
}

int run_backbone_check(const char *path, struct err *e)
{
    struct run_backbone files;
    int rc = run_backbone_find(path, &files, e);

    return rc < 0 ? rc : engine_check(files.model, e);
}

/* ---- parameters to surgery ---------------------------------------------------------------------
 */

int run_surgery(const struct job_parameters *p, struct surgery *out, struct err *e)
{
    int64_t layers;
    int rc;

    surgery_init(out);
    if ((rc = parameters_pool(p, &out->pool, e)) < 0)
        return rc;
    out->output_dim = (int)p->output_dim;
    out->normalize = p->normalize;
    out->seed = (uint64_t)p->seed;
    if (strcmp(p->freeze, "embeddings") == 0)
        out->freeze = "*embeddings*";
    else if (strcmp(p->freeze, "head") == 0)
        out->freeze_layers = -1;
    else if (strncmp(p->freeze, "layers:", 7) == 0 &&
             text_i64(p->freeze + 7, 1, 1000, &layers) == 0)
        out->freeze_layers = (int)layers;
    else if (strncmp(p->freeze, "name:", 5) == 0)
        out->freeze = p->freeze + 5;
    return 0;
}

/* ---- opening, in the order of what can go wrong first
 * -------------------------------------------- */

/* What `auto` leaves to the documents is decided here, and only the decision is kept. */
static void resolve(struct run *r)
{
    r->parameters = *r->spec->parameters;
    if (r->parameters.loss == LOSS_AUTO)
        r->parameters.loss = dataset_scores(r->spec->train) ? LOSS_COSENT : LOSS_MULTI_SIMILARITY;
    r->resolved = *r->spec;
    r->resolved.parameters = &r->parameters;
    r->spec = &r->resolved;
}

static int check_data(const struct run *r, struct err *e)
{
    const struct dataset *d = r->spec->train;
    struct loss_options options;
    enum loss_kind loss;

    parameters_loss(r->spec->parameters, &options);
    loss = options.kind;
    if (dataset_count(d) == 0)
        return err_set(e, ERR_CONFIG, "there is no document to train on");
    if (dataset_scores(d) && !loss_kind_scored(loss))
        return err_set(e, ERR_CONFIG,
                       "the loss %s needs labels, or pairs without scores, and these are scored "
                       "pairs: choose the loss cosent or auto, or leave the "
                       "scores out",
                       loss_kind_name(loss));
    if (!dataset_scores(d) && loss_kind_scored(loss))
        return err_set(e, ERR_CONFIG,
                       "the loss %s needs scored pairs (text,text,score), and these documents have "
                       "no scores: choose another loss",
                       loss_kind_name(loss));
    if (!dataset_scores(d) && dataset_labels(d) < 2)
        return err_set(e, ERR_CONFIG,
                       "all %d documents have the label '%.80s': triplets need two labels or more",
                       dataset_count(d), dataset_label_name(d, 0));
    return 0;
}

int run_engine(const struct run *r, bool train, struct engine **out, struct err *e)
{
    const struct job_parameters *p = r->spec->parameters;
    struct engine_options options = {.backend = r->spec->backend,
                                     .threads = r->spec->threads,
                                     .lanes = (int)p->lanes,
                                     .train = train};
    struct surgery surgery;
    int rc = run_surgery(p, &surgery, e);

    return rc < 0 ? rc : engine_open(out, r->files.model, &surgery, &options, e);
}

static int open_engine(struct run *r, struct err *e)
{
    int64_t asked = r->spec->parameters->max_length;
    int rc = run_engine(r, true, &r->engine, e), longest;

    if (rc < 0)
        return rc;
    longest = engine_info(r->engine)->max_tokens;
    r->max_tokens = longest > 0 && longest < asked ? longest : (int)asked;
    return 0;
}

int run_tokenizer(struct tokenizer **out, const struct run_backbone *files,
                  const struct engine *engine, struct err *e)
{
    int ids, known = engine_info(engine)->vocabulary, rc = tokenizer_open(out, files->tokenizer, e);

    if (rc < 0)
        return rc;
    ids = tokenizer_info(*out)->vocabulary;
    if (ids <= known)
        return 0;
    tokenizer_free(*out);
    *out = NULL;
    return err_set(e, ERR_FORMAT,
                   "%s has ids up to %d, %s knows %d: they do not belong together; take both from "
                   "one backbone",
                   files->tokenizer, ids - 1, files->model, known);
}

/* Numbers the documents by their tokens: equal ones can't be told apart by any model. */
static int number_texts(struct run *r, struct err *e)
{
    const struct tokens *k = r->train;
    struct names seen = {0};
    int i, rc = 0;

    r->text_numbers = calloc((size_t)k->count + 1, sizeof *r->text_numbers);
    if (!r->text_numbers)
        return err_set(e, ERR_NOMEM, "%d documents", k->count);
    for (i = 0; i < k->count && rc >= 0; i++) {
        rc = names_add(&seen, (const char *)(k->ids + k->offsets[i]),
                       (size_t)tokens_len(k, i) * sizeof *k->ids, NULL, e);
        r->text_numbers[i] = rc;
    }
    names_release(&seen);
    return rc < 0 ? rc : 0;
}

static int open_tokens(struct run *r, struct err *e)
{
    const struct run_spec *s = r->spec;
    int rc = run_tokenizer(&r->tokenizer, &r->files, r->engine, e);

    if (rc < 0)
        return rc;
    rc = tokens_build(&r->train, s->train, r->tokenizer, r->max_tokens, e);
    if (rc == 0 && s->eval && dataset_count(s->eval) > 0)
        rc = tokens_build(&r->eval, s->eval, r->tokenizer, r->max_tokens, e);
    return rc < 0 ? rc : number_texts(r, e);
}

static int open_batches(struct run *r, struct err *e)
{
    const struct job_parameters *p = r->spec->parameters;
    const struct dataset *d = r->spec->train;
    const struct sampler_info *info;
    size_t floats;
    int at_once, rc;

    if (dataset_scores(d))
        rc = sampler_new_pairs(&r->sampler, dataset_count(d) / 2,
                               (int)(p->batch_classes * p->items_per_class / 2), (uint64_t)p->seed,
                               e);
    else
        rc = sampler_new(&r->sampler, dataset_label_ids(d), dataset_count(d), dataset_labels(d),
                         (int)p->batch_classes, (int)p->items_per_class, (uint64_t)p->seed, e);
    if (rc < 0)
        return rc;
    info = sampler_info(r->sampler);
    r->steps_per_epoch = (info->batches + p->accumulate - 1) / p->accumulate;
    r->steps = r->steps_per_epoch * p->epochs;
    floats = (size_t)info->batch_max * (size_t)engine_info(r->engine)->dim;
    r->embeddings = calloc(floats, 2 * sizeof *r->embeddings);
    r->labels = calloc((size_t)info->batch_max, 2 * sizeof *r->labels);
    r->scores = calloc((size_t)info->batch_max, sizeof *r->scores);
    if (!r->embeddings || !r->labels || !r->scores)
        return err_set(e, ERR_NOMEM, "a batch of %d documents", info->batch_max);
    r->texts = r->labels + info->batch_max;
    r->gradients = r->embeddings + floats;
    at_once =
        p->micro_batch && p->micro_batch < info->batch_max ? (int)p->micro_batch : info->batch_max;
    return batch_new(&r->batch, at_once, (size_t)at_once * (size_t)r->train->longest, e);
}

static int open_loss(struct run *r, struct err *e)
{
    struct loss_options options;

    parameters_loss(r->spec->parameters, &options);
    return loss_new(&r->loss, &options, e);
}

/* Same parameters, same data, same backbone: the same run. */
static int make_identity(struct run *r, struct err *e)
{
    char train[SHA256_HEX], eval[SHA256_HEX] = "none";
    struct buf b;
    int rc;

    buf_init(&b, 1 << 20);
    rc = sha256_file(r->files.model, r->result->backbone_sha256, NULL, e);
    if (rc == 0)
        rc = dataset_hash(r->spec->train, train, e);
    if (rc == 0 && r->eval)
        rc = dataset_hash(r->spec->eval, eval, e);
    if (rc == 0)
        rc = job_parameters_write(r->spec->parameters, RECORD_JSON, &b, e);
    buf_printf(&b, "\n%s\n%s\n%s\n", r->result->backbone_sha256, train, eval);
    if (rc == 0)
        rc = buf_check(&b, "the run's identity", e);
    if (rc == 0)
        sha256_of(b.data, b.len, r->state->identity);
    buf_release(&b);
    return rc;
}

int run_open(struct run *r, struct err *e)
{
    int rc;

    r->state = calloc(1, sizeof *r->state);
    if (!r->state)
        return err_set(e, ERR_NOMEM, "a run");
    r->state->exact = true;
    resolve(r);
    if ((rc = parameters_check(r->spec->parameters, e)) < 0 || (rc = check_data(r, e)) < 0 ||
        (rc = run_backbone_find(r->spec->backbone, &r->files, e)) < 0 ||
        (rc = open_engine(r, e)) < 0 || (rc = open_tokens(r, e)) < 0 ||
        (rc = open_batches(r, e)) < 0 || (rc = open_loss(r, e)) < 0 ||
        (rc = run_eval_open(r, e)) < 0 || (rc = make_identity(r, e)) < 0)
        return rc;
    snprintf(r->state->fingerprint, sizeof r->state->fingerprint, "%s",
             engine_info(r->engine)->fingerprint);
    memcpy(r->result->fingerprint, r->state->fingerprint, sizeof r->result->fingerprint);
    r->result->dim = engine_info(r->engine)->dim;
    return 0;
}

void run_release(struct run *r)
{
    loss_free(r->loss);
    batch_free(r->batch);
    sampler_free(r->sampler);
    free(r->text_numbers);
    free(r->scores);
    free(r->labels);
    free(r->embeddings);
    tokens_free(r->eval);
    tokens_free(r->train);
    tokenizer_free(r->tokenizer);
    engine_free(r->engine);
    free(r->state);
}
