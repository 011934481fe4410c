/*
 * Documents of a file as the messages that `push` sends: rows of CSV
 * (trainer/data/csv.h; a pair is a document with two parts), or lines of JSON
 * (schemas/document.h, one object a line).
 * Each comes out checked as ingest will check it, with an id: its own, else a
 * hash of its content, so that the same content is the same document.
 *
 *   source_open -> source_next until 0 -> (source_rewind) -> source_free
 *
 * One thread. What source_next gives lives until the next call.
 */
#ifndef CLI_SOURCE_H
#define CLI_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "platform/base/err.h"

struct source;

struct source_options {
    const char *path; /* "-": standard input */
    enum { SOURCE_BY_NAME, SOURCE_CSV, SOURCE_JSONL } format;
    int columns;       /* enum csv_kind, of CSV */
    const char *owner; /* whose prefix a uri may name */
    int split;         /* enum document_split, or -1: each document's own */
};

struct source_item {
    const char *id;    /* the message's key */
    const void *value; /* JSON */
    size_t len;
    size_t line; /* where it began, from 1 */
};

int source_open(struct source **out, const struct source_options *o, struct err *e);
void source_free(struct source *s); /* accepts NULL */

/* 1, 0: the end, or an error that begins with file:line. */
int source_next(struct source *s, struct source_item *item, struct err *e);

/* Can the file be read twice (to check all of it before any is sent)? */
bool source_rewinds(const struct source *s);
int source_rewind(struct source *s, struct err *e);

#endif
