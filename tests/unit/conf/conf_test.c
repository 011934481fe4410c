#include "platform/conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/conf/nearest.h"
#include "platform/conf/services.h"

struct sample {
    const char *name, *file, *token;
    int64_t count, bytes, wait;
    double rate;
    bool on;
    int color;
    const char *other;
};

static const char *const colors[] = {"red", "green", "blue", NULL};

#define AT(f) offsetof(struct sample, f)

static const struct conf_row rows[] = {
    {"a.name", CONF_STRING, AT(name), "bob", 1, 8, NULL, "SAMPLE_NAME", "A name."},
    {"a.file", CONF_PATH, AT(file), NULL, 0, 0, NULL, NULL, "A file."},
    {"a.token", CONF_SECRET, AT(token), NULL, 4, 16, NULL, NULL, "A token."},
    {"a.count", CONF_INT, AT(count), "3", -5, 100, NULL, NULL, "How many."},
    {"a.bytes", CONF_SIZE, AT(bytes), "64M", 1024, 1099511627776.0, NULL, NULL, "How large."},
    {"a.wait", CONF_DURATION, AT(wait), "30s", 0, 86400000, NULL, NULL, "How long."},
    {"a.rate", CONF_FLOAT, AT(rate), "0.5", 0, 1, NULL, NULL, "How fast."},
    {"a.on", CONF_BOOL, AT(on), "true", 0, 0, NULL, NULL, "Whether | at all."},
    {"b.color", CONF_ENUM, AT(color), "green", 0, 0, colors, NULL, "Which color."},
    {"b.other", CONF_STRING, AT(other), NULL, 0, 0, NULL, NULL, "Another name."},
};

struct world {
    struct conf *conf;
    struct sample s;
    struct err e;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    *state = w;
    if (conf_new(&w->conf, &w->e) < 0)
        return -1;
    return conf_add(w->conf, rows, sizeof rows / sizeof rows[0], &w->s, &w->e);
}

static int teardown(void **state)
{
    struct world *w = *state;

    conf_free(w->conf);
    free(w);
    return 0;
}

static int text(struct world *w, const char *t)
{
    return conf_text(w->conf, "x.conf", t, strlen(t), &w->e);
}

static void defaults_stand(void **state)
{
    struct world *w = *state;

    assert_string_equal(w->s.name, "bob");
    assert_null(w->s.file);
    assert_int_equal(w->s.count, 3);
    assert_int_equal(w->s.bytes, 64 << 20);
    assert_int_equal(w->s.wait, 30000);
    assert_true(w->s.rate == 0.5);
    assert_true(w->s.on);
    assert_int_equal(w->s.color, 1);
    assert_int_equal(conf_default(w->conf, "a.count", "9", &w->e), 0);
    assert_int_equal(w->s.count, 9);
    assert_int_equal(conf_default(w->conf, "a.count", "900", &w->e), ERR_INTERNAL);
    assert_int_equal(conf_default(w->conf, "a.nothing", "1", &w->e), ERR_INTERNAL);
    assert_int_equal(conf_add(w->conf, rows, 1, &w->s, &w->e), ERR_INTERNAL);
}

static void a_file_is_read(void **state)
{
    struct world *w = *state;

    if (text(w, "; comment\n\xEF\xBB\xBF") == 0)
        fail(); /* a mark in the middle is no comment */
    w->e = (struct err)ERR_INIT;
    assert_int_equal(text(w, "\xEF\xBB\xBF# comment\r\n[a]\r\nname = x ; y\r\n  file=/tmp/a b\n"
                             "token: s3cr3t#;\ncount = -5\nbytes = 1T\n"
                             "wait = 2h\nrate = 1e-3\non = off\n\n[b]\ncolor = blue\nother ="),
                     0);
    assert_string_equal(w->s.name, "x ; y");
    assert_string_equal(w->s.file, "/tmp/a b");
    assert_string_equal(w->s.token, "s3cr3t#;");
    assert_int_equal(w->s.count, -5);
    assert_int_equal(w->s.bytes, INT64_C(1) << 40);
    assert_int_equal(w->s.wait, 7200000);
    assert_true(w->s.rate == 1e-3);
    assert_false(w->s.on);
    assert_int_equal(w->s.color, 2);
    assert_null(w->s.other);
    assert_int_equal(text(w, ""), 0);
    assert_int_equal(text(w, "a.name = top"), 0);
    assert_string_equal(w->s.name, "top");
}

