#include "platform/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    memset(b, 0, sizeof *b);
    b->max = max;
}

void buf_release(struct buf *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = 0;
    if (b->data)
        b->data[0] = '\0';
}

void *buf_reserve(struct buf *b, size_t n)
{
    size_t want, cap;
    char *data;

    if (b->failed)
        return NULL;
    if (n > b->max - b->len || n > SIZE_MAX - 1 - b->len) { /* the NUL counts too */
        b->failed = ERR_LIMIT;
        return NULL;
    }
    want = b->len + n + 1;
    if (want > b->cap) {
        cap = b->cap ? b->cap : 64;
        while (cap < want)
            cap = cap > SIZE_MAX / 2 ? want : cap * 2;
        data = realloc(b->data, cap);
        if (!data) {
            b->failed = ERR_NOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
    char *to = buf_reserve(b, n);

    if (!to)
        return;
    if (n)
        memcpy(to, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    char *to;
    int n;

    va_start(args, format);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && (to = buf_reserve(b, (size_t)n))) {
        vsnprintf(to, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_u32(struct buf *b, uint32_t v)
{
    unsigned char x[4];
    int i;

    for (i = 0; i < 4; i++)
        x[i] = (unsigned char)(v >> (8 * i));
    buf_add(b, x, sizeof x);
}

void buf_u64(struct buf *b, uint64_t v)
{
    buf_u32(b, (uint32_t)v);
    buf_u32(b, (uint32_t)(v >> 32));
}

int buf_check(const struct buf *b, const char *what, struct err *e)
{
    if (b->failed == ERR_LIMIT)
        return err_set(e, ERR_LIMIT, "%s: larger than %zu bytes", what, b->max);
    if (b->failed)
        return err_set(e, b->failed, "%s: out of memory at %zu bytes", what, b->len);
    return 0;
}

char *buf_detach(struct buf *b, size_t *len)
{
    char *data = b->data;

    if (len)
        *len = b->len;
    buf_init(b, b->max);
    return data;
}
