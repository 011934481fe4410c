/*
 * Small text helpers that several rooms need: JSON string quoting, UTF-8
 * validation, strict numbers.
 */
#ifndef PLATFORM_BASE_TEXT_H
#define PLATFORM_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"

/* Appends a JSON string with its quotes. Bytes that are not valid UTF-8 become U+FFFD. */
void text_json(struct buf *b, const char *text, size_t len);

/* Length of the valid UTF-8 prefix (no surrogates, no overlongs, max U+10FFFF); == len when all is
 * valid. */
size_t text_utf8_valid(const char *text, size_t len);

/* Writes the 1 to 4 bytes of a character, returns how many. */
size_t text_utf8_encode(uint32_t c, char *to);

/* Strict numbers: the whole text, no blanks, in range. 0, or -1. */
int text_i64(const char *text, int64_t min, int64_t max, int64_t *out);
int text_f64(const char *text, double min, double max, double *out); /* finite only */

/* 2 n lower-case digits and a NUL. */
void text_hex(const void *bytes, size_t n, char *hex);

/* [a-z0-9][a-z0-9-]{0,62}: names of owners, datasets, runs, models. */
bool text_is_name(const char *text, size_t len);

#endif
