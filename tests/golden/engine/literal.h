/*
 * An ONNX graph run as its file says: node by node, on a padded batch with its attention mask, in
 * double precision, nothing packed, fused or understood. The oracle of what the engine makes of the
 * same file. Operators are graph/eval.h's; the few with weights are here. Test code: one thread.
 */
#ifndef TESTS_GOLDEN_ENGINE_LITERAL_H
#define TESTS_GOLDEN_ENGINE_LITERAL_H

#include "trainer/engine/engine.h"
#include "trainer/engine/graph/source.h"

/* What a run does to the weights first: element i of each initializer with `moves` gets
 * step * model_sign(i, 0). NULL: nothing. */
struct literal_move {
    const bool *moves; /* per initializer */
    double step;
};

/* The value `name` of the graph for the batch, (N, S, C) or (N, C), in memory that the caller
 * frees; its rank, S and C in dims. Each document is padded with token `pad` to the longest, one at
 * least. */
double *literal_run(const struct source *, const struct token_batch *, int pad, const char *name,
                    const struct literal_move *, int *rank, int64_t dims[TENSOR_RANK],
                    struct err *e);

#endif
