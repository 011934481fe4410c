#include "schemas/record_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "platform/base/text.h"

static const void *at(const void *record, size_t offset)
{
    return (const char *)record + offset;
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "record: more memory than the arena allows");
}

static size_t count_of(const struct record_field *f, const void *in)
{
    return *(const size_t *)at(in, f->count);
}

bool field_present(const struct record_field *f, const void *in)
{
    const void *p = at(in, f->offset);

    switch (f->type) {
    case RECORD_INT:
        return *(const int64_t *)p != RECORD_NO_INT;
    case RECORD_NUMBER:
        return !isnan(*(const double *)p);
    case RECORD_BOOL:
        return f->need != RECORD_OPTIONAL || *(const bool *)p;
    case RECORD_BYTES:
        return ((const struct record_bytes *)p)->data != NULL;
    case RECORD_ENUM:
        return *(const int *)p >= 0;
    case RECORD_LABEL:
        return ((const struct record_label *)p)->text ||
               ((const struct record_label *)p)->number != RECORD_NO_INT;
    case RECORD_ARRAY:
    case RECORD_MAP:
        return f->need == RECORD_REQUIRED || count_of(f, in) > 0;
    case RECORD_ROWS:
        return ((const struct record_rows *)p)->data != NULL;
    default:
        return *(void *const *)p != NULL;
    }
}

static void set_string(const char *text, msgpack_object *out)
{
    out->type = MSGPACK_OBJECT_STR;
    out->via.str.ptr = text;
    out->via.str.size = (uint32_t)strnlen(text, RECORD_BYTES_MAX + 1);
}

static void set_integer(int64_t v, msgpack_object *out)
{
    out->type = v < 0 ? MSGPACK_OBJECT_NEGATIVE_INTEGER : MSGPACK_OBJECT_POSITIVE_INTEGER;
    out->via.i64 = v;
}

static int set_number(double v, const char *name, msgpack_object *out, struct err *e)
{
    if (!isfinite(v))
        return err_set(e, ERR_FORMAT, "%s: not a finite number", name);
    out->type = MSGPACK_OBJECT_FLOAT64;
    out->via.f64 = v;
    return 0;
}

static int set_enum(const struct record_field *f, int v, msgpack_object *out, struct err *e)
{
    int i;

    for (i = 0; f->names[i] && i < v; i++)
        ;
    if (v < 0 || !f->names[i])
        return err_set(e, ERR_FORMAT, "%s: %d is no value of it", f->name, v);
    set_string(f->names[i], out);
    return 0;
}

