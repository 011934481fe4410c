/* One suite over real and scripted children (the latter in both kinds of time), then what only real
 * processes show. */
#include "platform/child/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/clock/clock.h"

/* A sanitizer's shadow memory needs more address space than any limit leaves. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SHADOWED
#endif
#endif

#define LONG_MS 20000 /* far more than anything here takes */

struct world {
    struct clock *clock;
    struct child_port *port;
    bool simulated;
};

/* The scripted twin understands the words of child_player.c that make sense without a process. */
static int play(void *arg, struct child *self, const struct child_spec *spec)
{
    struct clock *clock = arg;
    bool shy = false;
    int i, signum = 0;
    int64_t until;

    for (i = 1; spec->argv[i]; i++) {
        const char *word = spec->argv[i], *rest = strchr(word, ':') ? strchr(word, ':') + 1 : "";

        shy = shy || !strcmp(word, "shy");
        if (!strncmp(word, "say:", 4))
            child_mem_emit(self, rest);
        if (!strncmp(word, "cry:", 4))
            child_mem_complain(self, rest);
        if (!strncmp(word, "exit:", 5))
            return atoi(rest);
        if (!strncmp(word, "die:", 4))
            return -atoi(rest);
        until = clock_mono_ms(clock) + (strncmp(word, "nap:", 4) ? 0 : atol(rest));
        while (clock_mono_ms(clock) < until && !child_mem_signalled(self, &signum))
            clock_sleep_ms(clock, 1);
        if (signum)
            return signum == SIGTERM && shy ? 7 : -signum;
    }
    return 0;
}

static int setup(void **state, bool simulated, bool real)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e = ERR_INIT;
    int rc = simulated ? clock_sim(&w->clock, 5, &e) : clock_real(&w->clock, &e);

    if (rc == 0 && real)
        rc = child_exec(&w->port, w->clock, &e);
    else if (rc == 0)
        rc = child_mem(&w->port, w->clock, play, w->clock, &e);
    w->simulated = simulated;
    *state = w;
    return rc;
}

static int setup_exec(void **state)
{
    return setup(state, false, true);
}

static int setup_mem(void **state)
{
    return setup(state, false, false);
}

static int setup_mem_sim(void **state)
{
    return setup(state, true, false);
}

static int teardown(void **state)
{
    struct world *w = *state;

    child_port_free(w->port);
    clock_free(w->clock);
    free(w);
    return 0;
}

#ifdef SHADOWED
#define POLICY CHILD_OFF /* at its end a sanitizer does what the guards forbid */
#else
#define POLICY CHILD_BEST
#endif

#define SPEC(...)                                                                                  \
    {                                                                                              \
        .argv = (const char *const[]){PLAYER, __VA_ARGS__, NULL}, .folder = "/", .policy = POLICY  \
    }

static struct child *start(struct world *w, const struct child_spec *spec)
{
    struct err e = ERR_INIT;
    struct child *c = NULL;

    if (child_start(w->port, spec, &c, &e) < 0)
        fail_msg("%s", e.text);
    return c;
}

static void expect_line(struct child *c, const char *want)
{
    struct err e = ERR_INIT;
    struct buf line;

    buf_init(&line, 1 << 20);
    if (child_read(c, LONG_MS, &line, &e) != 1)
        fail_msg("no line, but %s", e.text);
    assert_string_equal(line.data, want);
    buf_release(&line);
}

static void expect_no_more(struct child *c)
{
    struct err e = ERR_INIT;
    struct buf line;

    buf_init(&line, 1 << 20);
    assert_int_equal(child_read(c, LONG_MS, &line, &e), ERR_NOT_FOUND);
    assert_int_equal(child_read(c, 0, &line, &e), ERR_NOT_FOUND);
    buf_release(&line);
}

static struct child_end expect_end(struct child *c)
{
    struct err e = ERR_INIT;
    struct child_end end = {0}, again = {0};

    assert_int_equal(child_wait(c, LONG_MS, &end, &e), 1);
    assert_int_equal(child_wait(c, 0, &again, &e), 1);
    assert_int_equal(again.status, end.status);
    return end;
}

static void lines_then_an_exit_status(void **state)
{
    struct child_spec spec = SPEC("say:hello", "say:", "say:world", "exit:3");
    struct child *c = start(*state, &spec);
    struct child_end end;

    expect_line(c, "hello");
    expect_line(c, "");
    expect_line(c, "world");
    expect_no_more(c);
    end = expect_end(c);
    assert_false(end.signalled);
    assert_int_equal(end.status, 3);
    assert_string_equal(end.why, "exit status 3");
    child_signal(c, SIGKILL); /* nobody there any more */
    child_free(c);
}

