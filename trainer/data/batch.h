/*
 * From documents to the packed batches that the engine takes.
 *
 * A `batch` holds one batch's offsets and ids; it grows to the largest one and
 * is then reused, so that a step allocates nothing. A `plan` is for encoding many
 * documents: ordered by length, in groups within a token budget, with results
 * put back in the documents' own order. One thread each.
 */
#ifndef TRAINER_DATA_BATCH_H
#define TRAINER_DATA_BATCH_H

#include "trainer/data/tokens.h"
#include "trainer/engine/engine.h"

struct batch;

/* Room for so many documents and tokens from the start; it grows when more come. */
int batch_new(struct batch **out, int documents, size_t tokens, struct err *e);
void batch_free(struct batch *b); /* accepts NULL */

/* The packed tokens of documents indices[0..count); borrowed until the next call. */
int batch_fill(struct batch *b, const struct tokens *k, const int32_t *indices, int count,
               const struct token_batch **out, struct err *e);

struct plan_group {
    const int32_t *indices; /* documents of the group */
    int count;
};

struct plan;

/* All documents, longest first (equal lengths in their order, so that the largest group comes first
 * and memory is seen at once). A group has at most `tokens` tokens, or one document. */
int plan_new(struct plan **out, const struct tokens *k, size_t tokens, struct err *e);
void plan_free(struct plan *p); /* accepts NULL */
int plan_groups(const struct plan *p);
struct plan_group plan_group(const struct plan *p, int group);

/* Puts a group's rows (count, dim) where its documents belong in all (N, dim). */
void plan_scatter(const struct plan *p, int group, const float *rows, int dim, float *all);

#endif
