/*
 * Documents from a CSV file. UTF-8, a byte order mark is skipped; records may hold
 * quoted line breaks and quotes ("" inside quotes). What the rows are:
 *   text,label       a labeled document
 *   text,text        two texts that belong together
 *   text,text,score  two texts and how similar they are: a number, |score| <= 1,000,000
 *
 * The dialect is found by looking at the file's first records:
 *   excel      commas
 *   excel-tab  tabs
 *   unix       commas, every field quoted, lines end in \n
 *
 * There is no header unless the first record names a column `text`, `content`,
 * `label`, `category` or `finetuner_label`, or two columns `text` and `text`, `text1`
 * and `text2`, `sentence1` and `sentence2`, or `anchor` and `positive` (in any case, in
 * any order) and that word does not come again in the same column of the records
 * that were looked at. With a header the columns may stand in any order and others are
 * ignored; two columns of texts are a pair, with a column `score` or `similarity`
 * a scored one. Without a header there are two columns, content first, unless
 * `kind` says otherwise.
 *
 *   csv_open -> csv_next until 0 -> csv_free
 *
 * The file is read whole; rows point into it and live until csv_free. One thread.
 */
#ifndef TRAINER_DATA_CSV_H
#define TRAINER_DATA_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "platform/base/err.h"

#define CSV_BYTES_MAX   ((size_t)1 << 30)
#define CSV_FIELD_MAX   ((size_t)16 << 20)
#define CSV_COLUMNS_MAX 256

#define CSV_SCORE_MAX 1e6

struct csv;

enum csv_kind {
    CSV_BY_HEADER, /* as the header says; without one: labeled */
    CSV_LABELED,
    CSV_PAIRS,
    CSV_SCORED
};

struct csv_options {
    bool label_optional; /* a single column is content without labels, and there are no pairs */
    const char *content; /* header's name of the content column; NULL: the known names */
    const char *label;
    enum csv_kind kind; /* what the rows are, with or without a header */
};

struct csv_row {
    const char *text, *label; /* NUL-terminated too; label "" without labels */
    size_t text_len, label_len;
    const char *second; /* the other text of a pair, else NULL */
    size_t second_len;
    double score; /* of scored pairs */
    size_t line;  /* where the record begins, from 1 */
};

/* `options` may be NULL. Errors read "file:line: what: what to do". */
int csv_open(struct csv **out, const char *path, const struct csv_options *options, struct err *e);
/* The same on memory, which is copied; `name` stands for the path. */
int csv_parse(struct csv **out, const char *name, const void *bytes, size_t n,
              const struct csv_options *options, struct err *e);
void csv_free(struct csv *c); /* accepts NULL */

/* 1: a row, 0: the end, or an error: ERR_FORMAT (columns, quotes, UTF-8, empty content or label,
 * a score that is no number), ERR_LIMIT. Blank lines are skipped. */
int csv_next(struct csv *c, struct csv_row *row, struct err *e);

const char *csv_dialect(const struct csv *c); /* "excel", "excel-tab", "unix" */
bool csv_has_header(const struct csv *c);
enum csv_kind csv_kind(const struct csv *c); /* never CSV_BY_HEADER */

/* By enum csv_kind: "header", "text,label", "text,text", "text,text,score"; NULL-terminated. */
extern const char *const csv_kind_names[];

#endif
