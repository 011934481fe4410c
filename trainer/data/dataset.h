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
/* A tombstone. Unknown ids are fine. */
void dataset_remove(struct dataset *d, const char *id, size_t id_len);
int dataset_seal(struct dataset *d, struct err *e);

/* A sealed dataset of a CSV file's rows (every row one document). ERR_FORMAT when it has none. */
int dataset_from_csv(struct dataset **out, const char *path, const struct csv_options *options,
                     enum dataset_split split, struct err *e);

int dataset_count(const struct dataset *d);
int dataset_labels(const struct dataset *d); /* C */
struct dataset_doc dataset_at(const struct dataset *d, int index);
const int32_t *dataset_label_ids(const struct dataset *d);              /* (N) */
const char *dataset_label_name(const struct dataset *d, int32_t label); /* NUL-terminated */
const int32_t *dataset_label_counts(const struct dataset *d);           /* (C) */

/* The label's number, or -1. */
int32_t dataset_label_find(const struct dataset *d, const char *name, size_t len);

/* Marks about `fraction` of each label's documents: held[i] = 1, else 0. Which ones depends on
 * seed, label names and the order of documents only. Of n documents round(n * fraction) are held,
 * but one always stays, and at least one is held when n >= 3 and fraction > 0. */
int dataset_stratify(const struct dataset *d, double fraction, uint64_t seed, unsigned char *held,
                     struct err *e);

/* A sealed copy of the documents with mark[i] == value; label numbers are its own. */
int dataset_select(struct dataset **out, const struct dataset *d, const unsigned char *mark,
                   unsigned char value, struct err *e);

/* Marks documents by their split, for dataset_select. */
void dataset_split_marks(const struct dataset *d, unsigned char *mark);

/* SHA-256 over ids, texts, label names and splits in order: equal hashes, equal training. */
int dataset_hash(const struct dataset *d, char hex[SHA256_HEX], struct err *e);

#endif
