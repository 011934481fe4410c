/*
 * SHA-256 (FIPS 180-4) by libcrypto, over memory, in pieces, and over files.
 * Digests are 32 bytes; hex is lower case. One thread per context.
 */
#ifndef PLATFORM_BASE_SHA256_H
#define PLATFORM_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

#define SHA256_SIZE 32
#define SHA256_HEX  (2 * SHA256_SIZE + 1) /* with the NUL */

struct sha256 {
    uint32_t state[28]; /* libcrypto's */
};
void sha256_init(struct sha256 *s); /* nothing to release */
struct sha256 *sha256_new(void);    /* the same on the heap; NULL: out of memory */
void sha256_free(struct sha256 *s); /* accepts NULL */
void sha256_add(struct sha256 *s, const void *bytes, size_t n);
void sha256_end(struct sha256 *s,
                unsigned char digest[SHA256_SIZE]); /* ready for a new message after */

void sha256(const void *bytes, size_t n, unsigned char digest[SHA256_SIZE]);
void sha256_hex(const unsigned char digest[SHA256_SIZE], char hex[SHA256_HEX]);
void sha256_of(const void *bytes, size_t n, char hex[SHA256_HEX]);

/* Hash and size of a file; `size` may be NULL. */
int sha256_file(const char *path, char hex[SHA256_HEX], unsigned long long *size, struct err *e);

void hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t n,
                 unsigned char mac[SHA256_SIZE]);

#endif
