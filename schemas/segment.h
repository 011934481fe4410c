/*
 * The segment file: offsets [first, next) of one partition. It keeps each
 * accepted record's original key, value, headers and timestamp with the decoded
 * id and label beside them, each rejection's offset and reason, and a footer.
 * The closing segment of a chain covers no offset: next = first, and none follows.
 * Layout byte by byte: docs/formats.md. A segment is at most SEGMENT_BYTES_MAX
 * (it is created by one conditional PUT).
 *
 * A writer or reader belongs to one thread. The reader borrows the bytes and
 * holds one decompressed block at a time.
 */
#ifndef SCHEMAS_SEGMENT_H
#define SCHEMAS_SEGMENT_H

#include "platform/base/sha256.h"
#include "schemas/document.h"
#include "schemas/keys.h"
#include "schemas/record.h"
#include "schemas/snapshot.h"

#define SEGMENT_BYTES_MAX   ((size_t)64 << 20)
#define SEGMENT_VERSION     1
#define SEGMENT_BLOCK_BYTES ((size_t)1 << 20) /* a block is closed once it holds so much */
#define SEGMENT_LEVEL       1                 /* of zstd */
#define SEGMENT_LEVEL_MAX   19
#define SEGMENT_BLOCK_MAX   ((size_t)33 << 20) /* decompressed; readers refuse more */

/* The footer; JSON in the file. */
struct segment_footer {
    struct record_extra extra;
    const char *owner, *dataset;
    int64_t incarnation, partition;
    int64_t first, next; /* next = last consumed record + 1 */
    const struct offset_range *missing;
    size_t missing_count;
    int64_t documents, tombstones, seals, rejected;
    const struct label_count *labels; /* sorted: integers, then strings */
    size_t label_count;
    const char *content_sha256; /* of the decompressed blocks, in order */
    int64_t schema;             /* version of the document schema */
    const char *nonce;          /* of the writer */
    int64_t created_ms;
    bool closed; /* the chain ends here; if and only if next = first */
};
RECORD_DECLARE(segment_footer);

enum segment_kind { SEGMENT_DOCUMENT, SEGMENT_TOMBSTONE, SEGMENT_SEAL, SEGMENT_REJECTED };

struct segment_record {
    enum segment_kind kind;
    int64_t offset, timestamp_ms;
    struct document_message message; /* as it came; all absent for a rejection */
    /* decoded columns of documents and tombstones; NUL-terminated */
    const char *id;
    struct record_label label; /* documents */
    int split;                 /* enum document_split */
    /* rejections */
    const char *code;   /* err_name: "FORMAT" */
    const char *reason; /* one line */
};

struct segment_writer;
int segment_writer_new(struct segment_writer **out, const struct segment_name *name,
                       const char *nonce, int64_t created_ms, struct err *e);
void segment_writer_free(struct segment_writer *w); /* accepts NULL */

/* zstd's level for the blocks from now on, 1 to SEGMENT_LEVEL_MAX; a new writer has SEGMENT_LEVEL.
 */
void segment_writer_level(struct segment_writer *w, int level);

/* Copies. `doc` is what document_admit gave, of that kind; `offset` must be >= next. ERR_LIMIT: its
 * headers are too many or too large (reject the message), or the segment is full (ask
 * segment_writer_fits first). */
int segment_writer_add(struct segment_writer *w, int64_t offset, int64_t timestamp_ms,
                       const struct document_message *m, enum document_kind kind,
                       const struct document *doc, struct err *e);
/* `why` is the error of document_admit. ERR_LIMIT: the segment is full. */
int segment_writer_reject(struct segment_writer *w, int64_t offset, int64_t timestamp_ms,
                          const struct err *why, struct err *e);
/* Offsets up to `next` hold nothing for us (transaction markers, compaction). */
int segment_writer_cover(struct segment_writer *w, int64_t next, struct err *e);
/* Offsets [first, next) are no longer retained; also covers them. */
int segment_writer_missing(struct segment_writer *w, int64_t first, int64_t next, struct err *e);
/* It is the closing segment of its chain, and takes nothing. */
int segment_writer_close(struct segment_writer *w, struct err *e);

/* For rotation: bytes so far (compressed blocks + the open one), records, the range. */
struct segment_size {
    size_t bytes, records;
    int64_t first, next;
};
void segment_writer_size(const struct segment_writer *w, struct segment_size *out);
/* Would a message of that size still fit? Cut before adding when not. */
bool segment_writer_fits(const struct segment_writer *w, size_t message_bytes);

/* Appends the file to `out` (max >= SEGMENT_BYTES_MAX); the writer can only be freed afterwards. */
int segment_writer_finish(struct segment_writer *w, struct buf *out, char sha256[SHA256_HEX],
                          struct err *e);

struct segment_reader;
/* Checks magic, version, lengths, footer and the file's hash. `bytes` outlives the reader. */
int segment_reader_new(struct segment_reader **out, const void *bytes, size_t n, struct err *e);
void segment_reader_free(struct segment_reader *r); /* accepts NULL */
const struct segment_footer *segment_reader_footer(const struct segment_reader *r);
/* 1: *out is the next record (valid until the next call), 0: the end, < 0. In offset order. */
int segment_reader_next(struct segment_reader *r, struct segment_record *out, struct err *e);

/* Does the footer say the same as the key it was found under? ERR_FORMAT. */
int segment_footer_check(const struct segment_footer *f, const struct segment_name *name,
                         struct err *e);

#endif
