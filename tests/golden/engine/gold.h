/* Golden files: named float arrays (see scripts/golden/engine.py). For tests. */
#ifndef TESTS_GOLDEN_ENGINE_GOLD_H
#define TESTS_GOLDEN_ENGINE_GOLD_H

#include <stdint.h>

enum { GOLD_RECORDS = 128 };

struct gold_record {
    char name[200];
    int rank, dims[4];
    int count;
    float *data;
};

struct gold {
    struct gold_record records[GOLD_RECORDS];
    int count;
};

/* 0 or -1. gold_free after reading, either way. */
int gold_read(struct gold *g, const char *path);
int gold_write(const struct gold *g, const char *path);
void gold_free(struct gold *g);
const struct gold_record *gold_find(const struct gold *g, const char *name);
/* A record as integers; the caller frees. */
int32_t *gold_ints(const struct gold *g, const char *name);

#endif
