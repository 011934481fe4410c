#include "schemas/record_int.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/text.h"
#include "platform/json/base64.h"

const char *tree_type_text(const msgpack_object *v)
{
    switch (v->type) {
    case MSGPACK_OBJECT_NIL:
        return "null";
    case MSGPACK_OBJECT_BOOLEAN:
        return v->via.boolean ? "true" : "false";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return "an integer";
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return "a number";
    case MSGPACK_OBJECT_STR:
        return "a string";
    case MSGPACK_OBJECT_ARRAY:
        return "an array";
    case MSGPACK_OBJECT_MAP:
        return "an object";
    case MSGPACK_OBJECT_BIN:
        return "bytes";
    default:
        return "an extension type";
    }
}

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "record: more memory than the arena allows");
}

/* --- names --- */

static int by_name(const void *a, const void *b)
{
    const msgpack_object_str *const *x = a, *const *y = b;
    size_t n = (*x)->size < (*y)->size ? (*x)->size : (*y)->size;
    int c = memcmp((*x)->ptr, (*y)->ptr, n);

    return c ? c : ((*x)->size > (*y)->size) - ((*x)->size < (*y)->size);
}

enum { FEW = 8 };

/* Each with each: of a few names most differ in length. */
static bool all_differ(const msgpack_object *map)
{
    const msgpack_object_kv *kv = map->via.map.ptr;
    size_t n = map->via.map.size, i, k;

    for (i = 1; i < n; i++)
        for (k = 0; k < i; k++)
            if (kv[i].key.via.str.size == kv[k].key.via.str.size &&
                !memcmp(kv[i].key.via.str.ptr, kv[k].key.via.str.ptr, kv[i].key.via.str.size))
                return false;
    return true;
}

int tree_check_names(struct arena *a, const msgpack_object *map, const char **twice)
{
    const msgpack_object_str *few[FEW], **names = few;
    size_t n = map->via.map.size, i;

    if (n <= FEW && all_differ(map))
        return 0;
    if (n > FEW && !(names = arena_array(a, n, sizeof *names)))
        return ERR_NOMEM;
    for (i = 0; i < n; i++)
        names[i] = &map->via.map.ptr[i].key.via.str;
    qsort(names, n, sizeof *names, by_name);
    for (i = 1; i < n; i++) {
        if (by_name(&names[i - 1], &names[i]) == 0) {
            *twice = names[i]->ptr;
            return 1;
        }
    }
    return 0;
}

/* --- JSON ---------------------------------------------------------------------------------------
 */

static int set_string(struct arena *a, const char *text, size_t len, msgpack_object *out,
                      struct err *e)
{
    out->type = MSGPACK_OBJECT_STR;
    out->via.str.size = (uint32_t)len; /* texts are at most RECORD_BYTES_MAX */
    out->via.str.ptr = arena_strndup(a, text, len);
    return out->via.str.ptr ? 0 : no_memory(e);
}

static int of_json(struct arena *a, const json_t *v, msgpack_object *out, struct err *e);

static int of_object(struct arena *a, const json_t *v, msgpack_object *out, struct err *e)
{
    size_t n = json_object_size(v), i = 0;
    const char *name;
    json_t *value;
    int rc;

    out->type = MSGPACK_OBJECT_MAP;
    out->via.map.size = (uint32_t)n;
    out->via.map.ptr = arena_array(a, n ? n : 1, sizeof *out->via.map.ptr);
    if (!out->via.map.ptr)
        return no_memory(e);
    json_object_foreach((json_t *)v, name, value)
    {
        msgpack_object_kv *kv = &out->via.map.ptr[i++];

        if ((rc = set_string(a, name, strlen(name), &kv->key, e)) < 0 ||
            (rc = of_json(a, value, &kv->val, e)) < 0)
            return rc;
    }
    return 0;
}

static int of_array(struct arena *a, const json_t *v, msgpack_object *out, struct err *e)
{
    size_t n = json_array_size(v), i;
    int rc;

    out->type = MSGPACK_OBJECT_ARRAY;
    out->via.array.size = (uint32_t)n;
    out->via.array.ptr = arena_array(a, n ? n : 1, sizeof *out->via.array.ptr);
    if (!out->via.array.ptr)
        return no_memory(e);
    for (i = 0; i < n; i++)
        if ((rc = of_json(a, json_array_get(v, i), &out->via.array.ptr[i], e)) < 0)
            return rc;
    return 0;
}

