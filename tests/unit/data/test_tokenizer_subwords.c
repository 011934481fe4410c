/* BPE and Unigram: ids are those of the `tokenizers` library, over the lines that lines.c makes;
 * files that cannot be right are refused and say why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "platform/base/sha256.h"
#include "platform/json/json.h"
#include "tests/unit/data/lines.h"
#include "trainer/data/tokenizer.h"

#define IDS_MAX      100000
#define LONG_LETTERS 1000000

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

struct digest {
    struct sha256 *hash;
    struct tokenizer_scratch *scratch;
    int32_t *ids;
    long long total;
};

static void digest_init(struct digest *d)
{
    d->hash = sha256_new();
    d->scratch = tokenizer_scratch_new();
    d->ids = malloc((size_t)LONG_LETTERS * 4 * sizeof *d->ids);
    d->total = 0;
    assert_true(d->hash && d->scratch && d->ids);
}

static void digest_add(struct digest *d, const struct tokenizer *t, const char *text, size_t len,
                       int max)
{
    int count;

    if (tokenizer_encode(t, d->scratch, text ? text : "", len, d->ids, max, &count, &e) < 0)
        fail_msg("%s", e.text);
    assert_in_range(count, 0, max);
    sha256_add(d->hash, &count, 4);
    sha256_add(d->hash, d->ids, (size_t)count * 4);
    d->total += count;
}

/* 1 when the hash is another one. */
static int digest_end(struct digest *d, const json_t *c, const char *hash, const char *ids)
{
    char hex[SHA256_HEX], *patch;
    unsigned char raw[SHA256_SIZE];
    int wrong;

    sha256_end(d->hash, raw);
    sha256_hex(raw, hex);
    wrong = strcmp(hex, json_string_value(json_find(c, hash))) != 0;
    if (wrong) {
        patch = json_dumps(json_find(c, "patch"), 0);
        print_message("%s %s: %lld ids, expected %lld\n", json_string_value(json_find(c, "name")),
                      patch, d->total, (long long)json_integer_value(json_find(c, ids)));
        free(patch);
    }
    sha256_free(d->hash);
    tokenizer_scratch_free(d->scratch);
    free(d->ids);
    return wrong;
}

static int lines_differ(const struct tokenizer *t, const json_t *c)
{
    int max = (int)json_integer_value(json_find(c, "max"));
    unsigned i, step = (unsigned)json_integer_value(json_find(c, "step"));
    struct digest d;
    struct buf line;

    digest_init(&d);
    buf_init(&line, 1 << 20);
    for (i = 0; i < LINES_COUNT; i += step) {
        lines_make(&line, i);
        digest_add(&d, t, line.data, line.len, max);
    }
    buf_release(&line);
    return digest_end(&d, c, "sha256", "ids");
}

/* One word of a million letters: not in quadratic time. */
static int long_differs(const struct tokenizer *t, const json_t *c)
{
    char *text = malloc(LONG_LETTERS);
    uint64_t x = 1;
    struct digest d;
    size_t i;

    assert_non_null(text);
    for (i = 0; i < LONG_LETTERS; i++) {
        x = (x * 1103515245 + 12345) % (UINT64_C(1) << 31);
        text[i] = (char)('a' + (x >> 16) % 26);
    }
    digest_init(&d);
    digest_add(&d, t, text, LONG_LETTERS, LONG_LETTERS * 4);
    free(text);
    return digest_end(&d, c, "long_sha256", "long_ids");
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

        wrong += lines_differ(t, c);
        if (json_find(c, "long_sha256"))
            wrong += long_differs(t, c);
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
