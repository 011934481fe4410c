/*
 * Characters as the tokenizers of Hugging Face see them: UTF-8 decoding with
 * replacement, classes, lower case, canonical decomposition. The classes come
 * from generated tables (unicode_tables.h), the mappings from utf8proc with the
 * differences in the same tables. A table of classes is immutable once made:
 * any thread.
 */
#ifndef TRAINER_DATA_UNICODE_H
#define TRAINER_DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHAR_DROP = 1,     /* removed by clean_text: controls, formats, private use, U+FFFD */
    CHAR_SPACE = 2,    /* White_Space */
    CHAR_CJK = 4,      /* gets a blank on both sides */
    CHAR_PUNCT = 8,    /* a word of its own */
    CHAR_MARK = 16,    /* nonspacing: removed by strip_accents */
    CHAR_CHANGES = 32, /* lower case or decomposition differ, or it may be reordered */
    CHAR_WORD = 64,    /* \w of regular expressions */
    CHAR_LETTER = 128, /* \p{L} */
    CHAR_NUMBER = 256, /* \p{N} */
    /* for the ends of grapheme clusters */
    CHAR_JOINS = 512,      /* to what is before it: Extend, SpacingMark, joiner */
    CHAR_PREPEND = 1024,   /* to what is behind it */
    CHAR_CONTROL = 2048,   /* joins nothing */
    CHAR_PICT = 4096,      /* Extended_Pictographic */
    CHAR_CONSONANT = 8192, /* of a script with conjuncts */
    CHAR_LINKER = 16384,   /* makes a conjunct of two consonants */
    CHAR_FILLER = 32768,   /* may stand in a conjunct */
    CHAR_ORDERED = 65536   /* has a combining class */
};

#define CHAR_COUNT       0x110000
#define CHAR_REPLACEMENT 0xFFFD

/* CHAR_COUNT sets of CHAR_ flags, free() them; NULL: out of memory. Takes milliseconds. */
uint32_t *unicode_classes(void);

/* Decodes one character of `len` > 0 bytes; *n: its length. Each maximal part of an ill-formed
 * sequence is one U+FFFD, as in the WHATWG decoder and in Python's errors="replace". */
uint32_t unicode_decode(const char *text, size_t len, size_t *n);

/* Lower case of one character, without context: 1 or 2 characters. */
int unicode_lower(uint32_t c, uint32_t to[2]);

#define UNICODE_NFD_MAX 4
/* Canonical decomposition of one character, at most UNICODE_NFD_MAX characters. */
int unicode_nfd(uint32_t c, uint32_t to[UNICODE_NFD_MAX]);

/* Canonical combining class; 0 for marks that are newer than the library's tables. */
int unicode_combining(const uint32_t *classes, uint32_t c);

/* Whether composition must not look across: `c` is a mark, or makes a character with `before`, that
 * only newer tables than the library's know. */
bool unicode_newer(const uint32_t *classes, uint32_t c, uint32_t before);

/* Length of the first grapheme cluster of `len` > 0 bytes of valid UTF-8. */
size_t unicode_cluster(const uint32_t *classes, const char *text, size_t len);

#endif
