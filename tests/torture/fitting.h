/*
 * A fine-tuning that is small enough to be done thousands of times, as work for torture().
 */
#ifndef TESTS_TORTURE_FITTING_H
#define TESTS_TORTURE_FITTING_H

#include "tests/torture/torture.h"
#include "tests/unit/run/world.h"

struct fitting {
    struct world world;
    int threads;
    uint64_t whole; /* of the undisturbed run's artifact */
    int failures;
};

/* cmocka's; *state is a struct fitting. Two steps of twelve documents, a projection, evaluation. */
int fitting_setup(void **state);
int fitting_teardown(void **state);

/* torture's: `arg` is a struct fitting. After a failure nothing may be left but whole checkpoints,
 * and now and then the run goes on: its artifact must be the undisturbed one. */
int fitting_work(void *arg, uint64_t *print, struct err *e);
const char *fitting_after(void *arg, int rc);

/* Over every file of an artifact but its manifest, which says how long the training took; 0: there
 * is no manifest. */
uint64_t fitting_artifact(const struct world *w);

#endif
