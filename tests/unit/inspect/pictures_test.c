/* The views of inspect stay what they are whatever a model's names hold: DOT, SVG, plain text. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "cli/inspect.h"
#include "trainer/engine/engine.h"

/* What a file may call a tensor: quotes, markup, escapes, a terminal's commands, halves of
 * characters that XML forbids, and much of it. */
static const char *const hostile[] = {
    "a\"]; evil -> b [label=\"",
    "back\\slash\\",
    "line\nbreak\r\ttab",
    "<script>alert(1)</script>",
    "]]>&amp;<!--",
    "\x1b[2J\x1b]0;title\x07",
    "\x7f\xc2\x9b[31m",
    "\xef\xbf\xbe\xef\xbf\xbf",
    "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e \xf0\x9f\x98\x80",
    "",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
};
enum { HOSTILE = sizeof hostile / sizeof hostile[0] };

/* A model whose boxes are called so; each but the first is fed by the one before, the last by all.
 */
static json_t *hostile_model(void)
{
    json_t *boxes = json_array(), *edges = json_array();

    for (int i = 0; i < HOSTILE; i++)
        json_array_append_new(boxes, json_pack("{s:s, s:s, s:s, s:[s], s:i, s:i, s:i}", "kind",
                                               i == 0             ? "input"
                                               : i == HOSTILE - 1 ? "output"
                                                                  : "block",
                                               "name", hostile[i], "scope",
                                               hostile[(i + 3) % HOSTILE], "operators",
                                               hostile[(i + 5) % HOSTILE], "parameters", 1234567,
                                               "trainable", i % 2 ? 1234567 : 0, "reads", 2234567));
    for (int i = 0; i + 1 < HOSTILE; i++) {
        json_array_append_new(edges, json_pack("[i, i]", i, i + 1));
        if (i + 2 < HOSTILE)
            json_array_append_new(edges, json_pack("[i, i]", i, HOSTILE - 1));
    }
    return json_pack("{s:s, s:s, s:s, s:{s:s, s:[s]}, s:{s:o, s:o}}", "model", hostile[5],
                     "producer", hostile[6], "pooling", "mean", "head", "cut", hostile[2],
                     "not_expressed", hostile[5], "graph", "boxes", boxes, "edges", edges);
}

static json_t *real_model(const char *path)
{
    const struct engine_batch batch = {.documents = 8, .max_length = 20, .lanes = 2};
    struct err e = ERR_INIT;
    struct surgery s;
    struct buf b;
    json_t *v = NULL;

    surgery_init(&s);
    buf_init(&b, 1 << 24);
    if (engine_inspect(path, &s, &batch, &b, &e) < 0 || json_parse(b.data, b.len, NULL, &v, &e) < 0)
        fail_msg("%s", e.text);
    buf_release(&b);
    return v;
}

/* A file with a hostile tensor name of the same length in place of "last_hidden_state". */
static json_t *spoiled_model(void)
{
    static const char from[] = "last_hidden_state", to[] = "<\"&\x1b\\\n]]>\xff'--}bc\x9b";
    char path[] = "/tmp/tripline-inspect-XXXXXX", bytes[1 << 17];
    FILE *f = fopen("tests/golden/engine/bert-new.onnx", "rb");
    size_t n;
    json_t *v;
    int fd = mkstemp(path), hits = 0;

    assert_int_equal(sizeof from, sizeof to);
    assert_non_null(f);
    assert_true(fd >= 0);
    n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(n > 0 && n < sizeof bytes);
    for (size_t i = 0; i + sizeof from <= n; i++)
        if (memcmp(bytes + i, from, sizeof from - 1) == 0) {
            memcpy(bytes + i, to, sizeof to - 1);
            hits++;
        }
    assert_true(hits > 0);
    f = fdopen(fd, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    v = real_model(path);
    remove(path);
    return v;
}

/* ---- DOT: the part of Graphviz's grammar that is used ---- */

struct dot {
    const char *at;
    int nodes, edges;
};

static void blank(struct dot *d)
{
    while (isspace((unsigned char)*d->at))
        d->at++;
}

static bool eat(struct dot *d, const char *word)
{
    size_t n = strlen(word);

    blank(d);
    if (strncmp(d->at, word, n) != 0)
        return false;
    d->at += n;
    return true;
}

/* ID: a name, or a quoted string in which \" is no end. */
static bool id(struct dot *d)
{
    blank(d);
    if (isalpha((unsigned char)*d->at)) {
        while (isalnum((unsigned char)*d->at))
            d->at++;
        return true;
    }
    if (*d->at++ != '"')
        return false;
    for (; *d->at && *d->at != '"'; d->at++)
        if (*d->at == '\\' && !*++d->at)
            return false;
    return *d->at++ == '"';
}

static bool attributes(struct dot *d)
{
    if (!eat(d, "["))
        return true;
    do {
        if (!id(d) || !eat(d, "=") || !id(d))
            return false;
    } while (eat(d, ","));
    return eat(d, "]");
}

static bool statement(struct dot *d)
{
    bool settings = strncmp(d->at, "node ", 5) == 0;

    if (!id(d))
        return false;
    if (eat(d, "->")) {
        d->edges++;
        return id(d) && eat(d, ";");
    }
    d->nodes += !settings;
    return attributes(d) && eat(d, ";");
}

static bool parse_dot(struct dot *d)
{
    if (!eat(d, "digraph") || !id(d) || !eat(d, "{"))
        return false;
    while (!eat(d, "}"))
        if (!statement(d))
            return false;
    blank(d);
    return !*d->at;
}

static void check_dot(const json_t *model)
{
    struct dot d = {0};
    struct buf b;

    buf_init(&b, 1 << 24);
    inspect_dot(model, &b);
    d.at = b.data;
    if (!parse_dot(&d))
        fail_msg("not DOT, from here: %.80s", d.at);
    assert_int_equal(d.nodes, json_array_size(json_find(model, "graph.boxes")));
    assert_int_equal(d.edges, json_array_size(json_find(model, "graph.edges")));
    buf_release(&b);
}

/* ---- SVG ---- */

static void count_elements(const xmlNode *n, const char *name, int *count)
{
    for (; n; n = n->next) {
        *count += n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, name) == 0;
        if (n->type == XML_ELEMENT_NODE)
            count_elements(n->children, name, count);
    }
}

