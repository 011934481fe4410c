/*
 * A growing byte buffer with a stated maximum. `data` is always NUL-terminated
 * behind `len` (the NUL is not counted), so text can be printed as it is.
 *
 *   struct buf b;  buf_init(&b, 1 << 20);  ...  buf_release(&b);
 *
 * Appending never fails in place: an allocation failure or an overflow of the
 * maximum is remembered in `failed` and every later append does nothing, so a
 * writer checks once at its end (buf_check). One thread at a time.
 */
#ifndef PLATFORM_BASE_BUF_H
#define PLATFORM_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

struct buf {
    char *data; /* owned; NULL or len + 1 bytes at least */
    size_t len, cap, max;
    int failed; /* 0, ERR_NOMEM or ERR_LIMIT */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* accepts a zeroed one */
void buf_reset(struct buf *b);   /* keeps the memory, clears len and failed */

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_str(struct buf *b, const char *text);
void buf_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Little-endian integers, for our own binary records. */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);

/* Makes room for `n` more bytes and returns where they go (then add n to len), NULL when failed. */
void *buf_reserve(struct buf *b, size_t n);

/* 0, or the remembered failure with a message naming `what`. */
int buf_check(const struct buf *b, const char *what, struct err *e);

/* Gives the memory away (free() it); the buffer is empty afterwards. */
char *buf_detach(struct buf *b, size_t *len);

#endif
