/*
 * The parameter memory: values, gradients and moments at equal offsets.
 *
 *   [0, dense)        trained, dense gradients, ordered by block and by decay, so that
 *                     an optimiser step is a few ranges
 *   [dense, trained)  trained tables that are only looked up: gradients are row-sparse
 *   [trained, total)  frozen parameters and buffers: no gradient, no moments
 *
 * Gradients of tables are a list of rows (ids in the order of their first use) that
 * grows to the most that a step ever needed and then stays.
 */
#ifndef TRAINER_ENGINE_GRAPH_PARAMS_H
#define TRAINER_ENGINE_GRAPH_PARAMS_H

#include "trainer/engine/backend/backend.h"
#include "trainer/engine/graph/program.h"

struct range {
    size_t at, count;
    int block;
    bool decays;
};

struct table {
    int param, rows, cols;
    size_t at;
    unsigned char *touched; /* rows that ever had a gradient: only they have moments */
    int32_t *row_of;        /* id -> row of `grads`, -1 */
    int32_t *ids;           /* row -> id */
    float *grads;           /* (count, cols), the backend's memory */
    int count, cap;
};

struct params {
    struct backend *backend;
    struct program *program;
    float *param, *grad, *m, *v; /* the backend's memory; grad, m, v NULL without training */
    float *zeros;                /* a row of them, for rows without a gradient */
    size_t dense, trained, total;
    struct range *ranges;
    int range_count;
    struct table *tables;
    int table_count;
    bool fresh; /* the dense gradients count as zero, whatever is there */
    int64_t step;
};

/* Lays out: dense, trained, total, ranges, tables; no number has memory yet. Half-built on failure:
 * params_release either way. */
int params_layout(struct params *m, struct program *p, struct backend *backend, struct err *e);
/* Lays out, allocates and loads. Half-built on failure: params_release either way. */
int params_init(struct params *m, struct program *p, const struct source *s,
                struct backend *backend, bool train, struct err *e);
void params_release(struct params *m);

/* Rows that a table's gradient has room for once it held `rows`, and `cap` before. */
int params_table_capacity(int cap, int rows);
/* Room for `more` further rows of a table's gradient. */
int params_reserve(struct params *m, struct table *t, int more, struct err *e);
/* Adds rows (count, cols) for these ids, in order. */
void params_add_rows(struct params *m, struct table *t, const int32_t *ids, int count,
                     const float *rows);
void params_clear_gradients(struct params *m);
double params_gradient_norm(struct params *m);

struct params_step {
    struct optim optim;
    float lr, decay;
    bool decay_all; /* biases and norms too */
    float layer_decay, clip;
};
/* One optimiser step; returns the norm before clipping. Gradients are zero afterwards. */
double params_apply(struct params *m, const struct params_step *step);

#endif
