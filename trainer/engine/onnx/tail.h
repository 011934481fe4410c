/*
 * The nodes that pooling, projection and normalisation become on export, in the
 * model's own opset; and the graph outputs token_embeddings, last_hidden_state (the
 * same tensor: the name by which optimum finds it) and sentence_embedding. Appended as
 * fields of a GraphProto.
 */
#ifndef TRAINER_ENGINE_ONNX_TAIL_H
#define TRAINER_ENGINE_ONNX_TAIL_H

#include "trainer/engine/onnx/write.h"

/* `kept` says per source value whether it stays in the file, where its name is taken. */
int tail_write(const struct onnx_write *w, const bool *kept, struct buf *graph, struct err *e);

#endif
