/*
 * A vocabulary that is walked byte by byte: all entries that begin a text are
 * met on one way. Made once and then only read (any thread).
 */
#ifndef TRAINER_DATA_VOCAB_TRIE_H
#define TRAINER_DATA_VOCAB_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

struct vocab_trie;

struct vocab_trie *vocab_trie_new(void);    /* NULL: out of memory */
void vocab_trie_free(struct vocab_trie *v); /* accepts NULL */

/* An entry that is there already gets the new id. ERR_LIMIT, ERR_NOMEM. */
int vocab_trie_add(struct vocab_trie *v, const char *key, size_t len, int32_t id, struct err *e);

/* One step from node *at (0: before the first byte); 0 when no entry goes on like this. *id: of the
 * entry that ends here, or -1. */
int vocab_trie_step(const struct vocab_trie *v, uint32_t *at, unsigned char c, int32_t *id);

/* The id, or -1. */
int32_t vocab_trie_find(const struct vocab_trie *v, const char *key, size_t len);

#endif
