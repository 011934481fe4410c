/*
 * The nodes that pooling, projection and normalisation become on export, in the
 * model's own opset; and the graph outputs. Appended as fields of a GraphProto.
 */
#ifndef TRAINER_ENGINE_ONNX_TAIL_H
#define TRAINER_ENGINE_ONNX_TAIL_H

#include "trainer/engine/onnx/write.h"

int tail_write(const struct onnx_write *w, struct buf *graph, struct err *e);

#endif