static int set_bytes(const struct record_field *f, const struct record_bytes *v,
                     msgpack_object *out, struct err *e)
{
    if (v->len > RECORD_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%s: %zu bytes", f->name, v->len);
    out->type = MSGPACK_OBJECT_BIN;
    out->via.bin.ptr = v->data;
    out->via.bin.size = (uint32_t)v->len;
    return 0;
}

static msgpack_object *new_array(struct arena *a, size_t n, msgpack_object *out)
{
    if (n > RECORD_VALUES_MAX)
        return NULL;
    out->type = MSGPACK_OBJECT_ARRAY;
    out->via.array.size = (uint32_t)n;
    out->via.array.ptr = arena_array(a, n ? n : 1, sizeof *out->via.array.ptr);
    return out->via.array.ptr;
}

static int set_rows(struct arena *a, const struct record_field *f, const struct record_rows *v,
                    msgpack_object *out, struct err *e)
{
    msgpack_object *rows = new_array(a, v->rows, out), *cols;
    size_t i, k;
    int rc;

    if (!rows)
        return no_memory(e);
    for (i = 0; i < v->rows; i++) {
        if (!(cols = new_array(a, v->cols, &rows[i])))
            return no_memory(e);
        for (k = 0; k < v->cols; k++)
            if ((rc = set_number(v->data[i * v->cols + k], f->name, &cols[k], e)) < 0)
                return rc;
    }
    return 0;
}

static int set_value(struct arena *a, const struct record_field *f, enum record_type type,
                     const void *p, msgpack_object *out, struct err *e)
{
    const struct record_label *label = p;

    switch (type) {
    case RECORD_INT:
        set_integer(*(const int64_t *)p, out);
        return 0;
    case RECORD_NUMBER:
        return set_number(*(const double *)p, f->name, out, e);
    case RECORD_BOOL:
        out->type = MSGPACK_OBJECT_BOOLEAN;
        out->via.boolean = *(const bool *)p;
        return 0;
    case RECORD_BYTES:
        return set_bytes(f, p, out, e);
    case RECORD_ENUM:
        return set_enum(f, *(const int *)p, out, e);
    case RECORD_LABEL:
        if (label->text)
            set_string(label->text, out);
        else
            set_integer(label->number, out);
        return 0;
    case RECORD_ROWS:
        return set_rows(a, f, p, out, e);
    case RECORD_ANY:
        *out = **(const msgpack_object *const *)p;
        return 0;
    default:
        if (!*(const char *const *)p)
            return err_set(e, ERR_FORMAT, "%s: missing", f->name);
        set_string(*(const char *const *)p, out);
        return 0;
    }
}

static int set_array(struct arena *a, const struct record_field *f, const void *in,
                     msgpack_object *out, struct err *e)
{
    const char *items = *(const char *const *)at(in, f->offset);
    size_t n = count_of(f, in), size = field_item_size(f), i;
    msgpack_object *values = new_array(a, n, out);
    int rc = 0;

    if (!values)
        return no_memory(e);
    for (i = 0; i < n && rc == 0; i++)
        rc = f->item == RECORD_OBJECT ? encode_record(a, f->of, items + i * size, &values[i], e)
                                      : set_value(a, f, f->item, items + i * size, &values[i], e);
    return rc;
}

/* Maps that we write are short: metrics, versions. */
static bool has_twins(const struct record_text *entries, size_t n)
{
    size_t i, k;

    for (i = 1; i < n; i++)
        for (k = 0; k < i; k++)
            if (!strcmp(entries[i].name, entries[k].name))
                return true;
    return false;
}

static int set_map(struct arena *a, const struct record_field *f, const void *in,
                   msgpack_object *out, struct err *e)
{
    const struct record_text *entries = *(const struct record_text *const *)at(in, f->offset);
    size_t n = count_of(f, in), i;
    int rc = 0;

    if (n > 1024 || has_twins(entries, n))
        return err_set(e, ERR_FORMAT, "%s: too many names or one twice", f->name);
    out->type = MSGPACK_OBJECT_MAP;
    out->via.map.size = (uint32_t)n;
    out->via.map.ptr = arena_array(a, n ? n : 1, sizeof *out->via.map.ptr);
    if (!out->via.map.ptr)
        return no_memory(e);
    for (i = 0; i < n && rc == 0; i++) {
        set_string(entries[i].name, &out->via.map.ptr[i].key);
        rc = set_value(a, f, f->item, &entries[i].value, &out->via.map.ptr[i].val, e);
    }
    return rc;
}

int encode_field(struct arena *a, const struct record_field *f, const void *in, msgpack_object *out,
                 struct err *e)
{
    if (f->type == RECORD_ARRAY)
        return set_array(a, f, in, out, e);
    if (f->type == RECORD_MAP)
        return set_map(a, f, in, out, e);
    if (f->type == RECORD_OBJECT)
        return encode_record(a, f->of, *(void *const *)at(in, f->offset), out, e);
    return set_value(a, f, f->type, at(in, f->offset), out, e);
}

int encode_record(struct arena *a, const struct record *r, const void *in, msgpack_object *out,
                  struct err *e)
{
    const struct record_extra *extra = in;
    msgpack_object_kv *kv;
    size_t i, n = 0;
    int rc;

    out->type = MSGPACK_OBJECT_MAP;
    kv = arena_array(a, r->field_count + extra->count, sizeof *kv);
    if (!kv)
        return no_memory(e);
    out->via.map.ptr = kv;
    for (i = 0; i < r->field_count; i++) {
        if (!field_present(&r->fields[i], in))
            continue;
        set_string(r->fields[i].name, &kv[n].key);
        if ((rc = encode_field(a, &r->fields[i], in, &kv[n].val, e)) < 0)
            return rc;
        n++;
    }
    for (i = 0; i < extra->count; i++)
        kv[n++] = extra->items[i];
    out->via.map.size = (uint32_t)n;
    return 0;
}

/* Decodes the tree again: what readers refuse isn't written. */
static int check_tree(struct arena *a, const struct record *r, const msgpack_object *tree,
                      struct err *e)
{
    struct decode d = {.a = a, .e = e, .format = RECORD_MSGPACK};
    void *scratch = arena_alloc(a, r->size);

    if (!scratch)
        return no_memory(e);
    return decode_record(&d, r, tree, scratch);
}

static int write_tree(const msgpack_object *tree, enum record_format format, struct buf *out,
                      struct err *e)
{
    json_t *v;
    int rc;

    if (format == RECORD_MSGPACK)
        return tree_to_msgpack(tree, out, e);
    if ((rc = tree_to_json(tree, &v, e)) < 0)
        return rc;
    rc = json_write(v, JSON_CANONICAL, out, e);
    json_decref(v);
    return rc;
}

int record_write(const struct record *r, const void *in, enum record_format format, struct buf *out,
                 struct err *e)
{
    struct arena a;
    msgpack_object tree;
    size_t before = out->len;
    int rc;

    arena_init(&a, 8 * RECORD_BYTES_MAX);
    if ((rc = encode_record(&a, r, in, &tree, e)) == 0 && (rc = check_tree(&a, r, &tree, e)) == 0)
        rc = write_tree(&tree, format, out, e);
    if (rc == 0 && out->len - before > RECORD_BYTES_MAX)
        rc = err_set(e, ERR_LIMIT, "%s: %zu bytes, at most %zu", r->name, out->len - before,
                     RECORD_BYTES_MAX);
    arena_release(&a);
    return rc;
}

int record_check(const struct record *r, const void *in, struct err *e)
{
    struct arena a;
    msgpack_object tree;
    int rc;

    arena_init(&a, 8 * RECORD_BYTES_MAX);
    if ((rc = encode_record(&a, r, in, &tree, e)) == 0)
        rc = check_tree(&a, r, &tree, e);
    arena_release(&a);
    return rc;
}

/* --- text of single fields
 * ------------------------------------------------------------------------ */

/* A tree from text: JSON for what isn't a string in the text's own right. */
static int tree_of_text(struct arena *a, const struct record_field *f, const char *text,
                        msgpack_object *out, struct err *e)
{
    int64_t number;
    char *copy;

    if (f->type == RECORD_LABEL && text_i64(text, INT64_MIN, INT64_MAX, &number) == 0) {
        set_integer(number, out);
        return 0;
    }
    if (f->type != RECORD_STRING && f->type != RECORD_NAME && f->type != RECORD_SHA256 &&
        f->type != RECORD_ENUM && f->type != RECORD_LABEL && f->type != RECORD_BYTES)
        return tree_of_json(a, text, strlen(text), out, e);
    if (text_utf8_valid(text, strlen(text)) != strlen(text))
        return err_set(e, ERR_FORMAT, "not UTF-8");
    copy = arena_strndup(a, text, strlen(text));
    if (!copy)
        return no_memory(e);
    set_string(copy, out);
    return 0;
}

int record_set(const struct record *r, struct arena *a, const char *name, const char *text,
               void *out, struct err *e)
{
    const struct record_field *f = record_find(r, name, strlen(name));
    struct decode d = {.a = a, .e = e, .format = RECORD_JSON};
    msgpack_object tree;

    if (!f)
        return err_set(e, ERR_NOT_FOUND, "%s: no such field of %s", name, r->name);
    if (tree_of_text(a, f, text, &tree, e) < 0) {
        if (e->code ==
            ERR_FORMAT) /* "abc" for a number: say so rather than what JSON makes of it */
            return err_set(e, ERR_FORMAT, "%s: '%.60s' is not %s", name, text,
                           f->type == RECORD_INT      ? "an integer"
                           : f->type == RECORD_NUMBER ? "a number"
                           : f->type == RECORD_BOOL   ? "true or false"
                                                      : "valid JSON");
        return err_wrap(e, "%s", name);
    }
    d.steps[d.depth++].name = f->name;
    return decode_field(&d, f, &tree, out);
}

static int field_text(struct arena *a, const struct record_field *f, const void *in,
                      struct buf *out, struct err *e)
{
    msgpack_object tree;
    int rc;

    buf_reset(out);
    if ((rc = encode_field(a, f, in, &tree, e)) < 0)
        return rc;
    if (tree.type != MSGPACK_OBJECT_STR)
        return write_tree(&tree, RECORD_JSON, out, e);
    buf_add(out, tree.via.str.ptr, tree.via.str.size);
    return buf_check(out, f->name, e);
}

int record_each_text(const struct record *r, const void *in,
                     int (*each)(void *arg, const char *name, const char *text), void *arg,
                     struct err *e)
{
    struct arena a;
    struct buf text;
    size_t i;
    int rc = 0;

    arena_init(&a, RECORD_BYTES_MAX);
    buf_init(&text, RECORD_BYTES_MAX);
    for (i = 0; i < r->field_count && rc == 0; i++) {
        if (!field_present(&r->fields[i], in))
            continue;
        if ((rc = field_text(&a, &r->fields[i], in, &text, e)) == 0)
            rc = each(arg, r->fields[i].name, text.data ? text.data : "");
    }
    buf_release(&text);
    arena_release(&a);
    return rc;
}
