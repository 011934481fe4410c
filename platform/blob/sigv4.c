#include "platform/blob/sigv4.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "platform/base/sha256.h"
#include "platform/blob/ends.h"

void sigv4_time(int64_t wall_ms, char time[SIGV4_TIME])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(time, SIGV4_TIME, "%Y%m%dT%H%M%SZ", &tm);
}

static void signed_names(const struct sigv4_request *r, struct buf *to)
{
    size_t i;

    for (i = 0; i < r->header_count; i++) {
        if (i)
            buf_char(to, ';');
        buf_str(to, r->headers[i].name);
    }
}

static void canonical(const struct sigv4_request *r, struct buf *to)
{
    size_t i;

    buf_printf(to, "%s\n%s\n%s\n", r->method, r->path, r->query);
    for (i = 0; i < r->header_count; i++)
        buf_printf(to, "%s:%s\n", r->headers[i].name, r->headers[i].value);
    buf_char(to, '\n');
    signed_names(r, to);
    buf_printf(to, "\n%s", r->payload);
}

static void scope(const struct sigv4_keys *k, const char *time, struct buf *to)
{
    buf_printf(to, "%.8s/%s/s3/aws4_request", time, k->region);
}

/* key = HMAC(HMAC(HMAC(HMAC("AWS4" secret, date), region), service), "aws4_request") */
static void signing_key(const struct sigv4_keys *k, const char *time,
                        unsigned char key[SHA256_SIZE])
{
    struct buf secret;

    buf_init(&secret, 4096);
    buf_printf(&secret, "AWS4%s", k->secret_key);
    hmac_sha256(secret.data ? secret.data : "", secret.len, time, 8, key);
    hmac_sha256(key, SHA256_SIZE, k->region, strlen(k->region), key);
    hmac_sha256(key, SHA256_SIZE, "s3", 2, key);
    hmac_sha256(key, SHA256_SIZE, "aws4_request", 12, key);
    if (secret.data)
        explicit_bzero(secret.data, secret.len);
    buf_release(&secret);
}

static void sign(const struct sigv4_keys *k, const struct sigv4_request *r, char hex[SHA256_HEX],
                 struct buf *failed)
{
    unsigned char key[SHA256_SIZE], mac[SHA256_SIZE];
    char digest[SHA256_HEX];
    struct buf text;

    buf_init(&text, 65536);
    canonical(r, &text);
    if (text.failed)
        failed->failed = text.failed;
    sha256_of(text.data ? text.data : "", text.len, digest);
    buf_reset(&text);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n", r->time);
    scope(k, r->time, &text);
    buf_printf(&text, "\n%s", digest);
    if (text.failed)
        failed->failed = text.failed;
    signing_key(k, r->time, key);
    hmac_sha256(key, sizeof key, text.data ? text.data : "", text.len, mac);
    sha256_hex(mac, hex);
    buf_release(&text);
}

void sigv4_authorization(const struct sigv4_keys *k, const struct sigv4_request *r, struct buf *to)
{
    char hex[SHA256_HEX];

    sign(k, r, hex, to);
    buf_printf(to, "AWS4-HMAC-SHA256 Credential=%s/", k->access_key);
    scope(k, r->time, to);
    buf_str(to, ",SignedHeaders=");
    signed_names(r, to);
    buf_printf(to, ",Signature=%s", hex);
}

void sigv4_presign(const struct sigv4_keys *k, const char *host, const char *path, const char *time,
                   int64_t seconds, struct buf *to)
{
    struct sigv4_header header = {"host", host};
    struct sigv4_request r = {
        .method = "GET",
        .path = path,
        .headers = &header,
        .header_count = 1,
        .payload = "UNSIGNED-PAYLOAD", /* a GET has none: the scheme asks for this word */
    };
    struct buf credential;
    char hex[SHA256_HEX];
    size_t start = to->len;

    snprintf(r.time, sizeof r.time, "%s", time);
    buf_init(&credential, 4096);
    buf_printf(&credential, "%s/", k->access_key);
    scope(k, time, &credential);
    buf_str(to, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=");
    blob_percent(to, credential.data ? credential.data : "", false);
    buf_printf(to, "&X-Amz-Date=%s&X-Amz-Expires=%lld&X-Amz-SignedHeaders=host", time,
               (long long)seconds);
    if (credential.failed)
        to->failed = credential.failed;
    buf_release(&credential);
    if (to->failed)
        return;
    r.query = to->data + start;
    sign(k, &r, hex, to);
    buf_printf(to, "&X-Amz-Signature=%s", hex);
}
