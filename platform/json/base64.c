#include "platform/json/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *bytes, size_t n, char *out)
{
    const unsigned char *s = bytes;
    size_t i;

    for (i = 0; i + 2 < n; i += 3) {
        *out++ = alphabet[s[i] >> 2];
        *out++ = alphabet[(s[i] & 3) << 4 | s[i + 1] >> 4];
        *out++ = alphabet[(s[i + 1] & 15) << 2 | s[i + 2] >> 6];
        *out++ = alphabet[s[i + 2] & 63];
    }
    if (n - i == 1) {
        *out++ = alphabet[s[i] >> 2];
        *out++ = alphabet[(s[i] & 3) << 4];
        *out++ = '=';
        *out++ = '=';
    } else if (n - i == 2) {
        *out++ = alphabet[s[i] >> 2];
        *out++ = alphabet[(s[i] & 3) << 4 | s[i + 1] >> 4];
        *out++ = alphabet[(s[i + 1] & 15) << 2];
        *out++ = '=';
    }
    *out = 0;
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

long base64_decode(const char *text, size_t n, void *out, size_t *at)
{
    unsigned char *o = out;
    size_t i, pad = 0;
    unsigned v = 0;

    *at = n;
    if (n % 4)
        return -1;
    if (n)
        pad = (text[n - 1] == '=') + (text[n - 1] == '=' && text[n - 2] == '=');
    for (i = 0; i < n; i++) {
        int d = i >= n - pad ? 0 : digit(text[i]);

        *at = i;
        if (d < 0)
            return -1;
        v = v << 6 | (unsigned)d;
        if (i % 4 < 3)
            continue;
        *o++ = (unsigned char)(v >> 16);
        if (i + 1 < n || pad < 2)
            *o++ = (unsigned char)(v >> 8);
        if (i + 1 < n || pad < 1)
            *o++ = (unsigned char)v;
        if (i + 1 == n && pad && (v & (pad == 2 ? 0xffff : 0xff)))
            return -1; /* bits beyond the data: two texts would mean one value */
        v = 0;
    }
    return o - (unsigned char *)out;
}
