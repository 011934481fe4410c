/*
 * How a tensor of the source graph, of any rank, lies over the packed matrix that
 * stands for it. Every axis is a product of atoms: documents, tokens, key tokens (the
 * second token axis of attention scores), and pieces of the columns. Reshape and
 * transpose only regroup and permute atoms, so they cost nothing and need no pattern:
 * [B, S, 384] -> [B, S, 12, 32] -> [B, 12, S, 32] is the same matrix seen differently.
 *
 * The same algebra views parameters: there a column atom's stride counts elements of
 * the initializer, and a token atom indexes rows by position.
 */
#ifndef TRAINER_ENGINE_GRAPH_LAYOUT_H
#define TRAINER_ENGINE_GRAPH_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/engine/tensor/tensor.h"

enum { PROBES = 3 }; /* shapes that a source graph is tried at */
enum { ATOMS = 24 };

enum atom_kind { ATOM_DOC, ATOM_TOK, ATOM_KEY, ATOM_COL };

struct atom {
    enum atom_kind kind;
    int64_t size;   /* COL only; the others have the probe's size */
    int64_t stride; /* COL: columns (a value) or elements (a parameter); TOK of a parameter too */
};

struct layout {
    int rank;
    int first[TENSOR_RANK + 1]; /* axis i has atoms [first[i], first[i + 1]); none: size 1 */
    struct atom atoms[ATOMS];
};

struct probe_size {
    int docs, tokens;
};

int64_t atom_size(const struct atom *a, const struct probe_size *p);
void layout_dims(const struct layout *l, const struct probe_size *p, int64_t *dims);
void layout_clear(struct layout *l);
/* Appends an axis with `count` atoms; false when full. */
bool layout_axis(struct layout *l, const struct atom *atoms, int count);
/* Merges neighbouring column atoms of one axis that continue each other. */
void layout_normalise(struct layout *l);
bool layout_has(const struct layout *l, enum atom_kind kind);
int layout_axis_of(const struct layout *l, enum atom_kind kind); /* -1: none */
bool layout_axis_is(const struct layout *l, int axis,
                    enum atom_kind kind); /* one atom, that kind */
static inline int layout_axis_atoms(const struct layout *l, int axis)
{
    return l->first[axis + 1] - l->first[axis];
}

/* The same elements with other axes; dims per probe. False: it would mix what can't be told. */
bool layout_reshape(const struct layout *l, const struct probe_size sizes[PROBES],
                    int64_t dims[PROBES][TENSOR_RANK], int rank, struct layout *out);
void layout_transpose(const struct layout *l, const int64_t *perm, struct layout *out);
bool layout_axis_equal(const struct layout *a, int i, const struct layout *b, int k, bool strides);
bool layout_equal(const struct layout *a, const struct layout *b);

/* Atoms for an axis whose size at the probes is size[]; false: neither documents nor tokens. */
bool layout_guess(const struct probe_size sizes[PROBES], const int64_t size[PROBES],
                  struct atom *atoms, int *count);

/* Columns are there completely, each once, in order (in the whole layout). */
bool layout_columns_whole(const struct layout *l, int cols);

#endif
