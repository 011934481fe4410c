/*
 * A labeled document, as producers write it to Kafka: msgpack or JSON. One line
 * typed into a console producer is enough: {"id":"1","label":"a","text":"hello"}.
 *
 * Exactly one content: text, image, tensor, points, uri or parts. Pure code; the
 * pointers of a decoded document live in the caller's arena.
 */
#ifndef SCHEMAS_DOCUMENT_H
#define SCHEMAS_DOCUMENT_H

#include "schemas/record.h"

#define DOCUMENT_BYTES_MAX  ((size_t)16 << 20) /* an encoded document */
/* A topic's setting that lets it take one, with its key and headers. */
#define DOCUMENT_TOPIC_SIZE "max.message.bytes=18874368"
#define DOCUMENT_ID_MAX     512
#define DOCUMENT_LABEL_MAX  1024
#define DOCUMENT_PARTS_MAX  64

enum document_split { SPLIT_TRAIN, SPLIT_EVAL };

enum document_content {
    CONTENT_NONE,
    CONTENT_TEXT,
    CONTENT_IMAGE,
    CONTENT_TENSOR,
    CONTENT_POINTS,
    CONTENT_URI,
    CONTENT_PARTS
};

enum tensor_type { /* little-endian */
                   TENSOR_FLOAT32,
                   TENSOR_FLOAT64,
                   TENSOR_UINT8,
                   TENSOR_INT32,
                   TENSOR_INT64
};

struct document_tensor {
    struct record_extra extra;
    const int64_t *shape;
    size_t shape_count;
    int type; /* enum tensor_type */
    struct record_bytes data;
};

/* One of a document's parts: a modality and its content. */
struct document_part {
    struct record_extra extra;
    const char *modality; /* "text", "image", ... or a name the model knows */
    const char *text;
    struct record_bytes image;
    const struct document_tensor *tensor;
    struct record_rows points;
    const char *uri;
};

struct document {
    struct record_extra extra;
    const char *id;            /* document_admit: never NULL */
    struct record_label label; /* may be absent when there are parts */
    const char *text;
    struct record_bytes image; /* JPEG or PNG */
    const struct document_tensor *tensor;
    struct record_rows points; /* (N, 3) or (N, 6) */
    const char *uri;
    const struct document_part *parts;
    size_t part_count;
    double score; /* of two parts; NaN: none */
    int split;    /* enum document_split */
    const struct msgpack_object *meta;
};
RECORD_DECLARE(document);

enum document_content document_content_of(const struct document *d);
const char *document_content_name(enum document_content c);

/* --- admission ---------------------------------------------------------------------------- */

struct document_header {
    const char *name;
    const void *value;
    size_t value_len;
};

/* A Kafka message, borrowed. */
struct document_message {
    const void *key; /* NULL: none */
    size_t key_len;
    const void *value; /* NULL: a tombstone */
    size_t value_len;
    const struct document_header *headers;
    size_t header_count;
};

enum document_kind { DOCUMENT_PUT, DOCUMENT_TOMBSTONE, DOCUMENT_SEAL };

/*
 * What a message is: a document, the removal of one (null value: only `id` is
 * set), or the seal that makes ingest cut its segment (header tripline-control:
 * seal, no value; nothing is set). The key is the id; without a key the body's `id`; a
 * body whose id differs from the key is refused. Format: header content-type,
 * else sniffed. A `uri` must lie under the owner's prefix (owner NULL: any).
 * ERR_FORMAT, ERR_LIMIT, ERR_UNSUPPORTED (content type): rejected, the message
 * is the reason. ERR_NOMEM.
 */
int document_admit(const struct document_message *m, const char *owner, struct arena *a,
                   enum document_kind *kind, struct document *out, struct err *e);

#endif
