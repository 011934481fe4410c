/*
 * What a producer may send, by mistake or on purpose. Each message is accepted,
 * or rejected with a reason and its position; the partition always advances, and
 * the good document behind it is taken.
 */
#include "tests/unit/ingest/world.h"

#include <stdlib.h>

#include "schemas/document.h"

static struct world w;
static struct ingest *in;
static int64_t sent;    /* messages in partition 0 */
static int good, seals; /* of them */
static size_t bad, copies;

static int open_world(void **state)
{
    static const char *const config[] = {"max.message.bytes=33554432", NULL};
    const struct bus_topic topics[] = {{TOPIC, 1, config}, {"tripline.rejected.acme", 1, config}};

    (void)state;
    world_open(&w);
    ok(bus_mem_delete_topic(w.bus, TOPIC, &e));
    ok(bus_mem_delete_topic(w.bus, "tripline.rejected.acme", &e));
    ok(bus_create_topics(w.bus, topics, 2, &e));
    w.o.segment_age_ms = 300;
    in = world_ingest(&w);
    sent = good = seals = 0;
    bad = copies = 0;
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    ingest_free(in);
    world_close(&w);
    return 0;
}

/* A header of the last copy on the rejected topic. */
static void last_copy(const char *name, char *out, size_t size)
{
    struct bus_message *m = NULL;
    size_t i;

    out[0] = '\0';
    assert_int_equal(bus_read_at(w.bus, "tripline.rejected.acme", 0, (int64_t)copies - 1, &m,
                                 &(struct err)ERR_INIT),
                     1);
    for (i = m->header_count; i-- > 0 && !out[0];) /* ingest's come last */
        if (!strcmp(m->headers[i].name, name))
            snprintf(out, size, "%.*s", (int)m->headers[i].value_len,
                     (const char *)m->headers[i].value);
    bus_read_free(w.bus, m);
}

/* Behind every odd message comes a good document, and all of it is covered. */
static struct chain_seen settle(void)
{
    struct chain_seen seen;

    world_put(&w, 0, "good", "label");
    good++;
    sent++;
    world_run(&w, in, 3000);
    seen = world_check_all(&w, 0);
    assert_int_equal(seen.documents, good);
    assert_int_equal(seen.rejected, bad);
    copies = world_count(&w, "tripline.rejected.acme");
    assert_int_equal(copies, bad);
    return seen;
}

static void accepts(const char *key, const void *value, size_t n, const char *header,
                    const char *header_value)
{
    world_send(&w, 0, key, value, n, header, header_value);
    sent++;
    good++;
    settle();
}

/* `reason`: how it begins. */
static void refuses(const char *key, const void *value, size_t n, const char *header,
                    const char *header_value, const char *reason)
{
    char text[600], expected[24];
    struct chain_seen seen;
    int64_t offset = sent;

    world_send(&w, 0, key, value, n, header, header_value);
    sent++;
    bad++;
    seen = settle();
    if (strncmp(seen.reason, reason, strlen(reason)) != 0)
        fail_msg("'%s' does not begin with '%s'", seen.reason, reason);
    snprintf(expected, sizeof expected, "%lld", (long long)offset);
    last_copy(HEADER_REJECT_OFFSET, text, sizeof text);
    assert_string_equal(text, expected);
    last_copy(HEADER_REJECT_PARTITION, text, sizeof text);
    assert_string_equal(text, "0");
    last_copy(HEADER_REJECT_REASON, text, sizeof text);
    assert_true(strlen(text) > 0);
}

static void refuses_text(const char *value, const char *reason)
{
    refuses("k", value, strlen(value), NULL, NULL, reason);
}

/* `head`, then `middle` so often, then `tail`. */
static char *repeat(const char *head, const char *middle, size_t count, const char *tail, size_t *n)
{
    struct buf b;
    size_t i;

    buf_init(&b, (size_t)64 << 20);
    buf_str(&b, head);
    for (i = 0; i < count; i++)
        buf_str(&b, middle);
    buf_str(&b, tail);
    assert_int_equal(b.failed, 0);
    return buf_detach(&b, n);
}