static void reading_takes_no_longer_than_asked(void **state)
{
    struct world *w = *state;
    struct child_spec spec = SPEC("nap:400", "say:late");
    struct child *c = start(w, &spec);
    struct err e = ERR_INIT;
    struct child_end end;
    struct buf line;
    int64_t from = clock_mono_ms(w->clock);

    buf_init(&line, 1 << 20);
    assert_int_equal(child_read(c, 0, &line, &e), 0);
    assert_int_equal(child_read(c, 50, &line, &e), 0);
    assert_int_equal(child_wait(c, 50, &end, &e), 0);
    assert_in_range(clock_mono_ms(w->clock) - from, 95, 390);
    expect_line(c, "late");
    expect_no_more(c);
    assert_int_equal(expect_end(c).status, 0);
    buf_release(&line);
    child_free(c);
}

static void death_by_signal(void **state)
{
    struct child_spec spec = SPEC("say:x", "die:9");
    struct child *c = start(*state, &spec);
    struct child_end end;

    expect_line(c, "x");
    expect_no_more(c);
    end = expect_end(c);
    assert_true(end.signalled);
    assert_int_equal(end.status, SIGKILL);
    assert_string_equal(end.why, "killed by SIGKILL (out of memory?)");
    child_free(c);
}

static void a_term_may_be_handled(void **state)
{
    struct child_spec spec = SPEC("shy", "say:ready", "nap:30000");
    struct child *c = start(*state, &spec);

    expect_line(c, "ready");
    child_signal(c, SIGTERM);
    assert_int_equal(expect_end(c).status, 7);
    child_free(c);
}

static void a_term_or_a_kill_ends_it(void **state)
{
    struct child_spec spec = SPEC("say:ready", "nap:30000");
    const int signals[] = {SIGTERM, SIGKILL};
    size_t i;

    for (i = 0; i < 2; i++) {
        struct child *c = start(*state, &spec);
        struct child_end end;

        expect_line(c, "ready");
        child_signal(c, signals[i]);
        end = expect_end(c);
        assert_true(end.signalled);
        assert_int_equal(end.status, signals[i]);
        child_free(c);
    }
}

static void freeing_ends_it(void **state)
{
    struct child_spec spec = SPEC("say:ready", "nap:30000");
    struct world *w = *state;
    struct child *c = start(w, &spec);
    int64_t from = clock_mono_ms(w->clock);

    expect_line(c, "ready");
    child_free(c);
    child_free(NULL);
    assert_in_range(clock_mono_ms(w->clock) - from, 0, 10000);
}

static void the_last_complaints_are_kept(void **state)
{
    struct child_spec spec = SPEC("cry:first", "cry:second", "say:done");
    struct child *c = start(*state, &spec);
    struct buf tail;

    buf_init(&tail, 1 << 20);
    expect_line(c, "done");
    expect_end(c);
    child_errors(c, &tail);
    assert_string_equal(tail.data, "first\nsecond\n");
    buf_release(&tail);
    child_free(c);
}

static void bad_specs_are_refused(void **state)
{
    struct world *w = *state;
    const struct child_spec bad[] = {
        {.argv = (const char *const[]){NULL}, .folder = "/"},
        {.argv = (const char *const[]){"ls", NULL}, .folder = "/"},
        {.argv = (const char *const[]){"/bin/ls", NULL}, .folder = "tmp"},
        {.argv = (const char *const[]){"/bin/ls", NULL}},
        {.argv = (const char *const[]){"/bin/ls", NULL}, .folder = "/", .cpu_seconds = -1},
    };
    struct child *c;
    size_t i;

    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e = ERR_INIT;

        assert_int_equal(child_start(w->port, &bad[i], &c, &e), ERR_USAGE);
    }
}

struct reader {
    struct child *child;
    int rc;
};

static void read_for_long(void *arg)
{
    struct reader *r = arg;
    struct err e = ERR_INIT;
    struct buf line;

    buf_init(&line, 100);
    r->rc = child_read(r->child, 30000, &line, &e);
    buf_release(&line);
}

static void a_stop_ends_waiting(void **state)
{
    struct world *w = *state;
    struct child_spec spec = SPEC("nap:30000");
    struct reader r = {start(w, &spec), 5};
    struct err e = ERR_INIT;
    struct task *t;
    int64_t from = clock_mono_ms(w->clock);

    assert_int_equal(clock_go(w->clock, "reader", read_for_long, &r, &t, &e), 0);
    clock_sleep_ms(w->clock, 20);
    clock_stop(w->clock);
    clock_join(w->clock, t);
    assert_int_equal(r.rc, 0);
    assert_in_range(clock_mono_ms(w->clock) - from, 0, 10000);
    child_free(r.child);
}

