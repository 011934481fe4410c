/*
 * An arena: allocations that all end together (one message, one graph). Memory
 * is zeroed and aligned to 16 bytes. arena_reset keeps the first block for the
 * next round. One thread at a time.
 */
#ifndef PLATFORM_BASE_ARENA_H
#define PLATFORM_BASE_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
    struct arena_block *first, *last;
    size_t used, max; /* bytes handed out; refused above max */
};

void arena_init(struct arena *a, size_t max);
void arena_release(struct arena *a); /* accepts a zeroed one */
void arena_reset(struct arena *a);

/* NULL when memory or the maximum is exhausted. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size); /* checks the product */
char *arena_strndup(struct arena *a, const char *text, size_t len);
void *arena_dup(struct arena *a, const void *bytes, size_t len);

#endif
