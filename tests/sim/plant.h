/*
 * The simulation's own end of platform/base/failpoint.h: the services are compiled
 * with their planted defects here, at most one of which is there in a run.
 */
#ifndef TESTS_SIM_PLANT_H
#define TESTS_SIM_PLANT_H

/* 0, or -1: no such defect. NULL: none. */
int plant(const char *name);
extern const char *const plant_names[]; /* NULL-terminated */

#endif
