/* oneDNN behind gemm.h. `kernels` finishes (bias, activation) what the product left. */
#ifndef TRAINER_ENGINE_BACKEND_CPU_GEMM_DNNL_H
#define TRAINER_ENGINE_BACKEND_CPU_GEMM_DNNL_H

#include "trainer/engine/backend/cpu/isa.h"

void gemm_dnnl(const struct gemm *, const struct cpu_kernels *, float *work);
void gemm_dnnl_thread(void); /* once in each thread that will call it */
void gemm_dnnl_version(char *to, size_t size);

#endif
