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

static void mark(uint32_t *classes, const struct range *r, size_t n, uint32_t flag)
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

static bool changes(const uint32_t *classes, uint32_t c)
{
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)c);
    uint32_t to[UNICODE_NFD_MAX];

    /* most of them have nothing of this; Hangul decomposes by a rule */
    if (p->lowercase_seqindex == UINT16_MAX && p->decomp_seqindex == UINT16_MAX &&
        p->combining_class == 0 && (c < 0xAC00 || c > 0xD7A3))
        return false;
    if (unicode_lower(c, to) != 1 || to[0] != c)
        return true;
    if (unicode_nfd(c, to) != 1 || to[0] != c)
        return true;
    return unicode_combining(classes, c) != 0;
}

uint32_t *unicode_classes(void)
{
    uint32_t *classes = calloc(CHAR_COUNT, sizeof *classes);
    uint32_t c;
    size_t i;

    if (!classes)
        return NULL;
    mark(classes, drop_ranges, COUNT(drop_ranges), CHAR_DROP);
    mark(classes, space_ranges, COUNT(space_ranges), CHAR_SPACE);
    mark(classes, cjk_ranges, COUNT(cjk_ranges), CHAR_CJK);
    mark(classes, punct_ranges, COUNT(punct_ranges), CHAR_PUNCT);
    mark(classes, mark_ranges, COUNT(mark_ranges), CHAR_MARK);
    mark(classes, word_ranges, COUNT(word_ranges), CHAR_WORD);
    mark(classes, ordered_ranges, COUNT(ordered_ranges), CHAR_ORDERED);
    mark(classes, letter_ranges, COUNT(letter_ranges), CHAR_LETTER);
    mark(classes, number_ranges, COUNT(number_ranges), CHAR_NUMBER);
    mark(classes, joins_ranges, COUNT(joins_ranges), CHAR_JOINS);
    mark(classes, prepend_ranges, COUNT(prepend_ranges), CHAR_PREPEND);
    mark(classes, control_ranges, COUNT(control_ranges), CHAR_CONTROL);
    mark(classes, pict_ranges, COUNT(pict_ranges), CHAR_PICT);
    mark(classes, consonant_ranges, COUNT(consonant_ranges), CHAR_CONSONANT);
    mark(classes, linker_ranges, COUNT(linker_ranges), CHAR_LINKER);
    mark(classes, filler_ranges, COUNT(filler_ranges), CHAR_FILLER);
    /* Nothing above these planes has a case, a decomposition or a combining class, but the
     * compatibility ideographs. */
    for (c = 0; c < 0x20000; c++)
        if (changes(classes, c))
            classes[c] |= CHAR_CHANGES;
    for (c = 0x2F800; c < 0x2FA20; c++)
        classes[c] |= CHAR_CHANGES;
    for (i = 0; i < COUNT(lower_ranges); i++)
        for (c = lower_ranges[i].first; c <= lower_ranges[i].last; c++)
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

int unicode_combining(const uint32_t *classes, uint32_t c)
{
    if (!(classes[c] & CHAR_ORDERED))
        return 0;
    return (int)utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}

bool unicode_newer(const uint32_t *classes, uint32_t c, uint32_t before)
{
    utf8proc_int32_t pair[2] = {(utf8proc_int32_t)before, (utf8proc_int32_t)c};

    if (!(classes[c] & CHAR_ORDERED) && utf8proc_get_property(pair[1])->combining_class != 0)
        return true;
    if (before < 0x10000 || c < 0x300)
        return false;
    return utf8proc_normalize_utf32(pair, 2, UTF8PROC_COMPOSE | UTF8PROC_STABLE) == 1 &&
           within(whole_ranges, COUNT(whole_ranges), (uint32_t)pair[0]);
}

/* The blocks of a Hangul syllable. */
enum jamo { JAMO_NONE, JAMO_L, JAMO_V, JAMO_T, JAMO_LV, JAMO_LVT };

static enum jamo jamo(uint32_t c)
{
    if (c == 0x16D63 || (c >= 0x16D67 && c <= 0x16D6A)) /* vowel signs that join like these */
        return JAMO_V;
    if (c < 0x1100 || c > 0xD7FB)
        return JAMO_NONE;
    if (c <= 0x115F || (c >= 0xA960 && c <= 0xA97C))
        return JAMO_L;
    if (c <= 0x11A7 || (c >= 0xD7B0 && c <= 0xD7C6))
        return JAMO_V;
    if (c <= 0x11FF || c >= 0xD7CB)
        return JAMO_T;
    if (c < 0xAC00 || c > 0xD7A3)
        return JAMO_NONE;
    return (c - 0xAC00) % 28 ? JAMO_LVT : JAMO_LV;
}

static bool syllable(uint32_t a, uint32_t b)
{
    enum jamo first = jamo(a), next = jamo(b);

    if (first == JAMO_L)
        return next == JAMO_L || next == JAMO_V || next == JAMO_LV || next == JAMO_LVT;
    if (first == JAMO_V || first == JAMO_LV)
        return next == JAMO_V || next == JAMO_T;
    return (first == JAMO_T || first == JAMO_LVT) && next == JAMO_T;
}

#define IS_REGION(c) ((c) >= 0x1F1E6 && (c) <= 0x1F1FF)
#define JOINER       0x200D

/* What of a cluster rules whether the next character belongs to it. */
struct cluster {
    uint32_t last;
    bool pict, joined;     /* a pictograph and marks; and then a joiner */
    bool conjunct, linked; /* a consonant and fillers; a linker among them */
    bool region;           /* an odd number of regional indicators */
};

static void cluster_add(const uint32_t *classes, struct cluster *k, uint32_t c)
{
    uint32_t flags = classes[c];

    k->joined = k->pict && c == JOINER;
    k->pict = (flags & CHAR_PICT) || (k->pict && flags & CHAR_JOINS && c != JOINER);
    k->linked = !(flags & CHAR_CONSONANT) && k->conjunct && flags & (CHAR_FILLER | CHAR_LINKER) &&
                (k->linked || flags & CHAR_LINKER);
    k->conjunct = (flags & CHAR_CONSONANT) || (k->conjunct && flags & (CHAR_FILLER | CHAR_LINKER));
    k->region = IS_REGION(c) && !k->region;
    k->last = c;
}

static bool cluster_takes(const uint32_t *classes, const struct cluster *k, uint32_t c)
{
    if (k->last == '\r' && c == '\n')
        return true;
    if (classes[k->last] & CHAR_CONTROL || classes[c] & CHAR_CONTROL)
        return false;
    if (classes[c] & CHAR_JOINS || classes[k->last] & CHAR_PREPEND || syllable(k->last, c))
        return true;
    if (k->joined && classes[c] & CHAR_PICT)
        return true;
    return (k->linked && classes[c] & CHAR_CONSONANT) || (k->region && IS_REGION(c));
}

size_t unicode_cluster(const uint32_t *classes, const char *text, size_t len)
{
    struct cluster k = {0};
    size_t at = 0, n;
    uint32_t c;

    cluster_add(classes, &k, unicode_decode(text, len, &at));
    while (at < len) {
        c = unicode_decode(text + at, len - at, &n);
        if (!cluster_takes(classes, &k, c))
            break;
        cluster_add(classes, &k, c);
        at += n;
    }
    return at;
}
