/*
 * A backend: one table that answers both "can you?" and "do it". Rooms above
 * call only through here, so that a CUDA backend (a plugin opened at run time)
 * fits behind the same table: nothing in it is a CPU's.
 *
 *   cpu        oneDNN and own kernels; instruction set chosen at run time
 *   reference  plain scalar C, the oracle; slow, obvious, double accumulation
 *
 * Memory handed to ops comes from `alloc` and is 64-byte aligned. A lane runs on
 * one thread at a time; different lanes run at once (run_lanes). Results depend
 * on shapes and lane boundaries only, never on the number of threads.
 */
#ifndef TRAINER_ENGINE_BACKEND_BACKEND_H
#define TRAINER_ENGINE_BACKEND_BACKEND_H

#include "platform/base/err.h"
#include "trainer/engine/op/op.h"

struct backend;

typedef void (*op_fn)(struct backend *, const struct op_call *);

struct op_impl { /* all NULL: not offered here */
    /* `call` has attrs, in[] and out with their shapes (data NULL), rows at capacity; docs.count at
     * capacity. */
    int (*plan)(struct backend *, const struct op_call *call, bool train, struct op_plan *,
                struct err *);
    op_fn forward;
    op_fn backward;
};

enum optim_kind { OPTIM_ADAMW, OPTIM_ADAM, OPTIM_SGD };

/*
 * One step over a range of the parameter arena. As in torch.optim: ADAM adds
 * decay * p to the gradient, ADAMW multiplies p by 1 - lr * decay first
 * (Loshchilov & Hutter 2019), SGD has momentum without dampening.
 */
struct optim_range {
    float *param, *grad, *m, *v; /* v unused by SGD */
    size_t count;
    float lr, decay;
    float grad_scale; /* the gradient is multiplied by it first (clipping) */
};
struct optim {
    enum optim_kind kind;
    float beta1, beta2, eps; /* SGD: beta1 is the momentum */
    int64_t step;            /* 1, 2, ...: bias correction */
};

struct backend_ops {
    const char *name;
    void (*free)(struct backend *);
    /* Zeroed; pages that are never touched cost nothing. */
    int (*alloc)(struct backend *, size_t bytes, void **out, struct err *);
    void (*release)(struct backend *, void *memory);
    void (*upload)(struct backend *, void *to, const void *from, size_t bytes);
    void (*download)(struct backend *, void *to, const void *from, size_t bytes);
    void (*zero)(struct backend *, void *to, size_t bytes);

    /* Calls fn(arg, lane) for each lane in [0, lanes), spread over the backend's threads; returns
     * when all are done. */
    void (*run_lanes)(struct backend *, int lanes, void (*fn)(void *arg, int lane), void *arg);

    void *(*cache_new)(struct backend *); /* one per (node, lane) */
    void (*cache_free)(struct backend *, void *);

    struct op_impl op[OP_COUNT];

    /* out = sum of the parts in their order; count floats each. Split by position, not by thread.
     */
    void (*sum)(struct backend *, float *out, const float *const *parts, int part_count,
                size_t count);
    double (*sum_squares)(struct backend *, const float *x, size_t count); /* fixed order */
    void (*optim_step)(struct backend *, const struct optim *, const struct optim_range *);

    /* c (m, n) = alpha * op(a) op(b) + beta * c; row-major, leading dimensions in elements. For
     * losses. */
    void (*gemm)(struct backend *, bool ta, bool tb, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);

    /* NULL: not offered. What one core can do at most, the yardstick of profiles: independent
     * multiply-adds on the calling thread for about half a millisecond. Returns how many
     * operations; the caller times it. */
    double (*peak_round)(struct backend *);
};

struct backend {
    const struct backend_ops *ops;
    const char *fingerprint; /* what backend_fingerprint answers; the backend's own memory */
};

struct backend_options {
    int threads;      /* 0: as many as the machine has for us */
    const char *isa;  /* NULL: the best; "sse2", "avx2", "avx512": not above it */
    const char *gemm; /* cpu: NULL: "own"; or "onednn" */
};

/* "cpu", "reference". ERR_CONFIG for another name; ERR_UNSUPPORTED when this machine lacks what it
 * needs. */
int backend_open(struct backend **out, const char *name, const struct backend_options *,
                 struct err *e);
int backend_cpu(struct backend **out, const struct backend_options *, struct err *e);
int backend_reference(struct backend **out, const struct backend_options *, struct err *e);

/* "cpu/onednn-3.13.0/avx2": the backend's part of the numeric fingerprint. */
const char *backend_fingerprint(struct backend *b);

static inline void backend_free(struct backend *b)
{
    if (b)
        b->ops->free(b);
}

#endif
