/*
 * The suite over a real Redis (shared with other tests: only names of our own),
 * then a redis-server of our own that is killed and started again.
 */
#include "tests/unit/board/board_suite.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct board_suite suite;
static char owner[40];

static redisContext *admin(void)
{
    char host[100];
    const char *address = getenv("TRIPLINE_REDIS"), *colon = strrchr(address, ':');
    redisContext *c;

    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    c = redisConnect(host, atoi(colon + 1));
    assert_non_null(c);
    assert_int_equal(c->err, 0);
    freeReplyObject(redisCommand(c, "AUTH %s %s", getenv("TRIPLINE_REDIS_USERNAME"),
                                 getenv("TRIPLINE_REDIS_PASSWORD")));
    return c;
}

/* FLUSHALL would take other tests' keys along. */
static void flush(struct board_suite *s)
{
    redisContext *c = admin();
    redisReply *r = redisCommand(c, "KEYS %s*", owner);
    size_t i;

    (void)s;
    assert_non_null(r);
    for (i = 0; i < r->elements; i++)
        freeReplyObject(redisCommand(c, "DEL %b", r->element[i]->str, (size_t)r->element[i]->len));
    freeReplyObject(r);
    redisFree(c);
}

static struct board_redis_options options(void)
{
    return (struct board_redis_options){.address = getenv("TRIPLINE_REDIS"),
                                        .username = getenv("TRIPLINE_REDIS_USERNAME"),
                                        .password = getenv("TRIPLINE_REDIS_PASSWORD")};
}

static int setup(void **state)
{
    struct board_redis_options o = options();
    struct err e = ERR_INIT;
    char nonce[33];

    memset(&suite, 0, sizeof suite);
    *state = &suite;
    if (clock_real(&suite.clock, &e) < 0)
        return -1;
    clock_nonce(suite.clock, nonce);
    snprintf(owner, sizeof owner, "boardtest-%.12s", nonce);
    snprintf(suite.key, sizeof suite.key, "%s:{suite}:key", owner);
    snprintf(suite.ring, sizeof suite.ring, "%s:ring", owner);
    snprintf(suite.prefix, sizeof suite.prefix, "%s:{", owner);
    suite.queue = (struct board_queue){suite.ring, suite.prefix, "}"};
    suite.flush = flush;
    return board_redis(&suite.board, &o, suite.clock, &e);
}

static int teardown(void **state)
{
    flush(*state);
    board_free(suite.board);
    clock_free(suite.clock);
    return 0;
}

/* --- logins --- */

static void refuses_a_wrong_password(void **state)
{
    struct board_suite *s = *state;
    struct board_redis_options o = options();
    struct board_field f = {"a", "1"};
    struct board *b = NULL;
    int64_t began = clock_mono_ms(s->clock);

    o.password = "wrong";
    ok(board_redis(&b, &o, s->clock, &e));
    fails(ERR_DENIED, board_set(b, s->key, &f, 1, 0, &e));
    board_free(b);
    o.username = o.password = NULL; /* nobody */
    ok(board_redis(&b, &o, s->clock, &e));
    fails(ERR_DENIED, board_set(b, s->key, &f, 1, 0, &e));
    board_free(b);
    assert_true(clock_mono_ms(s->clock) - began < 2000); /* no use trying again */
    o.username = "someone";
    fails(ERR_CONFIG, board_redis(&b, &o, s->clock, &e));
    o = (struct board_redis_options){.address = "no-port"};
    fails(ERR_CONFIG, board_redis(&b, &o, s->clock, &e));
    o.address = "host:99999";
    fails(ERR_CONFIG, board_redis(&b, &o, s->clock, &e));
}

static void an_owner_sees_only_its_own(void **state)
{
    struct board_suite *s = *state;
    struct board_redis_options o = options();
    redisContext *c = admin();
    struct board_field f = {"a", "1"};
    struct board *b = NULL;
    char other[80];

    freeReplyObject(redisCommand(c,
                                 "ACL SETUSER %s on >secret resetkeys ~%s:{suite}:* -@all +@hash "
                                 "+eval +evalsha +pexpire +persist +del",
                                 owner, owner));
    snprintf(other, sizeof other, "%s:{suite-two}:key", owner);
    o.username = owner;
    o.password = "secret";
    ok(board_redis(&b, &o, s->clock, &e));
    ok(board_set(b, s->key, &f, 1, 0, &e));
    fails(ERR_DENIED, board_set(b, other, &f, 1, 0, &e));
    board_free(b);
    freeReplyObject(redisCommand(c, "ACL DELUSER %s", owner));
    redisFree(c);
}

