#include "platform/blob/s3_multipart.h"

#include <string.h>

#include "platform/blob/s3_xml.h"
#include "platform/clock/clock.h"

#define PARTS_MAX      10000 /* S3's own */
#define COMPLETE_TRIES 4     /* answers 200 that carry an error */

struct upload {
    struct s3_client *client;
    const char *key;
    const struct blob_source *source;
    uint64_t part;
    struct buf id;    /* percent-encoded */
    struct buf parts; /* the list that completes the upload */
};

static int start(struct upload *u, struct err *e)
{
    struct s3_request r = {.method = "POST", .key = u->key, .query = "uploads="};
    struct s3_reply reply;
    struct buf id;
    int rc;

    s3_reply_init(&reply);
    buf_init(&id, 4096);
    rc = s3_send(u->client, &r, &reply, e);
    if (rc == 0)
        rc = s3_field_parse(reply.body.data ? reply.body.data : "", reply.body.len, "UploadId", &id,
                            e);
    if (rc == 0) {
        blob_percent(&u->id, id.data, false);
        rc = buf_check(&u->id, "an upload's id", e);
    }
    buf_release(&id);
    s3_reply_release(&reply);
    return rc;
}

static int send_part(struct upload *u, int number, uint64_t offset, uint64_t size, struct err *e)
{
    struct s3_request r = {
        .method = "PUT", .key = u->key, .source = u->source, .offset = offset, .size = size};
    struct s3_reply reply;
    struct buf query;
    int rc;

    s3_reply_init(&reply);
    buf_init(&query, 16384);
    buf_printf(&query, "partNumber=%d&uploadId=%s", number, u->id.data);
    r.query = query.data;
    rc = buf_check(&query, "an upload's id", e);
    if (rc == 0)
        rc = s3_send(u->client, &r, &reply, e);
    if (rc == 0 && (!reply.etag[0] || strpbrk(reply.etag, "<>&")))
        rc = err_set(e, ERR_PEER, "part %d of %s: the server gave no usable ETag", number, u->key);
    if (rc == 0)
        buf_printf(&u->parts, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number,
                   reply.etag);
    buf_release(&query);
    s3_reply_release(&reply);
    return rc;
}

/* 200 may be sent before the work is done: its body can be an error. ERR_NOT_FOUND when the upload
 * is gone, which after a lost answer means that it may have been completed. */
static int complete(struct upload *u, struct err *e)
{
    struct s3_request r = {.method = "POST", .key = u->key};
    struct clock *clock = s3_client_clock(u->client);
    char code[64] = "", message[256] = "";
    struct blob_source body;
    struct s3_reply reply;
    struct buf query;
    int i, rc;

    s3_reply_init(&reply);
    buf_init(&query, 16384);
    buf_printf(&query, "uploadId=%s", u->id.data);
    if ((rc = buf_check(&query, "an upload's id", e)) < 0 ||
        (rc = buf_check(&u->parts, "the list of parts", e)) < 0)
        goto done;
    source_memory(&body, u->parts.data, u->parts.len);
    r.query = query.data;
    r.source = &body;
    r.size = body.size;
    for (i = 0; i < COMPLETE_TRIES; i++) {
        rc = s3_send(u->client, &r, &reply, e);
        if (rc < 0 ||
            !s3_error_parse(reply.body.data ? reply.body.data : "", reply.body.len, code, message))
            break;
        rc = err_set(e, ERR_PEER, "%s: completing the upload: %s %s", u->key, code, message);
        clock_sleep_ms(clock, clock_backoff_ms(clock, i, 200, 5000));
    }
done:
    buf_release(&query);
    s3_reply_release(&reply);
    return rc;
}

static void give_up(struct upload *u)
{
    struct s3_request r = {.method = "DELETE", .key = u->key};
    struct err ignored = ERR_INIT;
    struct s3_reply reply;
    struct buf query;

    s3_reply_init(&reply);
    buf_init(&query, 16384);
    buf_printf(&query, "uploadId=%s", u->id.data);
    r.query = query.data;
    if (!query.failed)
        s3_send(u->client, &r, &reply, &ignored); /* the first error is the one to report */
    buf_release(&query);
    s3_reply_release(&reply);
}

static int in_parts(struct s3_client *c, const char *key, const struct blob_source *source,
                    struct err *e)
{
    uint64_t least = (source->size + PARTS_MAX - 1) / PARTS_MAX, offset, n;
    struct upload u = {.client = c, .key = key, .source = source};
    int number, rc;

    u.part = s3_client_part_bytes(c) > least ? s3_client_part_bytes(c) : least;
    buf_init(&u.id, 12288);
    buf_init(&u.parts, (size_t)PARTS_MAX * 320);
    rc = start(&u, e);
    if (rc < 0)
        goto done;
    buf_str(&u.parts, "<CompleteMultipartUpload>");
    for (offset = 0, number = 1; offset < source->size && rc == 0; offset += n, number++) {
        n = source->size - offset < u.part ? source->size - offset : u.part;
        rc = send_part(&u, number, offset, n, e);
    }
    buf_str(&u.parts, "</CompleteMultipartUpload>");
    if (rc == 0)
        rc = complete(&u, e);
    if (rc < 0)
        give_up(&u);
done:
    buf_release(&u.id);
    buf_release(&u.parts);
    return rc;
}

int s3_upload(struct s3_client *c, const char *key, const struct blob_source *source, struct err *e)
{
    struct s3_request r = {.method = "PUT", .key = key, .source = source, .size = source->size};
    struct s3_reply reply;
    int rc;

    if (source->size > s3_client_part_bytes(c)) {
        rc = in_parts(c, key, source, e);
        /* The upload vanished: a lost answer had completed it, or the server dropped it. Which of
         * the two cannot be told, so everything is sent once more. */
        return rc == ERR_NOT_FOUND ? in_parts(c, key, source, e) : rc;
    }
    s3_reply_init(&reply);
    rc = s3_send(c, &r, &reply, e);
    s3_reply_release(&reply);
    return rc;
}
