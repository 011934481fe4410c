/*
 * What a training process leaves in its folder, without training: "weights" that are
 * a function of the steps, and an artifact whose manifest lies about who it is.
 */
#ifndef TESTS_UNIT_TRAINER_FORGED_H
#define TESTS_UNIT_TRAINER_FORGED_H

#include <stdint.h>

#include "platform/base/err.h"

uint64_t forged_weights(int steps);

/* FOLDER/NAME, and the folders above it. */
int forged_put(const char *folder, const char *name, const char *text, struct err *e);

/* out/manifest.json, of an onnx/model.onnx with these bytes. */
int forged_manifest(const char *folder, const char *model, struct err *e);

#endif
