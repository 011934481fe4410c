/*
 * JSON straight into the tree, in one pass and without values of jansson's: what
 * producers send most. It only says yes: for every text that it does not take,
 * jansson (tree_of_json) decides and says what is wrong. So nothing may be taken
 * here that jansson refuses; a test holds both against each other.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "schemas/record_int.h"

enum { SMALL = 64 /* values that need no heap; also the longest number */, DIGITS = 18 };

enum { READ = 1, NOT_TAKEN = 0 }; /* or ERR_NOMEM */

struct reader {
    const char *s;
    size_t n, at;
    size_t depth, values, objects;
    struct arena *a;
    /* values whose array or map has not ended yet */
    msgpack_object small[SMALL], *open;
    size_t count, cap;
};

static char peek(struct reader *r)
{
    while (r->at < r->n && (r->s[r->at] == ' ' || r->s[r->at] == '\t' || r->s[r->at] == '\n' ||
                            r->s[r->at] == '\r'))
        r->at++;
    return r->at < r->n ? r->s[r->at] : '\0';
}

static bool take(struct reader *r, char c)
{
    if (peek(r) != c)
        return false;
    r->at++;
    return true;
}

static int push(struct reader *r, const msgpack_object *v)
{
    msgpack_object *more;

    if (r->count == r->cap) {
        more = realloc(r->open == r->small ? NULL : r->open, 2 * r->cap * sizeof *more);
        if (!more)
            return ERR_NOMEM;
        if (r->open == r->small)
            memcpy(more, r->small, sizeof r->small);
        r->open = more;
        r->cap *= 2;
    }
    r->open[r->count++] = *v;
    return READ;
}

/* --- strings --- */

static bool hex4(const char *s, unsigned *out)
{
    int i;

    *out = 0;
    for (i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)s[i];
        unsigned digit = c >= '0' && c <= '9'   ? c - (unsigned)'0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16u;

        if (digit > 15)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

/* The character of "\uXXXX" or of a surrogate pair at s; its bytes in *used, 0: not one, or NUL. */
static unsigned unicode(const char *s, size_t n, size_t *used)
{
    unsigned high, low;

    *used = 0;
    if (n < 6 || !hex4(s + 2, &high) || high == 0 || (high >= 0xdc00 && high < 0xe000))
        return 0;
    *used = 6;
    if (high < 0xd800 || high >= 0xe000)
        return high;
    *used = 0;
    if (n < 12 || s[6] != '\\' || s[7] != 'u' || !hex4(s + 8, &low) || low < 0xdc00 ||
        low >= 0xe000)
        return 0;
    *used = 12;
    return 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
}

/* Decodes [s, s + n) with its escapes, never into more bytes than it has; false: not taken. */
static bool unescape(const char *s, size_t n, char *to, size_t *len)
{
    static const char from[] = "\"\\/bfnrt", is[] = "\"\\/\b\f\n\r\t";
    size_t i = 0, out = 0, used;
    const char *found;
    unsigned c;

    while (i < n) {
        if (s[i] != '\\') {
            to[out++] = s[i++];
            continue;
        }
        if (i + 1 == n)
            return false;
        if (s[i + 1] == 'u') {
            c = unicode(s + i, n - i, &used);
            if (!used)
                return false;
            out += text_utf8_encode(c, to + out);
            i += used;
            continue;
        }
        if (!s[i + 1] || !(found = strchr(from, s[i + 1])))
            return false;
        to[out++] = is[found - from];
        i += 2;
    }
    *len = out;
    return true;
}

/* How many bytes from s on need no look of their own: eight at a time without a quote, a backslash,
 * a control character or a byte above 0x7f (Hacker's Delight, 6-1: which byte of a word is 0). */
static size_t plain(const char *s, size_t n)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t w, quote, back;
    size_t i;

    for (i = 0; n - i >= sizeof w; i += sizeof w) {
        memcpy(&w, s + i, sizeof w);
        quote = w ^ '"' * ones;
        back = w ^ '\\' * ones;
        if ((w | (quote - ones) | (back - ones) | (w - 0x20 * ones)) & high)
            break;
    }
    return i;
}

