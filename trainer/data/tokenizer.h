/*
 * Text to token ids, from a Hugging Face `tokenizer.json`, with the ids that
 * the `tokenizers` library gives.
 *
 *   tokenizer_open -> tokenizer_encode* -> tokenizer_free
 *
 * A tokenizer is immutable once opened and may be used by any number of threads;
 * each thread brings its own scratch, which grows to the longest text and is
 * then reused: a call allocates nothing in the steady state.
 *
 * Known: the models WordPiece, BPE and Unigram; normalizers BertNormalizer, NFC,
 * Lowercase, Replace, Precompiled, Strip, Prepend; pre-tokenizers BertPreTokenizer,
 * ByteLevel, Metaspace, Split, WhitespaceSplit; sequences of these; added tokens;
 * TemplateProcessing, BertProcessing and RobertaProcessing for single texts.
 * Regular expressions are a part of what the library reads (tokenizer_int.h).
 * Anything else is ERR_UNSUPPORTED and named. Padding is ignored (rows are
 * packed), and so is the file's own truncation length: the caller's `max` rules;
 * the file's direction is kept.
 *
 * Bytes that are not UTF-8 become one U+FFFD per maximal ill-formed part, which
 * is what the library sees after Python's bytes.decode("utf-8", "replace").
 */
#ifndef TRAINER_DATA_TOKENIZER_H
#define TRAINER_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

#define TOKENIZER_TEXT_MAX ((size_t)64 << 20) /* bytes of one text */

struct tokenizer;
struct tokenizer_scratch;

struct tokenizer_info {
    const char *model; /* "WordPiece", "BPE", "Unigram" */
    int vocabulary;    /* greatest id + 1 */
    int specials;      /* ids added around a text */
    int max_length;    /* the file's truncation; 0: none */
    int pad;           /* id of the file's padding token; 0 when it names none */
};

int tokenizer_open(struct tokenizer **out, const char *path, struct err *e);
/* The same from memory; `name` is for messages. */
int tokenizer_parse(struct tokenizer **out, const char *name, const void *bytes, size_t n,
                    struct err *e);
void tokenizer_free(struct tokenizer *t); /* accepts NULL */
const struct tokenizer_info *tokenizer_info(const struct tokenizer *t);

struct tokenizer_scratch *tokenizer_scratch_new(void); /* NULL: out of memory */
void tokenizer_scratch_free(struct tokenizer_scratch *s);

/* Ids with their specials into `ids`, cut to `max` as the library truncates: the text loses tokens,
 * the specials stay. ERR_USAGE when max is below the specials; ERR_LIMIT for a text above
 * TOKENIZER_TEXT_MAX. */
int tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
                     size_t len, int32_t *ids, int max, int *count, struct err *e);

#endif
