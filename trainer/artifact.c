#include "trainer/artifact.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/json/json.h"
#include "trainer/artifact_int.h"
#include "trainer/report.h"

#define TEXT_FILE_MAX ((size_t)64 << 20)

/* ---- small writers ------------------------------------------------------------------------- */

/* Takes `v`; NULL means that building it ran out of memory. */
static int put_json(const struct artifact *a, const char *name, json_t *v, struct err *e)
{
    char path[PATH_MAX];
    struct buf b;
    int rc;

    if (!v)
        return err_set(e, ERR_NOMEM, "%s: out of memory", name);
    buf_init(&b, TEXT_FILE_MAX);
    rc = artifact_path(path, a->folder, name, e);
    if (rc == 0)
        rc = json_write(v, JSON_READABLE, &b, e);
    if (rc == 0)
        rc = file_write(path, b.data, b.len, e);
    buf_release(&b);
    json_decref(v);
    return rc;
}

static int copy_file(const char *from, const struct artifact *a, const char *name, struct err *e)
{
    char path[PATH_MAX];
    struct buf b;
    int rc;

    buf_init(&b, TEXT_FILE_MAX);
    rc = file_read(from, &b, e);
    if (rc == 0)
        rc = artifact_path(path, a->folder, name, e);
    if (rc == 0)
        rc = file_write(path, b.data ? b.data : "", b.len, e);
    buf_release(&b);
    return rc;
}

/* 1: copied from the backbone; 0: it has none. */
static int copy_own(const struct artifact *a, const char *name, struct err *e)
{
    char from[PATH_MAX];
    int rc = artifact_path(from, a->backbone_folder, name, e);

    if (rc == 0)
        rc = copy_file(from, a, name, e);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? rc : 1;
}

/* ---- what transformers wants to know --------------------------------------------------------- */

static int put_config(const struct artifact *a, struct err *e)
{
    const struct engine_info *info = engine_info(a->engine);
    int rc = copy_own(a, "config.json", e);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    return put_json(a, "config.json",
                    json_pack("{s:s, s:[s], s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s}", "model_type",
                              "bert", "architectures", "BertModel", "hidden_size", info->hidden,
                              "num_hidden_layers", info->layers, "num_attention_heads",
                              info->heads ? info->heads : 1, "intermediate_size",
                              info->inner ? info->inner : 4 * info->hidden, "vocab_size",
                              info->vocabulary, "max_position_embeddings",
                              info->max_tokens ? info->max_tokens : 512, "type_vocab_size", 2,
                              "hidden_act", "gelu"),
                    e);
}

/* Names of special tokens as BERT and RoBERTa spell them. */
static const struct special {
    const char *role, *bert, *roberta;
} specials[] = {
    {"pad_token", "[PAD]", "<pad>"},    {"unk_token", "[UNK]", "<unk>"},
    {"cls_token", "[CLS]", "<s>"},      {"sep_token", "[SEP]", "</s>"},
    {"mask_token", "[MASK]", "<mask>"},
};

static bool has_token(const json_t *tokens, const char *content)
{
    const json_t *token;
    size_t i;

    json_array_foreach((json_t *)tokens, i, token)
    {
        const char *text = json_string_value(json_object_get(token, "content"));

        if (text && strcmp(text, content) == 0)
            return true;
    }
    return false;
}

static json_t *tokenizer_config(const json_t *tokenizer, int64_t max_length)
{
    const json_t *tokens = json_object_get(tokenizer, "added_tokens");
    json_t *v = json_pack("{s:s, s:I}", "tokenizer_class", "PreTrainedTokenizerFast",
                          "model_max_length", (json_int_t)max_length);
    size_t i;

    for (i = 0; v && i < sizeof specials / sizeof specials[0]; i++) {
        const char *name = has_token(tokens, specials[i].bert)      ? specials[i].bert
                           : has_token(tokens, specials[i].roberta) ? specials[i].roberta
                                                                    : NULL;
        if (name)
            json_put(&v, specials[i].role, json_string(name));
    }
    return v;
}

