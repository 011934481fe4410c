/*
 * What the S3 clients do when the server misbehaves: how often they try, what
 * they never try twice, that a cut body is never taken, that a create whose
 * answer was lost is a win.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "tests/unit/blob/fault_server.h"

#define ERROR(code)                                                                                \
    "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>m</Message></Error>"
#define A(number, text)                                                                            \
    {                                                                                              \
        .status = (number), .body = (text)                                                         \
    } /* answers */
#define F(what, number, text)                                                                      \
    {                                                                                              \
        .how = (what), .status = (number), .body = (text)                                          \
    } /* fails */
#define COUNT(x) (sizeof(x) / sizeof(x)[0])

typedef int (*open_fn)(struct blob **, const struct blob_s3_options *, struct clock *,
                       struct err *);

static struct clock *the_clock;
static open_fn the_open = blob_s3;

struct rig {
    struct fault_server *server;
    struct blob *blob;
    struct err e;
};

static void rig_open(struct rig *r, const struct fault_step *steps, size_t n, int deadline_ms)
{
    struct blob_s3_options o = {.region = "us-east-1",
                                .bucket = "bucket",
                                .access_key = "key",
                                .secret_key = "secret",
                                .stall_timeout_ms = 1000,
                                .deadline_ms = deadline_ms,
                                .part_bytes = 10};

    r->server = fault_server_start(steps, n);
    o.endpoint = fault_server_endpoint(r->server);
    assert_int_equal(the_open(&r->blob, &o, the_clock, &r->e), 0);
}

static void rig_close(struct rig *r)
{
    size_t i;

    for (i = 0; the_open == blob_s3 && i < fault_server_count(r->server); i++) {
        struct fault_request q = fault_server_request(r->server, i);

        assert_true(q.signed_v4);
        assert_true(q.hash_right); /* of every request, of nothing too */
    }
    blob_free(r->blob);
    fault_server_stop(r->server);
}

enum verb { GET, PUT, HEAD, LIST, REMOVE, CREATE };

static int ignore(void *arg, const char *key, uint64_t size)
{
    return 0;
}

static int call(struct rig *r, enum verb verb, struct buf *got)
{
    switch (verb) {
    case GET:
        return blob_get(r->blob, "k", got, &r->e);
    case PUT:
        return blob_put(r->blob, "k", "body", 4, &r->e);
    case HEAD:
        return blob_head(r->blob, "k", NULL, &r->e);
    case LIST:
        return blob_list(r->blob, "p/", NULL, ignore, NULL, &r->e);
    case REMOVE:
        return blob_remove(r->blob, "k", &r->e);
    case CREATE:
        return blob_create(r->blob, "k", "mine 1", 6, &r->e);
    }
    return ERR_INTERNAL;
}

struct scenario {
    const char *name;
    enum verb verb;
    int rc;
    size_t requests;
    struct fault_step steps[5]; /* up to the first without status that answers */
};

