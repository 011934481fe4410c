/*
 * Labeled documents in memory: all texts in one block, labels as small numbers
 * with a table of names. Built by pushing documents, then sealed; reading comes
 * after sealing, and then from any number of threads.
 *
 *   dataset_new -> dataset_add*, dataset_remove* -> dataset_seal -> reads -> dataset_free
 *
 * A document has an id; adding an id again replaces it where it stands (so the
 * caller pushes in the order in which the last one wins). Documents keep the
 * order in which their ids came first; labels are numbered by first appearance
 * among the documents that are left at sealing.
 *
 * Pairs of texts become documents at sealing; one dataset has one kind only.
 *  - Scored pairs: pair i is the documents 2i and 2i + 1, with the ids "<id>#1" and
 *    "<id>#2"; their label is the pair's number, and dataset_scores has the scores.
 *  - Pairs without scores belong together: texts that any chain of pairs joins are one
 *    class (union-find). Each different text is one document, with the id of the pair
 *    that showed it first and "#1" or "#2"; classes are called "0", "1", ... A class is
 *    held out (DATASET_EVAL) when any of its pairs is.
 */
#ifndef TRAINER_DATA_DATASET_H
#define TRAINER_DATA_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"
#include "platform/base/sha256.h"
#include "trainer/data/csv.h"

#define DATASET_DOCS_MAX  (1 << 27)
#define DATASET_ID_MAX    4096 /* bytes of an id or a label */
#define DATASET_BYTES_MAX ((size_t)1 << 40)

/* Names of their own: schemas/document.h has a struct document, platform/proc/metrics.h a struct
 * metrics. */
enum dataset_split { DATASET_TRAIN, DATASET_EVAL };

struct dataset;

struct dataset_doc {
    const char *id, *text; /* borrowed; not terminated */
    size_t id_len, text_len;
    int32_t label;
    enum dataset_split split;
};

struct dataset *dataset_new(void); /* NULL: out of memory */
void dataset_free(struct dataset *d);

/* Copies everything. id NULL: the next number ("0", "1", ...). ERR_FORMAT (empty id or label),
 * ERR_LIMIT, ERR_NOMEM. */
int dataset_add(struct dataset *d, const char *id, size_t id_len, const char *text, size_t text_len,
                const char *label, size_t label_len, enum dataset_split split, struct err *e);
/* The same with two texts: that belong together (score NULL), or that are so similar. An id of a
 * pair has at most DATASET_ID_MAX - 2 bytes. */
int dataset_add_pair(struct dataset *d, const char *id, size_t id_len, const char *text,
                     size_t text_len, const char *second, size_t second_len, const double *score,
                     enum dataset_split split, struct err *e);
/* A tombstone. Unknown ids are fine. */
void dataset_remove(struct dataset *d, const char *id, size_t id_len);
/* ERR_FORMAT when labeled documents, pairs and scored pairs are mixed. */
int dataset_seal(struct dataset *d, struct err *e);

/* A sealed dataset of a CSV file's rows (every row one document, or one pair). ERR_FORMAT when it
 * has none. */
int dataset_from_csv(struct dataset **out, const char *path, const struct csv_options *options,
                     enum dataset_split split, struct err *e);

int dataset_count(const struct dataset *d);
int dataset_labels(const struct dataset *d); /* C */
struct dataset_doc dataset_at(const struct dataset *d, int index);
const int32_t *dataset_label_ids(const struct dataset *d);              /* (N) */
const char *dataset_label_name(const struct dataset *d, int32_t label); /* NUL-terminated */
const int32_t *dataset_label_counts(const struct dataset *d);           /* (C) */

/* (N / 2) of scored pairs; NULL: the documents have labels. */
const double *dataset_scores(const struct dataset *d);

/* The label's number, or -1. */
int32_t dataset_label_find(const struct dataset *d, const char *name, size_t len);

/* Marks about `fraction` of each label's documents: held[i] = 1, else 0. Which ones depends on
 * seed, label names and the order of documents only. Of n documents round(n * fraction) are held,
 * but one always stays, and at least one is held when n >= 3 and fraction > 0. Scored pairs are
 * held out whole, as if all had one label. */
int dataset_stratify(const struct dataset *d, double fraction, uint64_t seed, unsigned char *held,
                     struct err *e);

/* A sealed copy of the documents with mark[i] == value (of a scored pair the first one's mark
 * counts); label numbers are its own. */
int dataset_select(struct dataset **out, const struct dataset *d, const unsigned char *mark,
                   unsigned char value, struct err *e);

/* Marks documents by their split, for dataset_select. */
void dataset_split_marks(const struct dataset *d, unsigned char *mark);

/* SHA-256 over ids, texts, label names, splits and scores in order: equal hashes, equal training.
 */
int dataset_hash(const struct dataset *d, char hex[SHA256_HEX], struct err *e);

#endif
