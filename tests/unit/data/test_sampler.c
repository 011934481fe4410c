/* What sampler.h promises, over many distributions of labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "platform/base/counter.h"
#include "trainer/data/sampler.h"

static struct err e;

struct seen {
    int *docs, *labels, *last; /* times; in this batch; batch that held the document last */
    int *sizes;                /* documents of each label */
    int max, repeats;
};

static void check_batch(struct seen *s, const int32_t *labels, int label_count,
                        const int32_t *indices, int count, int step)
{
    int i, two = 0, pair = 0;

    assert_true(count >= 2);
    memset(s->labels, 0, (size_t)label_count * sizeof *s->labels);
    for (i = 0; i < count; i++) {
        int32_t d = indices[i], l = labels[d];

        assert_int_not_equal(s->last[d], step + 1); /* no document twice in a batch */
        s->last[d] = step + 1;
        s->repeats += s->docs[d]++ > 0;
        two |= l != labels[indices[0]];
        pair |= ++s->labels[l] == 2;
    }
    assert_true(two);
    assert_true(pair);
    for (i = 0; i < count; i++) { /* who can have a positive has one in its batch */
        int32_t l = labels[indices[i]];

        assert_true(s->labels[l] >= 2 || s->sizes[l] == 1);
    }
    if (count > s->max)
        s->max = count;
}

static void check_epoch(struct sampler *s, const int32_t *labels, int n, int label_count,
                        uint32_t epoch)
{
    const struct sampler_info *info = sampler_info(s);
    struct seen seen = {calloc((size_t)n, sizeof(int)),
                        calloc((size_t)label_count, sizeof(int)),
                        calloc((size_t)n, sizeof(int)),
                        calloc((size_t)label_count, sizeof(int)),
                        0,
                        0};
    const int32_t *indices;
    int step, count, i;

    for (i = 0; i < n; i++)
        seen.sizes[labels[i]]++;
    for (step = 0; step < info->batches; step++) {
        assert_int_equal(sampler_batch(s, epoch, step, &indices, &count, &e), 0);
        check_batch(&seen, labels, label_count, indices, count, step);
    }
    for (i = 0; i < n; i++)
        assert_true(seen.docs[i] >= 1);
    assert_int_equal(seen.repeats, info->repeats);
    assert_true(seen.max <= info->batch_max);
    free(seen.docs);
    free(seen.labels);
    free(seen.last);
    free(seen.sizes);
}

/* Distribution number `i`: even, skewed, one giant, mostly singles, small ones; just beside K;
 * falling as 1 / rank; one of two documents among giants. */
static int k_of(int i)
{
    return 2 + i % 7;
}

static int make_labels(int32_t *labels, int i, int label_count)
{
    int n = 0, l, k, size;

    for (l = 0; l < label_count; l++) {
        int r = (int)counter_below(counter_u64(7, (uint32_t)i, 1, (uint64_t)l), 60);

        size = i % 8 == 0   ? 20
               : i % 8 == 1 ? r * r / 20
               : i % 8 == 2 ? (l == 0 ? 2000 : r % 3)
               : i % 8 == 3 ? (l < 1 ? 2 : 1)
               : i % 8 == 4 ? 1 + r % 5
               : i % 8 == 5 ? k_of(i) + r % 3 - 1
               : i % 8 == 6 ? 400 / (l + 1)
                            : (l == 0 ? 2 : 97);
        for (k = 0; k < size; k++)
            labels[n++] = l;
    }
    for (k = n - 1; k > 0; k--) {
        int j = (int)counter_below(counter_u64(9, (uint32_t)i, 2, (uint64_t)k), (uint64_t)k + 1);
        int32_t t = labels[k];

        labels[k] = labels[j];
        labels[j] = t;
    }
    return n;
}

static void promises_hold(void **state)
{
    int32_t *labels = malloc(40000 * sizeof *labels);
    int i, n, made = 0;

    for (i = 0; i < 800; i++) {
        int label_count = 2 + (int)counter_below(counter_u64(1, 0, 0, (uint64_t)i), 120);
        int p = 2 + i % 11, k = k_of(i), rc;
        struct sampler *s = NULL;

        n = make_labels(labels, i, label_count);
        rc = n ? sampler_new(&s, labels, n, label_count, p, k, (uint64_t)i, &e) : ERR_FORMAT;
        if (rc < 0) {
            assert_int_equal(rc, ERR_FORMAT);
            continue;
        }
        made++;
        assert_int_equal(sampler_info(s)->batches, (n + p * k - 1) / (p * k));
        check_epoch(s, labels, n, label_count, 0);
        check_epoch(s, labels, n, label_count, 1);
        sampler_free(s);
    }
    assert_true(made > 700);
    free(labels);
}

/* Every pair once, its documents side by side; no batch of one pair, none much larger than asked.
 */
static void pairs_come_once(void **state)
{
    const int32_t *indices;
    int count, seed;

    for (seed = 0; seed < 300; seed++) {
        int pairs = 2 + seed * seed % 211, per_batch = 2 + seed % 13, seen[256] = {0}, step, i;
        struct sampler *s;

        assert_int_equal(sampler_new_pairs(&s, pairs, per_batch, (uint64_t)seed, &e), 0);
        for (step = 0; step < sampler_info(s)->batches; step++) {
            assert_int_equal(sampler_batch(s, 3, step, &indices, &count, &e), 0);
            assert_in_range(count, 4, 2 * per_batch + 2);
            assert_true(count <= sampler_info(s)->batch_max);
            for (i = 0; i < count; i += 2) {
                assert_int_equal(indices[i] % 2, 0);
                assert_int_equal(indices[i + 1], indices[i] + 1);
                seen[indices[i] / 2]++;
            }
        }
        for (i = 0; i < pairs; i++)
            assert_int_equal(seen[i], 1);
        sampler_free(s);
    }
}

