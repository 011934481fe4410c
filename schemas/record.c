#include "schemas/record_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/json/base64.h"

static void *at(void *record, size_t offset)
{
    return (char *)record + offset;
}

double record_no_number(void)
{
    return NAN;
}

/* --- errors with a path and an offset ------------------------------------------------------------
 */

static void path_text(const struct decode *d, char *out, size_t size)
{
    size_t n = 0, i;

    out[0] = 0;
    for (i = 0; i < d->depth && n < size; i++) {
        const struct json_step *s = &d->steps[i];

        if (s->name)
            n += (size_t)snprintf(out + n, size - n, "%s%.64s", i ? "." : "", s->name);
        else
            n += (size_t)snprintf(out + n, size - n, "[%zu]", s->index);
    }
}

static size_t offset_of(const struct decode *d)
{
    if (d->format == RECORD_JSON)
        return json_offset(d->bytes, d->n, d->steps, d->depth);
    return tree_offset(d->bytes, d->n, d->steps, d->depth);
}

static int fail(struct decode *d, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fail(struct decode *d, int code, const char *format, ...)
{
    char path[200], reason[240], offset[40] = "";
    va_list args;

    path_text(d, path, sizeof path);
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    if (d->bytes)
        snprintf(offset, sizeof offset, " (offset %zu)", offset_of(d));
    return err_set(d->e, code, "%s%s%s%s", path, path[0] ? ": " : "", reason, offset);
}

static int push(struct decode *d, const char *name, size_t index)
{
    if (d->depth == RECORD_STEPS_MAX)
        return fail(d, ERR_LIMIT, "nested too deep");
    d->steps[d->depth++] = (struct json_step){name, index};
    return 0;
}

static int unexpected(struct decode *d, const char *expected, const msgpack_object *got)
{
    return fail(d, ERR_FORMAT, "expected %s, got %s", expected, tree_type_text(got));
}

static int no_memory(struct decode *d)
{
    return fail(d, ERR_NOMEM, "more memory than the arena allows");
}

/* --- values --------------------------------------------------------------------------------------
 */

void field_bounds(const struct record_field *f, double *min, double *max)
{
    static const double own[RECORD_TYPES][2] = {
        [RECORD_STRING] = {0, 65536},   [RECORD_NAME] = {1, 63},
        [RECORD_SHA256] = {64, 64},     [RECORD_INT] = {-RECORD_INT_MAX, RECORD_INT_MAX},
        [RECORD_BYTES] = {0, 16 << 20}, [RECORD_LABEL] = {1, 1024},
        [RECORD_ARRAY] = {0, 65536},    [RECORD_MAP] = {0, 1024},
        [RECORD_ROWS] = {0, 262144},
    };

    *min = f->min;
    *max = f->max;
    if (f->min == 0 && f->max == 0) {
        *min = own[f->type][0];
        *max = own[f->type][1];
    }
}

static int check_size(struct decode *d, const struct record_field *f, size_t n, const char *unit)
{
    double min, max;

    field_bounds(f, &min, &max);
    if (n == 0 && min > 0)
        return fail(d, ERR_FORMAT, "is empty");
    if ((double)n < min)
        return fail(d, ERR_FORMAT, "%zu %s, at least %.0f", n, unit, min);
    if ((double)n > max)
        return fail(d, ERR_LIMIT, "%zu %s, at most %.0f", n, unit, max);
    return 0;
}

/* Parsers have checked theirs; a struct that is written may hold anything. */
static int check_text(struct decode *d, const msgpack_object *v)
{
    if (d->bytes || text_utf8_valid(v->via.str.ptr, v->via.str.size) == v->via.str.size)
        return 0;
    return fail(d, ERR_FORMAT, "is not UTF-8");
}

static int decode_string(struct decode *d, const struct record_field *f, const msgpack_object *v,
                         void *p)
{
    const char *s = v->via.str.ptr;
    size_t n = v->via.str.size;
    int rc;

    if (v->type != MSGPACK_OBJECT_STR)
        return unexpected(d, "a string", v);
    if ((rc = check_text(d, v)) < 0)
        return rc;
    if (f->type == RECORD_NAME && !text_is_name(s, n))
        return fail(d, ERR_FORMAT,
                    "'%.80s' is no name: 1 to 63 of a-z, 0-9 and '-', beginning with a letter or "
                    "a digit",
                    s);
    if (f->type == RECORD_SHA256 && (n != 64 || strspn(s, "0123456789abcdef") != 64))
        return fail(d, ERR_FORMAT, "expected a SHA-256 of 64 lower-case hex digits");
    if ((rc = check_size(d, f, n, "bytes")) < 0)
        return rc;
    *(const char **)p = s;
    return 0;
}

static bool is_integer(const msgpack_object *v)
{
    return v->type == MSGPACK_OBJECT_POSITIVE_INTEGER || v->type == MSGPACK_OBJECT_NEGATIVE_INTEGER;
}

static bool to_number(const msgpack_object *v, double *out)
{
    if (v->type == MSGPACK_OBJECT_FLOAT32 || v->type == MSGPACK_OBJECT_FLOAT64)
        *out = v->via.f64;
    else if (is_integer(v))
        *out = (double)v->via.i64;
    else
        return false;
    return true;
}

static int decode_int(struct decode *d, const struct record_field *f, const msgpack_object *v,
                      void *p)
{
    double min, max;

    if (!is_integer(v))
        return unexpected(d, "an integer", v);
    field_bounds(f, &min, &max);
    if ((double)v->via.i64 < min || (double)v->via.i64 > max)
        return fail(d, ERR_FORMAT, "%lld is outside %.0f to %.0f", (long long)v->via.i64, min, max);
    *(int64_t *)p = v->via.i64;
    return 0;
}

static int decode_number(struct decode *d, const struct record_field *f, const msgpack_object *v,
                         void *p)
{
    double number;

    if (!to_number(v, &number))
        return unexpected(d, "a number", v);
    if ((f->min != 0 || f->max != 0) && (number < f->min || number > f->max))
        return fail(d, ERR_FORMAT, "%g is outside %g to %g", number, f->min, f->max);
    *(double *)p = number;
    return 0;
}

static int decode_bool(struct decode *d, const struct record_field *f, const msgpack_object *v,
                       void *p)
{
    if (v->type != MSGPACK_OBJECT_BOOLEAN)
        return unexpected(d, "true or false", v);
    *(bool *)p = v->via.boolean;
    return 0;
}

static int decode_bytes(struct decode *d, const struct record_field *f, const msgpack_object *v,
                        void *p)
{
    struct record_bytes *out = p;
    size_t bad;
    void *data;
    long len;

    if (v->type == MSGPACK_OBJECT_BIN) {
        *out = (struct record_bytes){v->via.bin.ptr, v->via.bin.size};
    } else if (d->format == RECORD_JSON && v->type == MSGPACK_OBJECT_STR) {
        data = arena_alloc(d->a, BASE64_MAX((size_t)v->via.str.size) + 1);
        if (!data)
            return no_memory(d);
        len = base64_decode(v->via.str.ptr, v->via.str.size, data, &bad);
        if (len < 0)
            return fail(d, ERR_FORMAT, "is not base64 from character %zu on", bad);
        *out = (struct record_bytes){data, (size_t)len};
    } else {
        return unexpected(d, d->format == RECORD_JSON ? "a base64 string" : "bytes", v);
    }
    return check_size(d, f, out->len, "bytes");
}

static int decode_enum(struct decode *d, const struct record_field *f, const msgpack_object *v,
                       void *p)
{
    char list[160] = "";
    size_t n = 0;
    int i;

    if (v->type != MSGPACK_OBJECT_STR)
        return unexpected(d, "a string", v);
    for (i = 0; f->names[i]; i++) {
        if (!strcmp(f->names[i], v->via.str.ptr)) {
            *(int *)p = i;
            return 0;
        }
        if (n < sizeof list)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", f->names[i]);
    }
    return fail(d, ERR_FORMAT, "'%.60s' is none of %s", v->via.str.ptr, list);
}

static int decode_label(struct decode *d, const struct record_field *f, const msgpack_object *v,
                        void *p)
{
    struct record_label *out = p;
    int rc;

    if (is_integer(v)) {
        if (v->via.i64 == RECORD_NO_INT)
            return fail(d, ERR_FORMAT, "the integer is below -(2^63 - 1)");
        *out = (struct record_label){NULL, v->via.i64};
        return 0;
    }
    if (v->type != MSGPACK_OBJECT_STR)
        return unexpected(d, "a string or an integer", v);
    if ((rc = check_text(d, v)) < 0 || (rc = check_size(d, f, v->via.str.size, "bytes")) < 0)
        return rc;
    *out = (struct record_label){v->via.str.ptr, 0};
    return 0;
}

static int decode_object(struct decode *d, const struct record_field *f, const msgpack_object *v,
                         void *p)
{
    void *record = arena_alloc(d->a, f->of->size);

    if (!record)
        return no_memory(d);
    *(void **)p = record;
    return decode_record(d, f->of, v, record);
}

static int decode_rows(struct decode *d, const struct record_field *f, const msgpack_object *v,
                       void *p)
{
    struct record_rows *out = p;
    double *data = NULL;
    size_t i, k, cols = 0;
    int rc;

    if (v->type != MSGPACK_OBJECT_ARRAY)
        return unexpected(d, "an array of arrays of numbers", v);
    if ((rc = check_size(d, f, v->via.array.size, "rows")) < 0)
        return rc;
    for (i = 0; i < v->via.array.size; i++) {
        const msgpack_object *row = &v->via.array.ptr[i];

        if ((rc = push(d, NULL, i)) < 0)
            return rc;
        if (row->type != MSGPACK_OBJECT_ARRAY)
            return unexpected(d, "an array of numbers", row);
        if (i == 0) {
            cols = row->via.array.size;
            data = arena_array(d->a, v->via.array.size, (cols ? cols : 1) * sizeof *data);
            if (!data)
                return no_memory(d);
        }
        if (row->via.array.size != cols)
            return fail(d, ERR_FORMAT, "%u numbers, the first row has %zu", row->via.array.size,
                        cols);
        for (k = 0; k < cols; k++)
            if (!to_number(&row->via.array.ptr[k], &data[i * cols + k]))
                return unexpected(d, "numbers", &row->via.array.ptr[k]);
        d->depth--;
    }
    *out = (struct record_rows){data, v->via.array.size, cols};
    return 0;
}

static int decode_any(struct decode *d, const struct record_field *f, const msgpack_object *v,
                      void *p)
{
    msgpack_object *copy = arena_dup(d->a, v, sizeof *v);

    if (!copy)
        return no_memory(d);
    *(const msgpack_object **)p = copy;
    return 0;
}

static int decode_array(struct decode *d, const struct record_field *f, const msgpack_object *v,
                        void *p);
static int decode_map(struct decode *d, const struct record_field *f, const msgpack_object *v,
                      void *p);

typedef int (*decode_fn)(struct decode *, const struct record_field *, const msgpack_object *,
                         void *p);
static const decode_fn decoders[RECORD_TYPES] = {
    [RECORD_STRING] = decode_string, [RECORD_NAME] = decode_string,
    [RECORD_SHA256] = decode_string, [RECORD_INT] = decode_int,
    [RECORD_NUMBER] = decode_number, [RECORD_BOOL] = decode_bool,
    [RECORD_BYTES] = decode_bytes,   [RECORD_ENUM] = decode_enum,
    [RECORD_LABEL] = decode_label,   [RECORD_OBJECT] = decode_object,
    [RECORD_ARRAY] = decode_array,   [RECORD_MAP] = decode_map,
    [RECORD_ROWS] = decode_rows,     [RECORD_ANY] = decode_any,
};

size_t field_item_size(const struct record_field *f)
{
    if (f->type == RECORD_MAP)
        return sizeof(struct record_text);
    switch (f->item) {
    case RECORD_OBJECT:
        return f->of->size;
    case RECORD_INT:
        return sizeof(int64_t);
    case RECORD_NUMBER:
        return sizeof(double);
    default:
        return sizeof(char *);
    }
}

static int decode_array(struct decode *d, const struct record_field *f, const msgpack_object *v,
                        void *p)
{
    const struct record_field item = {.type = f->item, .of = f->of};
    size_t n, size = field_item_size(f), i;
    char *items;
    int rc;

    if (v->type != MSGPACK_OBJECT_ARRAY)
        return unexpected(d, "an array", v);
    n = v->via.array.size;
    if ((rc = check_size(d, f, n, "items")) < 0)
        return rc;
    if (!(items = arena_array(d->a, n ? n : 1, size)))
        return no_memory(d);
    *(void **)p = items;
    *(size_t *)((char *)p - f->offset + f->count) = n;
    for (i = 0; i < n; i++) {
        if ((rc = push(d, NULL, i)) < 0)
            return rc;
        rc = f->item == RECORD_OBJECT
                 ? decode_record(d, f->of, &v->via.array.ptr[i], items + i * size)
                 : decoders[f->item](d, &item, &v->via.array.ptr[i], items + i * size);
        if (rc < 0)
            return rc;
        d->depth--;
    }
    return 0;
}

static int decode_map(struct decode *d, const struct record_field *f, const msgpack_object *v,
                      void *p)
{
    const struct record_field item = {.type = f->item};
    struct record_text *entries; /* the three kinds of entries have one layout */
    size_t n, i;
    int rc;

    if (v->type != MSGPACK_OBJECT_MAP)
        return unexpected(d, "an object", v);
    n = v->via.map.size;
    if ((rc = check_size(d, f, n, "members")) < 0)
        return rc;
    if (!(entries = arena_array(d->a, n ? n : 1, sizeof *entries)))
        return no_memory(d);
    *(void **)p = entries;
    *(size_t *)((char *)p - f->offset + f->count) = n;
    for (i = 0; i < n; i++) {
        const msgpack_object_kv *kv = &v->via.map.ptr[i];

        if ((rc = push(d, kv->key.via.str.ptr, 0)) < 0)
            return rc;
        entries[i].name = kv->key.via.str.ptr;
        if ((rc = check_text(d, &kv->key)) < 0 ||
            (rc = decoders[f->item](d, &item, &kv->val, &entries[i].value)) < 0)
            return rc;
        d->depth--;
    }
    return 0;
}

/* --- records
 * -------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct record_number) == sizeof(struct record_text) &&
                   sizeof(struct record_integer) == sizeof(struct record_text),
               "entries of maps have one layout");

static void set_fallback(const struct record_field *f, void *p)
{
    int64_t number = 0;

    switch (f->type) {
    case RECORD_INT:
        text_i64(f->fallback, INT64_MIN, INT64_MAX, p);
        return;
    case RECORD_NUMBER:
        *(double *)p = 0;
        text_f64(f->fallback, -HUGE_VAL, HUGE_VAL, p);
        return;
    case RECORD_BOOL:
        *(bool *)p = !strcmp(f->fallback, "true");
        return;
    case RECORD_ENUM:
        while (f->names[number] && strcmp(f->names[number], f->fallback) != 0)
            number++;
        *(int *)p = (int)number;
        return;
    default:
        *(const char **)p = f->fallback;
    }
}

static void set_absent(const struct record_field *f, void *p)
{
    if (f->type == RECORD_INT)
        *(int64_t *)p = RECORD_NO_INT;
    else if (f->type == RECORD_NUMBER)
        *(double *)p = NAN;
    else if (f->type == RECORD_ENUM)
        *(int *)p = -1;
    else if (f->type == RECORD_LABEL)
        ((struct record_label *)p)->number = RECORD_NO_INT;
}

void record_init(const struct record *r, void *out)
{
    size_t i;

    memset(out, 0, r->size);
    for (i = 0; i < r->field_count; i++) {
        const struct record_field *f = &r->fields[i];

        if (f->need == RECORD_DEFAULT)
            set_fallback(f, at(out, f->offset));
        else
            set_absent(f, at(out, f->offset));
    }
}

static bool is_named(const char *name, const char *text, size_t len)
{
    return name[0] == text[0] && !strncmp(name, text, len) && strlen(name) == len;
}

const struct record_field *record_find(const struct record *r, const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < r->field_count; i++) {
        const struct record_field *f = &r->fields[i];

        if (is_named(f->name, name, len) || (f->alias && is_named(f->alias, name, len)))
            return f;
    }
    return NULL;
}

int decode_field(struct decode *d, const struct record_field *f, const msgpack_object *v,
                 void *record)
{
    return decoders[f->type](d, f, v, at(record, f->offset));
}

static int keep_extra(struct decode *d, struct record_extra *extra, const msgpack_object *map,
                      const msgpack_object_kv *kv)
{
    msgpack_object_kv *items = (msgpack_object_kv *)extra->items;

    if (!items) {
        items = arena_array(d->a, map->via.map.size, sizeof *items);
        if (!items)
            return no_memory(d);
        extra->items = items;
    }
    items[extra->count++] = *kv;
    return 0;
}

const char *record_extra_name(const struct record_extra *x, size_t i, size_t *n)
{
    *n = x->items[i].key.via.str.size;
    return x->items[i].key.via.str.ptr;
}

/* The tables' own check; its message begins with a field's name, which gives the offset. */
static int check_record(struct decode *d, const struct record *r, const void *out)
{
    char text[sizeof d->e->text];
    const struct record_field *f;
    size_t n;
    int rc = r->check ? r->check(out, d->e) : 0;

    if (rc == 0)
        return 0;
    memcpy(text, d->e->text, sizeof text);
    n = strcspn(text, ":");
    f = record_find(r, text, n);
    if (f && (push(d, f->name, 0)) == 0) {
        rc = fail(d, rc, "%s", text[n] ? text + n + 2 : "");
        d->depth--;
        return rc;
    }
    return fail(d, rc, "%s", text);
}

int decode_record(struct decode *d, const struct record *r, const msgpack_object *v, void *out)
{
    uint64_t seen = 0;
    size_t i;
    int rc;

    record_init(r, out);
    if (v->type != MSGPACK_OBJECT_MAP)
        return unexpected(d, "an object", v);
    for (i = 0; i < v->via.map.size; i++) {
        const msgpack_object_kv *kv = &v->via.map.ptr[i];
        const struct record_field *f = record_find(r, kv->key.via.str.ptr, kv->key.via.str.size);

        if (!f) {
            if ((rc = keep_extra(d, out, v, kv)) < 0)
                return rc;
            continue;
        }
        if ((rc = push(d, kv->key.via.str.ptr, 0)) < 0)
            return rc;
        if (seen >> (f - r->fields) & 1)
            return fail(d, ERR_FORMAT, "given twice, as '%s' and as '%s'", f->name, f->alias);
        seen |= (uint64_t)1 << (f - r->fields);
        if (!(v->via.map.ptr[i].val.type == MSGPACK_OBJECT_NIL && f->need != RECORD_REQUIRED) &&
            (rc = decode_field(d, f, &kv->val, out)) < 0)
            return rc;
        d->depth--;
    }
    for (i = 0; i < r->field_count; i++) {
        if (r->fields[i].need == RECORD_REQUIRED && !(seen >> i & 1)) {
            if ((rc = push(d, r->fields[i].name, 0)) < 0)
                return rc;
            return fail(d, ERR_FORMAT, "missing");
        }
    }
    return check_record(d, r, out);
}

static int sniff(const void *bytes, size_t n, enum record_format *format, struct err *e)
{
    const unsigned char *s = bytes;
    size_t i = 0;

    while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n'))
        i++;
    if (i == n)
        return err_set(e, ERR_FORMAT, "nothing there: expected JSON or msgpack");
    if (s[i] == '{')
        *format = RECORD_JSON;
    else if (i == 0 && ((s[0] & 0xf0) == 0x80 || s[0] == 0xde || s[0] == 0xdf))
        *format = RECORD_MSGPACK;
    else
        return err_set(e, ERR_FORMAT,
                       "neither a JSON object nor a msgpack map: begins with byte 0x%02x%s%.1s%s",
                       s[i], s[i] >= 0x21 && s[i] < 0x7f ? ", " : "",
                       s[i] >= 0x21 && s[i] < 0x7f ? (const char *)s + i : "",
                       s[i] == 0xef ? " (a byte order mark?)" : "");
    return 0;
}

static int read_tree(struct decode *d, msgpack_object *tree)
{
    int rc;

    if (d->format == RECORD_SNIFF && (rc = sniff(d->bytes, d->n, &d->format, d->e)) < 0)
        return rc;
    return d->format == RECORD_JSON ? tree_of_json(d->a, d->bytes, d->n, tree, d->e)
                                    : tree_of_msgpack(d->a, d->bytes, d->n, tree, d->e);
}

int record_read(const struct record *r, struct arena *a, const void *bytes, size_t n,
                enum record_format format, void *out, struct err *e)
{
    struct decode d = {.a = a, .e = e, .format = format, .bytes = bytes, .n = n};
    msgpack_object tree;
    int rc = read_tree(&d, &tree);

    if (rc == 0)
        return decode_record(&d, r, &tree, out);
    record_init(r, out);
    return rc;
}
