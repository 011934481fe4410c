/*
 * msgpack. A scan comes first: the tree's memory is what the counts inside the
 * bytes say, so the counts are held against the bytes. msgpack-c gives the types
 * and the writer.
 */
#include "schemas/record_int.h"

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

/* --- the tree -----------------------------------------------------------------------------------
 */

/* Of what the scan accepted: one value from c->at, all of it in the arena. */
static int build(struct scan *c, struct arena *a, msgpack_object *out);

static int no_memory(const struct scan *c)
{
    return err_set(c->e, ERR_NOMEM, "msgpack: more memory than the arena allows");
}

static int build_array(struct scan *c, struct arena *a, size_t n, msgpack_object *out)
{
    size_t i;
    int rc;

    out->type = MSGPACK_OBJECT_ARRAY;
    out->via.array.size = (uint32_t)n;
    if (!(out->via.array.ptr = arena_array(a, n ? n : 1, sizeof *out)))
        return no_memory(c);
    for (i = 0; i < n; i++)
        if ((rc = build(c, a, &out->via.array.ptr[i])) < 0)
            return rc;
    return 0;
}

static int build_map(struct scan *c, struct arena *a, size_t n, msgpack_object *out)
{
    const char *twice;
    msgpack_object_kv *kv;
    size_t i;
    int rc;

    out->type = MSGPACK_OBJECT_MAP;
    out->via.map.size = (uint32_t)n;
    if (!(kv = out->via.map.ptr = arena_array(a, n ? n : 1, sizeof *kv)))
        return no_memory(c);
    for (i = 0; i < n; i++)
        if ((rc = build(c, a, &kv[i].key)) < 0 || (rc = build(c, a, &kv[i].val)) < 0)
            return rc;
    if ((rc = tree_check_names(a, out, &twice)) < 0)
        return no_memory(c);
    return rc ? err_set(c->e, ERR_FORMAT, "msgpack: the name '%.80s' appears twice in a map", twice)
              : 0;
}

static int build_text(const struct scan *c, struct arena *a, const struct token *t,
                      msgpack_object *out)
{
    const char *text = (const char *)c->s + t->start;

    out->type = t->type == T_STRING ? MSGPACK_OBJECT_STR : MSGPACK_OBJECT_BIN;
    out->via.str.size = (uint32_t)t->count; /* the same place for bytes */
    out->via.str.ptr = arena_strndup(a, text, (size_t)t->count);
    return out->via.str.ptr ? 0 : no_memory(c);
}

static void set_integer(int64_t v, msgpack_object *out)
{
    out->type = v < 0 ? MSGPACK_OBJECT_NEGATIVE_INTEGER : MSGPACK_OBJECT_POSITIVE_INTEGER;
    out->via.i64 = v;
}

static void build_float(uint64_t bits, bool half, msgpack_object *out)
{
    uint32_t low = (uint32_t)bits;
    float f;

    out->type = half ? MSGPACK_OBJECT_FLOAT32 : MSGPACK_OBJECT_FLOAT64;
    if (half) {
        memcpy(&f, &low, sizeof f);
        out->via.f64 = (double)f;
    } else {
        memcpy(&out->via.f64, &bits, sizeof bits);
    }
}

/* What needs no memory: type byte `byte`, its payload as a number of `width` bytes. */
static void build_plain(unsigned char byte, uint64_t v, size_t width, msgpack_object *out)
{
    if (byte == 0xc0) {
        out->type = MSGPACK_OBJECT_NIL;
    } else if (byte == 0xc2 || byte == 0xc3) {
        out->type = MSGPACK_OBJECT_BOOLEAN;
        out->via.boolean = byte == 0xc3;
    } else if (byte == 0xca || byte == 0xcb) {
        build_float(v, byte == 0xca, out);
    } else if (width == 0) { /* a fixed one is its own value, in 8 bits with a sign */
        set_integer((int8_t)byte, out);
    } else if (byte >= 0xd0) {
        v <<= 64 - 8 * width;
        set_integer((int64_t)v >> (64 - 8 * width), out);
    } else {
        set_integer((int64_t)v, out);
    }
}

static int build(struct scan *c, struct arena *a, msgpack_object *out)
{
    unsigned char byte = c->s[c->at];
    struct token t = token_at(c->s, c->n, c->at);

    c->at = t.start;
    if (t.type == T_ARRAY)
        return build_array(c, a, (size_t)t.count, out);
    if (t.type == T_MAP)
        return build_map(c, a, (size_t)t.count, out);
    c->at += (size_t)t.count;
    if (t.type == T_STRING || t.type == T_BYTES)
        return build_text(c, a, &t, out);
    build_plain(byte, big_endian(c->s + t.start, (size_t)t.count), (size_t)t.count, out);
    return 0;
}

int tree_of_msgpack(struct arena *a, const void *bytes, size_t n, msgpack_object *out,
                    struct err *e)
{
    struct scan c = {bytes, n, 0, 0, 0, e};
    int rc;

    if (n > RECORD_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "msgpack: %zu bytes, at most %zu", n, RECORD_BYTES_MAX);
    if ((rc = scan_value(&c)) < 0)
        return rc;
    if (c.at != n)
        return err_set(e, ERR_FORMAT, "msgpack: %zu bytes follow the value (offset %zu)", n - c.at,
                       c.at);
    c.at = 0;
    return build(&c, a, out);
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
