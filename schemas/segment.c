#include "schemas/segment.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "schemas/record_int.h"
#include "schemas/segment_int.h"

#define COUNT .min = 0, .max = RECORD_INT_MAX

static bool covers_nothing(const struct segment_footer *f)
{
    return f->next == f->first && !f->documents && !f->tombstones && !f->seals && !f->rejected &&
           !f->label_count && !f->missing_count;
}

static int check_footer(const void *record, struct err *e)
{
    const struct segment_footer *f = record;
    int64_t at = f->first;
    size_t i;

    if (f->closed && !covers_nothing(f))
        return err_set(e, ERR_FORMAT, "closed: such a segment covers nothing");
    if (!f->closed && f->next <= f->first)
        return err_set(e, ERR_FORMAT, "next: %lld is not behind first", (long long)f->next);
    for (i = 0; i < f->missing_count; i++) {
        if (f->missing[i].first < at || f->missing[i].next > f->next)
            return err_set(e, ERR_FORMAT, "missing: range %zu is out of order", i);
        at = f->missing[i].next;
    }
    return 0;
}

static const struct record_field footer_fields[] = {
    RECORD_FIELD(segment_footer, owner, NAME, REQUIRED, .help = "The owner."),
    RECORD_FIELD(segment_footer, dataset, NAME, REQUIRED, .help = "The dataset."),
    RECORD_FIELD(segment_footer, incarnation, INT, REQUIRED, COUNT,
                 .help = "How often the topic was re-created."),
    RECORD_FIELD(segment_footer, partition, INT, REQUIRED, .min = 0, .max = INT32_MAX,
                 .help = "The partition."),
    RECORD_FIELD(segment_footer, first, INT, REQUIRED, COUNT,
                 .help = "The first offset: `next` of the segment before."),
    RECORD_FIELD(segment_footer, next, INT, REQUIRED, COUNT, .help = "Last consumed record + 1."),
    RECORD_LIST(segment_footer, missing, missing_count, ARRAY, OBJECT, OPTIONAL,
                .max = SEGMENT_MISSING_MAX, .of = &offset_range_record,
                .help = "Offsets that Kafka no longer had."),
    RECORD_FIELD(segment_footer, documents, INT, REQUIRED, COUNT, .help = "Accepted documents."),
    RECORD_FIELD(segment_footer, tombstones, INT, REQUIRED, COUNT, .help = "Removals."),
    RECORD_FIELD(segment_footer, seals, INT, REQUIRED, COUNT, .help = "Seals."),
    RECORD_FIELD(segment_footer, rejected, INT, REQUIRED, COUNT, .help = "Rejected messages."),
    RECORD_LIST(segment_footer, labels, label_count, ARRAY, OBJECT, OPTIONAL,
                .max = SEGMENT_LABELS_MAX, .of = &label_count_record,
                .help = "Documents per class: integers first, then strings, ascending."),
    RECORD_FIELD(segment_footer, content_sha256, SHA256, REQUIRED,
                 .help = "Of the decompressed blocks, in order."),
    RECORD_FIELD(segment_footer, schema, INT, REQUIRED, .min = 1, .max = 1000,
                 .help = "Version of the document schema: 1."),
    RECORD_FIELD(segment_footer, nonce, STRING, REQUIRED, .min = 1, .max = 64,
                 .help = "The writer's, so that it knows its own object."),
    RECORD_FIELD(segment_footer, created_ms, INT, REQUIRED, COUNT,
                 .help = "When it was begun, in milliseconds since 1970."),
    RECORD_FIELD(segment_footer, closed, BOOL, OPTIONAL,
                 .help = "The chain ends here: no segment follows, and this one covers nothing "
                         "(`next` is `first`)."),
};
const struct record segment_footer_record = {
    .name = "segment",
    .title = "A segment's footer",
    .help = "The JSON at the end of a segment file.",
    .size = sizeof(struct segment_footer),
    .check = check_footer,
    RECORD_TABLE(footer_fields),
};

int segment_label_compare(const struct record_label *a, const struct record_label *b)
{
    if (!a->text || !b->text) {
        if (a->text || b->text)
            return a->text ? 1 : -1;
        return (a->number > b->number) - (a->number < b->number);
    }
    return strcmp(a->text, b->text);
}

/* --- the writer
 * ----------------------------------------------------------------------------------- */

enum { RECENT = 256 };

