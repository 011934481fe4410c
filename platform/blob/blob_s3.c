#include "platform/blob/blob.h"

#include <stdlib.h>
#include <string.h>

#include "platform/blob/ends.h"
#include "platform/blob/s3_http.h"
#include "platform/blob/s3_multipart.h"
#include "platform/blob/s3_xml.h"
#include "platform/clock/clock.h"

#define CREATE_ROUNDS 16 /* creates that lost against an object that was gone a moment later */

struct s3 {
    struct blob blob;
    struct s3_client *client;
};

static struct s3_client *client_of(struct blob *b)
{
    return ((struct s3 *)b)->client;
}

static int fetch(struct s3_client *c, const char *key, struct blob_sink *sink, bool endless,
                 int64_t give_up_ms, struct err *e)
{
    struct s3_request r = {
        .method = "GET", .key = key, .sink = sink, .endless = endless, .give_up_ms = give_up_ms};
    struct s3_reply reply;
    int rc;

    s3_reply_init(&reply);
    rc = s3_send(c, &r, &reply, e);
    s3_reply_release(&reply);
    return rc;
}

static int s3_get(struct blob *b, const char *key, struct buf *out, struct err *e)
{
    struct sink_buf sink;
    int rc = blob_key_check(key, e);

    sink_buf_init(&sink, out, key);
    return rc < 0 ? rc : fetch(client_of(b), key, &sink.sink, false, 0, e);
}

static int s3_get_file(struct blob *b, const char *key, const char *path, char sha256[SHA256_HEX],
                       struct err *e)
{
    struct sink_file sink;
    int rc = blob_key_check(key, e);

    sink_file_init(&sink, path);
    if (rc == 0)
        rc = fetch(client_of(b), key, &sink.sink, true, 0, e);
    if (rc == 0)
        rc = sink_file_end(&sink, sha256, e);
    sink_file_release(&sink);
    return rc;
}

static int s3_put(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    struct blob_source source;
    int rc = blob_key_check(key, e);

    source_memory(&source, bytes, n);
    return rc < 0 ? rc : s3_upload(client_of(b), key, &source, e);
}

static int s3_put_file(struct blob *b, const char *key, const char *path, struct err *e)
{
    struct blob_source source;
    int rc = blob_key_check(key, e);

    if (rc < 0)
        return rc;
    rc = source_file(&source, path, e);
    if (rc == 0)
        rc = s3_upload(client_of(b), key, &source, e);
    source_release(&source);
    return rc;
}

/* The object is there: is it the one we wrote before its answer was lost? */
static int compare(struct s3_client *c, const char *key, const void *bytes, size_t n,
                   int64_t give_up_ms, struct err *e)
{
    struct sink_same sink;
    int rc;

    sink_same_init(&sink, bytes, n, key);
    rc = fetch(c, key, &sink.sink, false, give_up_ms, e);
    return rc < 0 ? rc : sink_same_end(&sink, e);
}

static int s3_create(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    struct s3_client *c = client_of(b);
    struct clock *clock = s3_client_clock(c);
    struct s3_request r = {.method = "PUT", .key = key, .if_absent = true, .size = n};
    struct blob_source source;
    struct s3_reply reply;
    int i, rc = blob_key_check(key, e);

    if (rc < 0)
        return rc;
    if (n > BLOB_CREATE_MAX)
        return err_set(e, ERR_LIMIT, "%s: %zu bytes, a conditional object has at most %zu", key, n,
                       BLOB_CREATE_MAX);
    source_memory(&source, bytes, n);
    r.source = &source;
    r.give_up_ms = s3_client_give_up(c);
    s3_reply_init(&reply);
    for (i = 0; i < CREATE_ROUNDS; i++) {
        rc = s3_send(c, &r, &reply, e);
        if (rc == ERR_EXISTS)
            rc = compare(c, key, bytes, n, r.give_up_ms, e);
        else
            break;
        if (rc != ERR_NOT_FOUND)
            break;
        rc = err_set(e, ERR_PEER, "%s: exists and does not, by turns", key);
        clock_sleep_ms(clock, clock_backoff_ms(clock, i, 50, 1000));
    }
    s3_reply_release(&reply);
    return rc;
}

static int s3_head(struct blob *b, const char *key, uint64_t *size, struct err *e)
{
    struct s3_request r = {.method = "HEAD", .key = key};
    struct s3_reply reply;
    int rc = blob_key_check(key, e);

    if (rc < 0)
        return rc;
    s3_reply_init(&reply);
    rc = s3_send(client_of(b), &r, &reply, e);
    if (rc == 0 && size)
        *size = reply.length;
    s3_reply_release(&reply);
    return rc;
}

