/*
 * Multi-similarity loss (Wang et al. 2019), as pytorch-metric-learning's
 * MultiSimilarityLoss, on cosines s:
 *
 *   1/B sum_i  1/alpha log(1 + sum_pos exp(-alpha (s - base)))
 *            + 1/beta  log(1 + sum_neg exp(beta (s - base)))
 *
 * with its miner, if asked for: a positive counts when s - epsilon is below the
 * anchor's most similar negative, a negative when s + epsilon is above its least
 * similar positive.
 */
#include <math.h>

#include "trainer/learn/loss_int.h"

struct side { /* the positives or the negatives of one anchor */
    int anchor;
    bool same;
    double rate;  /* -alpha or beta */
    double limit; /* mined: beyond it a pair does not count */
};

static bool counts(const struct loss_batch *b, const struct side *s, int j)
{
    double x = loss_row(b, s->anchor)[j];

    if (j == s->anchor || loss_same(b, s->anchor, j) != s->same)
        return false;
    return s->same ? x < s->limit : x > s->limit;
}

/* 1/|rate| log(1 + sum exp(rate (s - base))) and its slopes, divided by B. */
static double side_loss(struct loss_batch *b, const struct side *s)
{
    const float *row = loss_row(b, s->anchor);
    float *grad = loss_grad_row(b, s->anchor);
    double top = 0, sum, sign = s->rate > 0 ? 1 : -1; /* the 1 inside the logarithm is exp(0) */
    int found = 0;

    for (int j = 0; j < b->count; j++)
        if (counts(b, s, j)) {
            top = fmax(top, s->rate * (row[j] - b->options->base));
            found++;
        }
    if (!found)
        return 0;
    b->counted += found;
    sum = exp(-top);
    for (int j = 0; j < b->count; j++)
        if (counts(b, s, j))
            sum += exp(s->rate * (row[j] - b->options->base) - top);
    for (int j = 0; j < b->count; j++)
        if (counts(b, s, j))
            grad[j] +=
                (float)(sign * exp(s->rate * (row[j] - b->options->base) - top) / sum / b->count);
    return (top + log(sum)) / fabs(s->rate);
}

/* Greatest cosine to another label, or smallest to the same one; infinite when there is none. */
static double hardest(const struct loss_batch *b, int anchor, bool same)
{
    double best = same ? INFINITY : -INFINITY;

    for (int j = 0; j < b->count; j++) {
        double x = loss_row(b, anchor)[j];
        if (j != anchor && loss_same(b, anchor, j) == same)
            best = same ? fmin(best, x) : fmax(best, x);
    }
    return best;
}

double loss_multi_similarity(struct loss_batch *b)
{
    const struct loss_options *o = b->options;
    double sum = 0;

    for (int i = 0; i < b->count; i++) {
        struct side positives = {i, true, -o->alpha, INFINITY};
        struct side negatives = {i, false, o->beta, -INFINITY};
        double one;
        if (o->miner == MINE_MULTI_SIMILARITY) {
            positives.limit = hardest(b, i, false) + o->epsilon;
            negatives.limit = hardest(b, i, true) - o->epsilon;
        }
        one = side_loss(b, &positives) + side_loss(b, &negatives);
        b->allowed++;
        b->active += one > 0;
        sum += one;
    }
    return sum / b->count;
}
