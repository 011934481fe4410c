/*
 * Lines of text that a seed makes: words, scripts, accents, ideographs, emoji,
 * controls, broken UTF-8, very long ones. scripts/golden/tokenizer_ids.py makes
 * the same bytes; the two must stay equal, line by line.
 */
#ifndef TESTS_UNIT_DATA_LINES_H
#define TESTS_UNIT_DATA_LINES_H

#include "platform/base/buf.h"

/* Lines below LINES_SWEEP are of mixed kinds; the next LINES_CHARS hold every character once; then
 * come sequences of joined emoji, flags, keycaps and conjuncts, a word of LINES_LONG letters and a
 * line of LINES_PIECES pieces of all kinds, which has more than LINES_LONG characters. */
#define LINES_SWEEP  6000
#define LINES_CHARS  (0x110000 / 256)
#define LINES_JOINS  200
#define LINES_LONG   1000000
#define LINES_PIECES 400000
#define LINES_WORD   (LINES_SWEEP + LINES_CHARS + LINES_JOINS)
#define LINES_COUNT  (LINES_WORD + 2)
#define LINES_BYTES  (8 * LINES_LONG) /* of a line, at most; and of ids */

/* Replaces the content of `b` by line number `i`. */
void lines_make(struct buf *b, unsigned i);

#endif
