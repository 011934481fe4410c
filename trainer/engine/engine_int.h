/* The engine's inside, shared by engine.c, save.c, inspect.c and the exporter's caller. */
#ifndef TRAINER_ENGINE_ENGINE_INT_H
#define TRAINER_ENGINE_ENGINE_INT_H

#include "trainer/engine/engine.h"
#include "trainer/engine/graph/exec.h"
#include "trainer/engine/surgery/surgery.h"

struct engine {
    struct source *source;
    struct arena arena;
    struct program program;
    struct build_inputs inputs;
    struct cut cut;
    const char *left_out[8]; /* why parts behind the cut are not expressed; NULL behind the last */
    struct surgery surgery;
    struct engine_options options;
    struct backend *backend;
    struct params params;
    float *kept; /* trained parameters put aside, the backend's memory; NULL: none */
    struct exec exec;
    struct engine_info info;
    char fingerprint[160];
};

/* Reads, builds, cuts, fuses, freezes: everything but memory and backend. */
int engine_compile(struct engine *g, const char *path, const struct surgery *s, struct err *e);
void engine_fill_info(struct engine *g);
/* Identifies model and surgery: a saved stream fits only where this is equal. */
void engine_identity(const struct engine *g, char hex[65]);

#endif
