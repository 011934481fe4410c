#include "tests/service/blob/suite.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "platform/base/file.h"

#define MANY  1200
#define RACE  8
#define RACED 50

static struct suite *the;

static const char *key_of(const char *name)
{
    static char keys[8][1200];
    static int next;
    char *key = keys[next++ % 8];

    snprintf(key, sizeof keys[0], "%s%s", the->prefix, name);
    return key;
}

static void ok(int rc, const struct err *e)
{
    if (rc != 0)
        fail_msg("%s: %d %s", the->name, rc, e->text);
}

static void put(const char *name, const char *text)
{
    struct err e = ERR_INIT;

    ok(blob_put(the->blob, key_of(name), text, strlen(text), &e), &e);
}

static void expect_text(const char *name, const char *text)
{
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 4096);
    ok(blob_get(the->blob, key_of(name), &b, &e), &e);
    assert_int_equal(b.len, strlen(text));
    assert_memory_equal(b.len ? b.data : "", text, b.len);
    buf_release(&b);
}

static int get_rc(const char *name, size_t max)
{
    struct err e = ERR_INIT;
    struct buf b;
    int rc;

    buf_init(&b, max);
    rc = blob_get(the->blob, key_of(name), &b, &e);
    if (rc < 0)
        assert_true(e.text[0] != '\0' && e.code == rc);
    buf_release(&b);
    return rc;
}

static void test_put_get(void **state)
{
    struct err e = ERR_INIT;
    uint64_t size = 0;
    struct buf b;

    put("a/x", "hello");
    expect_text("a/x", "hello");
    ok(blob_head(the->blob, key_of("a/x"), &size, &e), &e);
    assert_int_equal(size, 5);
    ok(blob_head(the->blob, key_of("a/x"), NULL, &e), &e);
    put("a/x", "another text");
    buf_init(&b, 100);
    buf_str(&b, "what was there before is replaced");
    ok(blob_get(the->blob, key_of("a/x"), &b, &e), &e);
    assert_string_equal(b.data, "another text");
    buf_release(&b);
}

