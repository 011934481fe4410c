/* Datasets, tokens, batches, plans and .npy files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/counter.h"
#include "platform/base/file.h"
#include "trainer/data/batch.h"
#include "trainer/data/npy.h"

static struct err e;

static void add(struct dataset *d, const char *id, const char *text, const char *label)
{
    assert_int_equal(dataset_add(d, id, id ? strlen(id) : 0, text, strlen(text), label,
                                 strlen(label), DATASET_TRAIN, &e),
                     0);
}

static void last_one_wins(void **state)
{
    struct dataset *d = dataset_new();
    struct dataset_doc doc;

    add(d, "a", "first", "x");
    add(d, "b", "second", "y");
    add(d, "c", "third", "x");
    add(d, "a", "again", "z");
    dataset_remove(d, "b", 1);
    dataset_remove(d, "unknown", 7);
    assert_int_equal(dataset_seal(d, &e), 0);
    assert_int_equal(dataset_count(d), 2);
    assert_int_equal(dataset_labels(d), 2); /* y is gone */
    doc = dataset_at(d, 0);
    assert_int_equal(doc.text_len, 5);
    assert_memory_equal(doc.text, "again", 5);
    assert_memory_equal(doc.id, "a", 1);
    assert_string_equal(dataset_label_name(d, doc.label), "z");
    assert_string_equal(dataset_label_name(d, dataset_at(d, 1).label), "x");
    assert_int_equal(dataset_label_counts(d)[0], 1);
    assert_int_equal(dataset_label_find(d, "x", 1), 1);
    assert_int_equal(dataset_label_find(d, "y", 1), -1);
    assert_int_equal(dataset_add(d, "q", 1, "t", 1, "l", 1, DATASET_TRAIN, &e), ERR_INTERNAL);
    dataset_free(d);
}

static void bad_documents_are_refused(void **state)
{
    struct dataset *d = dataset_new();

    assert_int_equal(dataset_add(d, "", 0, "t", 1, "l", 1, DATASET_TRAIN, &e), ERR_FORMAT);
    assert_int_equal(dataset_add(d, "i", 1, "t", 1, "", 0, DATASET_TRAIN, &e), ERR_FORMAT);
    assert_int_equal(dataset_add(d, "i", DATASET_ID_MAX + 1, "t", 1, "l", 1, DATASET_TRAIN, &e),
                     ERR_LIMIT);
    dataset_free(d);
}

static struct dataset *many(int n, int labels)
{
    struct dataset *d = dataset_new();
    char text[64], label[32];
    int i;

    for (i = 0; i < n; i++) {
        snprintf(text, sizeof text, "document %d %.*s", i, i % 20, "the card is lost here");
        snprintf(label, sizeof label, "label-%d", i % labels);
        add(d, NULL, text, label);
    }
    assert_int_equal(dataset_seal(d, &e), 0);
    return d;
}

static void strata_are_held_out(void **state)
{
    struct dataset *d = many(1000, 7), *in, *out;
    unsigned char held[1000], again[1000];
    char hash[SHA256_HEX], other[SHA256_HEX];
    int l;

    assert_int_equal(dataset_stratify(d, 0.2, 5, held, &e), 0);
    assert_int_equal(dataset_stratify(d, 0.2, 5, again, &e), 0);
    assert_memory_equal(held, again, 1000);
    assert_int_equal(dataset_stratify(d, 0.2, 6, again, &e), 0);
    assert_true(memcmp(held, again, 1000) != 0);
    assert_int_equal(dataset_select(&in, d, held, 0, &e), 0);
    assert_int_equal(dataset_select(&out, d, held, 1, &e), 0);
    assert_int_equal(dataset_count(in) + dataset_count(out), 1000);
    assert_int_equal(dataset_labels(out), 7);
    for (l = 0; l < 7; l++)
        assert_in_range(dataset_label_counts(out)[l], 28, 29); /* 20 % of 142 or 143 */
    assert_int_equal(dataset_hash(in, hash, &e), 0);
    assert_int_equal(dataset_hash(out, other, &e), 0);
    assert_string_not_equal(hash, other);
    assert_int_equal(dataset_stratify(d, 1.0, 5, held, &e), ERR_USAGE);
    dataset_free(in);
    dataset_free(out);
    dataset_free(d);
}

