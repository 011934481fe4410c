/*
 * The program's operators: what graph/ emits, what a backend offers.
 *
 * Text runs packed. A lane holds N whole documents whose real tokens lie one
 * after another: T rows, document i owns rows [offsets[i], offsets[i+1]). A
 * value of a program is a matrix of float, row-major, in one of three spaces:
 *
 *   SPACE_TOKENS  (T, C)  a row per real token of the lane
 *   SPACE_DOCS    (N, C)  a row per document
 *   SPACE_FIXED   (R, C)  a parameter or a constant; the same for every lane
 *
 * No padding token exists, so nothing is masked and no row is ever wasted.
 * Every op has one output. Shapes below: X is TOKENS or DOCS with R rows.
 */
#ifndef TRAINER_ENGINE_OP_OP_H
#define TRAINER_ENGINE_OP_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum space { SPACE_TOKENS, SPACE_DOCS, SPACE_FIXED };

/*
 * Each has a name and a text. Its inputs and its one output (an input in [] may be left out):
 *
 *   EMBED        table (V, C)                         (T, C)  table[ids[t]]; which ids: attrs.ids
 *   LINEAR       x (R, I), w, [bias (1, O)]           (R, O)  act(x w + bias); w is (I, O), or
 *                                                             (O, I) when attrs.w_rows_out
 *   LAYER_NORM   x (R, C), gamma, beta (1, C),        (R, C)  (z - mean z) / sqrt(var z + eps) *
 *                [r (R, C)]                                   gamma + beta, z = x + r; biased
 *                                                             variance (Ba et al. 2016)
 *   ATTENTION    q, k, v (T, heads * d)               as q    per document and head:
 *                                                             softmax(scale q k^T) v; causal: only
 *                                                             keys at or before the query
 *   ACT          x                                    as x    act(x)
 *   ADD SUB      a (R, C), b: (R, C), a row (1, C),   (R, C)  a + b, a - b, a b, a / b
 *   MUL DIV      a column (R, 1), a scalar (1, 1)
 *   AFFINE       x                                    as x    scale * x + shift
 *   POOL         x (T, C)                             (N, C)  per document: attrs.pool
 *   L2_NORM      x (R, C)                             (R, C)  x / max(|x|, eps) per row
 *                                                             (torch.nn.functional.normalize)
 *   SLICE_COLS   x (R, C)                             (R, n)  columns [begin, begin + n)
 *   CONCAT_COLS  2 to OP_INS matrices of R rows       (R, .)  side by side
 */
#define OPS(X)                                                                                     \
    X(EMBED, "embed")                                                                              \
    X(LINEAR, "linear")                                                                            \
    X(LAYER_NORM, "layer_norm")                                                                    \
    X(ATTENTION, "attention")                                                                      \
    X(ACT, "act")                                                                                  \
    X(ADD, "add")                                                                                  \
    X(SUB, "sub")                                                                                  \
    X(MUL, "mul")                                                                                  \
    X(DIV, "div")                                                                                  \
    X(AFFINE, "affine")                                                                            \
    X(POOL, "pool")                                                                                \
    X(L2_NORM, "l2_norm")                                                                          \
    X(SLICE_COLS, "slice_cols")                                                                    \
    X(CONCAT_COLS, "concat_cols")

enum op_code {
#define X(name, text) OP_##name,
    OPS(X)
#undef X
        OP_COUNT
};

enum { OP_INS = 4 };

/* GELU_ERF: x Phi(x); GELU_TANH: its tanh approximation (Hendrycks & Gimpel 2016); GELU_QUICK: x
 * sigmoid(1.702 x). */
enum act {
    ACT_NONE,
    ACT_RELU,
    ACT_GELU_ERF,
    ACT_GELU_TANH,
    ACT_GELU_QUICK,
    ACT_TANH,
    ACT_SIGMOID,
    ACT_SILU,
    ACT_ERF,
    ACT_EXP,
    ACT_SQRT,
    ACT_COUNT
};

/* GEM: (mean_t max(x, eps)^p)^(1/p), generalised mean (Radenovic et al. 2018), p = attrs.power, eps
 * = attrs.eps. LAST: the last token. */
enum pool { POOL_MEAN, POOL_MAX, POOL_CLS, POOL_LAST, POOL_GEM, POOL_NONE };

/* POSITION ids are attrs.ids_shift + (index of the token in its document). */
enum ids { IDS_TOKEN, IDS_TYPE, IDS_POSITION };

struct op_attrs {
    enum act act;
    enum pool pool;
    enum ids ids;
    int ids_shift;
    float eps, scale, shift, power;
    int heads;
    bool causal;
    bool w_rows_out;
    int begin, count;
};

/* A matrix in memory that the backend can read: row r begins at data + r * ld. */
struct mat {
    float *data; /* NULL: absent (an optional input, a gradient that nobody wants) */
    int rows, cols, ld;
};

/* The lane's documents. */
struct docs {
    int count;              /* N */
    const int32_t *offsets; /* N + 1, ascending; offsets[N] = T; a document may be empty */
};

/*
 * One call of one op on one lane. forward reads in[], writes out and may keep
 * what its backward needs in `saved`. backward reads in[], out, saved, d_out and
 * writes d_in[i] where d_in[i].data: adds when bit i of d_add is set, else
 * overwrites. in[], out and d_in[] never alias, except that plan may allow
 * out = in[0] (op_plan.in_place).
 *
 * EMBED backward: d_in[0] is compact, (U, C) for the U distinct ids of the
 * batch; token t adds to row ids_row[t]. Tokens are added in order.
 */
struct op_call {
    const struct op_attrs *attrs;
    struct docs docs;
    const int32_t *ids;     /* EMBED: T ids, already checked against V */
    const int32_t *ids_row; /* EMBED backward */
    int in_count;
    struct mat in[OP_INS];
    struct mat out;
    struct mat d_out;
    struct mat d_in[OP_INS];
    unsigned d_add;
    float *saved; /* op_plan.saved_floats, written by forward */
    float *work;  /* op_plan.work_floats, scratch */
    void *cache;  /* the backend's own, one per (op node, lane); made by plan's owner with
                     backend_cache_new */
};

/* What a node needs at a capacity of T tokens and N documents per lane. */
struct op_plan {
    size_t saved_floats; /* 0 when inference only */
    size_t work_floats;  /* max of forward and backward */
    bool needs_out;      /* backward reads `out`: it must be kept */
    unsigned needs_in;   /* bit i: backward reads in[i] */
    bool in_place;       /* out may be in[0]'s memory when in[0] dies here */
};

const char *op_name(enum op_code op);
const char *act_name(enum act act);
const char *pool_name(enum pool pool);             /* "mean", "max", "cls", "last", "gem", "none" */
int pool_parse(const char *text, enum pool *pool); /* 0 or -1 */

#endif
