#include "trainer/engine/tensor/tensor.h"

#include <math.h>
#include <string.h>

size_t dtype_size(int dtype)
{
    switch (dtype) {
    case DTYPE_UINT8:
    case DTYPE_INT8:
    case DTYPE_BOOL:
        return 1;
    case DTYPE_UINT16:
    case DTYPE_INT16:
    case DTYPE_FLOAT16:
    case DTYPE_BFLOAT16:
        return 2;
    case DTYPE_FLOAT:
    case DTYPE_INT32:
    case DTYPE_UINT32:
        return 4;
    case DTYPE_INT64:
    case DTYPE_UINT64:
    case DTYPE_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

const char *dtype_name(int dtype)
{
    static const char *const names[] = {"undefined",  "float32", "uint8",  "int8",   "uint16",
                                        "int16",      "int32",   "int64",  "string", "bool",
                                        "float16",    "float64", "uint32", "uint64", "complex64",
                                        "complex128", "bfloat16"};

    return dtype >= 0 && dtype < (int)(sizeof names / sizeof names[0]) ? names[dtype] : "unknown";
}

bool dtype_is_float(int dtype)
{
    return dtype == DTYPE_FLOAT || dtype == DTYPE_DOUBLE || dtype == DTYPE_FLOAT16 ||
           dtype == DTYPE_BFLOAT16;
}

int64_t dims_count(const int64_t *dims, int rank, int64_t max)
{
    int64_t n = 1;
    bool empty = false;

    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return -1;
        if (dims[i] == 0)
            empty = true;
        else if (n > max / dims[i])
            return -1;
        else
            n *= dims[i];
    }
    return empty ? 0 : n;
}

struct tensor *tensor_new(struct arena *a, int dtype, int rank, const int64_t *dims)
{
    struct tensor *t;
    int64_t n;

    if (rank < 0 || rank > TENSOR_RANK)
        return NULL;
    n = dims_count(dims, rank, TENSOR_COUNT_MAX);
    if (n < 0)
        return NULL;
    t = arena_alloc(a, sizeof *t);
    if (!t)
        return NULL;
    t->dtype = dtype;
    t->rank = rank;
    if (rank > 0)
        memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    t->count = (size_t)n;
    t->v = arena_array(a, t->count ? t->count : 1, sizeof *t->v);
    return t->v ? t : NULL;
}

double dtype_round(int dtype, double x)
{
    if (dtype == DTYPE_BOOL)
        return x != 0.0;
    if (dtype == DTYPE_FLOAT || dtype == DTYPE_FLOAT16 || dtype == DTYPE_BFLOAT16)
        return fabs(x) > 3.4028234663852886e38 && isfinite(x) ? copysign(INFINITY, x) : (float)x;
    if (dtype == DTYPE_DOUBLE)
        return x;
    return isnan(x) ? 0.0 : trunc(x);
}

void dims_strides(const int64_t *dims, int rank, int64_t *strides)
{
    int64_t s = 1;

    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = s;
        s *= dims[i];
    }
}

bool dims_broadcast(const int64_t *a, int ra, const int64_t *b, int rb, int64_t *out, int *rank)
{
    int r = ra > rb ? ra : rb;

    for (int i = 0; i < r; i++) {
        int64_t x = i < r - ra ? 1 : a[i - (r - ra)];
        int64_t y = i < r - rb ? 1 : b[i - (r - rb)];

        if (x != y && x != 1 && y != 1)
            return false;
        out[i] = x == 1 ? y : x;
    }
    *rank = r;
    return true;
}

size_t tensor_broadcast_index(const struct tensor *t, const int64_t *at, int rank)
{
    size_t i = 0;

    for (int k = 0; k < t->rank; k++) {
        int64_t c = t->dims[k] == 1 ? 0 : at[rank - t->rank + k];

        i = i * (size_t)t->dims[k] + (size_t)c;
    }
    return i;
}
