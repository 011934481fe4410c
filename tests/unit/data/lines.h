/*
 * Lines of text that a seed makes: words, scripts, accents, ideographs, emoji,
 * controls, broken UTF-8, very long ones. scripts/golden/tokenizer_ids.py makes
 * the same bytes; the two must stay equal, line by line.
 */
#ifndef TESTS_UNIT_DATA_LINES_H
#define TESTS_UNIT_DATA_LINES_H

#include "platform/base/buf.h"

/* Lines below LINES_SWEEP are of mixed kinds; the next LINES_CHARS hold every character once. */
#define LINES_SWEEP 6000
#define LINES_CHARS (0x110000 / 256)
#define LINES_COUNT (LINES_SWEEP + LINES_CHARS)

/* Replaces the content of `b` by line number `i`. */
void lines_make(struct buf *b, unsigned i);

#endif