static void set_integer(int64_t v, msgpack_object *out)
{
    out->type = v < 0 ? MSGPACK_OBJECT_NEGATIVE_INTEGER : MSGPACK_OBJECT_POSITIVE_INTEGER;
    out->via.i64 = v;
}

static int of_json(struct arena *a, const json_t *v, msgpack_object *out, struct err *e)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return of_object(a, v, out, e);
    case JSON_ARRAY:
        return of_array(a, v, out, e);
    case JSON_STRING:
        return set_string(a, json_string_value(v), json_string_length(v), out, e);
    case JSON_INTEGER:
        set_integer(json_integer_value(v), out);
        return 0;
    case JSON_REAL:
        out->type = MSGPACK_OBJECT_FLOAT64;
        out->via.f64 = json_real_value(v);
        return 0;
    case JSON_NULL:
        out->type = MSGPACK_OBJECT_NIL;
        return 0;
    default:
        out->type = MSGPACK_OBJECT_BOOLEAN;
        out->via.boolean = json_is_true(v);
        return 0;
    }
}

int tree_of_json(struct arena *a, const void *bytes, size_t n, msgpack_object *out, struct err *e)
{
    const struct json_limits limits = {RECORD_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_VALUES_MAX,
                                       RECORD_OBJECTS_MAX};
    int rc = tree_read_json(a, bytes, n, out);
    json_t *v;

    if (rc != 0)
        return rc < 0 ? no_memory(e) : 0;
    if ((rc = json_parse(bytes, n, &limits, &v, e)) == 0)
        rc = of_json(a, v, out, e);
    json_decref(v);
    return rc;
}

/* jansson gave none: for want of memory, or it does not take what was there. errno was 0 before. */
static int no_value(const char *what, struct err *e)
{
    return errno == ENOMEM ? no_memory(e) : err_set(e, ERR_FORMAT, "record: %s", what);
}

static int to_string(const msgpack_object *v, json_t **out, struct err *e)
{
    char *text;

    if (v->type == MSGPACK_OBJECT_STR) {
        errno = 0;
        *out = json_stringn(v->via.str.ptr, v->via.str.size);
        return *out ? 0 : no_value("a string that is not UTF-8", e);
    }
    text = malloc(BASE64_LEN((size_t)v->via.bin.size) + 1);
    if (!text)
        return no_memory(e);
    base64_encode(v->via.bin.ptr, v->via.bin.size, text);
    *out = json_string_nocheck(text);
    free(text);
    return *out ? 0 : no_memory(e);
}

static int to_array(const msgpack_object *v, json_t **out, struct err *e)
{
    json_t *item;
    size_t i;
    int rc;

    if (!(*out = json_array()))
        return no_memory(e);
    for (i = 0; i < v->via.array.size; i++) {
        if ((rc = tree_to_json(&v->via.array.ptr[i], &item, e)) < 0)
            goto fail;
        if (json_array_append_new(*out, item) < 0) {
            rc = no_memory(e);
            goto fail;
        }
    }
    return 0;
fail:
    json_decref(*out);
    *out = NULL;
    return rc;
}

static int to_object(const msgpack_object *v, json_t **out, struct err *e)
{
    json_t *item;
    size_t i;
    int rc;

    if (!(*out = json_object()))
        return no_memory(e);
    for (i = 0; i < v->via.map.size; i++) {
        const msgpack_object_kv *kv = &v->via.map.ptr[i];

        if ((rc = tree_to_json(&kv->val, &item, e)) < 0)
            goto fail;
        if (json_object_setn_new(*out, kv->key.via.str.ptr, kv->key.via.str.size, item) < 0) {
            rc = no_memory(e);
            goto fail;
        }
    }
    return 0;
fail:
    json_decref(*out);
    *out = NULL;
    return rc;
}

static json_t *to_scalar(const msgpack_object *v)
{
    switch (v->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(v->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer(v->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return json_real(v->via.f64);
    default:
        return json_null();
    }
}

int tree_to_json(const msgpack_object *v, json_t **out, struct err *e)
{
    *out = NULL;
    if (v->type == MSGPACK_OBJECT_STR || v->type == MSGPACK_OBJECT_BIN)
        return to_string(v, out, e);
    if (v->type == MSGPACK_OBJECT_ARRAY)
        return to_array(v, out, e);
    if (v->type == MSGPACK_OBJECT_MAP)
        return to_object(v, out, e);
    errno = 0;
    *out = to_scalar(v);
    return *out ? 0 : no_value("a number that is not finite", e);
}
