#include "platform/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each test has a folder of its own. */
struct place {
    char dir[64], path[PATH_MAX];
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    if (!p)
        return -1;
    snprintf(p->dir, sizeof p->dir, "/tmp/file_test.XXXXXX");
    *state = p;
    return mkdtemp(p->dir) ? 0 : -1;
}

static int teardown(void **state)
{
    struct place *p = *state;
    struct err e = ERR_INIT;
    int rc = file_remove_tree(p->dir, &e);

    free(p);
    return rc;
}

static const char *in(struct place *p, const char *name)
{
    snprintf(p->path, sizeof p->path, "%s/%s", p->dir, name);
    return p->path;
}

static int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2; /* "." and ".." */
}

static void check_content(const char *path, const char *want)
{
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(file_read(path, &b, &e), 0);
    assert_string_equal(b.data, want);
    buf_release(&b);
}

static void what_is_written_is_read(void **state)
{
    struct place *p = *state;
    struct err e = ERR_INIT;
    struct stat st;

    assert_int_equal(file_write(in(p, "f"), "first", 5, &e), 0);
    check_content(p->path, "first");
    assert_int_equal(file_write(p->path, "2nd", 3, &e), 0);
    check_content(p->path, "2nd");
    assert_int_equal(file_write(p->path, "", 0, &e), 0);
    check_content(p->path, "");
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(entries(p->dir), 1); /* no temporary file is left */
}

static void a_limit_holds_to_the_byte(void **state)
{
    struct place *p = *state;
    struct err e = ERR_INIT;
    struct buf b;

    assert_int_equal(file_write(in(p, "f"), "123456", 6, &e), 0);
    buf_init(&b, 6);
    assert_int_equal(file_read(p->path, &b, &e), 0);
    assert_string_equal(b.data, "123456");
    buf_release(&b);
    buf_init(&b, 5);
    assert_int_equal(file_read(p->path, &b, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "larger than 5 bytes"));
    buf_release(&b);
}

/* /proc says that its files have no bytes. */
static void a_file_may_be_larger_than_it_says(void **state)
{
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(file_read("/proc/self/status", &b, &e), 0);
    assert_non_null(strstr(b.data, "Name:"));
    buf_release(&b);
    buf_init(&b, 10);
    assert_int_equal(file_read("/proc/self/status", &b, &e), ERR_LIMIT);
    buf_release(&b);
}

static void what_cannot_be_read_is_named(void **state)
{
    struct place *p = *state;
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 100);
    assert_int_equal(file_read(in(p, "none"), &b, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, p->path));
    assert_int_equal(file_read(p->dir, &b, &e), ERR_IO);
    assert_non_null(strstr(e.text, "not a regular file"));
    buf_release(&b);
}

/* A limit on file sizes fails a write in its middle, as a full disk does. */
static void a_failed_write_leaves_the_old_file(void **state)
{
    struct place *p = *state;
    struct rlimit before, small;
    struct err e = ERR_INIT;
    char big[8192];
    int rc;

    memset(big, 'x', sizeof big);
    assert_int_equal(file_write(in(p, "f"), "old", 3, &e), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    rc = file_write(p->path, big, sizeof big, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, ERR_IO);
    assert_non_null(strstr(e.text, "writing"));
    check_content(p->path, "old");
    assert_int_equal(entries(p->dir), 1);
}

static void a_place_that_is_not_there_is_named(void **state)
{
    struct err e = ERR_INIT;

    assert_int_equal(file_write("/nowhere/at/all/f", "x", 1, &e), ERR_IO);
    assert_non_null(strstr(e.text, "/nowhere/at/all/f"));
}

static void folders_are_made_and_removed(void **state)
{
    struct place *p = *state;
    struct err e = ERR_INIT;

    assert_int_equal(file_mkdirs(in(p, "a/b/c/"), &e), 0);
    assert_int_equal(file_mkdirs(p->path, &e), 0);
    assert_int_equal(file_write(in(p, "a/b/f"), "x", 1, &e), 0);
    assert_int_equal(file_mkdirs(in(p, "a/b/f/g"), &e), ERR_IO);
    assert_int_equal(file_mkdirs("", &e), ERR_IO);
    assert_int_equal(file_remove_tree(in(p, "a"), &e), 0);
    assert_int_equal(access(p->path, F_OK), -1);
    assert_int_equal(file_remove_tree(p->path, &e), 0);
}

static void links_are_removed_and_not_followed(void **state)
{
    struct place *p = *state;
    struct err e = ERR_INIT;
    char outside[PATH_MAX];

    assert_int_equal(file_write(in(p, "precious"), "x", 1, &e), 0);
    snprintf(outside, sizeof outside, "%s", p->dir);
    assert_int_equal(file_mkdirs(in(p, "tree"), &e), 0);
    assert_int_equal(symlink(outside, in(p, "tree/up")), 0);
    assert_int_equal(file_remove_tree(in(p, "tree"), &e), 0);
    check_content(in(p, "precious"), "x");
}

/* As a user whom modes bind. */
static int remove_as_nobody(const char *outer, const char *inner)
{
    struct err e = ERR_INIT;
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(2);
        if (file_mkdirs(inner, &e) < 0 || chmod(inner, 0) < 0 || chmod(outer, 0) < 0)
            _exit(3);
        _exit(file_remove_tree(outer, &e) == 0 && access(outer, F_OK) < 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void folders_without_rights_are_removed(void **state)
{
    struct place *p = *state;
    char outer[PATH_MAX];

    assert_int_equal(chmod(p->dir, 0777), 0);
    snprintf(outer, sizeof outer, "%s", in(p, "closed"));
    assert_int_equal(remove_as_nobody(outer, in(p, "closed/inner")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_limit_holds_to_the_byte, setup, teardown),
        cmocka_unit_test(a_file_may_be_larger_than_it_says),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_leaves_the_old_file, setup, teardown),
        cmocka_unit_test(a_place_that_is_not_there_is_named),
        cmocka_unit_test_setup_teardown(folders_are_made_and_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_without_rights_are_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_removed_and_not_followed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
