#include "platform/blob/s3_http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "platform/blob/retry.h"
#include "platform/blob/s3_int.h"
#include "platform/blob/s3_xml.h"
#include "platform/blob/sigv4.h"
#include "platform/clock/clock.h"

#define ERROR_BODY_MAX 65536

/* One try of a request. */
struct attempt {
    struct s3_client *client;
    const struct s3_request *request;
    struct s3_reply *reply;
    CURL *easy;
    struct curl_slist *headers;
    uint64_t sent; /* of the request's body */
    uint64_t got;  /* of the sink's body */
    bool begun;    /* the sink's */
    int own_rc;    /* what the sink, the source or a check here returned */
    struct err *e;
};

enum verdict { DONE, FAILED, AGAIN, UNREACHED }; /* the last two are tried again */

void s3_reply_init(struct s3_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    buf_init(&reply->body, S3_REPLY_MAX);
}

void s3_reply_release(struct s3_reply *reply)
{
    buf_release(&reply->body);
}

static bool succeeded(const struct attempt *a)
{
    return a->reply->status >= 200 && a->reply->status < 300;
}

static size_t on_header(char *line, size_t one, size_t n, void *arg)
{
    struct attempt *a = arg;
    struct s3_reply *reply = a->reply;
    long status = 0;

    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) {
        curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
        reply->status = (int)status;
        reply->etag[0] = '\0';
    } else if (n > 5 && strncasecmp(line, "etag:", 5) == 0) {
        size_t start = 5, end = n;

        while (start < end && (line[start] == ' ' || line[start] == '\t'))
            start++;
        while (end > start && (unsigned char)line[end - 1] <= ' ')
            end--;
        if (end - start < sizeof reply->etag) {
            memcpy(reply->etag, line + start, end - start);
            reply->etag[end - start] = '\0';
        }
    }
    return n;
}

/* The sink's body begins. An object without a stated length could be cut unseen: refused. */
static int begin(struct attempt *a)
{
    curl_off_t length = -1;

    a->begun = true;
    curl_easy_getinfo(a->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (a->reply->status != 200 || length < 0)
        return err_set(a->e, ERR_PEER, "the answer (%d) does not say how long the object is",
                       a->reply->status);
    a->reply->length = (uint64_t)length;
    return a->request->sink->begin(a->request->sink, a->reply->length, a->e);
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    struct attempt *a = arg;
    struct buf *body = &a->reply->body;
    size_t max = succeeded(a) ? S3_REPLY_MAX : ERROR_BODY_MAX, room = max - body->len;

    if (succeeded(a) && a->request->sink) {
        if (!a->begun)
            a->own_rc = begin(a);
        if (a->own_rc == 0)
            a->own_rc = a->request->sink->write(a->request->sink, bytes, n, a->e);
        a->got += n;
        return a->own_rc == 0 ? n : CURL_WRITEFUNC_ERROR;
    }
    if (n > room && succeeded(a)) {
        a->own_rc = err_set(a->e, ERR_LIMIT, "the answer is larger than %zu bytes", max);
        return CURL_WRITEFUNC_ERROR;
    }
    buf_add(body, bytes, n < room ? n : room); /* of an error only the beginning matters */
    return n;
}

static size_t on_upload(char *to, size_t one, size_t n, void *arg)
{
    struct attempt *a = arg;
    const struct s3_request *r = a->request;
    uint64_t left = r->size - a->sent;
    size_t k = left < n ? (size_t)left : n;

    if (k == 0)
        return 0;
    a->own_rc = source_read(r->source, r->offset + a->sent, to, k, a->e);
    a->sent += k;
    return a->own_rc == 0 ? k : CURL_READFUNC_ABORT;
}

/* libcurl rewinds when a kept connection turns out to be closed. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct attempt *a = arg;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > a->request->size)
        return CURL_SEEKFUNC_FAIL;
    a->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static void add_header(struct attempt *a, const char *name, const char *value, struct buf *line)
{
    struct curl_slist *more;

    buf_reset(line);
    buf_printf(line, "%s: %s", name, value);
    more = line->failed ? NULL : curl_slist_append(a->headers, line->data);
    if (more)
        a->headers = more;
    else
        a->own_rc = err_set(a->e, ERR_NOMEM, "no memory for a request");
}

static void add_signed(struct attempt *a, const char *path, const char *payload)
{
    const struct s3_client *c = a->client;
    struct sigv4_keys keys = {c->access_key, c->secret_key, c->region};
    struct sigv4_header headers[4];
    struct sigv4_request sign = {
        .method = a->request->method,
        .path = path,
        .query = a->request->query ? a->request->query : "",
        .headers = headers,
        .payload = payload,
    };
    struct buf authorization, line;
    size_t i, n = 0;

    sigv4_time(clock_wall_ms(c->clock), sign.time);
    headers[n++] = (struct sigv4_header){"host", c->host};
    if (a->request->if_absent)
        headers[n++] = (struct sigv4_header){"if-none-match", "*"};
    headers[n++] = (struct sigv4_header){"x-amz-content-sha256", payload};
    headers[n++] = (struct sigv4_header){"x-amz-date", sign.time};
    sign.header_count = n;
    buf_init(&authorization, 16384);
    buf_init(&line, 16384);
    sigv4_authorization(&keys, &sign, &authorization);
    if (authorization.failed)
        a->own_rc = err_set(a->e, ERR_NOMEM, "no memory for a signature");
    for (i = 0; i < n && a->own_rc == 0; i++)
        add_header(a, headers[i].name, headers[i].value, &line);
    if (a->own_rc == 0)
        add_header(a, "Authorization", authorization.data, &line);
    buf_release(&authorization);
    buf_release(&line);
}

/* Headers that libcurl would add by itself; an empty value takes them away. */
static void drop_defaults(struct attempt *a)
{
    static const char *const names[] = {
        "Expect:", "Accept:", "Content-Type:", "Transfer-Encoding:"};
    struct curl_slist *more;
    size_t i;

    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        more = curl_slist_append(a->headers, names[i]);
        if (!more) {
            a->own_rc = err_set(a->e, ERR_NOMEM, "no memory for a request");
            return;
        }
        a->headers = more;
    }
}

