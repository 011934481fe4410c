/*
 * The pre-tokenizers of a file, in their order. Each cuts a piece into smaller
 * ones, or changes it in a buffer of its own, and hands the pieces on at once:
 * a text that is full of ids stops there.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

int walk_piece(struct walk *w, int at, const char *text, size_t len, bool head)
{
    const struct splitter *next = &w->t->splitters[at];

    if (len == 0 || walk_full(w))
        return 0;
    if (at == w->t->splitter_count)
        return w->t->ops->word(w->t->model, text, len, w->s, w->e);
    return next->ops->run(next->self, w, at, text, len, head);
}

/* On normalised text: blanks part words, punctuation is a word by itself. */
static int bert_run(const void *self, struct walk *w, int at, const char *text, size_t len,
                    bool head)
{
    const uint32_t *classes = w->t->classes;
    size_t i = 0, begin = 0, n;
    int rc = 0;

    (void)self;
    while (i < len && rc == 0 && !walk_full(w)) {
        uint32_t c = (unsigned char)text[i];
        uint32_t flags;

        n = 1;
        if (c >= 128)
            c = unicode_decode(text + i, len - i, &n);
        flags = classes[c] & (CHAR_SPACE | CHAR_PUNCT);
        i += n;
        if (!flags)
            continue;
        rc = walk_piece(w, at + 1, text + begin, i - n - begin, head && begin == 0);
        if (rc == 0 && flags & CHAR_PUNCT)
            rc = walk_piece(w, at + 1, text + i - n, n, head && i == n);
        begin = i;
    }
    if (rc == 0)
        rc = walk_piece(w, at + 1, text + begin, len - begin, head && begin == 0);
    return rc;
}

static int whitespace_run(const void *self, struct walk *w, int at, const char *text, size_t len,
                          bool head)
{
    size_t i = 0, begin = 0, n;
    int rc = 0;

    (void)self;
    for (; i < len && rc == 0 && !walk_full(w); i += n) {
        if (!(w->t->classes[unicode_decode(text + i, len - i, &n)] & CHAR_SPACE))
            continue;
        rc = walk_piece(w, at + 1, text + begin, i - begin, head && begin == 0);
        begin = i + n;
    }
    if (rc == 0)
        rc = walk_piece(w, at + 1, text + begin, len - begin, head && begin == 0);
    return rc;
}

enum behavior { REMOVED, ISOLATED, WITH_PREVIOUS, WITH_NEXT, CONTIGUOUS };
static const char *const behaviors[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};

/* Parts of a text, matches and what is between them, that a behaviour joins to pieces. */
struct parts {
    struct walk *w;
    int at;
    enum behavior behavior;
    const char *text;
    size_t begin, end; /* of the piece that may grow */
    bool match;        /* its last part is a match */
    bool head;
};

static int parts_end(struct parts *p)
{
    return walk_piece(p->w, p->at + 1, p->text + p->begin, p->end - p->begin,
                      p->head && p->begin == 0);
}

static int parts_add(struct parts *p, size_t begin, size_t end, bool match)
{
    bool join = (p->behavior == WITH_PREVIOUS && match && !p->match) ||
                (p->behavior == WITH_NEXT && !match && p->match) ||
                (p->behavior == CONTIGUOUS && match == p->match);
    int rc = 0;

    if (begin == end)
        return 0;
    if (!join || p->begin == p->end) {
        rc = parts_end(p);
        p->begin = begin;
    }
    p->end = end;
    p->match = match;
    if (p->behavior == REMOVED && match)
        p->begin = end;
    return rc;
}

static int cut(struct walk *w, int at, const struct regex *pattern, enum behavior behavior,
               bool invert, const char *text, size_t len, bool head)
{
    struct parts p = {.w = w, .at = at, .behavior = behavior, .text = text, .head = head};
    struct regex_scan scan;
    size_t done = 0;
    int rc;

    regex_begin(&scan, pattern, w->t->classes, text, len);
    while (!walk_full(w) && (rc = regex_next(&scan, w->e)) != 0) {
        if (rc < 0 || (rc = parts_add(&p, done, scan.begin, invert)) < 0 ||
            (rc = parts_add(&p, scan.begin, scan.end, !invert)) < 0)
            return rc;
        done = scan.end;
    }
    if ((rc = parts_add(&p, done, len, invert)) < 0)
        return rc;
    return parts_end(&p);
}

struct split {
    struct regex *pattern;
    enum behavior behavior;
    bool invert;
};

static void split_free(void *self)
{
    struct split *s = self;

    if (s)
        regex_free(s->pattern);
    free(s);
}

static int split_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    struct split *s = calloc(1, sizeof *s);
    const char *behavior;
    int rc, i;

    if (!s)
        return err_set(e, ERR_NOMEM, "pre-tokenizer");
    if ((rc = json_string_at(v, "behavior", &behavior, e)) < 0 ||
        (rc = json_bool_or(v, "invert", false, &s->invert, e)) < 0 ||
        (rc = regex_load(&s->pattern, v, classes, e)) < 0)
        goto fail;
    for (i = 0; i <= CONTIGUOUS && strcmp(behaviors[i], behavior) != 0; i++)
        ;
    if (i > CONTIGUOUS) {
        rc = err_set(e, ERR_FORMAT, "unknown behavior \"%s\"", behavior);
        goto fail;
    }
    s->behavior = (enum behavior)i;
    *out = s;
    return 0;
