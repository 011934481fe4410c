/*
 * The tidy test: reads every C file of a tree and names what breaks the
 * project's habits, one `path:line: what` a line. It knows C only as far as it
 * needs to: comments and strings are blanked first, braces are counted.
 */
#ifndef TESTS_TIDY_TIDY_H
#define TESTS_TIDY_TIDY_H

#include <stdbool.h>
#include <stddef.h>

struct source {
    const char *path; /* from the root of the tree */
    char *raw;        /* as it is, NUL-terminated */
    char *code; /* same length; comments and preprocessor lines are blanks, strings are "____" */
    size_t len;
    int found; /* counted by found() */
};

/* Prints one finding. */
void found(struct source *s, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool starts_with(const char *text, const char *prefix);

void check_lines(struct source *s);     /* blanks at line ends, tabs, open ends in comments */
void check_functions(struct source *s); /* their length */
void check_includes(struct source *s);  /* who may include whom; own header first */
void check_calls(struct source *s);     /* functions that are not called here */
void check_name(struct source *s);      /* file names */

#endif
