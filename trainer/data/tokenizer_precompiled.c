/*
 * Precompiled: the character map of SentencePiece, a double array whose values
 * are places in a text of results. As in the library, a grapheme cluster below 6
 * bytes is looked up whole first and then its characters; the shortest key that
 * a part begins with wins, and the rest of the part goes.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"

#define MAP_MAX      ((size_t)16 << 20)
#define CLUSTER_MAX  6
#define VALUE(u)     ((u)&0x7FFFFFFFu)
#define LABEL(u)     ((u)&0x800000FFu)
#define HAS_VALUE(u) ((u) >> 8 & 1)
#define OFFSET(u)    ((u) >> 10 << (((u)&1u << 9) >> 6))

struct precompiled {
    uint32_t *units;
    size_t count;
    char *values; /* NUL-terminated texts, `size` bytes with the last NUL */
    size_t size;
    bool plain[128]; /* of ASCII: stays as it is, and alone among other ASCII */
};

static void precompiled_free(void *self)
{
    struct precompiled *p = self;

    if (!p)
        return;
    free(p->units);
    free(p->values);
    free(p);
}

static int sextet(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Base64 with its padding; *n bytes. free() *out whether it fails or not. */
static int decode(const char *text, size_t len, unsigned char **out, size_t *n, struct err *e)
{
    size_t i, pad = 0;
    unsigned char *to;
    uint32_t bits = 0;

    if (len % 4 != 0 || len / 4 * 3 > MAP_MAX)
        return err_set(e, ERR_FORMAT, "precompiled_charsmap: %zu characters of base64", len);
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    *out = to = malloc(len / 4 * 3 + 1);
    if (!to)
        return err_set(e, ERR_NOMEM, "precompiled_charsmap");
    for (i = 0; i < len; i++) {
        int v = i < len - pad ? sextet(text[i]) : 0;

        if (v < 0)
            return err_set(e, ERR_FORMAT, "precompiled_charsmap: not base64 at character %zu", i);
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 != 3)
            continue;
        *to++ = (unsigned char)(bits >> 16);
        *to++ = (unsigned char)(bits >> 8);
        *to++ = (unsigned char)bits;
    }
    *n = len / 4 * 3 - pad;
    return 0;
}

static uint32_t u32(const unsigned char *b)
{
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* u32 bytes of the array, the array, the values. */
static int read(struct precompiled *p, const unsigned char *b, size_t n, struct err *e)
{
    size_t size = n < 4 ? 0 : u32(b), i;

    if (size < 4 || size % 4 != 0 || size > n - 4)
        return err_set(e, ERR_FORMAT, "precompiled_charsmap: an array of %zu bytes in %zu", size,
                       n);
    p->count = size / 4;
    p->size = n - 4 - size + 1;
    p->units = malloc(size);
    p->values = malloc(p->size);
    if (!p->units || !p->values)
        return err_set(e, ERR_NOMEM, "precompiled_charsmap");
    for (i = 0; i < p->count; i++)
        p->units[i] = u32(b + 4 + i * 4);
    memcpy(p->values, b + 4 + size, p->size - 1);
    p->values[p->size - 1] = 0;
    if (text_utf8_valid(p->values, p->size - 1) != p->size - 1)
        return err_set(e, ERR_FORMAT, "precompiled_charsmap: its texts are not UTF-8");
    return 0;
}

/* 1 and the result for the shortest key that the text begins with, 0: there is none. */
static int find(const struct precompiled *p, const char *text, size_t len, const char **to,
                struct err *e)
{
    size_t at = OFFSET(p->units[0]), i, value;

    for (i = 0; i < len && text[i]; i++) {
        uint32_t c = (unsigned char)text[i];

        at ^= c;
        if (at >= p->count || LABEL(p->units[at]) != c)
            return 0;
        value = HAS_VALUE(p->units[at]);
        at ^= OFFSET(p->units[at]);
        if (!value)
            continue;
        value = at < p->count ? VALUE(p->units[at]) : p->size;
        if (value >= p->size || (p->values[value] & 0xC0) == 0x80)
            return err_set(e, ERR_FORMAT, "precompiled_charsmap: a result outside its texts");
        *to = p->values + value;
        return 1;
    }
    return 0;
}

static void settle(struct precompiled *p)
{
    struct err e = ERR_INIT;
    const char *to;
    int c;

    for (c = 0; c < 128; c++) {
        char one = (char)c;

        p->plain[c] = c != '\r' && find(p, &one, 1, &to, &e) == 0;
    }
}

static int precompiled_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    struct precompiled *p = calloc(1, sizeof *p);
    unsigned char *bytes = NULL;
    const char *text;
    size_t n = 0;
    int rc;

    (void)classes;
    if (!p)
        return err_set(e, ERR_NOMEM, "normalizer");
    if ((rc = json_string_at(v, "precompiled_charsmap", &text, e)) == 0 &&
        (rc = decode(text, strlen(text), &bytes, &n, e)) == 0)
        rc = read(p, bytes, n, e);
    free(bytes);
    if (rc < 0) {
        precompiled_free(p);
        return rc;
    }
    settle(p);
    *out = p;
    return 0;
}

static int characters(const struct precompiled *p, const char *text, size_t len, struct bytes *to,
                      struct err *e)
{
    const char *result;
    size_t i = 0, n;
    int rc;

    for (; i < len; i += n) {
        unicode_decode(text + i, len - i, &n);
        if ((rc = find(p, text + i, n, &result, e)) < 0)
            return rc;
        rc = rc ? bytes_add(to, result, strlen(result), e) : bytes_add(to, text + i, n, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int precompiled_run(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
                           const char *text, size_t len, struct bytes *to, struct err *e)
{
    const struct precompiled *p = self;
    const char *result;
    size_t i = 0, n;
    int rc;

    (void)s;
    for (; i < len; i += n) {
        for (n = 0; i + n < len && !(text[i + n] & 0x80) && p->plain[(unsigned char)text[i + n]];)
            n++;
        if (n > 0 && i + n < len && text[i + n] & 0x80)
            n--; /* what follows may belong to it */
        if (n > 0) {
            if ((rc = bytes_add(to, text + i, n, e)) < 0)
                return rc;
            continue;
        }
        n = unicode_cluster(classes, text + i, len - i);
        rc = n < CLUSTER_MAX ? find(p, text + i, n, &result, e) : 0;
        if (rc == 0)
            rc = characters(p, text + i, n, to, e);
        else if (rc > 0)
            rc = bytes_add(to, result, strlen(result), e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

const struct normalizer_ops precompiled_ops = {"Precompiled", precompiled_load, precompiled_run,
                                               precompiled_free};