/* At the opening quote. */
static int read_string(struct reader *r, msgpack_object *out)
{
    const char *s = r->s + r->at + 1;
    size_t n = r->n - r->at - 1, i = plain(s, n), len;
    bool escaped = false, wide = false;
    char *text;

    for (; i < n && s[i] != '"'; i++) {
        if ((unsigned char)s[i] < 0x20)
            return NOT_TAKEN;
        wide |= (s[i] & 0x80) != 0;
        if (s[i] == '\\') {
            escaped = true;
            i++;
        }
    }
    if (i >= n || (wide && text_utf8_valid(s, i) != i))
        return NOT_TAKEN;
    r->at += i + 2;
    if (!(text = arena_strndup(r->a, s, i)))
        return ERR_NOMEM;
    len = i;
    if (escaped) {
        if (!unescape(s, i, text, &len))
            return NOT_TAKEN;
        text[len] = '\0';
    }
    out->type = MSGPACK_OBJECT_STR;
    out->via.str.size = (uint32_t)len; /* texts are at most RECORD_BYTES_MAX */
    out->via.str.ptr = text;
    return READ;
}

/* --- numbers and words --- */

static size_t digits(const struct reader *r, size_t at)
{
    size_t from = at;

    while (at < r->n && r->s[at] >= '0' && r->s[at] <= '9')
        at++;
    return at - from;
}

static int read_real(struct reader *r, size_t end, msgpack_object *out)
{
    char text[SMALL];
    size_t len = end - r->at;

    if (len >= sizeof text)
        return NOT_TAKEN;
    memcpy(text, r->s + r->at, len);
    text[len] = '\0';
    out->type = MSGPACK_OBJECT_FLOAT64;
    out->via.f64 = strtod(text, NULL);
    r->at = end;
    return isfinite(out->via.f64) ? READ : NOT_TAKEN;
}

static int read_number(struct reader *r, msgpack_object *out)
{
    bool negative = r->s[r->at] == '-', real = false;
    size_t from = r->at + negative, whole = digits(r, from), end = from + whole, i, n;
    int64_t v = 0;

    if (whole == 0 || (whole > 1 && r->s[from] == '0'))
        return NOT_TAKEN;
    if (end < r->n && r->s[end] == '.') {
        if (!(n = digits(r, end + 1)))
            return NOT_TAKEN;
        end += 1 + n;
        real = true;
    }
    if (end < r->n && (r->s[end] == 'e' || r->s[end] == 'E')) {
        end++;
        end += end < r->n && (r->s[end] == '+' || r->s[end] == '-');
        if (!(n = digits(r, end)))
            return NOT_TAKEN;
        end += n;
        real = true;
    }
    if (real)
        return read_real(r, end, out);
    if (whole > DIGITS)
        return NOT_TAKEN;
    for (i = from; i < end; i++)
        v = 10 * v + (r->s[i] - '0');
    r->at = end;
    out->via.i64 = negative ? -v : v;
    out->type =
        out->via.i64 < 0 ? MSGPACK_OBJECT_NEGATIVE_INTEGER : MSGPACK_OBJECT_POSITIVE_INTEGER;
    return READ;
}

static int read_word(struct reader *r, const char *word, msgpack_object_type type, bool is,
                     msgpack_object *out)
{
    size_t n = strlen(word);

    if (r->n - r->at < n || memcmp(r->s + r->at, word, n) != 0)
        return NOT_TAKEN;
    r->at += n;
    out->type = type;
    out->via.boolean = is;
    return READ;
}

/* --- arrays and maps --- */

static int read_value(struct reader *r, msgpack_object *out);