static int put_tokenizer(const struct artifact *a, struct err *e)
{
    json_t *tokenizer = NULL;
    int rc = copy_file(a->tokenizer, a, "tokenizer.json", e);

    if (rc == 0)
        rc = copy_own(a, "tokenizer_config.json", e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((rc = json_parse_file(a->tokenizer, NULL, &tokenizer, e)) < 0)
        return rc;
    rc = put_json(a, "tokenizer_config.json", tokenizer_config(tokenizer, a->manifest->max_length),
                  e);
    json_decref(tokenizer);
    return rc;
}

/* ---- what sentence-transformers wants to know -------------------------------------------------
 */

static json_t *module(int index, const char *path, const char *type)
{
    char name[16];

    snprintf(name, sizeof name, "%d", index);
    return json_pack("{s:i, s:s, s:s, s:s}", "idx", index, "name", name, "path", path, "type",
                     type);
}

static int put_pooling(const struct artifact *a, int pooling, struct err *e)
{
    char path[PATH_MAX];
    int rc = artifact_path(path, a->folder, "1_Pooling", e);

    if (rc == 0)
        rc = file_mkdirs(path, e);
    if (rc < 0)
        return rc;
    return put_json(a, "1_Pooling/config.json",
                    json_pack("{s:i, s:b, s:b, s:b}", "word_embedding_dimension",
                              engine_info(a->engine)->hidden, "pooling_mode_cls_token",
                              pooling == POOLING_CLS, "pooling_mode_mean_tokens",
                              pooling == POOLING_MEAN, "pooling_mode_max_tokens",
                              pooling == POOLING_MAX),
                    e);
}

/* safetensors: u64 header length, JSON header, the tensors (little-endian float32). */
static int put_dense_weights(const struct artifact *a, const float *w, const float *b,
                             struct err *e)
{
    const struct engine_info *info = engine_info(a->engine);
    size_t wn = sizeof *w * (size_t)info->dim * (size_t)info->hidden,
           bn = sizeof *b * (size_t)info->dim;
    char head[512], path[PATH_MAX];
    struct buf out;
    int n, rc;

    n = snprintf(
        head, sizeof head,
        "{\"linear.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]},"
        "\"linear.bias\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}}",
        info->dim, info->hidden, wn, info->dim, wn, wn + bn);
    buf_init(&out, TEXT_FILE_MAX);
    buf_u64(&out, (uint64_t)n);
    buf_add(&out, head, (size_t)n);
    buf_add(&out, w, wn);
    buf_add(&out, b, bn);
    rc = buf_check(&out, "2_Dense/model.safetensors", e);
    if (rc == 0)
        rc = artifact_path(path, a->folder, "2_Dense/model.safetensors", e);
    if (rc == 0)
        rc = file_write(path, out.data, out.len, e);
    buf_release(&out);
    return rc;
}

static int put_dense(const struct artifact *a, const float *w, const float *b, struct err *e)
{
    const struct engine_info *info = engine_info(a->engine);
    char path[PATH_MAX];
    int rc = artifact_path(path, a->folder, "2_Dense", e);

    if (rc == 0)
        rc = file_mkdirs(path, e);
    if (rc == 0)
        rc = put_json(a, "2_Dense/config.json",
                      json_pack("{s:i, s:i, s:b, s:s}", "in_features", info->hidden, "out_features",
                                info->dim, "bias", 1, "activation_function",
                                "torch.nn.modules.linear.Identity"),
                      e);
    if (rc == 0)
        rc = put_dense_weights(a, w, b, e);
    return rc;
}

static int put_modules(const struct artifact *a, struct err *e)
{
    int pooling = a->manifest->parameters->pooling, index = 2, rc;
    const float *w, *b;
    json_t *list;

    if (pooling == POOLING_GEM || pooling == POOLING_NONE)
        return 0;
    list = json_pack("[o, o]", module(0, "", "sentence_transformers.models.Transformer"),
                     module(1, "1_Pooling", "sentence_transformers.models.Pooling"));
    rc = put_pooling(a, pooling, e);
    if (rc == 0 && engine_projection(a->engine, &w, &b)) {
        json_add(&list, module(index++, "2_Dense", "sentence_transformers.models.Dense"));
        rc = put_dense(a, w, b, e);
    }
    if (rc == 0 && a->manifest->normalized)
        json_add(&list, module(index, index == 2 ? "2_Normalize" : "3_Normalize",
                               "sentence_transformers.models.Normalize"));
    if (rc < 0) {
        json_decref(list);
        return rc;
    }
    if ((rc = put_json(a, "modules.json", list, e)) < 0)
        return rc;
    rc = put_json(a, "sentence_bert_config.json",
                  json_pack("{s:I, s:b}", "max_seq_length", (json_int_t)a->manifest->max_length,
                            "do_lower_case", 0),
                  e);
    if (rc < 0)
        return rc;
    return put_json(a, "config_sentence_transformers.json",
                    json_pack("{s:s, s:{}, s:n}", "similarity_fn_name", "cosine", "prompts",
                              "default_prompt_name"),
                    e);
}

/* ---- what a consumer verifies, what people read -----------------------------------------------
 */

static json_t *golden_item(const struct artifact_golden *g, int dim)
{
    json_t *vector = json_array();
    int i;

    for (i = 0; vector && i < dim; i++)
        json_add(&vector, json_real(g->vector[i]));
    return json_pack("{s:s%, s:o}", "text", g->text, g->len, "vector", vector);
}

static int put_golden(const struct artifact *a, struct err *e)
{
    int dim = engine_info(a->engine)->dim;
    json_t *list = json_array();
    size_t i;

    for (i = 0; list && i < a->golden_count; i++)
        json_add(&list, golden_item(&a->golden[i], dim));
    return put_json(a, "golden.json",
                    json_pack("{s:i, s:f, s:o}", "dimension", dim, "tolerance", ARTIFACT_TOLERANCE,
                              "inputs", list),
                    e);
}

static json_t *numbers(const struct record_number *list, size_t count)
{
    json_t *v = json_object();
    size_t i;

    for (i = 0; v && i < count; i++)
        json_put(&v, list[i].name, json_real(list[i].value));
    return v;
}

/* The evaluations while training and after it, by the metric that counts. */
static json_t *evaluations(const struct checkpoint *c)
{
    json_t *list = json_array();
    int i;

    for (i = 0; list && c && i < c->eval_count; i++)
        json_add(&list, json_pack("{s:I, s:f}", "step", (json_int_t)c->evals[i].step, "value",
                                  c->evals[i].value));
    return list;
}

/* What the last step of training said. */
static json_t *training(const struct checkpoint *c)
{
    const struct checkpoint_point *p;

    if (!c || c->point_count == 0)
        return json_object();
    p = &c->points[c->point_count - 1];
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "step", (json_int_t)p->step, "loss",
                     p->loss, "active", p->active, "positive", p->positive, "negative", p->negative,
                     "similarity", p->similarity, "gradient_norm", p->gradient_norm);
}

