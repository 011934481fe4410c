/* The pieces of engine_inspect. Each appends members of its one JSON object, each with a comma
 * behind it. */
#ifndef TRAINER_ENGINE_INSPECT_INT_H
#define TRAINER_ENGINE_INSPECT_INT_H

#include "trainer/engine/engine_int.h"

/* "name":"value", */
void inspect_field(struct buf *b, const char *name, const char *value);
/* A comma, unless it is the first item of an array. */
void inspect_comma(struct buf *b, bool *first);

/* parameters, buffers, cut_off, frozen */
void inspect_parameters(const struct engine *g, struct buf *b);
/* graph: what a person would count and draw */
int inspect_blocks(const struct engine *g, struct buf *b, struct err *e);
/* flops, memory */
int inspect_cost(struct engine *g, const struct engine_batch *batch, struct buf *b, struct err *e);

#endif
