#include "trainer/engine/onnx/wire.h"

#include <string.h>

static int truncated(const struct wire *w, const char *what, struct err *e)
{
    return err_set(e, ERR_FORMAT, "not an ONNX file, or a damaged one: %s at byte %zu", what,
                   (size_t)(w->p - w->base));
}

static int varint(struct wire *w, uint64_t *out)
{
    uint64_t v = 0;

    for (int shift = 0; shift < 64 && w->p < w->end; shift += 7) {
        unsigned char c = *w->p++;

        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *out = v;
            return 0;
        }
    }
    return -1;
}

static int fixed(struct wire *w, struct wire_field *f, size_t len)
{
    if ((size_t)(w->end - w->p) < len)
        return -1;
    f->bytes = w->p;
    f->len = len;
    w->p += len;
    return 0;
}

int wire_next(struct wire *w, struct wire_field *f, struct err *e)
{
    uint64_t tag, len;

    if (w->p == w->end)
        return 0;
    memset(f, 0, sizeof *f);
    f->start = w->p;
    if (varint(w, &tag) < 0 || tag >> 3 == 0 || tag >> 32)
        return truncated(w, "a broken field tag", e);
    f->number = (uint32_t)(tag >> 3);
    f->type = (int)(tag & 7);
    switch (f->type) {
    case WIRE_VARINT:
        if (varint(w, &f->value) < 0)
            return truncated(w, "a broken number", e);
        break;
    case WIRE_64:
    case WIRE_32:
        if (fixed(w, f, f->type == WIRE_64 ? 8 : 4) < 0)
            return truncated(w, "the end inside a number", e);
        break;
    case WIRE_BYTES:
        if (varint(w, &len) < 0 || len > (uint64_t)(w->end - w->p))
            return truncated(w, "a field that is longer than what holds it", e);
        fixed(w, f, (size_t)len);
        break;
    default:
        return truncated(w, "an unknown wire type", e);
    }
    f->after = w->p;
    return 1;
}

struct wire wire_inside(const struct wire *outer, const struct wire_field *f)
{
    struct wire w = {f->bytes, f->bytes + f->len, outer->base};

    return w;
}

void wire_put_varint(struct buf *b, uint64_t v)
{
    while (v >= 0x80) {
        buf_char(b, (char)(v | 0x80));
        v >>= 7;
    }
    buf_char(b, (char)v);
}

void wire_put_tag(struct buf *b, uint32_t number, int type)
{
    wire_put_varint(b, (uint64_t)number << 3 | (uint64_t)type);
}

void wire_put_int(struct buf *b, uint32_t number, uint64_t v)
{
    wire_put_tag(b, number, WIRE_VARINT);
    wire_put_varint(b, v);
}

void wire_put_bytes(struct buf *b, uint32_t number, const void *bytes, size_t len)
{
    wire_put_tag(b, number, WIRE_BYTES);
    wire_put_varint(b, len);
    buf_add(b, bytes, len);
}

void wire_put_text(struct buf *b, uint32_t number, const char *text)
{
    wire_put_bytes(b, number, text, strlen(text));
}

/* The length is written later into five bytes, which holds any length below 2^35. */
size_t wire_begin(struct buf *b, uint32_t number)
{
    wire_put_tag(b, number, WIRE_BYTES);
    buf_add(b, "\x80\x80\x80\x80\x00", 5);
    return b->len;
}

void wire_end(struct buf *b, size_t mark)
{
    size_t len;

    if (b->failed)
        return;
    len = b->len - mark;
    for (int i = 0; i < 5; i++, len >>= 7)
        b->data[mark - 5 + (size_t)i] = (char)((len & 0x7f) | (i < 4 ? 0x80 : 0));
}
