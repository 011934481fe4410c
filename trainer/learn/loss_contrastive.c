/*
 * Contrastive loss (Hadsell et al. 2006), as pytorch-metric-learning's
 * ContrastiveLoss: d of positive pairs plus max(0, margin - d) of negative
 * pairs, each averaged over the pairs whose loss is not zero.
 */
#include "trainer/learn/loss_int.h"

/* Sum over one sort of pairs; `*active` of them have a loss. */
static double pairs(struct loss_batch *b, bool same, int64_t *active)
{
    double sum = 0;

    for (int i = 0; i < b->count; i++)
        for (int j = 0; j < b->count; j++) {
            double value;
            if (i == j || loss_same(b, i, j) != same)
                continue;
            b->allowed++;
            b->counted++;
            value = same ? loss_row(b, i)[j] : b->options->margin - loss_row(b, i)[j];
            if (value > 0) {
                sum += value;
                ++*active;
            }
        }
    return sum;
}

static void slopes(struct loss_batch *b, bool same, int64_t active)
{
    float slope = (same ? 1.0f : -1.0f) / (float)active;

    for (int i = 0; i < b->count; i++)
        for (int j = 0; j < b->count; j++)
            if (i != j && loss_same(b, i, j) == same &&
                (same ? loss_row(b, i)[j] : b->options->margin - loss_row(b, i)[j]) > 0)
                loss_grad_row(b, i)[j] = slope;
}

double loss_contrastive(struct loss_batch *b)
{
    double loss = 0;

    for (int same = 0; same < 2; same++) {
        int64_t active = 0;
        double sum = pairs(b, same, &active);
        if (active == 0)
            continue;
        loss += sum / (double)active;
        slopes(b, same, active);
        b->active += active;
    }
    return loss;
}
