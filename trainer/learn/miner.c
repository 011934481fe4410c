/* One partner for an anchor, out of a row of distances; the first of equals. */
#include "trainer/learn/loss_int.h"

int miner_pick(const struct loss_batch *b, int anchor, bool same, bool farthest)
{
    const float *row = loss_row(b, anchor);
    int best = -1;

    for (int i = 0; i < b->count; i++) {
        if (i == anchor || loss_same(b, anchor, i) != same)
            continue;
        if (best < 0 || (farthest ? row[i] > row[best] : row[i] < row[best]))
            best = i;
    }
    return best;
}
