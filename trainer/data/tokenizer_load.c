/*
 * The parts of a tokenizer.json. What is not known here is refused by name: a
 * part that is silently left out would change ids.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

#define ADDED_MAX    100000
#define SPECIALS_MAX 64

static int unsupported(const char *name, const char *type, const char *known, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED, "%s of type \"%s\"; known: %s", name, type, known);
}

/* What a file without a type means: older ones leave it out. */
static const char *model_guess(const json_t *v)
{
    if (json_object_get(v, "merges"))
        return "BPE";
    return json_is_array(json_object_get(v, "vocab")) ? "Unigram" : "WordPiece";
}

static int load_model(struct tokenizer *t, const json_t *root, struct err *e)
{
    static const struct model_ops *const known[] = {&wordpiece_ops, &bpe_ops, &unigram_ops};
    const char *type;
    json_t *v;
    size_t i;
    int rc;

    if ((rc = json_object_at(root, "model", &v, e)) < 0)
        return rc;
    if ((rc = json_string_or(v, "type", model_guess(v), &type, e)) < 0)
        return rc;
    for (i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i]->type, type) == 0)
            break;
    if (i == sizeof known / sizeof *known)
        return unsupported("model", type, "WordPiece, BPE, Unigram", e);
    if ((rc = known[i]->load(&t->model, v, &t->info.vocabulary, e)) < 0) {
        err_wrap(e, "model");
        return rc;
    }
    t->ops = known[i];
    t->info.model = known[i]->type;
    return 0;
}

/* Adds one token to the set that it is matched in; `content` is what is matched. */
static int added_put(struct added_set *set, const char *content, size_t len, const struct added *a,
                     struct err *e)
{
    int rc;

    if (len == 0)
        return 0;
    rc = vocab_add(set->vocab, content, len, set->count, e);
    if (rc == ERR_EXISTS)
        return err_set(e, ERR_FORMAT, "added_tokens: two are matched as \"%.*s\"", (int)len,
                       content);
    if (rc < 0)
        return rc;
    set->begins[(unsigned char)content[0]] = true;
    set->tokens[set->count++] = *a;
    return 0;
}

static int added_one(struct tokenizer *t, struct tokenizer_scratch *s, const json_t *item,
                     struct err *e)
{
    struct added a;
    const char *content;
    bool special, normalized;
    int64_t id;
    int32_t known;
    size_t len;
    int rc;

    if ((rc = json_string_at(item, "content", &content, e)) < 0 ||
        (rc = json_int_at(item, "id", 0, TOKENIZER_ID_MAX, &id, e)) < 0 ||
        (rc = json_bool_or(item, "special", false, &special, e)) < 0 ||
        (rc = json_bool_or(item, "single_word", false, &a.single_word, e)) < 0 ||
        (rc = json_bool_or(item, "lstrip", false, &a.lstrip, e)) < 0 ||
        (rc = json_bool_or(item, "rstrip", false, &a.rstrip, e)) < 0 ||
        (rc = json_bool_or(item, "normalized", !special, &normalized, e)) < 0)
        return rc;
    known = t->ops->find(t->model, content, strlen(content));
    if (known >= 0 && known != id)
        return err_set(e, ERR_FORMAT, "\"%s\" has id %lld here and %d in model.vocab", content,
                       (long long)id, (int)known);
    a.id = (int32_t)id;
    if (a.id >= t->info.vocabulary)
        t->info.vocabulary = a.id + 1;
    if (!normalized)
        return added_put(&t->raw, content, strlen(content), &a, e);
    len = strlen(content);
    if ((rc = normalizer_run(t, s, &content, &len, e)) < 0)
        return rc;
    return added_put(&t->normalized, content, len, &a, e);
}

static int added_init(struct added_set *set, size_t count, struct err *e)
{
    set->vocab = vocab_new(count);
    set->tokens = calloc(count ? count : 1, sizeof *set->tokens);
    return set->vocab && set->tokens ? 0 : err_set(e, ERR_NOMEM, "added tokens");
}

/* A set without tokens costs nothing per text. */
static void added_settle(struct added_set *set)
{
    if (set->count > 0)
        return;
    vocab_free(set->vocab);
    set->vocab = NULL;
}