static void pairs_are_shuffled_by_seed_and_epoch(void **state)
{
    int32_t first[200];
    const int32_t *indices;
    struct sampler *a, *b;
    int count;

    assert_int_equal(sampler_new_pairs(&a, 100, 100, 1, &e), 0);
    assert_int_equal(sampler_new_pairs(&b, 100, 100, 2, &e), 0);
    assert_int_equal(sampler_batch(a, 0, 0, &indices, &count, &e), 0);
    assert_int_equal(count, 200);
    memcpy(first, indices, sizeof first);
    assert_int_equal(sampler_batch(a, 1, 0, &indices, &count, &e), 0);
    assert_memory_not_equal(first, indices, sizeof first);
    assert_int_equal(sampler_batch(a, 0, 0, &indices, &count, &e), 0);
    assert_memory_equal(first, indices, sizeof first);
    assert_int_equal(sampler_batch(b, 0, 0, &indices, &count, &e), 0);
    assert_memory_not_equal(first, indices, sizeof first);
    sampler_free(a);
    sampler_free(b);
    assert_int_equal(sampler_new_pairs(&a, 1, 4, 1, &e), ERR_FORMAT);
    assert_int_equal(sampler_new_pairs(&a, 9, 1, 1, &e), ERR_USAGE);
}

/* Enough labels of enough documents: nothing is repeated, and batches are P x K. */
static void even_labels_give_exact_batches(void **state)
{
    int32_t labels[640];
    const int32_t *indices;
    struct sampler *s;
    int i, j, count, step;

    for (i = 0; i < 640; i++)
        labels[i] = i % 32;
    assert_int_equal(sampler_new(&s, labels, 640, 32, 8, 4, 1, &e), 0);
    assert_int_equal(sampler_info(s)->batches, 20);
    assert_int_equal(sampler_info(s)->singles, 0);
    for (step = 0; step < 20; step++) {
        int per[32] = {0};

        assert_int_equal(sampler_batch(s, 5, step, &indices, &count, &e), 0);
        assert_int_equal(count, 32);
        for (j = 0; j < count; j++)
            per[labels[indices[j]]]++;
        for (j = 0; j < 32; j++)
            assert_true(per[j] == 0 || per[j] == 4);
    }
    assert_int_equal(sampler_info(s)->repeats, 0);
    sampler_free(s);
}

static void order_is_a_function_of_seed_and_epoch(void **state)
{
    int32_t labels[300], first[64];
    const int32_t *indices;
    struct sampler *a, *b;
    int i, count, other;

    for (i = 0; i < 300; i++)
        labels[i] = i % 17;
    assert_int_equal(sampler_new(&a, labels, 300, 17, 4, 4, 42, &e), 0);
    assert_int_equal(sampler_new(&b, labels, 300, 17, 4, 4, 42, &e), 0);
    assert_int_equal(sampler_batch(a, 3, 7, &indices, &count, &e), 0);
    memcpy(first, indices, (size_t)count * sizeof *first);
    assert_int_equal(sampler_batch(a, 4, 7, &indices, &other, &e), 0);
    assert_true(other != count || memcmp(first, indices, (size_t)count * sizeof *first) != 0);
    assert_int_equal(sampler_batch(b, 3, 7, &indices, &other, &e), 0); /* without the ones before */
    assert_int_equal(count, other);
    assert_memory_equal(first, indices, (size_t)count * sizeof *first);
    assert_int_equal(sampler_batch(a, 3, 7, &indices, &other, &e), 0);
    assert_memory_equal(first, indices, (size_t)count * sizeof *first);
    assert_int_equal(sampler_batch(a, 3, 99, &indices, &other, &e), ERR_INTERNAL);
    sampler_free(a);
    sampler_free(b);
}

static void useless_data_is_refused(void **state)
{
    int32_t one[] = {0, 0, 0}, singles[] = {0, 1, 2}, bad[] = {0, 0, 5};
    struct sampler *s;

    assert_int_equal(sampler_new(&s, one, 3, 1, 4, 4, 1, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "one label"));
    assert_int_equal(sampler_new(&s, singles, 3, 3, 4, 4, 1, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "single document"));
    assert_int_equal(sampler_new(&s, bad, 3, 2, 4, 4, 1, &e), ERR_INTERNAL);
    assert_int_equal(sampler_new(&s, one, 3, 1, 1, 4, 1, &e), ERR_USAGE);
}

/* Known answers of Philox4x32-10, from the authors' distribution (kat_vectors). */
static void philox_known_answers(void **state)
{
    uint32_t zero[4] = {0, 0, 0, 0}, ones[4] = {~0u, ~0u, ~0u, ~0u};
    uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    const uint32_t zero_out[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    const uint32_t ones_out[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    const uint32_t pi_out[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};

    counter_philox(zero, 0, 0);
    assert_memory_equal(zero, zero_out, 16);
    counter_philox(ones, ~0u, ~0u);
    assert_memory_equal(ones, ones_out, 16);
    counter_philox(pi, 0xa4093822, 0x299f31d0);
    assert_memory_equal(pi, pi_out, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promises_hold),
        cmocka_unit_test(pairs_come_once),
        cmocka_unit_test(pairs_are_shuffled_by_seed_and_epoch),
        cmocka_unit_test(even_labels_give_exact_batches),
        cmocka_unit_test(order_is_a_function_of_seed_and_epoch),
        cmocka_unit_test(useless_data_is_refused),
        cmocka_unit_test(philox_known_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
