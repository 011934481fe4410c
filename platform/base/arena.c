#include "platform/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of the payload behind this header */
};

#define HEADER    ((sizeof(struct arena_block) + 15) & ~(size_t)15)
#define BLOCK_MIN ((size_t)4096)

void arena_init(struct arena *a, size_t max)
{
    memset(a, 0, sizeof *a);
    a->max = max;
}

static void free_from(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
}

void arena_release(struct arena *a)
{
    free_from(a->first);
    memset(a, 0, sizeof *a);
}

void arena_reset(struct arena *a)
{
    if (a->first) {
        free_from(a->first->next);
        a->first->next = NULL;
        a->first->used = 0;
    }
    a->last = a->first;
    a->used = 0;
}

static struct arena_block *grow(struct arena *a, size_t size)
{
    size_t want = a->last ? a->last->size * 2 : BLOCK_MIN;
    struct arena_block *b;

    if (want > (size_t)1 << 20)
        want = (size_t)1 << 20;
    if (want < size)
        want = size;
    b = malloc(HEADER + want);
    if (!b)
        return NULL;
    b->next = NULL;
    b->size = want;
    b->used = 0;
    if (a->last)
        a->last->next = b;
    else
        a->first = b;
    a->last = b;
    return b;
}

static void *take(struct arena *a, size_t size)
{
    struct arena_block *b = a->last;
    void *p;

    if (size > SIZE_MAX - HEADER - 15)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    if (size > a->max - a->used)
        return NULL;
    if (!b || size > b->size - b->used)
        b = grow(a, size);
    if (!b)
        return NULL;
    p = (char *)b + HEADER + b->used;
    b->used += size;
    a->used += size;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *p = take(a, size);

    return p ? memset(p, 0, size) : NULL;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    return arena_alloc(a, count * size);
}

void *arena_dup(struct arena *a, const void *bytes, size_t len)
{
    char *p = len < SIZE_MAX ? take(a, len + 1) : NULL;

    if (!p)
        return NULL;
    if (len)
        memcpy(p, bytes, len);
    p[len] = '\0';
    return p;
}

char *arena_strndup(struct arena *a, const char *text, size_t len)
{
    return arena_dup(a, text, len);
}
