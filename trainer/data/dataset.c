#include "trainer/data/dataset_int.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/counter.h"

#define STREAM_STRATIFY 0x73747261

struct dataset *dataset_new(void)
{
    return calloc(1, sizeof(struct dataset));
}

void dataset_free(struct dataset *d)
{
    if (!d)
        return;
    names_release(&d->ids);
    names_release(&d->labels);
    free(d->texts);
    free(d->docs);
    free(d->pairs);
    free(d->scores);
    free(d->label_ids);
    free(d->label_counts);
    free(d);
}

static int put_text(struct dataset *d, const char *text, size_t len, size_t *at, struct err *e)
{
    size_t room = d->room ? d->room : 1 << 16;
    char *texts;

    if (len > DATASET_BYTES_MAX - d->used)
        return err_set(e, ERR_LIMIT, "a dataset of more than %zu bytes", DATASET_BYTES_MAX);
    while (room - d->used < len)
        room *= 2;
    if (room != d->room) {
        texts = realloc(d->texts, room);
        if (!texts)
            return err_set(e, ERR_NOMEM, "texts of %zu bytes", room);
        d->texts = texts;
        d->room = room;
    }
    if (len)
        memcpy(d->texts + d->used, text, len);
    *at = d->used;
    d->used += len;
    return 0;
}

static int check_add(const struct dataset *d, size_t id_len, size_t label_len, struct err *e)
{
    if (d->sealed)
        return err_set(e, ERR_INTERNAL, "a sealed dataset takes no documents");
    if (id_len < 1 || label_len < 1)
        return err_set(e, ERR_FORMAT, "a document without %s", id_len < 1 ? "an id" : "a label");
    if (id_len > DATASET_ID_MAX || label_len > DATASET_ID_MAX)
        return err_set(e, ERR_LIMIT, "%s of more than %d bytes",
                       id_len > DATASET_ID_MAX ? "an id" : "a label", DATASET_ID_MAX);
    if (d->count >= DATASET_DOCS_MAX)
        return err_set(e, ERR_LIMIT, "more than %d documents", DATASET_DOCS_MAX);
    return 0;
}

static int room_for_doc(struct dataset *d, struct err *e)
{
    int cap = d->cap ? d->cap * 2 : 64;
    struct doc *docs;

    if (d->count < d->cap)
        return 0;
    docs = realloc(d->docs, (size_t)cap * sizeof *docs);
    if (!docs)
        return err_set(e, ERR_NOMEM, "%d documents", cap);
    d->docs = docs;
    d->cap = cap;
    return 0;
}

/* Puts the document where its id stands; id NULL: a new one. */
static int put_doc(struct dataset *d, const char *id, size_t id_len, struct doc doc, struct err *e)
{
    char number[16];
    int rc;

    if (!id)
        id_len = (size_t)snprintf(number, sizeof number, "%d", d->next_id);
    if ((rc = room_for_doc(d, e)) < 0 ||
        (rc = names_add(&d->ids, id ? id : number, id_len, NULL, e)) < 0)
        return rc;
    doc.name = rc;
    doc.alive = 1;
    d->docs[rc] = doc;
    d->count += rc == d->count;
    d->next_id += !id;
    return 0;
}

int dataset_add(struct dataset *d, const char *id, size_t id_len, const char *text, size_t text_len,
                const char *label, size_t label_len, enum dataset_split split, struct err *e)
{
    struct doc doc = {.text_len = text_len, .split = (unsigned char)split, .kind = DOC_LABELED};
    int rc;

    if ((rc = check_add(d, id ? id_len : 1, label_len, e)) < 0 ||
        (rc = put_text(d, text, text_len, &doc.text, e)) < 0 ||
        (rc = names_add(&d->labels, label, label_len, NULL, e)) < 0)
        return rc;
    doc.label = rc;
    return put_doc(d, id, id_len, doc, e);
}

static int room_for_pair(struct dataset *d, struct err *e)
{
    int cap = d->pair_cap ? d->pair_cap * 2 : 64;
    struct pair *pairs;

    if (d->pair_count < d->pair_cap)
        return 0;
    pairs = realloc(d->pairs, (size_t)cap * sizeof *pairs);
    if (!pairs)
        return err_set(e, ERR_NOMEM, "%d pairs", cap);
    d->pairs = pairs;
    d->pair_cap = cap;
    return 0;
}

