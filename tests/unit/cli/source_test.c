/* Files into documents: ids, splits, bad lines. */
#include "cli/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/base/sha256.h"
#include "schemas/document.h"

static char folder[] = "/tmp/tripline-source-XXXXXX";
static char path[128];

static int set_up(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    struct err e = ERR_INIT;

    return file_remove_tree(folder, &e);
}

static struct source *open_text(const char *name, const char *text, int split)
{
    struct source_options o = {.path = path, .owner = "acme", .split = split};
    struct err e = ERR_INIT;
    struct source *s = NULL;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    if (source_open(&s, &o, &e) < 0)
        fail_msg("%s", e.text);
    return s;
}

static struct source_item take(struct source *s)
{
    struct source_item item;
    struct err e = ERR_INIT;

    if (source_next(s, &item, &e) != 1)
        fail_msg("no document: %s", e.text);
    return item;
}

/* The document in an item, as JSON text. */
static void assert_value(const struct source_item *item, const char *expected)
{
    assert_int_equal(item->len, strlen(expected));
    assert_memory_equal(item->value, expected, item->len);
}

static void assert_end(struct source *s)
{
    struct source_item item;
    struct err e = ERR_INIT;

    assert_int_equal(source_next(s, &item, &e), 0);
    source_free(s);
}

static void pairs_are_documents_with_parts(void **state)
{
    struct source *s = open_text("s.csv", "text,text,score\na,b,0.5\n", -1);
    struct source_item item = take(s);
    char hex[SHA256_HEX], expected[300];

    sha256_of("a\0b", 3, hex);
    hex[32] = '\0';
    assert_string_equal(item.id, hex);
    snprintf(expected, sizeof expected,
             "{\"id\":\"%s\",\"parts\":[{\"modality\":\"text\",\"text\":\"a\"},"
             "{\"modality\":\"text\",\"text\":\"b\"}],\"score\":0.5,\"split\":\"train\"}",
             hex);
    assert_value(&item, expected);
    assert_end(s);
    s = open_text("p.csv", "anchor,positive\na,b\n", 1);
    item = take(s);
    assert_string_equal(item.id, hex);
    assert_null(memmem(item.value, item.len, "score", 5));
    assert_non_null(memmem(item.value, item.len, "eval", 4));
    assert_end(s);
}

static void csv_rows_are_documents(void **state)
{
    struct source *s = open_text("a.csv", "hello,greeting\r\n\"a, \"\"b\"\"\",x\r\n", -1);
    struct source_item item;
    char hex[SHA256_HEX];
    char expected[200];

    sha256_of("hello", 5, hex);
    hex[32] = '\0';
    item = take(s);
    assert_string_equal(item.id, hex);
    assert_int_equal(item.line, 1);
    snprintf(expected, sizeof expected,
             "{\"id\":\"%s\",\"label\":\"greeting\",\"split\":\"train\",\"text\":\"hello\"}", hex);
    assert_value(&item, expected);
    item = take(s);
    assert_int_equal(item.line, 2);
    assert_non_null(strstr(item.value, "\"text\":\"a, \\\"b\\\"\""));
    assert_end(s);
}

static void split_is_set(void **state)
{
    struct source *s = open_text("a.csv", "hello,greeting\n", SPLIT_EVAL);
    struct source_item item = take(s);

    assert_non_null(strstr(item.value, "\"split\":\"eval\""));
    assert_end(s);
    s = open_text("a.jsonl", "{\"id\":\"1\",\"label\":\"a\",\"text\":\"t\",\"more\":[1,2]}\n",
                  SPLIT_EVAL);
    item = take(s);
    assert_non_null(strstr(item.value, "\"split\":\"eval\""));
    assert_non_null(strstr(item.value, "\"more\":[1,2]")); /* what we don't know is kept */
    assert_end(s);
}

