/*
 * A vocabulary: byte strings to ids, made once and then only read (any thread).
 * Open addressing with a rolling hash, so that the longest entry that begins a
 * text is found without hashing each prefix anew.
 */
#ifndef TRAINER_DATA_VOCAB_H
#define TRAINER_DATA_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

#define VOCAB_KEY_MAX 1024 /* bytes of an entry */

struct vocab;

/* Room for `count` entries. NULL: out of memory. */
struct vocab *vocab_new(size_t count);
void vocab_free(struct vocab *v); /* accepts NULL */

/* Copies the key (not empty). ERR_EXISTS, ERR_LIMIT (key length, more than `count`), ERR_NOMEM. */
int vocab_add(struct vocab *v, const char *key, size_t len, int32_t id, struct err *e);

/* The id, or -1. */
int32_t vocab_find(const struct vocab *v, const char *key, size_t len);

/* The longest entry that `text` begins with: its id and *n its length, or -1. */
int32_t vocab_longest(const struct vocab *v, const char *text, size_t len, size_t *n);

#endif
