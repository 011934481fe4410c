/*
 * Delta debugging (Zeller, Hildebrandt, IEEE TSE 2002): parts of the list of
 * faults are left out for as long as the run still breaks the same promise.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/shrink.h"

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
    size_t parts = 2, at, n;
    struct fired_list less = {.items = malloc((list->count + 1) * sizeof *less.items)};

    if (!less.items)
        abort();
    while (list->count > 0) {
        bool smaller = false;

        if (parts > list->count)
            parts = list->count;
        n = (list->count + parts - 1) / parts;
        for (at = 0; at < list->count && !smaller; at += n) {
            size_t cut = at + n < list->count ? n : list->count - at;

            memcpy(less.items, list->items, at * sizeof *less.items);
            memcpy(less.items + at, list->items + at + cut,
                   (list->count - at - cut) * sizeof *less.items);
            less.count = list->count - cut;
            smaller = fails(o, &less, broken);
        }
        if (smaller) {
            memcpy(list->items, less.items, less.count * sizeof *less.items);
            list->count = less.count;
            parts = parts > 2 ? parts - 1 : 2;
        } else if (n == 1) {
            break;
        } else {
            parts *= 2;
        }
    }
    free(less.items);
}