static int count(const xmlDoc *doc, const char *name)
{
    int n = 0;

    count_elements(doc->children, name, &n);
    return n;
}

static long side(const xmlNode *n, const char *name)
{
    xmlChar *text = xmlGetProp(n, (const xmlChar *)name);
    long x = text ? strtol((const char *)text, NULL, 10) : -1;

    xmlFree(text);
    return x;
}

/* Boxes lie in the picture, and not on each other. */
static void check_rectangles(const xmlDoc *doc, size_t boxes)
{
    const xmlNode *root = doc->children, *group = root->children;
    long at[64][4];
    size_t n = 0;

    while (group->next)
        group = group->next;
    while (group->type != XML_ELEMENT_NODE)
        group = group->prev;
    for (const xmlNode *r = group->children; r; r = r->next) {
        if (r->type != XML_ELEMENT_NODE || strcmp((const char *)r->name, "rect") != 0)
            continue;
        assert_true(n < 64);
        at[n][0] = side(r, "x");
        at[n][1] = side(r, "y");
        at[n][2] = at[n][0] + side(r, "width");
        at[n][3] = at[n][1] + side(r, "height");
        assert_true(at[n][0] >= 0 && at[n][1] >= 0);
        assert_true(at[n][2] <= side(root, "width") && at[n][3] <= side(root, "height"));
        for (size_t k = 0; k < n; k++)
            assert_true(at[k][2] < at[n][0] || at[n][2] < at[k][0] || at[k][3] < at[n][1] ||
                        at[n][3] < at[k][1]);
        n++;
    }
    assert_int_equal(n, boxes);
}

static void check_svg(const json_t *model)
{
    size_t boxes = json_array_size(json_find(model, "graph.boxes"));
    struct err e = ERR_INIT;
    struct buf b;
    xmlDoc *doc;

    buf_init(&b, 1 << 24);
    assert_int_equal(inspect_svg(model, &b, &e), 0);
    doc = xmlReadMemory(b.data, (int)b.len, "model.svg", NULL, XML_PARSE_NONET);
    if (!doc)
        fail_msg("not XML: %s", b.data);
    assert_string_equal((const char *)doc->children->name, "svg");
    assert_int_equal(count(doc, "rect"), boxes + 1);
    assert_int_equal(count(doc, "path"), json_array_size(json_find(model, "graph.edges")) + 1);
    assert_int_equal(count(doc, "script"), 0);
    check_rectangles(doc, boxes);
    xmlFreeDoc(doc);
    buf_release(&b);
}

/* ---- plain text ---- */

static void check_text(const json_t *model)
{
    struct buf b;

    buf_init(&b, 1 << 24);
    inspect_text(model, &b);
    assert_true(b.len > 0);
    for (size_t i = 0; i < b.len; i++) {
        unsigned char c = (unsigned char)b.data[i], d = (unsigned char)b.data[i + 1];

        assert_true((c >= 0x20 && c != 0x7f) || c == '\n');
        assert_false(c == 0xc2 && d < 0xa0);
    }
    buf_release(&b);
}

static void check_all(json_t *model)
{
    assert_non_null(model);
    check_dot(model);
    check_svg(model);
    check_text(model);
    json_decref(model);
}

static void test_hostile_names(void **state)
{
    check_all(hostile_model());
}

static void test_hostile_file(void **state)
{
    check_all(spoiled_model());
}

static void test_backbones(void **state)
{
    check_all(real_model("tests/golden/engine/bert-old.onnx"));
    check_all(real_model("tests/golden/engine/albert-new.onnx"));
}

/* Escapes that a reader undoes: the names come back whole. */
static void test_names_survive(void **state)
{
    json_t *model = hostile_model();
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 1 << 24);
    inspect_dot(model, &b);
    assert_non_null(strstr(b.data, "[label=\"a\\\"]; evil -> b [label=\\\"\\n"));
    assert_non_null(strstr(b.data, "back\\\\slash\\\\\\n"));
    buf_reset(&b);
    assert_int_equal(inspect_svg(model, &b, &e), 0);
    assert_non_null(strstr(b.data, ">&lt;script&gt;alert(1)&lt;/script&gt;<"));
    assert_non_null(strstr(b.data, ">]]&gt;&amp;amp;&lt;!--<"));
    /* a name of 70 characters is cut to 48, the last of them an ellipsis */
    assert_non_null(
        strstr(b.data, ">01234567890123456789012345678901234567890123456\xe2\x80\xa6<"));
    buf_release(&b);
    json_decref(model);
}

static void test_thousands(void **state)
{
    static const struct {
        long long n;
        const char *text;
    } cases[] = {{0, "0"},          {999, "999"},   {1000, "1,000"},
                 {-1000, "-1,000"}, {-100, "-100"}, {22713216, "22,713,216"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;

        buf_init(&b, 100);
        inspect_thousands(cases[i].n, &b);
        assert_string_equal(b.data, cases[i].text);
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_hostile_file),
        cmocka_unit_test(test_backbones),     cmocka_unit_test(test_names_survive),
        cmocka_unit_test(test_thousands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
