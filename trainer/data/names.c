#include "trainer/data/names.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX (1 << 28)

void names_release(struct names *n)
{
    free(n->bytes);
    free(n->items);
    free(n->slots);
    memset(n, 0, sizeof *n);
}

static uint32_t hash_of(const char *name, size_t len)
{
    uint64_t h = UINT64_C(0xCBF29CE484222325);
    size_t i;

    for (i = 0; i < len; i++)
        h = (h ^ (unsigned char)name[i]) * UINT64_C(0x100000001B3);
    h = (h ^ h >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(h >> 32);
}

static size_t slot_of(const struct names *n, const char *name, size_t len, uint32_t hash)
{
    size_t i = hash & n->mask;

    for (; n->slots[i]; i = (i + 1) & n->mask) {
        const struct name *item = &n->items[n->slots[i] - 1];

        if (item->hash == hash && item->len == len &&
            memcmp(n->bytes + item->offset, name, len) == 0)
            break;
    }
    return i;
}

int names_find(const struct names *n, const char *name, size_t len)
{
    return n->slots ? (int)n->slots[slot_of(n, name, len, hash_of(name, len))] - 1 : -1;
}

/* At most half of the slots are used. */
static int grow_slots(struct names *n)
{
    size_t size = n->slots ? (n->mask + 1) * 2 : 64, i;
    uint32_t *slots = calloc(size, sizeof *slots);
    int k;

    if (!slots)
        return -1;
    for (k = 0; k < n->count; k++) {
        for (i = n->items[k].hash & (size - 1); slots[i]; i = (i + 1) & (size - 1))
            ;
        slots[i] = (uint32_t)k + 1;
    }
    free(n->slots);
    n->slots = slots;
    n->mask = size - 1;
    return 0;
}

static int make_room(struct names *n, size_t len)
{
    size_t room = n->room ? n->room : 1024;
    void *p;

    while (room - n->used <= len)
        room *= 2;
    if (room != n->room) {
        if (!(p = realloc(n->bytes, room)))
            return -1;
        n->bytes = p;
        n->room = room;
    }
    if (n->count == n->cap) {
        int cap = n->cap ? n->cap * 2 : 32;

        if (!(p = realloc(n->items, (size_t)cap * sizeof *n->items)))
            return -1;
        n->items = p;
        n->cap = cap;
    }
    if (!n->slots || (size_t)n->count * 2 >= n->mask)
        return grow_slots(n);
    return 0;
}

int names_add(struct names *n, const char *name, size_t len, int *added, struct err *e)
{
    uint32_t hash = hash_of(name, len);
    size_t at;

    if (added)
        *added = 0;
    if (n->slots && n->slots[at = slot_of(n, name, len, hash)])
        return (int)n->slots[at] - 1;
    if (n->count >= NAMES_MAX || len >= UINT32_MAX)
        return err_set(e, ERR_LIMIT, "more than %d names", NAMES_MAX);
    if (make_room(n, len) < 0)
        return err_set(e, ERR_NOMEM, "%d names", n->count);
    n->items[n->count] = (struct name){n->used, (uint32_t)len, hash};
    if (len)
        memcpy(n->bytes + n->used, name, len);
    n->bytes[n->used + len] = '\0';
    n->used += len + 1;
    n->slots[slot_of(n, name, len, hash)] = (uint32_t)n->count + 1;
    if (added)
        *added = 1;
    return n->count++;
}
