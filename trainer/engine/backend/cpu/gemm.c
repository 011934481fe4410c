/*
 * Our own single-precision product, after Goto and van de Geijn (2008): op(b),
 * and a where it is transposed, are copied into panels that the micro-kernel
 * reads in order; an a that is not transposed is read where it lies.
 *
 *   for each block of at most KC of k:  pack op(b) (KC, n) into panels of NR columns
 *     for each block of MC of m:  pack a^T (MC, KC) into panels of MR rows
 *       for each panel of b, for each MR rows of a: a tile (MR, NR) in registers
 *
 * Packing b costs 1/m of the work. Bias, activation and its slope are applied
 * to each tile while it is in the first-level cache.
 */
#include "trainer/engine/backend/cpu/kernel.h"

#if defined(__AVX512F__)
enum { MR = 14 };
#else
enum { MR = 6 };
#endif
enum { NR = 2 * W, MC = GEMM_MC / MR * MR };

/* ---- packing ---- */

/* Rows of op(b) lie in memory as they are: copies of NR floats. */
static void pack_b_rows(const struct gemm *g, int p0, int kc, float *to)
{
    for (int j = 0; j < g->n; j += NR, to += (size_t)kc * NR) {
        int n = g->n - j < NR ? g->n - j : NR;
        for (int p = 0; p < kc; p++) {
            const float *from = g->b + (size_t)(p0 + p) * g->ldb + j;
            float *panel = to + (size_t)p * NR;
            if (n == NR) {
                v_store(panel, v_load(from));
                v_store(panel + W, v_load(from + W));
                continue;
            }
            for (int i = 0; i < NR; i++)
                panel[i] = i < n ? from[i] : 0;
        }
    }
}

/* Columns of op(b) lie in memory as rows: a transpose. */
static void pack_b_cols(const struct gemm *g, int p0, int kc, float *to)
{
    for (int j = 0; j < g->n; j += NR, to += (size_t)kc * NR) {
        int n = g->n - j < NR ? g->n - j : NR;
        v_transpose_any(g->b + (size_t)j * g->ldb + p0, g->ldb, n, kc, to, NR);
        for (int p = 0; n < NR && p < kc; p++)
            memset(to + (size_t)p * NR + n, 0, sizeof *to * (size_t)(NR - n));
    }
}

/* op(a)'s columns lie in memory as rows: copies of MR floats. */
static void pack_a(const struct gemm *g, int i0, int mc, int p0, int kc, float *to)
{
    for (int i = 0; i < mc; i += MR, to += (size_t)kc * MR) {
        int m = mc - i < MR ? mc - i : MR;
        const float *from = g->a + (size_t)p0 * g->lda + i0 + i;
        if (m == MR) {
            for (int p = 0; p < kc; p++)
                memcpy(to + (size_t)p * MR, from + (size_t)p * g->lda, sizeof *to * MR);
            continue;
        }
        memset(to, 0, sizeof *to * (size_t)kc * MR);
        for (int p = 0; p < kc; p++)
            memcpy(to + (size_t)p * MR, from + (size_t)p * g->lda, sizeof *to * (size_t)m);
    }
}

/* ---- micro-kernel ---- */

struct tile { /* what becomes of a finished sum */
    float alpha, beta;
    float *c;
    int ldc, m, n;
};

SIMD_INLINE void tile_put(const struct tile *t, float *c, vf sum, int n)
{
    vf value = v_mul(sum, v_set1(t->alpha));

    if (t->beta != 0)
        value = v_fma(v_load_upto(c, n), v_set1(t->beta), value);
    v_store_upto(c, value, n);
}

/* Element (r, p) of a's panel is a[r * row + p * col]: packed (1, MR) or op(a) as it lies in memory
 * (lda, 1). Rows beyond t->m repeat the last one: read, computed, thrown away. */
SIMD_INLINE void micro(int kc, const float *a, ptrdiff_t row, ptrdiff_t col, const float *b,
                       const struct tile *t)
{
    const float *at[MR];
    vf sum[MR][2];

#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
        at[r] = a + (r < t->m ? r : t->m - 1) * row;
        __builtin_prefetch(t->c + (size_t)(r < t->m ? r : t->m - 1) * t->ldc, 1);
        sum[r][0] = sum[r][1] = v_zero();
    }
    for (int p = 0; p < kc; p++, b += NR) {
        vf b0 = v_load(b), b1 = v_load(b + W);
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
            vf x = v_set1(at[r][p * col]);
            sum[r][0] = v_fma(x, b0, sum[r][0]);
            sum[r][1] = v_fma(x, b1, sum[r][1]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
        float *c = t->c + (size_t)r * t->ldc;
        if (r >= t->m)
            break;
        tile_put(t, c, sum[r][0], t->n);
        if (t->n > W)
            tile_put(t, c + W, sum[r][1], t->n - W);
    }
}

