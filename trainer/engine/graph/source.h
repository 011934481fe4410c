/*
 * The source graph: what the user gave, immutable. Read from ONNX by onnx/read.c;
 * the program is built from it, inspect shows it, export copies it.
 *
 * Values are named edges: a graph input, an initializer, or a node's output. Nodes
 * are in topological order (checked). Bulk data stays in the mapped file; a
 * source_tensor only points into it. Owned by one engine; read-only after reading,
 * so any thread may read it.
 */
#ifndef TRAINER_ENGINE_GRAPH_SOURCE_H
#define TRAINER_ENGINE_GRAPH_SOURCE_H

#include "platform/base/arena.h"
#include "platform/base/err.h"
#include "trainer/engine/tensor/tensor.h"

/* An initializer, or a tensor attribute. */
struct source_tensor {
    const char *name;
    int dtype, rank;
    int64_t dims[TENSOR_RANK];
    size_t count;
    const unsigned char *data; /* little-endian elements, count * dtype_size, maybe unaligned */
};

enum attr_kind {
    ATTR_FLOAT = 1,
    ATTR_INT = 2,
    ATTR_STRING = 3,
    ATTR_TENSOR = 4,
    ATTR_GRAPH = 5,
    ATTR_FLOATS = 6,
    ATTR_INTS = 7,
    ATTR_OTHER = 99
};

struct source_attr {
    const char *name;
    int kind;
    float f;
    int64_t i;
    const char *s; /* NUL-terminated */
    const int64_t *ints;
    const float *floats;
    int count;
    struct source_tensor *tensor;
};

struct source_node {
    const char *op, *name, *domain;
    int in_count, out_count, attr_count;
    int *in, *out; /* value indices; -1: an absent optional */
    struct source_attr *attrs;
};

struct source_value {
    const char *name;
    int node;        /* producer, -1: none */
    int output;      /* which of the producer's */
    int initializer; /* index, or -1 */
    int input;       /* graph input index, or -1 */
    int uses;        /* by nodes and graph outputs */
};

struct source_input {
    const char *name;
    int value, dtype, rank;    /* rank -1: unknown */
    int64_t dims[TENSOR_RANK]; /* -1: a symbol */
};

struct source {
    struct arena arena;
    const char *path, *producer;
    int opset;
    int64_t ir_version;
    const unsigned char *map; /* the whole file */
    size_t map_len;
    struct source_value *values;
    struct source_node *nodes;
    struct source_tensor *initializers;
    struct source_input *inputs; /* real inputs: those that are not initializers too */
    int *outputs;
    int value_count, node_count, initializer_count, input_count, output_count;
    int32_t *table; /* hash of names to values */
    size_t table_size;
};

/* -1: no such value. */
int source_find(const struct source *s, const char *name);
/* Finds or adds; -1: out of memory or table full (the reader sizes the table first). */
int source_intern(struct source *s, const char *name);

const struct source_attr *source_attr(const struct source_node *n, const char *name);
int64_t source_attr_int(const struct source_node *n, const char *name, int64_t otherwise);
float source_attr_float(const struct source_node *n, const char *name, float otherwise);
const char *source_attr_text(const struct source_node *n, const char *name, const char *otherwise);

/* Elements as doubles; NULL: out of memory, too large, or a dtype without numbers. */
struct tensor *source_tensor_read(const struct source_tensor *t, struct arena *a);

/* All elements are the same. */
bool source_tensor_constant(const struct source_tensor *t);

/* "MatMul '/encoder/layer.0/query/MatMul'" for messages; in a rotating thread-local buffer of 4. */
const char *source_node_text(const struct source_node *n);

#endif
