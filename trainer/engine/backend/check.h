/*
 * What every backend's plan asks first: do the shapes and attributes of a call
 * fit its op? One answer for all backends, so that they refuse the same things
 * in the same words. Pure; any thread.
 */
#ifndef TRAINER_ENGINE_BACKEND_CHECK_H
#define TRAINER_ENGINE_BACKEND_CHECK_H

#include "platform/base/err.h"
#include "trainer/engine/op/op.h"

/* 0, or ERR_UNSUPPORTED / ERR_INTERNAL with a message. Looks at shapes only, never at data. */
int op_call_check(enum op_code op, const struct op_call *call, struct err *e);

/* Is the optional input i there? By its shape: at plan time no input has data. */
static inline bool op_call_has(const struct op_call *call, int i)
{
    return i < call->in_count && call->in[i].cols > 0 && call->in[i].rows > 0;
}

#endif
