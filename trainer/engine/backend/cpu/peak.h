/* What one core can do at most, measured: the yardstick of profiles and benchmarks. */
#ifndef TRAINER_ENGINE_BACKEND_CPU_PEAK_H
#define TRAINER_ENGINE_BACKEND_CPU_PEAK_H

#include "trainer/engine/backend/backend.h"

/* Single-precision GFLOP/s of the calling thread in dependent multiply-adds of the backend's
 * instruction set; takes about 50 ms. `b` is a cpu backend. */
double cpu_peak_gflops(struct backend *b);

#endif
