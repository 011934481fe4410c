/*
 * The options of a command line, from a table: `--name value`, `--name=value`,
 * `-n value`, `-nvalue`, `-ab` for flags; `--` ends them. Options and operands
 * may mix. Errors (ERR_USAGE) name the option and, when a word looks mistyped,
 * the nearest. Values point into argv.
 */
#ifndef PLATFORM_PROC_OPTIONS_H
#define PLATFORM_PROC_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"

#define OPTION_LIST_MAX 64

enum option_type {                /* type of the field at the row's offset */
                   OPTION_FLAG,   /* bool */
                   OPTION_TEXT,   /* const char * */
                   OPTION_INT,    /* int64_t */
                   OPTION_FLOAT,  /* double */
                   OPTION_CHOICE, /* int, the index in `choices` */
                   OPTION_LIST    /* struct option_list: may be given several times */
};

struct option_list {
    size_t count;
    const char *items[OPTION_LIST_MAX];
};

struct option_row {
    const char *name; /* without "--" */
    char letter;      /* 0: none */
    enum option_type type;
    size_t offset;
    const char *value; /* what --help calls the value: "FILE" */
    const char *help;
    double min, max; /* of numbers; both 0: no bounds */
    const char *const *choices;
};

/*
 * Fills the fields of *base that were given (defaults are the caller's to set
 * before) and moves the operands to the front of argv: *operands of them, from
 * argv[0] on; argv here begins behind the program's or command's name.
 */
int options_parse(const struct option_row *rows, size_t n, void *base, int argc, char **argv,
                  int *operands, struct err *e);

/* Two columns, help wrapped; for --help. */
void options_help(const struct option_row *rows, size_t n, struct buf *to);

/* "unknown command 'pusj' (did you mean 'push'?)": `what` is "command"; names end with NULL. */
int options_unknown(const char *what, const char *typed, const char *const *names, struct err *e);

#endif
