/* BPE and Unigram: ids are those of the `tokenizers` library, over the lines that lines.c makes;
 * files that cannot be right are refused and say why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "platform/json/json.h"
#include "tests/unit/data/ids.h"
#include "tests/unit/data/lines.h"
#include "trainer/data/tokenizer.h"

static struct err e;

static json_t *read_golden(const char *name)
{
    char path[256];
    json_t *v = NULL;

    snprintf(path, sizeof path, "tests/golden/tokenizer_%s.json", name);
    if (json_parse_file(path, NULL, &v, &e) < 0)
        fail_msg("%s", e.text);
    return v;
}

/* Sets the value at a path of names joined by '.'. */
static void set(json_t *root, const char *path, json_t *value)
{
    const char *dot;
    char name[64];

    for (; (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(name, sizeof name, "%.*s", (int)(dot - path), path);
        root = json_object_get(root, name);
        assert_non_null(root);
    }
    assert_int_equal(json_object_set(root, path, value), 0);
}

static struct tokenizer *open_case(const json_t *c)
{
    json_t *root = read_golden(json_string_value(json_find(c, "name"))), *value;
    struct tokenizer *t = NULL;
    const char *path;
    char *text;

    json_object_foreach(json_object_get(c, "patch"), path, value) set(root, path, value);
    text = json_dumps(root, 0);
    if (tokenizer_parse(&t, "golden", text, strlen(text), &e) < 0)
        fail_msg("%s", e.text);
    free(text);
    json_decref(root);
    return t;
}

static void ids_equal_the_library(void **state)
{
    json_t *cases = read_golden("subwords"), *c;
    int wrong = 0;
    size_t i;

    assert_int_equal(json_integer_value(json_find(cases, "lines")), LINES_COUNT);
    assert_true(json_array_size(json_find(cases, "cases")) > 30);
    json_array_foreach(json_find(cases, "cases"), i, c)
    {
        struct tokenizer *t = open_case(c);

        wrong += ids_differ(t, c, "subwords", i);
        tokenizer_free(t);
    }
    assert_int_equal(wrong, 0);
    json_decref(cases);
}

/* The file `name` with the value at `path` changed is refused. */
static void refused(const char *name, const char *path, const char *value, int code,
                    const char *says)
{
    json_t *root = read_golden(name), *v = json_loads(value, JSON_DECODE_ANY, NULL);
    struct tokenizer *t = NULL;
    char *text;

    assert_non_null(v);
    set(root, path, v);
    text = json_dumps(root, 0);
    assert_int_equal(tokenizer_parse(&t, "x", text, strlen(text), &e), code);
    assert_null(t);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    free(text);
    json_decref(v);
    json_decref(root);
}

static void bad_models_are_refused(void **state)
{
    refused("roberta", "model.merges", "[[\"a\",\"never there\"]]", ERR_FORMAT, "merges.0");
    refused("roberta", "model.merges", "[\"a\"]", ERR_FORMAT, "merges.0");
    refused("roberta", "model.merges", "[\"a b c\"]", ERR_FORMAT, "merges.0");
    refused("roberta", "model.merges", "[[\"a\",3]]", ERR_FORMAT, "merges.0");
    refused("roberta", "model.merges", "[[\"\",\"a\"]]", ERR_FORMAT, "merges.0");
    refused("roberta", "model.merges", "{}", ERR_FORMAT, "model");
    refused("roberta", "model.vocab", "{\"a\":-3}", ERR_FORMAT, "\"a\"");
    refused("roberta", "model.vocab", "{\"a\":1e3}", ERR_FORMAT, "\"a\"");
    refused("roberta", "model.vocab", "[]", ERR_FORMAT, "vocab");
    refused("roberta", "model.dropout", "0.1", ERR_UNSUPPORTED, "dropout");
    refused("chars", "model.merges", "[[\"a\",\"b\"]]", ERR_FORMAT, "merges.0");
    refused("unigram", "model.vocab", "[]", ERR_LIMIT, "0 entries");
    refused("unigram", "model.vocab", "[[\"a\",0],[\"b\",0],[\"c\",0],[\"d\",\"e\"]]", ERR_FORMAT,
            "vocab.3");
    refused("unigram", "model.vocab", "[[\"a\"],[\"b\",0],[\"c\",0],[\"d\",0]]", ERR_FORMAT,
            "vocab.0");
    refused("unigram", "model.unk_id", "100000", ERR_FORMAT, "unk_id");
    refused("unigram", "model.unk_id", "-1", ERR_FORMAT, "unk_id");
}

static void bad_steps_are_refused(void **state)
{
    static const char *const regexes[] = {
        "a*",    "(a|b)",   "",        "a|", "[a", "[b-a]", "a{2,1}", "a{",         "a++",
        "\\\\d", "a(?!bc)", "a(?!b)c", "^a", "a$", "a.b",   "[a[b]]", "a{9999999}", "\\\\"};
    char text[128];
    size_t i;

    for (i = 0; i < sizeof regexes / sizeof *regexes; i++) {
        snprintf(text, sizeof text,
                 "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"%s\"},\"content\":\"\"}",
                 regexes[i]);
        refused("roberta", "normalizer", text, ERR_UNSUPPORTED, "regular expression");
    }
    refused("roberta", "normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"No\"}]}",
            ERR_UNSUPPORTED, "normalizer: 0: type \"No\"");
    refused("roberta", "normalizer", "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAA\"}",
            ERR_FORMAT, "base64");
    refused("roberta", "normalizer",
            "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAAA*AA\"}", ERR_FORMAT,
            "character 5");
    refused("roberta", "normalizer",
            "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"////fwAA\"}", ERR_FORMAT,
            "array");
    refused("roberta", "pre_tokenizer",
            "{\"type\":\"Metaspace\",\"replacement\":\"ab\",\"prepend_scheme\":\"never\"}",
            ERR_FORMAT, "one character");
    refused("roberta", "pre_tokenizer",
            "{\"type\":\"Metaspace\",\"replacement\":\"a\",\"add_prefix_space\":false}", ERR_FORMAT,
            "add_prefix_space");
    refused("roberta", "pre_tokenizer",
            "{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":\"Removed\"}",
            ERR_UNSUPPORTED, "empty");
    refused("roberta", "pre_tokenizer",
            "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Odd\"}", ERR_FORMAT,
            "Odd");
    refused("roberta", "post_processor",
            "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"X\"}]}", ERR_UNSUPPORTED, "\"X\"");
}

/* A list that names itself is nothing JSON can say; one inside the other, many times, is. */
static void deep_and_many_steps_are_refused(void **state)
{
    struct buf b;
    int i;

    buf_init(&b, 1 << 20);
    for (i = 0; i < 40; i++)
        buf_str(&b, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (i = 0; i < 40; i++)
        buf_str(&b, "]}");
    refused("roberta", "normalizer", b.data, ERR_LIMIT, "");
    buf_reset(&b);
    buf_str(&b, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}");
    for (i = 0; i < 40; i++)
        buf_str(&b, ",{\"type\":\"NFC\"}");
    buf_str(&b, "]}");
    refused("roberta", "normalizer", b.data, ERR_LIMIT, "normalizer");
    buf_release(&b);
}

/* Backtracking that would take forever ends with an error. */
static void slow_expressions_end(void **state)
{
    json_t *root = read_golden("roberta"), *v;
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    struct tokenizer *t = NULL;
    char text[4000], *json;
    int32_t ids[8];
    int count;

    v = json_loads(
        "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+a+a+a+a+b\"},\"content\":\"\"}", 0, NULL);
    set(root, "normalizer", v);
    json = json_dumps(root, 0);
    assert_int_equal(tokenizer_parse(&t, "x", json, strlen(json), &e), 0);
    memset(text, 'a', sizeof text);
    assert_int_equal(tokenizer_encode(t, s, text, sizeof text, ids, 8, &count, &e), ERR_LIMIT);
    free(json);
    json_decref(v);
    json_decref(root);
    tokenizer_free(t);
    tokenizer_scratch_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_the_library), cmocka_unit_test(bad_models_are_refused),
        cmocka_unit_test(bad_steps_are_refused), cmocka_unit_test(deep_and_many_steps_are_refused),
        cmocka_unit_test(slow_expressions_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
