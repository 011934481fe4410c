/*
 * Where a step's time goes: timers around a backend's operators, without a hook in
 * the engine. profile_start puts a copy of the backend's table in its place, whose
 * operators measure and then call the original's. A linear layer's backward is
 * called once for each of its gradients, so that each has a line of its own.
 *
 * One backend of a process at a time; its lanes may run at once.
 */
#ifndef TESTS_BENCH_SPEED_PROFILE_H
#define TESTS_BENCH_SPEED_PROFILE_H

#include <stdio.h>

#include "trainer/engine/backend/backend.h"

void profile_start(struct backend *b);
void profile_reset(void);
/* One line a kernel, most time first: milliseconds of processor time a step (all lanes), calls,
 * GFLOP/s where counted, GB/s of operands. What a backend splits over its threads itself
 * (optimiser, norm, sum) counts the calling thread's share. */
void profile_print(FILE *to, int steps, double step_ms);

#endif
