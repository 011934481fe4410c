#include "schemas/document.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "platform/base/text.h"
#include "schemas/keys.h"
#include "schemas/record_int.h"

static const char *const split_names[] = {"train", "eval", NULL};
static const char *const tensor_names[] = {"float32", "float64", "uint8", "int32", "int64", NULL};
static const unsigned char tensor_sizes[] = {4, 8, 1, 4, 8};

#define IMAGE_HELP  "A JPEG or PNG file's bytes."
#define TENSOR_HELP "Numbers with a shape."
#define POINTS_HELP "A point cloud: rows of x, y, z, or of x, y, z and a normal or colour."
#define URI_HELP                                                                                   \
    "An object under the owner's own prefix: `s3://<bucket>/owners/<owner>/...`, or its key. Its " \
    "size and SHA-256 are recorded at ingest."

static int check_tensor(const void *record, struct err *e)
{
    const struct document_tensor *t = record;
    uint64_t bytes = tensor_sizes[t->type];
    size_t i;

    for (i = 0; i < t->shape_count; i++) {
        if (t->shape[i] < 1 || (uint64_t)t->shape[i] > DOCUMENT_BYTES_MAX / bytes)
            return err_set(e, ERR_FORMAT, "shape: a dimension of %lld", (long long)t->shape[i]);
        bytes *= (uint64_t)t->shape[i];
    }
    if (bytes != t->data.len)
        return err_set(e, ERR_FORMAT, "data: %zu bytes, the shape and dtype need %llu", t->data.len,
                       (unsigned long long)bytes);
    return 0;
}

static const struct record_field tensor_fields[] = {
    RECORD_LIST(document_tensor, shape, shape_count, ARRAY, INT, REQUIRED, .min = 1, .max = 8,
                .help = "Positive dimensions."),
    RECORD_NAMED(document_tensor, "dtype", type, ENUM, REQUIRED, .names = tensor_names,
                 .help = "Type of the numbers."),
    RECORD_FIELD(document_tensor, data, BYTES, REQUIRED, .min = 1, .max = 16 << 20,
                 .help = "The numbers, row-major and little-endian."),
};
static const struct record tensor_record = {
    .name = "tensor",
    .title = "A tensor",
    .size = sizeof(struct document_tensor),
    .check = check_tensor,
    .schema_extra = "{\"allOf\":[{\"properties\":{\"shape\":{\"items\":{\"minimum\":1}}}}]}",
    RECORD_TABLE(tensor_fields),
};

static int check_image(const struct record_bytes *image, struct err *e)
{
    const unsigned char *s = image->data;

    if (!s || (image->len > 3 && s[0] == 0xff && s[1] == 0xd8 && s[2] == 0xff) ||
        (image->len > 8 && !memcmp(s, "\x89PNG\r\n\x1a\n", 8)))
        return 0;
    return err_set(e, ERR_FORMAT, "image: neither JPEG nor PNG");
}

static int check_points(const struct record_rows *points, struct err *e)
{
    if (!points->data || points->cols == 3 || points->cols == 6)
        return 0;
    return err_set(e, ERR_FORMAT, "points: rows of %zu numbers, expected 3 or 6", points->cols);
}

