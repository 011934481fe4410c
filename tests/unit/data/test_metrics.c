/* Against every-pair arithmetic in double, and against torchmetrics and scipy
 * (scripts/golden/retrieval.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "platform/json/json.h"
#include "trainer/data/metrics.h"

static struct err e;

static uint64_t mix(uint64_t z)
{
    z += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void make(float *x, int32_t *labels, int n, int dim, int classes, int noise)
{
    int i, j;

    for (i = 0; i < n; i++) {
        labels[i] = (int32_t)(mix((uint64_t)i * 7 + 1) % (uint64_t)classes);
        for (j = 0; j < dim; j++)
            x[i * dim + j] = (float)(int)(mix(1000003u * (uint64_t)labels[i] + (uint64_t)j) % 500) +
                             (float)(int)(mix((uint64_t)(i * dim + j) * 31 + 5) % (uint64_t)noise) -
                             300;
    }
}

static const char *const names[] = {"precision_at_1", "recall_at_k", "map_at_k",   "ndcg_at_k",
                                    "mrr_at_k",       "hit_at_k",    "r_precision"};

static void figures(const struct retrieval *m, double out[7])
{
    double all[7] = {m->precision_at_1, m->recall_at_k, m->map_at_k,   m->ndcg_at_k,
                     m->mrr_at_k,       m->hit_at_k,    m->r_precision};

    memcpy(out, all, sizeof all);
}

static int integer(const json_t *c, const char *name)
{
    return (int)json_integer_value(json_object_get(c, name));
}

static void equal_torchmetrics(void **state)
{
    json_t *root = NULL, *c;
    size_t i, f;

    if (json_parse_file("tests/golden/retrieval.json", NULL, &root, &e) < 0)
        fail_msg("%s", e.text);
    json_array_foreach(json_object_get(root, "cases"), i, c)
    {
        int n = integer(c, "n"), dim = integer(c, "dim");
        float *x = malloc((size_t)n * (size_t)dim * sizeof *x);
        int32_t *labels = malloc((size_t)n * sizeof *labels);
        struct retrieval m;
        double got[7];

        make(x, labels, n, dim, integer(c, "classes"), integer(c, "noise"));
        assert_int_equal(metrics_retrieval(&m, x, n, dim, labels, integer(c, "k"), &e), 0);
        assert_int_equal(m.queries, integer(c, "queries"));
        assert_int_equal(m.excluded, integer(c, "excluded"));
        figures(&m, got);
        for (f = 0; f < 7; f++) {
            double want = json_number_value(json_object_get(c, names[f]));

            if (fabs(got[f] - want) > 1e-6)
                fail_msg("case %zu, %s: %.9f, expected %.9f", i, names[f], got[f], want);
        }
        free(x);
        free(labels);
    }
    json_decref(root);
}

/* With equal scores and equal cosines. */
static void similarity_equals_scipy(void **state)
{
    json_t *root = NULL, *c;
    size_t i;

    if (json_parse_file("tests/golden/retrieval.json", NULL, &root, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(json_array_size(json_object_get(root, "similarity")), 4);
    json_array_foreach(json_object_get(root, "similarity"), i, c)
    {
        int pairs = integer(c, "pairs"), dim = integer(c, "dim"), p;
        size_t row = 2 * (size_t)dim;
        float *x = malloc((size_t)pairs * row * sizeof *x);
        int32_t *labels = malloc(2 * (size_t)pairs * sizeof *labels);
        double *scores = malloc((size_t)pairs * sizeof *scores);
        struct retrieval m;

        make(x, labels, 2 * pairs, dim, 5, integer(c, "noise"));
        for (p = 2; p < pairs; p += 3)
            memcpy(x + (size_t)p * row, x + (size_t)(p - 1) * row, row * sizeof *x);
        for (p = 0; p < pairs; p++)
            scores[p] =
                (double)(mix((uint64_t)p * 11 + 3) % (uint64_t)integer(c, "levels")) / 4 - 1;
        assert_int_equal(metrics_similarity(&m, x, scores, pairs, dim, &e), 0);
        assert_int_equal(m.pairs, pairs);
        if (fabs(m.spearman - json_number_value(json_object_get(c, "spearman"))) > 1e-12 ||
            fabs(m.pearson - json_number_value(json_object_get(c, "pearson"))) > 1e-12)
            fail_msg("case %zu: spearman %.15f, pearson %.15f", i, m.spearman, m.pearson);
        free(x);
        free(labels);
        free(scores);
    }
    json_decref(root);
}

static void similarity_at_its_edges(void **state)
{
    float x[8] = {1, 0, 1, 0, 1, 0, 1, 0}; /* two pairs of equal rows */
    const double scores[2] = {1, 2}, equal[2] = {3, 3};
    struct retrieval m;

    assert_int_equal(metrics_similarity(&m, x, scores, 2, 2, &e), 0); /* collapsed */
    assert_true(m.spearman == 0 && m.pearson == 0 && m.pairs == 2);
    assert_int_equal(metrics_similarity(&m, x, equal, 2, 2, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "no two different scores"));
    assert_int_equal(metrics_similarity(&m, x, scores, 1, 2, &e), ERR_FORMAT);
    assert_int_equal(metrics_similarity(&m, x, scores, 0, 2, &e), ERR_FORMAT);
    x[6] = -1;
    assert_int_equal(metrics_similarity(&m, x, scores, 2, 2, &e), 0);
    assert_true(m.spearman == -1 && m.pearson == -1);
    x[6] = 0; /* a zero row has cosine 0 */
    assert_int_equal(metrics_similarity(&m, x, scores, 2, 2, &e), 0);
    assert_true(m.pearson == -1);
    x[2] = NAN;
    assert_int_equal(metrics_similarity(&m, x, scores, 2, 2, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "document 1 is not finite"));
}

/* The definition, pair by pair: rank = documents that are more similar, or as similar and before.
 */
static void brute(double out[7], const double *sims, const int32_t *labels, int n, int k)
{
    int queries = 0, q, i, j;

    memset(out, 0, 7 * sizeof *out);
    for (q = 0; q < n; q++) {
        int r = 0, best, in_r = 0, found = 0, first = 0;
        double map = 0, dcg = 0, ideal = 0;

        for (i = 0; i < n; i++)
            r += i != q && labels[i] == labels[q];
        if (r == 0)
            continue;
        queries++;
        best = r < k ? r : k;
        for (i = 0; i < n; i++) {
            int rank = 1, above = 1;

            if (i == q || labels[i] != labels[q])
                continue;
            for (j = 0; j < n; j++) {
                double a = sims[q * n + j], b = sims[q * n + i];

                if (j == q || j == i || !(a > b || (a == b && j < i)))
                    continue;
                rank++;
                above += labels[j] == labels[q];
            }
            in_r += rank <= r;
            if (rank > k)
                continue;
            found++;
            map += (double)above / rank;
            dcg += 1 / log2(rank + 1.0);
            first = !first || rank < first ? rank : first;
        }
        for (i = 1; i <= best; i++)
            ideal += 1 / log2(i + 1.0);
        out[0] += first == 1;
        out[1] += (double)found / r;
        out[2] += map / best;
        out[3] += dcg / ideal;
        out[4] += first ? 1.0 / first : 0;
        out[5] += found > 0;
        out[6] += (double)in_r / r;
    }
    for (i = 0; i < 7; i++)
        out[i] = queries ? out[i] / queries : 0;
}

/* One-hot rows: similarities are 0 or 1 exactly, so that ties are everywhere. */
static void ties_fall_to_the_lower_index(void **state)
{
    int n, k, i, f;

    for (n = 1; n < 90; n += 4) {
        float *x = calloc((size_t)n * 5, sizeof *x);
        double *sims = calloc((size_t)n * (size_t)n, sizeof *sims), want[7], got[7];
        int32_t labels[90];
        struct retrieval m;

        for (i = 0; i < n; i++) {
            labels[i] = (int32_t)(mix((uint64_t)(n * 100 + i)) % 6);
            x[i * 5 + (int)(mix((uint64_t)(n * 1000 + i)) % 5)] = i % 9 ? 3 : 0;
        }
        for (i = 0; i < n * n; i++)
            for (f = 0; f < 5; f++)
                sims[i] += (double)(x[i / n * 5 + f] > 0) * (double)(x[i % n * 5 + f] > 0);
        for (k = 1; k < 12; k += 5) {
            brute(want, sims, labels, n, k);
            assert_int_equal(metrics_retrieval(&m, x, n, 5, labels, k, &e), 0);
            figures(&m, got);
            for (f = 0; f < 7; f++)
                if (fabs(got[f] - want[f]) > 1e-12)
                    fail_msg("n %d, k %d, %s: %.9f, expected %.9f", n, k, names[f], got[f],
                             want[f]);
        }
        free(x);
        free(sims);
    }
}

static void bad_input_is_refused(void **state)
{
    float x[] = {1, 2, NAN, 4};
    int32_t labels[] = {0, 0};
    struct retrieval m;

    assert_int_equal(metrics_retrieval(&m, x, 2, 2, labels, 1, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "document 1"));
    assert_int_equal(metrics_retrieval(&m, x, 1, 2, labels, 0, &e), ERR_USAGE);
    assert_int_equal(metrics_retrieval(&m, x, 0, 2, labels, 1, &e), 0);
    assert_int_equal(metrics_retrieval(&m, x, 1, 2, labels, 1, &e), 0);
    assert_int_equal(m.excluded, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(similarity_equals_scipy), cmocka_unit_test(similarity_at_its_edges),
        cmocka_unit_test(equal_torchmetrics),      cmocka_unit_test(ties_fall_to_the_lower_index),
        cmocka_unit_test(bad_input_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
