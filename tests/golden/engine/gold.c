#include "tests/golden/engine/gold.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_record(struct gold_record *r, FILE *f)
{
    uint32_t len, rank, dims[4];

    if (fread(&len, 4, 1, f) != 1)
        return 0;
    if (len >= sizeof r->name || fread(r->name, 1, len, f) != len || fread(&rank, 4, 1, f) != 1 ||
        rank > 4 || fread(dims, 4, rank, f) != rank)
        return -1;
    r->rank = (int)rank;
    r->count = 1;
    for (uint32_t i = 0; i < rank; i++) {
        r->dims[i] = (int)dims[i];
        r->count *= (int)dims[i];
    }
    r->data = malloc((size_t)r->count * sizeof(float) + 1);
    return r->data && fread(r->data, 4, (size_t)r->count, f) == (size_t)r->count ? 1 : -1;
}

int gold_read(struct gold *g, const char *path)
{
    FILE *f = fopen(path, "rb");
    char magic[8];
    int rc = -1;

    memset(g, 0, sizeof *g);
    if (!f)
        return -1;
    if (fread(magic, 1, 8, f) == 8 && memcmp(magic, "TLGOLD1", 8) == 0)
        while (g->count < GOLD_RECORDS && (rc = read_record(&g->records[g->count], f)) > 0)
            g->count++;
    fclose(f);
    return rc;
}

static bool write_record(const struct gold_record *r, FILE *f)
{
    uint32_t len = (uint32_t)strlen(r->name), rank = (uint32_t)r->rank, dims[4];

    for (int i = 0; i < r->rank; i++)
        dims[i] = (uint32_t)r->dims[i];
    return fwrite(&len, 4, 1, f) == 1 && fwrite(r->name, 1, len, f) == len &&
           fwrite(&rank, 4, 1, f) == 1 && fwrite(dims, 4, rank, f) == rank &&
           fwrite(r->data, 4, (size_t)r->count, f) == (size_t)r->count;
}

int gold_write(const struct gold *g, const char *path)
{
    FILE *f = fopen(path, "wb");
    bool good;

    if (!f)
        return -1;
    good = fwrite("TLGOLD1", 8, 1, f) == 1;
    for (int i = 0; good && i < g->count; i++)
        good = write_record(&g->records[i], f);
    return fclose(f) == 0 && good ? 0 : -1;
}

void gold_free(struct gold *g)
{
    for (int i = 0; i < GOLD_RECORDS; i++)
        free(g->records[i].data);
    memset(g, 0, sizeof *g);
}

const struct gold_record *gold_find(const struct gold *g, const char *name)
{
    for (int i = 0; i < g->count; i++)
        if (strcmp(g->records[i].name, name) == 0)
            return &g->records[i];
    return NULL;
}

int32_t *gold_ints(const struct gold *g, const char *name)
{
    const struct gold_record *r = gold_find(g, name);
    int32_t *out = r ? malloc((size_t)r->count * sizeof *out) : NULL;

    for (int i = 0; out && i < r->count; i++)
        out[i] = (int32_t)r->data[i];
    return out;
}
