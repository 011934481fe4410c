#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <regex.h>

#include "schemas/keys.h"

static struct keys k;
static struct err e;
static char out[KEY_MAX], owner[KEY_NAME_MAX], second[KEY_NAME_MAX];
static char longest[KEY_NAME_MAX]; /* 63 characters */

static int setup(void **state)
{
    memset(longest, 'a', 63);
    return keys_init(&k, NULL, &e);
}

static void topics(void **state)
{
    assert_int_equal(topic_docs(&k, "acme", "news", out, &e), 0);
    assert_string_equal(out, "tripline.docs.acme.news");
    assert_true(topic_docs_parse(&k, out, owner, second));
    assert_string_equal(owner, "acme");
    assert_string_equal(second, "news");
    assert_int_equal(topic_of(&k, TOPIC_JOBS, "acme", out, &e), 0);
    assert_string_equal(out, "tripline.jobs.acme");
    assert_true(topic_parse(&k, TOPIC_JOBS, out, owner));
    assert_false(topic_parse(&k, TOPIC_MODELS, out, owner));
    topic_internal(&k, TOPIC_DONE, out);
    assert_string_equal(out, "tripline.done");
    topic_docs_prefix(&k, "acme", out, &e);
    assert_string_equal(out, "tripline.docs.acme.");
    assert_int_equal(topic_docs(&k, longest, longest, out, &e), 0);
    assert_true(topic_docs_parse(&k, out, owner, second));
}

static void strange_topics(void **state)
{
    static const char *const bad[] = {
        "tripline.docs.acme",       "tripline.docs.acme.news.", "tripline.docs.acme.news.x",
        "tripline.docs.Acme.news",  "tripline.docs..news",      "xtripline.docs.acme.news",
        "tripline.docs.-acme.news", "tripline-docs.acme.news",  ""};
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(topic_docs_parse(&k, bad[i], owner, second));
    assert_int_equal(topic_docs(&k, "Acme", "x", out, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "owner 'Acme'"));
    assert_int_equal(topic_docs(&k, "acme", "", out, &e), ERR_USAGE);
    assert_int_equal(topic_docs(&k, "acme", NULL, out, &e), ERR_USAGE);
    assert_string_equal(e.text, "dataset: missing");
    assert_int_equal(keys_init(&(struct keys){{0}}, "a.b", &e), ERR_USAGE);
}

static bool matches(const char *pattern, const char *topic)
{
    regex_t re;
    bool yes;

    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    yes = regexec(&re, topic, 0, NULL, 0) == 0;
    regfree(&re);
    return yes;
}

static void patterns(void **state)
{
    topic_docs_pattern(&k, out);
    assert_true(matches(out, "tripline.docs.acme.news"));
    assert_false(matches(out, "triplinexdocs.acme.news"));
    assert_false(matches(out, "tripline.docs.acme"));
    assert_false(matches(out, "my.tripline.docs.acme.news"));
    topic_pattern(&k, TOPIC_JOBS, out);
    assert_true(matches(out, "tripline.jobs.acme-two"));
    assert_false(matches(out, "tripline.jobs.acme.x"));
}

static void segments(void **state)
{
    struct segment_name n = {"acme", "news", 2, 7, 1234}, back;

    assert_int_equal(key_segment(&n, out, &e), 0);
    assert_string_equal(out, "owners/acme/datasets/news/segments/2/7/00000000000000001234.seg");
    assert_true(key_segment_parse(out, &back));
    assert_memory_equal(&n.incarnation, &back.incarnation, sizeof n.incarnation);
    assert_int_equal(back.partition, 7);
    assert_int_equal(back.first, 1234);
    assert_string_equal(back.dataset, "news");
    assert_int_equal(key_base(&n, out, &e), 0);
    assert_string_equal(out, "owners/acme/datasets/news/segments/2/7/base.json");
    assert_true(key_base_parse(out, &back));
    assert_false(key_segment_parse(out, &back));
    assert_true(key_dataset_parse(out, owner, second));
    key_chain_prefix(&n, out, &e);
    assert_string_equal(out, "owners/acme/datasets/news/segments/2/7/");
    n.first = INT64_MAX;
    n.incarnation = UINT64_MAX;
    n.partition = INT32_MAX;
    assert_int_equal(key_segment(&n, out, &e), 0);
    assert_true(key_segment_parse(out, &back));
    assert_true(back.first == INT64_MAX && back.incarnation == UINT64_MAX);
    n.first = -1;
    assert_int_equal(key_segment(&n, out, &e), ERR_USAGE);
}

