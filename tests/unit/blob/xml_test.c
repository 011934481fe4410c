#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/blob/s3_xml.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
#define LIST(inside)                                                                               \
    HEAD "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" inside             \
         "</ListBucketResult>"
#define WHOLE          "<IsTruncated>false</IsTruncated>"
#define OBJECT(key, n) "<Contents><Key>" key "</Key><Size>" n "</Size></Contents>"
#define COUNT(x)       (sizeof(x) / sizeof(x)[0])

static int parse(const char *xml, struct s3_page *page)
{
    struct err e = ERR_INIT;

    return s3_page_parse(xml, strlen(xml), page, &e);
}

static void test_page(void **state)
{
    struct s3_page page;

    assert_int_equal(parse(LIST("<IsTruncated>true</IsTruncated>"
                                "<NextContinuationToken>a&amp;b</NextContinuationToken>" OBJECT(
                                    "a/x&lt;", "5") OBJECT("b%20c", "18446744073709")),
                           &page),
                     0);
    assert_int_equal(page.count, 2);
    assert_true(page.truncated);
    assert_string_equal(page.token, "a&b");
    assert_string_equal(page.objects[0].key, "a/x<");
    assert_int_equal(page.objects[0].size, 5);
    assert_string_equal(page.objects[1].key, "b%20c"); /* as it stands: no encoding was stated */
    assert_int_equal(page.objects[1].size, 18446744073709);
    s3_page_release(&page);
    s3_page_release(&page);
}

static void test_encoded(void **state)
{
    struct s3_page page;

    assert_int_equal(
        parse(LIST(WHOLE "<EncodingType>url</EncodingType>" OBJECT("a+b%20c%2Bd%C3%a4", "0")),
              &page),
        0);
    assert_int_equal(page.count, 1);
    assert_string_equal(page.objects[0].key, "a b c+d\xc3\xa4");
    assert_false(page.truncated);
    assert_null(page.token);
    s3_page_release(&page);
}

/* Folder markers and names that no call could use. */
static void test_left_out(void **state)
{
    struct s3_page page;

    assert_int_equal(parse(LIST(WHOLE "<EncodingType>url</EncodingType>" OBJECT("a/", "0")
                                    OBJECT("", "0") OBJECT("/b", "0") OBJECT("..%2Fb", "0")
                                        OBJECT("%FF", "0") OBJECT("a%0Ab", "0") OBJECT("a", "1")),
                           &page),
                     0);
    assert_int_equal(page.count, 1);
    assert_string_equal(page.objects[0].key, "a");
    s3_page_release(&page);
}

static void test_broken(void **state)
{
    static const char *const texts[] = {
        "",
        "x",
        "<ListBucketResult>",
        HEAD "<Other/>",
        LIST(""), /* whole or not? */
        LIST("<IsTruncated>maybe</IsTruncated>"),
        LIST("<IsTruncated>true</IsTruncated>"), /* cut, and no token */
        LIST(WHOLE OBJECT("a", "-1")),
        LIST(WHOLE OBJECT("a", "")),
        LIST(WHOLE OBJECT("a", "99999999999999999999")),
        LIST(WHOLE OBJECT("a", "1 ")),
        LIST(WHOLE "<EncodingType>url</EncodingType>" OBJECT("a%", "1")),
        LIST(WHOLE "<EncodingType>url</EncodingType>" OBJECT("a%2", "1")),
        LIST(WHOLE "<EncodingType>url</EncodingType>" OBJECT("a%00b", "1")),
        LIST(WHOLE OBJECT("\xff", "1")),
        LIST(WHOLE OBJECT("&unknown;", "1")),
        "<!DOCTYPE l [<!ENTITY a \"x\">]><ListBucketResult>" WHOLE "</ListBucketResult>",
        "<!DOCTYPE l SYSTEM \"http://127.0.0.1:1/x\"><ListBucketResult>" WHOLE
        "</ListBucketResult>",
    };
    struct s3_page page;
    size_t i;

    for (i = 0; i < COUNT(texts); i++) {
        if (parse(texts[i], &page) != ERR_PEER)
            fail_msg("accepted: %s", texts[i]);
        assert_null(page.objects);
    }
}

static void test_deep(void **state)
{
    size_t n = 100000, i;
    char *text = malloc(n * 3 + 1);
    struct s3_page page;

    assert_non_null(text);
    for (i = 0; i < n; i++)
        memcpy(text + 3 * i, "<a>", 3);
    text[3 * n] = '\0';
    assert_int_equal(parse(text, &page), ERR_PEER);
    free(text);
}

static void test_error(void **state)
{
    const char *xml = HEAD "<Error><Code>NoSuchKey</Code><Message>It &amp; is</Message></Error>";
    char code[64], message[256];

    assert_true(s3_error_parse(xml, strlen(xml), code, message));
    assert_string_equal(code, "NoSuchKey");
    assert_string_equal(message, "It & is");
    assert_false(s3_error_parse("<html/>", 7, code, message));
    assert_string_equal(code, "");
    assert_false(s3_error_parse("gateway", 7, code, message));
    assert_true(s3_error_parse("<Error/>", 8, code, message));
}

static void test_field(void **state)
{
    const char *xml = HEAD "<R><UploadId>an id</UploadId></R>";
    struct err e = ERR_INIT;
    struct buf got;

    buf_init(&got, 100);
    assert_int_equal(s3_field_parse(xml, strlen(xml), "UploadId", &got, &e), 0);
    assert_string_equal(got.data, "an id");
    assert_int_equal(s3_field_parse(xml, strlen(xml), "ETag", &got, &e), ERR_PEER);
    assert_int_equal(s3_field_parse("", 0, "ETag", &got, &e), ERR_PEER);
    buf_release(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),     cmocka_unit_test(test_encoded),
        cmocka_unit_test(test_left_out), cmocka_unit_test(test_broken),
        cmocka_unit_test(test_deep),     cmocka_unit_test(test_error),
        cmocka_unit_test(test_field),
    };

    return cmocka_run_group_tests_name("s3_xml", tests, NULL, NULL);
}
