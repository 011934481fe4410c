/*
 * Terms: what the builder knows of a source value. Shared inside graph/ only.
 *
 * A term is kept symbolic as long as a fused operator may still come of it: the
 * pieces of a layer norm, a GELU's polynomial, attention scores. It is a value of
 * the walk, not of the graph's pattern, so order, commuting, casts and reshapes in
 * between do not matter.
 */
#ifndef TRAINER_ENGINE_GRAPH_BUILD_INT_H
#define TRAINER_ENGINE_GRAPH_BUILD_INT_H

#include "trainer/engine/graph/build.h"
#include "trainer/engine/graph/eval.h"
#include "trainer/engine/graph/layout.h"

enum { PROBE_DOCS = 5 };

enum term_kind {
    TERM_NONE,      /* not expressed: `why` */
    TERM_EVAL,      /* known at every probe: eval[] */
    TERM_PARAM,     /* a view of an initializer */
    TERM_VALUE,     /* a function of one program value, see `fn` */
    TERM_MEAN,      /* mean of x over its columns */
    TERM_CENTERED,  /* x - mean x */
    TERM_SQUARED,   /* (x - mean x)^2 */
    TERM_VARIANCE,  /* its mean, + eps */
    TERM_DEVIATION, /* sqrt(variance + eps) */
    TERM_INVERSE,   /* 1 / deviation */
    TERM_NORMED,    /* centered / deviation [* gamma] */
    TERM_SCORES,    /* scale q k^T [+ mask] */
    TERM_PROBS,     /* softmax of scores */
    TERM_PROBS_NAN, /* IsNaN of it: never, packed */
    TERM_POOL_SUM,  /* sum of x over a document's tokens (of max(x, eps)^power when power) */
    TERM_POOL_MEAN, /* mean of max(x, eps)^power over them */
    TERM_CLIPPED,   /* max(x, eps) */
    TERM_POWERED,   /* max(x, eps)^power */
    TERM_LAST,      /* x at each document's last token, 0 elsewhere */
    TERM_LENGTH     /* max(|x|, eps) of a row */
};

enum { POLY = 4 };
enum fn { FN_NONE, FN_ERF, FN_TANH, FN_SIGMOID };

/*
 * TERM_VALUE over x = program value `value`:
 *   fn none:  p(x) = p[0] + p[1] x + p[2] x^2 + p[3] x^3
 *   else:     (q0 + q1 fn(p(x))) * (times_x ? x : 1)
 */
struct term {
    enum term_kind kind;
    struct layout lay;
    struct tensor *eval[PROBES];
    int value;
    enum fn fn;
    bool times_x;
    double p[POLY], q0, q1, eps, power;
    int initializer, identity; /* TERM_PARAM */
    size_t offset;
    int gamma; /* TERM_NORMED: program value, -1 none */
    int q, k;  /* TERM_SCORES, TERM_PROBS */
    double scale;
    int heads;
    bool causal;
    unsigned char *allowed[PROBES]; /* (docs, tokens, tokens), NULL: no mask yet */
    const char *why;
    int failed; /* source node */
};

struct builder {
    const struct source *s;
    struct program *p;
    struct arena arena;
    struct term *terms; /* one per source value */
    struct probe_size sizes[PROBES];
    int lens[PROBES][PROBE_DOCS];
    struct tensor *ids[PROBES], *types[PROBES], *mask[PROBES], *positions[PROBES];
    struct build_inputs inputs;
    int node;      /* being walked */
    int *param_of; /* source value -> program parameter, -1 */
};

/* Roles of the inputs, their terms, the probes. */
int probe_setup(struct builder *b, struct err *e);

