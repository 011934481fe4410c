/* Shared between the per-instruction-set sources only; needs CPU_ISA and a kernel's compile flags.
 */
#ifndef TRAINER_ENGINE_BACKEND_CPU_KERNEL_H
#define TRAINER_ENGINE_BACKEND_CPU_KERNEL_H

#include "trainer/engine/backend/cpu/isa.h"
#include "trainer/engine/backend/cpu/simd_math.h"

#define CPU_OP(name)                                                                               \
    int ISA(cpu_##name##_plan)(struct backend *, const struct op_call *, bool train,               \
                               struct op_plan *, struct err *);                                    \
    void ISA(cpu_##name##_forward)(struct backend *, const struct op_call *);                      \
    void ISA(cpu_##name##_backward)(struct backend *, const struct op_call *)

CPU_OP(embed);
CPU_OP(linear);
CPU_OP(layer_norm);
CPU_OP(attention);
CPU_OP(act);
CPU_OP(add);
CPU_OP(sub);
CPU_OP(mul);
CPU_OP(div);
CPU_OP(affine);
CPU_OP(pool);
CPU_OP(l2_norm);
CPU_OP(slice_cols);
CPU_OP(concat_cols);
#undef CPU_OP

void ISA(gemm_own)(const struct gemm *g, float *work);
void ISA(gemm_finish)(const struct gemm *g, int i0, int j0, int m, int n);
void ISA(cpu_sum)(float *out, const float *const *parts, int part_count, size_t begin, size_t end);
double ISA(cpu_sum_squares)(const float *x, size_t begin, size_t end);
void ISA(cpu_optim_step)(const struct optim *, const struct optim_range *, size_t begin,
                         size_t end);

double ISA(cpu_peak_round)(void);

SIMD_INLINE float *mat_row(const struct mat *m, int r)
{
    return m->data + (size_t)r * (size_t)m->ld;
}

SIMD_INLINE bool adds(const struct op_call *c, int i)
{
    return c->d_add >> i & 1u;
}

/* Writes n lanes of a gradient, added to what is there when `add`. */
SIMD_INLINE void v_give(float *to, vf x, int n, bool add)
{
    v_store_upto(to, add ? v_add(v_load_upto(to, n), x) : x, n);
}

/* to (1, n) = sum over the rows of x (rows, n), in blocks of SUM_ROWS. */
void ISA(cpu_col_sums)(const float *x, ptrdiff_t ld, int rows, int n, float *to, bool add);

#endif