static void pair(struct dataset *d, const char *id, const char *text, const char *second,
                 const double *score, enum dataset_split split)
{
    assert_int_equal(dataset_add_pair(d, id, id ? strlen(id) : 0, text, strlen(text), second,
                                      strlen(second), score, split, &e),
                     0);
}

/* "id:text:label:split" of every document. */
static void holds(const struct dataset *d, const char *const *expected, int count)
{
    char got[256];

    assert_int_equal(dataset_count(d), count);
    for (int i = 0; i < count; i++) {
        struct dataset_doc doc = dataset_at(d, i);

        snprintf(got, sizeof got, "%.*s:%.*s:%s:%d", (int)doc.id_len, doc.id, (int)doc.text_len,
                 doc.text, dataset_label_name(d, doc.label), (int)doc.split);
        assert_string_equal(got, expected[i]);
    }
}

static void scored_pairs_stand_side_by_side(void **state)
{
    static const char *const expected[] = {"p#1:a:0:0", "p#2:b:0:0", "0#1:c:1:1", "0#2:a:1:1"};
    const double scores[] = {.5, -3, 7};
    struct dataset *d = dataset_new(), *part;
    unsigned char mark[4];
    char hash[SHA256_HEX], other[SHA256_HEX];

    pair(d, "p", "x", "y", &scores[2], DATASET_TRAIN);
    pair(d, NULL, "c", "a", &scores[1], DATASET_EVAL);
    pair(d, "p", "a", "b", &scores[0], DATASET_TRAIN); /* replaces the first */
    pair(d, "gone", "a", "b", &scores[0], DATASET_TRAIN);
    dataset_remove(d, "gone", 4);
    assert_int_equal(dataset_seal(d, &e), 0);
    holds(d, expected, 4);
    assert_true(dataset_scores(d)[0] == .5 && dataset_scores(d)[1] == -3);
    dataset_split_marks(d, mark);
    assert_int_equal(dataset_select(&part, d, mark, 1, &e), 0);
    holds(part, (const char *const[]){"0#1:c:0:1", "0#2:a:0:1"}, 2);
    assert_true(dataset_scores(part)[0] == -3);
    dataset_free(part);
    assert_int_equal(dataset_hash(d, hash, &e), 0);
    dataset_free(d);

    d = dataset_new(); /* another score, another hash */
    pair(d, "p", "a", "b", &scores[2], DATASET_TRAIN);
    pair(d, "0", "c", "a", &scores[1], DATASET_EVAL);
    assert_int_equal(dataset_seal(d, &e), 0);
    assert_int_equal(dataset_hash(d, other, &e), 0);
    assert_string_not_equal(hash, other);
    dataset_free(d);
}

static void pairs_become_classes(void **state)
{
    static const char *const expected[] = {"0#1:a:0:1", "0#2:b:0:1", "1#1:c:1:0",
                                           "1#2:d:1:0", "2#1:e:0:1", "4#1:f:2:0"};
    struct dataset *d = dataset_new();

    pair(d, NULL, "a", "b", NULL, DATASET_TRAIN);
    pair(d, NULL, "c", "d", NULL, DATASET_TRAIN);
    pair(d, NULL, "e", "b", NULL, DATASET_EVAL); /* one pair is held out: its class is */
    pair(d, NULL, "d", "c", NULL, DATASET_TRAIN);
    pair(d, NULL, "f", "f", NULL, DATASET_TRAIN);
    assert_int_equal(dataset_seal(d, &e), 0);
    assert_null(dataset_scores(d));
    holds(d, expected, 6);
    assert_int_equal(dataset_label_counts(d)[0], 3);
    dataset_free(d);
}