static void units(void **state)
{
    static const struct {
        const char *set;
        int64_t bytes, wait; /* -1: refused */
    } cases[] = {
        {"a.bytes=4096", 4096, 0},    {"a.bytes=4K", 4096, 0},
        {"a.bytes=2G", 1LL << 31, 0}, {"a.bytes=0", -1, 0},
        {"a.bytes=4k", -1, 0},        {"a.bytes=K", -1, 0},
        {"a.bytes=-4K", -1, 0},       {"a.bytes=4 K", -1, 0},
        {"a.bytes=4KB", -1, 0},       {"a.bytes=9223372036854775807T", -1, 0},
        {"a.bytes=2T", -1, 0},        {"a.bytes=99999999999999999999999999", -1, 0},
        {"a.wait=500ms", 0, 500},     {"a.wait=1s", 0, 1000},
        {"a.wait=5m", 0, 300000},     {"a.wait=1d", 0, 86400000},
        {"a.wait=0", 0, 0},           {"a.wait=5", 0, -1},
        {"a.wait=5S", 0, -1},         {"a.wait=2d", 0, -1},
        {"a.wait=1.5s", 0, -1},       {"a.wait=", 0, -1},
    };
    struct world *w = *state;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = conf_set(w->conf, cases[i].set, &w->e);

        if ((rc < 0) != (cases[i].bytes < 0 || cases[i].wait < 0))
            fail_msg("%s", cases[i].set);
        if (rc == 0 && cases[i].bytes)
            assert_int_equal(w->s.bytes, cases[i].bytes);
        else if (rc == 0)
            assert_int_equal(w->s.wait, cases[i].wait);
    }
}

static void refusals_say_where_and_what(void **state)
{
    static const char *const cases[][2] = {
        {"[a]\nname = x\nnmae = y\n", "x.conf:3: unknown key 'a.nmae' (did you mean 'a.name'?)"},
        {"[b]\nshape = y\n", "x.conf:2: unknown key 'b.shape'; [b] has color, other"},
        {"[zzz]\nx = y\n", "x.conf:2: unknown key 'zzz.x'; the sections are a, b"},
        {"[a]\ncount = many\n", "x.conf:2: a.count: 'many' must be a whole number, -5 to 100"},
        {"[a]\ncount = 101\n", "x.conf:2: a.count: '101' must be a whole number, -5 to 100"},
        {"[a]\nbytes = 10\n",
         "x.conf:2: a.bytes: '10' must be a size such as 512K, 64M, 2G, 1K to 1T"},
        {"[a]\nwait = 3w\n",
         "x.conf:2: a.wait: '3w' must be a time such as 500ms, 30s, 5m, 2h, 7d, 0 to 1d"},
        {"[a]\nrate = nan\n", "x.conf:2: a.rate: 'nan' must be a number, 0 to 1"},
        {"[a]\non = maybe\n", "x.conf:2: a.on: 'maybe' must be true or false"},
        {"[b]\ncolor = pink\n", "x.conf:2: b.color: 'pink' must be one of red, green, blue"},
        {"[a]\nname = far-too-long\n",
         "x.conf:2: a.name: 'far-too-long' must be text of 1 to 8 bytes"},
        {"[a]\ntoken = abc\n", "x.conf:2: a.token: the value must be text of 4 to 16 bytes"},
        {"[a]\nfile = \x01\n", "x.conf:2: a.file: the value holds a control character"},
        {"[a]\nfile = \xff\n", "x.conf:2: a.file: the value is not valid UTF-8"},
        {"[a]\ncount = 1\non = 1\ncount = 2\n", "x.conf:4: a.count was set in line 2 already"},
        {"[a]\n\nwhat is this\n",
         "x.conf:3: neither '[section]' nor 'name = value' nor a '#' comment"},
        {"[a\ncount = 1\n", "x.conf:1: neither '[section]' nor 'name = value' nor a '#' comment"},
    };
    struct world *w = *state;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        w->e = (struct err)ERR_INIT;
        assert_int_equal(text(w, cases[i][0]), ERR_CONFIG);
        assert_string_equal(w->e.text, cases[i][1]);
    }
}

