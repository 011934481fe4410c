/*
 * Groups of cgroup v2: where they are looked for, and, on a host that delegates one to this test
 * (or to root), what they hold.
 */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/child/child_int.h"

#define MEMORY ((uint64_t)48 << 20)

static const char *attacker; /* a path that a user of another kernel can start too */

#define SPEC(...) WORLD_SPEC(attacker, __VA_ARGS__)

/* ---- where --------------------------------------------------------------------------------------
 */

static void its_place_is_found(void **state)
{
    static const struct {
        const char *cgroups, *mounts, *path; /* NULL: none */
    } cases[] = {
        /* one hierarchy, as a service manager has it */
        {"0::/system.slice/tripline.service\n",
         "24 1 0:22 / /proc rw - proc proc rw\n"
         "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
         "/sys/fs/cgroup/system.slice/tripline.service"},
        /* the root, as in a container with a namespace of its own */
        {"0::/\n", "31 23 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "/sys/fs/cgroup"},
        /* a container without one: it sees a part */
        {"0::/docker/abc/x\n", "31 23 0:27 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
         "/sys/fs/cgroup/x"},
        {"0::/docker/abcdef\n", "31 23 0:27 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
         NULL},
        /* beside version 1 */
        {"12:pids:/a\n4:memory:/b\n0::/c\n",
         "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
         "31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
         "/sys/fs/cgroup/unified/c"},
        /* version 1 alone, none, out of reach */
        {"12:pids:/a\n", "30 23 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", NULL},
        {"", "", NULL},
        {"0::/a\n", "24 1 0:22 / /proc rw - proc proc rw\n", NULL},
        {"0::/../other\n", "31 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", NULL},
        {"0::/a\n", "31 23 0:27 / /odd\\040place rw - cgroup2 cgroup2 rw\n", NULL},
    };
    char path[CHILD_GROUP_MAX];
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e = ERR_INIT;
        int rc = group_find(cases[i].cgroups, cases[i].mounts, path, &e);

        assert_int_equal(rc, cases[i].path ? 0 : ERR_UNSUPPORTED);
        if (cases[i].path)
            assert_string_equal(path, cases[i].path);
        else
            assert_non_null(strstr(e.text, "cgroup v2"));
    }
}

static void numbers_are_found(void **state)
{
    static const char events[] = "low 0\nhigh 3\nmax 17\noom 2\noom_kill 1\noom_group_kill 5\n";

    assert_int_equal(group_count(events, "oom_kill"), 1);
    assert_int_equal(group_count(events, "oom"), 2);
    assert_int_equal(group_count(events, "low"), 0);
    assert_int_equal(group_count(events, "none"), 0);
    assert_int_equal(group_count("", "oom"), 0);
}

static void what_is_no_group_is_refused(void **state)
{
    static const struct {
        const char *file, *text, *why;
    } cases[] = {
        {"other", "x", "is no group of cgroup v2"},
        {"cgroup.controllers", "hugetlb cpu\n",
         "lacks the controllers memory and pids (it has: "
         "hugetlb cpu)"},
        {"cgroup.controllers", "memory pidsx\n", "lacks the controllers"},
        {"cgroup.controllers", "cpu memory pids\n", "cgroup.subtree_control"},
    };
    struct world *w = *state;
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char folder[] = "/tmp/child-test-XXXXXX", file[64];
        struct err e = ERR_INIT;

        assert_non_null(mkdtemp(folder));
        snprintf(file, sizeof file, "%s/%s", folder, cases[i].file);
        assert_int_equal(file_write(file, cases[i].text, strlen(cases[i].text), &e), 0);
        assert_int_equal(child_exec_groups(w->port, folder, &e), ERR_UNSUPPORTED);
        assert_non_null(strstr(e.text, cases[i].why));
        assert_int_equal(file_remove_tree(folder, &e), 0);
    }
}

/* ---- what they hold -----------------------------------------------------------------------------
 */