static void set_method(struct attempt *a)
{
    const struct s3_request *r = a->request;
    CURL *easy = a->easy;

    if (strcmp(r->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(r->method, "GET") == 0) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else {
        if (strcmp(r->method, "DELETE") != 0) {
            curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
            curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->size);
            curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
            curl_easy_setopt(easy, CURLOPT_READDATA, a);
            curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
            curl_easy_setopt(easy, CURLOPT_SEEKDATA, a);
        }
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method);
    }
}

static void set_connection(struct attempt *a, int64_t left_ms)
{
    const struct s3_client *c = a->client;
    CURL *easy = a->easy;

    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (c->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca_file);
    if (c->loopback)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "tripline/" TRIPLINE_VERSION);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)(c->stall_timeout_ms + 999) / 1000);
    if (!a->request->endless)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(left_ms > 1 ? left_ms : 1));
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, a);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, a);
}

static void set_request(struct attempt *a, const char *payload)
{
    const char *query = a->request->query;
    struct buf path, url;

    buf_init(&path, 8192);
    buf_init(&url, 32768);
    s3_path(a->client, a->request->key, &path);
    buf_printf(&url, "%s%s%s%s", a->client->base, path.data ? path.data : "",
               query && *query ? "?" : "", query ? query : "");
    if (path.failed || url.failed) {
        a->own_rc = err_set(a->e, ERR_NOMEM, "no memory for a request");
    } else {
        curl_easy_setopt(a->easy, CURLOPT_URL, url.data); /* libcurl copies it */
        set_method(a);
        add_signed(a, path.data, payload);
    }
    if (a->own_rc == 0)
        drop_defaults(a);
    curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, a->headers);
    buf_release(&path);
    buf_release(&url);
}

/* What a refusal means to the one who set things up. */
static enum verdict refused(const struct attempt *a)
{
    static const struct {
        const char *code, *advice;
    } known[] = {
        {"InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"},
        {"SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY"},
        {"RequestTimeTooSkewed", "set this machine's clock"},
    };
    const struct s3_reply *reply = a->reply;
    const char *advice = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their rights on the "
                         "bucket";
    size_t i;

    for (i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(reply->code, known[i].code) == 0)
            advice = known[i].advice;
    err_set(a->e, ERR_DENIED, "access denied (%d %s): %s", reply->status, reply->code, advice);
    return FAILED;
}

static enum verdict missing(const struct attempt *a)
{
    if (strcmp(a->reply->code, "NoSuchBucket") == 0 || !a->request->key)
        err_set(a->e, ERR_CONFIG,
                "bucket %s does not exist there: create it, or check TRIPLINE_S3_BUCKET and "
                "TRIPLINE_S3_ENDPOINT",
                a->client->bucket);
    else
        err_set(a->e, ERR_NOT_FOUND, "not found");
    return FAILED;
}

/* Other 4xx, and what is no answer of S3 at all. */
static enum verdict unexpected(const struct attempt *a)
{
    static const char *const damaged[] = {"BadDigest", "IncompleteBody",
                                          "XAmzContentSHA256Mismatch"};
    const struct s3_reply *reply = a->reply;
    int code = ERR_CONFIG;
    size_t i;

    for (i = 0; i < sizeof damaged / sizeof damaged[0]; i++)
        if (strcmp(reply->code, damaged[i]) == 0)
            code = ERR_PEER; /* the body was damaged on its way: not the settings' fault */
    if (reply->status >= 300 && reply->status < 400)
        err_set(a->e, ERR_CONFIG,
                "the server redirects (%d): give the address (TRIPLINE_S3_ENDPOINT) and region "
                "(TRIPLINE_S3_REGION) that serve the bucket",
                reply->status);
    else if (reply->status == 501)
        err_set(a->e, ERR_CONFIG, "the server does not offer this (501 %s)", reply->code);
    else
        err_set(a->e, code, "the server refused: %d %s: %s", reply->status, reply->code,
                reply->message);
    return FAILED;
}