struct term *build_in(struct builder *b, int input);   /* NULL: absent */
struct term *build_out(struct builder *b, int output); /* a scratch term when nobody reads it */
int build_fail(struct builder *b, struct err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A term that is one program value with this layout. */
void term_set_value(struct term *t, int value, const struct layout *lay);
bool term_is_plain(const struct term *t);
/* Makes the term plain, emitting nodes. Returns the program value or an error. */
int term_plain(struct builder *b, struct term *t, enum space *space, struct err *e);
/* The layer norm of a TERM_NORMED; beta: a program value, -1 for none. */
int norm_emit(struct builder *b, const struct term *t, int beta, struct err *e);
enum space layout_space(const struct layout *l);
int build_emit(struct builder *b, enum op_code op, const struct op_attrs *a, const int *in, int n,
               enum space space, int cols, struct err *e);

/* The program parameter of a TERM_PARAM. */
int build_param(struct builder *b, const struct term *t, struct err *e);
/* A row (1, cols) view of a parameter that lies along the columns of `lay`. */
int build_row(struct builder *b, const struct term *param, const struct layout *lay, int cols,
              struct err *e);

/* Coordinates of an element in packed terms; -1: the tensor has no such axis. */
struct coord {
    int doc, tok, key;
    int64_t col;
};
/* How an evaluated tensor looks from packed rows. */
enum seen {
    SEEN_UNIFORM, /* one number everywhere that a real token looks */
    SEEN_ROW,     /* depends on the column only: row[] */
    SEEN_OTHER
};
/* Broadcasts eval over `lay`; writes the layout of the result. False: shapes that can't be told. */
typedef bool (*visit_fn)(void *arg, int probe, const struct coord *c, double x);
bool build_visit(struct builder *b, const struct layout *lay, struct tensor *const eval[PROBES],
                 struct layout *out, visit_fn fn, void *arg);
enum seen build_see(struct builder *b, const struct layout *lay, struct tensor *const eval[PROBES],
                    struct layout *out, double *number, float **row, int cols);
bool eval_number(struct tensor *const eval[PROBES], double *x); /* one element, same everywhere */
/* Broadcast of two layouts; `strides`: columns must be the same ones. */
bool layout_join(const struct layout *a, const struct layout *b, bool strides, struct layout *out);

typedef int (*rule_fn)(struct builder *, const struct source_node *, struct err *);
int rule_pass(struct builder *b, const struct source_node *n, struct err *e);
int rule_identity(struct builder *b, const struct source_node *n, struct err *e);
int rule_reshape(struct builder *b, const struct source_node *n, struct err *e);
int rule_transpose(struct builder *b, const struct source_node *n, struct err *e);
int rule_expand(struct builder *b, const struct source_node *n, struct err *e);
int rule_slice(struct builder *b, const struct source_node *n, struct err *e);
int rule_split(struct builder *b, const struct source_node *n, struct err *e);
int rule_gather(struct builder *b, const struct source_node *n, struct err *e);
int rule_unary(struct builder *b, const struct source_node *n, struct err *e);
int rule_gelu(struct builder *b, const struct source_node *n, struct err *e);
int rule_arithmetic(struct builder *b, const struct source_node *n, struct err *e);
int rule_pow(struct builder *b, const struct source_node *n, struct err *e);
int rule_where(struct builder *b, const struct source_node *n, struct err *e);
int rule_reduce(struct builder *b, const struct source_node *n, struct err *e);
int rule_clip(struct builder *b, const struct source_node *n, struct err *e);
int rule_layer_norm(struct builder *b, const struct source_node *n, struct err *e);
int rule_matmul(struct builder *b, const struct source_node *n, struct err *e);
int rule_gemm(struct builder *b, const struct source_node *n, struct err *e);
int rule_softmax(struct builder *b, const struct source_node *n, struct err *e);
int rule_isnan(struct builder *b, const struct source_node *n, struct err *e);

/* Pieces of rule_arithmetic. 1: it was this; 0: not; negative: an error. */
enum arith { ARITH_ADD, ARITH_SUB, ARITH_MUL, ARITH_DIV };
int norm_arithmetic(struct builder *b, enum arith op, struct term *x, struct term *y,
                    struct term *out, struct err *e);
/* x times a mask that is 1 at each document's last token only. */
bool last_token(struct builder *b, const struct term *x, struct tensor *const eval[PROBES]);
int norm_pow(struct builder *b, struct term *x, double k, struct term *out, struct err *e);
int scores_arithmetic(struct builder *b, enum arith op, struct term *x, struct term *y,
                      struct term *out, struct err *e);
int poly_number(struct builder *b, enum arith op, struct term *x, double number, bool left,
                struct term *out, struct err *e);
int poly_product(struct builder *b, const struct term *x, const struct term *y, struct term *out);
int scores_fill(struct builder *b, struct term *scores, struct tensor *const cond[PROBES],
                bool fill_where, struct tensor *const fill[PROBES], struct term *out,
                struct err *e);

#endif