/* From here on: real processes only. */

static void what_was_given_and_nothing_else(void **state)
{
    struct child_spec spec = SPEC("env", "pwd", "files", "privileges", "say:two words");
    struct child *c;
    int leak = open("/dev/null", O_RDONLY); /* not CLOEXEC */

    spec.env = (const char *const[]){"A=1", "B=x y", NULL};
    spec.folder = "/usr";
    c = start(*state, &spec);
    close(leak);
    expect_line(c, "A=1");
    expect_line(c, "B=x y");
    expect_line(c, "/usr");
    expect_line(c, "files 3");
    expect_line(c, "no_new_privs 1");
    expect_line(c, "two words");
    expect_no_more(c);
    child_free(c);
}

static void a_program_that_cannot_start(void **state)
{
    struct world *w = *state;
    struct child_spec missing = {.argv = (const char *const[]){"/nonexistent/program", NULL},
                                 .folder = "/"};
    struct child_spec nowhere = SPEC("say:x");
    struct err e = ERR_INIT;
    struct child *c = NULL;

    assert_int_equal(child_start(w->port, &missing, &c, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "/nonexistent/program"));
    assert_non_null(strstr(e.text, "No such file"));
    nowhere.folder = "/nonexistent";
    assert_int_equal(child_start(w->port, &nowhere, &c, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "entering its folder"));
    assert_null(c);
}

static void lines_have_a_limit(void **state)
{
    struct child_spec spec = SPEC("big:1048576", "big:1048577");
    struct child *c = start(*state, &spec);
    struct err e = ERR_INIT;
    struct buf line;

    buf_init(&line, 2 << 20);
    assert_int_equal(child_read(c, LONG_MS, &line, &e), 1);
    assert_int_equal(line.len, 1 << 20);
    assert_int_equal(child_read(c, LONG_MS, &line, &e), ERR_LIMIT);
    assert_int_equal(child_read(c, LONG_MS, &line, &e), ERR_LIMIT);
    buf_release(&line);
    child_free(c);
}

static void many_lines_and_a_last_part(void **state)
{
    struct child_spec spec = SPEC("many:20000", "part");
    struct child *c = start(*state, &spec);
    char want[40];
    int i;

    for (i = 0; i < 20000; i++) {
        snprintf(want, sizeof want, "line %d", i);
        expect_line(c, want);
    }
    expect_line(c, "no newline");
    expect_no_more(c);
    child_free(c);
}

static void waiting_also_reads(void **state)
{
    struct child_spec spec = SPEC("many:60000", "exit:4"); /* more than a pipe holds */
    struct child *c = start(*state, &spec);

    assert_int_equal(expect_end(c).status, 4);
    expect_line(c, "line 0");
    expect_line(c, "line 1");
    child_free(c);
}

static void limits_hold(void **state)
{
    struct child_spec spec = SPEC("eat:64", "eat:4096");
    struct child *c;
    struct child_end end;

#ifndef SHADOWED
    spec.memory_bytes = (uint64_t)1 << 30;
    c = start(*state, &spec);
    expect_line(c, "eaten");
    expect_line(c, "refused");
    child_free(c);
#endif
    spec = (struct child_spec)SPEC("burn");
    spec.cpu_seconds = 1;
    c = start(*state, &spec);
    end = expect_end(c);
    assert_int_equal(end.status, SIGXCPU);
    assert_string_equal(end.why, "killed by SIGXCPU (over its CPU time)");
    child_free(c);
}

/* A grandchild neither survives the leader nor a free. */
static void the_group_dies_together(void **state)
{
    const char *const words[] = {"exit:0", "nap:30000"};
    size_t i;

    for (i = 0; i < 2; i++) {
        struct child_spec spec = SPEC("spawn", words[i]);
        struct child *c;
        struct err e = ERR_INIT;
        struct buf line;
        int tries = 0;

        spec.policy = CHILD_OFF; /* else there is none */
        c = start(*state, &spec);
        buf_init(&line, 100);
        assert_int_equal(child_read(c, LONG_MS, &line, &e), 1);
        if (i == 0) {
            expect_end(c);
            expect_no_more(c); /* its stdout is closed */
        }
        child_free(c);
        /* the orphan's new parent may take its time to reap it: a zombie still answers */
        while (kill(atoi(line.data), 0) == 0 && tries++ < 20)
            usleep(50000);
        buf_release(&line);
    }
}