static void test_missing(void **state)
{
    char path[128], sha[SHA256_HEX];
    struct err e = ERR_INIT;

    assert_int_equal(get_rc("missing/x", 100), ERR_NOT_FOUND);
    assert_int_equal(blob_head(the->blob, key_of("missing"), NULL, &e), ERR_NOT_FOUND);
    snprintf(path, sizeof path, "%s/missing", the->scratch);
    assert_int_equal(blob_get_file(the->blob, key_of("missing"), path, sha, &e), ERR_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(blob_put_file(the->blob, key_of("missing"), path, &e), ERR_NOT_FOUND);
    ok(blob_remove(the->blob, key_of("missing/x"), &e), &e);
}

static void test_remove(void **state)
{
    struct err e = ERR_INIT;

    put("r/f/b", "1");
    ok(blob_remove(the->blob, key_of("r/f/b"), &e), &e);
    assert_int_equal(get_rc("r/f/b", 100), ERR_NOT_FOUND);
    put("r/f", "a name that was a folder");
    expect_text("r/f", "a name that was a folder");
}

static void test_empty(void **state)
{
    struct err e = ERR_INIT;
    uint64_t size = 7;

    put("empty", "");
    expect_text("empty", "");
    ok(blob_head(the->blob, key_of("empty"), &size, &e), &e);
    assert_int_equal(size, 0);
    ok(blob_create(the->blob, key_of("empty-created"), NULL, 0, &e), &e);
    ok(blob_create(the->blob, key_of("empty-created"), NULL, 0, &e), &e);
    expect_text("empty-created", "");
}

static void test_limit(void **state)
{
    put("limit", "0123456789a");
    assert_int_equal(get_rc("limit", 10), ERR_LIMIT);
    assert_int_equal(get_rc("limit", 11), 0);
}

static void test_odd_keys(void **state)
{
    static const char *const names[] = {
        "odd/a b",    "odd/a+b",    "odd/a%20b", "odd/a=b&c=d", "odd/\xc3\xa4\xe2\x82\xac",
        "odd/~!*'()", "odd/a;b:@$", "odd/%",     "odd/<&>\"",   "odd/a?b#c",
        "odd/a\\b",   "odd/...",
    };
    char text[32];
    struct err e = ERR_INIT;
    size_t i, n = sizeof names / sizeof names[0];

    for (i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%zu", i);
        put(names[i], text);
    }
    for (i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%zu", i);
        expect_text(names[i], text);
        ok(blob_head(the->blob, key_of(names[i]), NULL, &e), &e);
        ok(blob_create(the->blob, key_of(names[i]), text, strlen(text), &e), &e);
        assert_int_equal(blob_create(the->blob, key_of(names[i]), "other", 5, &e), ERR_EXISTS);
    }
}

struct seen {
    size_t count, stop_at;
    char first[1100], last[1100];
    uint64_t bytes;
};

static int see(void *arg, const char *key, uint64_t size)
{
    struct seen *s = arg;

    if (s->count > 0)
        assert_true(strcmp(s->last, key) < 0);
    else
        snprintf(s->first, sizeof s->first, "%s", key);
    snprintf(s->last, sizeof s->last, "%s", key);
    s->bytes += size;
    s->count++;
    return s->stop_at && s->count == s->stop_at ? 42 : 0;
}

static struct seen list(const char *prefix, const char *after)
{
    struct seen s = {0};
    struct err e = ERR_INIT;

    ok(blob_list(the->blob, key_of(prefix), after ? key_of(after) : NULL, see, &s, &e), &e);
    return s;
}

static void test_list_odd(void **state)
{
    struct seen s = list("odd/", NULL);

    assert_int_equal(s.count, 12);
    assert_int_equal(list("odd/a b", NULL).count, 1);
    assert_int_equal(list("odd/a+", NULL).count, 1);
    assert_int_equal(list("odd/a%", NULL).count, 1);
    assert_int_equal(list("odd/\xc3\xa4", NULL).count, 1);
    assert_string_equal(list("odd/", "odd/a b").first, key_of("odd/a%20b"));
}

static void test_list_many(void **state)
{
    struct seen s = {.stop_at = 1050};
    struct err e = ERR_INIT;
    char name[64];
    int i;

    for (i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many/%d/%04d", i % 3, i);
        put(name, "xy");
    }
    put("many-1", "beside");
    put("man", "shorter");
    put("many0", "behind");
    s = list("many/", NULL);
    assert_int_equal(s.count, MANY);
    assert_int_equal(s.bytes, 2 * MANY);
    assert_string_equal(s.first, key_of("many/0/0000"));
    assert_string_equal(s.last, key_of("many/2/1199"));
    assert_int_equal(list("many", NULL).count, MANY + 2);
    assert_string_equal(list("many", NULL).first, key_of("many-1"));
    assert_int_equal(list("many/1/", NULL).count, MANY / 3);
    assert_int_equal(list("many/1/00", NULL).count, 33);
    assert_int_equal(list("many/", "many/1/1198").count, MANY / 3);
    assert_string_equal(list("many/", "many/0/0003").first, key_of("many/0/0006"));
    assert_int_equal(list("many/", "many/0").count, MANY);
    assert_int_equal(list("many/", "many/z").count, 0);
    assert_int_equal(list("no-such/", NULL).count, 0);
    memset(&s, 0, sizeof s);
    s.stop_at = 1050;
    assert_int_equal(blob_list(the->blob, key_of("many/"), NULL, see, &s, &e), 42);
    assert_int_equal(s.count, 1050);
}

/* A file of `size` bytes that don't repeat; its hash. */
static void make_file(const char *path, size_t size, char sha[SHA256_HEX])
{
    FILE *f = fopen(path, "wb");
    uint64_t x = size * 2654435761u + 1;
    struct err e = ERR_INIT;
    size_t i;

    assert_non_null(f);
    for (i = 0; i < size; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        putc((int)(x >> 56), f);
    }
    assert_int_equal(fclose(f), 0);
    ok(sha256_file(path, sha, NULL, &e), &e);
}

static void round_trip(size_t size)
{
    char from[128], to[128], sha[SHA256_HEX], got[SHA256_HEX], again[SHA256_HEX];
    unsigned long long length = 0;
    struct err e = ERR_INIT;
    uint64_t head = 0;

    snprintf(from, sizeof from, "%s/from", the->scratch);
    snprintf(to, sizeof to, "%s/to", the->scratch);
    make_file(from, size, sha);
    ok(blob_put_file(the->blob, key_of("file"), from, &e), &e);
    ok(blob_head(the->blob, key_of("file"), &head, &e), &e);
    assert_int_equal(head, size);
    ok(blob_get_file(the->blob, key_of("file"), to, got, &e), &e);
    assert_string_equal(got, sha);
    ok(sha256_file(to, again, &length, &e), &e);
    assert_string_equal(again, sha);
    assert_int_equal(length, size);
    unlink(from);
    unlink(to);
}

static void test_files(void **state)
{
    round_trip(0);
    round_trip(1);
    round_trip(the->part_bytes - 1);
    round_trip(the->part_bytes);
    round_trip(the->part_bytes + 1);
    round_trip((size_t)20 << 20);
}

static void test_large_memory(void **state)
{
    size_t n = 2 * the->part_bytes + 17, i;
    char *bytes = malloc(n);
    struct err e = ERR_INIT;
    struct buf b;

    assert_non_null(bytes);
    for (i = 0; i < n; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    ok(blob_put(the->blob, key_of("large"), bytes, n, &e), &e);
    buf_init(&b, n);
    ok(blob_get(the->blob, key_of("large"), &b, &e), &e);
    assert_int_equal(b.len, n);
    assert_memory_equal(b.data, bytes, n);
    ok(blob_create(the->blob, key_of("large-created"), bytes, n, &e), &e);
    ok(blob_create(the->blob, key_of("large-created"), bytes, n, &e), &e);
    bytes[n - 1] ^= 1;
    assert_int_equal(blob_create(the->blob, key_of("large-created"), bytes, n, &e), ERR_EXISTS);
    buf_release(&b);
    free(bytes);
    assert_int_equal(blob_create(the->blob, key_of("too-large"), "", BLOB_CREATE_MAX + 1, &e),
                     ERR_LIMIT);
}

/* A failed download leaves neither the file nor a temporary one. */
static void test_scratch_is_clean(void **state)
{
    DIR *d = opendir(the->scratch);
    struct dirent *entry;

    assert_non_null(d);
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.')
            fail_msg("%s was left", entry->d_name);
    closedir(d);
}

static void test_create(void **state)
{
    struct err e = ERR_INIT;

    ok(blob_create(the->blob, key_of("c/1"), "mine", 4, &e), &e);
    ok(blob_create(the->blob, key_of("c/1"), "mine", 4, &e), &e); /* one's own lost answer */
    assert_int_equal(blob_create(the->blob, key_of("c/1"), "your", 4, &e), ERR_EXISTS);
    assert_non_null(strstr(e.text, "c/1"));
    assert_int_equal(blob_create(the->blob, key_of("c/1"), "mine!", 5, &e), ERR_EXISTS);
    assert_int_equal(blob_create(the->blob, key_of("c/1"), "", 0, &e), ERR_EXISTS);
    expect_text("c/1", "mine");
    ok(blob_remove(the->blob, key_of("c/1"), &e), &e);
    ok(blob_create(the->blob, key_of("c/1"), "your", 4, &e), &e);
}

struct racer {
    int number;
    struct task *task;
    int rc[RACED];
    struct err e;
};

static void race(void *arg)
{
    struct racer *r = arg;
    char key[128], body[32];
    int i;

    for (i = 0; i < RACED; i++) {
        snprintf(key, sizeof key, "%srace/%03d", the->prefix, i);
        snprintf(body, sizeof body, "racer %d", r->number);
        r->rc[i] = blob_create(the->blob, key, body, strlen(body), &r->e);
    }
}

static void test_create_race(void **state)
{
    static struct racer racers[RACE];
    struct err e = ERR_INIT;
    char name[32], body[32];
    int i, k, winner;

    memset(racers, 0, sizeof racers);
    for (k = 0; k < RACE; k++) {
        racers[k].number = k;
        ok(clock_go(the->clock, "racer", race, &racers[k], &racers[k].task, &e), &e);
    }
    for (k = 0; k < RACE; k++)
        clock_join(the->clock, racers[k].task);
    for (i = 0; i < RACED; i++) {
        winner = -1;
        for (k = 0; k < RACE; k++) {
            if (racers[k].rc[i] == 0) {
                assert_int_equal(winner, -1);
                winner = k;
            } else if (racers[k].rc[i] != ERR_EXISTS) {
                fail_msg("racer %d, key %d: %s", k, i, racers[k].e.text);
            }
        }
        assert_int_not_equal(winner, -1);
        snprintf(name, sizeof name, "race/%03d", i);
        snprintf(body, sizeof body, "racer %d", winner);
        expect_text(name, body);
    }
}

static void test_check_create(void **state)
{
    struct err e = ERR_INIT;

    ok(blob_check_create(the->blob, the->clock, key_of("check/"), &e), &e);
    assert_int_equal(list("check/", NULL).count, 0);
}

static size_t collect(char *bytes, size_t one, size_t n, void *arg)
{
    buf_add(arg, bytes, n);
    return n;
}

static void test_presign(void **state)
{
    const char *name = "signed/a b+c%/\xc3\xa4=";
    struct err e = ERR_INIT;
    struct buf url, body;
    CURL *easy;

    buf_init(&url, 8192);
    put(name, "for everybody");
    if (!the->has_urls) {
        assert_int_equal(blob_presign(the->blob, key_of(name), 60, &url, &e), ERR_UNSUPPORTED);
        buf_release(&url);
        return;
    }
    ok(blob_presign(the->blob, key_of(name), 60, &url, &e), &e);
    buf_init(&body, 4096);
    easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url.data);
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &body);
    assert_int_equal(curl_easy_perform(easy), CURLE_OK);
    assert_string_equal(body.data, "for everybody");
    curl_easy_cleanup(easy);
    buf_release(&url);
    buf_release(&body);
}

