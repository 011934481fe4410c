/*
 * What the numbers of the steps say: the points of the curves, and warnings where
 * training goes nowhere. Counters lie in the checkpoint, so that a resumed run neither
 * repeats nor forgets one.
 */
#include <stdio.h>

#include "trainer/run_int.h"

#define COLLAPSED 0.99 /* mean cosine of all pairs of a batch */
enum { IN_A_ROW = 10 };

static void note_point(struct run *r, const struct run_event *v)
{
    int64_t stride = r->steps / CHECKPOINT_HISTORY_MAX + 1;
    struct checkpoint *c = r->state;

    c->loss = v->loss;
    if (c->step % stride == 0 && c->point_count < CHECKPOINT_HISTORY_MAX)
        c->points[c->point_count++] = (struct checkpoint_point){
            c->step, v->loss, v->active, v->positive, v->negative, v->similarity, v->gradient_norm};
}

/* Counts steps in a row; true once in a run, when there are enough. */
static bool lasts(int64_t *count, bool so)
{
    if (*count > IN_A_ROW)
        return false;
    *count = so ? *count + 1 : 0;
    if (*count < IN_A_ROW)
        return false;
    *count = IN_A_ROW + 1;
    return true;
}

void run_watch(struct run *r, const struct run_event *v)
{
    struct checkpoint *c = r->state;
    char text[256];

    note_point(r, v);
    if (lasts(&c->collapsed, v->similarity > COLLAPSED)) {
        snprintf(text, sizeof text,
                 "step %lld: the embeddings collapse: any two documents have a cosine of %.3f on "
                 "average; lower learning_rate, or take another loss or miner",
                 (long long)c->step, v->similarity);
        run_warn(r, text);
    }
    /* Scored pairs have a loss in any order. */
    if (!dataset_scores(r->spec->train) && lasts(&c->idle, v->active == 0)) {
        snprintf(text, sizeof text,
                 "step %lld: no triplet of the last %d steps had a loss: nothing is learned from "
                 "them; a larger margin, larger batches or another miner would find some",
                 (long long)c->step, IN_A_ROW);
        run_warn(r, text);
    }
}
