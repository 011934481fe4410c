/*
 * Triplet margin loss (Schroff et al. 2015), as pytorch-metric-learning's
 * TripletMarginLoss: max(0, d(a, p) - d(a, n) + margin), averaged over the
 * triplets whose loss is not zero, out of those that the miner lets through.
 */
#include <math.h>

#include "trainer/learn/loss_int.h"

static bool mined(const struct loss_options *o, float gap)
{
    switch (o->miner) {
    case MINE_HARD:
        return gap <= o->miner_margin && gap <= 0;
    case MINE_SEMIHARD:
        return gap <= o->miner_margin && gap > 0;
    case MINE_EASY:
        return gap > o->miner_margin;
    case MINE_ALL:
        return gap <= o->miner_margin;
    default:
        return true;
    }
}

/* Value and slope of the loss at a violation of the margin. */
static double hinge(const struct loss_options *o, double violation, double *slope)
{
    if (!o->smooth) {
        *slope = violation > 0;
        return violation > 0 ? violation : 0;
    }
    if (violation > 20) { /* where torch.nn.functional.softplus turns linear */
        *slope = 1;
        return violation;
    }
    *slope = 1 / (1 + exp(-violation));
    return log1p(exp(violation));
}

static double triplet(struct loss_batch *b, int a, int p, int n)
{
    const struct loss_options *o = b->options;
    float ap = loss_row(b, a)[p], an = loss_row(b, a)[n], pn = loss_row(b, p)[n];
    double by_anchor = 1, slope, value; /* share of the slope that d(a, n) gets, the rest d(p, n) */

    if (o->swap && pn <= an) {
        by_anchor = pn < an ? 0 : 0.5;
        an = pn;
    }
    b->counted++;
    value = hinge(o, (double)(ap - an + o->margin), &slope);
    if (!(value > 0))
        return 0;
    b->active++;
    loss_grad_row(b, a)[p] += (float)slope;
    loss_grad_row(b, a)[n] -= (float)(slope * by_anchor);
    loss_grad_row(b, p)[n] -= (float)(slope * (1 - by_anchor));
    return value;
}

static double all_of_anchor(struct loss_batch *b, int a)
{
    const float *row = loss_row(b, a);
    double sum = 0;

    for (int p = 0; p < b->count; p++) {
        if (!loss_positive(b, a, p))
            continue;
        for (int n = 0; n < b->count; n++) {
            if (loss_same(b, a, n))
                continue;
            b->allowed++;
            if (mined(b->options, row[n] - row[p]))
                sum += triplet(b, a, p, n);
        }
    }
    return sum;
}

static double picked_of_anchor(struct loss_batch *b, int a)
{
    bool each_p = b->options->positives == PICK_ALL, each_n = b->options->negatives == PICK_ALL;
    double sum = 0;
    int positive, negative;

    miner_pick(b, a, &positive, &negative);
    for (int p = 0; p < b->count; p++) {
        if (each_p ? !loss_positive(b, a, p) : p != positive)
            continue;
        for (int n = 0; n < b->count; n++) {
            if (each_n ? loss_same(b, a, n) : n != negative)
                continue;
            b->allowed++;
            sum += triplet(b, a, p, n);
        }
    }
    return sum;
}

double loss_triplet(struct loss_batch *b)
{
    bool picks = b->options->miner == MINE_BATCH_EASY_HARD;
    double sum = 0;

    for (int a = 0; a < b->count; a++)
        sum += picks ? picked_of_anchor(b, a) : all_of_anchor(b, a);
    if (b->active == 0)
        return 0;
    loss_scale(b, 1.0 / (double)b->active);
    return sum / (double)b->active;
}
