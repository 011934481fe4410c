#include "trainer/data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "platform/base/file.h"
#include "platform/base/text.h"
#include "trainer/data/tokenizer_int.h"

int bytes_need(struct bytes *b, size_t more, struct err *e)
{
    size_t cap = b->cap ? b->cap : 1024;
    char *data;

    if (b->cap - b->len >= more)
        return 0;
    if (more > BUFFER_MAX)
        cap = BUFFER_MAX + 1;
    while (cap <= BUFFER_MAX && cap - b->len < more)
        cap *= 2;
    if (cap > BUFFER_MAX)
        return err_set(e, ERR_LIMIT, "a text grows above %zu bytes on its way", BUFFER_MAX);
    data = realloc(b->data, cap);
    if (!data)
        return err_set(e, ERR_NOMEM, "tokenizing: %zu bytes", cap);
    b->data = data;
    b->cap = cap;
    return 0;
}

int bytes_add(struct bytes *b, const char *text, size_t len, struct err *e)
{
    int rc = bytes_need(b, len, e);

    if (rc < 0 || len == 0)
        return rc;
    memcpy(b->data + b->len, text, len);
    b->len += len;
    return 0;
}

int scratch_need_ids(struct tokenizer_scratch *s, size_t more, struct err *e)
{
    size_t cap = s->cap ? s->cap : 256;
    int32_t *ids;

    if (s->cap - s->count >= more)
        return 0;
    while (cap - s->count < more)
        cap *= 2;
    ids = realloc(s->ids, cap * sizeof *ids);
    if (!ids)
        return err_set(e, ERR_NOMEM, "tokenizing: %zu ids", cap);
    s->ids = ids;
    s->cap = cap;
    return 0;
}

struct tokenizer_scratch *tokenizer_scratch_new(void)
{
    return calloc(1, sizeof(struct tokenizer_scratch));
}

void tokenizer_scratch_free(struct tokenizer_scratch *s)
{
    int i;

    if (!s)
        return;
    free(s->utf8.data);
    free(s->normal.data);
    free(s->other.data);
    free(s->nodes.data);
    free(s->heap.data);
    free(s->points.data);
    for (i = 0; i < STEPS_MAX; i++)
        free(s->steps[i].data);
    free(s->marks);
    free(s->ids);
    free(s);
}

int tokenizer_parse(struct tokenizer **out, const char *name, const void *bytes, size_t n,
                    struct err *e)
{
    static const struct json_limits limits = {(size_t)128 << 20, 32, (size_t)4 << 20, 1 << 16};
    struct tokenizer *t = calloc(1, sizeof *t);
    json_t *root = NULL;
    int rc;

    if (!t)
        return err_set(e, ERR_NOMEM, "%s", name);
    if ((rc = json_parse(bytes, n, &limits, &root, e)) < 0)
        goto fail;
    if ((rc = tokenizer_load(t, root, e)) < 0)
        goto fail;
    json_decref(root);
    *out = t;
    return 0;
fail:
    json_decref(root);
    tokenizer_free(t);
    err_wrap(e, "%s", name);
    return rc;
}

int tokenizer_open(struct tokenizer **out, const char *path, struct err *e)
{
    struct buf b;
    int rc;

    buf_init(&b, (size_t)128 << 20);
    rc = file_read(path, &b, e);
    if (rc == 0)
        rc = tokenizer_parse(out, path, b.data ? b.data : "", b.len, e);
    buf_release(&b);
    return rc;
}

static void added_release(struct added_set *a)
{
    vocab_free(a->vocab);
    free(a->tokens);
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    if (t->ops)
        t->ops->free(t->model);
    normalizer_release(t);
    splitter_release(t);
    added_release(&t->raw);
    added_release(&t->normalized);
    free(t->classes);
    free(t->before);
    free(t->after);
    free(t);
}

const struct tokenizer_info *tokenizer_info(const struct tokenizer *t)
{
    return &t->info;
}

static int push_id(struct walk *w, int32_t id)
{
    int rc = scratch_need_ids(w->s, 1, w->e);

    if (rc == 0)
        w->s->ids[w->s->count++] = id;
    return rc;
}

typedef int (*piece_fn)(struct walk *w, const char *text, size_t len, bool head);

static bool word_ends(const struct tokenizer *t, const char *text, size_t at)
{
    size_t i = at, n;

    if (at == 0)
        return false;
    for (i--; i > 0 && (text[i] & 0xC0) == 0x80; i--)
        ;
    return t->classes[unicode_decode(text + i, at - i, &n)] & CHAR_WORD;
}

static bool word_begins(const struct tokenizer *t, const char *text, size_t len)
{
    size_t n;

    return len > 0 && t->classes[unicode_decode(text, len, &n)] & CHAR_WORD;
}

/* Start of the blanks that end text[from..at). */
static size_t blanks_before(const struct tokenizer *t, const char *text, size_t from, size_t at)
{
    size_t i, n;

    while (at > from) {
        for (i = at - 1; i > from && (text[i] & 0xC0) == 0x80; i--)
            ;
        if (!(t->classes[unicode_decode(text + i, at - i, &n)] & CHAR_SPACE))
            break;
        at = i;
    }
    return at;
}

static size_t blanks_after(const struct tokenizer *t, const char *text, size_t len)
{
    size_t i = 0, n;

    while (i < len && t->classes[unicode_decode(text + i, len - i, &n)] & CHAR_SPACE)
        i += n;
    return i;
}

