/*
 * The guards: what a hostile child may not do with them, it may without. All of it as the user who
 * runs the test and, if that is root, as a plain user too.
 */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"

#define PLAIN_UID 65534

static char attacker[64]; /* a copy that every user can start */

#define SPEC(...) WORLD_SPEC(attacker, __VA_ARGS__)

/* ---- a place to attack --------------------------------------------------------------------------
 */

/* FOLDER/secret, FOLDER/in/a to read, FOLDER/out to write to. */
struct place {
    char folder[40], in[48], out[48], secret[48];
};

static void place_make(struct place *p)
{
    char file[64];
    struct err e = ERR_INIT;

    snprintf(p->folder, sizeof p->folder, "/tmp/child-test-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->in, sizeof p->in, "%s/in", p->folder);
    snprintf(p->out, sizeof p->out, "%s/out", p->folder);
    snprintf(p->secret, sizeof p->secret, "%s/secret", p->folder);
    assert_int_equal(file_mkdirs(p->in, &e), 0);
    assert_int_equal(file_mkdirs(p->out, &e), 0);
    snprintf(file, sizeof file, "%s/a", p->in);
    assert_int_equal(file_write(file, "a", 1, &e), 0);
    assert_int_equal(file_write(p->secret, "s", 1, &e), 0);
    assert_int_equal(chmod(p->secret, 0600), 0);
}

static void place_remove(const struct place *p)
{
    struct err e = ERR_INIT;

    assert_int_equal(file_remove_tree(p->folder, &e), 0);
}

static void expect_untouched(const struct place *p)
{
    struct stat st;

    assert_int_equal(stat(p->secret, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 1);
    assert_int_equal(st.st_nlink, 1);
}

/* ---- attacks ------------------------------------------------------------------------------------
 */

#define ALWAYS CHILD_GUARDS /* needs no guard */

struct attack {
    const char *word;       /* of attacker.c; "%s" is the place's folder */
    enum child_guard guard; /* that refuses it */
    bool unsure;            /* hosts differ in what they allow without guards */
};

static void expect_refused(struct world *w, const struct attack *a, const char *word,
                           const struct place *p)
{
    struct child_spec spec = SPEC(word);
    char want[64];

    spec.readable = (const char *const[]){p->in, NULL};
    spec.writable = (const char *const[]){p->out, NULL};
    snprintf(want, sizeof want, "%.*s refused", (int)strcspn(word, ":"), word);
    expect_start(w, spec, CHILD_BEST, want);
    expect_untouched(p);
}

static void expect_done(struct world *w, const char *word)
{
    struct child_spec spec = SPEC(word);
    char want[64];

    snprintf(want, sizeof want, "%.*s done", (int)strcspn(word, ":"), word);
    expect_start(w, spec, CHILD_OFF, want);
}

static void try_attack(struct world *w, const struct attack *a, bool guarded)
{
    struct place p;
    char word[128];

    place_make(&p);
    snprintf(word, sizeof word, a->word, p.folder);
    if (guarded)
        expect_refused(w, a, word, &p);
    if (!a->unsure)
        expect_done(w, word);
    place_remove(&p);
}

static void try_attacks(struct world *w, const struct attack *attacks, size_t n)
{
    bool guarded[CHILD_GUARDS + 1] = {[ALWAYS] = true};
    size_t i;
    int g;

    for (g = 0; g < CHILD_GUARDS; g++)
        guarded[g] = holds((enum child_guard)g);
    for (i = 0; i < n; i++)
        try_attack(w, &attacks[i], guarded[attacks[i].guard]);
}

#define TRY(w, attacks) try_attacks(w, attacks, sizeof(attacks) / sizeof(attacks)[0])

static void the_workers_environment_cannot_be_read(void **state)
{
    static const struct attack attacks[] = {
        {"environment", CHILD_FILES, false}, {"memory", CHILD_FILES, true},
        {"vm_read", CHILD_CALLS, true},      {"trace", CHILD_CALLS, true},
        {"take_file", CHILD_CALLS, true},
    };

    TRY(*state, attacks);
}

static void no_socket_opens(void **state)
{
    static const struct attack attacks[] = {
        {"inet", CHILD_CALLS, false},        {"inet6", CHILD_CALLS, true},
        {"netlink", CHILD_CALLS, false},     {"abstract_socket", CHILD_CALLS, false},
        {"socket_pair", CHILD_CALLS, false}, {"uring", CHILD_CALLS, true},
    };

    TRY(*state, attacks);
}

static void nothing_is_written_outside(void **state)
{
    static const struct attack attacks[] = {
        {"write_file:%s/secret", CHILD_FILES, false},
        {"write_file:%s/in/a", CHILD_FILES, false},
        {"create_file:%s/in/new", CHILD_FILES, false},
        {"create_file:%s/new", CHILD_FILES, false},
        {"make_folder:%s/new", CHILD_FILES, false},
        {"remove_file:%s/secret", CHILD_FILES, false},
        {"rename_file:%s/secret", CHILD_FILES, false},
        {"truncate_file:%s/secret", CHILD_CALLS, false},
        {"read_truncate:%s/in/a", CHILD_CALLS, false},
        {"mode_three:%s/secret", CHILD_CALLS, false},
        {"change_mode:%s/secret", CHILD_CALLS, false},
        {"change_mode_2:%s/secret", CHILD_CALLS, true},
        {"change_owner:%s/secret", CHILD_CALLS, false},
        {"change_times:%s/secret", CHILD_CALLS, false},
        {"set_attribute:%s/secret", CHILD_CALLS, true},
        {"hard_link:%s/secret", CHILD_CALLS, false},
        {"symbolic_link:%s/out/new", CHILD_CALLS, false},
        {"named_pipe:%s/out/new", CHILD_CALLS, false},
    };

    TRY(*state, attacks);
}

static void nothing_is_read_outside(void **state)
{
    static const struct attack attacks[] = {
        {"read_file:%s/secret", CHILD_FILES, false}, {"read_file:/etc/passwd", CHILD_FILES, false},
        {"list_folder:%s", CHILD_FILES, false},      {"list_folder:/proc", CHILD_FILES, false},
        {"see_changes:%s", CHILD_CALLS, false},
    };

    TRY(*state, attacks);
}

static void a_fork_bomb_fails(void **state)
{
    static const struct attack attacks[] = {
        {"by_fork", CHILD_CALLS, false},
        {"by_clone", CHILD_CALLS, false},
        {"by_clone3", CHILD_CALLS, true},
        {"by_spawn", CHILD_CALLS, false},
    };
    struct child_spec threads = SPEC("threads"), bomb = SPEC("bomb");
    struct child_end end;
    struct child *c;

    TRY(*state, attacks);
    expect_start(*state, threads, WORLD_POLICY, "threads done");
    bomb.processes = 64;
    c = start(*state, &bomb);
    end = expect_end(c);
    assert_string_equal(end.why, "killed: it has over 64 threads");
    assert_int_equal(end.status, SIGKILL);
    child_free(c);
}

/* A shadowed address space has no limit. */
static void starves(void *state, const char *word)
{
#ifndef WORLD_SHADOWED
    struct child_spec spec = SPEC(word);
    char want[64];

    spec.memory_bytes = (uint64_t)64 << 20;
    snprintf(want, sizeof want, "%s Cannot allocate memory", word);
    expect_start(state, spec, CHILD_BEST, want);
#else
    (void)state;
    (void)word;
#endif
}

static void memory_cannot_be_eaten(void **state)
{
    static const char *const words[] = {"eat_heap", "eat_private", "eat_shared"};
    static const struct attack attacks[] = {
        {"eat_memfd", CHILD_CALLS, false},
        {"eat_system_v", CHILD_CALLS, true},
    };
    size_t i;

    TRY(*state, attacks);
    for (i = 0; i < sizeof words / sizeof words[0]; i++) {
        expect_done(*state, words[i]);
        starves(*state, words[i]);
    }
}

static void nobody_else_is_disturbed(void **state)
{
    static const struct attack attacks[] = {
        {"signal_parent", CHILD_CALLS, false}, {"signal_all", CHILD_CALLS, false},
        {"signal_thread", CHILD_CALLS, false}, {"signal_queue", CHILD_CALLS, false},
        {"signal_pidfd", CHILD_CALLS, true},   {"signal_by_pipe", CHILD_CALLS, false},
        {"limit_parent", CHILD_CALLS, false},  {"slow_parent", CHILD_CALLS, false},
        {"pin_parent", CHILD_CALLS, false},
    };

    TRY(*state, attacks);
}

static void it_cannot_slip_away(void **state)
{
    static const struct attack attacks[] = {
        {"outlive", CHILD_CALLS, false},
        {"leave_group", CHILD_CALLS, false},
        {"hide", CHILD_CALLS, false},
    };

    TRY(*state, attacks);
}

static void the_kernel_is_left_alone(void **state)
{
    static const struct attack attacks[] = {
        {"bpf", CHILD_CALLS, true},        {"perf", CHILD_CALLS, true},
        {"fault", CHILD_CALLS, true},      {"keyring", CHILD_CALLS, true},
        {"key", CHILD_CALLS, true},        {"user_namespace", CHILD_CALLS, true},
        {"unmount", CHILD_CALLS, true},    {"secret_memory", CHILD_CALLS, true},
        {"newer_call", CHILD_CALLS, true}, {"device", CHILD_CALLS, true},
    };

    TRY(*state, attacks);
}

/* ---- what it may --------------------------------------------------------------------------------
 */

static void its_own_files_are_open_to_it(void **state)
{
    static const char *const words[] = {"read_file:%s/in/a",           "list_folder:%s/in",
                                        "create_file:%s/out/a",        "write_file:%s/out/a",
                                        "make_folder:%s/out/b",        "rename_file:%s/out/a",
                                        "remove_file:%s/out/a-renamed"};
    struct place p;
    char word[128], want[64];
    size_t i;

    place_make(&p);
    for (i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct child_spec spec = SPEC(word);

        spec.readable = (const char *const[]){p.in, NULL};
        spec.writable = (const char *const[]){p.out, NULL};
        snprintf(word, sizeof word, words[i], p.folder);
        snprintf(want, sizeof want, "%.*s done", (int)strcspn(word, ":"), word);
        expect_start(*state, spec, WORLD_POLICY, want);
    }
    place_remove(&p);
}

/* Setting it succeeds, as programs expect, and does nothing. */
static void a_mode_stays(void **state)
{
    struct place p;
    char word[128], file[64];
    struct child_spec spec = SPEC(word);
    bool calls = holds(CHILD_CALLS);
    struct stat before, after;

    place_make(&p);
    snprintf(word, sizeof word, "change_open_mode:%s/in/a", p.folder);
    snprintf(file, sizeof file, "%s/a", p.in);
    spec.readable = (const char *const[]){p.in, NULL};
    assert_int_equal(stat(file, &before), 0);
    if (calls) {
        expect_start(*state, spec, CHILD_BEST, "change_open_mode done");
        assert_int_equal(stat(file, &after), 0);
        assert_int_equal(after.st_mode, before.st_mode);
    }
    expect_start(*state, spec, CHILD_OFF, "change_open_mode done");
    assert_int_equal(stat(file, &after), 0);
    assert_int_equal(after.st_mode & 0777, 0777);
    place_remove(&p);
}

/* By many small files, and by files without a name. */
static void its_folder_has_a_limit(void **state)
{
    static const char *const words[] = {"fill:%s", "hoard:%s"};
    size_t i;

    for (i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct place p;
        char word[64];
        const char *writable[] = {p.out, NULL};
        struct child_spec spec = SPEC(word);
        struct child_end end;
        struct child *c;

        place_make(&p);
        snprintf(word, sizeof word, words[i], p.out);
        spec.writable = writable;
        spec.space_bytes = 1 << 20;
        spec.file_bytes = 1 << 20; /* no single file reaches it */
        c = start(*state, &spec);
        end = expect_end(c);
        assert_string_equal(end.why, "killed: its files are over 1048576 bytes");
        assert_int_equal(end.status, SIGKILL);
        child_free(c);
        place_remove(&p);
    }
}

/* ---- the network's namespace, and a parent that hides -------------------------------------------
 */

static void expect_other_network(struct world *w)
{
    struct child_spec where = SPEC("network");
    char here[64] = "", want[80];
    struct err e = ERR_INIT;
    struct child *c;
    struct buf line;

    assert_true(readlink("/proc/self/ns/net", here, sizeof here - 1) > 0);
    snprintf(want, sizeof want, "%s network done", here);
    expect_start(w, where, CHILD_OFF, want);
    c = start(w, &where);
    buf_init(&line, 100);
    assert_int_equal(child_read(c, LONG_MS, &line, &e), 1);
    assert_non_null(strstr(line.data, "net:["));
    assert_string_not_equal(line.data, want);
    buf_release(&line);
    child_free(c);
}

static void its_network_is_empty(void **state)
{
    if (!holds(CHILD_NETWORK))
        skip();
    expect_other_network(*state);
}

/* A parent that isn't dumpable shows its environment to nobody, and still can be left. */
static void a_parent_can_hide(void **state)
{
    struct child_spec spy = SPEC("environment");

    if (!holds(CHILD_CALLS)) /* with a sanitizer root's child keeps root's powers */
        skip();
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), 0);
    expect_start(*state, spy, CHILD_BEST, "environment refused");
    expect_start(*state, spy, CHILD_OFF,
                 geteuid() == 0 ? "environment done" : "environment refused");
    if (holds(CHILD_NETWORK))
        expect_other_network(*state);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    expect_start(*state, spy, CHILD_OFF, "environment done");
}

