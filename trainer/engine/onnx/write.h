/*
 * Export: the source file again, with its head cut off, pooling, projection and
 * normalisation put on in the model's own opset, and the initializers that trained
 * replaced. Everything else is copied byte by byte from the mapping.
 */
#ifndef TRAINER_ENGINE_ONNX_WRITE_H
#define TRAINER_ENGINE_ONNX_WRITE_H

#include "trainer/engine/engine.h"
#include "trainer/engine/graph/build.h"

struct onnx_write {
    const struct source *source;
    const struct program *program;
    const struct build_inputs *inputs;
    const struct surgery *surgery;
    int cut;             /* source value */
    const float *params; /* the parameter memory */
    struct backend *backend;
};

/* By a temporary file and rename; ERR_IO leaves nothing. */
int onnx_write(const struct onnx_write *w, const char *path, struct err *e);

#endif