static const struct scenario both[] = {
    {"500 twice", GET, 0, 3, {A(500, ERROR("InternalError")), A(500, NULL), A(200, "x")}},
    {"503", GET, 0, 2, {A(503, ERROR("SlowDown")), A(200, "x")}},
    {"403 is final", GET, ERR_DENIED, 1, {A(403, ERROR("AccessDenied"))}},
    {"403 without a body", HEAD, ERR_DENIED, 1, {A(403, NULL)}},
    {"404 is final", GET, ERR_NOT_FOUND, 1, {A(404, ERROR("NoSuchKey"))}},
    {"404 of a head", HEAD, ERR_NOT_FOUND, 1, {A(404, NULL)}},
    {"no bucket", LIST, ERR_CONFIG, 1, {A(404, ERROR("NoSuchBucket"))}},
    {"a missing object is removed", REMOVE, 0, 1, {A(404, ERROR("NoSuchKey"))}},
    {"405 is final", REMOVE, ERR_CONFIG, 1, {A(405, ERROR("MethodNotAllowed"))}},
    {"a cut body", GET, 0, 2, {F(CUT, 200, "cut body"), A(200, "x")}},
    {"a dropped connection", GET, 0, 2, {F(DROP, 200, NULL), A(200, "x")}},
    {"a hang", GET, 0, 2, {F(HANG, 200, NULL), A(200, "x")}},
    {"more than allowed",
     GET,
     ERR_LIMIT,
     1,
     {A(200, "more than the forty bytes that fit into it")}},
    {"far more than allowed", GET, ERR_LIMIT, 1, {F(ENDLESS, 200, "x")}},
    {"lost answer",
     CREATE,
     0,
     3,
     {F(DROP, 200, NULL), A(412, ERROR("PreconditionFailed")), A(200, "mine 1")}},
    {"an answer that never arrives",
     CREATE,
     0,
     3,
     {F(HANG, 200, NULL), A(412, NULL), A(200, "mine 1")}},
    {"lost", CREATE, ERR_EXISTS, 2, {A(412, NULL), A(200, "mine 2")}},
    {"lost to a longer one", CREATE, ERR_EXISTS, 2, {A(412, NULL), A(200, "mine 1!")}},
    {"lost to an empty one", CREATE, ERR_EXISTS, 2, {A(412, NULL), A(200, "")}},
    {"the comparison is retried",
     CREATE,
     0,
     4,
     {A(412, NULL), A(500, NULL), F(CUT, 200, "mine 1"), A(200, "mine 1")}},
    {"removed in between", CREATE, 0, 3, {A(412, NULL), A(404, NULL), A(200, NULL)}},
    {"create among conflicts", CREATE, 0, 3, {A(409, NULL), A(500, NULL), A(200, NULL)}},
    {"create denied", CREATE, ERR_DENIED, 1, {A(403, NULL)}},
};

static const struct scenario curl_only[] = {
    {"503 of an unknown kind", PUT, 0, 2, {A(503, ERROR("ServiceUnavailable")), A(200, NULL)}},
    {"502", PUT, 0, 2, {A(502, NULL), A(200, NULL)}},
    {"409", PUT, 0, 2, {A(409, ERROR("OperationAborted")), A(200, NULL)}},
    {"429", PUT, 0, 2, {A(429, NULL), A(200, NULL)}},
    {"400 is final", PUT, ERR_CONFIG, 1, {A(400, ERROR("InvalidArgument"))}},
    {"400 that is a timeout", PUT, 0, 2, {A(400, ERROR("RequestTimeout")), A(200, NULL)}},
    {"damaged on its way", PUT, ERR_PEER, 1, {A(400, ERROR("BadDigest"))}},
    {"a hanging put", PUT, 0, 2, {F(HANG, 200, NULL), A(200, NULL)}},
    {"408", GET, 0, 2, {A(408, NULL), A(200, "x")}},
    {"501 is final", PUT, ERR_CONFIG, 1, {A(501, ERROR("NotImplemented"))}},
    {"418 is final", GET, ERR_CONFIG, 1, {A(418, ERROR("Whatever"))}},
    {"no redirect is followed",
     GET,
     ERR_CONFIG,
     1,
     {{.status = 307, .headers = "Location: http://127.0.0.1:1/elsewhere\r\n"}}},
    {"no length", GET, ERR_PEER, 1, {F(NO_LENGTH, 200, "perhaps cut")}},
    {"a part", GET, ERR_PEER, 1, {A(206, "half")}},
    {"no XML", LIST, ERR_PEER, 1, {A(200, "<ListBucketResult")}},
    {"entities",
     LIST,
     ERR_PEER,
     1,
     {A(200, "<!DOCTYPE l [<!ENTITY a \"aaaa\"><!ENTITY b "
             "\"&a;&a;&a;\">]><ListBucketResult><IsTruncated>"
             "false</IsTruncated><Contents><Key>&b;</Key><Size>1</Size></Contents></"
             "ListBucketResult>")}},
    {"a circle",
     LIST,
     ERR_PEER,
     2,
     {A(200, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t"
             "</NextContinuationToken></ListBucketResult>")}},
};

