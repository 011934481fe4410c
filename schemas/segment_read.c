#include "schemas/segment.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "schemas/segment_int.h"

struct segment_reader {
    const unsigned char *bytes;         /* borrowed */
    size_t at, blocks_end;              /* of the blocks that are left */
    uint32_t blocks_left, records_left; /* records: in the block */
    unsigned char *block;               /* decompressed */
    size_t block_cap, block_len, block_at;
    ZSTD_DCtx *zip; /* from the first block on: who reads a footer needs none */
    struct sha256 *content;
    struct arena arena; /* the footer */
    struct segment_footer footer;
    bool ended;   /* the end was reached and checked */
    int64_t next; /* the smallest offset that may come */
    int64_t counts[SEGMENT_REJECTED + 1];
    struct document_header headers[SEGMENT_HEADERS_MAX];
};

static uint32_t u32_at(const unsigned char *s)
{
    return (uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
}

static uint64_t u64_at(const unsigned char *s)
{
    return u32_at(s) | (uint64_t)u32_at(s + 4) << 32;
}

static int broken(const char *why, size_t at, struct err *e)
{
    return err_set(e, ERR_FORMAT, "segment: %s (offset %zu)", why, at);
}

void segment_reader_free(struct segment_reader *r)
{
    if (!r)
        return;
    free(r->block);
    ZSTD_freeDCtx(r->zip);
    sha256_free(r->content);
    arena_release(&r->arena);
    free(r);
}

/* Magic, version, lengths and the file's hash. */
static int check_file(const unsigned char *s, size_t n, uint64_t *footer_at, uint32_t *footer_len,
                      struct err *e)
{
    const unsigned char *trailer;
    unsigned char digest[SHA256_SIZE];

    if (n > SEGMENT_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "segment: %zu bytes, at most %zu", n, SEGMENT_BYTES_MAX);
    if (n < SEGMENT_HEADER + SEGMENT_TRAILER || memcmp(s, SEGMENT_MAGIC, 8) != 0)
        return broken("not a segment file", 0, e);
    trailer = s + n - SEGMENT_TRAILER;
    if (u32_at(s + 8) != SEGMENT_VERSION)
        return err_set(e, ERR_UNSUPPORTED, "segment: version %u, this program reads %d",
                       u32_at(s + 8), SEGMENT_VERSION);
    if (memcmp(s + n - 8, SEGMENT_END, 8) != 0)
        return broken("cut short: no end mark", n - 8, e);
    sha256(s, n - 8 - SHA256_SIZE, digest);
    if (memcmp(digest, trailer + SEGMENT_HASHED, SHA256_SIZE) != 0)
        return broken("damaged: its SHA-256 differs", n - 8 - SHA256_SIZE, e);
    *footer_at = u64_at(trailer);
    *footer_len = u32_at(trailer + 8);
    if (*footer_len > SEGMENT_FOOTER_MAX || *footer_at < SEGMENT_HEADER ||
        *footer_at > n - SEGMENT_TRAILER || *footer_len != n - SEGMENT_TRAILER - *footer_at)
        return broken("the footer's place is wrong", n - SEGMENT_TRAILER, e);
    return 0;
}

int segment_reader_new(struct segment_reader **out, const void *bytes, size_t n, struct err *e)
{
    struct segment_reader *r;
    uint64_t footer_at = 0;
    uint32_t footer_len = 0;
    int rc;

    *out = NULL;
    if ((rc = check_file(bytes, n, &footer_at, &footer_len, e)) < 0)
        return rc;
    r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_NOMEM, "segment");
    r->bytes = bytes;
    r->at = SEGMENT_HEADER;
    r->blocks_end = (size_t)footer_at;
    r->blocks_left = u32_at(r->bytes + n - SEGMENT_TRAILER + 12);
    arena_init(&r->arena, (size_t)256 << 20);
    r->content = sha256_new();
    if (!r->content) {
        rc = err_set(e, ERR_NOMEM, "segment");
        goto fail;
    }
    rc = segment_footer_read(&r->arena, r->bytes + footer_at, footer_len, RECORD_JSON, &r->footer,
                             e);
    if (rc < 0) {
        err_wrap(e, "segment: footer");
        goto fail;
    }
    r->next = r->footer.first;
    *out = r;
    return 0;
fail:
    segment_reader_free(r);
    return rc;
}

