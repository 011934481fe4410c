#include "platform/bus/bus_int.h"

#include <stdlib.h>
#include <string.h>

static char *put(char **to, const void *bytes, size_t n)
{
    char *at = *to;

    if (n)
        memcpy(at, bytes, n);
    at[n] = '\0'; /* not counted; a value may be printed as it is */
    *to += n + 1;
    return at;
}

static size_t copy_size(const struct bus_message *m)
{
    size_t size = sizeof *m + m->header_count * sizeof *m->headers;
    size_t i;

    size += strlen(m->topic) + 1 + m->key_len + 1 + m->value_len + 1;
    for (i = 0; i < m->header_count; i++)
        size += strlen(m->headers[i].name) + 1 + m->headers[i].value_len + 1;
    return size;
}

struct bus_message *bus_message_copy(const struct bus_message *m)
{
    struct bus_message *copy = malloc(copy_size(m));
    struct bus_header *headers;
    char *to;
    size_t i;

    if (!copy)
        return NULL;
    *copy = *m;
    headers = (struct bus_header *)(copy + 1);
    to = (char *)(headers + m->header_count);
    copy->topic = put(&to, m->topic, strlen(m->topic));
    copy->key = m->key ? put(&to, m->key, m->key_len) : NULL;
    copy->value = m->value ? put(&to, m->value, m->value_len) : NULL;
    for (i = 0; i < m->header_count; i++) {
        const struct bus_header *h = &m->headers[i];

        headers[i].name = put(&to, h->name, strlen(h->name));
        headers[i].value = h->value ? put(&to, h->value, h->value_len) : NULL;
        headers[i].value_len = h->value_len;
    }
    copy->headers = m->header_count ? headers : NULL;
    return copy;
}

/*
 * MurmurHash2 (Austin Appleby, public domain) with Java's seed and reading
 * order, as org.apache.kafka.common.utils.Utils.murmur2.
 */
uint32_t bus_murmur2(const void *key, size_t n)
{
    const uint32_t m = 0x5bd1e995;
    const unsigned char *p = key;
    uint32_t h = 0x9747b28cu ^ (uint32_t)n;
    uint32_t k;

    for (; n >= 4; n -= 4, p += 4) {
        k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = (h * m) ^ k;
    }
    if (n >= 3)
        h ^= (uint32_t)p[2] << 16;
    if (n >= 2)
        h ^= (uint32_t)p[1] << 8;
    if (n >= 1)
        h = (h ^ p[0]) * m;
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h & 0x7fffffffu;
}
