#include "trainer/data/vocab_trie.h"

#include <stdlib.h>

#define NODES_MAX (1u << 26)

/* A node, kept where the hash of (parent, byte) says. Its number is what children name. */
struct edge {
    uint32_t parent;
    uint32_t node; /* 0: an empty slot */
    int32_t id;    /* -1: no entry ends here */
    unsigned char c;
};

struct vocab_trie {
    struct edge *edges; /* mask + 1 slots, at most half of them used */
    size_t mask;
    uint32_t count;
};

struct vocab_trie *vocab_trie_new(void)
{
    struct vocab_trie *v = calloc(1, sizeof *v);

    if (!v)
        return NULL;
    v->mask = 1023;
    v->edges = calloc(v->mask + 1, sizeof *v->edges);
    if (v->edges)
        return v;
    free(v);
    return NULL;
}

void vocab_trie_free(struct vocab_trie *v)
{
    if (!v)
        return;
    free(v->edges);
    free(v);
}

static struct edge *lookup(const struct vocab_trie *v, uint32_t parent, unsigned char c)
{
    uint64_t h = ((uint64_t)parent << 8 | c) * UINT64_C(0x9E3779B97F4A7C15);
    size_t i = (size_t)(h >> 24) & v->mask;

    while (v->edges[i].node && (v->edges[i].parent != parent || v->edges[i].c != c))
        i = (i + 1) & v->mask;
    return &v->edges[i];
}

static int grow(struct vocab_trie *v, struct err *e)
{
    struct edge *old = v->edges, *made;
    size_t slots = v->mask + 1, i;

    if (v->count >= NODES_MAX)
        return err_set(e, ERR_LIMIT, "a vocabulary with more than %u parts", NODES_MAX);
    made = calloc(slots * 2, sizeof *made);
    if (!made)
        return err_set(e, ERR_NOMEM, "a vocabulary of %u parts", v->count);
    v->edges = made;
    v->mask = slots * 2 - 1;
    for (i = 0; i < slots; i++)
        if (old[i].node)
            *lookup(v, old[i].parent, old[i].c) = old[i];
    free(old);
    return 0;
}

int vocab_trie_add(struct vocab_trie *v, const char *key, size_t len, int32_t id, struct err *e)
{
    struct edge *at = NULL;
    uint32_t parent = 0;
    size_t i;
    int rc;

    for (i = 0; i < len; i++) {
        if (v->count >= v->mask / 2 && (rc = grow(v, e)) < 0)
            return rc;
        at = lookup(v, parent, (unsigned char)key[i]);
        if (!at->node)
            *at = (struct edge){parent, ++v->count, -1, (unsigned char)key[i]};
        parent = at->node;
    }
    if (at)
        at->id = id;
    return 0;
}

int vocab_trie_step(const struct vocab_trie *v, uint32_t *at, unsigned char c, int32_t *id)
{
    const struct edge *next = lookup(v, *at, c);

    if (!next->node)
        return 0;
    *at = next->node;
    *id = next->id;
    return 1;
}

int32_t vocab_trie_find(const struct vocab_trie *v, const char *key, size_t len)
{
    uint32_t at = 0;
    int32_t id = -1;
    size_t i;

    for (i = 0; i < len; i++)
        if (!vocab_trie_step(v, &at, (unsigned char)key[i], &id))
            return -1;
    return id;
}