static int put_metrics(const struct artifact *a, struct err *e)
{
    const struct run_manifest *m = a->manifest;

    return put_json(a, "metrics.json",
                    json_pack("{s:o, s:o, s:I, s:s?, s:b, s:o, s:o}", "before",
                              numbers(m->before, m->before_count), "after",
                              numbers(m->after, m->after_count), "documents",
                              (json_int_t)m->eval_documents, "judged_by", m->judged_by, "worse",
                              (int)m->worse, "evaluations", evaluations(a->history), "training",
                              training(a->history)),
                    e);
}

/* "60 steps (stopped early), last loss 0.0123, weights of step 50" */
static void put_steps(char *to, size_t size, const struct run_manifest *m)
{
    int n;

    if (m->steps == 0) {
        snprintf(to, size, "none");
        return;
    }
    n = snprintf(to, size, "%lld steps%s, last loss %.4f", (long long)m->steps,
                 m->stopped_early ? " (stopped early)" : "", m->loss);
    if (m->exported_step != m->steps)
        snprintf(to + n, size - (size_t)n, "; the weights are the best ones, of step %lld",
                 (long long)m->exported_step);
}

static int put_report(const struct artifact *a, struct err *e)
{
    const struct run_manifest *m = a->manifest;
    struct report_metric rows[16];
    char documents[128], size[128], steps[160], path[PATH_MAX];
    struct report_fact facts[] = {
        {"model", m->model},       {"dataset", m->dataset},
        {"backbone", m->backbone}, {"backbone SHA-256", m->backbone_sha256},
        {"documents", documents},  {"embedding", size},
        {"training", steps},       {"numeric fingerprint", m->fingerprint}};
    struct report r = {.title = m->model,
                       .metrics = rows,
                       .facts = facts,
                       .fact_count = sizeof facts / sizeof facts[0],
                       .judged_by = m->judged_by,
                       .alarm = m->worse ? "It got worse: by the metric that counts the untrained "
                                           "backbone is better on the held-out documents."
                                         : NULL,
                       .history = a->history};
    int rc;

    for (; r.metric_count < m->before_count && r.metric_count < m->after_count &&
           r.metric_count < sizeof rows / sizeof rows[0];
         r.metric_count++)
        rows[r.metric_count] =
            (struct report_metric){m->before[r.metric_count].name, m->before[r.metric_count].value,
                                   m->after[r.metric_count].value};
    snprintf(documents, sizeof documents, "%lld to train on, %lld held out, %lld labels",
             (long long)m->train_documents, (long long)m->eval_documents, (long long)m->labels);
    snprintf(size, sizeof size, "%lld numbers, %s, at most %lld tokens", (long long)m->dimension,
             m->normalized ? "normalised" : "not normalised", (long long)m->max_length);
    put_steps(steps, sizeof steps, m);
    rc = artifact_path(path, a->folder, "report.html", e);
    return rc < 0 ? rc : report_write(path, &r, e);
}

