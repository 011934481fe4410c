/* Raw sockets: what is sent and what comes back, byte by byte. */
#include "platform/proc/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/proc/metrics.h"

static atomic_bool ready;

static bool say_ready(void *arg, struct err *why)
{
    if (!atomic_load(&ready))
        err_set(why, ERR_PEER, "warming up");
    return atomic_load(&ready);
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void ask(int port, const char *request, char *answer, size_t size)
{
    int fd = dial(port);
    size_t got = 0;
    ssize_t n;

    assert_true(send(fd, request, strlen(request), MSG_NOSIGNAL) > 0);
    while (got < size - 1 && (n = read(fd, answer + got, size - 1 - got)) > 0)
        got += (size_t)n;
    answer[got] = 0;
    close(fd);
}

#define REQUEST(method, path) method " " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

struct world {
    struct metrics *metrics;
    struct http *http;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct err e = ERR_INIT;
    struct http_options o = {.address = "127.0.0.1:0", .ready = say_ready};

    *state = w;
    atomic_store(&ready, false);
    if (metrics_new(&w->metrics, &e) < 0)
        return -1;
    o.metrics = w->metrics;
    return http_start(&w->http, &o, &e);
}

static int teardown(void **state)
{
    struct world *w = *state;

    http_stop(w->http);
    metrics_free(w->metrics);
    free(w);
    return 0;
}

static void pages(void **state)
{
    struct world *w = *state;
    int port = http_port(w->http);
    char a[8192];

    metric_add(metrics_counter(w->metrics, "seen_total", "Seen.", NULL), 3, NULL);
    ask(port, REQUEST("GET", "/metrics"), a, sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 200", 12), 0);
    assert_non_null(strstr(a, "text/plain; version=0.0.4"));
    assert_non_null(strstr(a, "\nseen_total 3\n"));
    ask(port, REQUEST("GET", "/healthz?x=1"), a, sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 200", 12), 0);
    ask(port, REQUEST("GET", "/readyz"), a, sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 503", 12), 0);
    assert_non_null(strstr(a, "warming up\n"));
    atomic_store(&ready, true);
    ask(port, REQUEST("GET", "/readyz"), a, sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 200", 12), 0);
    ask(port, REQUEST("HEAD", "/metrics"), a, sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 200", 12), 0);
    assert_null(strstr(a, "seen_total"));
}

static void what_is_refused(void **state)
{
    struct world *w = *state;
    int port = http_port(w->http), i;
    char a[8192], *big = malloc(100000);

    ask(port, REQUEST("GET", "/"), a, sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 404", 12), 0);
    ask(port, REQUEST("GET", "/metrics/../../etc/passwd"), a, sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 404", 12), 0);
    ask(port,
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", a,
        sizeof a);
    assert_int_equal(strncmp(a, "HTTP/1.1 405", 12), 0);
    assert_non_null(strstr(a, "Allow: GET, HEAD"));
    i = snprintf(big, 100000, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Big: ");
    memset(big + i, 'a', 90000);
    memcpy(big + i + 90000, "\r\n\r\n", 5);
    ask(port, big, a, sizeof a);
    assert_null(strstr(a, "200 OK"));
    ask(port, "\x01\x02garbage\r\n\r\n", a, sizeof a);
    assert_null(strstr(a, "200 OK"));
    ask(port, REQUEST("GET", "/healthz"), a, sizeof a); /* and it still lives */
    assert_int_equal(strncmp(a, "HTTP/1.1 200", 12), 0);
    free(big);
}

/* More connections than it takes: those beyond are closed, none hangs for ever. */
static void many_connections(void **state)
{
    struct world *w = *state;
    int fds[40], i, port = http_port(w->http);
    char a[8192];

    for (i = 0; i < 40; i++)
        fds[i] = dial(port);
    for (i = 0; i < 40; i++)
        close(fds[i]);
    for (i = 0; i < 100; i++) {
        ask(port, REQUEST("GET", "/healthz"), a, sizeof a);
        if (!strncmp(a, "HTTP/1.1 200", 12))
            break;
        usleep(20000);
    }
    assert_true(i < 100);
}

static void bad_addresses(void **state)
{
    static const char *const bad[] = {"",      "127.0.0.1",      ":80", "127.0.0.1:", "[::1",
                                      "x y:1", "127.0.0.1:http", NULL};
    struct world *w = *state;
    char taken[40];
    struct http *h = NULL;
    int i;

    for (i = 0; bad[i]; i++) {
        struct http_options o = {.address = bad[i]};
        struct err e = ERR_INIT;

        if (http_start(&h, &o, &e) != ERR_CONFIG)
            fail_msg("%s", bad[i]);
        assert_non_null(strstr(e.text, bad[i]));
    }
    snprintf(taken, sizeof taken, "127.0.0.1:%d", http_port(w->http));
    {
        struct http_options o = {.address = taken};
        struct err e = ERR_INIT;

        assert_int_equal(http_start(&h, &o, &e), ERR_CONFIG);
    }
    http_stop(NULL);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(pages), CASE(what_is_refused), CASE(many_connections),
                                       CASE(bad_addresses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
