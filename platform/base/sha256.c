#include "platform/base/sha256.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

struct sha256 {
    EVP_MD_CTX *md;
};

/* libcrypto fails here only when it has no memory or no SHA-256 at all: neither can be lived with.
 */
static void must(int ok)
{
    if (!ok)
        abort();
}

struct sha256 *sha256_new(void)
{
    struct sha256 *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->md = EVP_MD_CTX_new();
    if (!s->md || !EVP_DigestInit_ex(s->md, EVP_sha256(), NULL)) {
        sha256_free(s);
        return NULL;
    }
    return s;
}

void sha256_free(struct sha256 *s)
{
    if (!s)
        return;
    EVP_MD_CTX_free(s->md);
    free(s);
}

void sha256_add(struct sha256 *s, const void *bytes, size_t n)
{
    must(EVP_DigestUpdate(s->md, bytes, n));
}

void sha256_end(struct sha256 *s, unsigned char digest[SHA256_SIZE])
{
    must(EVP_DigestFinal_ex(s->md, digest, NULL));
    must(EVP_DigestInit_ex(s->md, EVP_sha256(), NULL));
}

void sha256(const void *bytes, size_t n, unsigned char digest[SHA256_SIZE])
{
    must(EVP_Digest(n ? bytes : "", n, digest, NULL, EVP_sha256(), NULL));
}

void sha256_hex(const unsigned char digest[SHA256_SIZE], char hex[SHA256_HEX])
{
    static const char digits[] = "0123456789abcdef";
    int i;

    for (i = 0; i < SHA256_SIZE; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * SHA256_SIZE] = '\0';
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
    struct sha256 *s = NULL;
    unsigned long long total = 0;
    FILE *f = fopen(path, "rb");
    size_t n;
    int rc = 0;

    if (!f)
        return err_errno(e, ERR_IO, "%s", path);
    s = sha256_new();
    if (!s) {
        rc = err_set(e, ERR_NOMEM, "%s: no memory to hash it", path);
        goto done;
    }
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) {
        sha256_add(s, piece, n);
        total += n;
    }
    if (ferror(f)) {
        rc = err_errno(e, ERR_IO, "%s: reading", path);
        goto done;
    }
    sha256_end(s, digest);
    sha256_hex(digest, hex);
    if (size)
        *size = total;
done:
    sha256_free(s);
    fclose(f);
    return rc;
}

void hmac_sha256(const void *key, size_t key_len, const void *bytes, size_t n,
                 unsigned char mac[SHA256_SIZE])
{
    must(HMAC(EVP_sha256(), key, (int)key_len, bytes, n, mac, NULL) != NULL);
}
