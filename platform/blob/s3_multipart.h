/*
 * Uploads that overwrite: a single PUT up to the client's part_bytes, above it
 * in parts, one at a time, each read by pread and signed with its own hash. A
 * failed upload is aborted, so that its parts don't stay on the bill.
 */
#ifndef PLATFORM_BLOB_S3_MULTIPART_H
#define PLATFORM_BLOB_S3_MULTIPART_H

#include "platform/base/err.h"
#include "platform/blob/ends.h"
#include "platform/blob/s3_http.h"

int s3_upload(struct s3_client *c, const char *key, const struct blob_source *source,
              struct err *e);

#endif