static void lines_go_as_they_are(void **state)
{
    static const char line[] = "{\"label\": 7, \"text\": \"hello\", \"id\": \"d-1\"}";
    char text[300], hex[SHA256_HEX];
    struct source_item item;
    struct source *s;

    snprintf(text, sizeof text, "\n%s\r\n   \n{\"label\":\"a\",\"text\":\"hello\"}", line);
    s = open_text("a.jsonl", text, -1);
    item = take(s);
    assert_string_equal(item.id, "d-1");
    assert_int_equal(item.line, 2);
    assert_value(&item, line);
    item = take(s); /* the same id as a row of CSV with that text */
    sha256_of("hello", 5, hex);
    hex[32] = '\0';
    assert_string_equal(item.id, hex);
    assert_int_equal(item.line, 4);
    assert_end(s);
}

static void a_mark_before_the_first_line_is_none_of_it(void **state)
{
    static const char line[] = "{\"id\":\"a\",\"label\":1,\"text\":\"x\"}";
    char text[100];
    struct source_item item;
    struct source *s;
    struct err e = ERR_INIT;

    snprintf(text, sizeof text, "\xef\xbb\xbf%s\n\xef\xbb\xbf%s\n", line, line);
    s = open_text("a.jsonl", text, -1);
    item = take(s);
    assert_value(&item, line);
    assert_int_equal(source_next(s, &item, &e), ERR_FORMAT);
    assert_end(s);
    s = open_text("a.jsonl", "\xef\xbb\xbf", -1);
    assert_end(s);
}

/* The label is no part of what a document is. */
static void ids_are_of_the_content(void **state)
{
    static const char text[] = "{\"label\":\"a\",\"points\":[[1,2,3]]}\n"
                               "{\"points\":[[1,2,3]],\"label\":\"b\",\"split\":\"eval\"}\n"
                               "{\"label\":\"a\",\"points\":[[1,2,4]]}\n";
    struct source *s = open_text("a.jsonl", text, -1);
    char first[64];

    snprintf(first, sizeof first, "%s", take(s).id);
    assert_int_equal(strlen(first), 32);
    assert_string_equal(take(s).id, first);
    assert_string_not_equal(take(s).id, first);
    assert_end(s);
}

static void bad_lines_are_named(void **state)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"{\"label\":\"a\"}", "text, image"},
        {"{\"label\":[],\"text\":\"x\"}", "label: expected a string or an integer"},
        {"not json", "offset"},
        {"{\"label\":\"a\",\"text\":\"\\ud800\"}", "a.jsonl:2"},
        {"{\"id\":\"\",\"label\":\"a\",\"text\":\"x\"}", "id"},
        {"{\"label\":\"a\",\"uri\":\"owners/other/x.png\"}", "uri"},
        {"[1]", "object"},
    };
    struct source_item item;
    char text[300];
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = ERR_INIT;
        struct source *s;

        snprintf(text, sizeof text, "{\"label\":\"a\",\"text\":\"x\"}\n%s\n", cases[i].line);
        s = open_text("a.jsonl", text, -1);
        take(s);
        assert_true(source_next(s, &item, &e) < 0);
        assert_non_null(strstr(e.text, "a.jsonl:2: "));
        if (!strstr(e.text, cases[i].why) && strcmp(cases[i].why, "text, image") != 0 &&
            strcmp(cases[i].why, "object") != 0)
            fail_msg("%s: %s", cases[i].line, e.text);
        source_free(s);
    }
}

static void a_file_is_read_twice(void **state)
{
    struct source *s = open_text("a.jsonl", "{\"label\":\"a\",\"text\":\"x\"}\n", -1);
    struct source_item item;
    struct err e = ERR_INIT;
    char first[64];

    assert_true(source_rewinds(s));
    snprintf(first, sizeof first, "%s", take(s).id);
    assert_int_equal(source_next(s, &item, &e), 0);
    assert_int_equal(source_rewind(s, &e), 0);
    item = take(s);
    assert_string_equal(item.id, first);
    assert_int_equal(item.line, 1);
    assert_end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_rows_are_documents),
        cmocka_unit_test(pairs_are_documents_with_parts),
        cmocka_unit_test(split_is_set),
        cmocka_unit_test(lines_go_as_they_are),
        cmocka_unit_test(a_mark_before_the_first_line_is_none_of_it),
        cmocka_unit_test(ids_are_of_the_content),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(a_file_is_read_twice),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
