/*
 * From a source graph to a program. The graph is walked once, at several probe
 * shapes at the same time: what depends only on shapes, masks, ids and constants is
 * evaluated at each probe; the rest becomes terms (build_int.h) and, when a term is
 * really needed, nodes. Nothing fails while walking: a value that can't be expressed
 * remembers why, and only who needs it reports that.
 */
#ifndef TRAINER_ENGINE_GRAPH_BUILD_H
#define TRAINER_ENGINE_GRAPH_BUILD_H

#include "trainer/engine/graph/program.h"

struct builder;

/* What each graph input is. */
struct build_inputs {
    int ids, mask, types, positions; /* source input index, -1: not there */
};

/* The program holds every node that was found; the caller cuts and prunes. `s` and `p` outlive it.
 */
int build_program(struct builder **out, const struct source *s, struct program *p, struct err *e);
void build_free(struct builder *b); /* accepts NULL */
const struct build_inputs *build_inputs(const struct builder *b);

/* The program's value for a source value; materialises it. ERR_UNSUPPORTED tells why not. */
int build_value(struct builder *b, int source_value, struct err *e);

/* Why a source value is not expressed (the first node that failed on its way); NULL: it is. */
const char *build_why(const struct builder *b, int source_value);
/* The node where that began; -1. */
int build_failed_node(const struct builder *b, int source_value);

/* Why an initializer is never trained but evaluated with the graph; NULL: it is learnt where the
 * computation uses it. Static text. */
const char *build_constant(const struct source_tensor *t);

/* What a source value looks like, for cutting: a matrix over tokens / documents with whole columns.
 */
bool build_is_rows(const struct builder *b, int source_value, enum space *space, int *cols);
/* The program value if it exists already (no materialising); -1. */
int build_existing(const struct builder *b, int source_value);

#endif
