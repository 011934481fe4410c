/*
 * WordPiece: from the left, the longest vocabulary entry that the rest of the
 * word begins with; what follows the first carries the continuing prefix. A
 * word that cannot be covered, or has too many characters, is one unknown token.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

struct wordpiece {
    struct vocab *first; /* whole entries */
    struct vocab *next;  /* entries with the prefix, without it */
    int32_t unknown;     /* -1: none, then a word that needs it is an error */
    int chars_max;
};

static void wordpiece_free(void *model)
{
    struct wordpiece *w = model;

    if (!w)
        return;
    vocab_free(w->first);
    vocab_free(w->next);
    free(w);
}

static int fill(struct wordpiece *w, json_t *entries, const char *prefix, int *vocabulary,
                struct err *e)
{
    size_t prefix_len = strlen(prefix);
    const char *key;
    json_t *value;
    int rc;

    json_object_foreach(entries, key, value)
    {
        size_t len = strlen(key);
        json_int_t id = json_integer_value(value);

        if (len == 0)
            continue; /* can never match */
        if (!json_is_integer(value) || id < 0 || id > TOKENIZER_ID_MAX)
            return err_set(e, ERR_FORMAT, "model.vocab: the id of \"%s\" is not 0 to %d", key,
                           TOKENIZER_ID_MAX);
        if ((rc = vocab_add(w->first, key, len, (int32_t)id, e)) < 0)
            return rc;
        if (id >= *vocabulary)
            *vocabulary = (int)id + 1;
        if (len <= prefix_len || memcmp(key, prefix, prefix_len) != 0)
            continue;
        if ((rc = vocab_add(w->next, key + prefix_len, len - prefix_len, (int32_t)id, e)) < 0)
            return rc;
    }
    return 0;
}

static int wordpiece_load(void **out, const json_t *model, int *vocabulary, struct err *e)
{
    struct wordpiece *w = calloc(1, sizeof *w);
    const char *unknown, *prefix;
    int64_t chars_max;
    json_t *entries;
    int rc;

    if (!w)
        return err_set(e, ERR_NOMEM, "WordPiece model");
    if ((rc = json_object_at(model, "vocab", &entries, e)) < 0 ||
        (rc = json_string_or(model, "unk_token", "[UNK]", &unknown, e)) < 0 ||
        (rc = json_string_or(model, "continuing_subword_prefix", "##", &prefix, e)) < 0 ||
        (rc = json_int_or(model, "max_input_chars_per_word", 0, 10000, 100, &chars_max, e)) < 0)
        goto fail;
    w->chars_max = (int)chars_max;
    w->first = vocab_new(json_object_size(entries));
    w->next = vocab_new(json_object_size(entries));
    rc = w->first && w->next ? fill(w, entries, prefix, vocabulary, e)
                             : err_set(e, ERR_NOMEM, "WordPiece vocabulary");
    if (rc < 0)
        goto fail;
    w->unknown = vocab_find(w->first, unknown, strlen(unknown));
    *out = w;
    return 0;
fail:
    wordpiece_free(w);
    return rc;
}

static int32_t wordpiece_find(const void *model, const char *token, size_t len)
{
    const struct wordpiece *w = model;

    return len ? vocab_find(w->first, token, len) : -1;
}

static bool too_long(const struct wordpiece *w, const char *word, size_t len)
{
    size_t i, chars = 0;

    if (len <= (size_t)w->chars_max)
        return false;
    for (i = 0; i < len && chars <= (size_t)w->chars_max; i++)
        chars += (word[i] & 0xC0) != 0x80;
    return chars > (size_t)w->chars_max;
}

static int wordpiece_word(const void *model, const char *word, size_t len,
                          struct tokenizer_scratch *s, struct err *e)
{
    const struct wordpiece *w = model;
    const struct vocab *from = w->first;
    size_t start = 0, n, count = s->count;
    int32_t id;
    int rc;

    if (too_long(w, word, len))
        goto unknown;
    /* a token covers at least one byte */
    if ((rc = scratch_need_ids(s, len, e)) < 0)
        return rc;
    for (; start < len; start += n) {
        id = vocab_longest(from, word + start, len - start, &n);
        if (id < 0)
            goto unknown;
        s->ids[count++] = id;
        from = w->next;
    }
    s->count = count;
    return 0;
unknown:
    if (w->unknown < 0)
        return err_set(e, ERR_FORMAT, "the vocabulary has no unknown token, and a word needs it");
    if ((rc = scratch_need_ids(s, 1, e)) < 0)
        return rc;
    s->ids[s->count++] = w->unknown;
    return 0;
}

const struct model_ops wordpiece_ops = {"WordPiece", wordpiece_load, wordpiece_find, wordpiece_word,
                                        wordpiece_free};
