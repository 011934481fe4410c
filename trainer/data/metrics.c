#include "trainer/data/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LANES                                                                                      \
    8            /* partial sums of a dot product; fixed, so that results don't depend on the CPU  \
                  */
#define ROWS  4  /* queries and */
#define COLS  2  /* documents of one inner tile */
#define BLOCK 64 /* queries whose similarities are held at once */

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

struct hit {
    float similarity;
    int32_t index;
};

struct work {
    int n, dim, width, k; /* width: dim rounded up to LANES */
    const int32_t *labels;
    int32_t *label_sizes; /* (n) documents that share document i's label */
    float *rows;          /* (n, width), of length 1 or 0 */
    float *similarities;  /* (BLOCK, n) */
    struct hit *hits;     /* (n) */
};

static inline float sum(const lanes *of)
{
    float v[LANES];

    memcpy(v, of, sizeof v);
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/* Rows begin anywhere. */
typedef float loose __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* A tile of dot products: `a` has ROWS rows, `b` has COLS rows, out has `stride` floats a row. Each
 * product is summed in the same order wherever it stands in a tile. Written out, because compilers
 * keep an array of accumulators in memory. */
static inline __attribute__((always_inline)) void tile(const float *a, const float *b, size_t width,
                                                       float *out, size_t stride)
{
    lanes s00 = {0}, s01 = {0}, s10 = {0}, s11 = {0}, s20 = {0}, s21 = {0}, s30 = {0}, s31 = {0};
    lanes x, y0, y1;
    size_t i;

    for (i = 0; i < width; i += LANES) {
        y0 = *(const loose *)(b + i);
        y1 = *(const loose *)(b + width + i);
        x = *(const loose *)(a + i);
        s00 += x * y0;
        s01 += x * y1;
        x = *(const loose *)(a + width + i);
        s10 += x * y0;
        s11 += x * y1;
        x = *(const loose *)(a + 2 * width + i);
        s20 += x * y0;
        s21 += x * y1;
        x = *(const loose *)(a + 3 * width + i);
        s30 += x * y0;
        s31 += x * y1;
    }
    out[0] = sum(&s00);
    out[1] = sum(&s01);
    out[stride] = sum(&s10);
    out[stride + 1] = sum(&s11);
    out[2 * stride] = sum(&s20);
    out[2 * stride + 1] = sum(&s21);
    out[3 * stride] = sum(&s30);
    out[3 * stride + 1] = sum(&s31);
}

/* Similarities of queries [from, from + count) with all; rows are padded to whole tiles. */
static inline __attribute__((always_inline)) void block(const struct work *w, int from, int count)
{
    size_t width = (size_t)w->width, stride = (size_t)w->n + COLS;
    int q, d;

    for (d = 0; d < w->n; d += COLS)
        for (q = 0; q < count; q += ROWS)
            tile(w->rows + (size_t)(from + q) * width, w->rows + (size_t)d * width, width,
                 w->similarities + (size_t)q * stride + (size_t)d, stride);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void block_avx2(const struct work *w, int from, int count)
{
    block(w, from, count);
}
#endif

static void block_any(const struct work *w, int from, int count)
{
    block(w, from, count);
}

static bool before(const struct hit *a, const struct hit *b)
{
    return a->similarity != b->similarity ? a->similarity > b->similarity : a->index < b->index;
}

static int compare(const void *a, const void *b)
{
    return before(a, b) ? -1 : 1;
}

static void swap(struct hit *a, struct hit *b)
{
    struct hit t = *a;

    *a = *b;
    *b = t;
}

/* Puts the first `top` in front (Hoare's selection, middle of three), then sorts them. */
static void rank(struct hit *h, int n, int top)
{
    int lo = 0, hi = n - 1;

    while (lo < hi) {
        int mid = lo + (hi - lo) / 2, i = lo, j = hi;
        struct hit pivot;

        if (before(&h[mid], &h[lo]))
            swap(&h[mid], &h[lo]);
        if (before(&h[hi], &h[lo]))
            swap(&h[hi], &h[lo]);
        if (before(&h[hi], &h[mid]))
            swap(&h[hi], &h[mid]);
        pivot = h[mid];
        while (i <= j) {
            while (before(&h[i], &pivot))
                i++;
            while (before(&pivot, &h[j]))
                j--;
            if (i <= j)
                swap(&h[i++], &h[j--]);
        }
        if (top - 1 <= j)
            hi = j;
        else if (top - 1 >= i)
            lo = i;
        else
            break;
    }
    qsort(h, (size_t)top, sizeof *h, compare);
}

/* Adds one query's figures; `ranked` holds at least max(k, relevant) results or all. */
static void score(struct retrieval *m, const struct work *w, int32_t label, int relevant, int n)
{
    int found = 0, in_r = 0, best = relevant < w->k ? relevant : w->k, i;
    double map = 0, dcg = 0, ideal = 0, mrr = 0;

    for (i = 0; i < n && (i < w->k || i < relevant); i++) {
        bool rel = w->labels[w->hits[i].index] == label;

        in_r += rel && i < relevant;
        if (!rel || i >= w->k)
            continue;
        found++;
        map += (double)found / (i + 1);
        dcg += 1 / log2(i + 2.0);
        if (found == 1)
            mrr = 1.0 / (i + 1);
        if (i == 0)
            m->precision_at_1 += 1;
    }
    for (i = 0; i < best; i++)
        ideal += 1 / log2(i + 2.0);
    m->recall_at_k += (double)found / relevant;
    m->map_at_k += map / best;
    m->ndcg_at_k += dcg / ideal;
    m->mrr_at_k += mrr;
    m->hit_at_k += found > 0;
    m->r_precision += (double)in_r / relevant;
    m->queries++;
}

static void query(struct retrieval *m, struct work *w, int q, const float *similarities)
{
    int relevant = w->label_sizes[q] - 1, n = 0, top, i;

    if (relevant < 1) {
        m->excluded++;
        return;
    }
    for (i = 0; i < w->n; i++)
        if (i != q)
            w->hits[n++] = (struct hit){similarities[i], i};
    top = relevant > w->k ? relevant : w->k;
    rank(w->hits, n, top < n ? top : n);
    score(m, w, w->labels[q], relevant, n);
}

static int normalize(struct work *w, const float *embeddings, struct err *e)
{
    int i, j;

    for (i = 0; i < w->n; i++) {
        const float *from = embeddings + (size_t)i * (size_t)w->dim;
        float *to = w->rows + (size_t)i * (size_t)w->width;
        double length = 0, inverse;

        for (j = 0; j < w->dim; j++)
            length += (double)from[j] * (double)from[j];
        if (!isfinite(length))
            return err_set(e, ERR_FORMAT, "the embedding of document %d is not finite", i);
        inverse = length > 0 ? 1 / sqrt(length) : 0;
        for (j = 0; j < w->dim; j++)
            to[j] = (float)((double)from[j] * inverse);
    }
    return 0;
}

struct sized {
    int32_t label, index;
};

static int by_label(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;

    return x->label < y->label ? -1 : x->label > y->label;
}

static int count_labels(struct work *w, struct err *e)
{
    struct sized *s = malloc((size_t)w->n * sizeof *s);
    int i, j;

    if (!s)
        return err_set(e, ERR_NOMEM, "labels of %d embeddings", w->n);
    for (i = 0; i < w->n; i++)
        s[i] = (struct sized){w->labels[i], i};
    qsort(s, (size_t)w->n, sizeof *s, by_label);
    for (i = 0; i < w->n; i = j) {
        for (j = i; j < w->n && s[j].label == s[i].label; j++)
            ;
        for (int at = i; at < j; at++)
            w->label_sizes[s[at].index] = j - i;
    }
    free(s);
    return 0;
}

static void release(struct work *w)
{
    free(w->label_sizes);
    free(w->rows);
    free(w->similarities);
    free(w->hits);
}

static int prepare(struct work *w, const float *embeddings, struct err *e)
{
    size_t n = (size_t)w->n;
    int rc;

    w->label_sizes = calloc(n, sizeof *w->label_sizes);
    w->rows = calloc((n + ROWS + COLS) * (size_t)w->width, sizeof *w->rows);
    w->similarities = calloc((BLOCK + ROWS) * (n + COLS), sizeof *w->similarities);
    w->hits = calloc(n, sizeof *w->hits);
    if (!w->label_sizes || !w->rows || !w->similarities || !w->hits)
        return err_set(e, ERR_NOMEM, "metrics of %d embeddings", w->n);
    if ((rc = normalize(w, embeddings, e)) < 0)
        return rc;
    return count_labels(w, e);
}

static void finish(struct retrieval *m)
{
    double *const figures[] = {&m->precision_at_1, &m->recall_at_k, &m->map_at_k,   &m->ndcg_at_k,
                               &m->mrr_at_k,       &m->hit_at_k,    &m->r_precision};
    size_t i;

    for (i = 0; i < sizeof figures / sizeof *figures; i++)
        *figures[i] = m->queries ? *figures[i] / m->queries : 0;
}

int metrics_retrieval(struct retrieval *out, const float *embeddings, int n, int dim,
                      const int32_t *labels, int k, struct err *e)
{
    struct work w = {.n = n, .dim = dim, .k = k, .labels = labels};
    void (*run)(const struct work *, int, int) = block_any;
    int from, q, count, rc;

    memset(out, 0, sizeof *out);
    out->k = k;
    if (n < 0 || dim < 1 || dim > 1 << 16 || k < 1)
        return err_set(e, ERR_USAGE, "metrics of %d embeddings of %d numbers at k = %d", n, dim, k);
    if (n == 0)
        return 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        run = block_avx2;
#endif
    w.width = (dim + LANES - 1) / LANES * LANES;
    if ((rc = prepare(&w, embeddings, e)) < 0)
        goto done;
    for (from = 0; from < n; from += BLOCK) {
        count = n - from < BLOCK ? n - from : BLOCK;
        run(&w, from, count);
        for (q = 0; q < count; q++)
            query(out, &w, from + q, w.similarities + (size_t)q * ((size_t)n + COLS));
    }
    finish(out);
done:
    release(&w);
    return rc;
}
