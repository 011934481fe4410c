/*
 * The same store on libs3, for servers that speak Signature Version 2.
 *
 * libs3 2.0 signs no payload hash: uploads carry a signed Content-MD5 instead,
 * so that one cut short is refused. It takes any answer to an upload that has no
 * error document for success (its own "100 Continue" hides the status): a HEAD
 * after each upload proves that the object is there. It does not verify certificates: https is
 * refused here. It knows no timeouts: requests run in its request contexts
 * (each keeps its connections), watched by our clock. It has neither multipart
 * nor conditional writes: files are single PUTs, and create, presign and url go
 * to a blob_s3 within.
 *
 * It does not tell the HTTP status. Codes that it doesn't know are taken for
 * server trouble (ServiceUnavailable, TooManyRequests are newer than it), so
 * they are tried again; the refusals of its time it knows by name.
 */
#include "platform/blob/blob.h"

#include <libs3.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "platform/base/text.h"
#include "platform/blob/ends.h"
#include "platform/blob/retry.h"
#include "platform/blob/s3_xml.h"
#include "platform/clock/clock.h"

#define IDLE_MAX   16
#define LOOK_MS    100 /* how often a request that moves nothing is looked at */
#define MD5_SIZE   16
#define MD5_BASE64 25
#define PAGE_KEYS  1000

struct libs3 {
    struct blob blob;
    struct blob *inner;  /* owned: create, presign, url */
    struct clock *clock; /* borrowed */
    char *host, *bucket, *access_key, *secret_key;
    S3BucketContext context; /* points to the above */
    int stall_timeout_ms, deadline_ms;

    pthread_mutex_t lock; /* idle, idle_count */
    S3RequestContext *idle[IDLE_MAX];
    size_t idle_count;
};

enum verb { GET, PUT, HEAD, DELETE, LIST };

/* One call: what to do, and what came of the latest try. */
struct call {
    enum verb verb;
    const char *key; /* LIST: the prefix */
    const char *marker;
    const struct blob_source *source;
    struct blob_sink *sink;
    struct s3_page *page;
    bool endless; /* may outlast the deadline as long as bytes move */