static void broken_bytes(void **state)
{
    struct world *w = *state;
    char line[4000];

    assert_int_equal(conf_text(w->conf, "x.conf", "[a]\nname = a\0b\n", 15, &w->e), ERR_CONFIG);
    assert_string_equal(w->e.text, "x.conf:2: a NUL byte: not a text file");
    memset(line, 'k', sizeof line - 1);
    line[sizeof line - 1] = 0;
    assert_int_equal(text(w, line), ERR_CONFIG);
    assert_string_equal(w->e.text, "x.conf:1: the line is too long");
    memcpy(line, "[a]\nfile=", 9);
    line[9 + CONF_VALUE_MAX] = 0;
    assert_int_equal(text(w, line), 0);
    assert_int_equal(strlen(w->s.file), CONF_VALUE_MAX);
}

static void environment_and_arguments_win(void **state)
{
    struct world *w = *state;
    char *env[] = {"SAMPLE_NAME=alias", "TRIPLINE_A_COUNT=7",
                   "TRIPLINE_A_ON=", "TRIPLINE_UNRELATED=1", NULL};
    char *both[] = {"SAMPLE_NAME=alias", "TRIPLINE_A_NAME=own", NULL};
    char *bad[] = {"TRIPLINE_B_COLOR=pink", NULL};

    assert_int_equal(text(w, "[a]\nname = file\ncount = 1\n"), 0);
    assert_int_equal(conf_env(w->conf, env, &w->e), 0);
    assert_string_equal(w->s.name, "alias");
    assert_int_equal(w->s.count, 7);
    assert_true(w->s.on);
    assert_int_equal(conf_env(w->conf, both, &w->e), 0);
    assert_string_equal(w->s.name, "own");
    assert_int_equal(conf_set(w->conf, "a.name=x=y", &w->e), 0);
    assert_string_equal(w->s.name, "x=y");
    assert_int_equal(conf_env(w->conf, bad, &w->e), ERR_CONFIG);
    assert_string_equal(w->e.text,
                        "TRIPLINE_B_COLOR: b.color: 'pink' must be one of red, green, blue");
    assert_int_equal(conf_set(w->conf, "a.name", &w->e), ERR_USAGE);
    assert_int_equal(conf_set(w->conf, "a.nam=x", &w->e), ERR_CONFIG);
    assert_string_equal(w->e.text, "--set: unknown key 'a.nam' (did you mean 'a.name'?)");
}

static void what_is_needed(void **state)
{
    struct world *w = *state;

    assert_int_equal(conf_need(w->conf, "a.name", &w->e), 0);
    assert_int_equal(conf_need(w->conf, "b.other", &w->e), ERR_CONFIG);
    assert_string_equal(
        w->e.text, "b.other is not set: write it in the file of settings, or set TRIPLINE_B_OTHER");
}

/* What is printed means the same when it is read; a secret is not in it. */
static void printing_round_trips(void **state)
{
    struct world *w = *state, again = {0};
    struct buf b;

    buf_init(&b, 1 << 16);
    assert_int_equal(text(w, "[a]\ntoken = hush-hush\ncount = 8\nbytes = 2K\n"), 0);
    assert_int_equal(conf_set(w->conf, "b.color=blue", &w->e), 0);
    conf_print(w->conf, &b);
    assert_null(strstr(b.data, "hush"));
    assert_non_null(strstr(b.data, "# from x.conf:2\ntoken = ***\n"));
    assert_non_null(strstr(b.data, "# from --set\ncolor = blue\n#other =\n"));
    assert_int_equal(conf_new(&again.conf, &again.e), 0);
    assert_int_equal(conf_add(again.conf, rows, sizeof rows / sizeof rows[0], &again.s, &again.e),
                     0);
    assert_int_equal(conf_set(again.conf, "a.token=hush-hush", &again.e), 0);
    b.data = realloc(b.data, b.cap + 1);
    *strstr(b.data, "token = ***") = '#';
    assert_int_equal(text(&again, b.data), 0);
    assert_int_equal(again.s.bytes, 2048);
    assert_int_equal(again.s.color, 2);
    conf_free(again.conf);
    buf_release(&b);
}