fail:
    split_free(s);
    return rc;
}

static int split_run(const void *self, struct walk *w, int at, const char *text, size_t len,
                     bool head)
{
    const struct split *s = self;

    return cut(w, at, s->pattern, s->behavior, s->invert, text, len, head);
}

struct metaspace {
    enum { ALWAYS, FIRST, NEVER } prepend;
    bool split;
    char mark[8];
    struct regex *pattern; /* the mark */
};

static void metaspace_free(void *self)
{
    struct metaspace *m = self;

    if (m)
        regex_free(m->pattern);
    free(m);
}

static int metaspace_read(struct metaspace *m, const json_t *v, const uint32_t *classes,
                          struct err *e)
{
    static const char *const schemes[] = {"always", "first", "never"};
    const char *scheme, *mark;
    json_t *pattern;
    bool prefix;
    int rc, i;
    size_t n;

    if ((rc = json_string_or(v, "prepend_scheme", "always", &scheme, e)) < 0 ||
        (rc = json_string_at(v, "replacement", &mark, e)) < 0 ||
        (rc = json_bool_or(v, "split", true, &m->split, e)) < 0)
        return rc;
    for (i = 0; i <= NEVER && strcmp(schemes[i], scheme) != 0; i++)
        ;
    m->prepend = i;
    if (i > NEVER)
        return err_set(e, ERR_FORMAT, "unknown prepend_scheme \"%s\"", scheme);
    if ((rc = json_bool_or(v, "add_prefix_space", i != NEVER, &prefix, e)) < 0)
        return rc;
    if (!prefix && i != NEVER)
        return err_set(e, ERR_FORMAT, "add_prefix_space does not match prepend_scheme \"%s\"",
                       scheme);
    if (!*mark || (unicode_decode(mark, strlen(mark), &n), n) != strlen(mark))
        return err_set(e, ERR_FORMAT, "replacement: expected one character");
    memcpy(m->mark, mark, n + 1);
    pattern = json_pack("{s:{s:s}}", "pattern", "String", mark);
    if (!pattern)
        return err_set(e, ERR_NOMEM, "pre-tokenizer");
    rc = regex_load(&m->pattern, pattern, classes, e);
    json_decref(pattern);
    return rc;
}

static int metaspace_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    struct metaspace *m = calloc(1, sizeof *m);
    int rc = m ? metaspace_read(m, v, classes, e) : err_set(e, ERR_NOMEM, "pre-tokenizer");

    if (rc < 0)
        metaspace_free(m);
    else
        *out = m;
    return rc;
}

/* Blanks become marks, one more goes before the text. */
static int metaspace_run(const void *self, struct walk *w, int at, const char *text, size_t len,
                         bool head)
{
    const struct metaspace *m = self;
    struct bytes *to = &w->s->steps[at];
    size_t mark = strlen(m->mark), i;
    int rc;

    to->len = 0;
    if ((rc = bytes_need(to, len * mark + mark, w->e)) < 0)
        return rc;
    if (text[0] != ' ' && (len < mark || memcmp(text, m->mark, mark) != 0) &&
        (m->prepend == ALWAYS || (m->prepend == FIRST && head))) {
        memcpy(to->data, m->mark, mark);
        to->len = mark;
    }
    for (i = 0; i < len; i++) {
        if (text[i] != ' ') {
            to->data[to->len++] = text[i];
            continue;
        }
        memcpy(to->data + to->len, m->mark, mark);
        to->len += mark;
    }
    if (!m->split)
        return walk_piece(w, at + 1, to->data, to->len, head);
    return cut(w, at, m->pattern, WITH_NEXT, false, to->data, to->len, head);
}

/* ByteLevel cuts a piece into words and then changes their bytes: two steps here. */
struct byte_level {
    bool prefix;
    struct regex *pattern; /* NULL: the piece is not cut */
};

static void byte_level_free(void *self)
{
    struct byte_level *b = self;

    if (b)
        regex_free(b->pattern);
    free(b);
}

static int byte_level_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    static const char pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|"
                                  " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    struct byte_level *b = calloc(1, sizeof *b);
    bool use;
    int rc;

    if (!b)
        return err_set(e, ERR_NOMEM, "pre-tokenizer");
    if ((rc = json_bool_or(v, "add_prefix_space", true, &b->prefix, e)) < 0 ||
        (rc = json_bool_or(v, "use_regex", true, &use, e)) < 0 ||
        (use && (rc = regex_new(&b->pattern, pattern, classes, e)) < 0)) {
        byte_level_free(b);
        return rc;
    }
    *out = b;
    return 0;
}