static int number_in(const struct dataset_doc *doc)
{
    char digits[16];

    snprintf(digits, sizeof digits, "%.*s", (int)doc->text_len - 1, doc->text + 1);
    return atoi(digits);
}

/* Classes as found by spreading the smallest number until nothing changes. */
static void joining_equals_spreading(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        int pairs = 1 + (int)(seed * 7 % 150), texts = 2 + (int)(seed * 13 % 200), of[160][2];
        int class[256], changed = 1;
        struct dataset *d = dataset_new();

        for (int t = 0; t < texts; t++)
            class[t] = t;
        for (int i = 0; i < pairs; i++) {
            char text[2][16];

            for (int side = 0; side < 2; side++) {
                uint64_t bits = counter_u64(seed, 0, 1, (uint64_t)(2 * i + side));

                of[i][side] = (int)counter_below(bits, (uint64_t)texts);
                snprintf(text[side], sizeof text[side], "t%d", of[i][side]);
            }
            pair(d, NULL, text[0], text[1], NULL, DATASET_TRAIN);
        }
        while (changed) {
            changed = 0;
            for (int i = 0; i < pairs; i++)
                for (int side = 0; side < 2; side++)
                    if (class[of[i][side]] > class[of[i][1 - side]]) {
                        class[of[i][side]] = class[of[i][1 - side]];
                        changed = 1;
                    }
        }
        assert_int_equal(dataset_seal(d, &e), 0);
        for (int i = 0; i < dataset_count(d); i++)
            for (int k = 0; k < i; k++) {
                struct dataset_doc a = dataset_at(d, i), b = dataset_at(d, k);
                int s = number_in(&a), t = number_in(&b);

                assert_int_not_equal(s, t);
                assert_true((class[s] == class[t]) == (a.label == b.label));
            }
        dataset_free(d);
    }
}

static void kinds_are_not_mixed(void **state)
{
    const double score = 1;
    struct dataset *d = dataset_new();
    char id[DATASET_ID_MAX];

    pair(d, "a", "x", "y", &score, DATASET_TRAIN);
    pair(d, "b", "x", "y", NULL, DATASET_TRAIN);
    assert_int_equal(dataset_seal(d, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "0 labeled documents, 1 pairs and 1 scored pairs are mixed"));
    dataset_free(d);

    memset(id, 'i', sizeof id);
    d = dataset_new();
    assert_int_equal(
        dataset_add_pair(d, id, sizeof id - 1, "a", 1, "b", 1, NULL, DATASET_TRAIN, &e), ERR_LIMIT);
    assert_int_equal(dataset_add_pair(d, "", 0, "a", 1, "b", 1, NULL, DATASET_TRAIN, &e),
                     ERR_FORMAT);
    assert_int_equal(
        dataset_add_pair(d, id, sizeof id - 2, "a", 1, "b", 1, NULL, DATASET_TRAIN, &e), 0);
    pair(d, "b", "x", "y", &score, DATASET_TRAIN); /* replaced by its own kind's opposite */
    pair(d, "b", "x", "y", NULL, DATASET_TRAIN);
    assert_int_equal(dataset_seal(d, &e), 0);
    assert_int_equal(dataset_count(d), 4);
    dataset_free(d);
}

static void scored_pairs_are_held_out_whole(void **state)
{
    struct dataset *d = dataset_new(), *in, *out;
    unsigned char held[200];

    for (int i = 0; i < 100; i++) {
        const double score = i;
        pair(d, NULL, "a", "b", &score, DATASET_TRAIN);
    }
    assert_int_equal(dataset_seal(d, &e), 0);
    assert_int_equal(dataset_stratify(d, .2, 5, held, &e), 0);
    for (int i = 0; i < 200; i += 2)
        assert_int_equal(held[i], held[i + 1]);
    assert_int_equal(dataset_select(&in, d, held, 0, &e), 0);
    assert_int_equal(dataset_select(&out, d, held, 1, &e), 0);
    assert_int_equal(dataset_count(in), 160);
    assert_int_equal(dataset_count(out), 40);
    dataset_free(in);
    dataset_free(out);
    dataset_free(d);
}

