#include "trainer/data/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct range {
    uint32_t first, last;
};
struct shift {
    uint32_t first, last;
    int32_t by;
};

#include "trainer/data/unicode_tables.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void mark(unsigned char *classes, const struct range *r, size_t n, unsigned char flag)
{
    uint32_t c;
    size_t i;

    for (i = 0; i < n; i++)
        for (c = r[i].first; c <= r[i].last; c++)
            classes[c] |= flag;
}

static bool within(const struct range *r, size_t n, uint32_t c)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (c >= r[i].first && c <= r[i].last)
            return true;
    return false;
}

static bool changes(const unsigned char *classes, uint32_t c)
{
    uint32_t to[UNICODE_NFD_MAX];

    if (unicode_lower(c, to) != 1 || to[0] != c)
        return true;
    if (unicode_nfd(c, to) != 1 || to[0] != c)
        return true;
    return unicode_combining(classes, c) != 0;
}

unsigned char *unicode_classes(void)
{
    unsigned char *classes = calloc(CHAR_COUNT, 1);
    uint32_t c;

    if (!classes)
        return NULL;
    mark(classes, drop_ranges, COUNT(drop_ranges), CHAR_DROP);
    mark(classes, space_ranges, COUNT(space_ranges), CHAR_SPACE);
    mark(classes, cjk_ranges, COUNT(cjk_ranges), CHAR_CJK);
    mark(classes, punct_ranges, COUNT(punct_ranges), CHAR_PUNCT);
    mark(classes, mark_ranges, COUNT(mark_ranges), CHAR_MARK);
    mark(classes, word_ranges, COUNT(word_ranges), CHAR_WORD);
    /* Nothing above these planes has a case, a decomposition or a combining class, but the
     * compatibility ideographs. */
    for (c = 0; c < 0x20000; c++)
        if (changes(classes, c))
            classes[c] |= CHAR_CHANGES;
    for (c = 0x2F800; c < 0x2FA20; c++)
        classes[c] |= CHAR_CHANGES;
    return classes;
}

uint32_t unicode_decode(const char *text, size_t len, size_t *n)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char lo = 0x80, hi = 0xBF;
    size_t want, i;
    uint32_t c;

    *n = 1;
    if (s[0] < 0x80)
        return s[0];
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return CHAR_REPLACEMENT;
    want = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (s[0] == 0xE0)
        lo = 0xA0; /* shorter forms exist */
    else if (s[0] == 0xED)
        hi = 0x9F; /* surrogates */
    else if (s[0] == 0xF0)
        lo = 0x90;
    else if (s[0] == 0xF4)
        hi = 0x8F; /* above U+10FFFF */
    c = s[0] & (0x7Fu >> want);
    for (i = 1; i < want; i++) {
        if (i >= len || s[i] < lo || s[i] > hi)
            return CHAR_REPLACEMENT; /* *n: the part that was good so far */
        c = c << 6 | (s[i] & 0x3F);
        lo = 0x80;
        hi = 0xBF;
        *n = i + 1;
    }
    return c;
}

size_t unicode_encode(uint32_t c, char *to)
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

int unicode_lower(uint32_t c, uint32_t to[2])
{
    size_t i;

    to[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    if (c == 0x130) { /* I with a dot: the only one that becomes two */
        to[0] = 'i';
        to[1] = 0x307;
        return 2;
    }
    if (to[0] == c && c > 0x1C00)
        for (i = 0; i < COUNT(lower_ranges); i++)
            if (c >= lower_ranges[i].first && c <= lower_ranges[i].last)
                to[0] = c + (uint32_t)lower_ranges[i].by;
    return 1;
}

int unicode_nfd(uint32_t c, uint32_t to[UNICODE_NFD_MAX])
{
    utf8proc_int32_t pieces[UNICODE_NFD_MAX];
    utf8proc_ssize_t n, i;
    int boundary = 0;

    to[0] = c;
    if (c > 0x10000 && within(whole_ranges, COUNT(whole_ranges), c))
        return 1;
    n = utf8proc_decompose_char((utf8proc_int32_t)c, pieces, UNICODE_NFD_MAX, UTF8PROC_DECOMPOSE,
                                &boundary);
    if (n < 1 || n > UNICODE_NFD_MAX)
        return 1;
    for (i = 0; i < n; i++)
        to[i] = (uint32_t)pieces[i];
    return (int)n;
}

int unicode_combining(const unsigned char *classes, uint32_t c)
{
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);

    if (p->category == UTF8PROC_CATEGORY_MN && !(classes[c] & CHAR_MARK))
        return 0; /* newer than the classes */
    return (int)p->combining_class;
}