/* This test's own groups; skips where there are none. */
static struct groups open_own(struct world *w)
{
    struct groups g;
    struct err e = ERR_INIT;

#ifdef WORLD_SHADOWED
    skip();
#endif
    if (child_exec_groups(w->port, NULL, &e) < 0) {
        assert_int_equal(e.code, ERR_UNSUPPORTED);
        print_message("no groups here: %s\n", e.text);
        skip();
    }
    assert_int_equal(groups_open(&g, NULL, &e), 0); /* again, from the leaf */
    return g;
}

static int count_runs(const struct groups *g)
{
    DIR *d = opendir(g->path);
    struct dirent *entry;
    int n = 0;

    assert_non_null(d);
    while ((entry = readdir(d)))
        n += strncmp(entry->d_name, "tripline-run-", 13) == 0;
    closedir(d);
    return n;
}

static void expect_text(const char *folder, const char *name, const char *want)
{
    char path[CHILD_GROUP_MAX + 64];
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 4096);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(file_read(path, &b, &e), 0);
    assert_string_equal(b.data, want);
    buf_release(&b);
}

static void limits_are_written(void **state)
{
    struct groups g = open_own(*state);
    struct child_spec spec = SPEC("threads");
    char path[CHILD_GROUP_MAX];
    struct err e = ERR_INIT;

    spec.memory_bytes = MEMORY;
    spec.processes = 40;
    spec.cpus = 3;
    assert_int_equal(group_make(&g, &spec, path, &e), 0);
    expect_text(path, "memory.max", "50331648\n");
    expect_text(path, "pids.max", "40\n");
    if (g.cpu)
        expect_text(path, "cpu.max", "300000 100000\n");
    assert_int_equal(count_runs(&g), 1);
    assert_int_equal(group_remove(path), 0);
    assert_int_equal(count_runs(&g), 0);
}

/* Its pages of files in memory count: no limit on address space sees them. */
static void out_of_memory_is_told(void **state)
{
    struct groups g = open_own(*state);
    char folder[] = "/dev/shm/child-test-XXXXXX", word[64];
    struct child_spec spec = SPEC(word);
    struct err e = ERR_INIT;
    struct child_end end;
    struct child *c;

    if (!mkdtemp(folder))
        skip();
    snprintf(word, sizeof word, "eat_file:%s/it", folder);
    spec.writable = (const char *const[]){folder, NULL};
    spec.memory_bytes = MEMORY;
    c = start(*state, &spec);
    assert_int_equal(count_runs(&g), 1);
    end = expect_end(c);
    assert_string_equal(end.why, "killed: out of memory (over the limit of its group)");
    assert_int_equal(end.status, SIGKILL);
    assert_int_equal(count_runs(&g), 0);
    child_free(c);
    assert_int_equal(file_remove_tree(folder, &e), 0);
}

static void a_group_bounds_threads(void **state)
{
    struct groups g = open_own(*state);
    struct child_spec spec = SPEC("bomb");
    struct child *c;

    spec.processes = 64;
    c = start(*state, &spec);
    expect_line(c, "bomb 63");
    child_free(c);
    assert_int_equal(count_runs(&g), 0);
}

static void what_the_dead_left_is_removed(void **state)
{
    struct groups g = open_own(*state);
    char left[CHILD_GROUP_MAX + 64], living[CHILD_GROUP_MAX + 64];
    struct err e = ERR_INIT;

    snprintf(left, sizeof left, "%s/tripline-run-%d-7", g.path, 0x7ffffff0); /* nobody's number */
    snprintf(living, sizeof living, "%s/tripline-run-%d-7", g.path, (int)getppid());
    assert_int_equal(mkdir(left, 0755), 0);
    assert_int_equal(mkdir(living, 0755), 0);
    assert_int_equal(groups_open(&g, NULL, &e), 0);
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(rmdir(living), 0);
}

#define REAL(test)                                                                                 \
    {                                                                                              \
#test, test, world_real, world_free, NULL                                                  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(its_place_is_found),
        REAL(numbers_are_found),
        REAL(what_is_no_group_is_refused),
        REAL(limits_are_written),
        REAL(out_of_memory_is_told),
        REAL(a_group_bounds_threads),
        REAL(what_the_dead_left_is_removed),
    };

    attacker = getenv("TRIPLINE_TEST_ATTACKER");
    attacker = attacker ? attacker : ATTACKER;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
