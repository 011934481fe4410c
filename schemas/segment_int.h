/*
 * Inside of the segment codec: the layout that docs/formats.md describes. All
 * integers are little-endian.
 *
 *   header   magic[8] version:u32 zero:u32
 *   blocks   raw:u32 zipped:u32 records:u32 zero:u32, then `zipped` bytes: one zstd frame
 *   footer   JSON
 *   trailer  footer at:u64 footer bytes:u32 blocks:u32 sha256[32] magic[8]
 *
 * The SHA-256 is of all bytes before it.
 */
#ifndef SCHEMAS_SEGMENT_INT_H
#define SCHEMAS_SEGMENT_INT_H

#include "schemas/segment.h"

#define SEGMENT_MAGIC        "TLSEGMNT"
#define SEGMENT_END          "TLSEGEND"
#define SEGMENT_HEADER       16
#define SEGMENT_BLOCK_HEADER 16
#define SEGMENT_HASHED       16 /* bytes of the trailer before the hash */
#define SEGMENT_TRAILER      (SEGMENT_HASHED + SHA256_SIZE + 8)
#define SEGMENT_FOOTER_MAX   ((size_t)24 << 20)
#define SEGMENT_LABELS_MAX   50000
#define SEGMENT_MISSING_MAX  10000

/* A record's fixed part. */
#define SEGMENT_RECORD       44
#define SEGMENT_HEADERS_MAX  256
#define SEGMENT_HEADERS_SIZE ((size_t)1 << 20) /* names and values */
#define SEGMENT_NO_VALUE     UINT32_MAX

enum segment_flag { /* of a record */
                    FLAG_KEY = 1,
                    FLAG_VALUE = 2,
                    FLAG_LABEL_TEXT = 4,
                    FLAG_LABEL_NUMBER = 8,
                    FLAG_EVAL = 16
};

int segment_label_compare(const struct record_label *a, const struct record_label *b);

#endif
