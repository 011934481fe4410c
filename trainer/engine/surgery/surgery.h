/*
 * Surgery: the head is cut off, pooling, projection and normalisation are put on,
 * layers are frozen. Works on a program that build.c made; before fusing (cut,
 * tail) and after it (freeze, which needs blocks and names).
 */
#ifndef TRAINER_ENGINE_SURGERY_SURGERY_H
#define TRAINER_ENGINE_SURGERY_SURGERY_H

#include "trainer/engine/engine.h"
#include "trainer/engine/graph/build.h"

enum { CUT_CANDIDATES = 8 };

struct cut {
    int source_value; /* where to cut */
    enum space space;
    int cols;
    const char *why; /* static text */
    struct {
        int source_value;
        enum space space;
        int cols;
        const char *why;
    } candidates[CUT_CANDIDATES]; /* the last ones, best last */
    int candidate_count;
};

/* `name` NULL: found. ERR_CONFIG: no such tensor; ERR_UNSUPPORTED. */
int surgery_cut(struct builder *b, const struct source *s, struct program *p, const char *name,
                struct cut *out, struct err *e);

/* Puts pooling, projection, normalisation behind value `v` and sets p->output. */
int surgery_tail(struct program *p, const struct surgery *s, int v, struct err *e);

/* Sets param.used, param.trainable and the reason. ERR_CONFIG: a pattern that fits nothing. */
int surgery_freeze(struct program *p, const struct surgery *s, struct err *e);

/* A number in [0, 1) from a seed and a counter (splitmix64's mixer). */
double surgery_uniform(uint64_t seed, uint64_t counter);

#endif
