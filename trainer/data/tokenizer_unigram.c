/*
 * Unigram: of all ways to cut a word into entries, the one whose scores (log
 * probabilities) add up to most; a character that is no entry costs more than
 * any entry. Characters without an entry that follow each other are one unknown
 * token, or their bytes.
 */
#include "trainer/data/tokenizer_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/data/vocab_trie.h"

#define UNKNOWN_PENALTY 10.0

struct unigram {
    struct vocab_trie *vocab;
    double *scores;
    int count;
    double unknown_score;
    int32_t unknown;    /* -1: none, then a word that needs it is an error */
    int32_t bytes[256]; /* ids of <0x00> to <0xFF>; all -1 without byte_fallback */
};

/* The best way to the end of a character. */
struct best {
    double score;
    int32_t id;
    uint32_t begin; /* of its last entry; UINT32_MAX: no way ends here yet */
};

static void unigram_free(void *model)
{
    struct unigram *u = model;

    if (!u)
        return;
    vocab_trie_free(u->vocab);
    free(u->scores);
    free(u);
}

static int fill(struct unigram *u, const json_t *list, struct err *e)
{
    double least = INFINITY;
    json_t *item;
    size_t i;
    int rc;

    json_array_foreach(list, i, item)
    {
        const json_t *piece = json_array_get(item, 0), *score = json_array_get(item, 1);

        if (!json_is_string(piece) || !json_is_number(score))
            return err_set(e, ERR_FORMAT, "vocab.%zu: expected a text and a score", i);
        u->scores[i] = json_number_value(score);
        if (!isfinite(u->scores[i]))
            return err_set(e, ERR_FORMAT, "vocab.%zu: the score is not finite", i);
        if (u->scores[i] < least)
            least = u->scores[i];
        if (json_string_length(piece) > VOCAB_KEY_MAX)
            return err_set(e, ERR_LIMIT, "vocab.%zu has more than %d bytes", i, VOCAB_KEY_MAX);
        if ((rc = vocab_trie_add(u->vocab, json_string_value(piece), json_string_length(piece),
                                 (int32_t)i, e)) < 0)
            return rc;
    }
    u->unknown_score = least - UNKNOWN_PENALTY;
    return 0;
}

static int load_bytes(struct unigram *u, const json_t *model, struct err *e)
{
    bool fallback;
    char name[8];
    int i, rc = json_bool_or(model, "byte_fallback", false, &fallback, e);

    for (i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i & 255);
        u->bytes[i] = rc == 0 && fallback ? vocab_trie_find(u->vocab, name, 6) : -1;
    }
    return rc;
}

static int unigram_load(void **out, const json_t *model, int *vocabulary, struct err *e)
{
    struct unigram *u = calloc(1, sizeof *u);
    int64_t unknown;
    json_t *list;
    size_t count;
    int rc;

    if (!u)
        return err_set(e, ERR_NOMEM, "Unigram model");
    if ((rc = json_array_at(model, "vocab", &list, e)) < 0)
        goto fail;
    count = json_array_size(list);
    if (count == 0 || count > TOKENIZER_ID_MAX) {
        rc = err_set(e, ERR_LIMIT, "vocab has %zu entries; 1 to %d are possible", count,
                     TOKENIZER_ID_MAX);
        goto fail;
    }
    if ((rc = json_int_or(model, "unk_id", 0, (int64_t)count - 1, -1, &unknown, e)) < 0)
        goto fail;
    u->unknown = (int32_t)unknown;
    u->count = (int)count;
    u->scores = malloc(count * sizeof *u->scores);
    u->vocab = vocab_trie_new();
    rc = u->scores && u->vocab ? fill(u, list, e) : err_set(e, ERR_NOMEM, "Unigram vocabulary");
    if (rc < 0 || (rc = load_bytes(u, model, e)) < 0)
        goto fail;
    *vocabulary = u->count;
    *out = u;
    return 0;
fail:
    unigram_free(u);
    return rc;
}

static int32_t unigram_find(const void *model, const char *token, size_t len)
{
    const struct unigram *u = model;

    return len ? vocab_trie_find(u->vocab, token, len) : -1;
}

static void take(struct best *to, double score, int32_t id, size_t begin)
{
    if (to->begin != UINT32_MAX && !(score > to->score))
        return;
    to->score = score;
    to->id = id;
    to->begin = (uint32_t)begin;
}

/* Forward over the word; best[i]: the way to byte i. */
static int search(const struct unigram *u, const char *word, size_t len, struct best *best,
                  struct err *e)
{
    size_t i, k, n;

    for (i = 1; i <= len; i++)
        best[i].begin = UINT32_MAX;
    best[0].score = 0;
    for (i = 0; i < len; i += n) {
        double till = best[i].score;
        bool single = false;
        uint32_t at = 0;
        int32_t id;

        unicode_decode(word + i, len - i, &n);
        for (k = i; k < len && vocab_trie_step(u->vocab, &at, (unsigned char)word[k], &id); k++) {
            if (id < 0)
                continue;
            take(&best[k + 1], u->scores[id] + till, id, i);
            single |= k + 1 - i == n;
        }
        if (single)
            continue;
        if (u->unknown < 0)
            return err_set(e, ERR_FORMAT, "the model has no unk_id, and a word needs it");
        take(&best[i + n], u->unknown_score + till, u->unknown, i);
    }
    return 0;
}

/* Ids of a part that is no entry of its own, last byte first. */
static int put_unknown(const struct unigram *u, const char *text, size_t len,
                       struct tokenizer_scratch *s, struct err *e)
{
    int32_t id = vocab_trie_find(u->vocab, text, len);
    size_t i;
    int rc;

    if ((rc = scratch_need_ids(s, len, e)) < 0)
        return rc;
    for (i = 0; i < len && u->bytes[(unsigned char)text[i]] >= 0; i++)
        ;
    if (id >= 0 || i < len) {
        s->ids[s->count++] = id >= 0 ? id : u->unknown;
        return 0;
    }
    while (i > 0)
        s->ids[s->count++] = u->bytes[(unsigned char)text[--i]];
    return 0;
}

static void turn(int32_t *ids, size_t count)
{
    size_t i;

    for (i = 0; i < count / 2; i++) {
        int32_t id = ids[i];

        ids[i] = ids[count - 1 - i];
        ids[count - 1 - i] = id;
    }
}

static int unigram_word(const void *model, const char *word, size_t len,
                        struct tokenizer_scratch *s, struct err *e)
{
    const struct unigram *u = model;
    size_t end = len, from, first = s->count;
    struct best *best;
    int rc;

    s->nodes.len = 0;
    if ((rc = bytes_need(&s->nodes, (len + 1) * sizeof *best, e)) < 0)
        return rc;
    best = (struct best *)(void *)s->nodes.data;
    if ((rc = search(u, word, len, best, e)) < 0)
        return rc;
    while (end > 0) {
        int32_t id = best[end].id;

        from = best[end].begin;
        if (id != u->unknown) {
            if ((rc = scratch_need_ids(s, 1, e)) < 0)
                return rc;
            s->ids[s->count++] = id;
        } else {
            while (from > 0 && best[from].id == u->unknown)
                from = best[from].begin;
            if ((rc = put_unknown(u, word + from, end - from, s, e)) < 0)
                return rc;
        }
        end = from;
    }
    turn(s->ids + first, s->count - first);
    return 0;
}

const struct model_ops unigram_ops = {"Unigram", unigram_load, unigram_find, unigram_word,
                                      unigram_free};
