/*
 * msgpack. A scan comes before msgpack-c: it allocates what the counts inside
 * the bytes say, so the counts are held against the bytes first.
 */
#include "schemas/record_int.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "platform/base/text.h"

struct scan {
    const unsigned char *s;
    size_t n, at;
    size_t values, depth;
    struct err *e;
};

/* What begins at a byte: a fixed number of bytes, or a count of bytes or items. */
struct token {
    enum { T_PLAIN, T_STRING, T_BYTES, T_ARRAY, T_MAP, T_FLOAT32, T_FLOAT64, T_UINT64, T_BAD } type;
    uint64_t count; /* payload bytes or items */
    size_t start;   /* of the payload */
};

static uint64_t big_endian(const unsigned char *s, size_t n)
{
    uint64_t v = 0;

    while (n--)
        v = v << 8 | *s++;
    return v;
}

/* Bytes of the count (or of the plain value) behind the type bytes 0xc0..0xdf. */
static const struct {
    unsigned char type, width; /* T_PLAIN, floats: payload bytes; others: bytes of the count */
} wide[32] = {
    [0x00] = {T_PLAIN, 0}, [0x01] = {T_BAD, 0},    [0x02] = {T_PLAIN, 0},   [0x03] = {T_PLAIN, 0},
    [0x04] = {T_BYTES, 1}, [0x05] = {T_BYTES, 2},  [0x06] = {T_BYTES, 4},   [0x07] = {T_BAD, 0},
    [0x08] = {T_BAD, 0},   [0x09] = {T_BAD, 0},    [0x0a] = {T_FLOAT32, 4}, [0x0b] = {T_FLOAT64, 8},
    [0x0c] = {T_PLAIN, 1}, [0x0d] = {T_PLAIN, 2},  [0x0e] = {T_PLAIN, 4},   [0x0f] = {T_UINT64, 8},
    [0x10] = {T_PLAIN, 1}, [0x11] = {T_PLAIN, 2},  [0x12] = {T_PLAIN, 4},   [0x13] = {T_PLAIN, 8},
    [0x14] = {T_BAD, 0},   [0x15] = {T_BAD, 0},    [0x16] = {T_BAD, 0},     [0x17] = {T_BAD, 0},
    [0x18] = {T_BAD, 0},   [0x19] = {T_STRING, 1}, [0x1a] = {T_STRING, 2},  [0x1b] = {T_STRING, 4},
    [0x1c] = {T_ARRAY, 2}, [0x1d] = {T_ARRAY, 4},  [0x1e] = {T_MAP, 2},     [0x1f] = {T_MAP, 4},
};

static struct token token_at(const unsigned char *s, size_t n, size_t at)
{
    struct token t = {T_PLAIN, 0, at + 1};
    unsigned char c = s[at];
    size_t width;

    if (c < 0x80 || c >= 0xe0)
        return t;
    if (c < 0xc0) {
        t.type = c < 0x90 ? T_MAP : c < 0xa0 ? T_ARRAY : T_STRING;
        t.count = c < 0xa0 ? c & 15 : c & 31;
        return t;
    }
    t.type = wide[c - 0xc0].type;
    width = wide[c - 0xc0].width;
    if (t.type == T_PLAIN || t.type == T_FLOAT32 || t.type == T_FLOAT64 || t.type == T_UINT64) {
        t.count = width;
        return t;
    }
    if (width > n - t.start) {
        t.count = UINT64_MAX; /* cut: more than can be there */
        return t;
    }
    t.count = big_endian(s + t.start, width);
    t.start += width;
    return t;
}

