/*
 * NumPy's .npy files: two-dimensional float32 written as version 1.0; float32
 * and int32 read (versions 1.0 to 3.0, little-endian, C order, one or two
 * dimensions). Headers are parsed strictly: they come from outside.
 */
#ifndef TRAINER_DATA_NPY_H
#define TRAINER_DATA_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

#define NPY_BYTES_MAX ((size_t)1 << 36)

enum npy_type { NPY_FLOAT32, NPY_INT32 };

struct npy {
    enum npy_type type;
    size_t rows, columns; /* columns 1 for one dimension */
    int dimensions;       /* 1 or 2 */
    void *data;           /* rows x columns numbers, row-major; owned: npy_release */
};

/* Whole or not at all. */
int npy_write_f32(const char *path, const float *data, size_t rows, size_t columns, struct err *e);

/* ERR_FORMAT, ERR_UNSUPPORTED (names type or order), ERR_LIMIT, ERR_NOT_FOUND, ERR_IO. */
int npy_read(struct npy *out, const char *path, struct err *e);
int npy_parse(struct npy *out, const char *name, const void *bytes, size_t n, struct err *e);
void npy_release(struct npy *a); /* accepts a zeroed one */

#endif