/* After an upload libs3's word is not enough: a HEAD follows. */
static const struct scenario libs3_only[] = {
    {"put", PUT, 0, 2, {A(200, NULL), A(200, "body")}},
    {"503", PUT, 0, 3, {A(503, ERROR("ServiceUnavailable")), A(200, NULL), A(200, "body")}},
    {"409", PUT, 0, 3, {A(409, ERROR("OperationAborted")), A(200, NULL), A(200, "body")}},
    {"400", PUT, ERR_CONFIG, 1, {A(400, ERROR("InvalidArgument"))}},
    {"502 without a document",
     PUT,
     0,
     4,
     {A(502, NULL), A(404, NULL), A(200, NULL), A(200, "body")}},
    {"403 without a document", PUT, ERR_DENIED, 2, {A(403, NULL), A(403, NULL)}},
    {"another length", PUT, 0, 4, {A(500, NULL), A(200, "older"), A(200, NULL), A(200, "body")}},
    {"another content",
     PUT,
     0,
     4,
     {A(500, NULL),
      {.status = 200, .body = "fore", .headers = "ETag: \"900150983cd24fb0d6963f7d28e17f72\"\r\n"},
      A(200, NULL),
      {.status = 200,
       .body = "body",
       .headers = "ETag: \"841a2d689ad86bd1611447453c22c6fc\"\r\n"}}},
    {"a hang", PUT, 0, 3, {F(HANG, 200, NULL), A(200, NULL), A(200, "body")}},
};

static void play(const struct scenario *s)
{
    struct rig r = {.e = ERR_INIT};
    struct buf got;
    size_t n = 1;
    int rc;

    while (n < COUNT(s->steps) && s->steps[n].status)
        n++;
    rig_open(&r, s->steps, n, 20000);
    buf_init(&got, 40);
    rc = call(&r, s->verb, &got);
    if (rc != s->rc || fault_server_count(r.server) != s->requests)
        fail_msg("%s: %d after %zu requests, not %d after %zu: %s", s->name, rc,
                 fault_server_count(r.server), s->rc, s->requests, r.e.text);
    if (s->verb == GET && rc == 0)
        assert_string_equal(got.data, "x"); /* nothing is left of an earlier try */
    if (s->verb == CREATE)
        assert_true(fault_server_request(r.server, 0).if_absent);
    buf_release(&got);
    rig_close(&r);
}

static void test_both(void **state)
{
    size_t i;

    for (i = 0; i < COUNT(both); i++)
        play(&both[i]);
}

static void test_curl_only(void **state)
{
    size_t i;

    for (i = 0; i < COUNT(curl_only); i++)
        play(&curl_only[i]);
}

static void test_libs3_only(void **state)
{
    size_t i;

    for (i = 0; i < COUNT(libs3_only); i++)
        play(&libs3_only[i]);
}

/* The deadline ends all trying, whatever the server does. */
static void test_deadline(void **state)
{
    static const struct fault_step steps[] = {A(500, NULL), F(CUT, 200, "never whole"),
                                              F(HANG, 200, NULL)};
    char folder[] = "/tmp/tripline-fault-XXXXXX", path[100], sha[SHA256_HEX];
    struct rig r = {.e = ERR_INIT};
    struct buf got;
    int64_t start;
    size_t i;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    buf_init(&got, 100);
    for (i = 0; i < COUNT(steps); i++) {
        rig_open(&r, &steps[i], 1, 1200);
        start = clock_mono_ms(the_clock);
        assert_int_equal(blob_get(r.blob, "k", &got, &r.e), ERR_PEER);
        assert_int_equal(blob_get_file(r.blob, "k", path, sha, &r.e), ERR_PEER);
        assert_true(clock_mono_ms(the_clock) - start < 6000);
        assert_true(fault_server_count(r.server) >= 2);
        assert_non_null(strstr(r.e.text, fault_server_endpoint(r.server)));
        rig_close(&r);
    }
    buf_release(&got);
    assert_int_equal(rmdir(folder), 0); /* nothing half-written */
}

