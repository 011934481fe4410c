#ifndef TESTS_SIM_SHRINK_H
#define TESTS_SIM_SHRINK_H

#include "tests/sim/sim.h"

/* Leaves in `list`, the faults of a run that broke a promise, few that are enough to break it. */
void shrink(const struct world_options *o, const char *broken, struct fired_list *list);

#endif
