/* The suite over a real S3 server, by both clients, and what only a server can refuse. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/service/blob/suite.h"

typedef int (*open_fn)(struct blob **, const struct blob_s3_options *, struct clock *,
                       struct err *);

static struct clock *the_clock;
static open_fn the_open;

static struct blob_s3_options options(void)
{
    struct blob_s3_options o = {.endpoint = getenv("TRIPLINE_S3_ENDPOINT"),
                                .region = getenv("TRIPLINE_S3_REGION"),
                                .bucket = getenv("TRIPLINE_S3_BUCKET"),
                                .access_key = getenv("AWS_ACCESS_KEY_ID"),
                                .secret_key = getenv("AWS_SECRET_ACCESS_KEY"),
                                .part_bytes = (size_t)5 << 20};

    if (!o.region)
        o.region = "us-east-1";
    return o;
}

/* All calls that reach the server, with these options: each must give `code`, its message must
 * have `hint`. `head`: what a HEAD gives, whose answer has no body to tell why. */
static void expect_all(const struct blob_s3_options *o, int code, int head, const char *hint)
{
    struct err e = ERR_INIT;
    struct blob *b = NULL;
    struct buf got;

    buf_init(&got, 100);
    assert_int_equal(the_open(&b, o, the_clock, &e), 0);
    assert_int_equal(blob_put(b, "refused", "x", 1, &e), code);
    assert_non_null(strstr(e.text, hint));
    assert_int_equal(blob_create(b, "refused", "x", 1, &e), code);
    assert_non_null(strstr(e.text, hint));
    assert_int_equal(blob_get(b, "refused", &got, &e), code);
    assert_non_null(strstr(e.text, hint));
    assert_int_equal(blob_list(b, "refused/", NULL, NULL, NULL, &e), code);
    assert_non_null(strstr(e.text, hint));
    assert_int_equal(blob_head(b, "refused", NULL, &e), head);
    print_message("%s\n", e.text);
    buf_release(&got);
    blob_free(b);
}

static void test_wrong_secret(void **state)
{
    struct blob_s3_options o = options();

    o.secret_key = "not-the-secret";
    expect_all(&o, ERR_DENIED, ERR_DENIED, "AWS_SECRET_ACCESS_KEY");
}

static void test_wrong_access_key(void **state)
{
    struct blob_s3_options o = options();

    o.access_key = "nobody";
    expect_all(&o, ERR_DENIED, ERR_DENIED, "AWS_ACCESS_KEY_ID");
}

static void test_missing_bucket(void **state)
{
    struct blob_s3_options o = options();

    o.bucket = "no-such-bucket";
    expect_all(&o, ERR_CONFIG, ERR_NOT_FOUND, "TRIPLINE_S3_BUCKET");
}

/* A port that was free a moment ago. */
static void closed_port(char endpoint[64])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(endpoint, 64, "http://127.0.0.1:%d", ntohs(at.sin_port));
    close(fd);
}

static void test_unreachable(void **state)
{
    struct blob_s3_options o = options();
    char endpoint[64];

    closed_port(endpoint);
    o.endpoint = endpoint;
    o.deadline_ms = 700;
    expect_all(&o, ERR_PEER, ERR_PEER, endpoint);
}

static int run(const char *name, open_fn open)
{
    const struct CMUnitTest refusals[] = {
        cmocka_unit_test(test_wrong_secret),
        cmocka_unit_test(test_wrong_access_key),
        cmocka_unit_test(test_missing_bucket),
        cmocka_unit_test(test_unreachable),
    };
    struct suite s = {.name = name, .clock = the_clock, .has_urls = true};
    struct blob_s3_options o = options();
    struct err e = ERR_INIT;
    int failed;

    the_open = open;
    if (open(&s.blob, &o, the_clock, &e) < 0) {
        fprintf(stderr, "%s: %s\n", name, e.text);
        return 1;
    }
    s.part_bytes = o.part_bytes;
    failed = suite_run(&s);
    blob_free(s.blob);
    return failed + _cmocka_run_group_tests(name, refusals, 4, NULL, NULL);
}

int main(void)
{
    struct err e = ERR_INIT;
    int failed;

    if (!getenv("TRIPLINE_S3_ENDPOINT")) {
        fprintf(stderr,
                "skipped: TRIPLINE_S3_ENDPOINT is not set (scripts/servers.sh starts one)\n");
        return 77;
    }
    if (clock_real(&the_clock, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    failed = run("blob_s3", blob_s3) + run("blob_libs3", blob_libs3);
    clock_free(the_clock);
    return failed != 0;
}
