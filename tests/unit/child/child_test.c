/* One suite over real and scripted children (the latter in both kinds of time), then what only real
 * processes show. */
#include "platform/child/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/clock/clock.h"
#include "world.h"

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

static int setup(void **state, bool simulated)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e = ERR_INIT;
    int rc = simulated ? clock_sim(&w->clock, 5, &e) : clock_real(&w->clock, &e);

    if (rc == 0)
        rc = child_mem(&w->port, w->clock, play, w->clock, &e);
    w->simulated = simulated;
    *state = w;
    return rc;
}

static int setup_mem(void **state)
{
    return setup(state, false);
}

static int setup_mem_sim(void **state)
{
    return setup(state, true);
}

#define SPEC(...) WORLD_SPEC(PLAYER, __VA_ARGS__)

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

#ifndef WORLD_SHADOWED
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

/* The last 16 KiB, from the beginning of a line. */
static void complaints_are_bounded(void **state)
{
    char word[1100] = "cry:";
    const char *argv[60] = {PLAYER};
    struct child_spec spec = {.argv = argv, .folder = "/", .policy = WORLD_POLICY};
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
    {#test " (exec)", test, world_real, world_free, NULL},                                         \
        {#test " (mem)", test, setup_mem, world_free, NULL},                                       \
    {                                                                                              \
#test " (mem, simulated)", test, setup_mem_sim, world_free, NULL                           \
    }
#define REAL(test)                                                                                 \
    {                                                                                              \
#test, test, world_real, world_free, NULL                                                  \
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
        REAL(complaints_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
