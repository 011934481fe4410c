/* What is accepted must be writable in both formats and be the same record again. */
#include <stdlib.h>
#include <string.h>

#include "schemas/document.h"
#include "tests/fuzz/fuzz.h"

static void rewrite(const struct document *d, struct arena *a, enum record_format format,
                    enum record_format other)
{
    struct err e = ERR_INIT;
    struct document back;
    struct buf one, two;

    buf_init(&one, RECORD_BYTES_MAX);
    buf_init(&two, RECORD_BYTES_MAX);
    if (document_write(d, format, &one, &e) < 0 ||
        document_read(a, one.data, one.len, format, &back, &e) < 0 ||
        document_write(&back, other, &two, &e) < 0)
        abort();
    buf_release(&one);
    buf_release(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct document_header types[] = {{"content-type", "application/json", 16},
                                                   {"content-type", "application/msgpack", 19}};
    struct document_message m = {"k", 1, data, size, NULL, 0};
    enum document_kind kind;
    struct err e = ERR_INIT;
    struct document d;
    struct arena a;
    int i;

    arena_init(&a, (size_t)256 << 20);
    for (i = -1; i < 2; i++) {
        m.headers = i < 0 ? NULL : &types[i];
        m.header_count = i >= 0;
        m.key = size % 2 ? "k" : NULL;
        if (document_admit(&m, "acme", &a, &kind, &d, &e) < 0) {
            if (!e.text[0])
                abort();
        } else if (kind == DOCUMENT_PUT) {
            rewrite(&d, &a, RECORD_MSGPACK, RECORD_JSON);
        }
        arena_reset(&a);
    }
    arena_release(&a);
    return 0;
}
