#include "publisher/publisher_int.h"

#include <stdlib.h>
#include <string.h>

static const unsigned char none[16];

static void hash(const char *id, unsigned char to[16])
{
    unsigned char whole[SHA256_SIZE];

    sha256(id, strlen(id), whole);
    memcpy(to, whole, 16);
    to[0] |= 1; /* never all zero */
}

/* Where it is, or the free slot where it belongs. */
static size_t place(const struct known *k, const unsigned char h[16])
{
    uint64_t first;
    size_t i;

    memcpy(&first, h + 8, sizeof first);
    for (i = first & (k->cap - 1); memcmp(k->slots[i], none, 16); i = (i + 1) & (k->cap - 1))
        if (!memcmp(k->slots[i], h, 16))
            break;
    return i;
}

static int grow(struct known *k, struct err *e)
{
    struct known more = {.cap = k->cap ? 2 * k->cap : 1024, .count = k->count};
    size_t i;

    if (!(more.slots = calloc(more.cap, sizeof *more.slots)))
        return err_set(e, ERR_NOMEM, "the set of %zu published runs", k->count);
    for (i = 0; i < k->cap; i++)
        if (memcmp(k->slots[i], none, 16))
            memcpy(more.slots[place(&more, k->slots[i])], k->slots[i], 16);
    free(k->slots);
    *k = more;
    return 0;
}

bool known_has(const struct known *k, const char *id)
{
    unsigned char h[16];

    hash(id, h);
    return k->cap && !memcmp(k->slots[place(k, h)], h, 16);
}

int known_add(struct known *k, const char *id, struct err *e)
{
    unsigned char h[16];
    size_t i;
    int rc;

    if (k->count * 2 >= k->cap && (rc = grow(k, e)) < 0)
        return rc;
    hash(id, h);
    i = place(k, h);
    k->count += !memcmp(k->slots[i], none, 16);
    memcpy(k->slots[i], h, 16);
    return 0;
}

void known_release(struct known *k)
{
    free(k->slots);
    *k = (struct known){0};
}
