#include "platform/base/err.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { PLACE = PATH_MAX + 128 /* a path with a line, say */ };

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

/* One line without control characters (U+0080 to U+009F are some, too): a message is a log field
 * and a line on a terminal, and may quote what others wrote. */
static void flatten(char *text)
{
    for (; *text; text++) {
        if (*text == '\n' || *text == '\r' || *text == '\t')
            *text = ' ';
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
        else if ((unsigned char)*text == 0xc2 && ((unsigned char)text[1] & 0xe0) == 0x80)
            text[0] = text[1] = '?';
    }
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

/* Where both don't fit, the front of the place is left out: its end says more. */
static void join(struct err *e, const char *place, const char *reason)
{
    size_t room = sizeof e->text - sizeof ": ...", have = strlen(reason), n = strlen(place);
    size_t want = have < room / 2 ? room - have : room / 2;
    const char *from = n > want ? place + n - want : place;

    while (from > place && ((unsigned char)*from & 0xc0) == 0x80) /* within a UTF-8 sequence */
        from++;
    snprintf(e->text, sizeof e->text, "%s%s: %s", from > place ? "..." : "", from, reason);
    flatten(e->text);
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
    char place[PLACE], reason[128], text[256];
    va_list args;

    if (errnum == ENOMEM) /* the C library had no buffer for a file: not the file's fault */
        code = ERR_NOMEM;
    e->code = code;
    va_start(args, format);
    vsnprintf(place, sizeof place, format, args);
    va_end(args);
    /* GNU strerror_r: may return its own string */
    snprintf(text, sizeof text, "%s%s", strerror_r(errnum, reason, sizeof reason), advice(errnum));
    join(e, place, text);
    return code;
}

int err_wrap(struct err *e, const char *format, ...)
{
    char place[PLACE], old[sizeof e->text];
    va_list args;

    memcpy(old, e->text, sizeof old);
    va_start(args, format);
    vsnprintf(place, sizeof place, format, args);
    va_end(args);
    join(e, place, old);
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
