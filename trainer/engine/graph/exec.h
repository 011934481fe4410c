/*
 * Running a program: a packed batch is cut into lanes of whole documents, balanced by
 * tokens; a thread takes a lane through the whole program; lanes meet at the end of
 * forward, and after backward where their parameter gradients are summed in lane order.
 * Which document lies in which lane depends on the batch and the number of lanes only.
 *
 * One caller at a time. A plan grows with the largest batch seen and then stays, so a
 * steady stream of batches allocates nothing.
 */
#ifndef TRAINER_ENGINE_GRAPH_EXEC_H
#define TRAINER_ENGINE_GRAPH_EXEC_H

#include "trainer/engine/graph/params.h"
#include "trainer/engine/graph/plan.h"

enum {
    EXEC_TOKENS_MAX = 1 << 24, /* of a batch */
    EXEC_LANES_MAX = 64,
    EXEC_SPARE = 16 /* floats behind a lane's plan */
};

struct exec_batch {
    int count;
    const int32_t *offsets, *ids, *types;
};

/* What a look-up of a trained table needs in a lane: its distinct ids, in order of first use. */
struct lookup {
    int32_t *ids;     /* per token; NULL: the batch's own */
    int32_t *ids_row; /* per token: which distinct id */
    int32_t *distinct;
    int32_t *stamp, *row; /* per id of the table: last batch that used it, its row */
    int count;
};

struct lane {
    int first, docs, tokens, start; /* documents [first, first + docs), tokens from start */
    int32_t *offsets;
    float *memory[2];       /* inference, training */
    float *grad;            /* dense parameter gradients; lane 0: the total itself */
    struct lookup *lookups; /* per node */
    void **caches;          /* per node */
};

struct exec {
    const struct source *source;
    const struct program *program;
    struct params *params;
    struct backend *backend;
    struct tape tape;
    struct plan plans[2]; /* inference, training */
    struct lane *lanes;
    int lane_count;
    bool train, forward_done;
    struct exec_batch batch;
    int32_t *zeros; /* types when the caller has none */
    int zeros_cap, offsets_cap, ids_cap;
    int32_t stamp;
    const float *d_out;
    float *out;
    const float **parts; /* lane_count */
};

int exec_init(struct exec *x, const struct source *s, const struct program *p, struct params *m,
              struct backend *backend, int lanes, bool train, struct err *e);
void exec_release(struct exec *x);

/* out (N, dim). train: keeps what backward needs. ERR_FORMAT names the document and the token. */
int exec_forward(struct exec *x, const struct exec_batch *batch, float *out, bool train,
                 struct err *e);
int exec_backward(struct exec *x, const float *d_out, struct err *e);

/* How a batch is cut; `first` has lanes + 1 entries. */
void exec_cut(const int32_t *offsets, int count, int lanes, int *first);

#endif