int dataset_add_pair(struct dataset *d, const char *id, size_t id_len, const char *text,
                     size_t text_len, const char *second, size_t second_len, const double *score,
                     enum dataset_split split, struct err *e)
{
    struct doc doc = {
        .text_len = text_len, .split = (unsigned char)split, .kind = score ? DOC_SCORED : DOC_PAIR};
    struct pair pair = {.text_len = second_len, .score = score ? *score : 0};
    int rc;

    if (d->pair_count >= DATASET_DOCS_MAX / 2)
        return err_set(e, ERR_LIMIT, "more than %d pairs", DATASET_DOCS_MAX / 2);
    if ((rc = check_add(d, id ? id_len + 2 : 3, 1, e)) < 0 || (rc = room_for_pair(d, e)) < 0 ||
        (rc = put_text(d, text, text_len, &doc.text, e)) < 0 ||
        (rc = put_text(d, second, second_len, &pair.text, e)) < 0)
        return rc;
    if (id && id_len < 1)
        return err_set(e, ERR_FORMAT, "a pair without an id");
    doc.label = d->pair_count;
    if ((rc = put_doc(d, id, id_len, doc, e)) < 0)
        return rc;
    d->pairs[d->pair_count++] = pair;
    return 0;
}

void dataset_remove(struct dataset *d, const char *id, size_t id_len)
{
    int i = d->sealed ? -1 : names_find(&d->ids, id, id_len);

    if (i >= 0)
        d->docs[i].alive = 0;
}

static void drop_dead(struct dataset *d)
{
    int i, kept = 0;

    for (i = 0; i < d->count; i++)
        if (d->docs[i].alive)
            d->docs[kept++] = d->docs[i];
    d->count = kept;
}

/* Labels get new numbers in the order in which documents show them. */
static int renumber(struct dataset *d, struct err *e)
{
    struct names fresh = {0};
    int i, rc = 0;

    for (i = 0; i < d->count && rc >= 0; i++) {
        struct doc *doc = &d->docs[i];

        rc = names_add(&fresh, names_at(&d->labels, doc->label), d->labels.items[doc->label].len,
                       NULL, e);
        doc->label = rc;
    }
    if (rc < 0) {
        names_release(&fresh);
        return rc;
    }
    names_release(&d->labels);
    d->labels = fresh;
    return 0;
}

/* The documents that are left, of one kind. */
static int one_kind(const struct dataset *d, enum doc_kind *kind, struct err *e)
{
    int count[DOC_KINDS] = {0}, i;

    for (i = 0; i < d->count; i++)
        count[d->docs[i].kind]++;
    *kind = d->count ? (enum doc_kind)d->docs[0].kind : DOC_LABELED;
    if (count[*kind] == d->count)
        return 0;
    return err_set(e, ERR_FORMAT,
                   "%d labeled documents, %d pairs and %d scored pairs are mixed: keep one kind in "
                   "a dataset",
                   count[DOC_LABELED], count[DOC_PAIR], count[DOC_SCORED]);
}

/* Only texts of documents stay. */
static int compact(struct dataset *d, struct err *e)
{
    size_t used = 0, at = 0;
    char *texts;
    int i;

    for (i = 0; i < d->count; i++)
        used += d->docs[i].text_len;
    if (used == d->used)
        return 0;
    texts = malloc(used ? used : 1);
    if (!texts)
        return err_set(e, ERR_NOMEM, "texts of %zu bytes", used);
    for (i = 0; i < d->count; i++) {
        memcpy(texts + at, d->texts + d->docs[i].text, d->docs[i].text_len);
        d->docs[i].text = at;
        at += d->docs[i].text_len;
    }
    free(d->texts);
    d->texts = texts;
    d->used = d->room = used;
    return 0;
}

