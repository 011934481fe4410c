/*
 * Pairs of texts into documents, when a dataset is sealed: scored ones side by
 * side, others joined to classes by union-find.
 */
#include <stdio.h>
#include <stdlib.h>

#include "trainer/data/dataset_int.h"

/* What the documents are made into. */
struct parts {
    struct names ids, labels;
    struct doc *docs;
    int count;
};

static void release(struct parts *p)
{
    names_release(&p->ids);
    names_release(&p->labels);
    free(p->docs);
}

static int begin(struct parts *p, const struct dataset *d, struct err *e)
{
    *p = (struct parts){0};
    p->docs = calloc(2 * (size_t)d->count + 1, sizeof *p->docs);
    return p->docs ? 0 : err_set(e, ERR_NOMEM, "the texts of %d pairs", d->count);
}

/* They take the place of the pairs. */
static void finish(struct parts *p, struct dataset *d)
{
    names_release(&d->ids);
    names_release(&d->labels);
    free(d->docs);
    d->ids = p->ids;
    d->labels = p->labels;
    d->docs = p->docs;
    d->count = p->count;
}

/* The text of a pair's side 0 or 1 as a document of label `label`. */
static int put(struct parts *p, const struct dataset *d, const struct doc *pair, int side,
               int label, struct err *e)
{
    char id[DATASET_ID_MAX + 1], number[16];
    int id_len = snprintf(id, sizeof id, "%.*s#%d", (int)d->ids.items[pair->name].len,
                          names_at(&d->ids, pair->name), side + 1);
    int number_len = snprintf(number, sizeof number, "%d", label), rc;
    struct doc doc = *pair;

    if (side == 1) {
        doc.text = d->pairs[pair->label].text;
        doc.text_len = d->pairs[pair->label].text_len;
    }
    if ((rc = names_add(&p->ids, id, (size_t)id_len, NULL, e)) < 0)
        return rc;
    doc.name = rc;
    if ((rc = names_add(&p->labels, number, (size_t)number_len, NULL, e)) < 0)
        return rc;
    doc.label = rc;
    p->docs[p->count++] = doc;
    return 0;
}

int dataset_part_scored(struct dataset *d, struct err *e)
{
    struct parts p;
    int i, rc = begin(&p, d, e);

    d->scores = calloc((size_t)d->count + 1, sizeof *d->scores);
    if (rc == 0 && !d->scores)
        rc = err_set(e, ERR_NOMEM, "the scores of %d pairs", d->count);
    for (i = 0; i < d->count && rc == 0; i++) {
        d->scores[i] = d->pairs[d->docs[i].label].score;
        if ((rc = put(&p, d, &d->docs[i], 0, i, e)) == 0)
            rc = put(&p, d, &d->docs[i], 1, i, e);
    }
    if (rc < 0)
        release(&p);
    else
        finish(&p, d);
    return rc;
}

/* ---- union-find ---- */

/* Every text has a parent in its class, the class's first text itself. Paths are halved on the way.
 */
static int32_t find(int32_t *parent, int32_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

/* The earlier root stays, so that a class is known by its first text. */
static void unite(int32_t *parent, int32_t a, int32_t b)
{
    a = find(parent, a);
    b = find(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

struct joining {
    struct names texts;
    int32_t (*of)[2];    /* (pairs) the two texts' numbers */
    int32_t *parent;     /* (texts) */
    int32_t *label;      /* (texts) of a root: its class's number, -1 until it is shown */
    unsigned char *held; /* (texts) of a root: its class is held out */
};

static int join(struct joining *j, const struct dataset *d, struct err *e)
{
    int i, side, rc;

    for (i = 0; i < 2 * d->count; i++)
        j->parent[i] = i;
    for (i = 0; i < d->count; i++) {
        const struct pair *pair = &d->pairs[d->docs[i].label];

        for (side = 0; side < 2; side++) {
            rc = names_add(&j->texts, d->texts + (side ? pair->text : d->docs[i].text),
                           side ? pair->text_len : d->docs[i].text_len, NULL, e);
            if (rc < 0)
                return rc;
            j->of[i][side] = rc;
        }
        unite(j->parent, j->of[i][0], j->of[i][1]);
    }
    for (i = 0; i < d->count; i++)
        j->held[find(j->parent, j->of[i][0])] |= d->docs[i].split == DATASET_EVAL;
    return 0;
}

/* One document for each text, where it comes first; a text's number says whether it did. */
static int show(struct joining *j, const struct dataset *d, struct parts *p, struct err *e)
{
    int i, side, rc, classes = 0;

    for (i = 0; i < j->texts.count; i++)
        j->label[i] = -1;
    for (i = 0; i < d->count; i++)
        for (side = 0; side < 2; side++) {
            int32_t text = j->of[i][side], root = find(j->parent, text);

            if (text < p->count)
                continue;
            if (j->label[root] < 0)
                j->label[root] = classes++;
            if ((rc = put(p, d, &d->docs[i], side, j->label[root], e)) < 0)
                return rc;
            p->docs[p->count - 1].split = j->held[root] ? DATASET_EVAL : DATASET_TRAIN;
        }
    return 0;
}

int dataset_join_pairs(struct dataset *d, struct err *e)
{
    size_t texts = 2 * (size_t)d->count + 1;
    struct joining j = {.of = calloc(texts, sizeof *j.of),
                        .parent = calloc(texts, sizeof *j.parent),
                        .label = calloc(texts, sizeof *j.label),
                        .held = calloc(texts, 1)};
    struct parts p;
    int rc = begin(&p, d, e);

    if (rc == 0 && (!j.of || !j.parent || !j.label || !j.held))
        rc = err_set(e, ERR_NOMEM, "the classes of %d pairs", d->count);
    if (rc == 0 && (rc = join(&j, d, e)) == 0)
        rc = show(&j, d, &p, e);
    if (rc < 0)
        release(&p);
    else
        finish(&p, d);
    names_release(&j.texts);
    free(j.of);
    free(j.parent);
    free(j.label);
    free(j.held);
    return rc;
}
