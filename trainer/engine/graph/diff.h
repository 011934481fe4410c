/*
 * Reverse mode over a program: which operators run backward, for which inputs, and
 * who is the first to write a gradient (overwrites) and who adds. Nothing below the
 * deepest trained parameter runs. Column slices that only cut their parent apart are
 * views of its memory, forward and backward: they never run.
 */
#ifndef TRAINER_ENGINE_GRAPH_DIFF_H
#define TRAINER_ENGINE_GRAPH_DIFF_H

#include "trainer/engine/graph/program.h"

struct tape_node {
    bool view;      /* a slice that is a view: neither forward nor backward runs */
    bool backward;  /* runs backward */
    unsigned want;  /* bit i: the gradient of input i is wanted */
    unsigned add;   /* bit i: it is added to what is there */
    unsigned first; /* bit i: the first writer of a parameter's gradient in a lane */
};

struct tape {
    struct tape_node *nodes;
    bool *need;        /* per value: its gradient is wanted */
    int *root, *begin; /* per value: whose memory it lies in, and at which column */
    bool *zero_first;  /* per parameter: its views do not cover it, so it starts from zeros */
};

int tape_init(struct tape *t, const struct program *p, bool train, struct err *e);
void tape_release(struct tape *t); /* accepts a zeroed one */

#endif
