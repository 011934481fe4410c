/*
 * Byte-pair encoding: a word begins as its characters, and the pair of
 * neighbours that was learnt first is merged, again and again. Neighbours are a
 * linked list and pairs wait in a heap by (rank, place), so a word of n
 * characters takes n log n steps.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

#define MERGES_MAX (1 << 22)

struct merge {
    int32_t left, right; /* left -1: an empty slot */
    int32_t rank, made;
};

struct bpe {
    struct vocab *vocab;
    struct merge *merges; /* by a hash of the pair; mask + 1 slots, at most half of them used */
    size_t mask;
    char *prefix, *suffix; /* of characters that don't begin a word, and that end one; or NULL */
    int32_t unknown;       /* -1: characters that are not known are dropped */
    int32_t bytes[256];    /* ids of <0x00> to <0xFF>, -1: none */
    bool fuse, byte_fallback, whole; /* whole: a word that is a token stays one */
    bool no_unknown;                 /* the file names an unknown token that is not there */
};

/* A character, or what was merged from some, of a word on its way. */
struct node {
    int32_t id; /* -1: merged into the one before */
    int32_t before, next;
};

/* A pair that may be merged; stale when its place no longer makes the same. */
struct wait {
    int32_t rank, place, made;
};

static void bpe_free(void *model)
{
    struct bpe *b = model;

    if (!b)
        return;
    vocab_free(b->vocab);
    free(b->merges);
    free(b->prefix);
    free(b->suffix);
    free(b);
}

static struct merge *slot(const struct bpe *b, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(h ^ h >> 32) & b->mask;

    while (b->merges[i].left >= 0 && (b->merges[i].left != left || b->merges[i].right != right))
        i = (i + 1) & b->mask;
    return &b->merges[i];
}

static int fill(struct bpe *b, json_t *entries, int *vocabulary, struct err *e)
{
    const char *key;
    json_t *value;
    int rc;

    b->vocab = vocab_new(json_object_size(entries));
    if (!b->vocab)
        return err_set(e, ERR_NOMEM, "BPE vocabulary");
    json_object_foreach(entries, key, value)
    {
        json_int_t id = json_integer_value(value);

        if (!json_is_integer(value) || id < 0 || id > TOKENIZER_ID_MAX)
            return err_set(e, ERR_FORMAT, "vocab: the id of \"%s\" is not 0 to %d", key,
                           TOKENIZER_ID_MAX);
        if (id >= *vocabulary)
            *vocabulary = (int)id + 1;
        if (*key && (rc = vocab_add(b->vocab, key, strlen(key), (int32_t)id, e)) < 0)
            return rc;
    }
    return 0;
}

/* "a b" or ["a", "b"]: borrowed parts. */
static int halves(const json_t *item, const char *part[2], size_t len[2], struct err *e)
{
    const char *text = json_string_value(item), *blank;

    if (json_is_array(item) && json_array_size(item) == 2) {
        part[0] = json_string_value(json_array_get(item, 0));
        part[1] = json_string_value(json_array_get(item, 1));
        if (part[0] && part[1]) {
            len[0] = strlen(part[0]);
            len[1] = strlen(part[1]);
            return 0;
        }
    }
    blank = text ? strchr(text, ' ') : NULL;
    if (!blank || strchr(blank + 1, ' '))
        return err_set(e, ERR_FORMAT, "expected two parts with a blank between, or a list of two");
    part[0] = text;
    len[0] = (size_t)(blank - text);
    part[1] = blank + 1;
    len[1] = strlen(part[1]);
    return 0;
}

static int token(const struct bpe *b, const char *text, size_t len, int32_t *id, struct err *e)
{
    *id = len ? vocab_find(b->vocab, text, len) : -1;
    return *id < 0 ? err_set(e, ERR_FORMAT, "\"%.*s\" is not in the vocabulary",
                             len > 200 ? 200 : (int)len, text)
                   : 0;
}

static int merge_one(struct bpe *b, const json_t *item, int32_t rank, struct err *e)
{
    char made[VOCAB_KEY_MAX * 2];
    size_t len[2] = {0, 0}, skip = b->prefix ? strlen(b->prefix) : 0;
    const char *part[2] = {"", ""};
    struct merge m = {.rank = rank}, *to;
    int rc;

    if ((rc = halves(item, part, len, e)) < 0 || (rc = token(b, part[0], len[0], &m.left, e)) < 0 ||
        (rc = token(b, part[1], len[1], &m.right, e)) < 0)
        return rc;
    if (skip > len[1])
        return err_set(e, ERR_FORMAT, "\"%s\" is shorter than the prefix", part[1]);
    /* both are in the vocabulary, so neither is longer than its keys may be */
    memcpy(made, part[0], len[0]);
    memcpy(made + len[0], part[1] + skip, len[1] - skip);
    if ((rc = token(b, made, len[0] + len[1] - skip, &m.made, e)) < 0)
        return rc;
    to = slot(b, m.left, m.right);
    *to = m;
    return 0;
}

