/*
 * The normalizers of a file, in their order, and the small ones among them.
 */
#include "trainer/data/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

static int lowercase_run(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
                         const char *text, size_t len, struct bytes *to, struct err *e)
{
    uint32_t lower[2];
    size_t i = 0, n;
    int count, k, rc = bytes_need(to, len * 3 + 8, e);

    (void)self;
    (void)s;
    for (; rc == 0 && i < len; i += n) {
        uint32_t c = (unsigned char)text[i];

        n = 1;
        if (c < 128) {
            to->data[to->len++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
            continue;
        }
        c = unicode_decode(text + i, len - i, &n);
        lower[0] = c;
        count = classes[c] & CHAR_CHANGES ? unicode_lower(c, lower) : 1;
        for (k = 0; k < count; k++)
            to->len += text_utf8_encode(lower[k], to->data + to->len);
    }
    return rc;
}

struct replace {
    struct regex *pattern;
    char *content;
};

static void replace_free(void *self)
{
    struct replace *r = self;

    if (!r)
        return;
    regex_free(r->pattern);
    free(r->content);
    free(r);
}

static int replace_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    struct replace *r = calloc(1, sizeof *r);
    const char *content;
    int rc;

    if (!r)
        return err_set(e, ERR_NOMEM, "normalizer");
    if ((rc = json_string_at(v, "content", &content, e)) < 0 ||
        (rc = regex_load(&r->pattern, v, classes, e)) < 0)
        goto fail;
    r->content = strdup(content);
    if (!r->content) {
        rc = err_set(e, ERR_NOMEM, "normalizer");
        goto fail;
    }
    *out = r;
    return 0;
fail:
    replace_free(r);
    return rc;
}

static int replace_run(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
                       const char *text, size_t len, struct bytes *to, struct err *e)
{
    const struct replace *r = self;
    size_t content = strlen(r->content), done = 0;
    struct regex_scan scan;
    int rc;

    regex_begin(&scan, r->pattern, classes, text, len);
    while ((rc = regex_next(&scan, e)) > 0) {
        if ((rc = bytes_add(to, text + done, scan.begin - done, e)) < 0 ||
            (rc = bytes_add(to, r->content, content, e)) < 0)
            return rc;
        if (scan.begin == 0 && content == 0)
            s->headless = true;
        done = scan.end;
    }
    return rc < 0 ? rc : bytes_add(to, text + done, len - done, e);
}

struct strip {
    bool left, right;
};

static int strip_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    struct strip *n = calloc(1, sizeof *n);
    int rc;

    (void)classes;
    if (!n)
        return err_set(e, ERR_NOMEM, "normalizer");
    if ((rc = json_bool_at(v, "strip_left", &n->left, e)) < 0 ||
        (rc = json_bool_at(v, "strip_right", &n->right, e)) < 0) {
        free(n);
        return rc;
    }
    *out = n;
    return 0;
}

static int strip_run(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
                     const char *text, size_t len, struct bytes *to, struct err *e)
{
    const struct strip *r = self;
    size_t begin = 0, end = len, i, n;

    while (r->left && begin < len &&
           classes[unicode_decode(text + begin, len - begin, &n)] & CHAR_SPACE)
        begin += n;
    while (r->right && end > begin) {
        for (i = end - 1; i > begin && (text[i] & 0xC0) == 0x80; i--)
            ;
        if (!(classes[unicode_decode(text + i, end - i, &n)] & CHAR_SPACE))
            break;
        end = i;
    }
    if (begin > 0)
        s->headless = true;
    return bytes_add(to, text + begin, end - begin, e);
}

static int prepend_load(void **out, const json_t *v, const uint32_t *classes, struct err *e)
{
    const char *text;
    int rc = json_string_at(v, "prepend", &text, e);

    (void)classes;
    if (rc < 0)
        return rc;
    *out = strdup(text);
    return *out ? 0 : err_set(e, ERR_NOMEM, "normalizer");
}

static int prepend_run(const void *self, const uint32_t *classes, struct tokenizer_scratch *s,
                       const char *text, size_t len, struct bytes *to, struct err *e)
{
    int rc = len ? bytes_add(to, self, strlen(self), e) : 0;

    (void)classes;
    (void)s;
    return rc < 0 ? rc : bytes_add(to, text, len, e);
}

static const struct normalizer_ops lowercase_ops = {"Lowercase", NULL, lowercase_run, NULL};
static const struct normalizer_ops replace_ops = {"Replace", replace_load, replace_run,
                                                  replace_free};
static const struct normalizer_ops strip_ops = {"Strip", strip_load, strip_run, free};
static const struct normalizer_ops prepend_ops = {"Prepend", prepend_load, prepend_run, free};
static const struct normalizer_ops *const known[] = {
    &bert_normalizer_ops, &nfc_ops,   &lowercase_ops, &replace_ops,
    &precompiled_ops,     &strip_ops, &prepend_ops,
};

int normalizer_run(const struct tokenizer *t, struct tokenizer_scratch *s, const char **text,
                   size_t *len, struct err *e)
{
    struct bytes swap;
    int i, rc;

    for (i = 0; i < t->normalizer_count; i++) {
        const struct normalizer *n = &t->normalizers[i];

        swap = s->other;
        s->other = s->normal;
        s->normal = swap;
        s->normal.len = 0;
        if ((rc = n->ops->run(n->self, t->classes, s, *text, *len, &s->normal, e)) < 0)
            return rc;
        *text = s->normal.data ? s->normal.data : "";
        *len = s->normal.len;
    }
    return 0;
}

static int add(struct tokenizer *t, const json_t *v, struct err *e);

static int add_all(struct tokenizer *t, const json_t *v, struct err *e)
{
    json_t *list, *item;
    size_t i;
    int rc;

    if ((rc = json_array_at(v, "normalizers", &list, e)) < 0)
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

/* One normalizer behind the others, or a sequence of them (as deep as the file's limits allow). */
static int add(struct tokenizer *t, const json_t *v, struct err *e)
{
    struct normalizer *n = &t->normalizers[t->normalizer_count];
    const char *type;
    size_t i;
    int rc;

    if ((rc = json_string_at(v, "type", &type, e)) < 0)
        return rc;
    if (strcmp(type, "Sequence") == 0)
        return add_all(t, v, e);
    if (t->normalizer_count == STEPS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d of them", STEPS_MAX);
    for (i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i]->type, type) == 0)
            break;
    if (i == sizeof known / sizeof *known)
        return err_set(e, ERR_UNSUPPORTED,
                       "type \"%s\"; known: Sequence, BertNormalizer, NFC, Lowercase, Replace, "
                       "Precompiled, Strip, Prepend",
                       type);
    if (known[i]->load && (rc = known[i]->load(&n->self, v, t->classes, e)) < 0)
        return rc;
    n->ops = known[i];
    t->normalizer_count++;
    return 0;
}

int normalizer_load(struct tokenizer *t, const json_t *root, struct err *e)
{
    json_t *v = json_find(root, "normalizer");
    int rc = v && !json_is_null(v) ? add(t, v, e) : 0;

    if (rc < 0)
        err_wrap(e, "normalizer");
    return rc;
}

void normalizer_release(struct tokenizer *t)
{
    int i;

    for (i = 0; i < t->normalizer_count; i++)
        if (t->normalizers[i].ops->free)
            t->normalizers[i].ops->free(t->normalizers[i].self);
}
