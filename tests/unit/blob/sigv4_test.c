/* The examples that AWS publishes for S3 (API Reference, "Authenticating Requests"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "platform/base/sha256.h"
#include "platform/blob/ends.h"
#include "platform/blob/sigv4.h"

#define HOST "examplebucket.s3.amazonaws.com"
#define TIME "20130524T000000Z"

static const struct sigv4_keys keys = {"AKIAIOSFODNN7EXAMPLE",
                                       "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1"};

static void expect(const struct sigv4_request *r, const char *names, const char *signature)
{
    char want[512];
    struct buf got;

    buf_init(&got, 4096);
    sigv4_authorization(&keys, r, &got);
    snprintf(want, sizeof want,
             "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
             "SignedHeaders=%s,Signature=%s",
             names, signature);
    assert_string_equal(got.data, want);
    buf_release(&got);
}

static void test_get(void **state)
{
    struct sigv4_header h[] = {{"host", HOST},
                               {"range", "bytes=0-9"},
                               {"x-amz-content-sha256", SIGV4_EMPTY},
                               {"x-amz-date", TIME}};
    struct sigv4_request r = {"GET", "/test.txt", "", h, 4, SIGV4_EMPTY, TIME};

    expect(&r, "host;range;x-amz-content-sha256;x-amz-date",
           "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void test_put(void **state)
{
    char payload[SHA256_HEX];
    struct sigv4_header h[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                               {"host", HOST},
                               {"x-amz-content-sha256", payload},
                               {"x-amz-date", TIME},
                               {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
    struct sigv4_request r = {"PUT", NULL, "", h, 5, payload, TIME};
    struct buf path;

    sha256_of("Welcome to Amazon S3.", 21, payload);
    buf_init(&path, 100);
    blob_percent(&path, "/test$file.text", true);
    assert_string_equal(path.data, "/test%24file.text");
    r.path = path.data;
    expect(&r, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
           "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    buf_release(&path);
}

static void test_queries(void **state)
{
    struct sigv4_header h[] = {
        {"host", HOST}, {"x-amz-content-sha256", SIGV4_EMPTY}, {"x-amz-date", TIME}};
    struct sigv4_request r = {"GET", "/", "lifecycle=", h, 3, SIGV4_EMPTY, TIME};

    expect(&r, "host;x-amz-content-sha256;x-amz-date",
           "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    r.query = "max-keys=2&prefix=J";
    expect(&r, "host;x-amz-content-sha256;x-amz-date",
           "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void test_presign(void **state)
{
    struct buf url;

    buf_init(&url, 4096);
    buf_str(&url, "https://" HOST "/test.txt?");
    sigv4_presign(&keys, HOST, "/test.txt", TIME, 86400, &url);
    assert_string_equal(
        url.data,
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    buf_release(&url);
}

static void test_time(void **state)
{
    char time[SIGV4_TIME];

    sigv4_time(1369353600999, time);
    assert_string_equal(time, TIME);
    sigv4_time(0, time);
    assert_string_equal(time, "19700101T000000Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),     cmocka_unit_test(test_put),  cmocka_unit_test(test_queries),
        cmocka_unit_test(test_presign), cmocka_unit_test(test_time),
    };

    return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