const struct segment_footer *segment_reader_footer(const struct segment_reader *r)
{
    return &r->footer;
}

/* Behind the last block: do the records agree with the footer? */
static int check_end(struct segment_reader *r, struct err *e)
{
    unsigned char digest[SHA256_SIZE];
    char hex[SHA256_HEX];

    if (r->at != r->blocks_end)
        return broken("bytes between the last block and the footer", r->at, e);
    sha256_end(r->content, digest);
    sha256_hex(digest, hex);
    if (strcmp(hex, r->footer.content_sha256) != 0)
        return broken("the content's SHA-256 differs from the footer's", r->at, e);
    if (r->counts[SEGMENT_DOCUMENT] != r->footer.documents ||
        r->counts[SEGMENT_TOMBSTONE] != r->footer.tombstones ||
        r->counts[SEGMENT_SEAL] != r->footer.seals ||
        r->counts[SEGMENT_REJECTED] != r->footer.rejected)
        return broken("the records' number differs from the footer's", r->at, e);
    r->ended = true;
    return 0;
}

static int make_room(struct segment_reader *r, size_t n, struct err *e)
{
    unsigned char *grown;

    if (n <= r->block_cap)
        return 0;
    grown = realloc(r->block, n);
    if (!grown)
        return err_set(e, ERR_NOMEM, "segment: a block of %zu bytes", n);
    r->block = grown;
    r->block_cap = n;
    return 0;
}

static int open_block(struct segment_reader *r, struct err *e)
{
    const unsigned char *s = r->bytes + r->at;
    size_t left = r->blocks_end - r->at, raw, zipped, n;
    int rc;

    if (left < SEGMENT_BLOCK_HEADER)
        return broken("a block is missing", r->at, e);
    raw = u32_at(s);
    zipped = u32_at(s + 4);
    r->records_left = u32_at(s + 8);
    if (zipped > left - SEGMENT_BLOCK_HEADER || raw > SEGMENT_BLOCK_MAX || raw < SEGMENT_RECORD ||
        !r->records_left || r->records_left > raw / SEGMENT_RECORD)
        return broken("a block's lengths are wrong", r->at, e);
    s += SEGMENT_BLOCK_HEADER;
    if (ZSTD_getFrameContentSize(s, zipped) != raw)
        return broken("a zstd frame of another size", r->at, e);
    if ((rc = make_room(r, raw, e)) < 0)
        return rc;
    if (!r->zip && !(r->zip = ZSTD_createDCtx()))
        return err_set(e, ERR_NOMEM, "segment: decompressing a block");
    n = ZSTD_decompressDCtx(r->zip, r->block, raw, s, zipped);
    if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
        return err_set(e, ERR_NOMEM, "segment: decompressing a block");
    if (ZSTD_isError(n) || n != raw)
        return broken("a block can't be decompressed", r->at, e);
    sha256_add(r->content, r->block, raw);
    r->block_len = raw;
    r->block_at = 0;
    r->at += SEGMENT_BLOCK_HEADER + zipped;
    r->blocks_left--;
    return 0;
}

/* The next `n` bytes of the block, or NULL. */
static const void *take(struct segment_reader *r, size_t n)
{
    const void *p = r->block + r->block_at;

    if (n > r->block_len - r->block_at)
        return NULL;
    r->block_at += n;
    return p;
}

/* Text with its NUL in `n` bytes: none inside, one at the end. */
static const char *take_text(struct segment_reader *r, size_t n)
{
    const char *s = take(r, n);

    return s && n && memchr(s, 0, n) == s + n - 1 ? s : NULL;
}

