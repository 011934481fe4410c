/*
 * NFC: canonical decomposition, canonical order, composition. The library's
 * tables are older than utf8proc's, so the composition is done between the
 * characters that only the newer ones know; and before U+11A7, the trailing
 * consonant that is none, which utf8proc lets vanish behind a syllable.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define HANGUL_NO_TRAIL 0x11A7

static int point(struct bytes *to, uint32_t c, struct err *e)
{
    return bytes_add(to, (const char *)&c, sizeof c, e);
}

static int decompose(const uint32_t *classes, const char *text, size_t len, struct bytes *to,
                     struct err *e)
{
    uint32_t pieces[UNICODE_NFD_MAX];
    size_t i = 0, n;
    int count, k, rc;

    for (; i < len; i += n) {
        uint32_t c = unicode_decode(text + i, len - i, &n);

        pieces[0] = c;
        count = classes[c] & CHAR_CHANGES ? unicode_nfd(c, pieces) : 1;
        for (k = 0; k < count; k++)
            if ((rc = point(to, pieces[k], e)) < 0)
                return rc;
    }
    return 0;
}

/* Stable counting sort of each run of marks by class. */
static int order(const uint32_t *classes, uint32_t *points, size_t count, struct bytes *spare,
                 struct err *e)
{
    size_t begin = 0, end, i;
    bool unordered;
    int rc, class, last;

    for (; begin < count; begin = end + 1) {
        size_t starts[257] = {0};
        uint32_t *sorted;

        last = 0;
        unordered = false;
        for (end = begin; end < count && (class = unicode_combining(classes, points[end])); end++) {
            unordered |= class < last;
            last = class;
        }
        if (!unordered)
            continue;
        spare->len = 0;
        if ((rc = bytes_need(spare, (end - begin) * sizeof *sorted, e)) < 0)
            return rc;
        sorted = (uint32_t *)(void *)spare->data;
        for (i = begin; i < end; i++)
            starts[unicode_combining(classes, points[i]) + 1]++;
        for (i = 1; i < 257; i++)
            starts[i] += starts[i - 1];
        for (i = begin; i < end; i++)
            sorted[starts[unicode_combining(classes, points[i])]++] = points[i];
        memcpy(points + begin, sorted, (end - begin) * sizeof *sorted);
    }
    return 0;
}

/* Composes points[0..count) in place, returns how many are left. */
static size_t compose(uint32_t *points, size_t count)
{
    utf8proc_ssize_t n = utf8proc_normalize_utf32(
        (utf8proc_int32_t *)points, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);

    return n < 0 ? count : (size_t)n;
}

static int nfc_run(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
                   const char *text, size_t len, struct bytes *to, struct err *e)
{
    size_t begin = 0, end, count, i, n;
    uint32_t *points;
    int rc;

    (void)self;
    for (i = 0; i < len && !(text[i] & 0x80); i++)
        ;
    if (i == len) /* ASCII is its own normal form */
        return bytes_add(to, text, len, e);
    s->points.len = 0;
    if ((rc = decompose(classes, text, len, &s->points, e)) < 0)
        return rc;
    points = (uint32_t *)(void *)s->points.data;
    count = s->points.len / sizeof *points;
    if ((rc = order(classes, points, count, &s->heap, e)) < 0)
        return rc;
    for (; begin < count; begin = end) {
        end = begin + 1;
        while (end < count && points[end] != HANGUL_NO_TRAIL &&
               !unicode_newer(classes, points[end], points[end - 1]))
            end++;
        n = compose(points + begin, end - begin);
        if ((rc = bytes_need(to, n * 4, e)) < 0)
            return rc;
        for (i = 0; i < n; i++)
            to->len += text_utf8_encode(points[begin + i], to->data + to->len);
    }
    return 0;
}

const struct normalizer_ops nfc_ops = {"NFC", NULL, nfc_run, NULL};
