/*
 * JSON by jansson, with the limits and the canonical form that everything here
 * needs: parsing with bounds (size, depth, number of values; duplicate names,
 * NUL characters and anything behind the value are refused), typed getters
 * whose errors name the path, and two ways to write:
 *
 *   JSON_CANONICAL   no blanks, names sorted by their bytes: hashes are taken over it
 *   JSON_READABLE    two blanks a level, names in the order they were set, a final newline
 *
 * Numbers with a fraction are written with the fewest digits that read back as
 * the same double, and never look like integers.
 *
 * A parsed value is released by json_decref. Values are not shared between threads.
 */
#ifndef PLATFORM_JSON_JSON_H
#define PLATFORM_JSON_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"

struct json_limits {
    size_t bytes;   /* of the text */
    size_t depth;   /* arrays and objects inside each other */
    size_t values;  /* of any type */
    size_t objects; /* each costs some 400 bytes, however short its text */
};
#define JSON_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        (size_t)64 << 20, 64, (size_t)1 << 20, (size_t)1 << 17                                     \
    }

/* Any value, not only an object or array. `limits` NULL: the default. ERR_FORMAT with the byte
 * offset, ERR_LIMIT. */
int json_parse(const void *bytes, size_t n, const struct json_limits *limits, json_t **out,
               struct err *e);

/* Reads and parses a file; errors begin with the path. */
int json_parse_file(const char *path, const struct json_limits *limits, json_t **out,
                    struct err *e);

/* Building: the array or object *to takes the value. When memory has run out, for this value or
 * before (NULL), *to is released and NULL, so that only the end is looked at. */
void json_add(json_t **to, json_t *item);
void json_put(json_t **to, const char *name, json_t *value);

enum json_form { JSON_CANONICAL, JSON_READABLE };
/* Appends; ERR_FORMAT for a number that is not finite, else buf_check. */
int json_write(const json_t *v, enum json_form form, struct buf *out, struct err *e);
void json_write_real(double v, struct buf *out); /* finite */

/* "an object", "a string", ... for messages. */
const char *json_type_text(const json_t *v);

/*
 * Getters. `path` is names joined by '.', a number picks an item of an array:
 * "model.vocab", "layers.0.name". json_find gives NULL when something on the
 * way is absent; the others fail with "path: missing" or "path: expected a
 * string, got an array". The _or forms take null or absence as the fallback.
 * Results are borrowed from `v`.
 */
json_t *json_find(const json_t *v, const char *path);
int json_object_at(const json_t *v, const char *path, json_t **out, struct err *e);
int json_array_at(const json_t *v, const char *path, json_t **out, struct err *e);
int json_string_at(const json_t *v, const char *path, const char **out, struct err *e);
int json_int_at(const json_t *v, const char *path, int64_t min, int64_t max, int64_t *out,
                struct err *e);
int json_number_at(const json_t *v, const char *path, double *out, struct err *e);
int json_bool_at(const json_t *v, const char *path, bool *out, struct err *e);
int json_string_or(const json_t *v, const char *path, const char *fallback, const char **out,
                   struct err *e);
int json_int_or(const json_t *v, const char *path, int64_t min, int64_t max, int64_t fallback,
                int64_t *out, struct err *e);
int json_number_or(const json_t *v, const char *path, double fallback, double *out, struct err *e);
int json_bool_or(const json_t *v, const char *path, bool fallback, bool *out, struct err *e);

/* A step into a value: a name, or (name NULL) an index. */
struct json_step {
    const char *name;
    size_t index;
};
/* Byte offset, in a text that json_parse accepts, of the value at the end of the steps; of the
 * innermost one that is there when the rest is absent. */
size_t json_offset(const void *text, size_t n, const struct json_step *steps, size_t count);

#endif
