/*
 * The backbones that the golden tests run on, and what they all do with one: open it, make its
 * golden batch, a loss with its gradient, an optimiser step. Test code: one thread; asserts by
 * cmocka.
 *
 * Small ones are committed. The others lie in TRIPLINE_SHARED (../shared) and in the cache; a test
 * says which of them it leaves out.
 */
#ifndef TESTS_GOLDEN_ENGINE_MODELS_H
#define TESTS_GOLDEN_ENGINE_MODELS_H

#include "tests/golden/engine/gold.h"
#include "trainer/engine/engine_int.h"

enum { SIGNS = 8, SKETCH = 2 + SIGNS }; /* of a sketched gradient: scripts/golden/backbones.py */

struct model {
    const char *name; /* of the golden file */
    enum place { COMMITTED, SHARED, CACHED } place;
    const char *file;   /* in that place; NULL: NAME.onnx */
    const char *cut;    /* where the engine finds the end of the body */
    bool whole;         /* asked to cut there: pooling is the graph's own */
    bool large;         /* too much for the scalar backend at full length or many steps */
    int layers, tokens; /* blocks; positions */
    int first, ids;     /* token ids are in [first, ids) */
    int frozen;         /* blocks, and the embeddings with them */
};
extern const struct model models[];
extern const int model_count;

/* false when the file is not there, which has been said. */
bool model_find(const struct model *, char *path, size_t size);

/* Of both `open` functions: NULL for the backend is "cpu", for isa the best. */
struct engine *model_open(const struct model *, const char *path, const char *backend,
                          const char *isa, int threads);

struct fixture {
    const struct model *model;
    struct gold gold;
    struct engine *engine;
    struct token_batch batch;
    int32_t *offsets, *ids, *types;
    int dim;
    float *out, *d_out;
    const float *target;
};

/* Opens model and golden batch; false when the model is not there. */
bool fixture_init(struct fixture *, const struct model *, const char *backend, const char *isa,
                  int threads);
void fixture_release(struct fixture *);
/* sum (e - target)^2 / N; with its gradient in the engine when `back`. */
double fixture_loss(struct fixture *, bool back);
/* AdamW as the golden files' losses were made with; the gradient's norm before clipping. */
double fixture_step(struct fixture *);

/* The gradient of a parameter, dense, whatever its form: count floats. */
void model_gradient(const struct engine *, const struct param *, float *out);
/* The parameter that a golden name means, NULL: none that is used. */
const struct param *model_param(const struct engine *, const char *name);
/* 1 or -1: element i of sign vector k; mix() in scripts/golden/backbones.py. */
double model_sign(size_t i, int k);

#endif