static void test_size(void **state)
{
    static const char head[] = "{\"label\":1,\"text\":\"x\",\"meta\":\"";
    size_t n, room = DOCUMENT_BYTES_MAX - strlen(head) - 2;
    char *value;
    int more;

    (void)state;
    for (more = -1; more <= 1; more++) {
        value = repeat(head, "m", room + (size_t)more, "\"}", &n);
        assert_int_equal(n, DOCUMENT_BYTES_MAX + (size_t)more);
        if (more <= 0)
            accepts("k", value, n, NULL, NULL);
        else
            refuses("k", value, n, NULL, NULL, "LIMIT: 16777217 bytes, at most 16777216");
        free(value);
    }
}

static void test_text_and_label_sizes(void **state)
{
    size_t n;
    char *value;

    (void)state;
    value = repeat("{\"label\":1,\"text\":\"", "t", 4 << 20, "\"}", &n);
    accepts("k", value, n, NULL, NULL);
    free(value);
    value = repeat("{\"label\":1,\"text\":\"", "t", (4 << 20) + 1, "\"}", &n);
    refuses("k", value, n, NULL, NULL, "LIMIT: text: 4194305 bytes, at most 4194304");
    free(value);
    value = repeat("{\"text\":\"x\",\"label\":\"", "l", DOCUMENT_LABEL_MAX, "\"}", &n);
    accepts("k", value, n, NULL, NULL);
    free(value);
    value = repeat("{\"text\":\"x\",\"label\":\"", "l", DOCUMENT_LABEL_MAX + 1, "\"}", &n);
    refuses("k", value, n, NULL, NULL, "LIMIT: label: 1025 bytes, at most 1024");
    free(value);
}

static void test_ids(void **state)
{
    static const char value[] = "{\"label\":1,\"text\":\"x\"}";
    char *id, *body;
    size_t n;

    (void)state;
    id = repeat("", "i", DOCUMENT_ID_MAX, "", &n);
    accepts(id, value, strlen(value), NULL, NULL);
    free(id);
    id = repeat("", "i", 100000, "", &n);
    refuses(id, value, strlen(value), NULL, NULL, "LIMIT: key: 100000 bytes, at most 512");
    free(id);
    body = repeat("{\"label\":1,\"text\":\"x\",\"id\":\"", "i", 100000, "\"}", &n);
    refuses(NULL, body, n, NULL, NULL, "LIMIT: id: 100000 bytes, at most 512");
    free(body);
    refuses("\xff\xfe", value, strlen(value), NULL, NULL, "FORMAT: key: not UTF-8");
    refuses(NULL, value, strlen(value), NULL, NULL, "FORMAT: id: missing");
}

static void test_nesting_and_counts(void **state)
{
    char *value, *deep;
    size_t n;

    (void)state;
    deep = repeat("{\"label\":1,\"text\":\"x\",\"meta\":", "[", 1000000, "", &n);
    refuses("k", deep, n, NULL, NULL, "LIMIT: JSON: nested deeper than 24");
    free(deep);
    value = repeat("{\"label\":1,\"text\":\"x\",\"meta\":[0", ",0", 1 << 20, "]}", &n);
    refuses("k", value, n, NULL, NULL, "LIMIT: JSON: more than 1048576 values");
    free(value);
    value = repeat("{\"label\":1,\"text\":\"x\",\"meta\":[{}", ",{}", 1 << 17, "]}", &n);
    refuses("k", value, n, NULL, NULL, "LIMIT: JSON: more than 131072 objects");
    free(value);
    value = repeat("{\"text\":\"x\",\"label\":[1", ",1", 999999, "]}", &n); /* 10^6 labels */
    refuses("k", value, n, NULL, NULL, "FORMAT: label: expected a string or an integer");
    free(value);
    value = repeat("{\"label\":1,\"parts\":[{\"modality\":\"a\",\"text\":\"x\"}",
                   ",{\"modality\":\"a\",\"text\":\"x\"}", DOCUMENT_PARTS_MAX, "]}", &n);
    refuses("k", value, n, NULL, NULL, "LIMIT: parts: 65 items, at most 64");
    free(value);
    value = repeat("{\"label\":1,\"points\":[[1,2,3]", ",[1,2,3]", 200000, "]}", &n);
    refuses("k", value, n, NULL, NULL, "LIMIT: points: 200001 rows, at most 200000");
    free(value);
    /* a msgpack array and map that say they hold 2^32 - 1 */
    refuses("k", "\x82\xa5label\x01\xa4text\xdd\xff\xff\xff\xff", 18, NULL, NULL,
            "FORMAT: msgpack: a length reaches beyond the end");
    refuses("k", "\xdf\xff\xff\xff\xff", 5, NULL, NULL,
            "FORMAT: msgpack: a length reaches beyond the end");
}

