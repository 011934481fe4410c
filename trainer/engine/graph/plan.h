/*
 * Where everything of a lane lies: one plan per capacity (tokens, documents), for
 * training or inference. Buffers whose lives do not overlap share memory; lives are
 * counted in steps: node i runs forward at step i and backward at 2 n - 1 - i.
 */
#ifndef TRAINER_ENGINE_GRAPH_PLAN_H
#define TRAINER_ENGINE_GRAPH_PLAN_H

#include "trainer/engine/backend/backend.h"
#include "trainer/engine/graph/diff.h"

#define PLAN_NOWHERE SIZE_MAX

struct plan_node {
    struct op_plan op;
    size_t saved, work, work_back; /* in floats from the lane's memory; PLAN_NOWHERE: none */
    size_t rows;                   /* EMBED: the compact gradient (tokens, cols) */
};

struct plan {
    int tokens, docs; /* capacity of a lane */
    bool train;
    size_t floats;        /* of a lane's memory */
    size_t kept;          /* of them, alive from forward to backward */
    size_t *at, *grad_at; /* per value (its root) */
    struct plan_node *nodes;
};

/* ERR_UNSUPPORTED names operator and node when the backend can't. Half-built on failure. */
int plan_make(struct plan *pl, const struct program *p, const struct tape *t,
              const struct source *s, struct backend *backend, int tokens, int docs, bool train,
              struct err *e);
void plan_release(struct plan *pl); /* accepts a zeroed one */

/* Capacity that holds `n`: rounded up to quarters of a power of two, 64 at least. */
int plan_capacity(int n);

/* The shape of input k or the output of a node for `tokens`, `docs`; data NULL. */
struct mat plan_shape(const struct program *p, int value, int tokens, int docs);

#endif
