/*
 * Partners for an anchor, out of a row of distances: pytorch-metric-learning's
 * BatchEasyHardMiner.
 */
#include <math.h>

#include "trainer/learn/loss_int.h"

int miner_nearest(const struct loss_batch *b, int anchor, bool same, float bound)
{
    const float *row = loss_row(b, anchor);
    int best = -1;

    for (int i = 0; i < b->count; i++)
        if (i != anchor && loss_same(b, anchor, i) == same && row[i] > bound &&
            (best < 0 || row[i] < row[best]))
            best = i;
    return best;
}

int miner_farthest(const struct loss_batch *b, int anchor, bool same, float bound)
{
    const float *row = loss_row(b, anchor);
    int best = -1;

    for (int i = 0; i < b->count; i++)
        if (i != anchor && loss_same(b, anchor, i) == same && row[i] < bound &&
            (best < 0 || row[i] > row[best]))
            best = i;
    return best;
}

static int pick(const struct loss_batch *b, int anchor, bool same, enum strategy how)
{
    bool farthest = same ? how == PICK_HARD : how == PICK_EASY;

    if (how == PICK_ALL)
        return -1;
    return farthest ? miner_farthest(b, anchor, same, INFINITY)
                    : miner_nearest(b, anchor, same, -INFINITY);
}

/* The semi-hard one is sought once the other is known. */
void miner_pick(const struct loss_batch *b, int anchor, int *positive, int *negative)
{
    const struct loss_options *o = b->options;
    const float *row = loss_row(b, anchor);

    *positive = o->positives == PICK_SEMIHARD ? -1 : pick(b, anchor, true, o->positives);
    *negative = o->negatives == PICK_SEMIHARD ? -1 : pick(b, anchor, false, o->negatives);
    if (o->positives == PICK_SEMIHARD && *negative >= 0)
        *positive = miner_farthest(b, anchor, true, row[*negative]);
    if (o->negatives == PICK_SEMIHARD && *positive >= 0)
        *negative = miner_nearest(b, anchor, false, row[*positive]);
}