struct segment_writer {
    struct segment_name name;
    char nonce[65];
    int64_t created_ms, next;
    bool closed;
    struct buf block;       /* the open block, decompressed */
    uint32_t block_records; /* in it */
    uint32_t blocks;
    struct buf file; /* header and closed blocks */
    struct sha256 *content;
    ZSTD_CCtx *zip;
    int level;
    struct arena arena;                 /* labels, ranges */
    void *labels;                       /* tree of struct label_count: tsearch */
    struct label_count *recent[RECENT]; /* of the tree, by label_slot: most need no search */
    size_t label_count, label_bytes;
    struct offset_range *missing; /* SEGMENT_MISSING_MAX, on first use */
    size_t missing_count;
    int64_t documents, tombstones, seals, rejected;
};

static void keep(void *node)
{
    (void)node; /* the arena owns it */
}

void segment_writer_free(struct segment_writer *w)
{
    if (!w)
        return;
    buf_release(&w->block);
    buf_release(&w->file);
    sha256_free(w->content);
    ZSTD_freeCCtx(w->zip);
    tdestroy(w->labels, keep);
    arena_release(&w->arena);
    free(w);
}

int segment_writer_new(struct segment_writer **out, const struct segment_name *name,
                       const char *nonce, int64_t created_ms, struct err *e)
{
    struct segment_writer *w;
    char key[KEY_MAX];
    int rc;

    *out = NULL;
    if ((rc = key_segment(name, key, e)) < 0)
        return rc;
    if (!*nonce || strlen(nonce) >= sizeof w->nonce)
        return err_set(e, ERR_USAGE, "segment: a nonce of %zu bytes", strlen(nonce));
    w = calloc(1, sizeof *w);
    if (!w)
        return err_set(e, ERR_NOMEM, "segment %s", key);
    w->name = *name;
    w->next = name->first;
    w->created_ms = created_ms;
    w->level = SEGMENT_LEVEL;
    snprintf(w->nonce, sizeof w->nonce, "%s", nonce);
    buf_init(&w->block, SEGMENT_BLOCK_MAX);
    buf_init(&w->file, SEGMENT_BYTES_MAX);
    arena_init(&w->arena, (size_t)96 << 20);
    w->content = sha256_new();
    w->zip = ZSTD_createCCtx();
    buf_add(&w->file, SEGMENT_MAGIC, 8);
    buf_u32(&w->file, SEGMENT_VERSION);
    buf_u32(&w->file, 0);
    if (!w->content || !w->zip || w->file.failed) {
        segment_writer_free(w);
        return err_set(e, ERR_NOMEM, "segment %s", key);
    }
    *out = w;
    return 0;
}

void segment_writer_level(struct segment_writer *w, int level)
{
    w->level = level < 1 ? 1 : level > SEGMENT_LEVEL_MAX ? SEGMENT_LEVEL_MAX : level;
}

static void put_u32(char *to, uint32_t v)
{
    size_t i;

    for (i = 0; i < 4; i++)
        to[i] = (char)(v >> 8 * i);
}

static void put_u64(char *to, uint64_t v)
{
    put_u32(to, (uint32_t)v);
    put_u32(to + 4, (uint32_t)(v >> 32));
}

static int close_block(struct segment_writer *w, struct err *e)
{
    size_t bound = ZSTD_compressBound(w->block.len), n;
    char *place;

    if (!w->block_records)
        return 0;
    place = buf_reserve(&w->file, SEGMENT_BLOCK_HEADER + bound);
    if (!place)
        return buf_check(&w->file, "segment", e);
    n = ZSTD_compressCCtx(w->zip, place + SEGMENT_BLOCK_HEADER, bound, w->block.data, w->block.len,
                          w->level);
    if (ZSTD_isError(n))
        return err_set(
            e, ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? ERR_NOMEM : ERR_INTERNAL,
            "segment: zstd: %s", ZSTD_getErrorName(n));
    put_u32(place, (uint32_t)w->block.len);
    put_u32(place + 4, (uint32_t)n);
    put_u32(place + 8, w->block_records);
    put_u32(place + 12, 0);
    w->file.len += SEGMENT_BLOCK_HEADER + n;
    sha256_add(w->content, w->block.data, w->block.len);
    w->blocks++;
    w->block_records = 0;
    buf_reset(&w->block);
    return 0;
}

static int check_offset(const struct segment_writer *w, int64_t offset, struct err *e)
{
    if (offset >= w->next && offset < (int64_t)RECORD_INT_MAX)
        return 0;
    return err_set(e, ERR_INTERNAL, "segment: offset %lld, expected %lld or more",
                   (long long)offset, (long long)w->next);
}

static int by_label(const void *a, const void *b)
{
    return segment_label_compare(&((const struct label_count *)a)->label,
                                 &((const struct label_count *)b)->label);
}

