#include "trainer/data/tokens.h"

#include <stdlib.h>
#include <string.h>

/* Makes room for another document of `max` ids behind `used`. */
static int reserve(struct tokens *k, size_t *cap, size_t used, size_t max, struct err *e)
{
    size_t want = *cap ? *cap : 4096;
    int32_t *ids;

    if (*cap - used >= max)
        return 0;
    while (want - used < max)
        want *= 2;
    if (want > SIZE_MAX / sizeof *ids || !(ids = realloc(k->ids, want * sizeof *ids)))
        return err_set(e, ERR_NOMEM, "token ids of %d documents", k->count);
    k->ids = ids;
    *cap = want;
    return 0;
}

static int fill(struct tokens *k, const struct dataset *d, const struct tokenizer *t,
                struct tokenizer_scratch *s, int max_tokens, struct err *e)
{
    size_t cap = 0, used = 0;
    int i, n, rc;

    for (i = 0; i < k->count; i++) {
        struct dataset_doc doc = dataset_at(d, i);

        if ((rc = reserve(k, &cap, used, (size_t)max_tokens, e)) < 0)
            return rc;
        rc = tokenizer_encode(t, s, doc.text, doc.text_len, k->ids + used, max_tokens, &n, e);
        if (rc < 0) {
            err_wrap(e, "document \"%.*s\"", (int)(doc.id_len < 64 ? doc.id_len : 64), doc.id);
            return rc;
        }
        used += (size_t)n;
        k->offsets[i + 1] = used;
        k->longest = n > k->longest ? n : k->longest;
        k->cut += n == max_tokens;
    }
    return 0;
}

int tokens_build(struct tokens **out, const struct dataset *d, const struct tokenizer *t,
                 int max_tokens, struct err *e)
{
    struct tokens *k = calloc(1, sizeof *k);
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    int rc;

    if (!k || !s)
        goto nomem;
    k->count = dataset_count(d);
    k->offsets = calloc((size_t)k->count + 1, sizeof *k->offsets);
    if (!k->offsets)
        goto nomem;
    if (max_tokens < 1)
        rc = err_set(e, ERR_USAGE, "a maximal length of %d tokens", max_tokens);
    else
        rc = fill(k, d, t, s, max_tokens, e);
    if (rc < 0)
        goto fail;
    tokenizer_scratch_free(s);
    *out = k;
    return 0;
nomem:
    rc = err_set(e, ERR_NOMEM, "tokens of a dataset");
fail:
    tokenizer_scratch_free(s);
    tokens_free(k);
    return rc;
}

void tokens_free(struct tokens *k)
{
    if (!k)
        return;
    free(k->offsets);
    free(k->ids);
    free(k);
}
