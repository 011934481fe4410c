#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "schemas/document.h"
#include "schemas/job.h"

static struct arena a;
static struct err e;
static struct document d;
static enum document_kind kind;

static int setup(void **state)
{
    arena_init(&a, 1 << 26);
    return 0;
}

static int teardown(void **state)
{
    arena_release(&a);
    return 0;
}

static int admit(const char *key, const char *value, const char *type)
{
    const struct document_header header = {"Content-Type", type, type ? strlen(type) : 0};
    const struct document_message m = {
        key, key ? strlen(key) : 0, value, value ? strlen(value) : 0, &header, type != NULL};

    return document_admit(&m, "acme", &a, &kind, &d, &e);
}

static void accepted(void **state)
{
    assert_int_equal(admit(NULL, "{\"id\":\"1\",\"label\":\"a\",\"text\":\"hello\"}", NULL), 0);
    assert_int_equal(kind, DOCUMENT_PUT);
    assert_string_equal(d.id, "1");
    assert_string_equal(d.label.text, "a");
    assert_string_equal(d.text, "hello");
    assert_int_equal(d.split, SPLIT_TRAIN);
    assert_int_equal(document_content_of(&d), CONTENT_TEXT);
    assert_int_equal(
        admit("k", "{\"label\":5,\"text\":\"hello\"}", "application/json; charset=utf-8"), 0);
    assert_string_equal(d.id, "k");
    assert_null(d.label.text);
    assert_int_equal(d.label.number, 5);
    assert_int_equal(admit("k", "{\"id\":\"k\",\"label\":5,\"text\":\"x\"}", NULL), 0);
    assert_int_equal(admit("", "{\"id\":\"k\",\"label\":5,\"text\":\"x\"}", NULL), 0);
    assert_int_equal(admit("k", "\x82\xa5label\x05\xa4text\xa1x", "application/x-msgpack"), 0);
    assert_int_equal(admit("k", "{\"label\":1,\"uri\":\"owners/acme/x.jpg\"}", NULL), 0);
}

static void rejected(const char *key, const char *value, const char *type, int code,
                     const char *message)
{
    assert_int_equal(admit(key, value, type), code);
    assert_string_equal(e.text, message);
}

static void refused(void **state)
{
    rejected(NULL, "{\"label\":\"a\",\"text\":\"x\"}", NULL, ERR_FORMAT,
             "id: missing, and the message has no key");
    rejected("k", "{\"id\":\"1\",\"label\":\"a\",\"text\":\"x\"}", NULL, ERR_FORMAT,
             "id: '1' differs from the message's key 'k'");
    rejected("k", "{\"label\":\"a\",\"text\":\"x\"}", "text/csv", ERR_UNSUPPORTED,
             "content-type 'text/csv': expected application/json or application/msgpack");
    rejected("k", "{\"label\":\"a\",\"text\":\"x\"}", "application/msgpack", ERR_FORMAT,
             "msgpack: 23 bytes follow the value (offset 1)");
    rejected("k", "", NULL, ERR_FORMAT, "nothing there: expected JSON or msgpack");
    rejected("\xff", "{}", NULL, ERR_FORMAT, "key: not UTF-8 text; the key is the document's id");
    rejected("k", "{\"label\":1,\"uri\":\"owners/acme-two/x.jpg\"}", NULL, ERR_FORMAT,
             "uri: 'owners/acme-two/x.jpg' is not an object under owners/acme/");
    rejected(
        "k",
        "{\"parts\":[{\"modality\":\"a\",\"text\":\"x\"},{\"modality\":\"b\",\"uri\":\"/x\"}]}",
        NULL, ERR_FORMAT, "parts[1].uri: '/x' is not an object under owners/acme/");
}

static void too_large(void **state)
{
    static char big[DOCUMENT_BYTES_MAX + 2];
    char key[DOCUMENT_ID_MAX + 2];

    memset(big, ' ', sizeof big - 1);
    assert_int_equal(admit("k", big, NULL), ERR_LIMIT);
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = 0;
    assert_int_equal(admit(key, "{\"label\":1,\"text\":\"x\"}", NULL), ERR_LIMIT);
    assert_string_equal(e.text, "key: 513 bytes, at most 512");
}

static void tombstones(void **state)
{
    assert_int_equal(admit("k", NULL, NULL), 0);
    assert_int_equal(kind, DOCUMENT_TOMBSTONE);
    assert_string_equal(d.id, "k");
    assert_int_equal(admit(NULL, NULL, NULL), ERR_FORMAT);
}

static void seals(void **state)
{
    const struct document_header seal = {"tripline-control", "seal", 4},
                                 other = {"tripline-control", "open", 4};
    struct document_message m = {.headers = &seal, .header_count = 1};

    assert_int_equal(document_admit(&m, "acme", &a, &kind, &d, &e), 0);
    assert_int_equal(kind, DOCUMENT_SEAL);
    m.value = "{\"label\":\"a\",\"text\":\"x\"}"; /* would be lost as a seal */
    m.value_len = strlen(m.value);
    assert_int_equal(document_admit(&m, "acme", &a, &kind, &d, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "a seal has no value"));
    m.headers = &other;
    assert_int_equal(document_admit(&m, "acme", &a, &kind, &d, &e), ERR_UNSUPPORTED);
}

/* --- jobs
 * ------------------------------------------------------------------------------------------- */

#define JOB "{\"run\":\"r1\",\"dataset\":\"news\",\"model\":\"m\",\"backbone\":\"b\"}"

static int admit_job(const char *key, const char *value, struct job *j, char hash[SHA256_HEX])
{
    return job_admit(key, key ? strlen(key) : 0, value, strlen(value), &a, j, hash, &e);
}

static void jobs(void **state)
{
    char hash[SHA256_HEX], again[SHA256_HEX];
    struct job j;

    assert_int_equal(admit_job("r1", JOB, &j, hash), 0);
    assert_int_equal(j.kind, JOB_FIT);
    assert_non_null(j.parameters);
    assert_int_equal(j.parameters->epochs, 3);
    assert_true(j.parameters->normalize);
    assert_string_equal(j.parameters->freeze, "none");
    assert_int_equal(j.limits->threads, 0);
    assert_null(j.gate);
    assert_int_equal(
        admit_job(NULL, "{\"backbone\":\"b\", \"model\":\"m\",\"run\":\"r1\",\"dataset\":\"news\"}",
                  &j, again),
        0);
    assert_string_equal(hash, again);
    assert_int_equal(
        admit_job(NULL, "{\"backbone\":\"b\",\"model\":\"n\",\"run\":\"r1\",\"dataset\":\"news\"}",
                  &j, again),
        0);
    assert_string_not_equal(hash, again);
    assert_int_equal(admit_job("r2", JOB, &j, hash), ERR_FORMAT);
    assert_string_equal(e.text, "run: 'r1' differs from the message's key 'r2'");
    assert_int_equal(admit_job("r1", "{\"kind\":\"cancel\",\"run\":\"r1\"}", &j, hash), 0);
    assert_int_equal(j.kind, JOB_CANCEL);
    assert_int_equal(
        admit_job("r1",
                  "{\"kind\":\"cancel\",\"run\":\"r1\",\"accepted\":{\"request_sha256\":"
                  "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"nonce\":"
                  "\"n\",\"time_ms\":1,\"watermarks\":[]}}",
                  &j, hash),
        ERR_FORMAT);
    assert_string_equal(e.text, "accepted: not allowed in a message");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),   cmocka_unit_test(refused), cmocka_unit_test(too_large),
        cmocka_unit_test(tombstones), cmocka_unit_test(seals),   cmocka_unit_test(jobs),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