/* The names of those that are there: "text, image". */
static void name_contents(const char *const *names, const bool *there, size_t n, char *out,
                          size_t size)
{
    size_t used = 0, i;

    out[0] = 0;
    for (i = 0; i < n; i++)
        if (there[i] && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", names[i]);
}

static const char *const content_names[] = {"none",   "text", "image", "tensor",
                                            "points", "uri",  "parts"};

static int check_one(const bool there[6], size_t n, struct err *e)
{
    size_t count = 0, i;
    char list[80];

    for (i = 0; i < n; i++)
        count += there[i];
    if (count == 1)
        return 0;
    if (count == 0)
        return err_set(e, ERR_FORMAT, "content: missing: one of text, image, tensor, points, uri%s",
                       n == 6 ? ", parts" : "");
    name_contents(content_names + 1, there, n, list, sizeof list);
    return err_set(e, ERR_FORMAT, "content: exactly one is allowed, got %s", list);
}

static int check_part(const void *record, struct err *e)
{
    const struct document_part *p = record;
    const bool there[6] = {p->text, p->image.data, p->tensor, p->points.data, p->uri};
    int rc;

    if ((rc = check_one(there, 5, e)) < 0 || (rc = check_image(&p->image, e)) < 0)
        return rc;
    return check_points(&p->points, e);
}

static const struct record_field part_fields[] = {
    RECORD_FIELD(document_part, modality, STRING, REQUIRED, .min = 1, .max = 64,
                 .help = "What this part is to the model: `text`, `image`, ..."),
    RECORD_FIELD(document_part, text, STRING, OPTIONAL, .min = 1, .max = 4 << 20,
                 .help = "Text, UTF-8."),
    RECORD_FIELD(document_part, image, BYTES, OPTIONAL, .min = 1, .max = 16 << 20,
                 .help = IMAGE_HELP),
    RECORD_FIELD(document_part, tensor, OBJECT, OPTIONAL, .of = &tensor_record,
                 .help = TENSOR_HELP),
    RECORD_FIELD(document_part, points, ROWS, OPTIONAL, .min = 1, .max = 200000,
                 .help = POINTS_HELP),
    RECORD_FIELD(document_part, uri, STRING, OPTIONAL, .min = 1, .max = 1200, .help = URI_HELP),
};
static const struct record part_record = {
    .name = "part",
    .title = "A part of a document",
    .size = sizeof(struct document_part),
    .check = check_part,
    .schema_extra =
        "{\"oneOf\":[{\"required\":[\"text\"]},{\"required\":[\"image\"]},{\"required\":["
        "\"tensor\"]},{\"required\":[\"points\"]},{\"required\":[\"uri\"]}]}",
    RECORD_TABLE(part_fields),
};

static int check_document(const void *record, struct err *e)
{
    const struct document *d = record;
    const bool there[6] = {d->text, d->image.data, d->tensor, d->points.data, d->uri, d->parts};
    int rc;

    if ((rc = check_one(there, 6, e)) < 0 || (rc = check_image(&d->image, e)) < 0 ||
        (rc = check_points(&d->points, e)) < 0)
        return rc;
    if (!isnan(d->score) && d->part_count != 2)
        return err_set(e, ERR_FORMAT, "score: needs exactly two parts");
    if (!d->label.text && d->label.number == RECORD_NO_INT && d->part_count < 2)
        return err_set(e, ERR_FORMAT, "label: missing");
    return 0;
}

static const struct record_field document_fields[] = {
    RECORD_FIELD(document, id, STRING, OPTIONAL, .min = 1, .max = DOCUMENT_ID_MAX,
                 .help = "The document's id; the message's key stands for it. The last message of "
                         "an id wins."),
    RECORD_FIELD(document, label, LABEL, OPTIONAL, .min = 1, .max = DOCUMENT_LABEL_MAX,
                 .alias = "finetuner_label",
                 .help =
                     "The class. `1` and `\"1\"` are different ones. May be left out when there "
                     "are two parts or more."),
    RECORD_FIELD(document, text, STRING, OPTIONAL, .min = 1, .max = 4 << 20,
                 .help = "Text, UTF-8."),
    RECORD_FIELD(document, image, BYTES, OPTIONAL, .min = 1, .max = 16 << 20, .help = IMAGE_HELP),
    RECORD_FIELD(document, tensor, OBJECT, OPTIONAL, .of = &tensor_record, .help = TENSOR_HELP),
    RECORD_FIELD(document, points, ROWS, OPTIONAL, .min = 1, .max = 200000, .help = POINTS_HELP),
    RECORD_FIELD(document, uri, STRING, OPTIONAL, .min = 1, .max = 1200, .help = URI_HELP),
    RECORD_LIST(document, parts, part_count, ARRAY, OBJECT, OPTIONAL, .min = 1,
                .max = DOCUMENT_PARTS_MAX, .of = &part_record,
                .help = "Several contents that belong together."),
    RECORD_FIELD(document, score, NUMBER, OPTIONAL,
                 .help = "How similar the two parts are; only with exactly two."),
    RECORD_FIELD(document, split, ENUM, DEFAULT, .fallback = "train", .names = split_names,
                 .help = "Whether it is trained on or held out."),
    RECORD_FIELD(document, meta, ANY, OPTIONAL, .help = "Anything; kept as it is."),
};

const struct record document_record = {
    .name = "document",
    .title = "A labeled document",
    .help = "A value on `tripline.docs.<owner>.<dataset>`, msgpack or JSON (header `content-type`: "
            "`application/json` or `application/msgpack`; without it the first byte tells). "
            "Exactly one of `text`, `image`, `tensor`, `points`, `uri`, `parts` is the content. At "
            "most 16 MiB.",
    .size = sizeof(struct document),
    .check = check_document,
    .schema_extra =
        "{\"oneOf\":[{\"required\":[\"text\"]},{\"required\":[\"image\"]},{\"required\":"
        "[\"tensor\"]},{\"required\":[\"points\"]},{\"required\":[\"uri\"]},{\"required\":"
        "[\"parts\"]}],\"anyOf\":[{\"required\":[\"label\"]},{\"required\":[\"finetuner_label\"]},"
        "{\"required\":[\"parts\"]}],\"not\":{\"required\":[\"label\",\"finetuner_label\"]},"
        "\"if\":{\"required\":[\"score\"]},\"then\":{\"required\":[\"parts\"],\"properties\":{"
        "\"parts\":{\"minItems\":2,\"maxItems\":2}}}}",
    RECORD_TABLE(document_fields),
};

enum document_content document_content_of(const struct document *d)
{
    return d->text          ? CONTENT_TEXT
           : d->image.data  ? CONTENT_IMAGE
           : d->tensor      ? CONTENT_TENSOR
           : d->points.data ? CONTENT_POINTS
           : d->uri         ? CONTENT_URI
           : d->parts       ? CONTENT_PARTS
                            : CONTENT_NONE;
}

const char *document_content_name(enum document_content c)
{
    return content_names[c];
}

/* --- admission
 * ------------------------------------------------------------------------------------ */

static const struct document_header *find_header(const struct document_message *m, const char *name)
{
    size_t i;

    for (i = 0; i < m->header_count; i++)
        if (!strcasecmp(m->headers[i].name, name))
            return &m->headers[i];
    return NULL;
}

static bool is_type(const struct document_header *h, const char *type)
{
    const char *s = h->value;
    size_t n = strlen(type);

    return h->value && h->value_len >= n && !strncasecmp(s, type, n) &&
           (h->value_len == n || s[n] == ';' || s[n] == ' ');
}

static int content_type(const struct document_message *m, enum record_format *format, struct err *e)
{
    static const struct {
        const char *type;
        enum record_format format;
    } types[] = {
        {"application/json", RECORD_JSON},           {"text/json", RECORD_JSON},
        {"application/msgpack", RECORD_MSGPACK},     {"application/x-msgpack", RECORD_MSGPACK},
        {"application/vnd.msgpack", RECORD_MSGPACK},
    };
    const struct document_header *h = find_header(m, HEADER_CONTENT_TYPE);
    size_t i;

    *format = RECORD_SNIFF;
    if (!h)
        return 0;
    for (i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (is_type(h, types[i].type)) {
            *format = types[i].format;
            return 0;
        }
    }
    return err_set(e, ERR_UNSUPPORTED,
                   "content-type '%.*s': expected application/json or application/msgpack",
                   h->value ? (int)(h->value_len < 60 ? h->value_len : 60) : 0,
                   h->value ? (const char *)h->value : "");
}

static int take_key(const struct document_message *m, struct arena *a, const char **id,
                    struct err *e)
{
    *id = NULL;
    if (!m->key || !m->key_len)
        return 0;
    if (m->key_len > DOCUMENT_ID_MAX)
        return err_set(e, ERR_LIMIT, "key: %zu bytes, at most %d", m->key_len, DOCUMENT_ID_MAX);
    if (memchr(m->key, 0, m->key_len) || text_utf8_valid(m->key, m->key_len) != m->key_len)
        return err_set(e, ERR_FORMAT, "key: not UTF-8 text; the key is the document's id");
    *id = arena_strndup(a, m->key, m->key_len);
    return *id ? 0 : err_set(e, ERR_NOMEM, "key: more memory than the arena allows");
}

static int check_uri(const char *uri, const char *owner, const char *path, struct err *e)
{
    const char *key;

    if (!uri || !owner || key_of_uri(uri, NULL, owner, &key))
        return 0;
    return err_set(e, ERR_FORMAT, "%suri: '%.120s' is not an object under owners/%s/", path, uri,
                   owner);
}

static int check_uris(const struct document *d, const char *owner, struct err *e)
{
    char path[32];
    size_t i;
    int rc = check_uri(d->uri, owner, "", e);

    for (i = 0; i < d->part_count && rc == 0; i++) {
        snprintf(path, sizeof path, "parts[%zu].", i);
        rc = check_uri(d->parts[i].uri, owner, path, e);
    }
    return rc;
}

static int admit_body(const struct document_message *m, const char *owner, const char *id,
                      struct arena *a, struct document *out, struct err *e)
{
    enum record_format format;
    int rc;

    if (m->value_len > DOCUMENT_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%zu bytes, at most %zu", m->value_len, DOCUMENT_BYTES_MAX);
    if ((rc = content_type(m, &format, e)) < 0 ||
        (rc = document_read(a, m->value, m->value_len, format, out, e)) < 0)
        return rc;
    if (id && out->id && strcmp(id, out->id) != 0)
        return err_set(e, ERR_FORMAT, "id: '%.80s' differs from the message's key '%.80s'", out->id,
                       id);
    if (id)
        out->id = id;
    if (!out->id)
        return err_set(e, ERR_FORMAT, "id: missing, and the message has no key");
    return check_uris(out, owner, e);
}

static int admit_control(const struct document_message *m, const struct document_header *control,
                         struct err *e)
{
    if (control->value_len != strlen(CONTROL_SEAL) ||
        memcmp(control->value, CONTROL_SEAL, control->value_len))
        return err_set(e, ERR_UNSUPPORTED,
                       "header " HEADER_CONTROL ": expected '" CONTROL_SEAL "'");
    if (m->value_len)
        return err_set(e, ERR_FORMAT,
                       "header " HEADER_CONTROL
                       ": a seal has no value; send a document without it");
    return 0;
}

int document_admit(const struct document_message *m, const char *owner, struct arena *a,
                   enum document_kind *kind, struct document *out, struct err *e)
{
    const struct document_header *control = find_header(m, HEADER_CONTROL);
    const char *id;
    int rc;

    document_init(out);
    *kind = DOCUMENT_PUT;
    if (control) {
        *kind = DOCUMENT_SEAL;
        return admit_control(m, control, e);
    }
    if ((rc = take_key(m, a, &id, e)) < 0)
        return rc;
    if (m->value)
        return admit_body(m, owner, id, a, out, e);
    *kind = DOCUMENT_TOMBSTONE;
    if (!id)
        return err_set(e, ERR_FORMAT, "key: missing; a null value removes the document of its key");
    out->id = id;
    return 0;
}
