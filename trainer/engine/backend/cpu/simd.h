/*
 * One vector type over three instruction sets: AVX-512, AVX2 with FMA, and the
 * portable baseline SSE2 that every x86-64 has. The kernels are written once
 * against it and compiled once per set (CMakeLists.txt); ISA() gives each
 * compilation its own external names. Horizontal sums add in a fixed order.
 *
 *   vf     W floats        vi   W 32-bit integers        vm   a mask of W lanes
 *   v_fma(a, b, c)  a * b + c, one rounding where the set has it
 *   *_n             only the first n lanes (0 < n < W): loads give zeros beyond, stores leave
 *                   memory beyond untouched and unread
 */
#ifndef TRAINER_ENGINE_BACKEND_CPU_SIMD_H
#define TRAINER_ENGINE_BACKEND_CPU_SIMD_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMD_INLINE          static inline __attribute__((always_inline, unused))
#define ISA_PASTE(name, isa) name##_##isa
#define ISA_NAME(name, isa)  ISA_PASTE(name, isa)
#define ISA(name)            ISA_NAME(name, CPU_ISA)

#if defined(__AVX512F__)

enum { W = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

#define v_set1(x)       _mm512_set1_ps(x)
#define v_load(p)       _mm512_loadu_ps(p)
#define v_store(p, x)   _mm512_storeu_ps((p), (x))
#define v_add(a, b)     _mm512_add_ps((a), (b))
#define v_sub(a, b)     _mm512_sub_ps((a), (b))
#define v_mul(a, b)     _mm512_mul_ps((a), (b))
#define v_div(a, b)     _mm512_div_ps((a), (b))
#define v_max(a, b)     _mm512_max_ps((a), (b))
#define v_min(a, b)     _mm512_min_ps((a), (b))
#define v_sqrt(a)       _mm512_sqrt_ps(a)
#define v_fma(a, b, c)  _mm512_fmadd_ps((a), (b), (c))
#define v_fnma(a, b, c) _mm512_fnmadd_ps((a), (b), (c))
#define v_less(a, b)    _mm512_cmp_ps_mask((a), (b), _CMP_LT_OQ)
#define v_pick(m, a, b) _mm512_mask_blend_ps((m), (b), (a)) /* m ? a : b */
#define v_to_int(a)     _mm512_cvtps_epi32(a)
#define v_to_float(a)   _mm512_cvtepi32_ps(a)
#define v_exponent(i)                                                                              \
    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32((i), _mm512_set1_epi32(127)), 23))
#define vi_half(i)   _mm512_srai_epi32((i), 1)
#define vi_sub(a, b) _mm512_sub_epi32((a), (b))

SIMD_INLINE vm v_first(int n)
{
    return (vm)((1u << n) - 1u);
}

SIMD_INLINE vf v_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps(v_first(n), p);
}

SIMD_INLINE void v_store_n(float *p, vf x, int n)
{
    _mm512_mask_storeu_ps(p, v_first(n), x);
}

SIMD_INLINE vf v_abs(vf a)
{
    return _mm512_abs_ps(a);
}

/* |a| with the sign of b. */
SIMD_INLINE vf v_sign_of(vf a, vf b)
{
    __m512i sign = _mm512_set1_epi32((int)0x80000000u);

    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_andnot_si512(sign, _mm512_castps_si512(a)),
                                               _mm512_and_si512(sign, _mm512_castps_si512(b))));
}

#elif defined(__AVX2__) && defined(__FMA__)

