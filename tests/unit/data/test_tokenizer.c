/* Ids are those of the `tokenizers` library, over the lines that lines.c makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "platform/base/file.h"
#include "platform/base/sha256.h"
#include "platform/json/json.h"
#include "tests/unit/data/ids.h"
#include "tests/unit/data/lines.h"
#include "trainer/data/tokenizer.h"

#define TINY "tests/golden/tokenizer_tiny.json"

static struct err e;

static json_t *read_json(const char *path)
{
    json_t *v = NULL;

    if (json_parse_file(path, NULL, &v, &e) < 0)
        fail_msg("%s", e.text);
    return v;
}

static struct tokenizer *parse(const json_t *root)
{
    struct tokenizer *t = NULL;
    char *text = json_dumps(root, 0);

    if (tokenizer_parse(&t, "tiny", text, strlen(text), &e) < 0)
        fail_msg("%s", e.text);
    free(text);
    return t;
}

/* The file of a case that is not in this repository, if one of these folders has the very same. */
static bool find_file(const char *name, const char *sha256, char path[1024])
{
    const char *cache = getenv("TRIPLINE_CACHE"), *home = getenv("HOME"),
               *shared = getenv("TRIPLINE_SHARED");
    char folder[512], hex[SHA256_HEX];
    size_t i;

    snprintf(folder, sizeof folder, "%s%s",
             cache  ? cache
             : home ? home
                    : "",
             cache ? "" : "/.cache/tripline");
    for (i = 0; i < 3; i++) {
        static const char *const rooms[] = {"backbones", "tokenizers", "models"};
        const char *root = i < 2 ? folder : shared ? shared : "../shared";

        snprintf(path, 1024, "%s/%s/%s/tokenizer.json", root, rooms[i], name);
        if (sha256_file(path, hex, NULL, &e) == 0 && strcmp(hex, sha256) == 0)
            return true;
    }
    return false;
}

/* The tokenizer of a case: the tiny one with its changes, or a file's; NULL: not here. */
static struct tokenizer *open_case(const json_t *c, const json_t *tiny)
{
    const char *name = json_string_value(json_find(c, "name"));
    const char *want = json_string_value(json_find(c, "file_sha256"));
    struct tokenizer *t = NULL;
    json_t *changed;
    char path[1024];

    if (!want) {
        changed = json_deep_copy(tiny);
        json_object_update(changed, json_find(c, "patch"));
        t = parse(changed);
        json_decref(changed);
        return t;
    }
    if (!find_file(name, want, path)) {
        print_message("the tokenizer of %s is not here, or another one: skipped\n", name);
        return NULL;
    }
    if (tokenizer_open(&t, path, &e) < 0)
        fail_msg("%s", e.text);
    return t;
}

static void ids_equal_the_library(void **state)
{
    json_t *cases = read_json("tests/golden/tokenizer_cases.json"), *tiny = read_json(TINY), *c;
    int wrong = 0;
    size_t i;

    assert_int_equal(json_integer_value(json_find(cases, "lines")), LINES_COUNT);
    json_array_foreach(json_find(cases, "cases"), i, c)
    {
        struct tokenizer *t = open_case(c, tiny);

        if (!t)
            continue;
        wrong += ids_differ(t, c, "cases", i);
        tokenizer_free(t);
    }
    assert_int_equal(wrong, 0);
    json_decref(cases);
    json_decref(tiny);
}

static void parse_error(const json_t *tiny, const char *patch, int code, const char *says)
{
    json_t *changed = json_deep_copy(tiny), *p = json_loads(patch, 0, NULL);
    struct tokenizer *t = NULL;
    char *text;

    assert_non_null(p);
    json_object_update(changed, p);
    text = json_dumps(changed, 0);
    assert_int_equal(tokenizer_parse(&t, "tiny", text, strlen(text), &e), code);
    assert_null(t);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    free(text);
    json_decref(p);
    json_decref(changed);
}