static int load_added(struct tokenizer *t, const json_t *root, struct err *e)
{
    json_t *list = json_find(root, "added_tokens"), *item;
    size_t i, count = json_array_size(list);
    struct tokenizer_scratch *s;
    int rc;

    if (list && !json_is_null(list) && (rc = json_array_at(root, "added_tokens", &list, e)) < 0)
        return rc;
    if (count > ADDED_MAX)
        return err_set(e, ERR_LIMIT, "%zu added_tokens; at most %d are possible", count, ADDED_MAX);
    if ((rc = added_init(&t->raw, count, e)) < 0 || (rc = added_init(&t->normalized, count, e)) < 0)
        return rc;
    s = tokenizer_scratch_new();
    if (!s)
        return err_set(e, ERR_NOMEM, "added tokens");
    json_array_foreach(list, i, item)
    {
        if ((rc = added_one(t, s, item, e)) < 0) {
            err_wrap(e, "added_tokens.%zu", i);
            break;
        }
    }
    tokenizer_scratch_free(s);
    added_settle(&t->raw);
    added_settle(&t->normalized);
    return rc;
}

static int special_put(struct tokenizer *t, bool behind, int64_t id, struct err *e)
{
    int32_t **list = behind ? &t->after : &t->before;
    int *count = behind ? &t->after_count : &t->before_count;

    if (*count == SPECIALS_MAX)
        return err_set(e, ERR_LIMIT, "post_processor: more than %d special tokens", SPECIALS_MAX);
    if (id >= t->info.vocabulary)
        t->info.vocabulary = (int)id + 1;
    (*list)[(*count)++] = (int32_t)id;
    return 0;
}

/* "special_tokens": {"[CLS]": {"ids": [101], ...}}; the name may hold dots, so no path is used. */
static int template_special(struct tokenizer *t, const json_t *processor, const char *name,
                            bool behind, struct err *e)
{
    json_t *entry = json_object_get(json_object_get(processor, "special_tokens"), name);
    json_t *ids = json_object_get(entry, "ids"), *item;
    size_t i;
    int rc;

    if (!json_is_array(ids))
        return err_set(e, ERR_FORMAT, "post_processor: special token \"%s\" has no list of ids",
                       name);
    json_array_foreach(ids, i, item)
    {
        json_int_t id = json_integer_value(item);

        if (!json_is_integer(item) || id < 0 || id > TOKENIZER_ID_MAX)
            return err_set(e, ERR_FORMAT, "post_processor: bad id of special token \"%s\"", name);
        if ((rc = special_put(t, behind, id, e)) < 0)
            return rc;
    }
    return 0;
}

static int load_template(struct tokenizer *t, const json_t *v, struct err *e)
{
    bool behind = false;
    json_t *list, *item;
    const char *id;
    int64_t type;
    size_t i;
    int rc;

    if ((rc = json_array_at(v, "single", &list, e)) < 0)
        return rc;
    json_array_foreach(list, i, item)
    {
        bool sequence = json_object_get(item, "Sequence") != NULL;
        json_t *inner = json_object_get(item, sequence ? "Sequence" : "SpecialToken");

        if ((rc = json_string_at(inner, "id", &id, e)) < 0 ||
            (rc = json_int_or(inner, "type_id", 0, INT32_MAX, 0, &type, e)) < 0)
            return rc;
        if (type != 0)
            return err_set(e, ERR_UNSUPPORTED, "post_processor: type_id %lld in the single form",
                           (long long)type);
        if (sequence && (behind || strcmp(id, "A") != 0))
            return err_set(e, ERR_FORMAT, "post_processor: the single form needs sequence A once");
        if (sequence)
            behind = true;
        else if ((rc = template_special(t, v, id, behind, e)) < 0)
            return rc;
    }
    return behind ? 0 : err_set(e, ERR_FORMAT, "post_processor: the single form has no sequence");
}

/* "cls": ["[CLS]", 101], "sep": ["[SEP]", 102] */
static int load_pair(struct tokenizer *t, const json_t *v, struct err *e)
{
    int64_t cls, sep;
    int rc;

    if ((rc = json_int_at(v, "cls.1", 0, TOKENIZER_ID_MAX, &cls, e)) < 0 ||
        (rc = json_int_at(v, "sep.1", 0, TOKENIZER_ID_MAX, &sep, e)) < 0)
        return rc;
    if ((rc = special_put(t, false, cls, e)) < 0)
        return rc;
    return special_put(t, true, sep, e);
}

