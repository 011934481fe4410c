/* Shared by the losses: what each gets and gives. */
#ifndef TRAINER_LEARN_LOSS_INT_H
#define TRAINER_LEARN_LOSS_INT_H

#include "trainer/learn/loss.h"

/*
 * A batch as a loss sees it: `mat` (B, B) holds distances or cosines; the loss
 * fills `grad` (B, B), zero before, with its slope by each element (not
 * symmetric: row = anchor), and returns its value.
 */
struct loss_batch {
    const struct loss_options *options; /* defaults filled in */
    int count;                          /* B */
    const int32_t *labels, *texts;      /* of loss_rows */
    const double *scores;
    const float *mat;
    float *grad;
    int64_t counted; /* triplets or pairs that the miner let through */
    int64_t active;  /* those with a loss */
    int64_t allowed; /* those that the labels allow */
};
typedef double (*loss_fn)(struct loss_batch *);

double loss_triplet(struct loss_batch *);
double loss_contrastive(struct loss_batch *);
double loss_multi_similarity(struct loss_batch *);
double loss_supcon(struct loss_batch *);
double loss_negatives_ranking(struct loss_batch *);
double loss_batch_hard(struct loss_batch *);
double loss_batch_semihard(struct loss_batch *);
double loss_cosent(struct loss_batch *);

static inline bool loss_same(const struct loss_batch *b, int i, int j)
{
    return b->labels[i] == b->labels[j];
}

static inline bool loss_positive(const struct loss_batch *b, int i, int j)
{
    return i != j && loss_same(b, i, j);
}

static inline const float *loss_row(const struct loss_batch *b, int i)
{
    return b->mat + (size_t)i * (size_t)b->count;
}

static inline float *loss_grad_row(const struct loss_batch *b, int i)
{
    return b->grad + (size_t)i * (size_t)b->count;
}

/* All slopes times `by`. */
void loss_scale(struct loss_batch *, double by);

/* The anchor's nearest row that is farther than `bound`, or its farthest that is nearer: of the
 * other rows of its label (`same`), or of the other labels; the first of equals; -1: none. */
int miner_nearest(const struct loss_batch *, int anchor, bool same, float bound);
int miner_farthest(const struct loss_batch *, int anchor, bool same, float bound);

/* The anchor's partners by the strategies of BATCH_EASY_HARD; -1: none, or each (ALL). */
void miner_pick(const struct loss_batch *, int anchor, int *positive, int *negative);

#endif
