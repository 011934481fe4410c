/* The folders of a run: refused when they are someone else's, and clean after every failure. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "tests/unit/run/world.h"

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    world_open(w, "bert-old");
    w->parameters.epochs = 1;
    *state = w;
    return 0;
}

static void put(const char *folder, const char *name, const char *text)
{
    struct err e = ERR_INIT;
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (file_mkdirs(folder, &e) < 0 || file_write(path, text, strlen(text), &e) < 0)
        fail_msg("%s", e.text);
}

static void test_files_in_the_way(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);

    put(w->root, "out", "x");
    world_fails(w, &spec, ERR_EXISTS, "is a file");
    assert_int_equal(unlink(w->out), 0);
    put(w->root, "work", "x");
    world_fails(w, &spec, ERR_EXISTS, "is a file");
    assert_false(world_exists(w->out, ""));
}

/* The same run again makes the same again; another one needs to be told that it may. */
static void test_finished_models(void **state)
{
    struct world *w = *state;
    char first[SHA256_HEX], again[SHA256_HEX];
    struct run_spec spec;
    struct run_result r;
    struct err e = ERR_INIT;

    w->parameters.output_dim = 5;
    world_fit(w);
    world_hash(w->out, "onnx/model.onnx", first);
    assert_int_equal(file_remove_tree(w->work, &e), 0);
    world_fit(w);
    world_hash(w->out, "onnx/model.onnx", again);
    assert_string_equal(first, again);

    w->parameters.output_dim = 0;
    spec = world_spec(w);
    world_fails(w, &spec, ERR_EXISTS, "another run");
    world_hash(w->out, "onnx/model.onnx", again);
    assert_string_equal(first, again);
    put(w->out, "notes.txt", "mine");
    spec.keep_finished = false;
    assert_int_equal(run_fit(&spec, &r, &e), 0);
    assert_false(world_exists(w->out, "2_Dense")); /* nothing of the older one is left */
    assert_true(world_exists(w->out, "notes.txt"));
}

static void test_foreign_files(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);

    put(w->out, "thesis.tex", "mine");
    world_fails(w, &spec, ERR_EXISTS, "thesis.tex");
    assert_int_equal(world_entries(w->out), 1);
}

/* What a killed export leaves is ours: it has no manifest, and goes. */
static void test_killed_export(void **state)
{
    struct world *w = *state;
    char folder[200];

    snprintf(folder, sizeof folder, "%s/onnx", w->out);
    put(folder, "model.onnx.a1B2c3", "half");
    put(w->out, "config.json", "half");
    put(w->out, "tokenizer.json.Zz09xx", "half");
    snprintf(folder, sizeof folder, "%s/2_Dense", w->out);
    put(folder, "model.safetensors", "old");
    world_fit(w);
    assert_false(world_exists(w->out, "onnx/model.onnx.a1B2c3"));
    assert_false(world_exists(w->out, "tokenizer.json.Zz09xx"));
    assert_false(world_exists(w->out, "2_Dense"));
}

static void test_work_inside_out(void **state)
{
    struct world *w = *state;
    struct run_spec spec;

    snprintf(w->work, sizeof w->work, "%s/out/checkpoints", w->root);
    w->parameters.epochs = 3;
    w->stop_at = 5;
    spec = world_spec(w);
    world_fails(w, &spec, ERR_CANCELLED, "stopped");
    world_fit(w);
    assert_int_equal(w->resumed, 5);
}

static void test_another_process(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    struct err e = ERR_INIT;
    int fd;

    assert_int_equal(file_mkdirs(w->work, &e), 0);
    fd = open(w->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    world_fails(w, &spec, ERR_EXISTS, "another process");
    close(fd);
    world_fit(w);
}

/* A file may not grow beyond `bytes`, as on a full disk (EFBIG instead of ENOSPC). */
static void limit(rlim_t bytes)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static void test_full_disk(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);

    signal(SIGXFSZ, SIG_IGN);
    limit(20000); /* a checkpoint fails */
    world_fails(w, &spec, ERR_IO, "");
    assert_int_equal(world_entries(w->root), 1);
    limit(RLIM_INFINITY);
    world_fit(w);
    limit(20000); /* resumed at its end: only the export is left to fail */
    world_fails(w, &spec, ERR_IO, "model.onnx");
    limit(RLIM_INFINITY);
    assert_int_equal(world_entries(w->out), 0);
    assert_int_equal(world_entries(w->work), 1);
    world_fit(w);
    assert_true(world_exists(w->out, "manifest.json"));
}

static void test_bad_backbones(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    char path[512], tokens[512];

    snprintf(path, sizeof path, "%s/model.onnx", w->backbone);
    snprintf(tokens, sizeof tokens, "%s/tokenizer.json", w->backbone);
    assert_int_equal(truncate(path, 30000), 0);
    world_fails(w, &spec, ERR_FORMAT, "damaged");
    put(w->backbone, "model.onnx", "this is no model");
    world_fails(w, &spec, ERR_FORMAT, "not an ONNX file");
    put(w->backbone, "model.onnx", "");
    world_fails(w, &spec, ERR_FORMAT, "model.onnx");
    assert_int_equal(unlink(tokens), 0);
    world_fails(w, &spec, ERR_NOT_FOUND, "tokenizer.json is missing");
    assert_int_equal(unlink(path), 0);
    world_fails(w, &spec, ERR_NOT_FOUND, "is it a backbone?");
    spec.backbone = "no-such-folder";
    world_fails(w, &spec, ERR_NOT_FOUND, "no-such-folder");
    assert_int_equal(world_entries(w->root), 1);
}

static void test_bad_tokenizers(void **state)
{
    struct world *w = *state;
    struct run_spec spec = world_spec(w);
    struct err e = ERR_INIT;
    char path[512];
    struct buf b;

    put(w->backbone, "tokenizer.json", "{\"model\": ");
    world_fails(w, &spec, ERR_FORMAT, "tokenizer.json");
    put(w->backbone, "tokenizer.json", "{}");
    world_fails(w, &spec, ERR_FORMAT, "tokenizer.json");
    buf_init(&b, 1 << 20);
    assert_int_equal(file_read("tests/golden/tokenizer_tiny.json", &b, &e), 0);
    snprintf(path, sizeof path, "%s/tokenizer.json", w->backbone);
    assert_int_equal(file_write(path, b.data, b.len, &e), 0);
    buf_release(&b);
    world_fails(w, &spec, ERR_FORMAT, "do not belong together");
    assert_int_equal(world_entries(w->root), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_in_the_way, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_finished_models, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_foreign_files, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_killed_export, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_work_inside_out, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_another_process, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_bad_backbones, setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_bad_tokenizers, setup, world_teardown),
    };

    return cmocka_run_group_tests_name("run_out", tests, NULL, NULL);
}
