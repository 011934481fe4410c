/*
 * Base64 (RFC 4648, section 4) with padding, strict: no blanks, no bits beyond
 * the data. Pure functions.
 */
#ifndef PLATFORM_JSON_BASE64_H
#define PLATFORM_JSON_BASE64_H

#include <stddef.h>

#define BASE64_LEN(n) (((n) + 2) / 3 * 4) /* characters for n bytes, without a NUL */
#define BASE64_MAX(n) ((n) / 4 * 3)       /* bytes that n characters can hold at most */

void base64_encode(const void *bytes, size_t n, char *out); /* BASE64_LEN(n) + 1, with the NUL */

/* Bytes written to `out` (BASE64_MAX(n)), or -1: `*at` is where it isn't base64. */
long base64_decode(const char *text, size_t n, void *out, size_t *at);

#endif