/* Documents of a class each: a footer lists no more classes than it has room for, then a segment
 * ends. */
static void test_many_classes(void **state)
{
    const int count = 110000;
    struct segment_name second = {"acme", "news", .first = 50000};
    char label[24], key[KEY_MAX];
    struct chain_seen seen;
    struct buf bytes;
    int i;

    (void)state;
    ingest_free(in);
    w.o.segment_bytes = SEGMENT_BYTES_MAX;
    w.o.segment_records = count * 2;
    w.o.segment_age_ms = 3600000;
    in = world_ingest(&w);
    for (i = 0; i < count; i++) {
        snprintf(label, sizeof label, "class %d", i);
        world_put(&w, 0, "k", label);
    }
    good += count;
    sent += count;
    world_seal(&w, 0);
    sent++;
    world_run(&w, in, 3000);
    seen = world_check_all(&w, 0);
    assert_int_equal(seen.documents, good);
    assert_int_equal(seen.rejected, 0);
    assert_int_equal(seen.segments, 3);
    assert_int_equal(key_segment(&second, key, &(struct err)ERR_INIT), 0);
    buf_init(&bytes, SEGMENT_BYTES_MAX);
    assert_int_equal(blob_get(w.blob, key, &bytes, &(struct err)ERR_INIT), 0);
    buf_release(&bytes);
}

static void test_numbers_and_texts(void **state)
{
    static const char wide[] =
        "{\"label\":\"\xf0\x9f\x98\x80\",\"text\":\"\\ud83d\\ude00\",\"new\":[1]}";

    (void)state;
    refuses_text("{\"label\":1,\"parts\":[{\"modality\":\"a\",\"text\":\"x\"},{\"modality\":\"b\","
                 "\"text\":\"y\"}],\"score\":NaN}",
                 "FORMAT: JSON: invalid token near 'NaN'");
    refuses_text("{\"label\":1e999,\"text\":\"x\"}", "FORMAT: JSON: real number overflow");
    refuses_text("{\"label\":1.5,\"text\":\"x\"}", "FORMAT: label: expected a string");
    refuses_text("{\"label\":9223372036854775808,\"text\":\"x\"}", "FORMAT: JSON: too big integer");
    refuses_text("{\"label\":1,\"text\":\"\xc3\"}", "FORMAT: JSON: unable to decode byte 0xc3");
    refuses_text("{\"label\":1,\"text\":\"\xed\xa0\x80\"}", "FORMAT: JSON: unable to decode");
    refuses_text("{\"label\":1,\"text\":\"a\\u0000b\"}", "FORMAT: JSON: a NUL character");
    refuses_text("{\"label\":1,\"label\":2,\"text\":\"x\"}", "FORMAT: JSON: duplicate object key");
    refuses_text("{\"label\":1,\"finetuner_label\":2,\"text\":\"x\"}",
                 "FORMAT: finetuner_label: given twice");
    refuses("k", "\x82\xa5label\xcb\x7f\xf8\0\0\0\0\0\0\xa4text\xa1x", 22, NULL, NULL,
            "FORMAT: msgpack: a number that is not finite");
    refuses("k", "\x82\xa5label\x01\xa4text\xa2\xff\xff", 16, NULL, NULL,
            "FORMAT: msgpack: a string is not UTF-8");
    refuses("k", "", 0, NULL, NULL, "FORMAT: nothing there");
    accepts("k", wide, strlen(wide), NULL, NULL);
}

static void test_content_types(void **state)
{
    static const char json[] = "{\"label\":1,\"text\":\"x\"}";

    (void)state;
    accepts("k", json, strlen(json), "Content-Type", "Application/JSON; charset=utf-8");
    refuses("k", json, strlen(json), "content-type", "application/msgpack", "FORMAT: msgpack:");
    refuses("k", json, strlen(json), "content-type", "application/jsonx",
            "UNSUPPORTED: content-type");
    refuses("k", json, strlen(json), "content-type", "", "UNSUPPORTED: content-type ''");
    refuses("k", "\x82\xa5label\x01\xa4text\xa1x", 15, "content-type", "application/json",
            "FORMAT: JSON:");
}