/* --- a server of our own --- */

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static pid_t start_server(int port)
{
    char text[16];
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 1);
        dup2(null, 2);
        snprintf(text, sizeof text, "%d", port);
        execlp("redis-server", "redis-server", "--port", text, "--bind", "127.0.0.1", "--save", "",
               "--appendonly", "no", (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void end_server(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void survives_a_restart(void **state)
{
    struct board_suite *s = *state;
    struct board_redis_options o = {.timeout_ms = 1000, .deadline_ms = 10000};
    struct board_field f = {"a", "1"};
    struct board *b = NULL;
    struct buf out;
    char address[40];
    int port = free_port();
    pid_t pid = start_server(port);

    buf_init(&out, 100);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    o.address = address;
    ok(board_redis(&b, &o, s->clock, &e));
    ok(board_set(b, "k", &f, 1, 0, &e)); /* waits until it is up */
    ok(board_push(b, &s->queue, "g", "one", 0, 1, &e));
    end_server(pid);
    pid = start_server(port);
    fails(ERR_NOT_FOUND, board_get(b, "k", "a", &out, &e)); /* connects again: all is gone */
    ok(board_set(b, "k", &f, 1, 0, &e));                    /* the script is not loaded there */
    ok(board_get(b, "k", "a", &out, &e));
    end_server(pid);
    board_free(b);
    o.deadline_ms = 600;
    o.timeout_ms = 200;
    ok(board_redis(&b, &o, s->clock, &e));
    {
        int64_t began = clock_mono_ms(s->clock);

        fails(ERR_PEER, board_set(b, "k", &f, 1, 0, &e));
        assert_true(clock_mono_ms(s->clock) - began < 3000);
        assert_true(clock_mono_ms(s->clock) - began >= 500);
    }
    board_free(b);
    buf_release(&out);
}

static void a_stopped_server_times_out(void **state)
{
    struct board_suite *s = *state;
    struct board_redis_options o = {.timeout_ms = 200, .deadline_ms = 600};
    struct board_field f = {"a", "1"};
    struct board *b = NULL;
    char address[40];
    int port = free_port();
    pid_t pid = start_server(port);
    int64_t began;
    int rc;

    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    o.address = address;
    ok(board_redis(&b, &o, s->clock, &e));
    began = clock_mono_ms(s->clock);
    do {
        struct err why = ERR_INIT;

        rc = board_set(b, "k", &f, 1, 0, &why);
    } while (rc == ERR_PEER && clock_mono_ms(s->clock) - began < 10000);
    assert_int_equal(rc, 0);
    kill(pid, SIGSTOP);
    began = clock_mono_ms(s->clock);
    fails(ERR_PEER, board_set(b, "k", &f, 1, 0, &e));
    assert_true(clock_mono_ms(s->clock) - began < 3000);
    kill(pid, SIGCONT);
    ok(board_set(b, "k", &f, 1, 0, &e));
    board_free(b);
    end_server(pid);
}

static const struct CMUnitTest own_cases[] = {
    cmocka_unit_test_setup_teardown(refuses_a_wrong_password, setup, teardown),
    cmocka_unit_test_setup_teardown(an_owner_sees_only_its_own, setup, teardown),
    cmocka_unit_test_setup_teardown(survives_a_restart, setup, teardown),
    cmocka_unit_test_setup_teardown(a_stopped_server_times_out, setup, teardown),
};

int main(void)
{
    struct CMUnitTest *cases;
    size_t i;
    int failed;

    if (!getenv("TRIPLINE_REDIS")) {
        printf("skipped: TRIPLINE_REDIS is not set (a Redis to test with)\n");
        return 77;
    }
    cases = calloc(board_suite_count, sizeof *cases);
    for (i = 0; cases && i < board_suite_count; i++) {
        cases[i] = board_suite_cases[i];
        cases[i].setup_func = setup;
        cases[i].teardown_func = teardown;
    }
    failed = _cmocka_run_group_tests("board_redis", cases, board_suite_count, NULL, NULL);
    free(cases);
    return failed + cmocka_run_group_tests_name("board_redis only", own_cases, NULL, NULL);
}
