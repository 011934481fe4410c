/*
 * Batch-hard and batch-semi-hard triplet losses (Hermans et al. 2017; Schroff et
 * al. 2015) as sentence-transformers has them: on plain Euclidean distances,
 * which are the normalised ones when the model normalises.
 */
#include <math.h>

#include "trainer/learn/loss_int.h"

/* Adds one triplet; n is the column of the negative distance, p < 0: the positive one is 0. */
static double hinge(struct loss_batch *b, int a, int p, int n)
{
    const float *row = loss_row(b, a);
    float value = (p < 0 ? 0 : row[p]) - row[n] + b->options->margin;

    b->counted++;
    b->allowed++;
    if (!(value > 0))
        return 0;
    b->active++;
    if (p >= 0)
        loss_grad_row(b, a)[p] += 1;
    loss_grad_row(b, a)[n] -= 1;
    return value;
}

/* Per anchor the farthest positive and the nearest negative; the mean over all anchors. An anchor
 * without a negative takes its farthest row instead, as there. */
double loss_batch_hard(struct loss_batch *b)
{
    double sum = 0;

    for (int a = 0; a < b->count; a++) {
        int p = miner_farthest(b, a, true, INFINITY), n = miner_nearest(b, a, false, -INFINITY);
        if (n < 0)
            n = p < 0 ? a : p;
        sum += hinge(b, a, p, n);
    }
    loss_scale(b, 1.0 / b->count);
    return sum / b->count;
}

/* The nearest negative that is farther than the positive, else the farthest negative. */
static int semihard_negative(const struct loss_batch *b, int a, int p)
{
    int n = miner_nearest(b, a, false, loss_row(b, a)[p]);

    return n < 0 ? miner_farthest(b, a, false, INFINITY) : n;
}

/* One triplet per pair of one label; the mean over the pairs. */
double loss_batch_semihard(struct loss_batch *b)
{
    double sum = 0;

    for (int a = 0; a < b->count; a++)
        for (int p = 0; p < b->count; p++) {
            int n;
            if (!loss_positive(b, a, p) || (n = semihard_negative(b, a, p)) < 0)
                continue;
            sum += hinge(b, a, p, n);
        }
    if (b->counted == 0)
        return 0;
    loss_scale(b, 1.0 / (double)b->counted);
    return sum / (double)b->counted;
}