enum { W = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

#define v_set1(x)       _mm256_set1_ps(x)
#define v_load(p)       _mm256_loadu_ps(p)
#define v_store(p, x)   _mm256_storeu_ps((p), (x))
#define v_add(a, b)     _mm256_add_ps((a), (b))
#define v_sub(a, b)     _mm256_sub_ps((a), (b))
#define v_mul(a, b)     _mm256_mul_ps((a), (b))
#define v_div(a, b)     _mm256_div_ps((a), (b))
#define v_max(a, b)     _mm256_max_ps((a), (b))
#define v_min(a, b)     _mm256_min_ps((a), (b))
#define v_sqrt(a)       _mm256_sqrt_ps(a)
#define v_fma(a, b, c)  _mm256_fmadd_ps((a), (b), (c))
#define v_fnma(a, b, c) _mm256_fnmadd_ps((a), (b), (c))
#define v_less(a, b)    _mm256_cmp_ps((a), (b), _CMP_LT_OQ)
#define v_pick(m, a, b) _mm256_blendv_ps((b), (a), (m)) /* m ? a : b */
#define v_to_int(a)     _mm256_cvtps_epi32(a)
#define v_to_float(a)   _mm256_cvtepi32_ps(a)
#define v_exponent(i)                                                                              \
    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32((i), _mm256_set1_epi32(127)), 23))
#define vi_half(i)   _mm256_srai_epi32((i), 1)
#define vi_sub(a, b) _mm256_sub_epi32((a), (b))

SIMD_INLINE __m256i v_first(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SIMD_INLINE vf v_load_n(const float *p, int n)
{
    return _mm256_maskload_ps(p, v_first(n));
}

SIMD_INLINE void v_store_n(float *p, vf x, int n)
{
    _mm256_maskstore_ps(p, v_first(n), x);
}

SIMD_INLINE vf v_abs(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

SIMD_INLINE vf v_sign_of(vf a, vf b)
{
    return _mm256_or_ps(v_abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), b));
}

#else /* SSE2 */

enum { W = 4 };
typedef __m128 vf;
typedef __m128i vi;
typedef __m128 vm;

#define v_set1(x)       _mm_set1_ps(x)
#define v_load(p)       _mm_loadu_ps(p)
#define v_store(p, x)   _mm_storeu_ps((p), (x))
#define v_add(a, b)     _mm_add_ps((a), (b))
#define v_sub(a, b)     _mm_sub_ps((a), (b))
#define v_mul(a, b)     _mm_mul_ps((a), (b))
#define v_div(a, b)     _mm_div_ps((a), (b))
#define v_max(a, b)     _mm_max_ps((a), (b))
#define v_min(a, b)     _mm_min_ps((a), (b))
#define v_sqrt(a)       _mm_sqrt_ps(a)
#define v_fma(a, b, c)  _mm_add_ps(_mm_mul_ps((a), (b)), (c))
#define v_fnma(a, b, c) _mm_sub_ps((c), _mm_mul_ps((a), (b)))
#define v_less(a, b)    _mm_cmplt_ps((a), (b))
#define v_pick(m, a, b) _mm_or_ps(_mm_and_ps((m), (a)), _mm_andnot_ps((m), (b))) /* m ? a : b */
#define v_to_int(a)     _mm_cvtps_epi32(a)
#define v_to_float(a)   _mm_cvtepi32_ps(a)
#define v_exponent(i)   _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32((i), _mm_set1_epi32(127)), 23))
#define vi_half(i)      _mm_srai_epi32((i), 1)
#define vi_sub(a, b)    _mm_sub_epi32((a), (b))

SIMD_INLINE vf v_load_n(const float *p, int n)
{
    float part[4] = {0};

    memcpy(part, p, (size_t)n * sizeof *p);
    return _mm_loadu_ps(part);
}

SIMD_INLINE void v_store_n(float *p, vf x, int n)
{
    float part[4];

    _mm_storeu_ps(part, x);
    memcpy(p, part, (size_t)n * sizeof *p);
}

SIMD_INLINE vf v_abs(vf a)
{
    return _mm_andnot_ps(_mm_set1_ps(-0.0f), a);
}

SIMD_INLINE vf v_sign_of(vf a, vf b)
{
    return _mm_or_ps(v_abs(a), _mm_and_ps(_mm_set1_ps(-0.0f), b));
}

#endif

#define v_zero() v_set1(0.0f)

