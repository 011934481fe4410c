/* A small service in a process of its own, as an operator meets it. */
#include "platform/proc/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/log.h"
#include "platform/clock/clock.h"

struct own {
    int64_t size;
    const char *mood;
};

static struct own own;

static const struct conf_row own_rows[] = {
    {"demo.size", CONF_SIZE, offsetof(struct own, size), "1M", 1, 1 << 30, NULL, NULL, "A size."},
    {"demo.mood", CONF_STRING, offsetof(struct own, mood), "good", 0, 0, NULL, NULL, "A mood."},
};

static int add_settings(void *self, struct conf *c, struct err *e)
{
    return conf_add(c, own_rows, 2, self, e);
}

static int check(void *self, struct service_context *x, struct err *e)
{
    return strcmp(own.mood, "bad") ? 0 : err_set(e, ERR_PEER, "a bad mood");
}

static int run(void *self, struct service_context *x, struct err *e)
{
    service_set_ready(x, true, NULL);
    if (!strcmp(own.mood, "bad"))
        return err_set(e, ERR_DENIED, "a bad mood");
    log_event(LOG_INFO, "demo.running", "size", LOG_I(own.size), NULL);
    while (!clock_stopping(x->ports->clock))
        clock_sleep_ms(x->ports->clock, 60000);
    if (!strcmp(own.mood, "slow"))
        for (;;)
            clock_sleep_ms(x->ports->clock, 1000);
    return 0;
}

static const struct service demo = {
    .name = "demo",
    .about = "a service for tests",
    .parts = SETTINGS_LOG | SETTINGS_HTTP,
    .http_address = "127.0.0.1:0",
    .self = &own,
    .settings = add_settings,
    .check = check,
    .run = run,
};

struct process {
    pid_t pid;
    int out, errors;
    char text[65536], complaints[65536];
};

static void launch(struct process *p, char *const *argv)
{
    int out[2], errors[2], argc = 0;

    while (argv[argc])
        argc++;
    assert_int_equal(pipe(out) | pipe(errors), 0);
    p->pid = fork();
    if (p->pid == 0) {
        dup2(out[1], 1);
        dup2(errors[1], 2);
        close(out[0]);
        close(errors[0]);
        _exit(service_main(&demo, argc, (char **)argv));
    }
    close(out[1]);
    close(errors[1]);
    p->out = out[0];
    p->errors = errors[0];
    p->text[0] = p->complaints[0] = 0;
}

static void drain(int fd, char *to, size_t size)
{
    size_t have = strlen(to);
    ssize_t n;

    while (have < size - 1 && (n = read(fd, to + have, size - 1 - have)) > 0)
        to[have += (size_t)n] = 0;
    close(fd);
}

/* Reads until `text` was seen. */
static void await(struct process *p, const char *text)
{
    size_t have = strlen(p->complaints);
    ssize_t n;

    while (!strstr(p->complaints, text) &&
           (n = read(p->errors, p->complaints + have, sizeof p->complaints - 1 - have)) > 0)
        p->complaints[have += (size_t)n] = 0;
    assert_non_null(strstr(p->complaints, text));
}

static int finish(struct process *p)
{
    int status = 0;

    drain(p->out, p->text, sizeof p->text);
    drain(p->errors, p->complaints, sizeof p->complaints);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#define RUN(p, ...) launch(p, (char *const[]){(char *)"demo", __VA_ARGS__, NULL})

static struct process p;

static void what_it_prints(void **state)
{
    RUN(&p, "--help");
    assert_int_equal(finish(&p), 0);
    assert_non_null(strstr(p.text, "demo: a service for tests"));
    assert_non_null(strstr(p.text, "  -c, --config FILE"));
    RUN(&p, "--version");
    assert_int_equal(finish(&p), 0);
    assert_string_equal(p.text, "demo " TRIPLINE_VERSION "\n");
    RUN(&p, "--print-example-config");
    assert_int_equal(finish(&p), 0);
    assert_non_null(strstr(p.text, "#size = 1M\n"));
    assert_non_null(strstr(p.text, "#address = 127.0.0.1:0\n"));
    RUN(&p, "--print-config-page");
    assert_int_equal(finish(&p), 0);
    assert_non_null(strstr(p.text, "| `demo.size` | size | `1M` |"));
    RUN(&p, "--print-config", "--set", "demo.size=2M");
    assert_int_equal(finish(&p), 0);
    assert_non_null(strstr(p.text, "# from --set\nsize = 2M\n"));
    assert_string_equal(p.complaints, "");
}

static void what_it_refuses(void **state)
{
    static const struct {
        const char *words[3];
        int status;
        const char *complaint;
    } cases[] = {
        {{"--confg", "x"}, 64, "demo: unknown option --confg (did you mean --config?)\n"},
        {{"word"}, 64, "demo: unexpected argument 'word' (--help lists the options)\n"},
        {{"--config", "/nonexistent.conf"}, 66, "/nonexistent.conf"},
        {{"--set", "demo.siz=1"},
         78,
         "demo: --set: unknown key 'demo.siz' (did you mean 'demo.size'?)\n"},
        {{"--set", "http.address=nowhere"},
         78,
         "demo: http.address 'nowhere': write it as host:port\n"},
    };
    size_t i;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        RUN(&p, (char *)cases[i].words[0], (char *)cases[i].words[1]);
        assert_int_equal(finish(&p), cases[i].status);
        assert_non_null(strstr(p.complaints, cases[i].complaint));
        assert_string_equal(p.text, "");
    }
}