/* While the process drains, waits return at once: a few more tries, no spinning. */
static void test_drain(void **state)
{
    static const struct fault_step step = A(500, ERROR("InternalError"));
    struct clock *kept = the_clock;
    struct rig r = {.e = ERR_INIT};

    assert_int_equal(clock_real(&the_clock, &r.e), 0);
    rig_open(&r, &step, 1, 20000);
    clock_stop(the_clock);
    assert_int_equal(blob_put(r.blob, "k", "x", 1, &r.e), ERR_PEER);
    assert_in_range(fault_server_count(r.server), 2, 6);
    rig_close(&r);
    clock_free(the_clock);
    the_clock = kept;
}

static void test_reuse(void **state)
{
    static const struct fault_step step = F(KEEP, 200, "x");
    struct rig r = {.e = ERR_INIT};
    struct buf got;
    int i;

    rig_open(&r, &step, 1, 20000);
    buf_init(&got, 100);
    for (i = 0; i < 5; i++)
        assert_int_equal(blob_get(r.blob, "k", &got, &r.e), 0);
    assert_int_equal(fault_server_count(r.server), 5);
    assert_int_equal(fault_server_connections(r.server), 1);
    buf_release(&got);
    rig_close(&r);
}

/* A server that ignores If-None-Match is found out. */
static void test_check_create(void **state)
{
    static const struct fault_step step = A(200, NULL);
    struct rig r = {.e = ERR_INIT};

    rig_open(&r, &step, 1, 20000);
    assert_int_equal(blob_check_create(r.blob, the_clock, "check/", &r.e), ERR_CONFIG);
    assert_non_null(strstr(r.e.text, "64 of 64"));
    rig_close(&r);
}

#define STARTED                                                                                    \
    A(200, "<InitiateMultipartUploadResult><UploadId>i/d</UploadId>"                               \
           "</InitiateMultipartUploadResult>")
#define PART                                                                                       \
    {                                                                                              \
        .status = 200, .headers = "ETag: \"tag\"\r\n"                                              \
    }
#define COMPLETED A(200, "<CompleteMultipartUploadResult/>")

static void upload(struct rig *r, const struct fault_step *steps, size_t n, int rc)
{
    r->e = (struct err)ERR_INIT;
    rig_open(r, steps, n, 20000);
    if (blob_put(r->blob, "k", "twenty-five bytes of text", 25, &r->e) != rc)
        fail_msg("%s", r->e.text);
}

static void expect_request(struct rig *r, size_t i, const char *method, const char *target)
{
    struct fault_request q = fault_server_request(r->server, i);

    assert_string_equal(q.method, method);
    assert_string_equal(q.target, target);
}

static void test_multipart(void **state)
{
    static const struct fault_step good[] = {
        STARTED, PART, A(500, NULL), PART, PART, A(200, ERROR("InternalError")), COMPLETED};
    struct rig r;

    upload(&r, good, COUNT(good), 0);
    assert_int_equal(fault_server_count(r.server), 7);
    expect_request(&r, 0, "POST", "/bucket/k?uploads=");
    expect_request(&r, 1, "PUT", "/bucket/k?partNumber=1&uploadId=i%2Fd");
    expect_request(&r, 3, "PUT", "/bucket/k?partNumber=2&uploadId=i%2Fd");
    expect_request(&r, 4, "PUT", "/bucket/k?partNumber=3&uploadId=i%2Fd");
    assert_int_equal(fault_server_request(r.server, 1).body_len, 10);
    assert_int_equal(fault_server_request(r.server, 4).body_len, 5);
    expect_request(&r, 6, "POST", "/bucket/k?uploadId=i%2Fd");
    rig_close(&r);
}

