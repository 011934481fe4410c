/*
 * Documents through a model: embeddings of a whole dataset, retrieval metrics
 * of a labeled one, correlations of scored pairs, and their names as the project
 * writes them everywhere.
 */
#ifndef TRAINER_EVALUATE_H
#define TRAINER_EVALUATE_H

#include "platform/base/err.h"
#include "schemas/record.h"
#include "trainer/data/metrics.h"
#include "trainer/data/tokens.h"
#include "trainer/engine/engine.h"

typedef void (*evaluate_progress_fn)(void *arg, int done, int total);

/* out (N, dim), the documents in their own order. `progress` may be NULL. */
int evaluate_encode(struct engine *, const struct tokens *, float *out,
                    evaluate_progress_fn progress, void *arg, struct err *e);

/* Encodes and measures a dataset by its kind: leave-one-out retrieval over labeled documents, or
 * how cosines correlate with the scores of pairs. */
int evaluate_dataset(struct engine *, const struct tokens *, const struct dataset *, int k,
                     struct retrieval *out, struct err *e);
/* The same on what was encoded, (N, dim). */
int evaluate_vectors(const float *vectors, int dim, const struct dataset *, int k,
                     struct retrieval *out, struct err *e);

/* How many numbers: "precision_at_1", "recall_at_k", "map_at_k", "ndcg_at_k", "mrr_at_k",
 * "hit_at_k", "r_precision"; of scored pairs "spearman", "pearson". */
enum { EVALUATE_METRICS = 7 };
int evaluate_numbers(const struct retrieval *r, struct record_number out[EVALUATE_METRICS]);

/* All of an evaluation as numbers, for a checkpoint, and back. */
enum { EVALUATE_PACKED = EVALUATE_METRICS + 6 };
void evaluate_pack(const struct retrieval *r, double out[EVALUATE_PACKED]);
void evaluate_unpack(const double packed[EVALUATE_PACKED], struct retrieval *out);

#endif
