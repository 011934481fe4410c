#include "tests/unit/run/world.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/clock/clock.h"

/* ---- the backbone --------------------------------------------------------------------------- */

static const char specials[][8] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
enum { SPECIALS = sizeof specials / sizeof specials[0] };

static void put_tokenizer(struct buf *b)
{
    int i;

    buf_str(b, "{\"version\":\"1.0\",\"added_tokens\":[");
    for (i = 0; i < SPECIALS; i++)
        buf_printf(b,
                   "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                   "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                   i ? "," : "", i, specials[i]);
    buf_str(b, "],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
               "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
               "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
               "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
               "{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\":0}},"
               "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
               "{\"SpecialToken\":{\"id\":\"[SEP]\",\"type_id\":0}}],\"pair\":[],"
               "\"special_tokens\":{"
               "\"[CLS]\":{\"id\":\"[CLS]\",\"ids\":[2],\"tokens\":[\"[CLS]\"]},"
               "\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":[3],\"tokens\":[\"[SEP]\"]}}},"
               "\"decoder\":null,\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
               "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"
               "\"vocab\":{");
    for (i = 0; i < SPECIALS; i++)
        buf_printf(b, "\"%s\":%d,", specials[i], i);
    for (i = 0; i < 26; i++)
        buf_printf(b, "\"%c\":%d,\"##%c\":%d%s", 'a' + i, SPECIALS + i, 'a' + i, SPECIALS + 26 + i,
                   i < 25 ? "," : "}}}");
}

static void make_backbone(struct world *w, const char *model)
{
    char path[256];
    struct err e = ERR_INIT;
    struct buf b;

    snprintf(path, sizeof path, "tests/golden/engine/%s.onnx", model);
    buf_init(&b, 1 << 24);
    assert_int_equal(file_mkdirs(w->backbone, &e), 0);
    assert_int_equal(file_read(path, &b, &e), 0);
    snprintf(path, sizeof path, "%s/model.onnx", w->backbone);
    assert_int_equal(file_write(path, b.data, b.len, &e), 0);
    b.len = 0;
    put_tokenizer(&b);
    snprintf(path, sizeof path, "%s/tokenizer.json", w->backbone);
    assert_int_equal(file_write(path, b.data, b.len, &e), 0);
    buf_release(&b);
}

/* ---- documents ------------------------------------------------------------------------------ */

static unsigned next(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

struct dataset *world_documents(int labels, int each, int seed)
{
    unsigned state = (unsigned)seed;
    struct dataset *d = dataset_new();
    struct err e = ERR_INIT;
    char text[32], label[32];
    int i, k;

    for (i = 0; i < labels * each; i++) {
        int n = 4 + (int)(next(&state) % 9);

        for (k = 0; k < n; k++)
            text[k] = next(&state) % 4 == 0
                          ? ' '
                          : (char)('a' + (i % labels * 5 + (int)next(&state) % 8) % 26);
        text[0] = text[n - 1] = (char)('a' + i % labels * 5 % 26);
        snprintf(label, sizeof label, "label %d", i % labels);
        if (dataset_add(d, NULL, 0, text, (size_t)n, label, strlen(label), DATASET_TRAIN, &e) < 0)
            fail_msg("%s", e.text);
    }
    assert_int_equal(dataset_seal(d, &e), 0);
    return d;
}

/* ---- runs ----------------------------------------------------------------------------------- */

static void on_event(void *arg, const struct run_event *event)
{
    struct world *w = arg;

    if (event->kind == RUN_STEP) {
        w->steps++;
        w->last_loss = event->loss;
        if (event->step == w->stop_at)
            clock_stop(w->clock);
    } else if (event->kind == RUN_CHECKPOINT) {
        w->checkpoints++;
    } else if (event->kind == RUN_RESUMED) {
        w->resumed = event->step;
    } else if (event->kind == RUN_WARNING) {
        w->warnings++;
    }
}

void world_open(struct world *w, const char *model)
{
    struct err e = ERR_INIT;

    memset(w, 0, sizeof *w);
    snprintf(w->root, sizeof w->root, "%s/tripline-run-XXXXXX",
             getenv("TMPDIR") && strlen(getenv("TMPDIR")) < 32 ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(w->root));
    snprintf(w->backbone, sizeof w->backbone, "%s/backbone", w->root);
    snprintf(w->out, sizeof w->out, "%s/out", w->root);
    snprintf(w->work, sizeof w->work, "%s/work", w->root);
    make_backbone(w, model);
    w->train = world_documents(5, 13, 1);
    w->eval = world_documents(5, 8, 2);
    job_parameters_init(&w->parameters);
    w->parameters.epochs = 2;
    w->parameters.batch_classes = 3;
    w->parameters.items_per_class = 4;
    w->parameters.learning_rate = 1e-3;
    assert_int_equal(clock_real(&w->clock, &e), 0);
}

void world_close(struct world *w)
{
    struct err e = ERR_INIT;

    dataset_free(w->train);
    dataset_free(w->eval);
    clock_free(w->clock);
    assert_int_equal(file_remove_tree(w->root, &e), 0);
}

int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    world_open(w, "bert-new");
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

struct run_spec world_spec(struct world *w)
{
    return (struct run_spec){.backbone = w->backbone,
                             .out = w->out,
                             .work = w->work,
                             .train = w->train,
                             .eval = w->eval,
                             .parameters = &w->parameters,
                             .threads = 1,
                             .keep_finished = true,
                             .clock = w->clock,
                             .on_event = on_event,
                             .arg = w};
}

void world_clear(struct world *w)
{
    struct err e = ERR_INIT;

    assert_int_equal(file_remove_tree(w->out, &e), 0);
    assert_int_equal(file_remove_tree(w->work, &e), 0);
    w->steps = w->checkpoints = w->warnings = 0;
    w->resumed = 0;
}

struct run_result world_fit(struct world *w)
{
    struct run_spec spec = world_spec(w);
    struct run_result result;
    struct err e = ERR_INIT;

    if (run_fit(&spec, &result, &e) < 0)
        fail_msg("%s", e.text);
    return result;
}

void world_fails(struct world *w, const struct run_spec *spec, int code, const char *says)
{
    struct run_result result;
    struct err e = ERR_INIT;
    int rc = run_fit(spec, &result, &e);

    if (rc != code || !strstr(e.text, says) || strchr(e.text, '\n'))
        fail_msg("wanted %s with '%s', got %s: %s", err_name(code), says, err_name(rc), e.text);
    if (code == ERR_CANCELLED) { /* a stopped clock stays stopped */
        clock_free(w->clock);
        assert_int_equal(clock_real(&w->clock, &e), 0);
        w->stop_at = 0;
    }
}

/* ---- folders -------------------------------------------------------------------------------- */

bool world_exists(const char *folder, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

void world_hash(const char *folder, const char *name, char hex[SHA256_HEX])
{
    struct err e = ERR_INIT;
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (sha256_file(path, hex, NULL, &e) < 0)
        fail_msg("%s", e.text);
}

void world_manifest(const char *folder, struct arena *a, struct run_manifest *m)
{
    struct err e = ERR_INIT;
    char path[512];
    struct buf b;

    buf_init(&b, 1 << 20);
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    if (file_read(path, &b, &e) < 0 || run_manifest_read(a, b.data, b.len, RECORD_JSON, m, &e) < 0)
        fail_msg("%s", e.text);
    buf_release(&b);
}

int world_entries(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    int n = 0;

    if (!d)
        return 0;
    while ((entry = readdir(d)))
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(d);
    return n;
}
