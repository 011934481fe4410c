/*
 * Settings. A table says all there is to say about each: name, type, default,
 * bounds, help. From it come the reader of files, the environment variables,
 * `--set`, `--print-config`, the commented example file and the page of the
 * documentation.
 *
 *   static const struct conf_row rows[] = {
 *       {.key = "s3.bucket", .type = CONF_STRING, .offset = offsetof(struct my, bucket), ...},
 *   };
 *   conf_new(&c, &e);  conf_add(c, rows, n, &my, &e);
 *   conf_file(c, "ingest.conf", &e);  conf_env(c, environ, &e);  conf_set(c, "s3.bucket=b", &e);
 *
 * Later calls win over earlier ones. Wrong keys and values are errors that name
 * their place (file and line, variable, argument) and what is allowed: never
 * skipped. Strings that the structs point to belong to the conf and live as long
 * as it does. One thread at a time; read-only use of the filled structs by any.
 *
 * Format of a file: `[section]`, `name = value`, comments on lines of their own
 * that begin with '#' or ';'. A value goes to the end of its line.
 */
#ifndef PLATFORM_CONF_CONF_H
#define PLATFORM_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"

#define CONF_VALUE_MAX 1024 /* bytes of a text value unless the row says less */
#define CONF_FILE_MAX  ((size_t)1 << 20)

enum conf_type {                /* type of the field at the row's offset */
                 CONF_STRING,   /* const char *, NULL while unset */
                 CONF_PATH,     /* const char * */
                 CONF_SECRET,   /* const char *, never shown */
                 CONF_INT,      /* int64_t */
                 CONF_SIZE,     /* int64_t, bytes: 64M; K, M, G, T are powers of 1024 */
                 CONF_DURATION, /* int64_t, milliseconds: 500ms, 30s, 5m, 2h, 7d */
                 CONF_FLOAT,    /* double */
                 CONF_BOOL,     /* bool: true, false, yes, no, on, off, 1, 0 */
                 CONF_ENUM      /* int, the index in `choices` */
};

struct conf_row {
    const char *key; /* "section.name" */
    enum conf_type type;
    size_t offset;
    const char *initial; /* the default as one would write it; NULL: unset, zero */
    double min, max;     /* of numbers, in the field's unit; both 0: no bounds. Strings: length */
    const char *const *choices; /* CONF_ENUM; NULL-terminated */
    const char *env; /* another variable, asked after TRIPLINE_<SECTION>_<NAME>; NULL: none */
    const char *help;
};

struct conf;

int conf_new(struct conf **out, struct err *e);
void conf_free(struct conf *c); /* accepts NULL */

/* Adds rows (borrowed) that describe `*base` (borrowed) and sets their defaults in it. */
int conf_add(struct conf *c, const struct conf_row *rows, size_t n, void *base, struct err *e);

/* Another default than the row's for this program; before any value is read. */
int conf_default(struct conf *c, const char *key, const char *value, struct err *e);

int conf_file(struct conf *c, const char *path, struct err *e);
int conf_text(struct conf *c, const char *name, const char *text, size_t n, struct err *e);
/* TRIPLINE_<SECTION>_<NAME>, then the row's other variable. An empty value counts as unset; other
 * variables are not ours to judge. */
int conf_env(struct conf *c, char *const *environment, struct err *e);
int conf_set(struct conf *c, const char *assignment, struct err *e); /* "section.name=value" */

/* ERR_CONFIG unless the text setting has a value; says how to set it. */
int conf_need(const struct conf *c, const char *key, struct err *e);

/* The settings in force, in the format of a file; secrets as ***. */
void conf_print(const struct conf *c, struct buf *to);
/* The settings that somebody gave, as a file that says the same again, secrets included. */
void conf_save(const struct conf *c, struct buf *to);
/* A file in which every setting stands as a comment with its default and help. */
void conf_example(const struct conf *c, const char *program, struct buf *to);
/* Tables for the documentation. */
void conf_markdown(const struct conf *c, struct buf *to);

#endif