static int load_merges(struct bpe *b, const json_t *model, struct err *e)
{
    size_t slots = 16, count, i;
    json_t *list, *item;
    int rc;

    if ((rc = json_array_at(model, "merges", &list, e)) < 0)
        return rc;
    count = json_array_size(list);
    if (count > MERGES_MAX)
        return err_set(e, ERR_LIMIT, "%zu merges; at most %d are possible", count, MERGES_MAX);
    while (slots < count * 2)
        slots *= 2;
    b->mask = slots - 1;
    b->merges = malloc(slots * sizeof *b->merges);
    if (!b->merges)
        return err_set(e, ERR_NOMEM, "%zu merges", count);
    for (i = 0; i < slots; i++)
        b->merges[i].left = -1;
    json_array_foreach(list, i, item)
    {
        if ((rc = merge_one(b, item, (int32_t)i, e)) < 0) {
            err_wrap(e, "merges.%zu", i);
            return rc;
        }
    }
    return 0;
}

static int copy(char **out, const json_t *model, const char *name, struct err *e)
{
    const char *text;
    int rc = json_string_or(model, name, "", &text, e);

    if (rc < 0 || !*text)
        return rc;
    if (strlen(text) > VOCAB_KEY_MAX / 2)
        return err_set(e, ERR_LIMIT, "%s has more than %d bytes", name, VOCAB_KEY_MAX / 2);
    *out = strdup(text);
    return *out ? 0 : err_set(e, ERR_NOMEM, "%s", name);
}

static int load_unknown(struct bpe *b, const json_t *model, struct err *e)
{
    const char *unknown;
    double dropout;
    char name[8];
    int rc, i;

    if ((rc = json_string_or(model, "unk_token", "", &unknown, e)) < 0 ||
        (rc = json_number_or(model, "dropout", 0, &dropout, e)) < 0 ||
        (rc = json_bool_or(model, "fuse_unk", false, &b->fuse, e)) < 0 ||
        (rc = json_bool_or(model, "byte_fallback", false, &b->byte_fallback, e)) < 0 ||
        (rc = json_bool_or(model, "ignore_merges", false, &b->whole, e)) < 0)
        return rc;
    if (dropout != 0)
        return err_set(e, ERR_UNSUPPORTED, "dropout: ids would be random; set it to null");
    b->unknown = *unknown ? vocab_find(b->vocab, unknown, strlen(unknown)) : -1;
    b->no_unknown = *unknown && b->unknown < 0;
    for (i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i & 255);
        b->bytes[i] = vocab_find(b->vocab, name, 6);
    }
    return 0;
}

static int bpe_load(void **out, const json_t *model, int *vocabulary, struct err *e)
{
    struct bpe *b = calloc(1, sizeof *b);
    json_t *entries;
    int rc;

    if (!b)
        return err_set(e, ERR_NOMEM, "BPE model");
    if ((rc = json_object_at(model, "vocab", &entries, e)) < 0 ||
        (rc = fill(b, entries, vocabulary, e)) < 0 ||
        (rc = copy(&b->prefix, model, "continuing_subword_prefix", e)) < 0 ||
        (rc = copy(&b->suffix, model, "end_of_word_suffix", e)) < 0 ||
        (rc = load_merges(b, model, e)) < 0 || (rc = load_unknown(b, model, e)) < 0)
        goto fail;
    *out = b;
    return 0;
fail:
    bpe_free(b);
    return rc;
}

static int32_t bpe_find(const void *model, const char *token, size_t len)
{
    const struct bpe *b = model;

    return len ? vocab_find(b->vocab, token, len) : -1;
}

static int push(struct bytes *nodes, int32_t id, struct err *e)
{
    int32_t at = (int32_t)(nodes->len / sizeof(struct node));
    struct node n = {id, at - 1, at + 1};

    return bytes_add(nodes, (const char *)&n, sizeof n, e);
}

/* The bytes of a character as ids; 0: some have none. */
static int push_bytes(const struct bpe *b, const char *text, size_t len, struct bytes *nodes,
                      struct err *e)
{
    size_t i;
    int rc;

    for (i = 0; i < len; i++)
        if (b->bytes[(unsigned char)text[i]] < 0)
            return 0;
    for (i = 0; i < len; i++)
        if ((rc = push(nodes, b->bytes[(unsigned char)text[i]], e)) < 0)
            return rc;
    return 1;
}

/* A character with what marks its place in the word: *text and *len are what to look up. */
static void place(const struct bpe *b, char room[VOCAB_KEY_MAX + 16], bool first, bool last,
                  const char **text, size_t *len)
{
    size_t n = 0;

    if ((first || !b->prefix) && (!last || !b->suffix))
        return;
    if (!first && b->prefix) {
        n = strlen(b->prefix);
        memcpy(room, b->prefix, n);
    }
    memcpy(room + n, *text, *len);
    n += *len;
    if (last && b->suffix) {
        memcpy(room + n, b->suffix, strlen(b->suffix));
        n += strlen(b->suffix);
    }
    *text = room;
    *len = n;
}

