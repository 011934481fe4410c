/*
 * The few XML answers of an S3 server: a page of a listing, an error, a single
 * field. They come from outside: no entities beyond XML's own five, no DTD, no
 * network, bounded by the caller's size.
 *
 * A page owns its keys: s3_page_release, which accepts a zeroed one. Any thread.
 */
#ifndef PLATFORM_BLOB_S3_XML_H
#define PLATFORM_BLOB_S3_XML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"
#include "platform/blob/blob.h"

struct s3_object {
    char *key;
    uint64_t size;
};

struct s3_page {
    struct s3_object *objects;
    size_t count, cap;
    bool truncated;
    char *token; /* continues the listing; NULL: none given */
};

/* A ListBucketResult (version 2). Folder markers and the like are left out. */
int s3_page_parse(const char *xml, size_t n, struct s3_page *page, struct err *e);
void s3_page_release(struct s3_page *page);

/* Adds an object, unless its name is no well-formed key. */
int s3_page_add(struct s3_page *page, const char *key, uint64_t size, struct err *e);

/* Calls `each` for the objects wanted: what the server was asked to leave out is left out here
 * too, since not all servers do it right. */
int s3_page_each(const struct s3_page *page, const char *prefix, const char *after,
                 blob_each_fn each, void *arg);

/* <Error><Code/><Message/></Error> anywhere at the root; false: this is no error document. */
bool s3_error_parse(const char *xml, size_t n, char code[64], char message[256]);

/* The text of `field` below the root: UploadId, ETag. ERR_PEER when it isn't there. */
int s3_field_parse(const char *xml, size_t n, const char *field, struct buf *to, struct err *e);

#endif