/* ---- the manifest --------------------------------------------------------------------------- */

static int put_manifest(const struct artifact *a, char sha256[SHA256_HEX], struct err *e)
{
    struct run_file_entry files[ARTIFACT_FILES] = {0};
    char hashes[ARTIFACT_FILES][SHA256_HEX], path[PATH_MAX];
    unsigned long long size;
    size_t i, n = 0;
    struct buf b;
    int rc = 0;

    for (i = 0; i < ARTIFACT_FILES; i++) {
        if ((rc = artifact_path(path, a->folder, artifact_files[i], e)) < 0)
            return rc;
        if (access(path, F_OK) != 0)
            continue;
        if ((rc = sha256_file(path, hashes[n], &size, e)) < 0)
            return rc;
        files[n] = (struct run_file_entry){
            .path = artifact_files[i], .size = (int64_t)size, .sha256 = hashes[n]};
        n++;
    }
    a->manifest->files = files;
    a->manifest->file_count = n;
    buf_init(&b, TEXT_FILE_MAX);
    rc = run_manifest_write(a->manifest, RECORD_JSON, &b, e);
    if (rc == 0)
        rc = artifact_path(path, a->folder, "manifest.json", e);
    if (rc == 0)
        rc = file_write(path, b.data, b.len, e);
    if (rc == 0)
        sha256_of(b.data, b.len, sha256);
    buf_release(&b);
    a->manifest->files = NULL;
    a->manifest->file_count = 0;
    return rc;
}

