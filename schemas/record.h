/*
 * Records by table. A record type is a C struct and a table of rows; the table
 * gives its decoder and encoder for JSON and msgpack, its JSON Schema file
 * (schemas/<type>.json) and its section of docs/formats.md. Each struct begins
 * with `struct record_extra extra`: the fields that its table doesn't know,
 * which are kept and written again.
 *
 * Decoders are strict: types, bounds, required fields; no duplicate names, no
 * NaN or infinity, only valid UTF-8 without NUL; nesting, counts and sizes are
 * limited. A message names the field's path, the reason and the byte position:
 *
 *   label: expected a string or an integer, got an array (offset 17)
 *
 * Ownership: what a decoded record points at lives in the caller's arena (and
 * never in the bytes that were read). A record that is built for writing may
 * point anywhere. Plain memory, no locks: one thread per arena.
 *
 * Absent optional values: NULL (strings, bytes, objects, any), RECORD_NO_INT,
 * NaN (record_no_number), a count of 0. Fields with a default are never absent.
 */
#ifndef SCHEMAS_RECORD_H
#define SCHEMAS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/arena.h"
#include "platform/base/buf.h"
#include "platform/base/err.h"

struct msgpack_object;
struct msgpack_object_kv;

#define RECORD_NO_INT    INT64_MIN
#define RECORD_DEPTH_MAX 24                 /* arrays and maps inside each other */
#define RECORD_BYTES_MAX ((size_t)32 << 20) /* of one encoded record */

enum record_format { RECORD_JSON, RECORD_MSGPACK, RECORD_SNIFF }; /* sniff: readers only */

/*
 * type            C type of the member                  JSON, msgpack
 * STRING          const char *                          string; min, max: bytes
 * NAME            const char *                          a name as in keys.h
 * SHA256          const char *                          64 lower-case hex digits
 * INT             int64_t                               integer
 * NUMBER          double                                number
 * BOOL            bool                                  true, false
 * BYTES           struct record_bytes                   base64 string, bin; min, max: bytes
 * ENUM            int                                   one of `names`
 * LABEL           struct record_label                   string or integer
 * OBJECT          struct X *                            map by table `of`
 * ARRAY           pointer to items, a size_t at count   array; min, max: items
 * MAP             pointer to entries, a size_t at count map of `item` (NUMBER, INT, STRING)
 * ROWS            struct record_rows                    array of equally long arrays of numbers
 * ANY             const struct msgpack_object *         anything, kept
 */
enum record_type {
    RECORD_STRING,
    RECORD_NAME,
    RECORD_SHA256,
    RECORD_INT,
    RECORD_NUMBER,
    RECORD_BOOL,
    RECORD_BYTES,
    RECORD_ENUM,
    RECORD_LABEL,
    RECORD_OBJECT,
    RECORD_ARRAY,
    RECORD_MAP,
    RECORD_ROWS,
    RECORD_ANY,
    RECORD_TYPES
};

struct record_extra {
    const struct msgpack_object_kv *items;
    size_t count;
};
/* The i-th one's name, UTF-8, *n bytes without a NUL. */
const char *record_extra_name(const struct record_extra *x, size_t i, size_t *n);
struct record_bytes {
    const void *data; /* NULL: absent */
    size_t len;
};
struct record_label {
    const char *text; /* a string; NULL: `number`, unless absent */
    int64_t number;   /* RECORD_NO_INT with text NULL: absent */
};
struct record_rows {
    const double *data; /* (rows, cols), NULL: absent */
    size_t rows, cols;
};
/* Entries of maps. */
struct record_number {
    const char *name;
    double value;
};
struct record_integer {
    const char *name;
    int64_t value;
};
struct record_text {
    const char *name;
    const char *value;
};

enum record_need { RECORD_OPTIONAL, RECORD_REQUIRED, RECORD_DEFAULT };

struct record;
struct record_field {
    const char *name;
    enum record_type type;
    size_t offset;
    enum record_need need;
    const char *fallback;     /* RECORD_DEFAULT: the value as JSON text */
    double min, max;          /* values, bytes or items; max 0 with min 0: the type's own */
    const char *alias;        /* another accepted spelling */
    const char *const *names; /* ENUM; NULL-terminated */
    const struct record *of;  /* OBJECT, ARRAY of OBJECT */
    enum record_type item;    /* ARRAY, MAP */
    size_t count;             /* ARRAY, MAP: offset of their size_t */
    const char *help;         /* one sentence */
};

struct record {
    const char *name;  /* "job": schemas/job.json */
    const char *title; /* "A job" */
    const char *help;  /* a paragraph for the docs page */
    const struct record_field *fields;
    size_t field_count;
    size_t size; /* of the struct */
    /* What a table can't say: 0, or an error that begins with the field's path. May be NULL. */
    int (*check)(const void *record, struct err *e);
    const char *schema_extra; /* further members of the JSON Schema object, as JSON text; or NULL */
};

/* All absent or default. */
void record_init(const struct record *r, void *out);

/* Decodes and checks. ERR_FORMAT (broken or against the schema), ERR_LIMIT, ERR_NOMEM. */
int record_read(const struct record *r, struct arena *a, const void *bytes, size_t n,
                enum record_format format, void *out, struct err *e);

/* Appends the encoded record: JSON is compact with sorted names (hashes are taken over it), msgpack
 * has the table's order. Checks as record_read does, so that nothing is written that readers
 * refuse: ERR_FORMAT then. */
int record_write(const struct record *r, const void *in, enum record_format format, struct buf *out,
                 struct err *e);

/* Would it be written? For structs that were filled in by hand or by record_set. */
int record_check(const struct record *r, const void *in, struct err *e);

/* Value of one field from text ("3", "0.5", "cosine", "true", JSON for the composed types): for
 * `--set name=value` and for hashes in Redis. ERR_NOT_FOUND: no such field. */
int record_set(const struct record *r, struct arena *a, const char *name, const char *text,
               void *out, struct err *e);

/* The inverse: every field that is present, as text. Stops at a non-zero return and passes it on.
 */
int record_each_text(const struct record *r, const void *in,
                     int (*each)(void *arg, const char *name, const char *text), void *arg,
                     struct err *e);

double record_no_number(void); /* the NaN of absent numbers; test with isnan */

/* The JSON Schema (draft 2020-12), indented, and the section of docs/formats.md. */
int record_schema(const struct record *r, struct buf *out, struct err *e);
int record_page(const struct record *r, struct buf *out, struct err *e);

/* All types that have a schema file and a section, NULL-terminated. */
extern const struct record *const record_all[];

/* Typed calls of one type; goes into its header. */
#define RECORD_DECLARE(type)                                                                       \
    extern const struct record type##_record;                                                      \
    static inline void type##_init(struct type *out)                                               \
    {                                                                                              \
        record_init(&type##_record, out);                                                          \
    }                                                                                              \
    static inline int type##_read(struct arena *a, const void *bytes, size_t n,                    \
                                  enum record_format format, struct type *out, struct err *e)      \
    {                                                                                              \
        return record_read(&type##_record, a, bytes, n, format, out, e);                           \
    }                                                                                              \
    static inline int type##_write(const struct type *in, enum record_format format,               \
                                   struct buf *out, struct err *e)                                 \
    {                                                                                              \
        return record_write(&type##_record, in, format, out, e);                                   \
    }                                                                                              \
    struct type /* the caller adds ';' */

#endif
