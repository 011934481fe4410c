/*
 * What each instruction set's compilation of the kernels exports: one table,
 * cpu_kernels_sse2, _avx2, _avx512 (table.c). Shared inside backend/cpu.
 */
#ifndef TRAINER_ENGINE_BACKEND_CPU_ISA_H
#define TRAINER_ENGINE_BACKEND_CPU_ISA_H

#include "trainer/engine/backend/backend.h"
#include "trainer/engine/backend/check.h"
#include "trainer/engine/backend/cpu/gemm.h"

struct cpu_kernels {
    const char *isa;
    gemm_fn gemm;
    void (*gemm_finish)(const struct gemm *, int i0, int j0, int m, int n);
    struct op_impl op[OP_COUNT];
    /* These work on elements [begin, end). */
    void (*sum)(float *out, const float *const *parts, int part_count, size_t begin, size_t end);
    double (*sum_squares)(const float *x, size_t begin, size_t end);
    void (*optim_step)(const struct optim *, const struct optim_range *, size_t begin, size_t end);
    double (*peak_round)(void); /* some multiply-adds; returns how many operations */
};

extern const struct cpu_kernels cpu_kernels_sse2, cpu_kernels_avx2, cpu_kernels_avx512;

struct crew;

struct cpu { /* the backend; `base` first */
    struct backend base;
    const struct cpu_kernels *kernels;
    bool dnnl; /* products by oneDNN, else by kernels->gemm */
    struct crew *crew;
    float *scratch; /* CPU_TASKS times gemm_own_work(CPU_GEMM_COLS) floats, for cpu.c's gemm */
    char fingerprint[96];
};

enum { CPU_TASKS = 16, CPU_GEMM_COLS = 512 };

/* One product by whichever implementation this backend uses. */
void cpu_gemm(const struct cpu *, const struct gemm *, float *work);

/* Our own product's blocks of k, rows of a that it packs at most, columns of a panel at most. */
enum { GEMM_KC = 384, GEMM_MC = 480, GEMM_NR = 48 };

/* Column sums run over blocks of so many rows, so that rounding errors grow with R / 64 + 64. */
enum { SUM_ROWS = 64 };

#endif
