/*
 * Supervised contrastive loss (Khosla et al. 2020), as pytorch-metric-learning's
 * SupConLoss, on cosines s over temperature t: per anchor, the mean over its
 * positives of -log(exp(s_p / t) / sum over all others exp(s / t)); averaged over
 * the anchors whose loss is not zero.
 */
#include <math.h>

#include "trainer/learn/loss_int.h"

/* log of the sum over all others of exp(s / t). */
static double log_sum(const struct loss_batch *b, int i)
{
    const float *row = loss_row(b, i);
    double t = b->options->temperature, top = -INFINITY, sum = 0;

    for (int j = 0; j < b->count; j++)
        if (j != i)
            top = fmax(top, row[j] / t);
    for (int j = 0; j < b->count; j++)
        if (j != i)
            sum += exp(row[j] / t - top);
    return top + log(sum);
}

static double anchor_loss(struct loss_batch *b, int i)
{
    const float *row = loss_row(b, i);
    double t = b->options->temperature, all, loss = 0;
    int positives = 0;

    for (int j = 0; j < b->count; j++)
        positives += loss_positive(b, i, j);
    b->counted += positives;
    if (!positives)
        return 0;
    all = log_sum(b, i);
    for (int j = 0; j < b->count; j++)
        if (loss_positive(b, i, j))
            loss += (all - row[j] / t) / positives;
    if (!(loss > 0))
        return 0;
    for (int j = 0; j < b->count; j++)
        if (j != i)
            loss_grad_row(b, i)[j] =
                (float)((exp(row[j] / t - all) - (loss_positive(b, i, j) ? 1.0 / positives : 0)) /
                        t);
    return loss;
}

/* Is there a pair of one label, and one of two? */
static bool both_sorts(const struct loss_batch *b)
{
    bool seen[2] = {false, false};

    for (int i = 0; i < b->count; i++)
        for (int j = i + 1; j < b->count; j++)
            seen[loss_same(b, i, j)] = true;
    return seen[0] && seen[1];
}

double loss_supcon(struct loss_batch *b)
{
    double sum = 0;

    if (!both_sorts(b))
        return 0;
    for (int i = 0; i < b->count; i++) {
        double one = anchor_loss(b, i);
        b->allowed++;
        b->active += one > 0;
        sum += one;
    }
    if (b->active == 0)
        return 0;
    loss_scale(b, 1.0 / (double)b->active);
    return sum / (double)b->active;
}