static void example_and_page(void **state)
{
    struct world *w = *state;
    struct buf b;

    buf_init(&b, 1 << 16);
    conf_example(w->conf, "prog", &b);
    assert_int_equal(text(w, b.data), 0); /* all comments and sections */
    assert_non_null(strstr(b.data, "# How large.\n# Allowed: a size such as 512K, 64M, 2G, 1K to "
                                   "1T.\n# Environment: TRIPLINE_A_BYTES\n#bytes = 64M\n"));
    assert_non_null(strstr(b.data, "# Environment: TRIPLINE_A_NAME, SAMPLE_NAME\n#name = bob\n"));
    buf_reset(&b);
    conf_markdown(w->conf, &b);
    assert_non_null(strstr(b.data, "### `[b]`"));
    assert_non_null(strstr(b.data, "| `a.on` | boolean | `true` | true or false | "
                                   "`TRIPLINE_A_ON` | Whether \\| at all. |\n"));
    buf_release(&b);
}

static void files_on_disk(void **state)
{
    struct world *w = *state;
    char folder[] = "/tmp/tripline-conf-XXXXXX", path[100];

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/my.conf", folder);
    assert_int_equal(conf_file(w->conf, path, &w->e), ERR_NOT_FOUND);
    assert_int_equal(file_write(path, "[a]\nname = f\nbad\n", 17, &w->e), 0);
    assert_int_equal(conf_file(w->conf, path, &w->e), ERR_CONFIG);
    assert_non_null(strstr(w->e.text, "/my.conf:3: neither"));
    assert_string_equal(w->s.name, "f");
    assert_int_equal(file_remove_tree(folder, &w->e), 0);
}

static void near_words(void **state)
{
    assert_int_equal(nearest_distance("", "abc"), 3);
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(nearest_distance("ab", "ba"), 1);
    assert_int_equal(nearest_distance("same", "same"), 0);
    assert_true(nearest_enough("endpont", 1));
    assert_false(nearest_enough("abc", 3));
}

static void settings_of_services(void **state)
{
    char *env[] = {"TRIPLINE_KAFKA=k:1,k:2",        "AWS_ACCESS_KEY_ID=id",
                   "AWS_SECRET_ACCESS_KEY=shh",     "TRIPLINE_REDIS=r:1",
                   "TRIPLINE_S3_ENDPOINT=http://s", "TRIPLINE_S3_BUCKET=b",
                   "TRIPLINE_PREFIX=trip",          NULL};
    struct settings s;
    struct err e = ERR_INIT;
    struct conf *c;
    struct buf b;

    assert_int_equal(conf_new(&c, &e), 0);
    if (settings_add(c, &s, SETTINGS_ALL, &e) < 0)
        fail_msg("%s", e.text);
    assert_string_equal(s.tripline.prefix, "tripline");
    assert_int_equal(s.s3.part_size, 8 << 20);
    assert_int_equal(conf_need(c, "kafka.brokers", &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "TRIPLINE_KAFKA"));
    assert_int_equal(conf_env(c, env, &e), 0);
    assert_string_equal(s.kafka.brokers, "k:1,k:2");
    assert_string_equal(s.s3.secret_key, "shh");
    assert_string_equal(s.redis.address, "r:1");
    assert_string_equal(s.tripline.prefix, "trip");
    buf_init(&b, 1 << 16);
    conf_example(c, "prog", &b);
    assert_int_equal(buf_check(&b, "example", &e), 0);
    assert_int_equal(conf_text(c, "example", b.data, b.len, &e), 0);
    buf_release(&b);
    conf_free(c);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(defaults_stand),
        CASE(a_file_is_read),
        CASE(units),
        CASE(refusals_say_where_and_what),
        CASE(broken_bytes),
        CASE(environment_and_arguments_win),
        CASE(what_is_needed),
        CASE(printing_round_trips),
        CASE(example_and_page),
        CASE(files_on_disk),
        cmocka_unit_test(near_words),
        cmocka_unit_test(settings_of_services),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