/* ---- bias and activation ---- */

SIMD_INLINE void finish_rows(const struct gemm *g, enum act act, int i0, int j0, int m, int n)
{
    for (int r = 0; r < m; r++) {
        float *c = g->c + (size_t)(i0 + r) * g->ldc + j0;
        float *slope = g->slope ? g->slope + (size_t)(i0 + r) * g->n + j0 : NULL;
        for (int j = 0; j < n; j += W) {
            vf x = v_load_upto(c + j, n - j), s;
            if (g->bias)
                x = v_add(x, v_load_upto(g->bias + j0 + j, n - j));
            v_store_upto(c + j, v_act(act, x, &s), n - j);
            if (slope)
                v_store_upto(slope + j, s, n - j);
        }
    }
}

void ISA(gemm_finish)(const struct gemm *g, int i0, int j0, int m, int n)
{
    switch (g->act) {
    case ACT_NONE:
        if (g->bias)
            finish_rows(g, ACT_NONE, i0, j0, m, n);
        return;
    case ACT_RELU:
        finish_rows(g, ACT_RELU, i0, j0, m, n);
        return;
    case ACT_GELU_ERF:
        finish_rows(g, ACT_GELU_ERF, i0, j0, m, n);
        return;
    default:
        finish_rows(g, g->act, i0, j0, m, n);
    }
}

/* ---- loops ---- */

/* The slope's lines come while the tile is being made. */
static void fetch_slope(const struct gemm *g, int i0, int j0, int m)
{
    for (int r = 0; r < m; r++)
        __builtin_prefetch(g->slope + (size_t)(i0 + r) * g->n + j0, 1);
}

static void block(const struct gemm *g, int i0, int mc, int p0, int kc, const float *ap,
                  const float *bp)
{
    struct tile t = {.alpha = g->alpha, .beta = p0 ? 1.0f : g->beta, .ldc = g->ldc};
    bool last = p0 + kc == g->k;

    for (int j = 0; j < g->n; j += NR) {
        t.n = g->n - j < NR ? g->n - j : NR;
        for (int i = 0; i < mc; i += MR) {
            t.m = mc - i < MR ? mc - i : MR;
            t.c = g->c + (size_t)(i0 + i) * g->ldc + j;
            if (last && g->slope)
                fetch_slope(g, i0 + i, j, t.m);
            if (g->ta)
                micro(kc, ap + (size_t)i * kc, 1, MR, bp + (size_t)j * kc, &t);
            else
                micro(kc, g->a + (size_t)(i0 + i) * g->lda + p0, g->lda, 1, bp + (size_t)j * kc,
                      &t);
            if (last && g->finish)
                ISA(gemm_finish)(g, i0 + i, j, t.m, t.n);
        }
    }
}

/* k = 0: c = beta * c. */
static void scale_only(const struct gemm *g)
{
    for (int i = 0; i < g->m; i++)
        for (int j = 0; j < g->n; j++) {
            float *c = g->c + (size_t)i * g->ldc + j;
            *c = g->beta == 0 ? 0 : g->beta * *c;
        }
    if (g->finish)
        ISA(gemm_finish)(g, 0, 0, g->m, g->n);
}

void ISA(gemm_own)(const struct gemm *g, float *work)
{
    float *ap = work, *bp = work + (size_t)GEMM_KC * GEMM_MC;
    int blocks = (g->k + GEMM_KC - 1) / GEMM_KC; /* of equal size, so that none is a splinter */
    int step = blocks ? (g->k + blocks - 1) / blocks : 0;

    if (g->k == 0)
        scale_only(g);
    for (int p = 0, kc; p < g->k; p += kc) {
        kc = g->k - p < step ? g->k - p : step;
        if (g->tb)
            pack_b_cols(g, p, kc, bp);
        else
            pack_b_rows(g, p, kc, bp);
        for (int i = 0; i < g->m; i += MC) {
            int mc = g->m - i < MC ? g->m - i : MC;
            if (g->ta)
                pack_a(g, i, mc, p, kc, ap);
            block(g, i, mc, p, kc, ap, bp);
        }
    }
}
