/*
 * Tripline's part of ./dev bench: trains or encodes on demand, so that a script can
 * alternate it with its peers on the same batches.
 *
 *   bench_speed train|encode MODEL.onnx TOKENIZER.json FILE.csv EXCHANGE [NAME=NUMBER...]
 *
 * EXCHANGE is written first: int32, for each batch its count, labels, lengths and then
 * the ids of its documents (encode: one batch, the whole file in its order). Then each
 * line of standard input is a number N: N training steps, or N passes over the file.
 * Each is answered by one line of JSON. End of input ends the program; with profile=1
 * it prints where the time of all but the first answer went.
 *
 * NAME: threads=2 lanes=2 length=64 classes=16 items=4 steps=200 profile=0 documents=0
 * documents: encode only so many, 0: all. encode also writes EXCHANGE.f32, the vectors of the last
 * pass.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/profile.h"
#include "platform/base/err.h"
#include "trainer/data/batch.h"
#include "trainer/data/sampler.h"
#include "trainer/evaluate.h"
#include "trainer/learn/loss.h"

enum number { THREADS, LANES, LENGTH, CLASSES, ITEMS, STEPS, PROFILE, DOCUMENTS, NUMBERS };

struct speed {
    bool train;
    const char *model, *vocabulary, *csv, *exchange;
    long number[NUMBERS];
    struct engine *engine;
    struct tokenizer *tokenizer;
    struct dataset *documents;
    struct tokens *tokens;
    struct sampler *sampler;
    struct batch *batch;
    struct loss *loss;
    struct profile *profile;
    float *vectors; /* (documents of a batch, dim); then as many gradients */
    int32_t *labels;
    double tokenise_ms;
    int step;
};

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Processor time of this process: what another process takes away is not in it. */
static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* A field of /proc/self/status in KiB: VmHWM is the most memory that was ever resident. */
static long memory_kib(const char *field)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtol(line + strlen(field) + 1, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int parse(struct speed *s, int argc, char **argv, struct err *e)
{
    static const char *const names[] = {
        "threads=", "lanes=", "length=", "classes=", "items=", "steps=", "profile=", "documents="};
    static const long defaults[] = {2, 2, 64, 16, 4, 200, 0, 0};

    memcpy(s->number, defaults, sizeof defaults);
    if (argc < 6 || (strcmp(argv[1], "train") != 0 && strcmp(argv[1], "encode") != 0))
        return err_set(e, ERR_USAGE,
                       "bench_speed train|encode MODEL.onnx TOKENIZER.json FILE.csv EXCHANGE "
                       "[NAME=NUMBER...]");
    s->train = strcmp(argv[1], "train") == 0;
    s->model = argv[2];
    s->vocabulary = argv[3];
    s->csv = argv[4];
    s->exchange = argv[5];
    for (int i = 6; i < argc; i++) {
        int k = 0;

        while (k < NUMBERS && strncmp(argv[i], names[k], strlen(names[k])) != 0)
            k++;
        if (k == NUMBERS)
            return err_set(e, ERR_USAGE, "'%.60s' is no setting", argv[i]);
        s->number[k] = strtol(argv[i] + strlen(names[k]), NULL, 10);
        if (s->number[k] < 0 || s->number[k] > 1000000)
            return err_set(e, ERR_USAGE, "'%.60s': 0 to 1000000", argv[i]);
    }
    return 0;
}

static int open_tokens(struct speed *s, struct err *e)
{
    struct csv_options csv = {.label_optional = !s->train};
    double began;
    int rc;

    if ((rc = dataset_from_csv(&s->documents, s->csv, &csv, DATASET_TRAIN, e)) < 0 ||
        (rc = tokenizer_open(&s->tokenizer, s->vocabulary, e)) < 0)
        return rc;
    began = now_ms();
    rc = tokens_build(&s->tokens, s->documents, s->tokenizer, (int)s->number[LENGTH], e);
    s->tokenise_ms = now_ms() - began;
    if (rc == 0 && !s->train && s->number[DOCUMENTS] > 0 && s->number[DOCUMENTS] < s->tokens->count)
        s->tokens->count = (int)s->number[DOCUMENTS];
    return rc;
}

static int open_training(struct speed *s, struct err *e)
{
    struct loss_options options = {.margin = .1f, .miner = MINE_SEMIHARD};
    const struct sampler_info *info;
    int rc;

    rc = sampler_new(&s->sampler, dataset_label_ids(s->documents), dataset_count(s->documents),
                     dataset_labels(s->documents), (int)s->number[CLASSES], (int)s->number[ITEMS],
                     1, e);
    if (rc < 0 || (rc = loss_new(&s->loss, &options, e)) < 0)
        return rc;
    info = sampler_info(s->sampler);
    s->labels = calloc((size_t)info->batch_max, sizeof *s->labels);
    if (!s->labels)
        return err_set(e, ERR_NOMEM, "labels of a batch");
    return batch_new(&s->batch, info->batch_max,
                     (size_t)info->batch_max * (size_t)s->tokens->longest, e);
}

static int open_all(struct speed *s, struct err *e)
{
    struct engine_options options = {
        .threads = (int)s->number[THREADS], .lanes = (int)s->number[LANES], .train = s->train};
    struct surgery surgery;
    size_t rows;
    int rc;

    surgery_init(&surgery);
    if ((rc = engine_open(&s->engine, s->model, &surgery, &options, e)) < 0 ||
        (rc = open_tokens(s, e)) < 0 || (s->train && (rc = open_training(s, e)) < 0))
        return rc;
    rows = (size_t)(s->train ? 2 * sampler_info(s->sampler)->batch_max : s->tokens->count);
    s->vectors = calloc(rows + 1, (size_t)engine_info(s->engine)->dim * sizeof *s->vectors);
    if (!s->vectors)
        return err_set(e, ERR_NOMEM, "vectors");
    return s->number[PROFILE] ? profile_new(&s->profile, e) : 0;
}

static void release(struct speed *s)
{
    profile_free(s->profile);
    free(s->vectors);
    free(s->labels);
    loss_free(s->loss);
    batch_free(s->batch);
    sampler_free(s->sampler);
    tokens_free(s->tokens);
    tokenizer_free(s->tokenizer);
    dataset_free(s->documents);
    engine_free(s->engine);
}

/* ---- what the peers get ---------------------------------------------------------------------- */

static int batch_of(struct speed *s, int step, const int32_t **indices, int *count, struct err *e)
{
    int per_epoch = sampler_info(s->sampler)->batches;
    const int32_t *labels = dataset_label_ids(s->documents);
    int rc;

    rc = sampler_batch(s->sampler, (uint32_t)(step / per_epoch), step % per_epoch, indices, count,
                       e);
    for (int i = 0; rc == 0 && i < *count; i++)
        s->labels[i] = labels[(*indices)[i]];
    return rc;
}

static void write_batch(const struct speed *s, FILE *f, const int32_t *indices, int count)
{
    int32_t n = count;

    fwrite(&n, sizeof n, 1, f);
    for (int i = 0; i < count; i++)
        fwrite(&dataset_label_ids(s->documents)[indices ? indices[i] : i], sizeof n, 1, f);
    for (int i = 0; i < count; i++) {
        n = tokens_len(s->tokens, indices ? indices[i] : i);
        fwrite(&n, sizeof n, 1, f);
    }
    for (int i = 0; i < count; i++) {
        int d = indices ? indices[i] : i;

        fwrite(s->tokens->ids + s->tokens->offsets[d], sizeof *s->tokens->ids,
               (size_t)tokens_len(s->tokens, d), f);
    }
}

static int write_exchange(struct speed *s, struct err *e)
{
    FILE *f = fopen(s->exchange, "wb");
    const int32_t *indices;
    int count, rc = 0;

    if (!f)
        return err_errno(e, ERR_IO, "%s", s->exchange);
    if (!s->train)
        write_batch(s, f, NULL, s->tokens->count);
    for (int i = 0; s->train && rc == 0 && i < s->number[STEPS]; i++) {
        rc = batch_of(s, i, &indices, &count, e);
        if (rc == 0)
            write_batch(s, f, indices, count);
    }
    if (fclose(f) && rc == 0)
        rc = err_errno(e, ERR_IO, "%s", s->exchange);
    return rc;
}

static int write_vectors(const struct speed *s, struct err *e)
{
    size_t floats = (size_t)s->tokens->count * (size_t)engine_info(s->engine)->dim;
    char path[4096];
    FILE *f;

    snprintf(path, sizeof path, "%s.f32", s->exchange);
    f = fopen(path, "wb");
    if (!f || fwrite(s->vectors, sizeof *s->vectors, floats, f) != floats) {
        if (f)
            fclose(f);
        return err_errno(e, ERR_IO, "%s", path);
    }
    return fclose(f) ? err_errno(e, ERR_IO, "%s", path) : 0;
}

/* ---- work ------------------------------------------------------------------------------------ */

static int train_step(struct speed *s, double *loss, int *documents, int *tokens, struct err *e)
{
    struct engine_step step = {
        .optim = {.kind = OPTIM_ADAMW, .beta1 = .9f, .beta2 = .999f, .eps = 1e-8f},
        .lr = 5e-5f,
        .decay = .01f,
        .layer_decay = 1};
    int dim = engine_info(s->engine)->dim, count, rc;
    const struct token_batch *packed;
    const int32_t *indices;
    struct loss_stats stats;
    struct loss_rows rows;
    float *gradients;
    double norm;

    if (s->step >= s->number[STEPS])
        return err_set(e, ERR_USAGE, "only %ld steps were written: steps=N", s->number[STEPS]);
    if ((rc = batch_of(s, s->step, &indices, &count, e)) < 0)
        return rc;
    gradients = s->vectors + (size_t)count * (size_t)dim;
    rows = (struct loss_rows){.count = count, .dim = dim, .labels = s->labels};
    if ((rc = batch_fill(s->batch, s->tokens, indices, count, &packed, e)) < 0 ||
        (rc = engine_forward(s->engine, packed, s->vectors, e)) < 0 ||
        (rc = loss_compute(s->loss, engine_backend(s->engine), s->vectors, &rows, gradients, &stats,
                           e)) < 0 ||
        (rc = engine_backward(s->engine, gradients, e)) < 0 ||
        (rc = engine_step(s->engine, &step, &norm, e)) < 0)
        return rc;
    s->step++;
    *loss = stats.loss;
    *documents = count;
    *tokens = packed->offsets[count];
    return 0;
}

/* N steps or passes, and the line about them. */
static int answer(struct speed *s, int n, struct err *e)
{
    int64_t documents = 0, tokens = 0;
    int rc = 0, count, real;
    double loss = 0, ms = 0, began, cpu = cpu_ms();

    printf("{\"each\": [");
    for (int i = 0; i < n; i++) {
        began = now_ms();
        count = s->tokens->count;
        real = (int)s->tokens->offsets[count];
        rc = s->train ? train_step(s, &loss, &count, &real, e)
                      : evaluate_encode(s->engine, s->tokens, s->vectors, NULL, NULL, e);
        if (rc < 0)
            return rc;
        began = now_ms() - began;
        ms += began;
        documents += count;
        tokens += real;
        printf("%s[%.3f, %.9g]", i ? ", " : "", began, loss);
    }
    cpu = cpu_ms() - cpu;
    if (!s->train && (rc = write_vectors(s, e)) < 0)
        return rc;
    printf("], \"ms\": %.3f, \"cpu_ms\": %.3f, \"documents\": %lld, \"tokens\": %lld, \"rss_kib\": "
           "%ld, "
           "\"at_ms\": %.3f}\n",
           ms, cpu, (long long)documents, (long long)tokens, memory_kib("VmHWM:"), now_ms());
    fflush(stdout);
    return 0;
}

static int print_profile(const struct speed *s, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, 1 << 16);
    profile_text(s->profile, &b);
    rc = b.failed ? err_set(e, ERR_NOMEM, "the profile") : 0;
    if (rc == 0)
        fputs(b.data, stdout);
    buf_release(&b);
    return rc;
}