static int byte_level_run(const void *self, struct walk *w, int at, const char *text, size_t len,
                          bool head)
{
    const struct byte_level *b = self;
    struct bytes *to = &w->s->steps[at];
    int rc;

    if (b->prefix && text[0] != ' ') {
        to->len = 0;
        if ((rc = bytes_add(to, " ", 1, w->e)) < 0 || (rc = bytes_add(to, text, len, w->e)) < 0)
            return rc;
        text = to->data;
        len = to->len;
    }
    if (!b->pattern)
        return walk_piece(w, at + 1, text, len, head);
    return cut(w, at, b->pattern, ISOLATED, false, text, len, head);
}

/* The byte-level alphabet, in UTF-8 of at most two bytes: printable Latin-1 bytes stand for
 * themselves, the others for the characters from U+0100 on. */
struct byte_map {
    char to[256][4];
};

static int byte_map_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    struct byte_map *m = calloc(1, sizeof *m);
    uint32_t c, next = 256;

    (void)v;
    (void)classes;
    if (!m)
        return err_set(e, ERR_NOMEM, "pre-tokenizer");
    for (c = 0; c < 256; c++) {
        bool itself = (c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || c >= 0xAE;

        text_utf8_encode(itself ? c : next++, m->to[c]);
    }
    *out = m;
    return 0;
}

static int byte_map_run(const void *self, struct walk *w, int at, const char *text, size_t len,
                        bool head)
{
    const struct byte_map *m = self;
    struct bytes *to = &w->s->steps[at];
    size_t i;
    int rc;

    to->len = 0;
    if ((rc = bytes_need(to, len * 2, w->e)) < 0)
        return rc;
    for (i = 0; i < len; i++) {
        const char *c = m->to[(unsigned char)text[i]];

        to->data[to->len++] = c[0];
        if (c[1])
            to->data[to->len++] = c[1];
    }
    return walk_piece(w, at + 1, to->data, to->len, head);
}

static const struct splitter_ops bert_ops = {"BertPreTokenizer", NULL, bert_run, NULL};
static const struct splitter_ops whitespace_ops = {"WhitespaceSplit", NULL, whitespace_run, NULL};
static const struct splitter_ops split_ops = {"Split", split_load, split_run, split_free};
static const struct splitter_ops metaspace_ops = {"Metaspace", metaspace_load, metaspace_run,
                                                  metaspace_free};
static const struct splitter_ops byte_level_ops = {"ByteLevel", byte_level_load, byte_level_run,
                                                   byte_level_free};
static const struct splitter_ops byte_map_ops = {"ByteLevel", byte_map_load, byte_map_run, free};

static const struct {
    const struct splitter_ops *first, *second;
} known[] = {{&bert_ops, NULL},
             {&byte_level_ops, &byte_map_ops},
             {&metaspace_ops, NULL},
             {&split_ops, NULL},
             {&whitespace_ops, NULL}};

bool splitter_is_bert(const struct tokenizer *t)
{
    return t->splitter_count == 1 && t->splitters[0].ops == &bert_ops;
}

static int add_step(struct tokenizer *t, const struct splitter_ops *ops, const json_t *v,
                    struct err *e)
{
    struct splitter *s = &t->splitters[t->splitter_count];
    int rc;

    if (t->splitter_count == STEPS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d of them", STEPS_MAX);
    if (ops->load && (rc = ops->load(&s->self, v, t->classes, e)) < 0)
        return rc;
    s->ops = ops;
    t->splitter_count++;
    return 0;
}

static int add(struct tokenizer *t, const json_t *v, struct err *e);

static int add_all(struct tokenizer *t, const json_t *v, struct err *e)
{
    json_t *list, *item;
    size_t i;
    int rc;

    if ((rc = json_array_at(v, "pretokenizers", &list, e)) < 0)
        return rc;
    json_array_foreach(list, i, item)
    {
        if ((rc = add(t, item, e)) < 0) {
            err_wrap(e, "%zu", i);
            return rc;
        }
    }
    return 0;
}

/* One behind the others, or a sequence of them (as deep as the file's limits allow). */
static int add(struct tokenizer *t, const json_t *v, struct err *e)
{
    const char *type;
    size_t i;
    int rc;

    if ((rc = json_string_at(v, "type", &type, e)) < 0)
        return rc;
    if (strcmp(type, "Sequence") == 0)
        return add_all(t, v, e);
    for (i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].first->type, type) == 0)
            break;
    if (i == sizeof known / sizeof *known)
        return err_set(e, ERR_UNSUPPORTED,
                       "type \"%s\"; known: Sequence, BertPreTokenizer, ByteLevel, Metaspace, "
                       "Split, WhitespaceSplit",
                       type);
    rc = add_step(t, known[i].first, v, e);
    return rc == 0 && known[i].second ? add_step(t, known[i].second, v, e) : rc;
}

int splitter_load(struct tokenizer *t, const json_t *root, struct err *e)
{
    json_t *v = json_find(root, "pre_tokenizer");
    int rc = v && !json_is_null(v) ? add(t, v, e) : 0;

    if (rc < 0)
        err_wrap(e, "pre_tokenizer");
    return rc;
}

void splitter_release(struct tokenizer *t)
{
    int i;

    for (i = 0; i < t->splitter_count; i++)
        if (t->splitters[i].ops->free)
            t->splitters[i].ops->free(t->splitters[i].self);
}
