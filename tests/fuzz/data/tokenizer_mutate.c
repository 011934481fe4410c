/*
 * Files from files: what is changed at random is seldom JSON, so a value of the parsed one is
 * replaced, copied to another place, dropped or renamed. Every fourth time, and where the bytes are
 * no JSON, they are left to libFuzzer.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static uint64_t state;

static size_t below(size_t n)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return n ? (size_t)(state >> 33) % n : 0;
}

static json_t *scalar(void)
{
    static const char *const texts[] = {"",       "a",    "b",     "ab",     "##a",    "<m>",
                                        "\u2581", "\\s+", "[^a]",  "a{1,3}", "\\p{L}", "\u00e9",
                                        "Left",   "NFC",  "Strip", "Split",  "BPE",    "Lowercase"};
    static const json_int_t odd[] = {0, 1, 2, 3, -1, 100, 1 << 24, (json_int_t)1 << 32, INT64_MAX};

    switch (below(5)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(below(2));
    case 2:
        return json_integer(odd[below(sizeof odd / sizeof *odd)]);
    case 3:
        return json_real((double)below(100) - 50.5);
    default:
        return json_string(texts[below(sizeof texts / sizeof *texts)]);
    }
}

/* Some value below `v`, or itself; *parent and *key or *at say where it hangs. */
static json_t *some(json_t *v, json_t **parent, const char **key, size_t *at)
{
    void *iter;

    for (;;) {
        size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v), k = below(n);

        if (n == 0 || (*parent && below(4) == 0))
            return v;
        *parent = v;
        *key = NULL;
        *at = k;
        if (json_is_array(v)) {
            v = json_array_get(v, k);
            continue;
        }
        for (iter = json_object_iter(v); k > 0; k--)
            iter = json_object_iter_next(v, iter);
        *key = json_object_iter_key(iter);
        v = json_object_iter_value(iter);
    }
}

static void put(json_t *parent, const char *key, size_t at, json_t *value)
{
    if (!key)
        json_array_set_new(parent, at, value);
    else
        json_object_set_new(parent, key, value);
}

static void change(json_t *root)
{
    json_t *parent = NULL, *other = NULL, *from, *to;
    const char *key = NULL, *other_key = NULL;
    size_t at = 0, other_at = 0;

    from = some(root, &other, &other_key, &other_at);
    to = some(root, &parent, &key, &at);
    if (!parent || !other)
        return;
    switch (below(6)) {
    case 0:
        put(parent, key, at, json_deep_copy(from));
        break;
    case 1:
        if (!key)
            json_array_insert_new(parent, at, json_deep_copy(from));
        else if (other_key)
            json_object_set_new(parent, other_key, json_deep_copy(to));
        break;
    case 2:
        if (key)
            json_object_del(parent, key);
        else
            json_array_remove(parent, at);
        break;
    case 3:
        if (json_is_array(to))
            json_array_append_new(to, json_deep_copy(from));
        else if (json_is_object(to) && other_key)
            json_object_set_new(to, other_key, json_deep_copy(from));
        break;
    default:
        put(parent, key, at, scalar());
        break;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    size_t cut = size, len = 0, i;
    json_t *root = NULL;
    char *text = NULL;

    state = seed;
    while (cut > 0 && data[cut - 1] != '\n')
        cut--;
    if (below(4))
        root = json_loadb((const char *)data, cut, JSON_ALLOW_NUL, NULL);
    for (i = root ? below(3) + 1 : 0; i > 0; i--)
        change(root);
    if (root)
        text = json_dumps(root, JSON_COMPACT);
    if (text)
        len = strlen(text);
    if (text && len + 1 + (size - cut) <= max) {
        memmove(data + len + 1, data + cut, size - cut);
        memcpy(data, text, len);
        data[len] = '\n';
        size = len + 1 + (size - cut);
    } else {
        size = LLVMFuzzerMutate(data, size, max);
    }
    free(text);
    json_decref(root);
    return size;
}
