#include "platform/blob/s3_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/blob/sigv4.h"
#include "platform/clock/clock.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* The Host header that is signed: without the scheme's own port, as HTTP clients send it. */
static int split_endpoint(struct s3_client *c, const char *endpoint, struct err *e)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *extra = NULL;
    int rc = 0;

    if (!u)
        return err_set(e, ERR_NOMEM, "no memory for the endpoint");
    if (curl_url_set(u, CURLUPART_URL, endpoint, 0) ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(u, CURLUPART_HOST, &host, 0) ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        rc = err_set(e, ERR_CONFIG, "S3 endpoint '%s': expected http://HOST:PORT or https://HOST",
                     endpoint);
        goto done;
    }
    if (curl_url_get(u, CURLUPART_USER, &extra, 0) == CURLUE_OK ||
        curl_url_get(u, CURLUPART_QUERY, &extra, 0) == CURLUE_OK ||
        (curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK && strcmp(path, "/") != 0)) {
        rc = err_set(e, ERR_CONFIG,
                     "S3 endpoint '%s://%s': give scheme, host and port only (bucket and keys have "
                     "their own settings)",
                     scheme, host);
        goto done;
    }
    curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
    if (asprintf(&c->base, "%s://%s%s%s", scheme, host, port ? ":" : "", port ? port : "") < 0) {
        c->base = NULL;
        rc = err_set(e, ERR_NOMEM, "no memory for the endpoint");
        goto done;
    }
    c->host = strstr(c->base, "://") + 3;
    c->loopback = strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0 ||
                  strcmp(host, "localhost") == 0;
done:
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_free(extra);
    curl_url_cleanup(u);
    return rc;
}

static bool plain_text(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= 0x20 || (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

static int copy_setting(char **to, const char *from, const char *what, struct err *e)
{
    if (!from || !*from || !plain_text(from))
        return err_set(e, ERR_CONFIG, "%s is %s", what,
                       from && *from ? "not plain text without blanks" : "not set");
    *to = strdup(from);
    return *to ? 0 : err_set(e, ERR_NOMEM, "no memory for settings");
}

static int copy_settings(struct s3_client *c, const struct blob_s3_options *o, struct err *e)
{
    int rc;

    c->connect_timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : 5000;
    c->stall_timeout_ms = o->stall_timeout_ms > 0 ? o->stall_timeout_ms : 30000;
    c->deadline_ms = o->deadline_ms > 0 ? o->deadline_ms : 120000;
    c->part_bytes = o->part_bytes ? o->part_bytes : (size_t)8 << 20;
    if (!o->endpoint || !*o->endpoint)
        return err_set(e, ERR_CONFIG, "the S3 endpoint (TRIPLINE_S3_ENDPOINT) is not set");
    if ((rc = copy_setting(&c->region, o->region, "the S3 region", e)) < 0 ||
        (rc = copy_setting(&c->bucket, o->bucket, "the S3 bucket (TRIPLINE_S3_BUCKET)", e)) < 0 ||
        (rc = copy_setting(&c->access_key, o->access_key, "AWS_ACCESS_KEY_ID", e)) < 0 ||
        (rc = copy_setting(&c->secret_key, o->secret_key, "AWS_SECRET_ACCESS_KEY", e)) < 0)
        return rc;
    if (strchr(c->bucket, '/'))
        return err_set(e, ERR_CONFIG, "S3 bucket '%s': a bucket's name has no '/'", c->bucket);
    if (o->ca_file && !(c->ca_file = strdup(o->ca_file)))
        return err_set(e, ERR_NOMEM, "no memory for settings");
    return split_endpoint(c, o->endpoint, e);
}

int s3_client_new(struct s3_client **out, const struct blob_s3_options *o, struct clock *clock,
                  struct err *e)
{
    struct s3_client *c;
    int rc;

    pthread_once(&once, init);
    c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "no memory for an S3 client");
    c->clock = clock;
    pthread_mutex_init(&c->lock, NULL);
    rc = copy_settings(c, o, e);
    if (rc < 0)
        s3_client_free(c);
    else
        *out = c;
    return rc;
}

void s3_client_free(struct s3_client *c)
{
    size_t i;

    if (!c)
        return;
    for (i = 0; i < c->idle_count; i++)
        curl_easy_cleanup(c->idle[i]);
    pthread_mutex_destroy(&c->lock);
    if (c->secret_key)
        explicit_bzero(c->secret_key, strlen(c->secret_key));
    free(c->base);
    free(c->region);
    free(c->bucket);
    free(c->access_key);
    free(c->secret_key);
    free(c->ca_file);
    free(c);
}

struct clock *s3_client_clock(const struct s3_client *c)
{
    return c->clock;
}

const char *s3_client_bucket(const struct s3_client *c)
{
    return c->bucket;
}

size_t s3_client_part_bytes(const struct s3_client *c)
{
    return c->part_bytes;
}

int64_t s3_client_give_up(const struct s3_client *c)
{
    return clock_mono_ms(c->clock) + c->deadline_ms;
}

CURL *s3_take_handle(struct s3_client *c)
{
    CURL *easy = NULL;

    pthread_mutex_lock(&c->lock);
    if (c->idle_count > 0)
        easy = c->idle[--c->idle_count];
    pthread_mutex_unlock(&c->lock);
    return easy ? easy : curl_easy_init();
}

void s3_put_handle(struct s3_client *c, CURL *easy)
{
    curl_easy_reset(easy);
    pthread_mutex_lock(&c->lock);
    if (c->idle_count < S3_IDLE_MAX) {
        c->idle[c->idle_count++] = easy;
        easy = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (easy)
        curl_easy_cleanup(easy);
}

void s3_path(const struct s3_client *c, const char *key, struct buf *path)
{
    buf_char(path, '/');
    blob_percent(path, c->bucket, false);
    if (key) {
        buf_char(path, '/');
        blob_percent(path, key, true);
    }
}

int s3_presign(struct s3_client *c, const char *key, int64_t seconds, struct buf *url,
               struct err *e)
{
    struct sigv4_keys keys = {c->access_key, c->secret_key, c->region};
    char time[SIGV4_TIME];
    struct buf path;

    if (seconds < 1 || seconds > 604800)
        return err_set(e, ERR_USAGE, "a presigned URL lasts 1 second to 7 days, not %lld seconds",
                       (long long)seconds);
    buf_init(&path, 8192);
    s3_path(c, key, &path);
    sigv4_time(clock_wall_ms(c->clock), time);
    buf_printf(url, "%s%s?", c->base, path.data ? path.data : "");
    sigv4_presign(&keys, c->host, path.data ? path.data : "", time, seconds, url);
    if (path.failed)
        url->failed = path.failed;
    buf_release(&path);
    return buf_check(url, "a presigned URL", e);
}