/* to (B, B) = transpose of from (B, B), B = BLOCK; `rows` of from are there, the last one is
 * repeated beyond. */
#if defined(__AVX2__)
enum { BLOCK = 8 };

SIMD_INLINE void v_transpose(const float *from, ptrdiff_t from_ld, int rows, float *to,
                             ptrdiff_t to_ld)
{
    __m256 r[8], t[8];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(from + (i < rows ? i : rows - 1) * from_ld);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) { /* pairs of rows */
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) { /* fours */
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* halves */
        _mm256_storeu_ps(to + i * to_ld, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_ld, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
#else
enum { BLOCK = 4 };

SIMD_INLINE void v_transpose(const float *from, ptrdiff_t from_ld, int rows, float *to,
                             ptrdiff_t to_ld)
{
    __m128 r0 = _mm_loadu_ps(from), r1 = _mm_loadu_ps(from + (rows > 1 ? 1 : rows - 1) * from_ld);
    __m128 r2 = _mm_loadu_ps(from + (rows > 2 ? 2 : rows - 1) * from_ld);
    __m128 r3 = _mm_loadu_ps(from + (rows > 3 ? 3 : rows - 1) * from_ld);

    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    _mm_storeu_ps(to, r0);
    _mm_storeu_ps(to + to_ld, r1);
    _mm_storeu_ps(to + 2 * to_ld, r2);
    _mm_storeu_ps(to + 3 * to_ld, r3);
}
#endif

/* to (cols, rows) = transpose of from (rows, cols). */
SIMD_INLINE void v_transpose_any(const float *from, ptrdiff_t from_ld, int rows, int cols,
                                 float *to, ptrdiff_t to_ld)
{
    int r = 0;

    for (; r + BLOCK <= rows; r += BLOCK) {
        int c = 0;
        for (; c + BLOCK <= cols; c += BLOCK)
            v_transpose(from + r * from_ld + c, from_ld, BLOCK, to + c * to_ld + r, to_ld);
        for (; c < cols; c++)
            for (int i = 0; i < BLOCK; i++)
                to[c * to_ld + r + i] = from[(r + i) * from_ld + c];
    }
    for (; r < rows; r++)
        for (int c = 0; c < cols; c++)
            to[c * to_ld + r] = from[r * from_ld + c];
}

/* Loads and stores where n may be a whole vector or less (n >= 1). */
SIMD_INLINE vf v_load_upto(const float *p, int n)
{
    return n >= W ? v_load(p) : v_load_n(p, n);
}

SIMD_INLINE void v_store_upto(float *p, vf x, int n)
{
    if (n >= W)
        v_store(p, x);
    else
        v_store_n(p, x, n);
}

/* Lane i with lane i + W/2, then the half, and so on: v_fold_add and v_fold_max halve W to 4. */
#if defined(__AVX512F__)
SIMD_INLINE __m128 v_fold_add(vf x)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x),
                                _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));

    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

SIMD_INLINE __m128 v_fold_max(vf x)
{
    __m256 half = _mm256_max_ps(_mm512_castps512_ps256(x),
                                _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1)));

    return _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}
#elif defined(__AVX2__)
SIMD_INLINE __m128 v_fold_add(vf x)
{
    return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
}

SIMD_INLINE __m128 v_fold_max(vf x)
{
    return _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
}
#else
#define v_fold_add(x) (x)
#define v_fold_max(x) (x)
#endif

SIMD_INLINE float v_sum(vf x)
{
    __m128 four = v_fold_add(x), two = _mm_add_ps(four, _mm_movehl_ps(four, four));

    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

SIMD_INLINE float v_top(vf x)
{
    __m128 four = v_fold_max(x), two = _mm_max_ps(four, _mm_movehl_ps(four, four));

    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* Only the first n lanes of x (others become `other`); n >= W: all. */
SIMD_INLINE vf v_keep(vf x, int n, float other)
{
    static const float lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    return v_pick(v_less(v_load(lane), v_set1((float)n)), x, v_set1(other));
}

#endif
