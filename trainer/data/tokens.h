/*
 * A tokenised dataset: the ids of all documents in one block, with offsets.
 * Immutable once built: any thread.
 */
#ifndef TRAINER_DATA_TOKENS_H
#define TRAINER_DATA_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "trainer/data/dataset.h"
#include "trainer/data/tokenizer.h"

struct tokens {
    int count;       /* N documents */
    size_t *offsets; /* (N + 1) into ids */
    int32_t *ids;    /* (offsets[N]) */
    int longest;     /* tokens of the longest document */
    int cut;         /* documents that reached the maximal length */
};

/* Every document of a sealed dataset, cut to `max_tokens` with specials. ERR_USAGE, ERR_NOMEM. */
int tokens_build(struct tokens **out, const struct dataset *d, const struct tokenizer *t,
                 int max_tokens, struct err *e);
void tokens_free(struct tokens *k); /* accepts NULL */

static inline int tokens_len(const struct tokens *k, int index)
{
    return (int)(k->offsets[index + 1] - k->offsets[index]);
}

#endif