static void unknown_parts_are_named(void **state)
{
    json_t *tiny = read_json(TINY);

    parse_error(tiny, "{\"model\":{\"type\":\"Other\"}}", ERR_UNSUPPORTED, "\"Other\"");
    parse_error(tiny, "{\"normalizer\":{\"type\":\"Nmt\"}}", ERR_UNSUPPORTED, "Nmt");
    parse_error(tiny, "{\"pre_tokenizer\":{\"type\":\"Digits\"}}", ERR_UNSUPPORTED, "Digits");
    parse_error(tiny, "{\"post_processor\":{\"type\":\"X\"}}", ERR_UNSUPPORTED, "\"X\"");
    parse_error(tiny, "{\"normalizer\":{}}", ERR_FORMAT, "normalizer");
    parse_error(tiny, "{\"model\":3}", ERR_FORMAT, "model");
    parse_error(tiny, "{\"model\":{\"vocab\":{\"a\":-1}}}", ERR_FORMAT, "\"a\"");
    parse_error(tiny, "{\"model\":{\"vocab\":{\"a\":99999999999}}}", ERR_FORMAT, "\"a\"");
    parse_error(tiny, "{\"added_tokens\":[{\"id\":7,\"content\":\"[CLS]\"}]}", ERR_FORMAT, "[CLS]");
    parse_error(tiny, "{\"added_tokens\":[{\"id\":1}]}", ERR_FORMAT, "added_tokens.0");
    parse_error(tiny, "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}}",
                ERR_FORMAT, "no sequence");
    json_decref(tiny);
}

static void broken_files_are_refused(void **state)
{
    struct tokenizer *t = NULL;

    assert_int_equal(tokenizer_open(&t, "tests/golden/absent.json", &e), ERR_NOT_FOUND);
    assert_int_equal(tokenizer_parse(&t, "x", "{\"model\"", 8, &e), ERR_FORMAT);
    assert_int_equal(tokenizer_parse(&t, "x", "[]", 2, &e), ERR_FORMAT);
    assert_int_equal(tokenizer_parse(&t, "x", "", 0, &e), ERR_FORMAT);
    assert_null(t);
}

static void lengths_have_bounds(void **state)
{
    json_t *tiny = read_json(TINY);
    struct tokenizer *t = parse(tiny);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    int32_t ids[8];
    int count;

    assert_int_equal(tokenizer_encode(t, s, "card", 4, ids, 1, &count, &e), ERR_USAGE);
    assert_int_equal(tokenizer_encode(t, s, "", 0, ids, 8, &count, &e), 0);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 3);
    assert_int_equal(tokenizer_encode(t, s, "card", TOKENIZER_TEXT_MAX + 1, ids, 8, &count, &e),
                     ERR_LIMIT);
    assert_int_equal(tokenizer_info(t)->specials, 2);
    assert_string_equal(tokenizer_info(t)->model, "WordPiece");
    tokenizer_scratch_free(s);
    tokenizer_free(t);
    json_decref(tiny);
}

/* Marks in the worst order, many of them: linear time. */
static void many_marks_stay_linear(void **state)
{
    json_t *tiny = read_json(TINY);
    struct tokenizer *t = parse(tiny);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    size_t n = 400000, i;
    char *text = malloc(n * 3);
    int32_t ids[8];
    int count;

    for (i = 0; i < n; i++)
        memcpy(text + i * 3, i % 2 ? "\u302e" : "\u302f", 3);
    assert_int_equal(tokenizer_encode(t, s, text, n * 3, ids, 8, &count, &e), 0);
    assert_int_equal(count, 3);
    free(text);
    tokenizer_scratch_free(s);
    tokenizer_free(t);
    json_decref(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_the_library),    cmocka_unit_test(unknown_parts_are_named),
        cmocka_unit_test(broken_files_are_refused), cmocka_unit_test(lengths_have_bounds),
        cmocka_unit_test(many_marks_stay_linear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
