/* Segments into a dataset: who wins, what is left out, in which order. */
#include "trainer/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "schemas/segment.h"
#include "trainer/data/dataset.h"
#include "trainer/snapshot.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

static char folder[64];

struct message {
    const char *id, *value; /* NULL: a tombstone */
    int64_t timestamp_ms;
};

static void put(uint64_t incarnation, int32_t partition, int64_t first, const struct message *list,
                size_t n)
{
    struct segment_name name = {"acme", "news", incarnation, partition, first};
    struct segment_writer *w = NULL;
    char path[4096], sha256[SHA256_HEX];
    struct arena a;
    struct buf b;
    size_t i;

    arena_init(&a, 1 << 20);
    ok(segment_writer_new(&w, &name, "n", 1, &e));
    for (i = 0; i < n; i++) {
        struct document_message m = {.key = list[i].id,
                                     .key_len = strlen(list[i].id),
                                     .value = list[i].value,
                                     .value_len = list[i].value ? strlen(list[i].value) : 0};
        enum document_kind kind;
        struct document d;

        ok(document_admit(&m, "acme", &a, &kind, &d, &e));
        ok(segment_writer_add(w, first + (int64_t)i, list[i].timestamp_ms, &m, kind, &d, &e));
    }
    buf_init(&b, SEGMENT_BYTES_MAX);
    ok(segment_writer_finish(w, &b, sha256, &e));
    ok(snapshot_segment_path(folder, (int64_t)incarnation, partition, first, path, &e));
    ok(file_write(path, b.data, b.len, &e));
    buf_release(&b);
    arena_release(&a);
    segment_writer_free(w);
}

#define PUT(incarnation, partition, first, ...)                                                    \
    put(incarnation, partition, first, (const struct message[]){__VA_ARGS__},                      \
        sizeof((const struct message[]){__VA_ARGS__}) / sizeof(struct message))

static void expect(const struct dataset *d, int i, const char *id, const char *text,
                   const char *label)
{
    struct dataset_doc doc = dataset_at(d, i);

    assert_int_equal(doc.id_len, strlen(id));
    assert_memory_equal(doc.id, id, doc.id_len);
    assert_int_equal(doc.text_len, strlen(text));
    assert_memory_equal(doc.text, text, doc.text_len);
    assert_string_equal(dataset_label_name(d, doc.label), label);
}

static void last_wins(void **state)
{
    static const struct gather_segment segments[] = {{0, 0, 0}, {0, 1, 0}, {0, 1, 2}, {1, 0, 5}};
    struct gather_counts counts;
    struct dataset *d = NULL;

    PUT(0, 0, 0, {"a", "{\"text\":\"a old\",\"label\":\"x\"}", 100},
        {"b", "{\"text\":\"b\",\"label\":\"x\"}", 100}, {"c", "{\"text\":\"c\",\"label\":7}", 100},
        {"t", "{\"text\":\"t late\",\"label\":\"x\"}", 900});
    PUT(0, 1, 0, {"a", "{\"text\":\"a older\",\"label\":\"x\"}", 50}, {"b", NULL, 200});
    PUT(0, 1, 2, {"c", "{\"text\":\"c same time\",\"label\":7,\"split\":\"eval\"}", 100},
        {"t", "{\"text\":\"t early\",\"label\":\"x\"}", 800});
    PUT(1, 0, 5, {"a", "{\"text\":\"a new\",\"label\":\"y\"}", 1},
        {"p", "{\"tensor\":{\"shape\":[1],\"dtype\":\"uint8\",\"data\":\"AA==\"},\"label\":\"x\"}",
         1});
    ok(gather(&d, folder, "acme", segments, 4, &counts, &e));
    assert_int_equal(counts.messages, 10);
    assert_int_equal(counts.skipped, 1); /* no text */
    assert_int_equal(dataset_count(d), 3);
    expect(d, 0, "t", "t late", "x");      /* the later timestamp, from either partition */
    expect(d, 1, "c", "c same time", "7"); /* equal times: the higher partition */
    expect(d, 2, "a", "a new", "y");       /* a later incarnation, whatever its time */
    assert_int_equal(dataset_at(d, 1).split, DATASET_EVAL);
    dataset_free(d);
}

static void parts_are_pairs(void **state)
{
    static const struct gather_segment scored[] = {{0, 3, 0}}, joined[] = {{0, 4, 0}},
                                       mixed[] = {{0, 3, 0}, {0, 4, 0}};
    struct gather_counts counts;
    struct dataset *d = NULL;
    struct err why = ERR_INIT;

#define PARTS "{\"parts\":[{\"modality\":\"text\",\"text\":\"a\"},{\"modality\":\"text\",\"text\":"
    PUT(0, 3, 0, {"s", PARTS "\"b\"}],\"score\":1}", 1},
        {"s", PARTS "\"c\"}],\"score\":0.5,\"split\":\"eval\"}", 2},
        {"l", PARTS "\"b\"}],\"label\":\"x\"}", 1});
    PUT(0, 4, 0, {"p", PARTS "\"b\"}]}", 1}, {"q", PARTS "\"c\"}]}", 1});
#undef PARTS
    ok(gather(&d, folder, "acme", scored, 1, &counts, &e));
    assert_int_equal(counts.skipped, 1); /* a label for two texts */
    assert_int_equal(dataset_count(d), 2);
    expect(d, 0, "s#1", "a", "0");
    expect(d, 1, "s#2", "c", "0");
    assert_true(dataset_scores(d)[0] == 0.5);
    assert_int_equal(dataset_at(d, 1).split, DATASET_EVAL);
    dataset_free(d);
    ok(gather(&d, folder, "acme", joined, 1, &counts, &e));
    assert_int_equal(dataset_count(d), 3);
    expect(d, 2, "q#2", "c", "0");
    assert_null(dataset_scores(d));
    dataset_free(d);
    assert_int_equal(gather(&d, folder, "acme", mixed, 2, &counts, &why), ERR_FORMAT);
    assert_non_null(strstr(why.text, "2 pairs and 1 scored pairs are mixed"));
}

static void damage_is_named(void **state)
{
    static const struct gather_segment segments[] = {{0, 0, 0}, {0, 7, 0}};
    struct gather_counts counts;
    struct dataset *d = NULL;
    struct err why = ERR_INIT;
    char path[4096];

    assert_int_equal(gather(&d, folder, "acme", segments, 2, &counts, &why), ERR_NOT_FOUND);
    ok(snapshot_segment_path(folder, 0, 7, 0, path, &e));
    ok(file_write(path, "damaged", 7, &e));
    assert_int_equal(gather(&d, folder, "acme", segments, 2, &counts, &why), ERR_FORMAT);
    assert_non_null(strstr(why.text, "partition 7"));
    assert_null(d);
}

static int set_up(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/gather-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    ok(file_remove_tree(folder, &e));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_wins),
        cmocka_unit_test(parts_are_pairs),
        cmocka_unit_test(damage_is_named),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