static bool take_headers(struct segment_reader *r, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        struct document_header *h = &r->headers[i];
        const unsigned char *s = take(r, 8);
        uint32_t value_len;

        if (!s)
            return false;
        value_len = u32_at(s + 4);
        if (!(h->name = take_text(r, (size_t)u32_at(s) + 1)))
            return false;
        h->value = NULL;
        h->value_len = 0;
        if (value_len == SEGMENT_NO_VALUE)
            continue;
        h->value_len = value_len;
        if (!(h->value = take(r, value_len)))
            return false;
    }
    return true;
}

/* Key, value, id and label behind the fixed part `s`. */
static bool take_parts(struct segment_reader *r, const unsigned char *s, struct segment_record *out)
{
    uint32_t key_len = u32_at(s + 20), value_len = u32_at(s + 24), id_len = u32_at(s + 28),
             label_len = u32_at(s + 32);
    unsigned flags = s[1];
    const char *id = NULL, *label = NULL;
    const void *key = take(r, key_len), *value;

    if (!key || !(value = take(r, value_len)) || (id_len && !(id = take_text(r, id_len))) ||
        (label_len && !(label = take_text(r, label_len))))
        return false;
    if (flags & FLAG_KEY) {
        out->message.key = key;
        out->message.key_len = key_len;
    }
    if (flags & FLAG_VALUE) {
        out->message.value = value;
        out->message.value_len = value_len;
    }
    out->label.number = RECORD_NO_INT;
    if (out->kind == SEGMENT_REJECTED) {
        out->code = id;
        out->reason = label;
        return id && label;
    }
    out->id = id;
    if (flags & FLAG_LABEL_TEXT)
        out->label.text = label;
    else if (flags & FLAG_LABEL_NUMBER)
        out->label.number = (int64_t)u64_at(s + 36);
    out->split = flags & FLAG_EVAL ? SPLIT_EVAL : SPLIT_TRAIN;
    return (id != NULL) == (out->kind != SEGMENT_SEAL) &&
           (label != NULL) == ((flags & FLAG_LABEL_TEXT) != 0);
}

static int take_record(struct segment_reader *r, struct segment_record *out, struct err *e)
{
    const unsigned char *s = take(r, SEGMENT_RECORD);
    size_t headers;

    memset(out, 0, sizeof *out);
    if (!s || s[0] > SEGMENT_REJECTED)
        return broken("a record is cut or of an unknown kind", r->at, e);
    headers = (size_t)s[2] | (size_t)s[3] << 8;
    out->kind = (enum segment_kind)s[0];
    out->offset = (int64_t)u64_at(s + 4);
    out->timestamp_ms = (int64_t)u64_at(s + 12);
    if (out->offset < r->next || out->offset >= r->footer.next)
        return broken("a record's offset is out of order", r->at, e);
    if (headers > SEGMENT_HEADERS_MAX || !take_parts(r, s, out) || !take_headers(r, headers))
        return broken("a record's lengths are wrong", r->at, e);
    out->message.headers = r->headers;
    out->message.header_count = headers;
    r->next = out->offset + 1;
    r->counts[out->kind]++;
    return 0;
}

int segment_reader_next(struct segment_reader *r, struct segment_record *out, struct err *e)
{
    int rc;

    if (r->ended)
        return 0;
    if (!r->records_left) {
        if (r->block_at != r->block_len)
            return broken("bytes behind a block's records", r->at, e);
        if (!r->blocks_left)
            return check_end(r, e);
        if ((rc = open_block(r, e)) < 0)
            return rc;
    }
    if ((rc = take_record(r, out, e)) < 0)
        return rc;
    r->records_left--;
    return 1;
}

int segment_footer_check(const struct segment_footer *f, const struct segment_name *name,
                         struct err *e)
{
    if (!strcmp(f->owner, name->owner) && !strcmp(f->dataset, name->dataset) &&
        (uint64_t)f->incarnation == name->incarnation && f->partition == name->partition &&
        f->first == name->first)
        return 0;
    return err_set(e, ERR_FORMAT, "segment: the footer says %s/%s %lld/%lld from %lld, not its key",
                   f->owner, f->dataset, (long long)f->incarnation, (long long)f->partition,
                   (long long)f->first);
}
