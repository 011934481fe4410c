/*
 * The class sampler: batches of about P labels x K documents, for losses that
 * need positives and negatives in one batch. The order is a pure function of
 * (labels, P, K, seed, epoch); nothing of it is stored in a checkpoint.
 *
 * What holds for every epoch:
 *  - every document comes at least once. It comes exactly once, except for
 *    documents that complete a batch (below);
 *  - a label's n documents are cut into even chunks of at most max(K, 3), never
 *    of one document when n >= 2 (5 documents with K = 4 are 3 + 2), so no
 *    document is repeated just to fill a chunk. A label with fewer than K
 *    documents comes whole. A label with a single document can't be a positive:
 *    it comes alone, as a negative, and is counted in `singles`;
 *  - chunks of a label go to different batches as long as there are batches;
 *  - batches have nearly equal sizes: the number of batches is ceil(N / (P K)),
 *    the same in every epoch, and no batch has more than sampler_batch_max;
 *  - a batch has documents of two labels at least, and a pair of one label. Where
 *    one label has nearly all documents, or nearly all labels are singles, a
 *    batch is completed by repeating a chunk of a label that it lacks.
 *
 * Scored pairs have no labels: each pair comes exactly once an epoch, in random order,
 * in batches of nearly equal size with two pairs at least. A batch whose scores happen
 * to be all equal teaches nothing and does no harm.
 *
 * A sampler holds one epoch's order, which is made when another epoch is asked
 * for; memory is proportional to the documents. One thread at a time.
 */
#ifndef TRAINER_DATA_SAMPLER_H
#define TRAINER_DATA_SAMPLER_H

#include <stdint.h>

#include "platform/base/err.h"

struct sampler;

struct sampler_info {
    int documents, labels; /* N; labels that have documents */
    int singles;           /* labels with one document */
    int batches;           /* per epoch */
    int batch_max;         /* documents */
    int repeats;           /* documents repeated in the epoch that was asked for last */
};

/* labels (N) are numbers in [0, label_count); the array is copied. ERR_USAGE for P < 2 or K < 2;
 * ERR_FORMAT when there are no two labels, or no label with two documents. */
int sampler_new(struct sampler **out, const int32_t *labels, int n, int label_count, int p, int k,
                uint64_t seed, struct err *e);
/* For pairs of documents (2i, 2i + 1): batches of about `per_batch` pairs, at most one more.
 * ERR_USAGE for per_batch < 2; ERR_FORMAT for fewer than two pairs. */
int sampler_new_pairs(struct sampler **out, int pairs, int per_batch, uint64_t seed, struct err *e);
void sampler_free(struct sampler *s); /* accepts NULL */
const struct sampler_info *sampler_info(const struct sampler *s);

/* Documents of batch `step` in [0, batches), chunk by chunk; borrowed until the next call. */
int sampler_batch(struct sampler *s, uint32_t epoch, int step, const int32_t **indices, int *count,
                  struct err *e);

#endif
