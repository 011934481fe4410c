/* The fastest that this instruction set multiplies and adds: what kernels are measured against. */
#include "trainer/engine/backend/cpu/kernel.h"

double ISA(cpu_peak_round)(void)
{
    enum { CHAINS = 10, ROUNDS = 100000 };
    vf sum[CHAINS], x = v_set1(0.999f), y = v_set1(0.001f);
    float keep = 0;

    for (int i = 0; i < CHAINS; i++)
        sum[i] = v_set1((float)i);
    for (int n = 0; n < ROUNDS; n++) {
#pragma GCC unroll 10
        for (int i = 0; i < CHAINS; i++)
            sum[i] = v_fma(sum[i], x, y);
    }
    for (int i = 0; i < CHAINS; i++)
        keep += v_sum(sum[i]);
    __asm__ volatile("" : : "x"(keep));
    return 2.0 * W * CHAINS * ROUNDS;
}