static void csv_becomes_a_dataset(void **state)
{
    char path[] = "/tmp/tripline-data-XXXXXX";
    int fd = mkstemp(path);
    struct dataset *d;

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(file_write(path, "text,label\na,x\na,y\nb,x\n", 23, &e), 0);
    assert_int_equal(dataset_from_csv(&d, path, NULL, DATASET_EVAL, &e), 0);
    assert_int_equal(dataset_count(d), 3);
    assert_int_equal(dataset_labels(d), 2);
    assert_int_equal(dataset_at(d, 2).split, DATASET_EVAL);
    dataset_free(d);
    assert_int_equal(file_write(path, "text,text,score\na,b,1\na,c,2\n", 28, &e), 0);
    assert_int_equal(dataset_from_csv(&d, path, NULL, DATASET_TRAIN, &e), 0);
    assert_int_equal(dataset_count(d), 4);
    assert_true(dataset_scores(d)[1] == 2);
    dataset_free(d);
    assert_int_equal(file_write(path, "text,text\na,b\na,c\n", 18, &e), 0);
    assert_int_equal(dataset_from_csv(&d, path, NULL, DATASET_TRAIN, &e), 0);
    assert_int_equal(dataset_count(d), 3);
    assert_int_equal(dataset_labels(d), 1);
    dataset_free(d);
    assert_int_equal(file_write(path, "text,label\n", 11, &e), 0);
    assert_int_equal(dataset_from_csv(&d, path, NULL, DATASET_EVAL, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "no documents"));
    unlink(path);
}

static void batches_hold_their_documents(void **state)
{
    struct dataset *d = many(300, 9);
    struct tokenizer *t;
    struct tokens *k;
    struct batch *b;
    const struct token_batch *view;
    const int32_t pick[] = {7, 299, 7, 0};
    int i;

    assert_int_equal(tokenizer_open(&t, "tests/golden/tokenizer_tiny.json", &e), 0);
    assert_int_equal(tokens_build(&k, d, t, 16, &e), 0);
    assert_int_equal(k->count, 300);
    assert_int_equal(k->longest, 16);
    assert_true(k->cut > 0);
    assert_int_equal(batch_new(&b, 1, 1, &e), 0);
    assert_int_equal(batch_fill(b, k, pick, 4, &view, &e), 0);
    assert_int_equal(view->count, 4);
    for (i = 0; i < 4; i++) {
        assert_int_equal(view->offsets[i + 1] - view->offsets[i], tokens_len(k, pick[i]));
        assert_memory_equal(view->ids + view->offsets[i], k->ids + k->offsets[pick[i]],
                            (size_t)tokens_len(k, pick[i]) * 4);
    }
    i = 300;
    assert_int_equal(batch_fill(b, k, &i, 1, &view, &e), ERR_INTERNAL);
    batch_free(b);
    tokens_free(k);
    tokenizer_free(t);
    dataset_free(d);
}

static void plans_cover_and_scatter(void **state)
{
    struct dataset *d = many(200, 9);
    struct tokenizer *t;
    struct tokens *k;
    struct plan *p;
    float all[200], rows[200];
    int g, i, last = 1 << 30;

    assert_int_equal(tokenizer_open(&t, "tests/golden/tokenizer_tiny.json", &e), 0);
    assert_int_equal(tokens_build(&k, d, t, 64, &e), 0);
    assert_int_equal(plan_new(&p, k, 100, &e), 0);
    memset(all, 0, sizeof all);
    for (g = 0; g < plan_groups(p); g++) {
        struct plan_group in = plan_group(p, g);
        int used = 0;

        for (i = 0; i < in.count; i++) {
            assert_true(tokens_len(k, in.indices[i]) <= last);
            last = tokens_len(k, in.indices[i]);
            used += last;
            rows[i] = (float)in.indices[i] + 1;
        }
        assert_true(used <= 100 || in.count == 1);
        plan_scatter(p, g, rows, 1, all);
    }
    for (i = 0; i < 200; i++)
        assert_true(all[i] == (float)i + 1);
    plan_free(p);
    tokens_free(k);
    tokenizer_free(t);
    dataset_free(d);
}

