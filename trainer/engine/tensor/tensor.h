/*
 * Small host tensors: what depends only on shapes, masks, ids and constants is
 * computed with them while a program is built. Every element is a double, whatever
 * the dtype; integers up to 2^53 are exact, which shapes and ids never exceed.
 * Allocated in an arena, never freed one by one, never changed after they are made.
 */
#ifndef TRAINER_ENGINE_TENSOR_TENSOR_H
#define TRAINER_ENGINE_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/arena.h"

enum { TENSOR_RANK = 8 };
enum { TENSOR_COUNT_MAX = 1 << 23 }; /* elements; more belongs to a parameter, not to a shape */

/* As onnx TensorProto.DataType. */
enum dtype {
    DTYPE_NONE = 0,
    DTYPE_FLOAT = 1,
    DTYPE_UINT8 = 2,
    DTYPE_INT8 = 3,
    DTYPE_UINT16 = 4,
    DTYPE_INT16 = 5,
    DTYPE_INT32 = 6,
    DTYPE_INT64 = 7,
    DTYPE_STRING = 8,
    DTYPE_BOOL = 9,
    DTYPE_FLOAT16 = 10,
    DTYPE_DOUBLE = 11,
    DTYPE_UINT32 = 12,
    DTYPE_UINT64 = 13,
    DTYPE_BFLOAT16 = 16
};

struct tensor {
    int dtype, rank;
    int64_t dims[TENSOR_RANK];
    size_t count;
    double *v;
};

/* Bytes of one element; 0 for a dtype that has none here. */
size_t dtype_size(int dtype);
const char *dtype_name(int dtype);
bool dtype_is_float(int dtype);

/* Product of the dims, or -1 when one is negative or the product is above `max`. */
int64_t dims_count(const int64_t *dims, int rank, int64_t max);

/* Zeroed; NULL when out of memory, rank or element limit exceeded. */
struct tensor *tensor_new(struct arena *a, int dtype, int rank, const int64_t *dims);

/* Rounds and wraps `x` as a value of that dtype (float: to single; int: truncates; bool: 0 or 1).
 */
double dtype_round(int dtype, double x);

/* Strides in elements for a row-major tensor. */
void dims_strides(const int64_t *dims, int rank, int64_t *strides);

/* Dims of the broadcast of a and b (numpy rules); false when they do not fit. */
bool dims_broadcast(const int64_t *a, int ra, const int64_t *b, int rb, int64_t *out, int *rank);

/* Index into `t` of the element that broadcasts to coordinates `at` of a tensor of rank `rank`. */
size_t tensor_broadcast_index(const struct tensor *t, const int64_t *at, int rank);

#endif