static void strange_segments(void **state)
{
#define S "owners/acme/datasets/news/segments/"
    static const char *const bad[] = {S "2/7/00000000000000001234.seg-1f0e",
                                      S "2/7/1234.seg",
                                      S "2/7/000000000000000012340.seg",
                                      S "02/7/00000000000000001234.seg",
                                      S "2/07/00000000000000001234.seg",
                                      S "2/7/99999999999999999999.seg",
                                      S "2/2147483648/00000000000000001234.seg",
                                      S "18446744073709551616/7/00000000000000001234.seg",
                                      S "2/-7/00000000000000001234.seg",
                                      S "2/7/ 0000000000000001234.seg",
                                      "/" S "2/7/00000000000000001234.seg",
                                      S "/7/00000000000000001234.seg"};
    struct segment_name n;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(key_segment_parse(bad[i], &n));
}

static void runs(void **state)
{
    char file[KEY_FILE_MAX];
    enum run_file which;
    uint64_t n;

    assert_int_equal(key_run("acme", "r1", RUN_END, out, &e), 0);
    assert_string_equal(out, "owners/acme/runs/r1/end.json");
    assert_true(key_run_parse(out, owner, second, &which));
    assert_int_equal(which, RUN_END);
    assert_false(key_run_parse("owners/acme/runs/r1/end.json~", owner, second, &which));
    assert_int_equal(key_attempt("acme", "r1", 12, out, &e), 0);
    assert_string_equal(out, "owners/acme/runs/r1/attempts/12.json");
    assert_true(key_attempt_parse(out, owner, second, &n));
    assert_int_equal(n, 12);
    assert_false(key_attempt_parse("owners/acme/runs/r1/attempts/012.json", owner, second, &n));
    assert_false(key_attempt_parse("owners/acme/runs/r1/attempts/0.json", owner, second, &n));
    assert_false(key_attempt_parse("owners/acme/runs/r1/attempts/1/a.json", owner, second, &n));
    assert_int_equal(key_attempt("acme", "r1", 0, out, &e), ERR_USAGE);
    assert_int_equal(key_attempt_file("acme", "r1", 3, "model/onnx/model.onnx", out, &e), 0);
    assert_string_equal(out, "owners/acme/runs/r1/attempts/3/model/onnx/model.onnx");
    assert_true(key_attempt_file_parse(out, owner, second, &n, file));
    assert_string_equal(file, "model/onnx/model.onnx");
    assert_int_equal(key_attempt_file("acme", "r1", 3, "../end.json", out, &e), ERR_USAGE);
    assert_int_equal(key_attempt_file("acme", "r1", 3, "a//b", out, &e), ERR_USAGE);
    assert_int_equal(key_attempt_file("acme", "r1", 3, "/a", out, &e), ERR_USAGE);
    assert_int_equal(key_attempt_file("acme", "r1", 3, "a/", out, &e), ERR_USAGE);
    attempt_series_file(ATTEMPT_CHECKPOINT, 450, file);
    assert_string_equal(file, "checkpoints/00000000000000000450.ckpt");
    assert_true(attempt_series_parse(ATTEMPT_CHECKPOINT, file, &n));
    assert_int_equal(n, 450);
    assert_false(attempt_series_parse(ATTEMPT_LOG, file, &n));
    assert_int_equal(key_open("acme", "r1", out, &e), 0);
    assert_string_equal(out, "open/acme/r1");
    assert_true(key_open_parse(out, owner, second));
    assert_false(key_open_parse("open/acme/r1/x", owner, second));
    assert_false(key_open_parse("open/acme/", owner, second));
}

