/*
 * What the files of the tokenizer share. A text takes these steps, as in the
 * library: added tokens that are matched in the raw text are cut out; the rest
 * is normalised; added tokens matched in normalised text are cut out; what is
 * left is split into words; the model turns words into ids; truncation; specials.
 */
#ifndef TRAINER_DATA_TOKENIZER_INT_H
#define TRAINER_DATA_TOKENIZER_INT_H

#include <stdbool.h>

#include "platform/json/json.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/unicode.h"
#include "trainer/data/vocab.h"

#define TOKENIZER_ID_MAX (1 << 24)

/* A growing array of the scratch. */
struct bytes {
    char *data;
    size_t len, cap;
};

struct tokenizer_scratch {
    struct bytes utf8;   /* the text with ill-formed parts replaced */
    struct bytes normal; /* one normalised piece */
    uint32_t *marks;     /* characters of one run to be put in canonical order */
    size_t marks_cap;
    int32_t *ids; /* of the text, before truncation */
    size_t count, cap;
};

/* Room for `more` bytes behind len. */
int bytes_need(struct bytes *b, size_t more, struct err *e);
/* Room for `more` ids behind count. */
int scratch_need_ids(struct tokenizer_scratch *s, size_t more, struct err *e);

/* A model turns one word (not empty, valid UTF-8) into ids at the end of s->ids. */
struct model_ops {
    const char *type; /* as in the file */
    int (*load)(void **out, const json_t *model, int *vocabulary, struct err *e);
    int32_t (*find)(const void *model, const char *token, size_t len); /* id or -1 */
    int (*word)(const void *model, const char *word, size_t len, struct tokenizer_scratch *s,
                struct err *e);
    void (*free)(void *model);
};
extern const struct model_ops wordpiece_ops;

struct normalizer {
    bool clean, cjk, strip, lower;
    unsigned char ascii[128]; /* what becomes of an ASCII character; 0: dropped */
};

struct added {
    int32_t id;
    bool single_word, lstrip, rstrip;
};

struct added_set {
    struct vocab *vocab; /* content to index in tokens; NULL: none */
    struct added *tokens;
    int count;
    bool begins[256]; /* first bytes */
};

struct tokenizer {
    struct tokenizer_info info;
    struct normalizer normal;
    unsigned char *classes; /* of every character */
    struct added_set raw, normalized;
    const struct model_ops *ops;
    void *model;
    int32_t *before, *after; /* specials */
    int before_count, after_count;
    bool cut_left;
};

void normalizer_init(struct normalizer *n);
/* Appends the normal form of valid UTF-8 to s->normal. */
int normalizer_run(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
                   size_t len, struct err *e);

/* Reads the parts of a parsed file into a zeroed tokenizer (tokenizer_load.c). */
int tokenizer_load(struct tokenizer *t, const json_t *root, struct err *e);

#endif
