/*
 * Retrieval metrics over labeled embeddings, leave-one-out: every document is a
 * query against all the others, ranked by cosine, equal similarities by the lower
 * index. Relevant is what has the query's label. A query without another relevant
 * document is excluded, and counted. All are means over the queries (in order, in
 * double): the same bytes on every machine and for every instruction set.
 *
 *   R: relevant documents of a query; rel(i): 1 when the i-th result is relevant
 *   precision@1  rel(1)
 *   recall@k     sum_{i<=k} rel(i) / R
 *   mAP@k        sum_{i<=k} rel(i) * precision@i / min(R, k)
 *   nDCG@k       sum_{i<=k} rel(i) / log2(i + 1), over the same with all of min(R, k) first
 *   MRR@k        1 / rank of the first relevant one when it is <= k, else 0
 *   hit@k        1 when there is a relevant one among k
 *   R-precision  sum_{i<=R} rel(i) / R
 *
 * Scored pairs have two others: how the cosines of the pairs correlate with their
 * scores, by value (Pearson) and by rank (Spearman; equal ones share their mean rank).
 */
#ifndef TRAINER_DATA_METRICS_H
#define TRAINER_DATA_METRICS_H

#include <stdint.h>

#include "platform/base/err.h"

/* What was measured: retrieval (pairs is 0), or similarity (k is 0, and so is all of retrieval). */
struct retrieval {
    int k, queries, excluded;
    double precision_at_1, recall_at_k, map_at_k, ndcg_at_k, mrr_at_k, hit_at_k, r_precision;
    int pairs;
    double spearman, pearson;
};

/* embeddings (n, dim) row-major, any length; a zero row has cosine 0 with all. labels (n).
 * ERR_FORMAT names a row that is not finite; with no query at all every metric is 0. */
int metrics_retrieval(struct retrieval *out, const float *embeddings, int n, int dim,
                      const int32_t *labels, int k, struct err *e);

/* embeddings (2 pairs, dim): rows 2i and 2i + 1 are a pair. Cosines that are all equal, as those of
 * a collapsed model, have correlation 0. ERR_FORMAT: all scores are equal, or a row is not finite.
 */
int metrics_similarity(struct retrieval *out, const float *embeddings, const double *scores,
                       int pairs, int dim, struct err *e);

#endif
