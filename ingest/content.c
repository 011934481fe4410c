/*
 * What a document's uris name: each object's size and SHA-256 go beside the
 * document as a header, so that a run can tell later whether it reads the same
 * bytes. Format: "<sha256> <size> <key>", one header per uri, in their order.
 */
#include "ingest/ingest_int.h"

#include <stdio.h>
#include <string.h>

/* A uri of one's own bucket only: another bucket's object would be read from ours. */
static int check_bucket(const struct ingest *in, const char *owner, const char *uri,
                        const char **key, struct err *e)
{
    if (key_of_uri(uri, in->o.bucket, owner, key))
        return 0;
    return err_set(e, ERR_FORMAT, "uri: '%.120s' is not an object of bucket %s under owners/%s/",
                   uri, in->o.bucket ? in->o.bucket : "(any)", owner);
}

static int hash_object(struct ingest *in, const char *key, uint64_t *size, char hash[SHA256_HEX],
                       struct err *e)
{
    struct buf bytes;
    int rc;

    if ((rc = blob_head(in->p.blob, key, size, e)) < 0)
        return err_wrap(e, "uri: %s", key);
    if (*size > (uint64_t)in->o.uri_bytes)
        return err_set(e, ERR_LIMIT, "uri: %s has %llu bytes, at most %lld are allowed", key,
                       (unsigned long long)*size, (long long)in->o.uri_bytes);
    buf_init(&bytes, (size_t)in->o.uri_bytes);
    rc = blob_get(in->p.blob, key, &bytes, e);
    if (rc == 0) {
        *size = bytes.len;
        sha256_of(bytes.data, bytes.len, hash);
    }
    buf_release(&bytes);
    return rc < 0 ? err_wrap(e, "uri: %s", key) : 0;
}

static int record_one(struct ingest *in, const char *owner, const char *uri,
                      struct document_header *to, struct err *e)
{
    char hash[SHA256_HEX], *text;
    const char *key;
    size_t room;
    uint64_t size;
    int rc;

    if ((rc = check_bucket(in, owner, uri, &key, e)) < 0 ||
        (rc = hash_object(in, key, &size, hash, e)) < 0)
        return rc;
    room = strlen(hash) + strlen(key) + 32;
    if (!(text = arena_alloc(&in->arena, room)))
        return err_set(e, ERR_LIMIT, "uri: a document that decodes to too many bytes");
    snprintf(text, room, "%s %llu %s", hash, (unsigned long long)size, key);
    *to = (struct document_header){HEADER_URI, text, strlen(text)};
    return 0;
}

int content_record(struct ingest *in, const char *owner, const struct document *doc,
                   struct document_header *headers, size_t *count, size_t max, struct err *e)
{
    size_t i;
    int rc;

    if (doc->uri && *count < max) {
        if ((rc = record_one(in, owner, doc->uri, &headers[*count], e)) < 0)
            return rc;
        ++*count;
    }
    for (i = 0; i < doc->part_count && *count < max; i++) {
        if (!doc->parts[i].uri)
            continue;
        if ((rc = record_one(in, owner, doc->parts[i].uri, &headers[*count], e)) < 0)
            return rc;
        ++*count;
    }
    return 0;
}