static void test_url(void **state)
{
    struct err e = ERR_INIT;
    struct buf url;

    buf_init(&url, 8192);
    ok(blob_url(the->blob, key_of("a/x"), &url, &e), &e);
    assert_non_null(strstr(url.data, "://"));
    assert_non_null(strstr(url.data, "a/x"));
    buf_release(&url);
}

static void test_bad_keys(void **state)
{
    static const char *const keys[] = {"",         "/a",     "a//b",  "a/",   ".",
                                       "..",       "a/../b", "a/./b", "../a", "a/..",
                                       "\xff\xfe", "a\nb",   "a\x7f", "\x01"};
    char path[128], sha[SHA256_HEX], longest[1100];
    struct err e = ERR_INIT;
    struct buf b;
    size_t i;

    buf_init(&b, 100);
    snprintf(path, sizeof path, "%s/never", the->scratch);
    for (i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(blob_put(the->blob, keys[i], "x", 1, &e), ERR_USAGE);
        assert_int_equal(blob_create(the->blob, keys[i], "x", 1, &e), ERR_USAGE);
        assert_int_equal(blob_get(the->blob, keys[i], &b, &e), ERR_USAGE);
        assert_int_equal(blob_get_file(the->blob, keys[i], path, sha, &e), ERR_USAGE);
        assert_int_equal(blob_head(the->blob, keys[i], NULL, &e), ERR_USAGE);
        assert_int_equal(blob_remove(the->blob, keys[i], &e), ERR_USAGE);
        assert_int_equal(blob_url(the->blob, keys[i], &b, &e), ERR_USAGE);
    }
    memset(longest, 'k', sizeof longest);
    longest[1025] = '\0';
    assert_int_equal(blob_put(the->blob, longest, "x", 1, &e), ERR_USAGE);
    assert_int_equal(blob_list(the->blob, "a/../", NULL, see, NULL, &e), ERR_USAGE);
    assert_int_equal(blob_list(the->blob, "\xff", NULL, see, NULL, &e), ERR_USAGE);
    buf_release(&b);
}

