/*
 * Errors. A function that can fail returns 0 or a negative code of the table
 * below and takes a `struct err *` as its last argument (never NULL), into
 * which the place that failed writes one message: what, where, what to do.
 * Callers test `rc < 0` and pass the code on; they may prefix where they stand
 * (err_wrap). Only `main` and a service's loop look at the class:
 *
 *   RETRY   back off and try again       REJECT  the input goes to the reject path
 *   STOP    the process ends, non-zero   LOST    another process won: reread and obey
 *
 * A `struct err` is plain memory on the caller's stack: nothing to release, not
 * shared between threads.
 */
#ifndef PLATFORM_BASE_ERR_H
#define PLATFORM_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum err_class { ERR_CLASS_RETRY, ERR_CLASS_REJECT, ERR_CLASS_STOP, ERR_CLASS_LOST };

/* name, code, class, text, exit status of a command line program */
#define ERR_CODES(X)                                                                               \
    X(NOMEM, -1, STOP, "out of memory", 70)                                                        \
    X(PEER, -2, RETRY, "a server did not answer", 69)                                              \
    X(FORMAT, -3, REJECT, "input breaks its format", 65)                                           \
    X(CONFIG, -4, STOP, "configuration cannot work", 78)                                           \
    X(USAGE, -5, STOP, "wrong usage", 64)                                                          \
    X(IO, -6, STOP, "a local file operation failed", 74)                                           \
    X(NOT_FOUND, -7, REJECT, "not found", 66)                                                      \
    X(EXISTS, -8, LOST, "exists already", 73)                                                      \
    X(DENIED, -9, STOP, "access denied", 77)                                                       \
    X(LIMIT, -10, REJECT, "over a limit", 65)                                                      \
    X(UNSUPPORTED, -11, REJECT, "not supported", 65)                                               \
    X(FENCED, -12, LOST, "another process took over", 75)                                          \
    X(TIMEOUT, -13, RETRY, "timed out", 75)                                                        \
    X(CANCELLED, -14, LOST, "cancelled", 75)                                                       \
    X(CHILD, -15, REJECT, "the training process failed", 70)                                       \
    X(INTERNAL, -16, STOP, "a defect in tripline", 70)

enum err_code {
#define X(name, code, klass, text, status) ERR_##name = code,
    ERR_CODES(X)
#undef X
};

struct err {
    int code;       /* 0 or one of enum err_code */
    char text[512]; /* one line, UTF-8, NUL-terminated, cut if longer */
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        0,                                                                                         \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* Writes the message and returns `code`, so that `return err_set(e, ERR_X, ...)` reads well. */
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, and appends ": " and the text of `errno` (ENOSPC and EACCES get advice). ENOMEM makes
 * it ERR_NOMEM, whatever `code` is. */
int err_errno(struct err *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message that is there; returns the code that is there. A prefix that
 * does not fit loses its front, so that the end of a path, its line and the reason stay. */
int err_wrap(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum err_class err_class(int code);
const char *err_name(int code); /* "NOMEM"; "UNKNOWN" outside the table */
const char *err_text(int code); /* "out of memory" */
int err_exit_status(int code);  /* sysexits.h-like; 0 for 0 */

#endif