int dataset_seal(struct dataset *d, struct err *e)
{
    static int (*const settle[DOC_KINDS])(struct dataset *,
                                          struct err *) = {[DOC_LABELED] = renumber,
                                                           [DOC_PAIR] = dataset_join_pairs,
                                                           [DOC_SCORED] = dataset_part_scored};
    enum doc_kind kind;
    int i, rc;

    if (d->sealed)
        return 0;
    drop_dead(d);
    if ((rc = one_kind(d, &kind, e)) < 0 || (rc = settle[kind](d, e)) < 0 ||
        (rc = compact(d, e)) < 0)
        return rc;
    free(d->pairs);
    d->pairs = NULL;
    d->label_ids = calloc((size_t)d->count + 1, sizeof *d->label_ids);
    d->label_counts = calloc((size_t)d->labels.count + 1, sizeof *d->label_counts);
    if (!d->label_ids || !d->label_counts)
        return err_set(e, ERR_NOMEM, "labels of %d documents", d->count);
    for (i = 0; i < d->count; i++) {
        d->label_ids[i] = d->docs[i].label;
        d->label_counts[d->docs[i].label]++;
    }
    d->sealed = 1;
    return 0;
}

static int add_row(struct dataset *d, const struct csv_row *row, enum csv_kind kind,
                   enum dataset_split split, struct err *e)
{
    /* content without labels: one label for all, so that it can be encoded */
    const char *label = row->label_len ? row->label : "-";

    if (kind == CSV_LABELED)
        return dataset_add(d, NULL, 0, row->text, row->text_len, label, strlen(label), split, e);
    return dataset_add_pair(d, NULL, 0, row->text, row->text_len, row->second, row->second_len,
                            kind == CSV_SCORED ? &row->score : NULL, split, e);
}

int dataset_from_csv(struct dataset **out, const char *path, const struct csv_options *options,
                     enum dataset_split split, struct err *e)
{
    struct dataset *d = dataset_new();
    struct csv *c = NULL;
    struct csv_row row;
    int rc;

    if (!d)
        return err_set(e, ERR_NOMEM, "%s", path);
    if ((rc = csv_open(&c, path, options, e)) < 0)
        goto fail;
    while ((rc = csv_next(c, &row, e)) > 0) {
        if ((rc = add_row(d, &row, csv_kind(c), split, e)) < 0) {
            err_wrap(e, "%s:%zu", path, row.line);
            goto fail;
        }
    }
    if (rc < 0 || (rc = dataset_seal(d, e)) < 0)
        goto fail;
    if (d->count == 0) {
        rc = err_set(e, ERR_FORMAT, "%s: no documents: write content,label on each line", path);
        goto fail;
    }
    csv_free(c);
    *out = d;
    return 0;
fail:
    csv_free(c);
    dataset_free(d);
    return rc;
}

int dataset_count(const struct dataset *d)
{
    return d->count;
}

int dataset_labels(const struct dataset *d)
{
    return d->labels.count;
}

struct dataset_doc dataset_at(const struct dataset *d, int index)
{
    const struct doc *doc = &d->docs[index];

    assert(d->sealed && index >= 0 && index < d->count);
    return (struct dataset_doc){.id = names_at(&d->ids, doc->name),
                                .id_len = d->ids.items[doc->name].len,
                                .text = d->texts + doc->text,
                                .text_len = doc->text_len,
                                .label = doc->label,
                                .split = (enum dataset_split)doc->split};
}

const int32_t *dataset_label_ids(const struct dataset *d)
{
    return d->label_ids;
}

const char *dataset_label_name(const struct dataset *d, int32_t label)
{
    return names_at(&d->labels, label);
}

const int32_t *dataset_label_counts(const struct dataset *d)
{
    return d->label_counts;
}

const double *dataset_scores(const struct dataset *d)
{
    return d->scores;
}

int32_t dataset_label_find(const struct dataset *d, const char *name, size_t len)
{
    return names_find(&d->labels, name, len);
}

static int held_of(int n, double fraction)
{
    int k = (int)floor(n * fraction + 0.5);

    if (k < 1 && n >= 3 && fraction > 0)
        k = 1;
    return k > n - 1 ? n - 1 : k;
}

/* The same choice among pairs. */
static void stratify_pairs(const struct dataset *d, double fraction, uint64_t seed,
                           unsigned char *held)
{
    int left = d->count / 2, want = held_of(left, fraction), i;

    for (i = 0; i < d->count; i += 2, left--) {
        uint64_t bits = counter_u64(seed, 0, STREAM_STRATIFY, (uint64_t)left);

        held[i] = held[i + 1] = counter_below(bits, (uint64_t)left) < (uint64_t)want;
        want -= held[i];
    }
}

