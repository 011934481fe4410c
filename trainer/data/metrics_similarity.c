/* Correlation of cosines with the scores of pairs: Pearson's, and Spearman's by mean ranks. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/data/metrics.h"

struct ranked {
    double value;
    int index;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->index - y->index;
}

/* Ranks from 1; equal values share the mean of theirs. */
static void rank(const double *values, int n, struct ranked *sorted, double *ranks)
{
    int i, j, k;

    for (i = 0; i < n; i++)
        sorted[i] = (struct ranked){values[i], i};
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    for (i = 0; i < n; i = j) {
        for (j = i + 1; j < n && sorted[j].value == sorted[i].value; j++)
            ;
        for (k = i; k < j; k++)
            ranks[sorted[k].index] = (i + 1 + j) / 2.0;
    }
}

static double mean(const double *x, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

static double correlation(const double *x, const double *y, int n)
{
    double mx = mean(x, n), my = mean(y, n), xy = 0, xx = 0, yy = 0;

    for (int i = 0; i < n; i++) {
        xy += (x[i] - mx) * (y[i] - my);
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
    }
    return xx * yy > 0 ? fmax(-1, fmin(1, xy / sqrt(xx * yy))) : 0;
}

static int cosines(double *out, const float *embeddings, int pairs, int dim, struct err *e)
{
    for (int i = 0; i < pairs; i++) {
        const float *a = embeddings + 2 * (size_t)i * (size_t)dim, *b = a + dim;
        double aa = 0, bb = 0, ab = 0;

        for (int k = 0; k < dim; k++) {
            aa += (double)a[k] * a[k];
            bb += (double)b[k] * b[k];
            ab += (double)a[k] * b[k];
        }
        if (!isfinite(aa) || !isfinite(bb))
            return err_set(e, ERR_FORMAT, "the embedding of document %d is not finite",
                           2 * i + isfinite(aa));
        out[i] = aa > 0 && bb > 0 ? ab / (sqrt(aa) * sqrt(bb)) : 0;
    }
    return 0;
}

static bool all_equal(const double *x, int n)
{
    for (int i = 1; i < n; i++)
        if (x[i] != x[0])
            return false;
    return true;
}

int metrics_similarity(struct retrieval *out, const float *embeddings, const double *scores,
                       int pairs, int dim, struct err *e)
{
    struct ranked *sorted;
    double *cosine, *first, *second; /* (pairs) each, in one block */
    int rc;

    memset(out, 0, sizeof *out);
    if (pairs < 0 || dim < 1)
        return err_set(e, ERR_USAGE, "metrics of %d pairs of %d numbers", pairs, dim);
    if (all_equal(scores, pairs))
        return err_set(e, ERR_FORMAT,
                       "%d scored pairs have no two different scores: nothing correlates with them",
                       pairs);
    sorted = malloc((size_t)pairs * sizeof *sorted);
    cosine = malloc(3 * (size_t)pairs * sizeof *cosine);
    if (sorted && cosine) {
        first = cosine + pairs;
        second = first + pairs;
        if ((rc = cosines(cosine, embeddings, pairs, dim, e)) == 0) {
            rank(cosine, pairs, sorted, first);
            rank(scores, pairs, sorted, second);
            out->pairs = pairs;
            out->pearson = correlation(cosine, scores, pairs);
            out->spearman = correlation(first, second, pairs);
        }
    } else {
        rc = err_set(e, ERR_NOMEM, "metrics of %d pairs", pairs);
    }
    free(cosine);
    free(sorted);
    return rc;
}
