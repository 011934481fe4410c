/* The table of one instruction set's kernels. */
#include "trainer/engine/backend/cpu/kernel.h"

#define CPU_TEXT(name) #name
#define CPU_NAME(name) CPU_TEXT(name)
#define IMPL(name)                                                                                 \
    {                                                                                              \
        ISA(cpu_##name##_plan), ISA(cpu_##name##_forward), ISA(cpu_##name##_backward)              \
    }

const struct cpu_kernels ISA(cpu_kernels) = {
    .isa = CPU_NAME(CPU_ISA),
    .gemm = ISA(gemm_own),
    .gemm_finish = ISA(gemm_finish),
    .sum = ISA(cpu_sum),
    .sum_squares = ISA(cpu_sum_squares),
    .optim_step = ISA(cpu_optim_step),
    .peak_round = ISA(cpu_peak_round),
    .op =
        {
            [OP_EMBED] = IMPL(embed),
            [OP_LINEAR] = IMPL(linear),
            [OP_LAYER_NORM] = IMPL(layer_norm),
            [OP_ATTENTION] = IMPL(attention),
            [OP_ACT] = IMPL(act),
            [OP_ADD] = IMPL(add),
            [OP_SUB] = IMPL(sub),
            [OP_MUL] = IMPL(mul),
            [OP_DIV] = IMPL(div),
            [OP_AFFINE] = IMPL(affine),
            [OP_POOL] = IMPL(pool),
            [OP_L2_NORM] = IMPL(l2_norm),
            [OP_SLICE_COLS] = IMPL(slice_cols),
            [OP_CONCAT_COLS] = IMPL(concat_cols),
        },
};
