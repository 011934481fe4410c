#include "platform/base/text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Length of one valid sequence at `s`, 0 when it is not one (Unicode 15, table 3-7). */
static size_t sequence(const unsigned char *s, size_t len)
{
    unsigned char lo = 0x80, hi = 0xBF;
    size_t n, i;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    n = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (n > len)
        return 0;
    if (s[0] == 0xE0)
        lo = 0xA0;
    else if (s[0] == 0xED)
        hi = 0x9F;
    else if (s[0] == 0xF0)
        lo = 0x90;
    else if (s[0] == 0xF4)
        hi = 0x8F;
    if (s[1] < lo || s[1] > hi)
        return 0;
    for (i = 2; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

/* Are the next eight bytes there, and all ASCII? Most text is. */
static bool ascii(const char *text, size_t len)
{
    uint64_t eight;

    if (len < sizeof eight)
        return false;
    memcpy(&eight, text, sizeof eight);
    return !(eight & 0x8080808080808080u);
}

size_t text_utf8_valid(const char *text, size_t len)
{
    size_t i = 0, n;

    while (i < len) {
        if (ascii(text + i, len - i)) {
            i += sizeof(uint64_t);
            continue;
        }
        n = sequence((const unsigned char *)text + i, len - i);
        if (!n)
            break;
        i += n;
    }
    return i;
}

size_t text_utf8_encode(uint32_t c, char *to)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xC0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xE0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 0x3F));
        to[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 0x3F));
    to[2] = (char)(0x80 | (c >> 6 & 0x3F));
    to[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

static void put_escape(struct buf *b, unsigned char c)
{
    static const char *const shorts[] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};

    if (c == '"' || c == '\\')
        buf_printf(b, "\\%c", c);
    else if (c <= '\r' && shorts[c])
        buf_str(b, shorts[c]);
    else
        buf_printf(b, "\\u%04x", c);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

void text_json(struct buf *b, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0, n;

    buf_char(b, '"');
    while (i < len) {
        for (n = 0; i + n < len && is_plain(s[i + n]); n++)
            ;
        buf_add(b, s + i, n);
        i += n;
        if (i == len)
            break;
        n = sequence(s + i, len - i);
        if (n > 1)
            buf_add(b, s + i, n);
        else if (n == 1)
            put_escape(b, s[i]);
        else
            buf_str(b, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
    buf_char(b, '"');
}

int text_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end;
    long long v;

    if (!(text[0] == '-' || (text[0] >= '0' && text[0] <= '9')))
        return -1;
    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno || *end || end == text || v < min || v > max)
        return -1;
    *out = v;
    return 0;
}

int text_f64(const char *text, double min, double max, double *out)
{
    char *end;
    double v;

    if (!strchr("-.0123456789", text[0]) || !text[0] || strpbrk(text, "xXnN"))
        return -1;
    v = strtod(text, &end);
    if (*end || end == text || !isfinite(v) || v < min || v > max)
        return -1;
    *out = v;
    return 0;
}

void text_hex(const void *bytes, size_t n, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *s = bytes;
    size_t i;

    for (i = 0; i < n; i++) {
        hex[2 * i] = digits[s[i] >> 4];
        hex[2 * i + 1] = digits[s[i] & 15];
    }
    hex[2 * n] = '\0';
}

bool text_is_name(const char *text, size_t len)
{
    size_t i;

    if (len < 1 || len > 63 || text[0] == '-')
        return false;
    for (i = 0; i < len; i++)
        if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9') ||
              text[i] == '-'))
            return false;
    return true;
}