/* Moves the values behind `base` to the arena. */
static int close_array(struct reader *r, size_t base, msgpack_object *out)
{
    size_t n = r->count - base;

    out->type = MSGPACK_OBJECT_ARRAY;
    out->via.array.size = (uint32_t)n;
    out->via.array.ptr = arena_array(r->a, n ? n : 1, sizeof *out->via.array.ptr);
    if (!out->via.array.ptr)
        return ERR_NOMEM;
    memcpy(out->via.array.ptr, r->open + base, n * sizeof *r->open);
    r->count = base;
    return READ;
}

_Static_assert(sizeof(msgpack_object_kv) == 2 * sizeof(msgpack_object), "a name, then its value");

static int close_map(struct reader *r, size_t base, msgpack_object *out)
{
    size_t n = (r->count - base) / 2;
    const char *twice;
    int rc;

    out->type = MSGPACK_OBJECT_MAP;
    out->via.map.size = (uint32_t)n;
    out->via.map.ptr = arena_array(r->a, n ? n : 1, sizeof *out->via.map.ptr);
    if (!out->via.map.ptr)
        return ERR_NOMEM;
    memcpy(out->via.map.ptr, r->open + base, 2 * n * sizeof *r->open);
    r->count = base;
    rc = tree_check_names(r->a, out, &twice);
    return rc < 0 ? rc : rc == 0 ? READ : NOT_TAKEN;
}

static int read_item(struct reader *r)
{
    msgpack_object v;
    int rc = read_value(r, &v);

    return rc == READ ? push(r, &v) : rc;
}

static int read_member(struct reader *r)
{
    msgpack_object name;
    int rc;

    if (peek(r) != '"')
        return NOT_TAKEN;
    if ((rc = read_string(r, &name)) != READ || (rc = push(r, &name)) != READ)
        return rc;
    return take(r, ':') ? read_item(r) : NOT_TAKEN;
}

/* Behind the opening bracket. */
static int read_container(struct reader *r, char close, msgpack_object *out)
{
    size_t base = r->count;
    int rc;

    if (++r->depth > RECORD_DEPTH_MAX || ++r->values > RECORD_VALUES_MAX)
        return NOT_TAKEN;
    if (!take(r, close)) {
        do {
            if ((rc = close == '}' ? read_member(r) : read_item(r)) != READ)
                return rc;
        } while (take(r, ',') && ++r->values <= RECORD_VALUES_MAX);
        if (!take(r, close))
            return NOT_TAKEN;
    }
    r->depth--;
    return close == '}' ? close_map(r, base, out) : close_array(r, base, out);
}

static int read_value(struct reader *r, msgpack_object *out)
{
    char c = peek(r);

    switch (c) {
    case '{':
        r->at++;
        return ++r->objects > RECORD_OBJECTS_MAX ? NOT_TAKEN : read_container(r, '}', out);
    case '[':
        r->at++;
        return read_container(r, ']', out);
    case '"':
        return read_string(r, out);
    case 't':
        return read_word(r, "true", MSGPACK_OBJECT_BOOLEAN, true, out);
    case 'f':
        return read_word(r, "false", MSGPACK_OBJECT_BOOLEAN, false, out);
    case 'n':
        return read_word(r, "null", MSGPACK_OBJECT_NIL, false, out);
    default:
        return c == '-' || (c >= '0' && c <= '9') ? read_number(r, out) : NOT_TAKEN;
    }
}

int tree_read_json(struct arena *a, const void *bytes, size_t n, msgpack_object *out)
{
    struct reader r;
    int rc;

    r.s = bytes;
    r.n = n;
    r.a = a;
    r.at = r.depth = r.objects = r.count = 0;
    r.values = 1; /* as json_limits counts */
    r.open = r.small;
    r.cap = SMALL;
    rc = n > RECORD_BYTES_MAX ? NOT_TAKEN : read_value(&r, out);
    if (rc == READ && (peek(&r) || r.at != n))
        rc = NOT_TAKEN;
    if (r.open != r.small)
        free(r.open);
    return rc;
}
