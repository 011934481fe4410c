/*
 * A small interpreter of ONNX operators over host tensors: computes what depends
 * only on shapes, masks, ids and constants. One function per group of operators,
 * found in one table.
 */
#ifndef TRAINER_ENGINE_GRAPH_EVAL_H
#define TRAINER_ENGINE_GRAPH_EVAL_H

#include "trainer/engine/graph/source.h"

enum { EVAL_IN = 16, EVAL_OUT = 8 };

struct eval {
    const struct source *source;
    const struct source_node *node;
    const struct tensor *in[EVAL_IN]; /* NULL: absent */
    struct tensor *out[EVAL_OUT];
    struct arena *arena;
};

bool eval_knows(const char *op);
/* ERR_UNSUPPORTED (operator or form), ERR_FORMAT (shapes that don't fit), ERR_LIMIT. */
int eval_node(struct eval *v, struct err *e);

typedef int (*eval_fn)(struct eval *, struct err *);
int eval_unary(struct eval *v, struct err *e);
int eval_binary(struct eval *v, struct err *e);
int eval_where(struct eval *v, struct err *e);
int eval_clip(struct eval *v, struct err *e);
int eval_cast(struct eval *v, struct err *e);
int eval_constant(struct eval *v, struct err *e);
int eval_constant_of_shape(struct eval *v, struct err *e);
int eval_range(struct eval *v, struct err *e);
int eval_shape(struct eval *v, struct err *e);
int eval_size(struct eval *v, struct err *e);
int eval_reshape(struct eval *v, struct err *e);
int eval_transpose(struct eval *v, struct err *e);
int eval_slice(struct eval *v, struct err *e);
int eval_concat(struct eval *v, struct err *e);
int eval_split(struct eval *v, struct err *e);
int eval_expand(struct eval *v, struct err *e);
int eval_tile(struct eval *v, struct err *e);
int eval_gather(struct eval *v, struct err *e);
int eval_gather_elements(struct eval *v, struct err *e);
int eval_gather_nd(struct eval *v, struct err *e);
int eval_scatter_nd(struct eval *v, struct err *e);
int eval_trilu(struct eval *v, struct err *e);
int eval_reduce(struct eval *v, struct err *e);
int eval_arg(struct eval *v, struct err *e);
int eval_cumsum(struct eval *v, struct err *e);
int eval_nonzero(struct eval *v, struct err *e);

/* Helpers of the groups. */
int eval_bad(const struct eval *v, int code, const char *why, struct err *e);
struct tensor *eval_make(struct eval *v, int dtype, int rank, const int64_t *dims);
/* An axes-like list: attribute `name`, else input `index`. count -1: absent. */
int eval_ints(const struct eval *v, const char *name, int index, int64_t *out, int max, int *count,
              struct err *e);
/* New dims of Reshape/Unsqueeze/Squeeze/Flatten applied to `dims`; shared with the builder. */
struct reshape {
    int rank;
    int64_t dims[TENSOR_RANK];
};
int eval_reshape_dims(const struct eval *v, const int64_t *dims, int rank, struct reshape *out,
                      struct err *e);
/* Per axis of the sliced tensor: begin, step, count. */
struct slices {
    int64_t begin[TENSOR_RANK], step[TENSOR_RANK], count[TENSOR_RANK];
};
int eval_slice_ranges(const struct eval *v, const int64_t *dims, int rank, struct slices *out,
                      struct err *e);
/* Sizes of Split's parts along its axis. */
int eval_split_sizes(const struct eval *v, int64_t size, int64_t *sizes, struct err *e);
int64_t eval_axis(int64_t axis, int rank); /* normalised, or -1 */
/* As C converts it, but any number has a result: at most 2^62 either way, 0 for what is none. */
int64_t eval_whole(double x);

#endif
