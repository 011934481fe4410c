#include "platform/proc/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const colors[] = {"red", "green", NULL};

struct got {
    bool follow, json;
    const char *out;
    int64_t epochs;
    double rate;
    int color;
    struct option_list set;
};

#define AT(f) offsetof(struct got, f)

static const struct option_row rows[] = {
    {"follow", 'f', OPTION_FLAG, AT(follow), NULL, "Follow.", 0, 0, NULL},
    {"json", 'j', OPTION_FLAG, AT(json), NULL, "JSON.", 0, 0, NULL},
    {"out", 'o', OPTION_TEXT, AT(out), "FOLDER",
     "Where to write what was made, with a help text that is long enough to be wrapped at least "
     "once at a blank.",
     0, 0, NULL},
    {"epochs", 'n', OPTION_INT, AT(epochs), "N", "Epochs.", 1, 100, NULL},
    {"learning-rate", 0, OPTION_FLOAT, AT(rate), "RATE", "Rate.", 0, 0, NULL},
    {"color", 0, OPTION_CHOICE, AT(color), "COLOR", "Color.", 0, 0, colors},
    {"set", 's', OPTION_LIST, AT(set), "KEY=VALUE", "Set.", 0, 0, NULL},
};

#define ROWS (sizeof rows / sizeof rows[0])

static int parse(struct got *g, struct err *e, int *operands, char **argv)
{
    int argc = 0;

    memset(g, 0, sizeof *g);
    while (argv[argc])
        argc++;
    return options_parse(rows, ROWS, g, argc, argv, operands, e);
}

#define ARGV(...)                                                                                  \
    (char *[])                                                                                     \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void all_the_ways(void **state)
{
    char **argv = ARGV("one", "--follow", "-jo", "here", "--epochs=5", "two", "--learning-rate",
                       "1e-3", "-sa=1", "--set", "b=2", "--color", "green", "-", "--", "--json");
    struct err e = ERR_INIT;
    struct got g;
    int n;

    if (parse(&g, &e, &n, argv) < 0)
        fail_msg("%s", e.text);
    assert_true(g.follow && g.json);
    assert_string_equal(g.out, "here");
    assert_int_equal(g.epochs, 5);
    assert_true(g.rate == 1e-3);
    assert_int_equal(g.color, 1);
    assert_int_equal(g.set.count, 2);
    assert_string_equal(g.set.items[1], "b=2");
    assert_int_equal(n, 4);
    assert_string_equal(argv[0], "one");
    assert_string_equal(argv[1], "two");
    assert_string_equal(argv[2], "-");
    assert_string_equal(argv[3], "--json");
    assert_int_equal(parse(&g, &e, &n, ARGV("-o-x", "--out=")), 0);
    assert_string_equal(g.out, "");
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *words[3];
        const char *message;
    } cases[] = {
        {{"--epocs", "3"}, "unknown option --epocs (did you mean --epochs?)"},
        {{"--epoch=3"}, "unknown option --epoch (did you mean --epochs?)"},
        {{"--nonsense"}, "unknown option --nonsense (--help lists them)"},
        {{"-x"}, "unknown option -x (--help lists them)"},
        {{"-fx"}, "unknown option -x (--help lists them)"},
        {{"--out"}, "--out needs a value (FOLDER)"},
        {{"-n"}, "--epochs needs a value (N)"},
        {{"--json=1"}, "--json takes no value"},
        {{"-n0"}, "--epochs: '0' must be a whole number, 1 to 100"},
        {{"-n", "5x"}, "--epochs: '5x' must be a whole number, 1 to 100"},
        {{"--learning-rate", "inf"}, "--learning-rate: 'inf' must be a number"},
        {{"--color", "pink"}, "--color: 'pink' must be one of red, green"},
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *argv[4] = {0};
        struct err e = ERR_INIT;
        struct got g;
        int n;

        memcpy(argv, cases[i].words, sizeof cases[i].words);
        assert_int_equal(parse(&g, &e, &n, argv), ERR_USAGE);
        assert_string_equal(e.text, cases[i].message);
    }
}

static void too_many_of_a_list(void **state)
{
    char *argv[OPTION_LIST_MAX + 2] = {0};
    struct err e = ERR_INIT;
    struct got g;
    int i, n;

    for (i = 0; i <= OPTION_LIST_MAX; i++)
        argv[i] = (char *)"-sx";
    assert_int_equal(parse(&g, &e, &n, argv), ERR_USAGE);
}

static void help_is_two_columns(void **state)
{
    struct buf b;
    const char *line, *end;

    buf_init(&b, 1 << 16);
    options_help(rows, ROWS, &b);
    assert_non_null(strstr(b.data, "  -f, --follow              Follow.\n"));
    assert_non_null(strstr(b.data, "      --learning-rate RATE  Rate.\n"));
    for (line = b.data; (end = strchr(line, '\n')); line = end + 1)
        assert_true(end - line <= 96);
    buf_release(&b);
}

static void unknown_commands(void **state)
{
    static const char *const names[] = {"push", "pull", "fit", NULL};
    struct err e = ERR_INIT;

    assert_int_equal(options_unknown("command", "pusj", names, &e), ERR_USAGE);
    assert_string_equal(e.text, "unknown command 'pusj' (did you mean 'push'?)");
    options_unknown("command", "elephant", names, &e);
    assert_string_equal(e.text, "unknown command 'elephant' (--help lists them)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_the_ways),       cmocka_unit_test(what_is_refused),
        cmocka_unit_test(too_many_of_a_list), cmocka_unit_test(help_is_two_columns),
        cmocka_unit_test(unknown_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