/* Headers that only we write, or that mean something to us. */
static void test_forged(void **state)
{
    static const char json[] = "{\"label\":1,\"text\":\"x\"}";
    char text[100];
    int i;

    (void)state;
    refuses("k", json, strlen(json), HEADER_CONTROL, "open",
            "UNSUPPORTED: header tripline-control");
    refuses("k", json, strlen(json), HEADER_CONTROL, CONTROL_SEAL,
            "FORMAT: header tripline-control: a seal has no value");
    refuses("k", json, strlen(json), HEADER_CONTROL, "SEAL",
            "UNSUPPORTED: header tripline-control");
    refuses("k", json, strlen(json), HEADER_URI, "00 1 owners/other/x",
            "UNSUPPORTED: header tripline-uri");
    refuses("k", "{", 1, HEADER_REJECT_OFFSET, "999", "FORMAT: JSON"); /* ours comes behind it */
    refuses("k", "{", 1, HEADER_REJECT_CODE, "FINE", "FORMAT: JSON");
    last_copy(HEADER_REJECT_CODE, text, sizeof text);
    assert_string_equal(text, "FORMAT");
    accepts("k", json, strlen(json), HEADER_REPLAY, "12"); /* a header like any other to ingest */
    for (i = 0; i < 200; i++) /* seals without end cut no segment each */
        world_seal(&w, 0);
    sent += 200;
    assert_true(settle().segments < 100);
    assert_int_equal(world_check_all(&w, 0).seals, 200);
}

static void test_many_headers(void **state)
{
    static const char json[] = "{\"label\":1,\"text\":\"x\"}";
    static struct bus_header many[300];
    static char large[(1 << 20) + 1];
    struct bus_message m = {.topic = TOPIC,
                            .timestamp_ms = clock_wall_ms(w.clock),
                            .key = "k",
                            .key_len = 1,
                            .value = json,
                            .value_len = strlen(json),
                            .headers = many};
    size_t i;

    (void)state;
    for (i = 0; i < 300; i++)
        many[i] = (struct bus_header){"h", "v", 1};
    m.header_count = 256;
    ok(bus_send(w.producer, &m, NULL, &e));
    good++;
    sent++;
    settle();
    m.header_count = 257;
    ok(bus_send(w.producer, &m, NULL, &e));
    bad++;
    sent++;
    assert_true(strstr(settle().reason, "257 headers, at most 256") != NULL);
    many[0] = (struct bus_header){"h", large, sizeof large};
    m.header_count = 1;
    ok(bus_send(w.producer, &m, NULL, &e));
    bad++;
    sent++;
    assert_true(strstr(settle().reason, "headers: more than 1048576 bytes") != NULL);
}

static void test_tombstones_and_transactions(void **state)
{
    struct chain_seen seen;

    (void)state;
    world_send(&w, 0, "gone", NULL, 0, NULL, NULL);
    sent++;
    assert_int_equal(settle().tombstones, 1);
    refuses(NULL, NULL, 0, NULL, NULL, "FORMAT: key: missing; a null value removes");
    world_transaction(&w, 0, 50, false);
    sent += 51;
    world_transaction(&w, 0, 3, true);
    sent += 4;
    good += 3;
    seen = settle();
    assert_int_equal(seen.next, sent);
    refuses_text("{}", "FORMAT: content: missing");
}

/* No dataset: nothing is wrong, so it is ready, after a while without trouble. */
static void test_ready_without_datasets(void **state)
{
    struct ingest *idle;

    (void)state;
    w.o.prefix = "empty";
    w.ready = false;
    idle = world_ingest(&w);
    world_run(&w, idle, 2000);
    assert_false(w.ready);
    world_run(&w, idle, 10000);
    assert_true(w.ready);
    ingest_free(idle);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_size),
        CASE(test_text_and_label_sizes),
        CASE(test_ids),
        CASE(test_nesting_and_counts),
        CASE(test_many_classes),
        CASE(test_numbers_and_texts),
        CASE(test_content_types),
        CASE(test_forged),
        CASE(test_many_headers),
        CASE(test_tombstones_and_transactions),
        CASE(test_ready_without_datasets),
    };

    return cmocka_run_group_tests_name("ingest, hostile input", tests, NULL, NULL);
}