static bool is_finite(const unsigned char *s, const struct token *t)
{
    uint64_t bits = big_endian(s + t->start, (size_t)t->count);

    return t->type == T_FLOAT32 ? (bits & 0x7f800000u) != 0x7f800000u
                                : (bits & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}

static int bad(const struct scan *c, int code, const char *why)
{
    return err_set(c->e, code, "msgpack: %s (offset %zu)", why, c->at);
}

static int scan_leaf(struct scan *c, const struct token *t)
{
    const char *text = (const char *)c->s + t->start;
    size_t len = (size_t)t->count;

    if (t->type == T_STRING && (text_utf8_valid(text, len) != len || memchr(text, 0, len)))
        return bad(c, ERR_FORMAT,
                   memchr(text, 0, len) ? "a string with a NUL character"
                                        : "a string is not UTF-8");
    if ((t->type == T_FLOAT32 || t->type == T_FLOAT64) && !is_finite(c->s, t))
        return bad(c, ERR_FORMAT, "a number that is not finite");
    if (t->type == T_UINT64 && c->s[t->start] >= 0x80)
        return bad(c, ERR_FORMAT, "an integer above 2^63 - 1");
    c->at = t->start + len;
    return 0;
}

/* Checks the value at c->at and moves behind it. */
static int scan_value(struct scan *c)
{
    struct token t;
    uint64_t i, items;
    int rc;

    if (c->at >= c->n)
        return bad(c, ERR_FORMAT, "ends too early");
    t = token_at(c->s, c->n, c->at);
    if (t.type == T_BAD)
        return bad(c, ERR_FORMAT, "an extension or reserved type");
    items = t.type == T_MAP ? 2 * t.count : t.count; /* each takes at least a byte */
    if (t.count > c->n - t.start || items > c->n - t.start)
        return bad(c, ERR_FORMAT, "a length reaches beyond the end");
    if (t.type != T_ARRAY && t.type != T_MAP)
        return ++c->values > RECORD_VALUES_MAX ? bad(c, ERR_LIMIT, "too many values")
                                               : scan_leaf(c, &t);
    if (++c->depth > RECORD_DEPTH_MAX)
        return bad(c, ERR_LIMIT, "nested too deep");
    if (++c->values > RECORD_VALUES_MAX)
        return bad(c, ERR_LIMIT, "too many values");
    c->at = t.start;
    for (i = 0; i < items; i++) {
        if (t.type == T_MAP && i % 2 == 0 && c->at < c->n &&
            token_at(c->s, c->n, c->at).type != T_STRING)
            return bad(c, ERR_FORMAT, "a map's name that is not a string");
        if ((rc = scan_value(c)) < 0)
            return rc;
    }
    c->depth--;
    return 0;
}

/* --- the copy into the arena --------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
    const msgpack_object_kv *const *x = a, *const *y = b;

    return strcmp((*x)->key.via.str.ptr, (*y)->key.via.str.ptr);
}

static int check_names(struct arena *a, const msgpack_object *map, struct err *e)
{
    size_t n = map->via.map.size, i;
    const msgpack_object_kv **sorted = arena_array(a, n ? n : 1, sizeof *sorted);

    if (!sorted)
        return err_set(e, ERR_NOMEM, "msgpack: more memory than the arena allows");
    for (i = 0; i < n; i++)
        sorted[i] = &map->via.map.ptr[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (i = 1; i < n; i++)
        if (by_name(&sorted[i - 1], &sorted[i]) == 0)
            return err_set(e, ERR_FORMAT, "msgpack: the name '%.80s' appears twice in a map",
                           sorted[i]->key.via.str.ptr);
    return 0;
}

/* Moves what `v` points at into the arena; msgpack-c's zone goes away after. */
static int move_in(struct arena *a, msgpack_object *v, struct err *e)
{
    void *copy;
    size_t i, n = v->via.array.size; /* the same place for maps, strings and bytes */
    int rc = 0;

    if (v->type == MSGPACK_OBJECT_STR)
        copy = arena_strndup(a, v->via.str.ptr, v->via.str.size);
    else if (v->type == MSGPACK_OBJECT_BIN)
        copy = arena_strndup(a, v->via.bin.ptr, v->via.bin.size);
    else if (v->type == MSGPACK_OBJECT_ARRAY)
        copy = arena_array(a, n + 1, sizeof *v->via.array.ptr);
    else if (v->type == MSGPACK_OBJECT_MAP)
        copy = arena_array(a, n + 1, sizeof *v->via.map.ptr);
    else
        return 0;
    if (!copy)
        return err_set(e, ERR_NOMEM, "msgpack: more memory than the arena allows");
    if (v->type == MSGPACK_OBJECT_ARRAY) {
        if (n)
            memcpy(copy, v->via.array.ptr, n * sizeof *v->via.array.ptr);
        v->via.array.ptr = copy;
        for (i = 0; i < n && rc == 0; i++)
            rc = move_in(a, &v->via.array.ptr[i], e);
        return rc;
    }
    if (v->type == MSGPACK_OBJECT_MAP) {
        if (n)
            memcpy(copy, v->via.map.ptr, n * sizeof *v->via.map.ptr);
        v->via.map.ptr = copy;
        for (i = 0; i < n && rc == 0; i++)
            if ((rc = move_in(a, &v->via.map.ptr[i].key, e)) == 0)
                rc = move_in(a, &v->via.map.ptr[i].val, e);
        return rc < 0 ? rc : check_names(a, v, e);
    }
    v->via.str.ptr = copy;
    return 0;
}

int tree_of_msgpack(struct arena *a, const void *bytes, size_t n, msgpack_object *out,
                    struct err *e)
{
    struct scan c = {bytes, n, 0, 0, 0, e};
    msgpack_unpacked u;
    size_t at = 0;
    int rc;

    if (n > RECORD_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "msgpack: %zu bytes, at most %zu", n, RECORD_BYTES_MAX);
    if ((rc = scan_value(&c)) < 0)
        return rc;
    if (c.at != n)
        return err_set(e, ERR_FORMAT, "msgpack: %zu bytes follow the value (offset %zu)", n - c.at,
                       c.at);
    msgpack_unpacked_init(&u);
    errno = 0; /* not every failed allocation has a status of its own */
    if (msgpack_unpack_next(&u, bytes, n, &at) != MSGPACK_UNPACK_SUCCESS) {
        rc = errno == ENOMEM ? err_set(e, ERR_NOMEM, "msgpack: out of memory")
                             : err_set(e, ERR_FORMAT, "msgpack: cannot be read");
    } else {
        *out = u.data;
        rc = move_in(a, out, e);
    }
    msgpack_unpacked_destroy(&u);
    return rc;
}

static int write_bytes(void *arg, const char *bytes, size_t n)
{
    buf_add(arg, bytes, n);
    return 0; /* the buffer remembers a failure */
}

int tree_to_msgpack(const msgpack_object *v, struct buf *out, struct err *e)
{
    msgpack_packer p;

    msgpack_packer_init(&p, out, write_bytes);
    if (msgpack_pack_object(&p, *v) < 0)
        return err_set(e, ERR_FORMAT, "msgpack: a value that can't be written");
    return buf_check(out, "msgpack", e);
}

/* --- offsets ------------------------------------------------------------------------------------
 */

/* Where the step leads from the container at `at`; c->n when nowhere. */
static size_t follow(struct scan *c, size_t at, const struct json_step *step)
{
    struct token t = token_at(c->s, c->n, at), name;
    uint64_t i;
    bool found;

    if (step->name ? t.type != T_MAP : t.type != T_ARRAY)
        return c->n;
    c->at = t.start;
    for (i = 0; i < t.count; i++) {
        found = !step->name && i == step->index;
        if (step->name) {
            name = token_at(c->s, c->n, c->at);
            found = strlen(step->name) == name.count &&
                    !memcmp(step->name, c->s + name.start, (size_t)name.count);
            c->at = name.start + (size_t)name.count;
        }
        if (found)
            return c->at;
        if (scan_value(c) < 0)
            break;
    }
    return c->n;
}

size_t tree_offset(const void *bytes, size_t n, const struct json_step *steps, size_t count)
{
    struct err ignored = ERR_INIT;
    struct scan c = {bytes, n, 0, 0, 0, &ignored};
    size_t at = 0, next, i;

    for (i = 0; i < count; i++) {
        c.values = 0;
        next = follow(&c, at, &steps[i]);
        if (next >= n)
            break;
        at = next;
    }
    return at;
}
