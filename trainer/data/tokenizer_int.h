/*
 * What the files of the tokenizer share. A text takes these steps, as in the
 * library: added tokens that are matched in the raw text are cut out; the rest
 * goes through the normalizers in their order; added tokens matched in
 * normalised text are cut out; what is left goes through the pre-tokenizers,
 * each of which cuts pieces into smaller ones; the model turns the last pieces
 * into ids; truncation; specials.
 */
#ifndef TRAINER_DATA_TOKENIZER_INT_H
#define TRAINER_DATA_TOKENIZER_INT_H

#include <stdbool.h>

#include "platform/base/text.h"
#include "platform/json/json.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/unicode.h"
#include "trainer/data/vocab.h"

#define TOKENIZER_ID_MAX (1 << 24)
#define STEPS_MAX        16                /* normalizers, and pre-tokenizers, of a file */
#define BUFFER_MAX       ((size_t)1 << 31) /* bytes of one array of the scratch */

/* A growing array of the scratch. */
struct bytes {
    char *data;
    size_t len, cap;
};

struct tokenizer_scratch {
    struct bytes utf8;             /* the text with ill-formed parts replaced */
    struct bytes normal, other;    /* one normalised piece, and what it is made from */
    struct bytes steps[STEPS_MAX]; /* the changed piece of a pre-tokenizer */
    struct bytes nodes, heap;      /* of the model: one word */
    struct bytes points;           /* characters, of one piece */
    uint32_t *marks;               /* characters of one run to be put in canonical order */
    size_t marks_cap;
    bool headless; /* a normalizer dropped what the text began with */
    int32_t *ids;  /* of the text, before truncation */
    size_t count, cap;
};

/* Room for `more` bytes behind len. */
int bytes_need(struct bytes *b, size_t more, struct err *e);
int bytes_add(struct bytes *b, const char *text, size_t len, struct err *e);
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
extern const struct model_ops wordpiece_ops, bpe_ops, unigram_ops;

/* A normalizer appends the changed text (valid UTF-8 in, valid UTF-8 out) to `to`. */
struct normalizer_ops {
    const char *type;
    int (*load)(void **out, const json_t *v, const uint32_t *classes, struct err *e);
    int (*run)(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
               const char *text, size_t len, struct bytes *to, struct err *e);
    void (*free)(void *self);
};
extern const struct normalizer_ops bert_normalizer_ops, precompiled_ops, nfc_ops;

struct walk;
/* A pre-tokenizer, the one at place `at`, hands on pieces of the text by walk_piece. */
struct splitter_ops {
    const char *type;
    int (*load)(void **out, const json_t *v, const uint32_t *classes, struct err *e);
    int (*run)(const void *self, struct walk *w, int at, const char *text, size_t len, bool head);
    void (*free)(void *self);
};

struct normalizer {
    const struct normalizer_ops *ops;
    void *self;
};
struct splitter {
    const struct splitter_ops *ops;
    void *self;
};

struct bert {
    bool clean, cjk, strip, lower;
    unsigned char ascii[128]; /* what becomes of an ASCII character; 0: dropped */
};
void bert_settle(struct bert *b); /* fills `ascii` */

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
    uint32_t *classes; /* of every character */
    struct normalizer normalizers[STEPS_MAX];
    struct splitter splitters[STEPS_MAX];
    int normalizer_count, splitter_count;
    struct bert plain;       /* changes nothing */
    const struct bert *fast; /* ASCII is normalised and split in one go; NULL: it is not */
    struct added_set raw, normalized;
    const struct model_ops *ops;
    void *model;
    int32_t *before, *after; /* specials */
    int before_count, after_count;
    bool cut_left;
};

/* One text on its way. */
struct walk {
    const struct tokenizer *t;
    struct tokenizer_scratch *s;
    size_t enough; /* ids after which the rest does not matter */
    struct err *e;
};

static inline bool walk_full(const struct walk *w)
{
    return w->s->count >= w->enough;
}

/* Hands a piece to the pre-tokenizer at place `at`, or behind the last one to the model. `head`:
 * the piece begins where the text does. */
int walk_piece(struct walk *w, int at, const char *text, size_t len, bool head);

/* The normal form of valid UTF-8: the text itself, or in the scratch until the next call. */
int normalizer_run(const struct tokenizer *t, struct tokenizer_scratch *s, const char **text,
                   size_t *len, struct err *e);

/* Each reads its part of a parsed file; `classes` are there. */
int normalizer_load(struct tokenizer *t, const json_t *root, struct err *e);
int splitter_load(struct tokenizer *t, const json_t *root, struct err *e);
void normalizer_release(struct tokenizer *t);
void splitter_release(struct tokenizer *t);

bool splitter_is_bert(const struct tokenizer *t); /* that one and no other */

/* Reads the parts of a parsed file into a zeroed tokenizer (tokenizer_load.c). */
int tokenizer_load(struct tokenizer *t, const json_t *root, struct err *e);

/*
 * Regular expressions as tokenizers write them: alternatives of characters,
 * classes, \s \S \p{L} \p{N} and their quantifiers, a (?!x) at an alternative's
 * end. Leftmost match, first alternative, greedy with backtracking, as Oniguruma.
 */
struct regex;
/* ERR_UNSUPPORTED for anything else, also for what matches nothing. */
int regex_new(struct regex **out, const char *pattern, const uint32_t *classes, struct err *e);
/* {"String": literal} or {"Regex": pattern} */
int regex_load(struct regex **out, const json_t *v, const uint32_t *classes, struct err *e);
void regex_free(struct regex *r); /* accepts NULL */

/* The matches in a text, one after the other. */
struct regex_scan {
    const struct regex *r;
    const uint32_t *classes;
    const char *text;
    size_t len, at;    /* where the next search begins */
    size_t begin, end; /* of the match */
    size_t steps;      /* left: backtracking must not take forever */
};
void regex_begin(struct regex_scan *s, const struct regex *r, const uint32_t *classes,
                 const char *text, size_t len);
int regex_next(struct regex_scan *s, struct err *e); /* 1, 0: no more, or ERR_LIMIT */

#endif
