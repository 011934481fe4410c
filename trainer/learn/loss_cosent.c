/*
 * CoSENT (Huang et al. 2024, as sentence-transformers' CoSENTLoss), on the cosine s
 * of each scored pair over temperature t (there: scale = 1 / t):
 *
 *   log(1 + sum over pairs i, j with score_i < score_j of exp((s_i - s_j) / t))
 *
 * Only the order of the scores counts, not their size.
 */
#include <math.h>

#include "trainer/learn/loss_int.h"

static double cosine(const struct loss_batch *b, int pair)
{
    return loss_row(b, 2 * pair)[2 * pair + 1];
}

/* The greatest exponent, or that of the 1: exp(0). */
static double greatest(const struct loss_batch *b)
{
    double top = 0;

    for (int i = 0; i < b->count / 2; i++)
        for (int j = 0; j < b->count / 2; j++)
            if (b->scores[i] < b->scores[j])
                top = fmax(top, (cosine(b, i) - cosine(b, j)) / b->options->temperature);
    return top;
}

double loss_cosent(struct loss_batch *b)
{
    double t = b->options->temperature, top = greatest(b), sum = exp(-top);

    for (int i = 0; i < b->count / 2; i++)
        for (int j = 0; j < b->count / 2; j++) {
            double x;
            if (!(b->scores[i] < b->scores[j]))
                continue;
            x = exp((cosine(b, i) - cosine(b, j)) / t - top);
            loss_grad_row(b, 2 * i)[2 * i + 1] += (float)(x / t);
            loss_grad_row(b, 2 * j)[2 * j + 1] -= (float)(x / t);
            sum += x;
            b->allowed++;
            b->active += cosine(b, i) >= cosine(b, j);
        }
    b->counted = b->allowed;
    loss_scale(b, 1 / sum);
    return top + log(sum);
}
