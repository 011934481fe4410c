#include "tests/unit/blob/fault_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/base/sha256.h"

#define REQUESTS 256
#define HEAD_MAX 65536
#define BODY_MAX ((size_t)1 << 22)
#define HUNG     32

struct fault_server {
    const struct fault_step *steps;
    size_t step_count;
    int listener, stop[2];
    char endpoint[64];
    pthread_t thread;

    pthread_mutex_t lock; /* below */
    struct fault_request requests[REQUESTS];
    size_t count, connections;

    char *buffer; /* the thread's */
    int hung[HUNG];
    size_t hung_count;
};

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        abort();
    }
}

/* Bytes, or 0 at the end or when the server stops. */
static size_t read_some(struct fault_server *s, int fd, char *to, size_t n)
{
    struct pollfd fds[2] = {{fd, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
    ssize_t k;

    if (poll(fds, 2, -1) < 0 || fds[1].revents)
        return 0;
    k = read(fd, to, n);
    return k > 0 ? (size_t)k : 0;
}

static void send_all(int fd, const char *bytes, size_t n)
{
    ssize_t k;

    while (n > 0 && (k = send(fd, bytes, n, MSG_NOSIGNAL)) > 0) {
        bytes += k;
        n -= (size_t)k;
    }
}

static const char *header(const char *head, const char *name, char *value, size_t size)
{
    const char *line = head;
    size_t n = strlen(name);

    value[0] = '\0';
    while ((line = strstr(line, "\r\n"))) {
        line += 2;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            line += n + 1;
            line += strspn(line, " ");
            snprintf(value, size, "%.*s", (int)strcspn(line, "\r\n"), line);
            return value;
        }
    }
    return NULL;
}

static void note(struct fault_server *s, const char *head, const char *body, size_t body_len)
{
    struct fault_request r = {.body_len = body_len};
    char value[2048], sha[SHA256_HEX];

    sscanf(head, "%7s %1023s", r.method, r.target);
    sha256_of(body, body_len, sha);
    r.if_absent = header(head, "If-None-Match", value, sizeof value) && strcmp(value, "*") == 0;
    r.signed_v4 = header(head, "Authorization", value, sizeof value) &&
                  strncmp(value, "AWS4-HMAC-SHA256 ", 17) == 0;
    r.hash_right =
        header(head, "x-amz-content-sha256", value, sizeof value) && strcmp(value, sha) == 0;
    r.md5_present = header(head, "Content-MD5", value, sizeof value) != NULL;
    pthread_mutex_lock(&s->lock);
    if (s->count < REQUESTS)
        s->requests[s->count] = r;
    s->count++;
    pthread_mutex_unlock(&s->lock);
}

/* One whole request into the buffer; false: there is none. */
static bool read_request(struct fault_server *s, int fd)
{
    size_t have = 0, length = 0, k;
    char value[64], *end = NULL;

    while (!end) {
        k = have < HEAD_MAX ? read_some(s, fd, s->buffer + have, HEAD_MAX - have) : 0;
        if (k == 0)
            return false;
        have += k;
        s->buffer[have] = '\0';
        end = strstr(s->buffer, "\r\n\r\n");
    }
    end[2] = '\0'; /* the head's last line keeps its end */
    if (header(s->buffer, "Content-Length", value, sizeof value))
        length = strtoul(value, NULL, 10);
    must(length < BODY_MAX, "a test's body");
    if (header(s->buffer, "Expect", value, sizeof value))
        send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    have -= (size_t)(end + 4 - s->buffer);
    while (have < length) {
        k = read_some(s, fd, end + 4 + have, length - have);
        if (k == 0)
            return false;
        have += k;
    }
    note(s, s->buffer, end + 4, length);
    return true;
}

static void answer(int fd, const struct fault_step *step, bool is_head)
{
    const char *body = step->body ? step->body : "";
    size_t n = strlen(body);
    char head[1024], length[64] = "";

    if (step->how == ENDLESS)
        snprintf(length, sizeof length, "Content-Length: 1000000000000\r\n");
    else if (step->how != NO_LENGTH)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", n);
    snprintf(head, sizeof head, "HTTP/1.1 %d Scripted\r\n%s%s%s\r\n", step->status, length,
             step->headers ? step->headers : "", step->how == KEEP ? "" : "Connection: close\r\n");
    send_all(fd, head, strlen(head));
    if (!is_head)
        send_all(fd, body, step->how == CUT ? n / 2 : n);
}

/* Serves one connection to its end. */
static void serve(struct fault_server *s, int fd)
{
    const struct fault_step *step;
    size_t i;

    while (read_request(s, fd)) {
        i = s->count - 1; /* written by this thread only */
        step = &s->steps[i < s->step_count ? i : s->step_count - 1];
        if (step->how == HANG && s->hung_count < HUNG) {
            s->hung[s->hung_count++] = fd; /* open until the end */
            return;
        }
        if (step->how == DROP)
            break;
        answer(fd, step, strncmp(s->buffer, "HEAD ", 5) == 0);
        if (step->how != KEEP)
            break;
    }
    close(fd);
}

static void *run(void *arg)
{
    struct fault_server *s = arg;
    struct pollfd fds[2] = {{s->listener, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
    int fd;

    while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
        fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            continue;
        pthread_mutex_lock(&s->lock);
        s->connections++;
        pthread_mutex_unlock(&s->lock);
        serve(s, fd);
    }
    return NULL;
}

struct fault_server *fault_server_start(const struct fault_step *steps, size_t n)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct fault_server *s = calloc(1, sizeof *s);
    socklen_t size = sizeof at;

    must(s != NULL && (s->buffer = malloc(HEAD_MAX + BODY_MAX)), "memory");
    s->steps = steps;
    s->step_count = n;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(s->listener, (struct sockaddr *)&at, size) == 0 && listen(s->listener, 128) == 0 &&
             getsockname(s->listener, (struct sockaddr *)&at, &size) == 0 && pipe(s->stop) == 0,
         "a loopback port");
    snprintf(s->endpoint, sizeof s->endpoint, "http://127.0.0.1:%d", ntohs(at.sin_port));
    pthread_mutex_init(&s->lock, NULL);
    must(pthread_create(&s->thread, NULL, run, s) == 0, "a thread");
    return s;
}

const char *fault_server_endpoint(const struct fault_server *s)
{
    return s->endpoint;
}

size_t fault_server_count(struct fault_server *s)
{
    size_t n;

    pthread_mutex_lock(&s->lock);
    n = s->count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

size_t fault_server_connections(struct fault_server *s)
{
    size_t n;

    pthread_mutex_lock(&s->lock);
    n = s->connections;
    pthread_mutex_unlock(&s->lock);
    return n;
}

struct fault_request fault_server_request(struct fault_server *s, size_t i)
{
    struct fault_request r;

    pthread_mutex_lock(&s->lock);
    r = s->requests[i < REQUESTS ? i : 0];
    pthread_mutex_unlock(&s->lock);
    return r;
}

void fault_server_stop(struct fault_server *s)
{
    size_t i;

    must(write(s->stop[1], "x", 1) == 1, "stop");
    pthread_join(s->thread, NULL);
    for (i = 0; i < s->hung_count; i++)
        close(s->hung[i]);
    close(s->listener);
    close(s->stop[0]);
    close(s->stop[1]);
    pthread_mutex_destroy(&s->lock);
    free(s->buffer);
    free(s);
}