static void npy_goes_round(void **state)
{
    char path[] = "/tmp/tripline-npy-XXXXXX";
    float data[6] = {1, -2, 3.5f, 0, 5, 6e-20f};
    int fd = mkstemp(path);
    struct npy a;

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(npy_write_f32(path, data, 2, 3, &e), 0);
    assert_int_equal(npy_read(&a, path, &e), 0);
    assert_int_equal(a.rows, 2);
    assert_int_equal(a.columns, 3);
    assert_int_equal(a.type, NPY_FLOAT32);
    assert_memory_equal(a.data, data, sizeof data);
    npy_release(&a);
    unlink(path);
    assert_int_equal(npy_write_f32("/tmp/absent-folder/x.npy", data, 2, 3, &e), ERR_IO);
}

static int parse_npy(const char *dictionary, size_t numbers, struct npy *a)
{
    char bytes[512] = "\x93NUMPY\x01";
    size_t n = strlen(dictionary);

    bytes[8] = (char)n;
    memcpy(bytes + 10, dictionary, n);
    return npy_parse(a, "a.npy", bytes, 10 + n + numbers, &e);
}

static void npy_headers_are_strict(void **state)
{
    struct npy a;

    assert_int_equal(
        parse_npy("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", 12, &a), 0);
    assert_int_equal(a.type, NPY_INT32);
    assert_int_equal(a.dimensions, 1);
    assert_int_equal(a.rows, 3);
    npy_release(&a);
    assert_int_equal(
        parse_npy("{\"shape\":(1,2),\"fortran_order\":False,\"descr\":\"<f4\"}", 8, &a), 0);
    npy_release(&a);
    assert_int_equal(parse_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", 8, &a),
                     ERR_UNSUPPORTED);
    assert_int_equal(parse_npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", 4, &a),
                     ERR_UNSUPPORTED);
    assert_int_equal(parse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 4, &a),
                     ERR_FORMAT);
    assert_int_equal(parse_npy("{'descr': '<f4', 'fortran_order': False, }", 4, &a), ERR_FORMAT);
    assert_int_equal(parse_npy("{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", 4, &a),
                     ERR_FORMAT);
    assert_int_equal(
        parse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1), }", 4, &a),
        ERR_FORMAT);
    assert_int_equal(parse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': "
                               "(999999999999999, 2), }",
                               4, &a),
                     ERR_FORMAT);
    assert_int_equal(parse_npy("{'descr': '<f4', 'fortran_order': False, 'shape': "
                               "(60000000000, 60000000000), }",
                               4, &a),
                     ERR_LIMIT);
    assert_int_equal(parse_npy("", 4, &a), ERR_FORMAT);
    assert_int_equal(npy_parse(&a, "a.npy", "abc", 3, &e), ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scored_pairs_stand_side_by_side),
        cmocka_unit_test(pairs_become_classes),
        cmocka_unit_test(joining_equals_spreading),
        cmocka_unit_test(kinds_are_not_mixed),
        cmocka_unit_test(scored_pairs_are_held_out_whole),
        cmocka_unit_test(last_one_wins),
        cmocka_unit_test(bad_documents_are_refused),
        cmocka_unit_test(strata_are_held_out),
        cmocka_unit_test(csv_becomes_a_dataset),
        cmocka_unit_test(batches_hold_their_documents),
        cmocka_unit_test(plans_cover_and_scatter),
        cmocka_unit_test(npy_goes_round),
        cmocka_unit_test(npy_headers_are_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
