/*
 * The protobuf wire format at its lowest level: walking fields of a message that
 * lies in memory, and writing fields into a buffer. Everything read is checked
 * against the end of its message. No state beyond the struct; any thread.
 */
#ifndef TRAINER_ENGINE_ONNX_WIRE_H
#define TRAINER_ENGINE_ONNX_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct wire {
    const unsigned char *p, *end;
    const unsigned char *base; /* of the file, for offsets in messages */
};

struct wire_field {
    uint32_t number;
    int type;
    uint64_t value;             /* WIRE_VARINT */
    const unsigned char *bytes; /* payload of WIRE_BYTES (len), WIRE_32, WIRE_64 */
    size_t len;
    const unsigned char *start, *after; /* the whole field with its tag */
};

/* 1: a field; 0: the end; ERR_FORMAT with the offset. */
int wire_next(struct wire *w, struct wire_field *f, struct err *e);
struct wire wire_inside(const struct wire *outer, const struct wire_field *f);

void wire_put_varint(struct buf *b, uint64_t v);
void wire_put_tag(struct buf *b, uint32_t number, int type);
void wire_put_int(struct buf *b, uint32_t number, uint64_t v);
void wire_put_bytes(struct buf *b, uint32_t number, const void *bytes, size_t len);
void wire_put_text(struct buf *b, uint32_t number, const char *text);

/* A nested message whose length is not known yet: begin, write, end. */
size_t wire_begin(struct buf *b, uint32_t number);
void wire_end(struct buf *b, size_t mark);

#endif
