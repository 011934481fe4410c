#include "trainer/data/batch.h"

#include <stdlib.h>
#include <string.h>

struct batch {
    struct token_batch view;
    int32_t *offsets, *ids;
    int documents;
    size_t tokens;
};

/* Grows an array of int32 to `want` at least. */
static int grow(int32_t **array, size_t have, size_t want, struct err *e)
{
    int32_t *p;

    if (want <= have)
        return 0;
    p = realloc(*array, want * sizeof *p);
    if (!p)
        return err_set(e, ERR_NOMEM, "a batch of %zu numbers", want);
    *array = p;
    return 0;
}

static int reserve(struct batch *b, int documents, size_t tokens, struct err *e)
{
    int rc;

    if ((rc = grow(&b->offsets, b->offsets ? (size_t)b->documents + 1 : 0, (size_t)documents + 1,
                   e)) < 0)
        return rc;
    if (documents > b->documents)
        b->documents = documents;
    if ((rc = grow(&b->ids, b->tokens, tokens, e)) < 0)
        return rc;
    if (tokens > b->tokens)
        b->tokens = tokens;
    return 0;
}

int batch_new(struct batch **out, int documents, size_t tokens, struct err *e)
{
    struct batch *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return err_set(e, ERR_NOMEM, "a batch");
    if ((rc = reserve(b, documents, tokens ? tokens : 1, e)) < 0) {
        batch_free(b);
        return rc;
    }
    *out = b;
    return 0;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    free(b->offsets);
    free(b->ids);
    free(b);
}

int batch_fill(struct batch *b, const struct tokens *k, const int32_t *indices, int count,
               const struct token_batch **out, struct err *e)
{
    size_t total = 0, at = 0;
    int i, n, rc;

    for (i = 0; i < count; i++) {
        if (indices[i] < 0 || indices[i] >= k->count)
            return err_set(e, ERR_INTERNAL, "document %d of %d in a batch", (int)indices[i],
                           k->count);
        total += (size_t)tokens_len(k, indices[i]);
    }
    if (total > INT32_MAX)
        return err_set(e, ERR_LIMIT, "a batch of %zu tokens: make batches smaller", total);
    if ((rc = reserve(b, count, total, e)) < 0)
        return rc;
    for (i = 0; i < count; i++) {
        n = tokens_len(k, indices[i]);
        b->offsets[i] = (int32_t)at;
        if (n)
            memcpy(b->ids + at, k->ids + k->offsets[indices[i]], (size_t)n * sizeof *b->ids);
        at += (size_t)n;
    }
    b->offsets[count] = (int32_t)at;
    b->view = (struct token_batch){.count = count, .offsets = b->offsets, .ids = b->ids};
    *out = &b->view;
    return 0;
}

struct plan {
    int32_t *order;  /* (N) documents, longest first */
    int32_t *starts; /* (groups + 1) into order */
    int groups;
};

/* Stable counting sort by length, longest first. */
static int order(struct plan *p, const struct tokens *k, struct err *e)
{
    int32_t *at = calloc((size_t)k->longest + 2, sizeof *at);
    int i;

    if (!at)
        return err_set(e, ERR_NOMEM, "lengths of %d documents", k->count);
    for (i = 0; i < k->count; i++)
        at[k->longest - tokens_len(k, i) + 1]++;
    for (i = 1; i <= k->longest; i++)
        at[i] += at[i - 1];
    for (i = 0; i < k->count; i++)
        p->order[at[k->longest - tokens_len(k, i)]++] = i;
    free(at);
    return 0;
}

static void group(struct plan *p, const struct tokens *k, size_t budget)
{
    size_t used = 0;
    int i;

    for (i = 0; i < k->count; i++) {
        size_t n = (size_t)tokens_len(k, p->order[i]);

        if (i == 0 || used + n > budget) {
            p->starts[p->groups++] = i;
            used = 0;
        }
        used += n;
    }
    p->starts[p->groups] = k->count;
}

int plan_new(struct plan **out, const struct tokens *k, size_t tokens, struct err *e)
{
    struct plan *p = calloc(1, sizeof *p);
    int rc;

    if (!p)
        return err_set(e, ERR_NOMEM, "a plan");
    p->order = calloc((size_t)k->count + 1, sizeof *p->order);
    p->starts = calloc((size_t)k->count + 1, sizeof *p->starts);
    if (!p->order || !p->starts)
        rc = err_set(e, ERR_NOMEM, "a plan of %d documents", k->count);
    else
        rc = order(p, k, e);
    if (rc < 0) {
        plan_free(p);
        return rc;
    }
    group(p, k, tokens);
    *out = p;
    return 0;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    free(p->order);
    free(p->starts);
    free(p);
}

int plan_groups(const struct plan *p)
{
    return p->groups;
}

struct plan_group plan_group(const struct plan *p, int g)
{
    return (struct plan_group){p->order + p->starts[g], p->starts[g + 1] - p->starts[g]};
}

void plan_scatter(const struct plan *p, int g, const float *rows, int dim, float *all)
{
    struct plan_group in = plan_group(p, g);
    int i;

    for (i = 0; i < in.count; i++)
        memcpy(all + (size_t)in.indices[i] * (size_t)dim, rows + (size_t)i * (size_t)dim,
               (size_t)dim * sizeof *all);
}
