/*
 * The operators' case table and what runs a case on a backend. Every test in
 * this folder walks the same table, so that a new operator or attribute is one
 * line here. Test code: one thread, memory from the backend, asserts by cmocka.
 */
#ifndef TESTS_OPS_CASES_H
#define TESTS_OPS_CASES_H

#include "trainer/engine/backend/backend.h"

enum { ROWS_T = -1, ROWS_N = -2, DOCS_MAX = 8 }; /* rows of an input: tokens, documents, or fixed */

/* Inputs: what their numbers look like. */
enum values {
    VALUES_NORMAL, /* normal, sigma 1 */
    VALUES_WIDE,   /* sigma 1, times 2^k, k even in [-6, 6] */
    VALUES_TINY,   /* sigma 1e-4 */
    VALUES_LARGE,  /* sigma 50 */
    VALUES_EQUAL,  /* all the same number in a matrix */
    VALUES_ZERO,
    VALUES_OUTLIERS, /* normal, one in 41 times 1000 */
    VALUES_COUNT
};

struct op_case {
    const char *name;
    enum op_code op;
    struct op_attrs attrs;
    int in_count;
    int shape[OP_INS][2]; /* rows (ROWS_T, ROWS_N or a number), columns */
    int out_cols;
    bool positive;   /* in[0] must be positive (sqrt) or away from zero (right side of div) */
    unsigned values; /* bit v: compared on enum values v */
    /* Greatest difference between a fast backend and the oracle, in units in the last place.
     * Forward: of the element itself when `element`, else of the greatest element of the matrix.
     * Backward: of the greatest element of the gradient; where slopes saturate (activations,
     * softmax), of the greatest element of d_out if that is more. */
    bool element;
    double forward_ulp, backward_ulp;
};

struct doc_shape {
    const char *name;
    int count;
    int lengths[DOCS_MAX];
};

extern const struct op_case op_cases[];
extern const int op_case_count;
extern const struct doc_shape doc_shapes[];
extern const int doc_shape_count;

/* One case with its memory on one backend. */
struct op_run {
    struct backend *backend;
    const struct op_case *kase;
    struct op_call call;
    struct op_plan plan;
    int32_t offsets[DOCS_MAX + 1];
    int32_t *ids, *ids_row;
    float *memory[32]; /* all that `call` points into */
    int memory_count;
    size_t guard; /* padding between rows: `guard` floats that nobody may touch */
};

/* Makes inputs from `seed`; the same seed gives the same numbers on every backend. `pad` columns
 * lie between the rows of every matrix. */
void op_run_init(struct op_run *run, struct backend *b, const struct op_case *c,
                 const struct doc_shape *docs, enum values values, int pad, uint64_t seed);
void op_run_release(struct op_run *run);

/* As a program would: work is garbage before each call; before backward what the plan does not need
 * is garbage too. `d_add`: the gradients hold 1/2 before. */
void op_run_forward(struct op_run *run);
void op_run_backward(struct op_run *run, bool d_add);

/* Fails the test when a guard between rows was written. */
void op_run_check_guards(const struct op_run *run);

/* Greatest difference in units in the last place of `scale`; 0: of each element of `want`. */
double op_mat_ulp(const struct mat *got, const struct mat *want, double scale);
double op_mat_top(const struct mat *m); /* greatest absolute value */

/* A number in [0, 2^32) that depends on seed and index only. */
uint32_t op_random(uint64_t seed, uint64_t index);
double op_normal(uint64_t seed, uint64_t index);

/* The fast backends that this machine can run: "cpu/avx2/own", ...; NULL at the end. */
struct backend *op_backend_next(int *index, int threads);

#endif
