/*
 * Our own single-precision product, after Goto and van de Geijn (2008): op(b),
 * and a where it is transposed, are copied into panels that the micro-kernel
 * reads in order; an a that is not transposed is read where it lies.
 *
 *   for each block of at most KC of k:
 *     for each block of rows:  pack a^T (rows, KC) into panels of MR rows
 *       for each panel of NR columns:  pack op(b) (KC, NR), the first time
 *         for each MR rows of a: a tile (MR, NR) in registers
 *
 * A panel is packed just before its first use, so that it is in cache then; with
 * one block of rows all panels lie in the same place and never leave it. Bias,
 * activation and its slope are applied to each tile while it is in the
 * first-level cache.
 */
#include "trainer/engine/backend/cpu/kernel.h"

/* A tile's sums, a row of b and an element of a are in registers: 24 + 3 + 1 of 32, 12 + 2 + 1 of
 * 16. Rows of a block: what the second-level cache holds of a, packed (MC) or in place. */
#if defined(__AVX512F__)
enum { MR = 8, NV = 3, MC = GEMM_MC, MC_IN_PLACE = 960 };
#else
enum { MR = 6, NV = 2, MC = 144, MC_IN_PLACE = 144 };
#endif
enum { NR = NV * W };

/* ---- packing ---- */

/* Columns [j, j + NR) of op(b), n of them there, zeros beyond. */
static void pack_b(const struct gemm *g, int p0, int kc, int j, int n, float *to)
{
    const float *from = g->b + (size_t)p0 * g->ldb + j;

    if (g->tb) { /* they lie in memory as rows: a transpose */
        v_transpose_any(g->b + (size_t)j * g->ldb + p0, g->ldb, n, kc, to, NR);
        for (int p = 0; n < NR && p < kc; p++)
            memset(to + (size_t)p * NR + n, 0, sizeof *to * (size_t)(NR - n));
        return;
    }
    for (int p = 0; p < kc; p++, from += g->ldb, to += NR)
        for (int v = 0; v < NR; v += W)
            v_store(to + v, n > v ? v_load_upto(from + v, n - v) : v_zero());
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
    float *c, *slope; /* slope: NULL or what will be written beside c */
    int ldc, ld_slope, m, n;
};

SIMD_INLINE void tile_put(const struct tile *t, float *c, vf sum, int n)
{
    vf value = v_mul(sum, v_set1(t->alpha));

    if (t->beta != 0)
        value = v_fma(v_load_upto(c, n), v_set1(t->beta), value);
    v_store_upto(c, value, n);
}

/* Row r of what will be written comes into the cache meanwhile. */
SIMD_INLINE void tile_fetch(const struct tile *t, int r)
{
    if (r >= t->m)
        return;
    for (int v = 0; v < NR; v += W)
        __builtin_prefetch(t->c + (size_t)r * t->ldc + v, 1);
    for (int v = 0; t->slope && v < NR; v += W)
        __builtin_prefetch(t->slope + (size_t)r * t->ld_slope + v, 1);
}

/* Element (r, p) of a's panel is a[r * row + p * col]: packed (1, MR) or op(a) as it lies in memory
 * (lda, 1). Rows beyond t->m repeat the last one: read, computed, thrown away. */
SIMD_INLINE void micro(int kc, const float *a, ptrdiff_t row, ptrdiff_t col, const float *b,
                       const struct tile *t)
{
    enum { AHEAD = 12 * NR };      /* of b, into the first-level cache */
    int part = (kc + MR - 1) / MR; /* requests for c's rows, spread over the loop */
    const float *at[MR];
    vf sum[MR][NV];

#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) {
        at[r] = a + (r < t->m ? r : t->m - 1) * row;
#pragma GCC unroll 3
        for (int v = 0; v < NV; v++)
            sum[r][v] = v_zero();
    }
    for (int fetch = 0, p = 0; fetch < MR; fetch++) {
        int end = p + part < kc ? p + part : kc;
        tile_fetch(t, fetch);
#pragma GCC unroll 4
        for (; p < end; p++, b += NR) {
            vf row_b[NV];
#pragma GCC unroll 3
            for (int v = 0; v < NV; v++) {
                row_b[v] = v_load(b + v * W);
                __builtin_prefetch(b + AHEAD + v * W);
            }
#pragma GCC unroll 8
            for (int r = 0; r < MR; r++) {
                vf x = v_set1(at[r][p * col]);
#pragma GCC unroll 3
                for (int v = 0; v < NV; v++)
                    sum[r][v] = v_fma(x, row_b[v], sum[r][v]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < MR; r++) {
        float *c = t->c + (size_t)r * t->ldc;
        if (r >= t->m)
            break;
#pragma GCC unroll 3
        for (int v = 0; v < NV; v++)
            if (t->n > v * W)
                tile_put(t, c + v * W, sum[r][v], t->n - v * W);
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

struct rows { /* a block: rows [i0, i0 + m) by [p0, p0 + kc) of k */
    int i0, m, p0, kc;
    const float *a; /* packed; unused where a is read in place */
    float *b;       /* panel j at j * kc, or all in one place */
    bool one_place;
};

static void block(const struct gemm *g, const struct rows *s)
{
    struct tile t = {.alpha = g->alpha, .beta = s->p0 ? 1.0f : g->beta, .ldc = g->ldc};
    bool last = s->p0 + s->kc == g->k;

    t.ld_slope = g->n;
    for (int j = 0; j < g->n; j += NR) {
        float *panel = s->b + (s->one_place ? 0 : (size_t)j * s->kc);
        t.n = g->n - j < NR ? g->n - j : NR;
        if (s->i0 == 0)
            pack_b(g, s->p0, s->kc, j, t.n, panel);
        for (int i = 0; i < s->m; i += MR) {
            int row = s->i0 + i;
            t.m = s->m - i < MR ? s->m - i : MR;
            t.c = g->c + (size_t)row * g->ldc + j;
            t.slope = last && g->slope ? g->slope + (size_t)row * g->n + j : NULL;
            if (g->ta)
                micro(s->kc, s->a + (size_t)i * s->kc, 1, MR, panel, &t);
            else
                micro(s->kc, g->a + (size_t)row * g->lda + s->p0, g->lda, 1, panel, &t);
            if (last && g->finish)
                ISA(gemm_finish)(g, row, j, t.m, t.n);
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

/* The size of blocks that cut `all` into equal ones of at most `most`, so that none is a splinter.
 */
static int even(int all, int most)
{
    int blocks = (all + most - 1) / most;

    return (all + blocks - 1) / blocks;
}

void ISA(gemm_own)(const struct gemm *g, float *work)
{
    int rows, step;

    if (g->k == 0)
        scale_only(g);
    if (g->k == 0 || g->m == 0)
        return;
    step = even(g->k, GEMM_KC);
    rows = (even(g->m, g->ta ? MC : MC_IN_PLACE) + MR - 1) / MR * MR;
    for (int p = 0; p < g->k; p += step) {
        struct rows s = {.p0 = p,
                         .kc = g->k - p < step ? g->k - p : step,
                         .a = work,
                         .b = work + (size_t)GEMM_KC * GEMM_MC,
                         .one_place = g->m <= rows};
        for (; s.i0 < g->m; s.i0 += rows) {
            s.m = g->m - s.i0 < rows ? g->m - s.i0 : rows;
            if (g->ta)
                pack_a(g, s.i0, s.m, p, s.kc, work);
            block(g, &s);
        }
    }
}
