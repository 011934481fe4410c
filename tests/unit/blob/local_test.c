/* The suite over the stores that need no server, and what is special about each. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/blob/blob_mem.h"
#include "tests/service/blob/suite.h"

static struct clock *the_clock;
static char folder[] = "/tmp/tripline-blob-dir-XXXXXX";

static struct blob *open_dir(const char *below)
{
    struct err e = ERR_INIT;
    struct blob *b = NULL;
    char path[200];

    snprintf(path, sizeof path, "%s/%s", folder, below);
    assert_int_equal(blob_dir(&b, path, the_clock, &e), 0);
    return b;
}

static int count(void *arg, const char *key, uint64_t size)
{
    ++*(int *)arg;
    return 0;
}

/* A link inside the store leads out of it: neither read, written through, nor listed. */
static void test_dir_links(void **state)
{
    struct blob *b = open_dir("links");
    struct err e = ERR_INIT;
    char path[300], outside[200];
    struct buf got;
    int n = 0;

    buf_init(&got, 100);
    snprintf(outside, sizeof outside, "%s/outside", folder);
    assert_int_equal(mkdir(outside, 0755), 0);
    snprintf(path, sizeof path, "%s/secret", outside);
    assert_int_equal(file_write(path, "secret", 6, &e), 0);
    snprintf(path, sizeof path, "%s/links/way", folder);
    assert_int_equal(symlink(outside, path), 0);
    snprintf(outside, sizeof outside, "%s/outside/secret", folder);
    snprintf(path, sizeof path, "%s/links/file", folder);
    assert_int_equal(symlink(outside, path), 0);

    assert_true(blob_get(b, "way/secret", &got, &e) < 0);
    assert_true(blob_get(b, "file", &got, &e) < 0);
    assert_true(blob_head(b, "file", NULL, &e) < 0);
    assert_true(blob_put(b, "way/new", "x", 1, &e) < 0);
    assert_true(blob_create(b, "way/new", "x", 1, &e) < 0);
    assert_int_equal(blob_list(b, "", NULL, count, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(blob_put(b, "file", "mine", 4, &e), 0); /* replaces the link */
    got.len = 0;
    assert_int_equal(file_read(outside, &got, &e), 0);
    assert_string_equal(got.data, "secret");
    buf_release(&got);
    blob_free(b);
}

/* The corner for temporary files is no key and no part of a listing; old leftovers go. */
static void test_dir_temp(void **state)
{
    struct blob *b = open_dir("temp");
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct err e = ERR_INIT;
    char path[200];
    int n = 0, fd;

    snprintf(path, sizeof path, "%s/temp/.blob-tmp/half", folder);
    assert_int_equal(file_write(path, "half", 4, &e), 0);
    assert_int_equal(blob_put(b, ".blob-tmp/x", "x", 1, &e), ERR_USAGE);
    assert_int_equal(blob_put(b, ".blob-tmp", "x", 1, &e), ERR_USAGE);
    assert_int_equal(blob_put(b, ".blob-tmpx", "x", 1, &e), 0);
    assert_int_equal(blob_list(b, "", NULL, count, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(blob_list(b, ".blob-tmp/", NULL, count, &n, &e), 0);
    assert_int_equal(n, 1);
    blob_free(b);

    b = open_dir("temp");
    assert_int_equal(access(path, F_OK), 0); /* it may be another process's */
    fd = open(path, O_WRONLY);
    assert_int_equal(futimens(fd, old), 0);
    close(fd);
    blob_free(b);
    b = open_dir("temp");
    assert_int_equal(access(path, F_OK), -1);
    blob_free(b);
}

static void folders(struct blob *b)
{
    struct err e = ERR_INIT;

    assert_int_equal(blob_put(b, "f/b", "x", 1, &e), 0);
    assert_int_equal(blob_put(b, "f", "x", 1, &e), ERR_USAGE);
    assert_int_equal(blob_create(b, "f", "x", 1, &e), ERR_USAGE);
    assert_int_equal(blob_put(b, "f/b/c", "x", 1, &e), ERR_USAGE);
    assert_int_equal(blob_create(b, "f/b/c/d", "x", 1, &e), ERR_USAGE);
    assert_int_equal(blob_remove(b, "f", &e), 0);
    assert_int_equal(blob_head(b, "f", NULL, &e), ERR_NOT_FOUND);
    assert_int_equal(blob_head(b, "f/b", NULL, &e), 0);
    assert_int_equal(blob_head(b, "f/b/c", NULL, &e), ERR_NOT_FOUND);
    assert_int_equal(blob_remove(b, "f/b/c", &e), 0);
}

static void test_no_key_is_a_folder(void **state)
{
    struct err e = ERR_INIT;
    struct blob *b = open_dir("folders");

    folders(b);
    blob_free(b);
    assert_int_equal(blob_mem(&b, the_clock, &e), 0);
    folders(b);
    blob_free(b);
}

struct churn {
    struct blob *blob;
    int number;
    struct task *task;
    int failed;
    struct err e;
};

/* Everybody's last removal takes the folder away under the others' feet. */
static void churn(void *arg)
{
    struct churn *c = arg;
    char key[64];
    int i;

    for (i = 0; i < 200 && !c->failed; i++) {
        snprintf(key, sizeof key, "churn/deep/%d", c->number);
        c->failed =
            blob_create(c->blob, key, "x", 1, &c->e) < 0 || blob_remove(c->blob, key, &c->e) < 0;
    }
}

static void test_dir_churn(void **state)
{
    struct blob *b = open_dir("churn");
    struct churn churns[4] = {{.number = 0}};
    struct err e = ERR_INIT;
    int i;

    for (i = 0; i < 4; i++) {
        churns[i].blob = b;
        churns[i].number = i;
        assert_int_equal(clock_go(the_clock, "churn", churn, &churns[i], &churns[i].task, &e), 0);
    }
    for (i = 0; i < 4; i++)
        clock_join(the_clock, churns[i].task);
    for (i = 0; i < 4; i++)
        if (churns[i].failed)
            fail_msg("%s", churns[i].e.text);
    blob_free(b);
}

static void test_dir_unusable(void **state)
{
    struct err e = ERR_INIT;
    struct blob *b = NULL;
    char path[200];

    snprintf(path, sizeof path, "%s/a-file", folder);
    assert_int_equal(file_write(path, "x", 1, &e), 0);
    assert_int_equal(blob_dir(&b, path, the_clock, &e), ERR_IO);
    assert_null(b);
}

static int lose_answer(void *arg, const char *call, const char *key, enum blob_mem_moment moment,
                       struct err *e)
{
    int *left = arg;

    if (moment == BLOB_MEM_AFTER && *left > 0 && (*left)-- > 0)
        return err_set(e, ERR_PEER, "%s %s: lost", call, key);
    return 0;
}

static void test_mem_hook(void **state)
{
    struct err e = ERR_INIT;
    struct blob *b = NULL;
    int left = 1;

    assert_int_equal(blob_mem(&b, the_clock, &e), 0);
    blob_mem_hook(b, lose_answer, &left);
    assert_int_equal(blob_create(b, "k", "mine", 4, &e), ERR_PEER); /* after the effect */
    assert_int_equal(blob_create(b, "k", "mine", 4, &e), 0);
    assert_int_equal(blob_create(b, "k", "your", 4, &e), ERR_EXISTS);
    blob_free(b);
}

static int run(const char *name, struct blob *b, bool has_urls)
{
    struct suite s = {.name = name,
                      .blob = b,
                      .clock = the_clock,
                      .part_bytes = (size_t)5 << 20,
                      .has_urls = has_urls};
    int failed = suite_run(&s);

    blob_free(b);
    return failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dir_links),          cmocka_unit_test(test_dir_temp),
        cmocka_unit_test(test_no_key_is_a_folder), cmocka_unit_test(test_dir_churn),
        cmocka_unit_test(test_dir_unusable),       cmocka_unit_test(test_mem_hook),
    };
    struct err e = ERR_INIT;
    struct blob *mem = NULL, *dir = NULL;
    int failed;

    if (!mkdtemp(folder) || clock_real(&the_clock, &e) < 0 || blob_mem(&mem, the_clock, &e) < 0 ||
        blob_dir(&dir, folder, the_clock, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    failed = run("blob_mem", mem, false) + run("blob_dir", dir, true);
    failed += cmocka_run_group_tests_name("blob_local", tests, NULL, NULL);
    clock_free(the_clock);
    if (file_remove_tree(folder, &e) < 0)
        failed++;
    return failed != 0;
}