/* ---- poorer hosts -------------------------------------------------------------------------------
 */

/* From here on this process cannot use the call. */
static bool lose_call(unsigned nr, unsigned answer)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof code / sizeof code[0], code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* 0 when all goes as it should on a host that has no Landlock. */
static int without_landlock(struct world *w)
{
    struct child_spec spec = SPEC("threads");
    struct err e = ERR_INIT;
    struct child *c = NULL;
    int rc;

    spec.writable = (const char *const[]){"/tmp", NULL};
    if (!lose_call(SYS_landlock_create_ruleset, ENOSYS))
        return 77;
    if (child_guard_try(CHILD_FILES, &e) != ERR_UNSUPPORTED || !strstr(e.text, "Landlock"))
        return 1;
    spec.policy = CHILD_REQUIRE;
    if (child_start(w->port, &spec, &c, &e) != ERR_CONFIG || !strstr(e.text, "Landlock"))
        return 2;
    spec.policy = WORLD_POLICY;
    rc = child_start(w->port, &spec, &c, &e);
    child_free(c);
    return rc < 0 ? 3 : 0;
}

/* A container's own filter usually refuses namespaces: nothing is missing without them. */
static int without_namespaces(struct world *w)
{
    struct child_spec spec = SPEC("inet");
    struct err e = ERR_INIT;

    if (!holds(CHILD_CALLS) || !holds(CHILD_FILES) || !lose_call(SYS_unshare, EPERM))
        return 77;
    if (child_guard_try(CHILD_NETWORK, &e) != ERR_UNSUPPORTED)
        return 1;
    spec.writable = (const char *const[]){"/tmp", NULL};
    expect_start(w, spec, CHILD_REQUIRE, "inet refused");
    return 0;
}

