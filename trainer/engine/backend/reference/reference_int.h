/*
 * Shared inside the reference backend: the ops that its table in reference.c
 * names. Everything is scalar, sums are double, results are rounded to float
 * once. Speed is of no interest here; being obviously right is.
 */
#ifndef TRAINER_ENGINE_BACKEND_REFERENCE_REFERENCE_INT_H
#define TRAINER_ENGINE_BACKEND_REFERENCE_REFERENCE_INT_H

#include "trainer/engine/backend/backend.h"
#include "trainer/engine/backend/check.h"

/* Activation and its slope at x, in double (act.c). */
double ref_act(enum act act, double x);
double ref_act_slope(enum act act, double x);

#define REF_OP(name)                                                                               \
    int ref_##name##_plan(struct backend *, const struct op_call *, bool train, struct op_plan *,  \
                          struct err *);                                                           \
    void ref_##name##_forward(struct backend *, const struct op_call *);                           \
    void ref_##name##_backward(struct backend *, const struct op_call *)

REF_OP(embed);
REF_OP(linear);
REF_OP(layer_norm);
REF_OP(attention);
REF_OP(act);
REF_OP(add);
REF_OP(sub);
REF_OP(mul);
REF_OP(div);
REF_OP(affine);
REF_OP(pool);
REF_OP(l2_norm);
REF_OP(slice_cols);
REF_OP(concat_cols);
#undef REF_OP

/* Element (r, c). */
static inline float *ref_at(const struct mat *m, int r, int c)
{
    return m->data + (size_t)r * (size_t)m->ld + c;
}

/* Writes `value` into the gradient of input i, adding when the caller asked for it. */
static inline void ref_give(const struct op_call *call, int i, int r, int c, double value)
{
    float *to = ref_at(&call->d_in[i], r, c);

    *to = (float)(call->d_add >> i & 1u ? *to + value : value);
}

#endif
