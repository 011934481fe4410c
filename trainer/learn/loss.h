/*
 * Losses on a batch of embeddings that have labels (or, in pairs, scores), with
 * their miners: one interface, one table. Formulas, defaults and reductions are those of
 * pytorch-metric-learning 2.x, and of sentence-transformers where a kind says
 * so, so that a recipe carries over; tests hold golden values of both
 * (docs/engine.md has a table).
 *
 *   loss_new -> loss_compute* -> loss_free
 *
 * Memory: two (B, B) and one (B, D) matrix, grown to the largest batch and then
 * kept: never B^3, and nothing is allocated in steady state. Products run on the
 * backend. A loss belongs to one thread.
 */
#ifndef TRAINER_LEARN_LOSS_H
#define TRAINER_LEARN_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/base/err.h"
#include "trainer/engine/backend/backend.h"

enum loss_kind {
    LOSS_IS_TRIPLET,           /* "triplet": normalised Euclidean distances */
    LOSS_IS_CONTRASTIVE,       /* "contrastive": the same */
    LOSS_IS_MULTI_SIMILARITY,  /* "multi-similarity": cosines */
    LOSS_IS_SUPCON,            /* "supcon": cosines */
    LOSS_IS_NEGATIVES_RANKING, /* "multiple-negatives": cosines; a label is never its own negative
                                */
    LOSS_IS_BATCH_HARD,        /* "batch-hard": sentence-transformers', plain distances */
    LOSS_IS_BATCH_SEMIHARD,    /* "batch-semi-hard": sentence-transformers', plain distances */
    LOSS_IS_COSENT,            /* "cosent": sentence-transformers'; cosines of scored pairs */
    LOSS_KINDS
};

/*
 * Which triplets (a, p, n) count, by t = d(a, n) - d(a, p):
 *   ALL t <= m    HARD t <= min(m, 0)    SEMIHARD 0 < t <= m    EASY t > m
 *   NONE: every one
 * BATCH_EASY_HARD picks per anchor, as `positives` and `negatives` say (below);
 * BATCH_HARD is that with hard and hard, EASY_POSITIVE with easy and hard. These are
 * for the triplet loss. MULTI_SIMILARITY is for that loss: pairs that are within
 * epsilon of being harder than the hardest of the other sort. Losses that have no
 * miner take ALL or NONE.
 */
enum miner {
    MINE_ALL,
    MINE_HARD,
    MINE_SEMIHARD,
    MINE_EASY,
    MINE_NONE,
    MINE_BATCH_HARD,
    MINE_EASY_POSITIVE,
    MINE_MULTI_SIMILARITY,
    MINE_BATCH_EASY_HARD,
    MINERS
};

/*
 * How BATCH_EASY_HARD picks. Positives: EASY the nearest, HARD the farthest,
 * SEMIHARD the farthest that is nearer than the picked negative. Negatives: EASY the
 * farthest, HARD the nearest, SEMIHARD the nearest that is farther than the picked
 * positive. ALL: each of them. SEMIHARD can't be with SEMIHARD or ALL.
 */
enum strategy { PICK_EASY, PICK_SEMIHARD, PICK_HARD, PICK_ALL };

/* Zeroed, it is the triplet loss with every default. A number that is 0 means its default. */
struct loss_options {
    enum loss_kind kind;
    float margin; /* triplet .05; contrastive: of negatives, 1; batch-hard, batch-semi-hard 5 */
    enum miner miner;
    enum strategy positives, negatives; /* of BATCH_EASY_HARD alone */
    float miner_margin;                 /* m above; 0: as `margin` */
    bool swap;                          /* triplet: d(p, n) where it is smaller than d(a, n) */
    bool smooth;                        /* triplet: log(1 + exp(.)) instead of max(., 0) */
    float temperature;                  /* supcon .1, multiple-negatives and cosent .05 */
    float alpha, beta, base;            /* multi-similarity 2, 50, .5 */
    float epsilon;                      /* its miner: .1 */
};

/* What is known of a batch's rows; borrowed. */
struct loss_rows {
    int count, dim;
    const int32_t *labels; /* (count); with scores: the pair's number */
    const int32_t *texts;  /* (count) equal numbers, equal texts: multiple-negatives never takes
                              one for the other's negative; NULL: all differ */
    const double *scores;  /* (count / 2) of the pairs of rows (2i, 2i + 1); NULL: labels count */
};

struct loss_stats {
    double loss;
    int64_t triplets; /* that the miner let through; pairs where the loss is about pairs */
    double active;    /* those with a loss, as a share of all that the batch's labels allow; of
                         two scored pairs: those in the wrong order */
    double positive, negative; /* mean distances of pairs of one label, of two labels */
    double similarity;         /* mean cosine of all pairs: near 1, the embeddings collapse */
};

struct loss;

/* ERR_CONFIG: numbers that make no sense, or an option that this loss does not have. */
int loss_check(const struct loss_options *, struct err *e);
/* Errors as loss_check, and ERR_NOMEM. */
int loss_new(struct loss **out, const struct loss_options *, struct err *e);
void loss_free(struct loss *); /* accepts NULL */

/* Embeddings (count, dim) and their gradient `d_out`, dense rows; they may not overlap. A batch
 * without a triplet has loss 0 and gradient 0. ERR_FORMAT when an embedding is not finite. */
int loss_compute(struct loss *, struct backend *, const float *embeddings,
                 const struct loss_rows *rows, float *d_out, struct loss_stats *, struct err *e);

/* Does it learn from scored pairs (and from them alone)? */
bool loss_kind_scored(enum loss_kind kind);

const char *loss_kind_name(enum loss_kind kind);
int loss_kind_parse(const char *text, enum loss_kind *kind); /* 0 or -1 */
const char *miner_name(enum miner miner);
int miner_parse(const char *text, enum miner *miner); /* 0 or -1 */

#endif