static void on_a_poorer_host(struct world *w, int (*test)(struct world *))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        _exit(test(w));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void what_is_required_must_be_there(void **state)
{
    on_a_poorer_host(*state, without_landlock);
}

static void a_containers_filter_is_no_gap(void **state)
{
    on_a_poorer_host(*state, without_namespaces);
}

/* -------------------------------------------------------------------------------------------------
 */

#define REAL(test)                                                                                 \
    {                                                                                              \
#test, test, world_real, world_free, NULL                                                  \
    }

static int run(void)
{
    const struct CMUnitTest tests[] = {
        REAL(the_workers_environment_cannot_be_read),
        REAL(no_socket_opens),
        REAL(nothing_is_written_outside),
        REAL(nothing_is_read_outside),
        REAL(a_fork_bomb_fails),
        REAL(memory_cannot_be_eaten),
        REAL(nobody_else_is_disturbed),
        REAL(it_cannot_slip_away),
        REAL(the_kernel_is_left_alone),
        REAL(its_own_files_are_open_to_it),
        REAL(a_mode_stays),
        REAL(its_folder_has_a_limit),
        REAL(its_network_is_empty),
        REAL(a_parent_can_hide),
        REAL(what_is_required_must_be_there),
        REAL(a_containers_filter_is_no_gap),
    };

    return cmocka_run_group_tests_name(geteuid() == 0 ? "as root" : "as a plain user", tests, NULL,
                                       NULL);
}

static int run_as_plain_user(void)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        exit(setgroups(0, NULL) == 0 && setresgid(PLAIN_UID, PLAIN_UID, PLAIN_UID) == 0 &&
                     setresuid(PLAIN_UID, PLAIN_UID, PLAIN_UID) == 0 &&
                     prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
                 ? run()
                 : 1);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int copy_attacker(const char *folder)
{
    struct err e = ERR_INIT;
    struct buf b;
    int rc;

    buf_init(&b, (size_t)64 << 20);
    snprintf(attacker, sizeof attacker, "%s/attacker", folder);
    if ((rc = file_read(ATTACKER, &b, &e)) == 0)
        rc = file_write(attacker, b.data, b.len, &e);
    buf_release(&b);
    return rc < 0 ? rc : chmod(folder, 0755) == 0 && chmod(attacker, 0755) == 0 ? 0 : -1;
}

int main(void)
{
    char folder[] = "/tmp/child-guard-XXXXXX";
    struct err e = ERR_INIT;
    int failed;

    if (!mkdtemp(folder) || copy_attacker(folder) < 0)
        return 1;
    failed = run();
    if (geteuid() == 0)
        failed += run_as_plain_user();
    return file_remove_tree(folder, &e) < 0 || failed != 0;
}