/* The guards: what a child may not do with them, it may without. */

static bool holds(enum child_guard g)
{
    struct err e = ERR_INIT;
    int rc = child_guard_try(g, &e);

    assert_non_null(child_guard_name(g));
#ifdef SHADOWED
    rc = ERR_UNSUPPORTED;
    snprintf(e.text, sizeof e.text, "a sanitizer does what it forbids");
#endif
    if (rc == 0)
        return true;
    assert_int_equal(rc, ERR_UNSUPPORTED);
    print_message("no guard of %s here: %s\n", child_guard_name(g), e.text);
    return false;
}

static void expect(struct world *w, struct child_spec spec, enum child_policy policy,
                   const char *line)
{
    struct child *c;

    spec.policy = policy;
    c = start(w, &spec);
    expect_line(c, line);
    child_free(c);
}

static void expect_other_network(struct world *w)
{
    struct child_spec where = SPEC("netns");
    char here[64] = "";
    struct err e = ERR_INIT;
    struct child *c;
    struct buf line;

    assert_true(readlink("/proc/self/ns/net", here, sizeof here - 1) > 0);
    expect(w, where, CHILD_OFF, here);
    c = start(w, &where);
    buf_init(&line, 100);
    assert_int_equal(child_read(c, LONG_MS, &line, &e), 1);
    assert_non_null(strstr(line.data, "net:["));
    assert_string_not_equal(line.data, here);
    buf_release(&line);
    child_free(c);
}

static void no_network(void **state)
{
    struct child_spec spec = SPEC("net");

    if (holds(CHILD_CALLS))
        expect(*state, spec, CHILD_BEST, "net Operation not permitted");
    expect(*state, spec, CHILD_OFF, "net done");
    if (holds(CHILD_NETWORK))
        expect_other_network(*state);
}

static void no_other_process(void **state)
{
    static const struct {
        const char *word, *with, *without;
    } tries[] = {{"fork", "fork Operation not permitted", "fork 50 times"},
                 {"term", "term Operation not permitted", "term done"},
                 {"threads", "threads 8", "threads 8"}};
    bool calls = holds(CHILD_CALLS);
    size_t i;

    for (i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct child_spec spec = SPEC(tries[i].word);

        expect(*state, spec, CHILD_OFF, tries[i].without);
        if (calls)
            expect(*state, spec, CHILD_BEST, tries[i].with);
    }
}

/* A parent that isn't dumpable shows its environment to nobody, and still can be left. */
static void a_parent_can_hide(void **state)
{
    struct child_spec spy = SPEC("spy");

    if (!holds(CHILD_CALLS)) /* with a sanitizer root's child keeps root's powers */
        skip();
    assert_int_equal(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), 0);
    expect(*state, spy, CHILD_BEST, "spy Permission denied");
    expect(*state, spy, CHILD_OFF, geteuid() == 0 ? "spy done" : "spy Permission denied");
    if (holds(CHILD_NETWORK))
        expect_other_network(*state);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    expect(*state, spy, CHILD_OFF, "spy done");
}

/* A folder with `in` and `out`, and what a child that may read the one and write the other does. */
static void only_its_files(void **state)
{
    static const struct {
        const char *word, *with, *without;
    } tries[] = {{"read:%s/in/a", "read done", "read done"},
                 {"write:%s/in/a", "write Permission denied", "write done"},
                 {"write:%s/in/new", "write Permission denied", "write done"},
                 {"write:%s/new", "write Permission denied", "write done"},
                 {"read:%s/secret", "read Permission denied", "read done"},
                 {"write:%s/out/a", "write done", "write done"},
                 {"read:%s/out/a", "read done", "read done"},
                 {"link:%s/out/link", "link Permission denied", "link done"},
                 {"read:/etc/passwd", "read Permission denied", "read done"},
                 {"spy", "spy Permission denied", "spy done"}};
    char folder[] = "/tmp/child-test-XXXXXX", in[64], out[64], file[80], word[128];
    const char *readable[] = {in, NULL}, *writable[] = {out, NULL};
    struct err e = ERR_INIT;
    bool files = holds(CHILD_FILES);
    size_t i;

    assert_non_null(mkdtemp(folder));
    snprintf(in, sizeof in, "%s/in", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    assert_int_equal(file_mkdirs(in, &e), 0);
    assert_int_equal(file_mkdirs(out, &e), 0);
    snprintf(file, sizeof file, "%s/a", in);
    assert_int_equal(file_write(file, "a", 1, &e), 0);
    snprintf(file, sizeof file, "%s/secret", folder);
    assert_int_equal(file_write(file, "s", 1, &e), 0);
    for (i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct child_spec spec = SPEC(word);

        snprintf(word, sizeof word, tries[i].word, folder);
        spec.readable = readable;
        spec.writable = writable;
        if (files)
            expect(*state, spec, CHILD_REQUIRE, tries[i].with);
        expect(*state, spec, CHILD_OFF, tries[i].without);
    }
    assert_int_equal(file_remove_tree(folder, &e), 0);
}

/* In a process of its own, on a host that has no Landlock: 0 when all goes as it should. */
static int on_a_poorer_host(struct world *w)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    struct child_spec spec = SPEC("say:x");
    struct err e = ERR_INIT;
    struct child *c = NULL;
    int rc;

    spec.writable = (const char *const[]){"/tmp", NULL};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return 77;
    if (child_guard_try(CHILD_FILES, &e) != ERR_UNSUPPORTED || !strstr(e.text, "Landlock"))
        return 1;
    spec.policy = CHILD_REQUIRE;
    if (child_start(w->port, &spec, &c, &e) != ERR_CONFIG || !strstr(e.text, "Landlock"))
        return 2;
    spec.policy = POLICY;
    rc = child_start(w->port, &spec, &c, &e);
    child_free(c);
    return rc < 0 ? 3 : 0;
}

