/*
 * libcrypto's SHA-256 by its older interface: the newer one allocates for every digest and can
 * fail, this one does neither, so that hashing needs no error path.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "platform/base/sha256.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"

_Static_assert(sizeof(struct sha256) == sizeof(SHA256_CTX), "the header's size is libcrypto's");

static SHA256_CTX *context(struct sha256 *s)
{
    return (SHA256_CTX *)s->state;
}

void sha256_init(struct sha256 *s)
{
    SHA256_Init(context(s));
}

struct sha256 *sha256_new(void)
{
    struct sha256 *s = malloc(sizeof *s);

    if (s)
        sha256_init(s);
    return s;
}

void sha256_free(struct sha256 *s)
{
    free(s);
}

void sha256_add(struct sha256 *s, const void *bytes, size_t n)
{
    SHA256_Update(context(s), bytes, n);
}

void sha256_end(struct sha256 *s, unsigned char digest[SHA256_SIZE])
{
    SHA256_Final(digest, context(s));
    sha256_init(s);
}

void sha256(const void *bytes, size_t n, unsigned char digest[SHA256_SIZE])
{
    struct sha256 s;

    sha256_init(&s);
    sha256_add(&s, bytes, n);
    sha256_end(&s, digest);
}

void sha256_hex(const unsigned char digest[SHA256_SIZE], char hex[SHA256_HEX])
{
    text_hex(digest, SHA256_SIZE, hex);
}

void sha256_of(const void *bytes, size_t n, char hex[SHA256_HEX])
{
    unsigned char digest[SHA256_SIZE];

    sha256(bytes, n, digest);
    sha256_hex(digest, hex);
}

int sha256_file(const char *path, char hex[SHA256_HEX], unsigned long long *size, struct err *e)
{
    unsigned char digest[SHA256_SIZE], piece[65536];
    struct sha256 s;
    unsigned long long total = 0;
    FILE *f = fopen(path, "rb");
    size_t n;
    int rc = 0;

    if (!f)
        return err_errno(e, ERR_IO, "%s", path);
    sha256_init(&s);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) {
        sha256_add(&s, piece, n);
        total += n;
    }
    if (ferror(f))
        rc = err_errno(e, ERR_IO, "%s: reading", path);
    sha256_end(&s, digest);
    sha256_hex(digest, hex);
    if (size)
        *size = total;
    fclose(f);
    return rc;
}

/* HMAC (RFC 2104): H(key ^ opad, H(key ^ ipad, bytes)). */
void hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t n,
                 unsigned char mac[SHA256_SIZE])
{
    unsigned char block[SHA256_CBLOCK] = {0};
    struct sha256 s;
    size_t i;

    if (key_len > sizeof block)
        sha256(key, key_len, block);
    else if (key_len > 0)
        memcpy(block, key, key_len);
    for (i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    sha256_init(&s);
    sha256_add(&s, block, sizeof block);
    sha256_add(&s, bytes, n);
    sha256_end(&s, mac);
    for (i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    sha256_add(&s, block, sizeof block);
    sha256_add(&s, mac, SHA256_SIZE);
    sha256_end(&s, mac);
}
