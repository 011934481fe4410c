/*
 * The skeleton of an ONNX file: the same message without what is bulky (tensor
 * data above a few bytes stays in the mapping; its place is written into the
 * tensor's doc_string as "@field:offset:length") and without what recurses
 * (subgraphs, sequence types), so that unpacking it is small and of bounded depth.
 */
#ifndef TRAINER_ENGINE_ONNX_SKELETON_H
#define TRAINER_ENGINE_ONNX_SKELETON_H

#include "platform/base/buf.h"
#include "platform/base/err.h"

int skeleton_make(struct buf *out, const unsigned char *map, size_t len, struct err *e);

#endif