static int serve(struct speed *s, struct err *e)
{
    int rc = 0, n, answers = 0;
    char line[64];

    printf("{\"ready\": true, \"fingerprint\": \"%s\", \"documents\": %d, \"tokens\": %zu, "
           "\"tokenised\": %d, \"tokenise_ms\": %.3f, \"at_ms\": %.3f}\n",
           engine_info(s->engine)->fingerprint, s->tokens->count,
           s->tokens->offsets[s->tokens->count], dataset_count(s->documents), s->tokenise_ms,
           now_ms());
    fflush(stdout);
    while (rc == 0 && fgets(line, sizeof line, stdin)) {
        n = (int)strtol(line, NULL, 10);
        bool profiled = s->profile && answers++ > 0;

        if (profiled)
            profile_begin(s->profile, engine_backend(s->engine));
        rc = answer(s, n, e);
        if (profiled)
            profile_end(s->profile, engine_backend(s->engine), n);
    }
    return rc == 0 && answers > 1 ? print_profile(s, e) : rc;
}

int main(int argc, char **argv)
{
    struct speed s = {0};
    struct err e = ERR_INIT;
    int rc;

    if ((rc = parse(&s, argc, argv, &e)) == 0 && (rc = open_all(&s, &e)) == 0 &&
        (rc = write_exchange(&s, &e)) == 0)
        rc = serve(&s, &e);
    if (rc < 0)
        fprintf(stderr, "bench_speed: %s\n", e.text);
    release(&s);
    return err_exit_status(rc);
}