static void it_checks(void **state)
{
    RUN(&p, "--check");
    assert_int_equal(finish(&p), 0);
    assert_string_equal(p.complaints, "demo: settings and servers are fine\n");
    RUN(&p, "--check", "--set", "demo.mood=bad");
    assert_int_equal(finish(&p), 69);
    assert_string_equal(p.complaints, "demo: a bad mood\n");
}

static void it_drains(void **state)
{
    const int signals[] = {SIGTERM, SIGINT};
    size_t i;

    for (i = 0; i < 2; i++) {
        RUN(&p, "--set", "demo.size=3K");
        await(&p, "\"event\":\"demo.running\",\"size\":3072");
        kill(p.pid, signals[i]);
        assert_int_equal(finish(&p), 0);
        assert_non_null(strstr(p.complaints, "\"event\":\"http.listening\""));
        assert_non_null(strstr(p.complaints, "\"event\":\"service.drained\""));
    }
}

static void a_second_signal_ends_it(void **state)
{
    int i;

    RUN(&p, "--set", "demo.mood=slow");
    await(&p, "demo.running");
    kill(p.pid, SIGTERM);
    for (i = 0; i < 200 && waitpid(p.pid, NULL, WNOHANG) == 0; i++) {
        usleep(50000);
        kill(p.pid, SIGTERM);
    }
    assert_true(i < 200);
    drain(p.out, p.text, sizeof p.text);
    drain(p.errors, p.complaints, sizeof p.complaints);
    assert_null(strstr(p.complaints, "drained"));
}

static void a_failure_is_logged_once(void **state)
{
    const char *first;

    RUN(&p, "--set", "demo.mood=bad", "--set", "log.level=error");
    assert_int_equal(finish(&p), 77);
    first = strstr(p.complaints, "a bad mood");
    assert_non_null(first);
    assert_null(strstr(first + 1, "a bad mood"));
    assert_non_null(strstr(p.complaints, "\"event\":\"service.failed\",\"error\":\"DENIED\""));
}

static void ports_want_their_settings(void **state)
{
    struct settings s;
    struct ports ports = {0};
    struct conf *c;
    struct err e = ERR_INIT;

    assert_int_equal(conf_new(&c, &e), 0);
    assert_int_equal(settings_add(c, &s, SETTINGS_ALL, &e), 0);
    assert_int_equal(ports_open(&ports, &s, SETTINGS_KAFKA, "x", &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "TRIPLINE_KAFKA"));
    assert_int_equal(ports_open(&ports, &s, SETTINGS_S3, "x", &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "TRIPLINE_S3_ENDPOINT"));
    assert_int_equal(ports_open(&ports, &s, SETTINGS_REDIS, "x", &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "TRIPLINE_REDIS"));
    assert_null(ports.clock);
    assert_int_equal(ports_open(&ports, &s, 0, "x", &e), 0);
    assert_non_null(ports.clock);
    assert_non_null(ports.child);
    assert_null(ports.bus);
    assert_int_equal(ports_check(&ports, "t", "k", "p", &e), 0);
    ports_release(&ports);
    ports_release(&ports);
    conf_free(c);
}

/* In this process, for the leak checkers. */
static void nothing_is_left_behind(void **state)
{
    char *good[] = {(char *)"demo", (char *)"--check", (char *)"--set", (char *)"demo.size=7",
                    NULL};
    char *bad[] = {(char *)"demo", (char *)"--set", (char *)"demo.mood=bad", NULL};

    assert_int_equal(service_main(&demo, 4, good), 0);
    assert_int_equal(own.size, 7);
    assert_int_equal(service_main(&demo, 3, bad), 77);
}

static void servers_that_are_not_there(void **state)
{
    static const char *const values[] = {"redis.address=127.0.0.1:1",
                                         "redis.timeout=100ms",
                                         "redis.deadline=200ms",
                                         "s3.endpoint=http://127.0.0.1:1",
                                         "s3.bucket=b",
                                         "s3.access_key=k",
                                         "s3.secret_key=s",
                                         "s3.deadline=1s"};
    struct settings s;
    struct ports ports;
    struct conf *c;
    struct err e = ERR_INIT;
    size_t i;

    assert_int_equal(conf_new(&c, &e), 0);
    assert_int_equal(settings_add(c, &s, SETTINGS_ALL, &e), 0);
    for (i = 0; i < sizeof values / sizeof values[0]; i++)
        assert_int_equal(conf_set(c, values[i], &e), 0);
    if (ports_open(&ports, &s, SETTINGS_REDIS, "x", &e) == 0) { /* may connect at once or later */
        assert_int_equal(ports_check(&ports, "t", "k", "p", &e), ERR_PEER);
        ports_release(&ports);
    }
    assert_int_equal(e.code, ERR_PEER);
    assert_non_null(strstr(e.text, "127.0.0.1:1"));
    assert_int_equal(ports_open(&ports, &s, SETTINGS_S3, "x", &e), 0);
    assert_int_equal(ports_check(&ports, "t", "k", "p", &e), ERR_PEER);
    assert_int_equal(strncmp(e.text, "s3: ", 4), 0);
    ports_release(&ports);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_prints),
        cmocka_unit_test(what_it_refuses),
        cmocka_unit_test(it_checks),
        cmocka_unit_test(it_drains),
        cmocka_unit_test(a_second_signal_ends_it),
        cmocka_unit_test(a_failure_is_logged_once),
        cmocka_unit_test(ports_want_their_settings),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(servers_that_are_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