static int load_processor(struct tokenizer *t, const json_t *v, struct err *e);

/* A sequence, in which one at most may add tokens. */
static int load_processors(struct tokenizer *t, const json_t *v, struct err *e)
{
    json_t *list, *item;
    int rc, before;
    size_t i;

    if ((rc = json_array_at(v, "processors", &list, e)) < 0)
        return rc;
    json_array_foreach(list, i, item)
    {
        before = t->before_count + t->after_count;
        if ((rc = load_processor(t, item, e)) < 0)
            return rc;
        if (before > 0 && t->before_count + t->after_count > before)
            return err_set(e, ERR_UNSUPPORTED, "post_processor: two that add tokens");
    }
    return 0;
}

static int load_processor(struct tokenizer *t, const json_t *v, struct err *e)
{
    const char *type;
    int rc;

    if ((rc = json_string_at(v, "type", &type, e)) < 0) {
        err_wrap(e, "post_processor");
        return rc;
    }
    if (strcmp(type, "Sequence") == 0)
        return load_processors(t, v, e);
    if (strcmp(type, "ByteLevel") == 0)
        return 0; /* only changes offsets */
    if (strcmp(type, "TemplateProcessing") == 0)
        return load_template(t, v, e);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return load_pair(t, v, e);
    return unsupported("post_processor", type,
                       "Sequence, ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing",
                       e);
}

static int load_post_processor(struct tokenizer *t, const json_t *root, struct err *e)
{
    json_t *v = json_find(root, "post_processor");
    int rc = 0;

    t->before = calloc(SPECIALS_MAX, sizeof *t->before);
    t->after = calloc(SPECIALS_MAX, sizeof *t->after);
    if (!t->before || !t->after)
        return err_set(e, ERR_NOMEM, "special tokens");
    if (v && !json_is_null(v))
        rc = load_processor(t, v, e);
    t->info.specials = t->before_count + t->after_count;
    return rc;
}

static int load_lengths(struct tokenizer *t, const json_t *root, struct err *e)
{
    const json_t *cut = json_find(root, "truncation"), *pad = json_find(root, "padding");
    const char *direction = "Right";
    int64_t max = 0, id = 0;
    int rc;

    if (json_is_object(cut) &&
        ((rc = json_int_or(cut, "max_length", 0, INT32_MAX, 0, &max, e)) < 0 ||
         (rc = json_string_or(cut, "direction", "Right", &direction, e)) < 0))
        return rc;
    if (json_is_object(pad) &&
        (rc = json_int_or(pad, "pad_id", 0, TOKENIZER_ID_MAX, 0, &id, e)) < 0)
        return rc;
    if (strcmp(direction, "Left") != 0 && strcmp(direction, "Right") != 0)
        return err_set(e, ERR_FORMAT, "truncation.direction is \"%s\", not Left or Right",
                       direction);
    t->cut_left = strcmp(direction, "Left") == 0;
    t->info.max_length = (int)max;
    t->info.pad = (int)id;
    return 0;
}

/* BertNormalizer or none, BertPreTokenizer, nothing to be found between them. */
static const struct bert *fast(struct tokenizer *t)
{
    if (!splitter_is_bert(t) || t->normalized.vocab || t->normalizer_count > 1)
        return NULL;
    if (t->normalizer_count == 0)
        return &t->plain;
    return t->normalizers[0].ops == &bert_normalizer_ops ? t->normalizers[0].self : NULL;
}

int tokenizer_load(struct tokenizer *t, const json_t *root, struct err *e)
{
    int rc;

    if (!json_is_object(root))
        return err_set(e, ERR_FORMAT, "not a tokenizer: expected an object, got %s",
                       json_type_text(root));
    bert_settle(&t->plain);
    t->classes = unicode_classes();
    if (!t->classes)
        return err_set(e, ERR_NOMEM, "character classes");
    if ((rc = normalizer_load(t, root, e)) < 0 || (rc = splitter_load(t, root, e)) < 0 ||
        (rc = load_model(t, root, e)) < 0 || (rc = load_added(t, root, e)) < 0 ||
        (rc = load_post_processor(t, root, e)) < 0)
        return rc;
    t->fast = fast(t);
    return load_lengths(t, root, e);
}