static void add_parameter(struct buf *query, const char *name, const char *value)
{
    if (query->len)
        buf_char(query, '&');
    buf_printf(query, "%s=", name);
    blob_percent(query, value, false);
}

/* One page; the parameters in the order that the signature wants: by name. */
static int list_page(struct s3_client *c, const char *prefix, const char *after, const char *token,
                     struct s3_page *page, struct err *e)
{
    struct s3_request r = {.method = "GET"};
    struct s3_reply reply;
    struct buf query;
    int rc;

    buf_init(&query, 32768);
    if (token)
        add_parameter(&query, "continuation-token", token);
    add_parameter(&query, "encoding-type", "url");
    add_parameter(&query, "list-type", "2");
    add_parameter(&query, "max-keys", "1000");
    add_parameter(&query, "prefix", prefix);
    if (after && !token)
        add_parameter(&query, "start-after", after);
    r.query = query.data;
    s3_reply_init(&reply);
    rc = buf_check(&query, "a listing's query", e);
    if (rc == 0)
        rc = s3_send(c, &r, &reply, e);
    if (rc == 0 &&
        (rc = s3_page_parse(reply.body.data ? reply.body.data : "", reply.body.len, page, e)) < 0)
        err_wrap(e, "listing s3://%s/%.200s", s3_client_bucket(c), prefix);
    buf_release(&query);
    s3_reply_release(&reply);
    return rc;
}

static int s3_list(struct blob *b, const char *prefix, const char *after, blob_each_fn each,
                   void *arg, struct err *e)
{
    struct s3_client *c = client_of(b);
    struct s3_page page;
    char *token = NULL;
    bool more;
    int rc = blob_prefix_check(prefix, e);

    if (rc == 0 && after)
        rc = blob_prefix_check(after, e);
    if (rc < 0)
        return rc;
    do {
        rc = list_page(c, prefix, after, token, &page, e);
        if (rc < 0)
            break;
        rc = s3_page_each(&page, prefix, after, each, arg);
        more = page.truncated;
        if (rc == 0 && more && token && strcmp(token, page.token) == 0)
            rc = err_set(e, ERR_PEER, "listing s3://%s/%.200s: the server goes in a circle",
                         s3_client_bucket(c), prefix);
        free(token);
        token = page.token;
        page.token = NULL;
        s3_page_release(&page);
    } while (rc == 0 && more);
    free(token);
    return rc;
}

static int s3_remove(struct blob *b, const char *key, struct err *e)
{
    struct s3_request r = {.method = "DELETE", .key = key};
    struct s3_reply reply;
    int rc = blob_key_check(key, e);

    if (rc < 0)
        return rc;
    s3_reply_init(&reply);
    rc = s3_send(client_of(b), &r, &reply, e);
    s3_reply_release(&reply);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int s3_presigned(struct blob *b, const char *key, int64_t seconds, struct buf *url,
                        struct err *e)
{
    int rc = blob_key_check(key, e);

    return rc < 0 ? rc : s3_presign(client_of(b), key, seconds, url, e);
}

static int s3_url(struct blob *b, const char *key, struct buf *url, struct err *e)
{
    int rc = blob_key_check(key, e);

    if (rc < 0)
        return rc;
    buf_printf(url, "s3://%s/%s", s3_client_bucket(client_of(b)), key);
    return buf_check(url, "an object's URL", e);
}

static void s3_free(struct blob *b)
{
    struct s3 *s = (struct s3 *)b;

    s3_client_free(s->client);
    free(s);
}

static const struct blob_ops ops = {
    .get = s3_get,
    .get_file = s3_get_file,
    .put = s3_put,
    .put_file = s3_put_file,
    .create = s3_create,
    .head = s3_head,
    .list = s3_list,
    .remove = s3_remove,
    .presign = s3_presigned,
    .url = s3_url,
    .free = s3_free,
};

int blob_s3(struct blob **out, const struct blob_s3_options *o, struct clock *clock, struct err *e)
{
    struct s3 *s = calloc(1, sizeof *s);
    int rc;

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for an S3 store");
    s->blob.ops = &ops;
    rc = s3_client_new(&s->client, o, clock, e);
    if (rc < 0) {
        s3_free(&s->blob);
        return rc;
    }
    *out = &s->blob;
    return 0;
}
