/*
 * Reading an ONNX file into a source graph. The file is mapped and stays mapped as
 * long as the source lives; weights are never copied here.
 */
#ifndef TRAINER_ENGINE_ONNX_READ_H
#define TRAINER_ENGINE_ONNX_READ_H

#include "trainer/engine/graph/source.h"

/* ERR_NOT_FOUND, ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED, ERR_LIMIT. The caller frees it. */
int onnx_read(struct source **out, const char *path, struct err *e);
/* From memory that outlives the source (tests, fuzzing). */
int onnx_read_memory(struct source **out, const void *bytes, size_t len, const char *name,
                     struct err *e);
/* The weights have been copied: gives the mapping's memory back until it is read again. */
void onnx_rest(const struct source *s);
void onnx_free(struct source *s); /* accepts NULL */

#endif
