/*
 * A growing list of different byte strings, numbered from 0 as they come, each
 * found again by its bytes. One thread at a time while it grows.
 */
#ifndef TRAINER_DATA_NAMES_H
#define TRAINER_DATA_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "platform/base/err.h"

struct name {
    size_t offset;
    uint32_t len, hash;
};

struct names {
    char *bytes; /* each name is followed by a NUL */
    size_t used, room;
    struct name *items;
    int count, cap;
    uint32_t *slots; /* number + 1; 0: empty */
    size_t mask;
};

void names_release(struct names *n);                                 /* accepts a zeroed one */
int names_find(const struct names *n, const char *name, size_t len); /* -1: not there */
/* The number of the name, new or not; *added tells which (may be NULL). Or a negative code. */
int names_add(struct names *n, const char *name, size_t len, int *added, struct err *e);

static inline const char *names_at(const struct names *n, int i)
{
    return n->bytes + n->items[i].offset;
}

#endif
