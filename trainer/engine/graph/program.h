/*
 * The program: what is computed, in canonical operators (op/op.h) over packed rows.
 * Built from a source graph by build.c, simplified by fuse.c, extended by surgery,
 * then differentiated, planned and run. A value is a matrix; a node makes one value;
 * a parameter is one initializer (or one of ours), which values of SPACE_FIXED view.
 *
 * Nodes are in execution order. Owned by one engine; after planning it is read-only,
 * so lanes read it at once.
 */
#ifndef TRAINER_ENGINE_GRAPH_PROGRAM_H
#define TRAINER_ENGINE_GRAPH_PROGRAM_H

#include "platform/base/arena.h"
#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "trainer/engine/graph/source.h"
#include "trainer/engine/op/op.h"

enum { BLOCK_NONE = -1 }; /* before the first block: embeddings */

struct param {
    const char *name; /* as a person would say it */
    const char *why;  /* why it is a parameter, a buffer, or frozen */
    int initializer;  /* in the source; -1: ours */
    int identity;     /* source value of the Identity that it stands behind; -1: none */
    int rank;
    int64_t dims[TENSOR_RANK]; /* as the initializer has them */
    size_t count;
    const float *init; /* our own data (a buffer, a projection); NULL: the initializer's */
    bool used;         /* some node reads it; set by surgery_freeze */
    bool buffer;       /* never trained */
    bool trainable;    /* not a buffer, not frozen */
    bool decays;       /* false: biases and norms */
    int table;         /* trained and only looked up by EMBED: its table (params.h); else -1 */
    int block;         /* the last block that uses it; BLOCK_NONE: embeddings */
    size_t at;         /* where it lies in the parameter memory, in floats; set by params.c */
};

struct value {
    enum space space;
    int rows, cols; /* rows: SPACE_FIXED only */
    int node;       /* that makes it; -1: none */
    int param;      /* SPACE_FIXED: the parameter, and its first element and row distance */
    size_t offset;
    int ld;
    int source; /* the source value that it equals, -1: none */
    int uses;   /* by nodes, and one for the program's output */
};

struct node {
    enum op_code op;
    struct op_attrs attrs;
    int in_count, in[OP_INS], out;
    int source; /* source node that it came from; -1: surgery */
    int block;
};

struct program {
    struct arena *arena; /* borrowed: names, our own data */
    struct value *values;
    struct node *nodes;
    struct param *params;
    int value_count, node_count, param_count;
    int value_cap, node_cap, param_cap;
    int *initializer_param; /* per initializer of the source: its parameter, -1; in the arena */
    int output;             /* the embeddings (N, dim) */
    int cut;                /* the value that was cut at */
    int blocks;
    int unmasked; /* attentions that would see padding if there were any */
};

void program_init(struct program *p, struct arena *arena);
void program_release(struct program *p);

/* All return an index or a negative error code. */
int program_value(struct program *p, enum space space, int cols, struct err *e);
int program_emit(struct program *p, enum op_code op, const struct op_attrs *attrs, const int *in,
                 int in_count, enum space space, int cols, struct err *e);
int program_param(struct program *p, const struct param *init, struct err *e);
/* A view of a parameter: (rows, cols) from `offset`, rows `ld` apart. Equal views are one value. */
int program_fixed(struct program *p, int param, size_t offset, int rows, int cols, int ld,
                  struct err *e);
/* A row (1, cols) of constants. */
int program_buffer(struct program *p, const char *name, const float *data, int cols, struct err *e);

struct op_attrs op_attrs_zero(void);

/* Drops nodes that nothing needs, counts uses; compacts values of dropped nodes lazily. */
void program_prune(struct program *p);
/* Sets node.block, param.block and p->blocks from where attentions and residuals stand. */
void program_blocks(struct program *p);
/* Human names for anonymous initializers, what decays, and reasons. 0 or ERR_NOMEM. */
int program_names(struct program *p, const struct source *s, struct err *e);
/* Linear + bias + activation, residual + layer norm; called before differentiation. */
void program_fuse(struct program *p);

/* One line per node, for inspect and debugging. */
void program_print(const struct program *p, const struct source *s, struct buf *out);

#endif