/* The first symbols of a word. Unknown ones wait, so that neighbours can become one. */
static int begin(const struct bpe *b, const char *word, size_t len, struct bytes *nodes,
                 struct err *e)
{
    char room[VOCAB_KEY_MAX + 16];
    bool unknown = false;
    size_t i, n, m;
    int rc;

    nodes->len = 0;
    for (i = 0; i < len; i += n) {
        const char *text = word + i;
        int32_t id;

        unicode_decode(text, len - i, &n);
        m = n;
        place(b, room, i == 0, i + n == len, &text, &m);
        id = vocab_find(b->vocab, text, m);
        if (id < 0 && b->byte_fallback && (rc = push_bytes(b, text, m, nodes, e)) != 0) {
            if (rc < 0)
                return rc;
            continue;
        }
        if (id < 0 && b->no_unknown)
            return err_set(e, ERR_FORMAT,
                           "the vocabulary lacks its unknown token, which a word "
                           "needs");
        if (unknown && (id >= 0 || !b->fuse) && (rc = push(nodes, b->unknown, e)) < 0)
            return rc;
        unknown = id < 0 && b->unknown >= 0;
        if (id >= 0 && (rc = push(nodes, id, e)) < 0)
            return rc;
    }
    return unknown ? push(nodes, b->unknown, e) : 0;
}

static bool sooner(const struct wait *a, const struct wait *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static int heap_put(struct bytes *heap, const struct wait *w, struct err *e)
{
    size_t i = heap->len / sizeof *w, up;
    struct wait *h;
    int rc;

    if ((rc = bytes_add(heap, (const char *)w, sizeof *w, e)) < 0)
        return rc;
    h = (struct wait *)(void *)heap->data;
    for (; i > 0 && sooner(w, &h[up = (i - 1) / 2]); i = up)
        h[i] = h[up];
    h[i] = *w;
    return 0;
}

static struct wait heap_take(struct bytes *heap)
{
    struct wait *h = (struct wait *)(void *)heap->data, first = h[0], last;
    size_t n = heap->len / sizeof *h - 1, i = 0, down;

    heap->len = n * sizeof *h;
    last = h[n];
    while ((down = 2 * i + 1) < n) {
        if (down + 1 < n && sooner(&h[down + 1], &h[down]))
            down++;
        if (!sooner(&h[down], &last))
            break;
        h[i] = h[down];
        i = down;
    }
    h[i] = last;
    return first;
}

/* Lets the pair at `left` wait if it can be merged. */
static int offer(const struct bpe *b, const struct node *nodes, int32_t count, int32_t left,
                 struct bytes *heap, struct err *e)
{
    const struct merge *m;
    int32_t right;

    if (left < 0 || (right = nodes[left].next) >= count)
        return 0;
    m = slot(b, nodes[left].id, nodes[right].id);
    if (m->left < 0)
        return 0;
    return heap_put(heap, &(struct wait){m->rank, left, m->made}, e);
}

static int merge_all(const struct bpe *b, struct node *nodes, int32_t count, struct bytes *heap,
                     struct err *e)
{
    int32_t i, right;
    int rc;

    heap->len = 0;
    for (i = 0; i + 1 < count; i++)
        if ((rc = offer(b, nodes, count, i, heap, e)) < 0)
            return rc;
    while (heap->len > 0) {
        struct wait w = heap_take(heap);
        struct node *n = &nodes[w.place];
        const struct merge *m;

        if (n->id < 0 || n->next >= count)
            continue;
        right = n->next;
        m = slot(b, n->id, nodes[right].id);
        if (m->left < 0 || m->made != w.made)
            continue;
        n->id = w.made;
        n->next = nodes[right].next;
        nodes[right].id = -1;
        if (n->next < count)
            nodes[n->next].before = w.place;
        if ((rc = offer(b, nodes, count, n->before, heap, e)) < 0 ||
            (rc = offer(b, nodes, count, w.place, heap, e)) < 0)
            return rc;
    }
    return 0;
}

static int bpe_word(const void *model, const char *word, size_t len, struct tokenizer_scratch *s,
                    struct err *e)
{
    const struct bpe *b = model;
    struct node *nodes;
    int32_t whole = b->whole ? vocab_find(b->vocab, word, len) : -1, count, i;
    int rc;

    if (whole >= 0) {
        if ((rc = scratch_need_ids(s, 1, e)) == 0)
            s->ids[s->count++] = whole;
        return rc;
    }
    if ((rc = begin(b, word, len, &s->nodes, e)) < 0)
        return rc;
    nodes = (struct node *)(void *)s->nodes.data;
    count = (int32_t)(s->nodes.len / sizeof *nodes);
    if ((rc = merge_all(b, nodes, count, &s->heap, e)) < 0 ||
        (rc = scratch_need_ids(s, (size_t)count, e)) < 0)
        return rc;
    for (i = 0; i < count; i = nodes[i].next)
        s->ids[s->count++] = nodes[i].id;
    return 0;
}

const struct model_ops bpe_ops = {"BPE", bpe_load, bpe_find, bpe_word, bpe_free};
