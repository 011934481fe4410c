#include "platform/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int code;
    enum err_class klass;
    const char *name, *text;
    int status;
} codes[] = {
#define X(name, code, klass, text, status) {code, ERR_CLASS_##klass, #name, text, status},
    ERR_CODES(X)
#undef X
};

#define CODES (sizeof codes / sizeof codes[0])

/* The table is dense from -1 down, so the code is its index. */
static size_t index_of(int code)
{
    size_t i = (size_t)(-(long)code) - 1;

    return code < 0 && i < CODES ? i : CODES;
}

/* One line only: a message is a log field and a line on a terminal. */
static void flatten(char *text)
{
    for (; *text; text++)
        if (*text == '\n' || *text == '\r')
            *text = ' ';
}

int err_set(struct err *e, int code, const char *format, ...)
{
    va_list args;

    e->code = code;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    flatten(e->text);
    return code;
}

static const char *advice(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return " (free some space or choose another folder)";
    case EACCES:
    case EPERM:
        return " (check the permissions)";
    default:
        return "";
    }
}

int err_errno(struct err *e, int code, const char *format, ...)
{
    int errnum = errno;
    char reason[128];
    va_list args;
    size_t n;

    if (errnum == ENOMEM) /* the C library had no buffer for a file: not the file's fault */
        code = ERR_NOMEM;
    e->code = code;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    n = strlen(e->text);
    /* GNU strerror_r: may return its own string */
    snprintf(e->text + n, sizeof e->text - n, ": %s%s", strerror_r(errnum, reason, sizeof reason),
             advice(errnum));
    flatten(e->text);
    return code;
}

int err_wrap(struct err *e, const char *format, ...)
{
    char old[sizeof e->text];
    va_list args;
    size_t n;

    memcpy(old, e->text, sizeof old);
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": %s", old);
    flatten(e->text);
    return e->code;
}

enum err_class err_class(int code)
{
    size_t i = index_of(code);

    return i < CODES ? codes[i].klass : ERR_CLASS_STOP;
}

const char *err_name(int code)
{
    size_t i = index_of(code);

    return i < CODES ? codes[i].name : "UNKNOWN";
}

const char *err_text(int code)
{
    size_t i = index_of(code);

    return i < CODES ? codes[i].text : "unknown error";
}

int err_exit_status(int code)
{
    size_t i = index_of(code);

    if (code == 0)
        return 0;
    return i < CODES ? codes[i].status : 70;
}
