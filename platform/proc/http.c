#include "platform/proc/http.h"

#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "platform/base/buf.h"
#include "platform/proc/metrics.h"

#define CONNECTIONS_MAX 16
#define IDLE_SECONDS    10
#define REQUEST_BYTES   16384
#define ANSWER_BYTES    ((size_t)8 << 20)

struct http {
    struct MHD_Daemon *daemon;
    struct http_options o;
};

/* Takes the buffer's memory. */
static enum MHD_Result answer(struct MHD_Connection *to, unsigned status, const char *type,
                              struct buf *body)
{
    struct MHD_Response *r;
    enum MHD_Result queued;
    size_t n;
    char *bytes;

    if (body->failed)
        return MHD_NO; /* closes the connection */
    bytes = buf_detach(body, &n);
    r = MHD_create_response_from_buffer(n, bytes, MHD_RESPMEM_MUST_FREE);
    if (!r) {
        free(bytes);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    queued = MHD_queue_response(to, status, r);
    MHD_destroy_response(r);
    return queued;
}

static enum MHD_Result answer_text(struct MHD_Connection *to, unsigned status, const char *text)
{
    struct buf b;
    enum MHD_Result queued;

    buf_init(&b, 4096);
    buf_printf(&b, "%s\n", text);
    queued = answer(to, status, "text/plain; charset=utf-8", &b);
    buf_release(&b);
    return queued;
}

static enum MHD_Result answer_state(const struct http *h, struct MHD_Connection *to,
                                    bool (*good)(void *, struct err *))
{
    struct err why = ERR_INIT;

    if (!good || good(h->o.arg, &why))
        return answer_text(to, MHD_HTTP_OK, "ok");
    return answer_text(to, MHD_HTTP_SERVICE_UNAVAILABLE, why.text[0] ? why.text : "not now");
}

static enum MHD_Result answer_metrics(const struct http *h, struct MHD_Connection *to)
{
    struct buf b;
    enum MHD_Result queued;

    buf_init(&b, ANSWER_BYTES);
    metrics_text(h->o.metrics, &b);
    queued = answer(to, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &b);
    buf_release(&b);
    return queued;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *to, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    const struct http *h = arg;

    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(to, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    if (!strcmp(url, "/metrics"))
        return answer_metrics(h, to);
    if (!strcmp(url, "/healthz"))
        return answer_state(h, to, h->o.healthy);
    if (!strcmp(url, "/readyz"))
        return answer_state(h, to, h->o.ready);
    return answer_text(to, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz");
}

/* Splits "host:port" or "[host]:port" and looks the address up. */
static int resolve(const char *address, struct addrinfo **out, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    const char *colon = strrchr(address, ':');
    char host[256];
    size_t n = colon ? (size_t)(colon - address) : 0;
    int rc;

    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (n == 0 || n >= sizeof host || !colon[1])
        return err_set(e, ERR_CONFIG, "http.address '%s': write it as host:port", address);
    memcpy(host, address, n);
    host[n] = 0;
    if ((rc = getaddrinfo(host, colon + 1, &hints, out)) != 0)
        return err_set(e, ERR_CONFIG, "http.address '%s': %s", address, gai_strerror(rc));
    return 0;
}

/* Signals are the main thread's, so the server's starts with all of them blocked. */
static struct MHD_Daemon *start(struct http *h, const struct sockaddr *at)
{
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | (at->sa_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    struct MHD_Daemon *d;
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    d = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR, at,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return d;
}

int http_start(struct http **out, const struct http_options *o, struct err *e)
{
    struct http *h;
    struct addrinfo *at;
    int rc;

    if ((rc = resolve(o->address, &at, e)) < 0)
        return rc;
    h = calloc(1, sizeof *h);
    if (!h) {
        freeaddrinfo(at);
        return err_set(e, ERR_NOMEM, "the HTTP server");
    }
    h->o = *o;
    h->daemon = start(h, at->ai_addr);
    freeaddrinfo(at);
    if (!h->daemon) {
        http_stop(h);
        return err_errno(e, ERR_CONFIG, "serving HTTP at '%s' (taken by another process?)",
                         o->address);
    }
    *out = h;
    return 0;
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    free(h);
}

int http_port(const struct http *h)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);

    return info ? info->port : 0;
}