static void test_multipart_fails(void **state)
{
    static const struct fault_step denied[] = {STARTED, PART, A(403, NULL), A(204, NULL)};
    static const struct fault_step no_tag[] = {STARTED, A(200, NULL), A(204, NULL)};
    static const struct fault_step gone[] = {STARTED,
                                             PART,
                                             PART,
                                             PART,
                                             F(DROP, 200, NULL),
                                             A(404, ERROR("NoSuchUpload")),
                                             A(404, ERROR("NoSuchUpload")), /* the abort */
                                             STARTED,
                                             PART,
                                             PART,
                                             PART,
                                             COMPLETED};
    struct rig r;

    upload(&r, denied, COUNT(denied), ERR_DENIED);
    assert_int_equal(fault_server_count(r.server), 4);
    expect_request(&r, 3, "DELETE", "/bucket/k?uploadId=i%2Fd");
    rig_close(&r);
    upload(&r, no_tag, COUNT(no_tag), ERR_PEER);
    expect_request(&r, 2, "DELETE", "/bucket/k?uploadId=i%2Fd");
    rig_close(&r);
    upload(&r, gone, COUNT(gone), 0);
    assert_int_equal(fault_server_count(r.server), 12);
    rig_close(&r);
}

/* A local failure is reported as one, and not tried again. */
static void test_unwritable(void **state)
{
    static const struct fault_step step = A(200, "the object");
    struct rig r = {.e = ERR_INIT};
    char sha[SHA256_HEX];

    rig_open(&r, &step, 1, 20000);
    assert_int_equal(blob_get_file(r.blob, "k", "/no/such/folder/file", sha, &r.e), ERR_IO);
    assert_non_null(strstr(r.e.text, "/no/such/folder/file"));
    assert_int_equal(fault_server_count(r.server), 1);
    rig_close(&r);
}

/* Bad settings are refused when the store is opened. */
static void test_options(void **state)
{
    static const char *const endpoints[] = {
        "",           "127.0.0.1",           "ftp://h",       "http://user:pass@h",
        "http://h/p", "http://h?query=here", "file:///etc/x", "http://"};
    struct blob_s3_options o = {.region = "r", .bucket = "b", .access_key = "a", .secret_key = "s"};
    struct err e = ERR_INIT;
    struct blob *b = NULL;
    size_t i;

    for (i = 0; i < COUNT(endpoints); i++) {
        o.endpoint = endpoints[i];
        if (the_open(&b, &o, the_clock, &e) != ERR_CONFIG)
            fail_msg("endpoint '%s' was accepted", endpoints[i]);
    }
    o.endpoint = "http://h";
    o.secret_key = "two\r\nlines";
    assert_int_equal(the_open(&b, &o, the_clock, &e), ERR_CONFIG);
    assert_null(strstr(e.text, "two"));
    o.secret_key = NULL;
    assert_int_equal(the_open(&b, &o, the_clock, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "AWS_SECRET_ACCESS_KEY"));
    o.secret_key = "s";
    o.bucket = "a/b";
    assert_int_equal(the_open(&b, &o, the_clock, &e), ERR_CONFIG);
    o.bucket = "b";
    o.endpoint = "https://h";
    assert_int_equal(the_open(&b, &o, the_clock, &e), the_open == blob_s3 ? 0 : ERR_CONFIG);
    blob_free(b);
}

int main(void)
{
    const struct CMUnitTest curl[] = {
        cmocka_unit_test(test_both),       cmocka_unit_test(test_curl_only),
        cmocka_unit_test(test_deadline),   cmocka_unit_test(test_drain),
        cmocka_unit_test(test_reuse),      cmocka_unit_test(test_check_create),
        cmocka_unit_test(test_multipart),  cmocka_unit_test(test_multipart_fails),
        cmocka_unit_test(test_unwritable), cmocka_unit_test(test_options),
    };
    const struct CMUnitTest libs3[] = {
        cmocka_unit_test(test_both),     cmocka_unit_test(test_libs3_only),
        cmocka_unit_test(test_deadline), cmocka_unit_test(test_drain),
        cmocka_unit_test(test_reuse),    cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_options),
    };
    struct err e = ERR_INIT;
    int failed;

    if (clock_real(&the_clock, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    failed = cmocka_run_group_tests_name("blob_s3 and faults", curl, NULL, NULL);
    the_open = blob_libs3;
    failed += cmocka_run_group_tests_name("blob_libs3 and faults", libs3, NULL, NULL);
    clock_free(the_clock);
    return failed != 0;
}