    char md5[MD5_BASE64];
    char etag[80]; /* as the server gave it, without quotes */
    uint64_t sent, got, length;
    bool moved; /* since the watch looked last */
    int own_rc; /* of the sink, the source, the page */
    int tries;
    S3Status status;
    char message[200];
    struct err *e;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static S3Status initialized;

static void init(void)
{
    initialized = S3_initialize("tripline/" TRIPLINE_VERSION, S3_INIT_ALL, NULL);
}

static S3Status on_properties(const S3ResponseProperties *p, void *arg)
{
    struct call *call = arg;

    call->moved = true;
    call->length = p->contentLength;
    if (p->eTag)
        snprintf(call->etag, sizeof call->etag, "%.*s",
                 (int)strcspn(p->eTag + (*p->eTag == '"'), "\""), p->eTag + (*p->eTag == '"'));
    if (call->sink)
        call->own_rc = call->sink->begin(call->sink, call->length, call->e);
    return call->own_rc < 0 ? S3StatusAbortedByCallback : S3StatusOK;
}

static void on_complete(S3Status status, const S3ErrorDetails *details, void *arg)
{
    struct call *call = arg;

    call->status = status;
    if (details && details->message) {
        strncpy(call->message, details->message, sizeof call->message - 1);
        call->message[sizeof call->message - 1] = '\0';
    }
}

static S3Status on_data(int n, const char *bytes, void *arg)
{
    struct call *call = arg;

    call->moved = true;
    call->got += (uint64_t)n;
    call->own_rc = call->sink->write(call->sink, bytes, (size_t)n, call->e);
    return call->own_rc < 0 ? S3StatusAbortedByCallback : S3StatusOK;
}

static int on_upload(int n, char *to, void *arg)
{
    struct call *call = arg;
    uint64_t left = call->source->size - call->sent;
    size_t k = left < (uint64_t)n ? (size_t)left : (size_t)n;

    call->moved = true;
    call->own_rc = source_read(call->source, call->sent, to, k, call->e);
    call->sent += k;
    return call->own_rc < 0 ? -1 : (int)k;
}

/* Where the listing goes on: behind the last name, as the server gave it. */
static int keep_marker(struct s3_page *page, const char *key, struct err *e)
{
    free(page->token);
    page->token = strdup(key);
    return page->token ? 0 : err_set(e, ERR_NOMEM, "no memory for a listing");
}

static S3Status on_list(int truncated, const char *next, int n, const S3ListBucketContent *contents,
                        int prefixes, const char **prefix, void *arg)
{
    struct call *call = arg;
    int i;

    call->moved = true;
    call->page->truncated = truncated != 0;
    for (i = 0; i < n && call->own_rc == 0; i++)
        call->own_rc = s3_page_add(call->page, contents[i].key, contents[i].size, call->e);
    if (n > 0 && call->own_rc == 0)
        call->own_rc = keep_marker(call->page, contents[n - 1].key, call->e);
    return call->own_rc < 0 ? S3StatusAbortedByCallback : S3StatusOK;
}

static S3RequestContext *take_context(struct libs3 *l)
{
    S3RequestContext *context = NULL;

    pthread_mutex_lock(&l->lock);
    if (l->idle_count > 0)
        context = l->idle[--l->idle_count];
    pthread_mutex_unlock(&l->lock);
    if (!context && S3_create_request_context(&context) != S3StatusOK)
        context = NULL;
    return context;
}

static void put_context(struct libs3 *l, S3RequestContext *context)
{
    pthread_mutex_lock(&l->lock);
    if (l->idle_count < IDLE_MAX) {
        l->idle[l->idle_count++] = context;
        context = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    if (context)
        S3_destroy_request_context(context);
}

static void issue(struct libs3 *l, S3RequestContext *context, struct call *call)
{
    static const S3ResponseHandler plain = {on_properties, on_complete};
    static const S3GetObjectHandler get = {{on_properties, on_complete}, on_data};
    static const S3PutObjectHandler put = {{on_properties, on_complete}, on_upload};
    static const S3ListBucketHandler list = {{on_properties, on_complete}, on_list};
    S3PutProperties properties = {.expires = -1, .md5 = call->md5};

    switch (call->verb) {
    case GET:
        S3_get_object(&l->context, call->key, NULL, 0, 0, context, &get, call);
        return;
    case PUT:
        S3_put_object(&l->context, call->key, call->source->size, &properties, context, &put, call);
        return;
    case HEAD:
        S3_head_object(&l->context, call->key, context, &plain, call);
        return;
    case DELETE:
        S3_delete_object(&l->context, call->key, context, &plain, call);
        return;
    case LIST:
        S3_list_bucket(&l->context, call->key, call->marker, NULL, PAGE_KEYS, context, &list, call);
        return;
    }
}

/* Waits until a connection has something, at most LOOK_MS. */
static bool wait_ready(S3RequestContext *context)
{
    int64_t wait_ms = S3_get_request_context_timeout(context);
    fd_set reads, writes, excepts;
    struct timeval wait;
    int max = -1;

    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_ZERO(&excepts);
    if (S3_get_request_context_fdsets(context, &reads, &writes, &excepts, &max) != S3StatusOK)
        return false;
    if (wait_ms < 0 || wait_ms > LOOK_MS)
        wait_ms = LOOK_MS;
    if (max < 0 && wait_ms > 10)
        wait_ms = 10; /* a name is being looked up: there is nothing to select on */
    wait.tv_sec = 0;
    wait.tv_usec = (suseconds_t)wait_ms * 1000;
    select(max + 1, &reads, &writes, &excepts, &wait);
    return true;
}

/* Runs the request; false: it stalled or ran out of time and must be broken off. */
static bool watch(struct libs3 *l, S3RequestContext *context, struct call *call, int64_t left_ms)
{
    int64_t now = clock_mono_ms(l->clock), end = now + left_ms, moved = now;
    int remaining = 1;

    for (;;) {
        call->moved = false;
        if (S3_runonce_request_context(context, &remaining) != S3StatusOK)
            return false;
        if (remaining == 0)
            return true;
        now = clock_mono_ms(l->clock);
        if (call->moved)
            moved = now;
        if (now - moved >= l->stall_timeout_ms || (!call->endless && now >= end))
            return false;
        if (!wait_ready(context))
            return false;
    }
}

static void try_once(struct libs3 *l, struct call *call, int64_t left_ms)
{
    S3RequestContext *context = take_context(l);

    call->tries++;
    call->sent = call->got = call->length = 0;
    call->own_rc = 0;
    call->etag[0] = '\0';
    call->status = S3StatusInternalError;
    call->message[0] = '\0';
    if (call->page)
        s3_page_release(call->page);
    if (!context) {
        call->status = S3StatusOutOfMemory;
        return;
    }
    issue(l, context, call);
    if (watch(l, context, call, left_ms)) {
        put_context(l, context);
    } else {
        S3_destroy_request_context(context); /* completes the request as interrupted */
        call->status = S3StatusInterrupted;
    }
    if (call->status == S3StatusOK && call->sink && call->got != call->length)
        call->status = S3StatusConnectionFailed; /* the body came cut */
}

static const struct {
    S3Status status;
    int code;
    const char *advice;
} meanings[] = {
    {S3StatusOutOfMemory, ERR_NOMEM, ""},
    {S3StatusErrorNoSuchKey, ERR_NOT_FOUND, "not found"},
    {S3StatusHttpErrorNotFound, ERR_NOT_FOUND, "not found"},
    {S3StatusErrorNoSuchBucket, ERR_CONFIG,
     "the bucket does not exist there: create it, or check TRIPLINE_S3_BUCKET and "
     "TRIPLINE_S3_ENDPOINT"},
    {S3StatusErrorInvalidAccessKeyId, ERR_DENIED, "access denied: check AWS_ACCESS_KEY_ID"},
    {S3StatusErrorSignatureDoesNotMatch, ERR_DENIED,
     "access denied: check AWS_SECRET_ACCESS_KEY (the server must accept Signature Version 2)"},
    {S3StatusErrorRequestTimeTooSkewed, ERR_DENIED, "access denied: set this machine's clock"},
    {S3StatusErrorAccessDenied, ERR_DENIED,
     "access denied: check AWS_ACCESS_KEY_ID and its rights on the bucket"},
    {S3StatusHttpErrorForbidden, ERR_DENIED,
     "access denied: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their rights on the "
     "bucket"},
    {S3StatusErrorBadDigest, ERR_PEER, "the body was damaged on its way"},
    {S3StatusErrorIncompleteBody, ERR_PEER, "the body was damaged on its way"},
};

static const S3Status transient[] = {
    S3StatusInternalError,         S3StatusInterrupted,      S3StatusConnectionFailed,
    S3StatusXmlParseFailure,       S3StatusErrorUnknown,     S3StatusErrorInternalError,
    S3StatusErrorOperationAborted, S3StatusErrorSlowDown,    S3StatusErrorRequestTimeout,
    S3StatusHttpErrorConflict,     S3StatusHttpErrorUnknown,
};

static bool is_transient(S3Status status)
{
    size_t i;

    for (i = 0; i < sizeof transient / sizeof transient[0]; i++)
        if (transient[i] == status)
            return true;
    return false;
}

static bool unreached(S3Status status)
{
    return status == S3StatusFailedToConnect || status == S3StatusNameLookupError;
}

static int report(const struct libs3 *l, const struct call *call, struct err *e)
{
    static const char *const names[] = {"GET", "PUT", "HEAD", "DELETE", "LIST"};
    const char *status = S3_get_status_name(call->status);
    size_t i, n = sizeof meanings / sizeof meanings[0];

    if (call->own_rc == 0) {
        for (i = 0; i < n && meanings[i].status != call->status; i++)
            ;
        if (i < n)
            err_set(e, meanings[i].code, "%s", meanings[i].advice);
        else if (unreached(call->status))
            err_set(e, ERR_PEER, "%s: is the server running, and TRIPLINE_S3_ENDPOINT right?",
                    status);
        else
            err_set(e, is_transient(call->status) ? ERR_PEER : ERR_CONFIG, "%s: %s", status,
                    call->message);
    }
    if (call->tries > 1)
        err_wrap(e, "%d tries", call->tries);
    return err_wrap(e, "%s s3://%s/%.300s at http://%s", names[call->verb], l->bucket, call->key,
                    l->host);
}

static int run(struct libs3 *l, struct call *call, struct err *e)
{
    struct retry retry;
    bool missed;

    call->e = e;
    retry_start(&retry, l->clock, clock_mono_ms(l->clock) + l->deadline_ms);
    do {
        try_once(l, call, retry_left_ms(&retry));
        if (call->own_rc == 0 && call->status == S3StatusOK)
            return 0;
        missed = unreached(call->status);
    } while (call->own_rc == 0 && (missed || is_transient(call->status)) &&
             retry_wait(&retry, !missed));
    return report(l, call, e);
}

static int fetch(struct blob *b, const char *key, struct blob_sink *sink, bool endless,
                 struct err *e)
{
    struct call call = {.verb = GET, .key = key, .sink = sink, .endless = endless};

    return run((struct libs3 *)b, &call, e);
}

static int libs3_get(struct blob *b, const char *key, struct buf *out, struct err *e)
{
    struct sink_buf sink;
    int rc = blob_key_check(key, e);

    sink_buf_init(&sink, out, key);
    return rc < 0 ? rc : fetch(b, key, &sink.sink, false, e);
}

static int libs3_get_file(struct blob *b, const char *key, const char *path,
                          char sha256[SHA256_HEX], struct err *e)
{
    struct sink_file sink;
    int rc = blob_key_check(key, e);

    sink_file_init(&sink, path);
    if (rc == 0)
        rc = fetch(b, key, &sink.sink, true, e);
    if (rc == 0)
        rc = sink_file_end(&sink, sha256, e);
    sink_file_release(&sink);
    return rc;
}

static int hash_md5(const struct blob_source *s, unsigned char digest[MD5_SIZE], struct err *e)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    char piece[32768];
    uint64_t at;
    int rc = 0;

    if (!md || !EVP_DigestInit_ex(md, EVP_md5(), NULL))
        rc = err_set(e, ERR_CONFIG, "this machine's OpenSSL offers no MD5, which libs3 needs");
    for (at = 0; rc == 0 && at < s->size;) {
        size_t n = s->size - at < sizeof piece ? (size_t)(s->size - at) : sizeof piece;

        rc = source_read(s, at, piece, n, e);
        if (rc == 0 && !EVP_DigestUpdate(md, piece, n))
            rc = err_set(e, ERR_NOMEM, "no memory to hash");
        at += n;
    }
    if (rc == 0 && !EVP_DigestFinal_ex(md, digest, NULL))
        rc = err_set(e, ERR_NOMEM, "no memory to hash");
    EVP_MD_CTX_free(md);
    return rc;
}

/* Is what lies there what was sent? By size, and by MD5 where the ETag is one. 1: yes, 0: no. */
static int arrived(struct libs3 *l, const char *key, uint64_t size,
                   const unsigned char digest[MD5_SIZE], struct err *e)
{
    struct call call = {.verb = HEAD, .key = key};
    char hex[2 * MD5_SIZE + 1];
    int rc = run(l, &call, e);

    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    text_hex(digest, MD5_SIZE, hex);
    if (strlen(call.etag) == 2 * MD5_SIZE && strcasecmp(call.etag, hex) != 0)
        return 0;
    return call.length == size;
}

static int upload(struct blob *b, const char *key, const struct blob_source *source, struct err *e)
{
    struct call call = {.verb = PUT, .key = key, .source = source, .endless = true};
    struct libs3 *l = (struct libs3 *)b;
    unsigned char digest[MD5_SIZE];
    struct retry retry;
    int rc = hash_md5(source, digest, e);

    if (rc < 0)
        return rc;
    EVP_EncodeBlock((unsigned char *)call.md5, digest, MD5_SIZE);
    retry_start(&retry, l->clock, clock_mono_ms(l->clock) + l->deadline_ms);
    do {
        rc = run(l, &call, e);
        if (rc == 0)
            rc = arrived(l, key, source->size, digest, e);
    } while (rc == 0 && retry_wait(&retry, true));
    if (rc == 0)
        return err_set(e, ERR_PEER, "PUT s3://%s/%.300s at http://%s: the server does not keep it",
                       l->bucket, key, l->host);
    return rc < 0 ? rc : 0;
}

static int libs3_put(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    struct blob_source source;
    int rc = blob_key_check(key, e);

    source_memory(&source, bytes, n);
    return rc < 0 ? rc : upload(b, key, &source, e);
}

static int libs3_put_file(struct blob *b, const char *key, const char *path, struct err *e)
{
    struct blob_source source;
    int rc = blob_key_check(key, e);

    if (rc < 0)
        return rc;
    rc = source_file(&source, path, e);
    if (rc == 0)
        rc = upload(b, key, &source, e);
    source_release(&source);
    return rc;
}

static int libs3_create(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    return blob_create(((struct libs3 *)b)->inner, key, bytes, n, e);
}

static int libs3_head(struct blob *b, const char *key, uint64_t *size, struct err *e)
{
    struct call call = {.verb = HEAD, .key = key};
    int rc = blob_key_check(key, e);

    if (rc == 0)
        rc = run((struct libs3 *)b, &call, e);
    if (rc == 0 && size)
        *size = call.length;
    return rc;
}

static int libs3_list(struct blob *b, const char *prefix, const char *after, blob_each_fn each,
                      void *arg, struct err *e)
{
    struct s3_page page = {0};
    struct call call = {.verb = LIST, .key = prefix, .page = &page};
    char *marker = NULL;
    bool more;
    int rc = blob_prefix_check(prefix, e);

    if (rc == 0 && after)
        rc = blob_prefix_check(after, e);
    if (rc < 0)
        return rc;
    do {
        call.marker = marker ? marker : after;
        rc = run((struct libs3 *)b, &call, e);
        if (rc == 0)
            rc = s3_page_each(&page, prefix, after, each, arg);
        more = page.truncated;
        if (rc == 0 && more && (!page.token || (marker && strcmp(marker, page.token) == 0)))
            rc = err_set(e, ERR_PEER, "listing s3://%s/%.200s: the server goes in a circle",
                         ((struct libs3 *)b)->bucket, prefix);
        free(marker);
        marker = page.token;
        page.token = NULL;
        s3_page_release(&page);
    } while (rc == 0 && more);
    free(marker);
    return rc;
}

static int libs3_remove(struct blob *b, const char *key, struct err *e)
{
    struct call call = {.verb = DELETE, .key = key};
    int rc = blob_key_check(key, e);

    if (rc == 0)
        rc = run((struct libs3 *)b, &call, e);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int libs3_presign(struct blob *b, const char *key, int64_t seconds, struct buf *url,
                         struct err *e)
{
    return blob_presign(((struct libs3 *)b)->inner, key, seconds, url, e);
}

static int libs3_url(struct blob *b, const char *key, struct buf *url, struct err *e)
{
    return blob_url(((struct libs3 *)b)->inner, key, url, e);
}

static void libs3_free(struct blob *b)
{
    struct libs3 *l = (struct libs3 *)b;
    size_t i;

    for (i = 0; i < l->idle_count; i++)
        S3_destroy_request_context(l->idle[i]);
    pthread_mutex_destroy(&l->lock);
    blob_free(l->inner);
    if (l->secret_key)
        explicit_bzero(l->secret_key, strlen(l->secret_key));
    free(l->host);
    free(l->bucket);
    free(l->access_key);
    free(l->secret_key);
    free(l);
}

static const struct blob_ops ops = {
    .get = libs3_get,
    .get_file = libs3_get_file,
    .put = libs3_put,
    .put_file = libs3_put_file,
    .create = libs3_create,
    .head = libs3_head,
    .list = libs3_list,
    .remove = libs3_remove,
    .presign = libs3_presign,
    .url = libs3_url,
    .free = libs3_free,
};

/* blob_s3 has checked the options: an endpoint is scheme://host[:port][/]. */
static int copy_options(struct libs3 *l, const struct blob_s3_options *o, struct err *e)
{
    if (strncasecmp(o->endpoint, "http://", 7) != 0)
        return err_set(e, ERR_CONFIG,
                       "S3 endpoint '%s': libs3 does not verify certificates; use the other client "
                       "(s3.client = curl) for https",
                       o->endpoint);
    l->host = strdup(o->endpoint + 7);
    l->bucket = strdup(o->bucket);
    l->access_key = strdup(o->access_key);
    l->secret_key = strdup(o->secret_key);
    if (!l->host || !l->bucket || !l->access_key || !l->secret_key)
        return err_set(e, ERR_NOMEM, "no memory for settings");
    l->host[strcspn(l->host, "/")] = '\0';
    l->stall_timeout_ms = o->stall_timeout_ms > 0 ? o->stall_timeout_ms : 30000;
    l->deadline_ms = o->deadline_ms > 0 ? o->deadline_ms : 120000;
    l->context = (S3BucketContext){.hostName = l->host,
                                   .bucketName = l->bucket,
                                   .protocol = S3ProtocolHTTP,
                                   .uriStyle = S3UriStylePath,
                                   .accessKeyId = l->access_key,
                                   .secretAccessKey = l->secret_key};
    return 0;
}

int blob_libs3(struct blob **out, const struct blob_s3_options *o, struct clock *clock,
               struct err *e)
{
    struct libs3 *l;
    int rc;

    pthread_once(&once, init);
    if (initialized != S3StatusOK)
        return err_set(e, ERR_CONFIG, "libs3 cannot start: %s", S3_get_status_name(initialized));
    l = calloc(1, sizeof *l);
    if (!l)
        return err_set(e, ERR_NOMEM, "no memory for an S3 store");
    l->blob.ops = &ops;
    l->clock = clock;
    pthread_mutex_init(&l->lock, NULL);
    rc = blob_s3(&l->inner, o, clock, e);
    if (rc == 0)
        rc = copy_options(l, o, e);
    if (rc < 0)
        libs3_free(&l->blob);
    else
        *out = &l->blob;
    return rc;
}