static void run_ids(void **state)
{
    assert_int_equal(key_run_id("acme", "r1", out, &e), 0);
    assert_true(key_run_id_parse(out, strlen(out), owner, second));
    assert_string_equal(second, "r1");
    assert_false(key_run_id_parse("acme/r1\0", 8, owner, second));
    assert_false(key_run_id_parse("acme", 4, owner, second));
    assert_int_equal(key_run_id(longest, longest, out, &e), 0);
    assert_true(key_run_id_parse(out, strlen(out), owner, second));
}

static void models(void **state)
{
    uint64_t n;

    assert_int_equal(key_model("acme", "search", 3, out, &e), 0);
    assert_string_equal(out, "owners/acme/models/search/3.json");
    assert_true(key_model_parse(out, owner, second, &n));
    assert_int_equal(n, 3);
    assert_int_equal(key_backbone_file(NULL, "minilm", "onnx/model.onnx", out, &e), 0);
    assert_string_equal(out, "backbones/minilm/onnx/model.onnx");
    assert_int_equal(key_backbone_prefix("acme", "minilm", out, &e), 0);
    assert_string_equal(out, "owners/acme/backbones/minilm/");
}

static void uris(void **state)
{
    static const char *const bad[] = {"s3://other/owners/acme/x",
                                      "owners/acme-two/x",
                                      "owners/acme",
                                      "owners/acme/",
                                      "owners/acme/../acme-two/x",
                                      "owners/acme/./x",
                                      "owners/acme//x",
                                      "/owners/acme/x",
                                      "https://h/owners/acme/x",
                                      "s3://b",
                                      "s3:///owners/acme/x",
                                      "owners/acme/x?versionId=1",
                                      "owners/acme/a\nb"};
    const char *key;
    size_t i;

    assert_true(key_of_uri("s3://b/owners/acme/uploads/a b.jpg", "b", "acme", &key));
    assert_string_equal(key, "owners/acme/uploads/a b.jpg");
    assert_true(key_of_uri("owners/acme/x", "b", "acme", &key));
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(key_of_uri(bad[i], "b", "acme", &key));
}

static void boards(void **state)
{
    assert_int_equal(key_board(&k, BOARD_STATUS, "acme", "r1", out, &e), 0);
    assert_string_equal(out, "tripline:{acme}:run:r1");
    assert_int_equal(key_board(&k, BOARD_RUNS, "acme", NULL, out, &e), 0);
    assert_string_equal(out, "tripline:{acme}:runs");
    assert_int_equal(key_board(&k, BOARD_STATUS, "acme", NULL, out, &e), ERR_USAGE);
    assert_int_equal(key_board_prefix(&k, "acme", out, &e), 0);
    assert_string_equal(out, "tripline:{acme}:");
    key_board_group(&k, out);
    assert_string_equal(out, "tripline:{");
}

/* Rights are given on prefixes: none may also cover a longer name. */
static void prefixes_end(void **state)
{
    struct segment_name n = {"acme", "news", 0, 0, 0};
    char all[12][KEY_MAX];
    size_t i, count = 0;

    topic_docs_prefix(&k, "acme", all[count++], &e);
    key_datasets_prefix("acme", all[count++], &e);
    key_segments_prefix("acme", "news", all[count++], &e);
    key_chain_prefix(&n, all[count++], &e);
    key_owner_prefix("acme", all[count++], &e);
    key_runs_prefix("acme", all[count++], &e);
    key_run_prefix("acme", "r", all[count++], &e);
    key_attempts_prefix("acme", "r", all[count++], &e);
    key_attempt_prefix("acme", "r", 1, all[count++], &e);
    key_open_prefix("acme", all[count++], &e);
    key_models_prefix("acme", all[count++], &e);
    key_board_prefix(&k, "acme", all[count++], &e);
    for (i = 0; i < count; i++)
        assert_non_null(strchr("./:", all[i][strlen(all[i]) - 1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics),   cmocka_unit_test(strange_topics),   cmocka_unit_test(patterns),
        cmocka_unit_test(segments), cmocka_unit_test(strange_segments), cmocka_unit_test(runs),
        cmocka_unit_test(run_ids),  cmocka_unit_test(models),           cmocka_unit_test(uris),
        cmocka_unit_test(boards),   cmocka_unit_test(prefixes_end),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