/* Picks by selection sampling (Knuth 3.4.2 S): walks the documents once and holds each with
 * probability (still to hold) / (still to come), per label. The random stream is the label's name,
 * so that other labels don't shift it. */
int dataset_stratify(const struct dataset *d, double fraction, uint64_t seed, unsigned char *held,
                     struct err *e)
{
    int32_t *left = calloc((size_t)d->labels.count + 1, sizeof *left);
    int32_t *want = calloc((size_t)d->labels.count + 1, sizeof *want);
    int i, rc = 0;

    if (!left || !want) {
        rc = err_set(e, ERR_NOMEM, "%d labels", d->labels.count);
        goto done;
    }
    if (!(fraction >= 0 && fraction < 1)) {
        rc = err_set(e, ERR_USAGE, "a held-out fraction of %g is not in [0, 1)", fraction);
        goto done;
    }
    if (d->scores) {
        stratify_pairs(d, fraction, seed, held);
        goto done;
    }
    for (i = 0; i < d->labels.count; i++) {
        left[i] = d->label_counts[i];
        want[i] = held_of(left[i], fraction);
    }
    for (i = 0; i < d->count; i++) {
        int32_t l = d->label_ids[i];
        uint64_t bits =
            counter_u64(seed, d->labels.items[l].hash, STREAM_STRATIFY, (uint64_t)left[l]);

        held[i] = counter_below(bits, (uint64_t)left[l]) < (uint64_t)want[l];
        want[l] -= held[i];
        left[l]--;
    }
done:
    free(left);
    free(want);
    return rc;
}

/* Adds document i of a sealed dataset, or the pair that begins with it. */
static int add_again(struct dataset *to, const struct dataset *d, int i, struct err *e)
{
    struct dataset_doc doc = dataset_at(d, i), second;

    if (!d->scores)
        return dataset_add(to, doc.id, doc.id_len, doc.text, doc.text_len,
                           names_at(&d->labels, doc.label), d->labels.items[doc.label].len,
                           doc.split, e);
    if (i % 2)
        return 0;
    second = dataset_at(d, i + 1);
    return dataset_add_pair(to, doc.id, doc.id_len - 2, doc.text, doc.text_len, second.text,
                            second.text_len, &d->scores[i / 2], doc.split, e);
}

int dataset_select(struct dataset **out, const struct dataset *d, const unsigned char *mark,
                   unsigned char value, struct err *e)
{
    struct dataset *part = dataset_new();
    int i, rc = 0;

    if (!part)
        return err_set(e, ERR_NOMEM, "a part of a dataset");
    for (i = 0; i < d->count && rc == 0; i++) {
        if (mark[i] == value)
            rc = add_again(part, d, i, e);
    }
    if (rc == 0)
        rc = dataset_seal(part, e);
    if (rc < 0) {
        dataset_free(part);
        return rc;
    }
    *out = part;
    return 0;
}

void dataset_split_marks(const struct dataset *d, unsigned char *mark)
{
    int i;

    for (i = 0; i < d->count; i++)
        mark[i] = d->docs[i].split;
}

static void hash_piece(struct sha256 *h, const char *bytes, size_t len)
{
    unsigned char size[8];
    int i;

    for (i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)len >> 8 * i);
    sha256_add(h, size, sizeof size);
    sha256_add(h, bytes, len);
}

int dataset_hash(const struct dataset *d, char hex[SHA256_HEX], struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    struct sha256 *h = sha256_new();
    int i;

    if (!h)
        return err_set(e, ERR_NOMEM, "hash of a dataset");
    for (i = 0; i < d->count; i++) {
        struct dataset_doc doc = dataset_at(d, i);
        char split = (char)doc.split;

        hash_piece(h, doc.id, doc.id_len);
        hash_piece(h, doc.text, doc.text_len);
        hash_piece(h, names_at(&d->labels, doc.label), d->labels.items[doc.label].len);
        hash_piece(h, &split, 1);
        if (d->scores)
            hash_piece(h, (const char *)&d->scores[i / 2], sizeof *d->scores);
    }
    sha256_end(h, digest);
    sha256_hex(digest, hex);
    sha256_free(h);
    return 0;
}
