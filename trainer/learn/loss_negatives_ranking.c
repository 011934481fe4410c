/*
 * Multiple negatives ranking (Henderson et al. 2017) on labels, on cosines s over
 * temperature t: for each pair of one label, -log(exp(s_p / t) / (exp(s_p / t) +
 * sum over other labels exp(s_n / t))), averaged over the pairs. Two documents of
 * one label, or of equal text, are never negatives of each other. The same as
 * pytorch-metric-learning's NTXentLoss; sentence-transformers' scale is 1 / t.
 */
#include <math.h>

#include "trainer/learn/loss_int.h"

static bool negative(const struct loss_batch *b, int i, int j)
{
    return !loss_same(b, i, j) && !(b->texts && b->texts[i] == b->texts[j]);
}

/* Sum over the negatives of exp(s / t - top); `*top` is the row's greatest s / t. */
static double negatives(const struct loss_batch *b, int i, double *top)
{
    const float *row = loss_row(b, i);
    double t = b->options->temperature, sum = 0;

    *top = -INFINITY;
    for (int j = 0; j < b->count; j++)
        if (j != i)
            *top = fmax(*top, row[j] / t);
    for (int j = 0; j < b->count; j++)
        if (negative(b, i, j))
            sum += exp(row[j] / t - *top);
    return sum;
}

static double anchor_loss(struct loss_batch *b, int i)
{
    const float *row = loss_row(b, i);
    float *grad = loss_grad_row(b, i);
    double t = b->options->temperature, top, rest = negatives(b, i, &top), loss = 0, shared = 0;

    for (int p = 0; p < b->count; p++) {
        double x, share;
        if (!loss_positive(b, i, p))
            continue;
        x = exp(row[p] / t - top);
        share = x / (x + rest);
        loss += log(x + rest) - (row[p] / t - top);
        grad[p] = (float)((share - 1) / t);
        shared += 1 / (x + rest); /* each negative's share in this pair, but for its own exp */
        b->counted++;
    }
    for (int n = 0; n < b->count && shared > 0; n++)
        if (negative(b, i, n))
            grad[n] = (float)(exp(row[n] / t - top) * shared / t);
    return loss;
}

double loss_negatives_ranking(struct loss_batch *b)
{
    bool any = false;
    double sum = 0;

    for (int i = 0; i < b->count; i++)
        for (int j = 0; j < i; j++)
            any |= negative(b, i, j);
    if (!any)
        return 0;
    for (int i = 0; i < b->count; i++)
        sum += anchor_loss(b, i);
    if (b->counted == 0)
        return 0;
    b->active = b->allowed = b->counted;
    loss_scale(b, 1.0 / (double)b->counted);
    return sum / (double)b->counted;
}
