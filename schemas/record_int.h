/*
 * Inside of the record room: the tree that both formats are read into and
 * written from. It is msgpack-c's object type, all of it in an arena; strings
 * are NUL-terminated and names of maps are strings.
 */
#ifndef SCHEMAS_RECORD_INT_H
#define SCHEMAS_RECORD_INT_H

#include <msgpack.h>

#include "platform/json/json.h"
#include "schemas/record.h"

#define RECORD_VALUES_MAX  ((size_t)1 << 20)       /* in one record, of any type */
#define RECORD_OBJECTS_MAX (RECORD_VALUES_MAX / 8) /* in one JSON text */
#define RECORD_STEPS_MAX   16

/* Integers that every JSON reader gets right; the bounds of INT without its own. */
#define RECORD_INT_MAX 9007199254740991.0 /* 2^53 - 1 */

/* A row of a table: RECORD_FIELD(struct, member, TYPE, NEED, further members). The field's name is
 * the member's; RECORD_LIST and RECORD_NAMED say it otherwise. */
#define RECORD_NAMED(struct_, name_, member, type_, need_, ...)                                    \
    {                                                                                              \
        .name = name_, .type = RECORD_##type_, .offset = offsetof(struct struct_, member),         \
        .need = RECORD_##need_, __VA_ARGS__                                                        \
    }
#define RECORD_FIELD(struct_, member, type_, need_, ...)                                           \
    RECORD_NAMED(struct_, #member, member, type_, need_, __VA_ARGS__)
/* An array or map with its count in another member. */
#define RECORD_LIST(struct_, member, counter, type_, item_, need_, ...)                            \
    RECORD_NAMED(struct_, #member, member, type_, need_, .item = RECORD_##item_,                   \
                 .count = offsetof(struct struct_, counter), __VA_ARGS__)
#define RECORD_TABLE(rows) .fields = rows, .field_count = sizeof rows / sizeof rows[0]

/* Parsers: limits, UTF-8, no NUL, no duplicate names, finite numbers. */
int tree_of_json(struct arena *a, const void *bytes, size_t n, msgpack_object *out, struct err *e);
int tree_of_msgpack(struct arena *a, const void *bytes, size_t n, msgpack_object *out,
                    struct err *e);
/* The way that JSON mostly takes: 1: read; 0: not taken, the parser above decides and says why;
 * ERR_NOMEM. */
int tree_read_json(struct arena *a, const void *bytes, size_t n, msgpack_object *out);
/* 1: *twice is a name that the map has twice; 0: none; ERR_NOMEM. */
int tree_check_names(struct arena *a, const msgpack_object *map, const char **twice);

/* Writers. Bytes become base64 in JSON. */
int tree_to_json(const msgpack_object *v, json_t **out, struct err *e);
int tree_to_msgpack(const msgpack_object *v, struct buf *out, struct err *e);

/* As json_offset, for msgpack that tree_of_msgpack accepts. */
size_t tree_offset(const void *bytes, size_t n, const struct json_step *steps, size_t count);

const char *tree_type_text(const msgpack_object *v); /* "an array" */

struct decode {
    struct arena *a;
    struct err *e;
    enum record_format format; /* JSON: bytes are base64 strings */
    const void *bytes;         /* what is decoded, for offsets in messages; NULL: none */
    size_t n;
    struct json_step steps[RECORD_STEPS_MAX]; /* where we are */
    size_t depth;
};
int decode_record(struct decode *d, const struct record *r, const msgpack_object *v, void *out);
int decode_field(struct decode *d, const struct record_field *f, const msgpack_object *v,
                 void *record);
const struct record_field *record_find(const struct record *r, const char *name, size_t len);

int encode_record(struct arena *a, const struct record *r, const void *in, msgpack_object *out,
                  struct err *e);
int encode_field(struct arena *a, const struct record_field *f, const void *in, msgpack_object *out,
                 struct err *e);
bool field_present(const struct record_field *f, const void *in);
/* Bytes of one item of an array or map. */
size_t field_item_size(const struct record_field *f);

/* Effective bounds: the row's, or the type's own. */
void field_bounds(const struct record_field *f, double *min, double *max);

#endif