static void what_is_required_must_be_there(void **state)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        _exit(on_a_poorer_host(*state));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void its_folder_has_a_limit(void **state)
{
    char folder[] = "/tmp/child-test-XXXXXX", word[64];
    const char *writable[] = {folder, NULL};
    struct child_spec spec = SPEC(word);
    struct err e = ERR_INIT;
    struct child_end end;
    struct child *c;

    assert_non_null(mkdtemp(folder));
    snprintf(word, sizeof word, "fill:%s", folder);
    spec.writable = writable;
    spec.space_bytes = 1 << 20;
    spec.file_bytes = 1 << 20; /* no single file reaches it */
    c = start(*state, &spec);
    end = expect_end(c);
    assert_int_equal(end.status, SIGKILL);
    assert_string_equal(end.why, "killed: its files are over 1048576 bytes");
    child_free(c);
    assert_int_equal(file_remove_tree(folder, &e), 0);
}

/* The last 16 KiB, from the beginning of a line. */
static void complaints_are_bounded(void **state)
{
    char word[1100] = "cry:";
    const char *argv[60] = {PLAYER};
    struct child_spec spec = {.argv = argv, .folder = "/", .policy = POLICY};
    struct child *c;
    struct buf tail;
    int i;

    memset(word + 4, 'y', 1000);
    for (i = 1; i < 50; i++)
        argv[i] = word;
    argv[i] = "cry:the end";
    buf_init(&tail, 1 << 20);
    c = start(*state, &spec);
    expect_end(c);
    child_errors(c, &tail);
    assert_in_range(tail.len, 15000, 16384);
    assert_int_equal(tail.data[0], 'y');
    assert_int_equal(strcspn(tail.data, "\n"), 1000);
    assert_string_equal(tail.data + tail.len - 8, "the end\n");
    buf_release(&tail);
    child_free(c);
}

#define ALL(test)                                                                                  \
    {#test " (exec)", test, setup_exec, teardown, NULL},                                           \
        {#test " (mem)", test, setup_mem, teardown, NULL},                                         \
    {                                                                                              \
#test " (mem, simulated)", test, setup_mem_sim, teardown, NULL                             \
    }
#define REAL(test)                                                                                 \
    {                                                                                              \
#test, test, setup_exec, teardown, NULL                                                    \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(lines_then_an_exit_status),
        ALL(reading_takes_no_longer_than_asked),
        ALL(death_by_signal),
        ALL(a_term_may_be_handled),
        ALL(a_term_or_a_kill_ends_it),
        ALL(freeing_ends_it),
        ALL(the_last_complaints_are_kept),
        ALL(bad_specs_are_refused),
        ALL(a_stop_ends_waiting),
        REAL(what_was_given_and_nothing_else),
        REAL(a_program_that_cannot_start),
        REAL(lines_have_a_limit),
        REAL(many_lines_and_a_last_part),
        REAL(waiting_also_reads),
        REAL(limits_hold),
        REAL(the_group_dies_together),
        REAL(no_network),
        REAL(no_other_process),
        REAL(a_parent_can_hide),
        REAL(only_its_files),
        REAL(what_is_required_must_be_there),
        REAL(its_folder_has_a_limit),
        REAL(complaints_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
