/* Datasets, tokens, batches, plans and .npy files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
