/* What one core can do at most, measured: the yardstick of profiles and benchmarks. */
#ifndef TRAINER_ENGINE_BACKEND_CPU_PEAK_H
#define TRAINER_ENGINE_BACKEND_CPU_PEAK_H

#include "trainer/engine/backend/backend.h"

/* Runs dependent-free chains of single-precision multiply-adds of the backend's instruction set on
 * the calling thread for about half a millisecond and returns how many operations that were: the
 * caller times it. `b` is a cpu backend. */
double cpu_peak_round(struct backend *b);

#endif
