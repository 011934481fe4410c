#include "trainer/engine/op/op.h"

#include <string.h>

static const char *const op_names[OP_COUNT] = {
#define X(name, text) text,
    OPS(X)
#undef X
};
static const char *const act_names[ACT_COUNT] = {
    "none",    "relu", "gelu_erf", "gelu_tanh", "gelu_quick", "tanh",
    "sigmoid", "silu", "erf",      "exp",       "sqrt",
};
static const char *const pool_names[] = {"mean", "max", "cls", "last", "gem", "none"};

const char *op_name(enum op_code op)
{
    return op < OP_COUNT ? op_names[op] : "unknown";
}

const char *act_name(enum act act)
{
    return act < ACT_COUNT ? act_names[act] : "unknown";
}

const char *pool_name(enum pool pool)
{
    return pool <= POOL_NONE ? pool_names[pool] : "unknown";
}

int pool_parse(const char *text, enum pool *pool)
{
    for (int i = POOL_MEAN; i <= POOL_NONE; i++) {
        if (strcmp(text, pool_names[i]) == 0) {
            *pool = (enum pool)i;
            return 0;
        }
    }
    return -1;
}
