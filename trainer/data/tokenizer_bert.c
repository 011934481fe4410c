/*
 * BertNormalizer: clean_text, blanks around ideographs, canonical decomposition
 * without nonspacing marks, lower case; in this order, as in the library.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

void bert_settle(struct bert *n)
{
    int c;

    for (c = 0; c < 128; c++) {
        bool blank = c == '\t' || c == '\n' || c == '\r' || c == ' ';

        n->ascii[c] = (unsigned char)c;
        if (n->clean && blank)
            n->ascii[c] = ' ';
        else if (n->clean && (c < 32 || c == 127))
            n->ascii[c] = 0;
        if (n->lower && c >= 'A' && c <= 'Z')
            n->ascii[c] = (unsigned char)(c + 32);
    }
}

/* One run of characters whose order is canonical by their combining class. */
struct run {
    const struct bert *bert;
    const uint32_t *classes;
    struct tokenizer_scratch *s;
    struct bytes *to;
    size_t count;
    bool unordered;
    int last; /* class of the last one */
};

static void put(struct run *r, uint32_t c)
{
    uint32_t lower[2];
    int n = 1, i;

    lower[0] = c;
    if (r->bert->lower && (r->classes[c] & CHAR_CHANGES))
        n = unicode_lower(c, lower);
    for (i = 0; i < n; i++)
        r->to->len += text_utf8_encode(lower[i], r->to->data + r->to->len);
}

/* Stable counting sort by class: a text of marks only costs no more than any other. */
static int order(struct run *r, struct err *e)
{
    size_t starts[257] = {0}, i;
    uint32_t *sorted = malloc(r->count * sizeof *sorted);

    if (!sorted)
        return err_set(e, ERR_NOMEM, "ordering %zu marks", r->count);
    for (i = 0; i < r->count; i++)
        starts[unicode_combining(r->classes, r->s->marks[i]) + 1]++;
    for (i = 1; i < 257; i++)
        starts[i] += starts[i - 1];
    for (i = 0; i < r->count; i++)
        sorted[starts[unicode_combining(r->classes, r->s->marks[i])]++] = r->s->marks[i];
    memcpy(r->s->marks, sorted, r->count * sizeof *sorted);
    free(sorted);
    return 0;
}

static int flush(struct run *r, struct err *e)
{
    size_t i;
    int rc;

    if (r->count == 0)
        return 0;
    if (r->unordered && (rc = order(r, e)) < 0)
        return rc;
    if ((rc = bytes_need(r->to, r->count * 8, e)) < 0)
        return rc;
    for (i = 0; i < r->count; i++)
        put(r, r->s->marks[i]);
    r->count = 0;
    r->unordered = false;
    r->last = 0;
    return 0;
}

static int hold(struct run *r, uint32_t c, int class, struct err *e)
{
    size_t cap = r->s->marks_cap ? r->s->marks_cap : 64;
    uint32_t *marks;

    if (r->count == r->s->marks_cap) {
        if (r->count)
            cap *= 2;
        marks = realloc(r->s->marks, cap * sizeof *marks);
        if (!marks)
            return err_set(e, ERR_NOMEM, "a run of %zu marks", cap);
        r->s->marks = marks;
        r->s->marks_cap = cap;
    }
    if (class < r->last)
        r->unordered = true;
    r->last = class;
    r->s->marks[r->count++] = c;
    return 0;
}

/* Decomposes, drops nonspacing marks, keeps the rest in canonical order. */
static int strip(struct run *r, uint32_t c, struct err *e)
{
    uint32_t pieces[UNICODE_NFD_MAX];
    int n = 1, i, class, rc;

    pieces[0] = c;
    if (r->classes[c] & CHAR_CHANGES)
        n = unicode_nfd(c, pieces);
    for (i = 0; i < n; i++) {
        c = pieces[i];
        class = r->classes[c] & CHAR_CHANGES ? unicode_combining(r->classes, c) : 0;
        if (class == 0 && (rc = flush(r, e)) < 0)
            return rc;
        if (r->classes[c] & CHAR_MARK)
            continue;
        if (class == 0)
            put(r, c);
        else if ((rc = hold(r, c, class, e)) < 0)
            return rc;
    }
    return 0;
}

static int one(struct run *r, uint32_t c, struct err *e)
{
    const struct bert *n = r->bert;
    uint32_t flags = r->classes[c];
    bool pad;
    int rc;

    if (n->clean && (flags & (CHAR_DROP | CHAR_SPACE))) {
        if (flags & CHAR_DROP)
            return 0;
        c = ' ';
        flags = 0;
    }
    pad = n->cjk && (flags & CHAR_CJK);
    if (!n->strip) {
        if (pad)
            put(r, ' ');
        put(r, c);
        if (pad)
            put(r, ' ');
        return 0;
    }
    if (pad && (rc = strip(r, ' ', e)) < 0)
        return rc;
    if ((rc = strip(r, c, e)) < 0)
        return rc;
    return pad ? strip(r, ' ', e) : 0;
}

static int bert_run(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
                    const char *text, size_t len, struct bytes *to, struct err *e)
{
    struct run r = {.bert = self, .classes = classes, .s = s, .to = to};
    size_t i = 0, n;
    int rc;

    while (i < len) {
        unsigned char c = (unsigned char)text[i];

        /* 4 pieces of at most 2 characters of 4 bytes, and two blanks */
        if ((rc = bytes_need(to, 64, e)) < 0)
            return rc;
        if (c < 128) {
            if ((rc = flush(&r, e)) < 0)
                return rc;
            if (r.bert->ascii[c] || !r.bert->clean)
                to->data[to->len++] = (char)r.bert->ascii[c];
            n = 1;
        } else if ((rc = one(&r, unicode_decode(text + i, len - i, &n), e)) < 0) {
            return rc;
        }
        if (i == 0 && to->len == 0)
            s->headless = true;
        i += n;
    }
    return flush(&r, e);
}

static int bert_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    struct bert *n = calloc(1, sizeof *n);
    int rc;

    (void)classes;
    if (!n)
        return err_set(e, ERR_NOMEM, "normalizer");
    if ((rc = json_bool_or(v, "clean_text", true, &n->clean, e)) < 0 ||
        (rc = json_bool_or(v, "handle_chinese_chars", true, &n->cjk, e)) < 0 ||
        (rc = json_bool_or(v, "lowercase", true, &n->lower, e)) < 0 ||
        (rc = json_bool_or(v, "strip_accents", n->lower, &n->strip, e)) < 0) {
        free(n);
        return rc;
    }
    bert_settle(n);
    *out = n;
    return 0;
}

const struct normalizer_ops bert_normalizer_ops = {"BertNormalizer", bert_load, bert_run, free};