/* FNV-1a. Labels that share a slot take it in turn and are searched for in the tree. */
static size_t label_slot(const struct record_label *label)
{
    uint32_t h = 2166136261u;
    const char *s;

    if (!label->text)
        return (size_t)label->number % RECENT;
    for (s = label->text; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return (h ^ h >> 16) % RECENT;
}

static int count_label(struct segment_writer *w, const struct record_label *label, struct err *e)
{
    const struct label_count probe = {.label = *label};
    struct label_count **found, **recent, *own;

    if (!label->text && label->number == RECORD_NO_INT)
        return 0;
    recent = &w->recent[label_slot(label)];
    if (*recent && by_label(*recent, &probe) == 0) {
        (*recent)->count++;
        return 0;
    }
    found = tfind(&probe, &w->labels, by_label);
    if (found) {
        (*found)->count++;
        *recent = *found;
        return 0;
    }
    if (w->label_count == SEGMENT_LABELS_MAX)
        return err_set(e, ERR_LIMIT, "segment: more than %d classes", SEGMENT_LABELS_MAX);
    own = arena_alloc(&w->arena, sizeof *own);
    if (own && label->text)
        own->label.text = arena_strndup(&w->arena, label->text, strlen(label->text));
    else if (own)
        own->label.number = label->number;
    if (!own || (label->text && !own->label.text) || !tsearch(own, &w->labels, by_label))
        return err_set(e, ERR_NOMEM, "segment: classes");
    own->count = 1;
    *recent = own;
    w->label_count++;
    w->label_bytes += label->text ? strlen(label->text) : 20;
    return 0;
}

/* The variable parts of a record. */
struct parts {
    enum segment_kind kind;
    unsigned flags;
    int64_t offset, timestamp_ms, number;
    const struct document_message *m;
    const char *id, *label; /* or code, reason; NULL: none */
};

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static size_t headers_size(const struct document_message *m)
{
    size_t n = 0, i;

    for (i = 0; i < m->header_count; i++)
        n += 8 + strlen(m->headers[i].name) + 1 + m->headers[i].value_len;
    return n;
}

static char *put_bytes(char *to, const void *bytes, size_t n)
{
    if (n)
        memcpy(to, bytes, n);
    return to + n;
}

static char *put_headers(char *to, const struct document_message *m)
{
    size_t i;

    for (i = 0; i < m->header_count; i++) {
        const struct document_header *h = &m->headers[i];
        size_t len = strlen(h->name);

        put_u32(to, (uint32_t)len);
        put_u32(to + 4, h->value ? (uint32_t)h->value_len : SEGMENT_NO_VALUE);
        to = put_bytes(to + 8, h->name, len + 1);
        if (h->value)
            to = put_bytes(to, h->value, h->value_len);
    }
    return to;
}

static char *put_fixed(char *to, const struct parts *p, const struct document_message *m, size_t id,
                       size_t label)
{
    unsigned flags = p->flags | (m->key ? FLAG_KEY : 0u) | (m->value ? FLAG_VALUE : 0u);

    put_u32(to, (uint32_t)p->kind | flags << 8 | (uint32_t)m->header_count << 16);
    put_u64(to + 4, (uint64_t)p->offset);
    put_u64(to + 12, (uint64_t)p->timestamp_ms);
    put_u32(to + 20, m->key ? (uint32_t)m->key_len : 0);
    put_u32(to + 24, m->value ? (uint32_t)m->value_len : 0);
    put_u32(to + 28, (uint32_t)id);
    put_u32(to + 32, (uint32_t)label);
    put_u64(to + 36, (uint64_t)p->number);
    return to + SEGMENT_RECORD;
}

static int put_record(struct segment_writer *w, const struct parts *p, struct err *e)
{
    static const struct document_message nothing;
    const struct document_message *m = p->m ? p->m : &nothing;
    size_t key = m->key ? m->key_len : 0, value = m->value ? m->value_len : 0;
    size_t id = text_size(p->id), label = text_size(p->label);
    struct buf *b = &w->block;
    char *to = buf_reserve(b, SEGMENT_RECORD + key + value + id + label + headers_size(m));

    if (!to)
        return buf_check(b, "segment block", e);
    to = put_fixed(to, p, m, id, label);
    to = put_bytes(to, m->key, key);
    to = put_bytes(to, m->value, value);
    to = put_bytes(to, p->id, id);
    to = put_bytes(to, p->label, label);
    to = put_headers(to, m);
    *to = '\0';
    b->len = (size_t)(to - b->data);
    w->block_records++;
    w->next = p->offset + 1;
    return b->len >= SEGMENT_BLOCK_BYTES ? close_block(w, e) : 0;
}

/* What can't be kept: the caller rejects such a message. */
static int check_message(const struct document_message *m, struct err *e)
{
    size_t i, bytes = 0;

    if (m->header_count > SEGMENT_HEADERS_MAX)
        return err_set(e, ERR_LIMIT, "%zu headers, at most %d", m->header_count,
                       SEGMENT_HEADERS_MAX);
    for (i = 0; i < m->header_count && bytes <= SEGMENT_HEADERS_SIZE; i++)
        bytes += strlen(m->headers[i].name) + m->headers[i].value_len;
    if (bytes > SEGMENT_HEADERS_SIZE)
        return err_set(e, ERR_LIMIT, "headers: more than %zu bytes", SEGMENT_HEADERS_SIZE);
    if (m->key_len > DOCUMENT_BYTES_MAX || m->value_len > DOCUMENT_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%zu bytes, at most %zu", m->value_len, DOCUMENT_BYTES_MAX);
    return 0;
}

static int add_document(struct segment_writer *w, struct parts *p, const struct document *doc,
                        struct err *e)
{
    int rc = count_label(w, &doc->label, e);

    if (rc < 0)
        return rc;
    p->label = doc->label.text;
    if (p->label)
        p->flags |= FLAG_LABEL_TEXT;
    else if (doc->label.number != RECORD_NO_INT) {
        p->flags |= FLAG_LABEL_NUMBER;
        p->number = doc->label.number;
    }
    if (doc->split == SPLIT_EVAL)
        p->flags |= FLAG_EVAL;
    w->documents++;
    return 0;
}

int segment_writer_add(struct segment_writer *w, int64_t offset, int64_t timestamp_ms,
                       const struct document_message *m, enum document_kind kind,
                       const struct document *doc, struct err *e)
{
    struct parts p = {.offset = offset, .timestamp_ms = timestamp_ms, .m = m};
    int rc;

    if ((rc = check_offset(w, offset, e)) < 0 || (rc = check_message(m, e)) < 0)
        return rc;
    if (!segment_writer_fits(w, m->key_len + m->value_len))
        return err_set(e, ERR_LIMIT, "segment: full");
    p.kind = kind == DOCUMENT_PUT         ? SEGMENT_DOCUMENT
             : kind == DOCUMENT_TOMBSTONE ? SEGMENT_TOMBSTONE
                                          : SEGMENT_SEAL;
    if (kind != DOCUMENT_SEAL)
        p.id = doc->id;
    if (kind == DOCUMENT_PUT && (rc = add_document(w, &p, doc, e)) < 0)
        return rc;
    w->tombstones += kind == DOCUMENT_TOMBSTONE;
    w->seals += kind == DOCUMENT_SEAL;
    return put_record(w, &p, e);
}

int segment_writer_reject(struct segment_writer *w, int64_t offset, int64_t timestamp_ms,
                          const struct err *why, struct err *e)
{
    const struct parts p = {.kind = SEGMENT_REJECTED,
                            .offset = offset,
                            .timestamp_ms = timestamp_ms,
                            .id = err_name(why->code),
                            .label = why->text};
    int rc = check_offset(w, offset, e);

    if (rc < 0)
        return rc;
    if (!segment_writer_fits(w, 0))
        return err_set(e, ERR_LIMIT, "segment: full");
    w->rejected++;
    return put_record(w, &p, e);
}

int segment_writer_cover(struct segment_writer *w, int64_t next, struct err *e)
{
    if (next < w->next)
        return err_set(e, ERR_INTERNAL, "segment: covers up to %lld already", (long long)w->next);
    w->next = next;
    return 0;
}

int segment_writer_missing(struct segment_writer *w, int64_t first, int64_t next, struct err *e)
{
    int rc;

    if (next <= first || (rc = check_offset(w, first, e)) < 0)
        return err_set(e, ERR_INTERNAL, "segment: missing [%lld, %lld) after %lld",
                       (long long)first, (long long)next, (long long)w->next);
    if (w->missing_count == SEGMENT_MISSING_MAX)
        return err_set(e, ERR_LIMIT, "segment: too many missing ranges");
    if (!w->missing)
        w->missing = arena_array(&w->arena, SEGMENT_MISSING_MAX, sizeof *w->missing);
    if (!w->missing)
        return err_set(e, ERR_NOMEM, "segment: missing ranges");
    w->missing[w->missing_count++] = (struct offset_range){.first = first, .next = next};
    w->next = next;
    return 0;
}

int segment_writer_close(struct segment_writer *w, struct err *e)
{
    if (w->next != w->name.first)
        return err_set(e, ERR_INTERNAL, "segment: closes its chain, and covers up to %lld",
                       (long long)w->next);
    w->closed = true;
    return 0;
}

void segment_writer_size(const struct segment_writer *w, struct segment_size *out)
{
    out->bytes = w->file.len + w->block.len;
    out->records = (size_t)(w->documents + w->tombstones + w->seals + w->rejected);
    out->first = w->name.first;
    out->next = w->next;
}

/* The footer's size, generously: a label's byte may become six ("\u0001"). */
static size_t footer_bound(const struct segment_writer *w)
{
    return 4096 + 6 * w->label_bytes + 48 * w->label_count + 64 * w->missing_count;
}

bool segment_writer_fits(const struct segment_writer *w, size_t message_bytes)
{
    size_t record = SEGMENT_RECORD + message_bytes + SEGMENT_HEADERS_SIZE +
                    (size_t)SEGMENT_HEADERS_MAX * 16 + DOCUMENT_ID_MAX + DOCUMENT_LABEL_MAX + 4096;
    size_t footer = footer_bound(w) + 6 * DOCUMENT_LABEL_MAX + 48;

    return w->label_count < SEGMENT_LABELS_MAX && footer <= SEGMENT_FOOTER_MAX &&
           w->block.len + record <= SEGMENT_BLOCK_MAX &&
           w->file.len + SEGMENT_BLOCK_HEADER + ZSTD_compressBound(w->block.len + record) + footer +
                   SEGMENT_TRAILER <=
               SEGMENT_BYTES_MAX;
}

/* --- the end
 * ---------------------------------------------------------------------------------------- */

struct collect {
    struct label_count *labels;
    size_t count;
};

static void collect_label(const void *node, VISIT which, void *arg)
{
    struct collect *c = arg;

    if (which == postorder || which == leaf)
        c->labels[c->count++] = **(struct label_count *const *)node;
}

static int put_footer(struct segment_writer *w, const struct collect *c, struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    char hex[SHA256_HEX];
    struct segment_footer f;
    size_t at = w->file.len;
    int rc;

    sha256_end(w->content, digest);
    sha256_hex(digest, hex);
    segment_footer_init(&f);
    f.owner = w->name.owner;
    f.dataset = w->name.dataset;
    f.incarnation = (int64_t)w->name.incarnation;
    f.partition = w->name.partition;
    f.first = w->name.first;
    f.next = w->next;
    f.missing = w->missing;
    f.missing_count = w->missing_count;
    f.documents = w->documents;
    f.tombstones = w->tombstones;
    f.seals = w->seals;
    f.rejected = w->rejected;
    f.labels = c->labels;
    f.label_count = c->count;
    f.content_sha256 = hex;
    f.schema = 1;
    f.nonce = w->nonce;
    f.created_ms = w->created_ms;
    f.closed = w->closed;
    if ((rc = segment_footer_write(&f, RECORD_JSON, &w->file, e)) < 0)
        return rc;
    buf_u64(&w->file, at);
    buf_u32(&w->file, (uint32_t)(w->file.len - 8 - at));
    buf_u32(&w->file, w->blocks);
    return 0;
}

int segment_writer_finish(struct segment_writer *w, struct buf *out, char sha256_out[SHA256_HEX],
                          struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    struct collect c = {NULL, 0};
    struct sha256 inner, whole; /* one begins as the other */
    int rc;

    if (w->next == w->name.first && !w->closed)
        return err_set(e, ERR_USAGE, "segment: covers no offset");
    if ((rc = close_block(w, e)) < 0)
        return rc;
    c.labels = arena_array(&w->arena, w->label_count + 1, sizeof *c.labels);
    if (!c.labels)
        return err_set(e, ERR_NOMEM, "segment: classes");
    twalk_r(w->labels, collect_label, &c);
    if ((rc = put_footer(w, &c, e)) < 0)
        return rc;
    sha256_init(&inner);
    sha256_add(&inner, w->file.data, w->file.len);
    whole = inner;
    sha256_end(&inner, digest);
    buf_add(&w->file, digest, sizeof digest);
    buf_add(&w->file, SEGMENT_END, 8);
    if ((rc = buf_check(&w->file, "segment", e)) < 0)
        return rc;
    sha256_add(&whole, digest, sizeof digest);
    sha256_add(&whole, SEGMENT_END, 8);
    sha256_end(&whole, digest);
    sha256_hex(digest, sha256_out);
    if (out->len > 0) {
        buf_add(out, w->file.data, w->file.len);
        return buf_check(out, "segment", e);
    }
    buf_release(out); /* given away: a copy would be as large as the file */
    *out = w->file;
    buf_init(&w->file, SEGMENT_BYTES_MAX);
    return 0;
}
