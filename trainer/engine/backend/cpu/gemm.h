/*
 * The one interface to matrix products inside the CPU backend, with two
 * implementations: our own packed kernels (gemm.c, compiled per instruction
 * set) and oneDNN's matmul (gemm_dnnl.c). Our own is the default: docs/kernels.md
 * says what was measured. Row-major everywhere.
 *
 *   c (m, n) = alpha * op(a) op(b) + beta * c        op(a) (m, k), op(b) (k, n)
 *   then, when `finish`: c = act(c + bias), and slope (m, n) = act'(c + bias) where wanted
 *
 * One thread per call; all memory is the caller's. The order of additions
 * depends on m, n, k only.
 */
#ifndef TRAINER_ENGINE_BACKEND_CPU_GEMM_H
#define TRAINER_ENGINE_BACKEND_CPU_GEMM_H

#include "trainer/engine/op/op.h"

struct gemm {
    bool ta, tb;
    int m, n, k;
    float alpha, beta;
    const float *a, *b;
    int lda, ldb;
    float *c;
    int ldc;
    bool finish;
    const float *bias; /* n; NULL: none */
    enum act act;
    float *slope; /* ld = n; NULL: not wanted */
};

/* Floats of scratch that a product with n columns needs, whatever its m and k. */
size_t gemm_own_work(int n);

/* `work` has gemm_own_work(n) floats, 64-byte aligned. */
typedef void (*gemm_fn)(const struct gemm *, float *work);

#endif