static enum verdict judge_status(const struct attempt *a)
{
    struct s3_reply *reply = a->reply;
    int status = reply->status;

    if (succeeded(a))
        return DONE;
    if (reply->body.len)
        s3_error_parse(reply->body.data, reply->body.len, reply->code, reply->message);
    if (status == 401 || status == 403)
        return refused(a);
    if (status == 404)
        return missing(a);
    if (status == 412) {
        err_set(a->e, ERR_EXISTS, "exists already");
        return FAILED;
    }
    if ((status >= 500 && status != 501) || status == 429 || status == 409 || status == 408 ||
        (status == 400 && strcmp(reply->code, "RequestTimeout") == 0)) {
        err_set(a->e, ERR_PEER, "the server answered %d %s %s", status, reply->code,
                reply->message);
        return AGAIN;
    }
    return unexpected(a);
}

static enum verdict judge(const struct attempt *a, CURLcode code, const char *detail)
{
    const char *why = *detail ? detail : curl_easy_strerror(code);

    if (a->own_rc < 0)
        return FAILED;
    switch (code) {
    case CURLE_OK:
        return judge_status(a);
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
        err_set(a->e, ERR_PEER, "%s: is the server running, and TRIPLINE_S3_ENDPOINT right?", why);
        return UNREACHED;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        err_set(a->e, ERR_CONFIG, "%s: check the S3 CA file", why);
        return FAILED;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        err_set(a->e, ERR_CONFIG, "%s", why);
        return FAILED;
    case CURLE_OUT_OF_MEMORY:
        err_set(a->e, ERR_NOMEM, "%s", why);
        return FAILED;
    default:
        err_set(a->e, ERR_PEER, "%s", why);
        return AGAIN;
    }
}

/* After a complete answer: an empty body begins nothing, and every byte must have come. */
static int end_body(struct attempt *a)
{
    curl_off_t length = -1;

    if (!succeeded(a))
        return 0;
    if (a->request->sink) {
        if (!a->begun)
            a->own_rc = begin(a);
        if (a->own_rc == 0 && a->got != a->reply->length)
            a->own_rc = err_set(a->e, ERR_PEER, "the object came cut");
    } else if (strcmp(a->request->method, "HEAD") == 0) {
        curl_easy_getinfo(a->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        a->reply->length = length > 0 ? (uint64_t)length : 0;
    } else {
        a->own_rc = buf_check(&a->reply->body, "an answer", a->e);
    }
    return a->own_rc;
}

static enum verdict try_once(struct s3_client *c, const struct s3_request *r,
                             struct s3_reply *reply, const char *payload, int64_t left_ms,
                             struct err *e)
{
    struct attempt a = {.client = c, .request = r, .reply = reply, .e = e};
    char detail[CURL_ERROR_SIZE] = "";
    enum verdict verdict = FAILED;
    CURLcode code;

    reply->status = 0;
    reply->code[0] = reply->message[0] = '\0';
    buf_reset(&reply->body);
    a.easy = s3_take_handle(c);
    if (!a.easy) {
        err_set(e, ERR_NOMEM, "no memory for a connection");
        return FAILED;
    }
    curl_easy_setopt(a.easy, CURLOPT_ERRORBUFFER, detail);
    set_connection(&a, left_ms);
    set_request(&a, payload);
    if (a.own_rc == 0) {
        code = curl_easy_perform(a.easy);
        if (code == CURLE_OK)
            end_body(&a);
        verdict = judge(&a, code, detail);
    }
    s3_put_handle(c, a.easy);
    curl_slist_free_all(a.headers);
    return verdict;
}

/* "PUT s3://bucket/key at http://host: 5 tries: ..." around what a try reported. */
static int report(const struct s3_client *c, const struct s3_request *r,
                  const struct s3_reply *reply, struct err *e)
{
    if (reply->tries > 1)
        err_wrap(e, "%d tries", reply->tries);
    return err_wrap(e, "%s s3://%s/%.300s at %s", r->method, c->bucket, r->key ? r->key : "",
                    c->base);
}

int s3_send(struct s3_client *c, const struct s3_request *r, struct s3_reply *reply, struct err *e)
{
    char payload[SHA256_HEX] = SIGV4_EMPTY;
    enum verdict verdict;
    struct retry retry;
    int rc;

    if (r->source && r->size > 0 &&
        (rc = source_sha256(r->source, r->offset, r->size, payload, e)) < 0)
        return rc;
    retry_start(&retry, c->clock, r->give_up_ms ? r->give_up_ms : s3_client_give_up(c));
    reply->tries = 0;
    do {
        reply->tries++;
        verdict = try_once(c, r, reply, payload, retry_left_ms(&retry), e);
    } while (verdict > FAILED && retry_wait(&retry, verdict == AGAIN));
    return verdict == DONE ? 0 : report(c, r, reply, e);
}