static int remove_one(void *arg, const char *key, uint64_t size)
{
    struct err e = ERR_INIT;

    ok(blob_remove(the->blob, key, &e), &e);
    return 0;
}

static void test_cleanup(void **state)
{
    struct err e = ERR_INIT;

    ok(blob_list(the->blob, the->prefix, NULL, remove_one, NULL, &e), &e);
    assert_int_equal(list("", NULL).count, 0);
}

int suite_run(struct suite *s)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_list_odd),
        cmocka_unit_test(test_list_many),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_large_memory),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_race),
        cmocka_unit_test(test_check_create),
        cmocka_unit_test(test_presign),
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_scratch_is_clean),
        cmocka_unit_test(test_cleanup),
    };
    struct err e = ERR_INIT;
    char nonce[33];
    int failed;

    the = s;
    clock_nonce(s->clock, nonce);
    snprintf(s->prefix, sizeof s->prefix, "suite-%s/", nonce);
    snprintf(s->scratch, sizeof s->scratch, "/tmp/tripline-blob-XXXXXX");
    if (!mkdtemp(s->scratch))
        return 1;
    failed = _cmocka_run_group_tests(s->name, tests, sizeof tests / sizeof tests[0], NULL, NULL);
    if (file_remove_tree(s->scratch, &e) < 0)
        failed++;
    return failed;
}
