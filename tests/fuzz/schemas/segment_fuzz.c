/* A segment as a forger would write it: the hash is made right, so that the rest is reached. */
#include <stdlib.h>
#include <string.h>

#include "schemas/segment.h"
#include "tests/fuzz/fuzz.h"

static void read_all(const void *bytes, size_t n)
{
    struct err e = ERR_INIT;
    struct segment_reader *r;
    struct segment_record s;

    if (segment_reader_new(&r, bytes, n, &e) < 0)
        return;
    while (segment_reader_next(r, &s, &e) == 1) {
        if (s.kind != SEGMENT_REJECTED && s.kind != SEGMENT_SEAL && !strlen(s.id) && s.id[0])
            abort();
    }
    segment_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    read_all(copy, size);
    if (size > 8 + SHA256_SIZE) {
        memcpy(copy + size - 8, "TLSEGEND", 8);
        sha256(copy, size - 8 - SHA256_SIZE, copy + size - 8 - SHA256_SIZE);
        read_all(copy, size);
    }
    free(copy);
    return 0;
}
