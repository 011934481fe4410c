/*
 * In the spirit of delta debugging (Zeller, Hildebrandt, IEEE TSE 2002): halves,
 * quarters, ... of the list of faults, at last single ones, are left out where
 * the run breaks the same promise without them.
 */
#include "tests/sim/shrink.h"

#include <stdlib.h>
#include <string.h>

static bool fails(const struct world_options *o, const struct fired_list *only, const char *broken)
{
    struct world_options with = *o;
    struct verdict v;
    bool bad;

    with.only = only;
    with.trace = false;
    world_run(&with, &v);
    bad = v.broken && !strcmp(v.broken, broken);
    verdict_free(&v);
    return bad;
}

void shrink(const struct world_options *o, const char *broken, struct fired_list *list)
{
    struct fired_list less = {.items = malloc((list->count + 1) * sizeof *less.items)};
    size_t part, at, cut;

    if (!less.items)
        abort();
    for (part = (list->count + 1) / 2; part > 0; part /= 2) {
        for (at = 0; at < list->count;) {
            cut = list->count - at < part ? list->count - at : part;
            memcpy(less.items, list->items, at * sizeof *less.items);
            memcpy(less.items + at, list->items + at + cut,
                   (list->count - at - cut) * sizeof *less.items);
            less.count = list->count - cut;
            if (fails(o, &less, broken)) {
                memcpy(list->items, less.items, less.count * sizeof *less.items);
                list->count = less.count;
            } else {
                at += cut;
            }
        }
    }
    free(less.items);
}