static int put_model(const struct artifact *a, struct err *e)
{
    char path[PATH_MAX];
    int rc = artifact_path(path, a->folder, "onnx", e);

    if (rc == 0)
        rc = file_mkdirs(path, e);
    if (rc == 0)
        rc = artifact_path(path, a->folder, "onnx/model.onnx", e);
    return rc < 0 ? rc : engine_export(a->engine, path, e);
}

static int write_all(const struct artifact *a, char manifest_sha256[SHA256_HEX], struct err *e)
{
    static int (*const steps[])(const struct artifact *, struct err *) = {
        put_model, put_config, put_tokenizer, put_modules, put_golden, put_metrics, put_report};
    size_t i;
    int rc;

    for (i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if ((rc = steps[i](a, e)) < 0)
            return rc;
    return put_manifest(a, manifest_sha256, e);
}

int artifact_write(const struct artifact *a, char manifest_sha256[SHA256_HEX], struct err *e)
{
    struct err ignored = ERR_INIT;
    int rc = artifact_clear(a->folder, e);

    if (rc < 0)
        return rc;
    rc = write_all(a, manifest_sha256, e);
    if (rc < 0)
        artifact_clear(a->folder, &ignored); /* the first error is the one to tell */
    return rc;
}

/* ---- golden.json read back --------------------------------------------------------------------
 */

static int read_item(const json_t *item, int at, struct artifact_golden_set *set, struct err *e)
{
    const json_t *vector = json_object_get(item, "vector"), *text = json_object_get(item, "text");
    int i;

    if (!json_is_string(text) || !json_is_array(vector) ||
        json_array_size(vector) != (size_t)set->dim)
        return err_set(e, ERR_FORMAT, "golden.json: inputs.%d: expected a text and %d numbers", at,
                       set->dim);
    set->texts[at] = strdup(json_string_value(text));
    if (!set->texts[at])
        return err_set(e, ERR_NOMEM, "golden.json: out of memory");
    for (i = 0; i < set->dim; i++)
        set->vectors[(size_t)at * (size_t)set->dim + (size_t)i] =
            (float)json_number_value(json_array_get(vector, (size_t)i));
    return 0;
}

static int read_set(const json_t *v, struct artifact_golden_set *set, struct err *e)
{
    json_t *list;
    int64_t dim;
    int rc;

    if ((rc = json_int_at(v, "dimension", 1, 65536, &dim, e)) < 0 ||
        (rc = json_number_at(v, "tolerance", &set->tolerance, e)) < 0 ||
        (rc = json_array_at(v, "inputs", &list, e)) < 0)
        return err_wrap(e, "golden.json");
    set->dim = (int)dim;
    if (json_array_size(list) > 4096)
        return err_set(e, ERR_LIMIT, "golden.json: more than 4096 inputs");
    set->texts = calloc(json_array_size(list) + 1, sizeof *set->texts);
    set->vectors = calloc(json_array_size(list) * (size_t)dim + 1, sizeof *set->vectors);
    if (!set->texts || !set->vectors)
        return err_set(e, ERR_NOMEM, "golden.json: out of memory");
    for (; set->count < (int)json_array_size(list); set->count++)
        if ((rc = read_item(json_array_get(list, (size_t)set->count), set->count, set, e)) < 0)
            return rc;
    return 0;
}

int artifact_golden_read(const char *folder, struct artifact_golden_set *out, struct err *e)
{
    char path[PATH_MAX];
    json_t *v = NULL;
    int rc;

    memset(out, 0, sizeof *out);
    if ((rc = artifact_path(path, folder, "golden.json", e)) < 0 ||
        (rc = json_parse_file(path, NULL, &v, e)) < 0)
        return rc;
    rc = read_set(v, out, e);
    json_decref(v);
    if (rc < 0)
        artifact_golden_free(out);
    return rc;
}

void artifact_golden_free(struct artifact_golden_set *set)
{
    int i;

    for (i = 0; set->texts && i < set->count; i++)
        free(set->texts[i]);
    free(set->texts);
    free(set->vectors);
    memset(set, 0, sizeof *set);
}
