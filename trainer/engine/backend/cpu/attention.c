/*
 * softmax(scale q k^T) v per document and head, on packed rows.
 *
 * Documents are short, so scores of QUERIES query rows against all keys of the
 * document are made whole, in work memory that stays in cache; only k and v are
 * transposed (per head). Nothing is saved: backward makes the probabilities
 * again, from the same bytes by the same steps, which costs less than reading
 * them would. All six products run in one small kernel, which reads its
 * operands where they lie.
 */
#include "trainer/engine/backend/cpu/kernel.h"

#include <math.h>

enum { TILE = 6, QUERIES = 48 };

/* c (m, n) = a b (+ c when add); element (i, k) of a at a[i * ai + k * ak]. b and c row-major. */
struct small {
    int m, n, k;
    const float *a;
    ptrdiff_t ai, ak;
    const float *b;
    ptrdiff_t ldb;
    float *c;
    ptrdiff_t ldc;
    bool add;
};

/* Rows [i, i + rows), columns [j, j + n), n <= 2 W. */
SIMD_INLINE void small_tile(const struct small *s, int i, int j, const int rows, int n)
{
    vf sum[TILE][2];
    const float *a = s->a + i * s->ai, *b = s->b + j;

#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = v_zero();
    if (n == 2 * W) {
        for (int k = 0; k < s->k; k++, a += s->ak, b += s->ldb) {
            vf b0 = v_load(b), b1 = v_load(b + W);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                vf x = v_set1(a[r * s->ai]);
                sum[r][0] = v_fma(x, b0, sum[r][0]);
                sum[r][1] = v_fma(x, b1, sum[r][1]);
            }
        }
    } else {
        for (int k = 0; k < s->k; k++, a += s->ak, b += s->ldb) {
            vf b0 = v_load_upto(b, n), b1 = n > W ? v_load_upto(b + W, n - W) : v_zero();
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                vf x = v_set1(a[r * s->ai]);
                sum[r][0] = v_fma(x, b0, sum[r][0]);
                sum[r][1] = v_fma(x, b1, sum[r][1]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        float *c = s->c + (i + r) * s->ldc + j;
        v_give(c, sum[r][0], n, s->add);
        if (n > W)
            v_give(c + W, sum[r][1], n - W, s->add);
    }
}

static void small_gemm(const struct small *s)
{
    for (int j = 0; j < s->n; j += 2 * W) {
        int n = s->n - j < 2 * W ? s->n - j : 2 * W, i = 0;
        for (; i + TILE <= s->m; i += TILE)
            small_tile(s, i, j, TILE, n);
        switch (s->m - i) {
        case 5:
            small_tile(s, i, j, 5, n);
            break;
        case 4:
            small_tile(s, i, j, 4, n);
            break;
        case 3:
            small_tile(s, i, j, 3, n);
            break;
        case 2:
            small_tile(s, i, j, 2, n);
            break;
        case 1:
            small_tile(s, i, j, 1, n);
            break;
        default:
            break;
        }
    }
}

/* ---- one document, one head ---- */

struct head {
    const struct op_call *call;
    int first, tokens;    /* the document's rows; L = tokens */
    int col, dim;         /* the head's columns */
    int pad;              /* L rounded up to whole vectors */
    float *kt, *vt;       /* (dim, pad): k and v transposed */
    float *prob, *d_prob; /* (QUERIES, pad) */
};

static float *head_at(const struct head *h, const struct mat *m, int token)
{
    return mat_row(m, h->first + token) + h->col;
}

/* The columns beyond L repeat the last token: finite, and weighted with 0 in what follows. */
static void head_transpose(const struct head *h, const struct mat *from, float *to)
{
    for (int r = 0; r < h->pad; r += BLOCK) {
        int at = r < h->tokens ? r : h->tokens - 1, rows = h->tokens - at, i = 0;
        const float *x = head_at(h, from, at);
        for (; i + BLOCK <= h->dim; i += BLOCK)
            v_transpose(x + i, from->ld, rows, to + (size_t)i * h->pad + r, h->pad);
        for (; i < h->dim; i++)
            for (int k = 0; k < BLOCK; k++)
                to[(size_t)i * h->pad + r + k] = x[(k < rows ? k : rows - 1) * from->ld + i];
    }
}

/* p = softmax(scale s) over the first `keys`, zero beyond, in place. */
static void softmax_row(float *p, int keys, int pad, float scale)
{
    vf top = v_set1(-INFINITY), sum = v_zero(), by = v_set1(scale);
    int i = 0;

    for (; i < keys; i += W) {
        vf s = v_keep(v_mul(v_load(p + i), by), keys - i, -INFINITY);
        v_store(p + i, s);
        top = v_max(top, s);
    }
    top = v_set1(v_top(top));
    for (i = 0; i < keys; i += W) {
        vf x = v_exp(v_sub(v_load(p + i), top));
        v_store(p + i, x);
        sum = v_add(sum, x);
    }
    by = v_set1(1 / v_sum(sum));
    for (i = 0; i < keys; i += W)
        v_store(p + i, v_mul(v_load(p + i), by));
    for (; i < pad; i += W)
        v_store(p + i, v_zero());
}

/* Probabilities of query rows [q, q + rows) over the document's keys. */
static void head_probs(const struct head *h, int q, int rows)
{
    const struct op_call *c = h->call;
    struct small s = {.m = rows,
                      .n = h->pad,
                      .k = h->dim,
                      .a = head_at(h, &c->in[0], q),
                      .ai = c->in[0].ld,
                      .ak = 1,
                      .b = h->kt,
                      .ldb = h->pad,
                      .c = h->prob,
                      .ldc = h->pad};

    small_gemm(&s);
    for (int r = 0; r < rows; r++)
        softmax_row(h->prob + (size_t)r * h->pad, c->attrs->causal ? q + r + 1 : h->tokens, h->pad,
                    c->attrs->scale);
}

/* to[q .. q + rows) = p (rows, L) times from's rows of this head. */
static void head_weighted(const struct head *h, const float *p, int q, int rows,
                          const struct mat *from, const struct mat *to, bool add)
{
    struct small s = {.m = rows,
                      .n = h->dim,
                      .k = h->tokens,
                      .a = p,
                      .ai = h->pad,
                      .ak = 1,
                      .b = head_at(h, from, 0),
                      .ldb = from->ld,
                      .c = head_at(h, to, q),
                      .ldc = to->ld,
                      .add = add};

    small_gemm(&s);
}

/* to (L rows) = p^T (L, rows) times from's rows [q, q + rows). */
static void head_weighted_t(const struct head *h, const float *p, int q, int rows,
                            const struct mat *from, const struct mat *to, bool add)
{
    struct small s = {.m = h->tokens,
                      .n = h->dim,
                      .k = rows,
                      .a = p,
                      .ai = 1,
                      .ak = h->pad,
                      .b = head_at(h, from, q),
                      .ldb = from->ld,
                      .c = head_at(h, to, 0),
                      .ldc = to->ld,
                      .add = add};

    small_gemm(&s);
}

static void head_forward(const struct head *h)
{
    const struct op_call *c = h->call;

    head_transpose(h, &c->in[1], h->kt);
    for (int q = 0; q < h->tokens; q += QUERIES) {
        int rows = h->tokens - q < QUERIES ? h->tokens - q : QUERIES;
        head_probs(h, q, rows);
        head_weighted(h, h->prob, q, rows, &c->in[2], &c->out, false);
    }
}

/* d_prob = d_out v^T, then the gradient by the raw scores: scale p (d_prob - sum p d_prob). */
static void head_d_scores(const struct head *h, int q, int rows)
{
    const struct op_call *c = h->call;
    struct small s = {.m = rows,
                      .n = h->pad,
                      .k = h->dim,
                      .a = head_at(h, &c->d_out, q),
                      .ai = c->d_out.ld,
                      .ak = 1,
                      .b = h->vt,
                      .ldb = h->pad,
                      .c = h->d_prob,
                      .ldc = h->pad};

    small_gemm(&s);
    for (int r = 0; r < rows; r++) {
        const float *p = h->prob + (size_t)r * h->pad;
        float *d = h->d_prob + (size_t)r * h->pad;
        vf sum = v_zero(), mean, scale = v_set1(c->attrs->scale);
        for (int i = 0; i < h->pad; i += W)
            sum = v_fma(v_load(p + i), v_load(d + i), sum);
        mean = v_set1(v_sum(sum));
        for (int i = 0; i < h->pad; i += W)
            v_store(d + i, v_mul(v_mul(v_load(p + i), scale), v_sub(v_load(d + i), mean)));
    }
}

static void head_backward(const struct head *h)
{
    const struct op_call *c = h->call;

    head_transpose(h, &c->in[1], h->kt);
    head_transpose(h, &c->in[2], h->vt);
    for (int q = 0; q < h->tokens; q += QUERIES) {
        int rows = h->tokens - q < QUERIES ? h->tokens - q : QUERIES;
        head_probs(h, q, rows);
        head_d_scores(h, q, rows);
        if (c->d_in[0].data)
            head_weighted(h, h->d_prob, q, rows, &c->in[1], &c->d_in[0], adds(c, 0));
        if (c->d_in[1].data)
            head_weighted_t(h, h->d_prob, q, rows, &c->in[0], &c->d_in[1], q > 0 || adds(c, 1));
        if (c->d_in[2].data)
            head_weighted_t(h, h->prob, q, rows, &c->d_out, &c->d_in[2], q > 0 || adds(c, 2));
    }
}

/* ---- the op ---- */

static size_t pad_to(size_t tokens, size_t to)
{
    return (tokens + to - 1) / to * to;
}

int ISA(cpu_attention_plan)(struct backend *b, const struct op_call *c, bool train,
                            struct op_plan *p, struct err *e)
{
    size_t pad, dim;
    int rc;

    *p = (struct op_plan){.needs_in = train ? 7 : 0};
    if ((rc = op_call_check(OP_ATTENTION, c, e)) < 0)
        return rc;
    pad = pad_to((size_t)c->in[0].rows, W); /* one document may have all tokens */
    dim = (size_t)(c->in[0].cols / c->attrs->heads);
    p->work_floats = pad * (2 * dim + 2 * QUERIES);
    return 0;
}

static void each_head(const struct op_call *c, void (*fn)(const struct head *))
{
    struct head h = {.call = c, .dim = c->in[0].cols / c->attrs->heads};

    for (int d = 0; d < c->docs.count; d++) {
        h.first = c->docs.offsets[d];
        h.tokens = c->docs.offsets[d + 1] - h.first;
        h.pad = (int)pad_to((size_t)h.tokens, W);
        h.kt = c->work;
        h.vt = h.kt + (size_t)h.dim * h.pad;
        h.prob = h.vt + (size_t)h.dim * h.pad;
        h.d_prob = h.prob + (size_t)QUERIES * h.pad;
        for (int k = 0; h.tokens && k < c->attrs->heads; k++) {
            h.col = k * h.dim;
            fn(&h);
        }
    }
}

void ISA(cpu_attention_forward)(struct backend *b, const struct op_call *c)
{
    each_head(c, head_forward);
}

void ISA(cpu_attention_backward)(struct backend *b, const struct op_call *c)
{
    each_head(c, head_backward);
}