/* Cuts the added tokens of a set out (leftmost, then longest) and hands on what lies between. */
static int split_added(struct walk *w, const struct added_set *set, const char *text, size_t len,
                       piece_fn rest, bool head)
{
    size_t done = 0, i = 0, start, stop, n = 0;
    int rc;

    while (set->vocab && i < len && !walk_full(w)) {
        const struct added *a;
        int32_t at = -1;

        if (set->begins[(unsigned char)text[i]])
            at = vocab_longest(set->vocab, text + i, len - i, &n);
        if (at < 0) {
            i++;
            continue;
        }
        a = &set->tokens[at];
        start = i;
        i = stop = start + n;
        if (a->single_word &&
            (word_ends(w->t, text, start) || word_begins(w->t, text + stop, len - stop)))
            continue;
        if (a->lstrip && start > done)
            start = blanks_before(w->t, text, done, start);
        if (a->rstrip)
            stop += blanks_after(w->t, text + stop, len - stop);
        if (done < start && (rc = rest(w, text + done, start - done, head && done == 0)) < 0)
            return rc;
        if (!walk_full(w) && (rc = push_id(w, a->id)) < 0)
            return rc;
        done = stop;
    }
    if (done < len && !walk_full(w))
        return rest(w, text + done, len - done, head && done == 0);
    return 0;
}

static bool all_ascii(const char *text, size_t len)
{
    uint64_t bits = 0, v;
    size_t i;

    for (i = 0; i + 8 <= len; i += 8) {
        memcpy(&v, text + i, 8);
        bits |= v;
    }
    for (; i < len; i++)
        bits |= (uint64_t)(unsigned char)text[i] << 56;
    return !(bits & UINT64_C(0x8080808080808080));
}

/* Normalises and splits ASCII in one go, word by word, so that a cut text stops early. */
static int ascii_words(struct walk *w, const char *text, size_t len)
{
    const unsigned char *map = w->t->fast->ascii;
    const uint32_t *classes = w->t->classes;
    bool clean = w->t->fast->clean;
    size_t i, begin = 0, end = 0;
    int rc = bytes_need(&w->s->normal, len, w->e);
    char *to = w->s->normal.data;

    for (i = 0; i < len && rc == 0 && !walk_full(w); i++) {
        unsigned char c = map[(unsigned char)text[i]];
        uint32_t flags = classes[c];

        if (!c && clean)
            continue;
        to[end++] = (char)c;
        if (!(flags & (CHAR_SPACE | CHAR_PUNCT)))
            continue;
        if (end - 1 > begin)
            rc = w->t->ops->word(w->t->model, to + begin, end - 1 - begin, w->s, w->e);
        if (rc == 0 && flags & CHAR_PUNCT && !walk_full(w))
            rc = w->t->ops->word(w->t->model, to + end - 1, 1, w->s, w->e);
        begin = end;
    }
    if (rc == 0 && begin < end && !walk_full(w))
        rc = w->t->ops->word(w->t->model, to + begin, end - begin, w->s, w->e);
    return rc;
}

static int split_all(struct walk *w, const char *text, size_t len, bool head)
{
    return walk_piece(w, 0, text, len, head);
}

static int normalize_and_split(struct walk *w, const char *text, size_t len, bool head)
{
    int rc;

    if (w->t->fast && all_ascii(text, len))
        return ascii_words(w, text, len);
    w->s->headless = false;
    if ((rc = normalizer_run(w->t, w->s, &text, &len, w->e)) < 0)
        return rc;
    return split_added(w, &w->t->normalized, text, len, split_all, head && !w->s->headless);
}

/* Replaces ill-formed parts, so that every later step sees valid UTF-8. */
static int repair(struct tokenizer_scratch *s, const char **text, size_t *len, struct err *e)
{
    size_t i = 0, n;
    int rc;

    if (text_utf8_valid(*text, *len) == *len)
        return 0;
    s->utf8.len = 0;
    if ((rc = bytes_need(&s->utf8, *len * 3, e)) < 0)
        return rc;
    for (; i < *len; i += n)
        s->utf8.len +=
            text_utf8_encode(unicode_decode(*text + i, *len - i, &n), s->utf8.data + s->utf8.len);
    *text = s->utf8.data;
    *len = s->utf8.len;
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *s, const char *text,
                     size_t len, int32_t *ids, int max, int *count, struct err *e)
{
    struct walk w = {.t = t, .s = s, .e = e};
    size_t room, kept;
    int rc;

    *count = 0;
    if (max < t->info.specials)
        return err_set(e, ERR_USAGE, "a maximal length of %d leaves no room for %d special tokens",
                       max, t->info.specials);
    if (len > TOKENIZER_TEXT_MAX)
        return err_set(e, ERR_LIMIT, "a text of %zu bytes; at most %zu are possible", len,
                       TOKENIZER_TEXT_MAX);
    room = (size_t)(max - t->info.specials);
    w.enough = t->cut_left ? SIZE_MAX : room;
    s->count = 0;
    if (!all_ascii(text, len) && (rc = repair(s, &text, &len, e)) < 0)
        return rc;
    if (len > 0 && (rc = split_added(&w, &t->raw, text, len, normalize_and_split, true)) < 0)
        return rc;
    kept = s->count < room ? s->count : room;
    memcpy(ids, t->before, (size_t)t->before_count * sizeof *ids);
    ids += t->before_count;
    if (kept)
        memcpy(ids, s->ids + (t->cut_left ? s->count - kept : 0), kept * sizeof *ids);
    memcpy(ids + kept, t->after, (size_t)t->after_count * sizeof *ids);
    *count = (int)kept + t->info.specials;
    return 0;
}
