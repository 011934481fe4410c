#include "tests/chaos/proxy.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX  65536
#define BODY_MAX  ((size_t)80 << 20)
#define HANG_MS   15000
#define STALL_SEC 60

static struct {
    int upstream, listener;
    atomic_int percent[PROXY_MODES];
    atomic_long count[PROXY_MODES];
    atomic_ulong drawn; /* a counter-based generator's counter */
} proxy;

struct message { /* a head and what follows it, in one block */
    char *bytes;
    size_t len, head;
};

/* splitmix64: which request meets which fault depends on their order, as in real life */
static unsigned draw(unsigned below)
{
    uint64_t z = (atomic_fetch_add(&proxy.drawn, 1) + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ (z >> 31)) % below);
}

static bool spoil(enum proxy_mode mode)
{
    int percent = atomic_load(&proxy.percent[mode]);

    if (!percent || (int)draw(100) >= percent)
        return false;
    atomic_fetch_add(&proxy.count[mode], 1);
    return true;
}

static void wait_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

static void send_all(int fd, const char *bytes, size_t n)
{
    ssize_t k;

    while (n > 0 && (k = send(fd, bytes, n, MSG_NOSIGNAL)) > 0) {
        bytes += k;
        n -= (size_t)k;
    }
}

static size_t length_of(const char *head)
{
    const char *line = strcasestr(head, "\r\nContent-Length:");

    return line ? strtoul(line + 17, NULL, 10) : 0;
}

static bool more(struct message *m, int fd, size_t room)
{
    char *grown = realloc(m->bytes, m->len + room + 1);
    ssize_t k;

    if (!grown)
        return false;
    m->bytes = grown;
    if ((k = recv(fd, m->bytes + m->len, room, 0)) <= 0)
        return false;
    m->len += (size_t)k;
    m->bytes[m->len] = '\0';
    return true;
}

/* One request; false: the client left or speaks nonsense. */
static bool read_request(int fd, struct message *m)
{
    char *end = NULL;
    size_t all;

    while (!end) {
        if (m->len > HEAD_MAX || !more(m, fd, 16384))
            return false;
        end = strstr(m->bytes, "\r\n\r\n");
    }
    m->head = (size_t)(end + 4 - m->bytes);
    end[2] = '\0'; /* the head alone is searched */
    all = m->head + length_of(m->bytes);
    end[2] = '\r';
    if (all > BODY_MAX)
        return false;
    while (m->len < all)
        if (!more(m, fd, all - m->len))
            return false;
    return true;
}

static int dial(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)proxy.upstream)};
    struct timeval stall = {STALL_SEC, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) < 0) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof stall);
    return fd;
}

/* Sends `n` bytes of the request, one a connection, and reads the answer to its end. */
static bool ask_server(const struct message *request, size_t n, struct message *answer)
{
    static const char last[] = "Connection: close\r\n";
    const char *body = request->bytes + request->head;
    int fd = dial();

    if (fd < 0)
        return false;
    send_all(fd, request->bytes, request->head - 2);
    send_all(fd, last, sizeof last - 1);
    send_all(fd, "\r\n", 2);
    send_all(fd, body, n - request->head);
    while (n == request->len && more(answer, fd, 65536))
        ;
    close(fd);
    return answer->len > 0;
}

static void refuse(int fd, int status, const char *code, bool is_head)
{
    char text[512], body[200];
    int n = snprintf(body, sizeof body,
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>%s</Code>"
                     "<Message>the fault proxy</Message></Error>",
                     code);

    snprintf(text, sizeof text,
             "HTTP/1.1 %d %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
             "Connection: close\r\n\r\n%s",
             status, code, n, is_head ? "" : body);
    send_all(fd, text, strlen(text));
}

static void until_client_leaves(int fd)
{
    struct pollfd p = {fd, POLLIN | POLLRDHUP, 0};

    poll(&p, 1, HANG_MS);
}

static void serve(int fd, const struct message *request)
{
    static const int refusals[] = {500, 502, 503, 504};
    bool is_head = !strncmp(request->bytes, "HEAD ", 5);
    struct message answer = {NULL, 0, 0};

    if (spoil(PROXY_4XX)) {
        bool unknown = draw(2);

        refuse(fd, unknown ? 401 : 403, unknown ? "InvalidToken" : "AccessDenied", is_head);
    } else if (spoil(PROXY_HANG)) {
        until_client_leaves(fd);
    } else if (spoil(PROXY_LOST)) {
        ask_server(request, request->len, &answer);
        if (draw(2))
            until_client_leaves(fd);
    } else if (spoil(PROXY_5XX)) {
        if (draw(2))
            ask_server(request, request->len, &answer);
        refuse(fd, refusals[draw(4)], "SlowDown", is_head);
    } else if (spoil(PROXY_CUT)) {
        if (draw(2) && request->len > request->head)
            ask_server(request, request->head + (request->len - request->head) / 2, &answer);
        else if (ask_server(request, request->len, &answer))
            send_all(fd, answer.bytes, answer.len / 2);
    } else {
        if (spoil(PROXY_SLOW))
            wait_ms(200 + (long)draw(1800));
        if (ask_server(request, request->len, &answer))
            send_all(fd, answer.bytes, answer.len);
    }
    free(answer.bytes);
}

static void *connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    struct message request = {NULL, 0, 0};

    if (read_request(fd, &request))
        serve(fd, &request);
    free(request.bytes);
    close(fd);
    return NULL;
}

static void *listen_on(void *arg)
{
    pthread_attr_t small;
    pthread_t t;
    int fd;

    pthread_attr_init(&small);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&small, 256 << 10);
    while ((fd = accept4(proxy.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        if (pthread_create(&t, &small, connection, (void *)(intptr_t)fd))
            close(fd);
    return NULL;
}

int proxy_start(int upstream_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    pthread_t t;

    proxy.upstream = upstream_port;
    proxy.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (proxy.listener < 0 || bind(proxy.listener, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(proxy.listener, 128) < 0 ||
        getsockname(proxy.listener, (struct sockaddr *)&at, &size) < 0 ||
        pthread_create(&t, NULL, listen_on, NULL))
        return -1;
    pthread_detach(t);
    return ntohs(at.sin_port);
}

void proxy_set(enum proxy_mode mode, int percent)
{
    atomic_store(&proxy.percent[mode], percent);
}

long proxy_count(enum proxy_mode mode)
{
    return atomic_load(&proxy.count[mode]);
}
