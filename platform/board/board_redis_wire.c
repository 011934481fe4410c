#include "platform/board/board_redis_int.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "platform/base/text.h"
#include "platform/clock/clock.h"

enum { SHA1_HEX = 40, ATTEMPTS_WHILE_STOPPING = 3 };

void redis_arg(struct redis_args *a, const char *bytes, size_t n)
{
    if (a->count == REDIS_ARGS_MAX)
        abort(); /* callers bound their input */
    a->at[a->count] = bytes;
    a->len[a->count++] = n;
}

void redis_text(struct redis_args *a, const char *text)
{
    redis_arg(a, text, strlen(text));
}

void redis_number(struct redis_args *a, int64_t v)
{
    char *to;

    if (a->number_count == (int)(sizeof a->numbers / sizeof *a->numbers))
        abort();
    to = a->numbers[a->number_count++];
    snprintf(to, sizeof a->numbers[0], "%lld", (long long)v);
    redis_text(a, to);
}

void redis_begin_script(struct redis_args *a, const struct redis_script *s)
{
    redis_text(a, "EVALSHA");
    redis_text(a, ""); /* the hash: redis_call writes it */
    redis_number(a, s->keys);
}

static int parse_address(struct redis *r, struct err *e)
{
    char *colon;
    int64_t port;

    if (!strncmp(r->address, "unix:", 5)) {
        r->host = strdup(r->address + 5);
        return r->host ? 0 : err_set(e, ERR_NOMEM, "the board");
    }
    r->host = strdup(r->address[0] == '[' ? r->address + 1 : r->address);
    if (!r->host)
        return err_set(e, ERR_NOMEM, "the board");
    colon = strrchr(r->host, ':');
    if (!colon || colon == r->host || text_i64(colon + 1, 1, 65535, &port) < 0)
        return err_set(e, ERR_CONFIG, "Redis address '%s': host:port or unix:/path is expected",
                       r->address);
    *colon = '\0';
    if (r->address[0] == '[' && colon > r->host && colon[-1] == ']')
        colon[-1] = '\0';
    r->port = (int)port;
    return 0;
}

int redis_open(struct redis *r, const struct board_redis_options *o, struct err *e)
{
    r->timeout_ms = o->timeout_ms ? o->timeout_ms : 5000;
    r->deadline_ms = o->deadline_ms ? o->deadline_ms : 15000;
    r->address = strdup(o->address ? o->address : "");
    r->username = o->username && *o->username ? strdup(o->username) : NULL;
    r->password = o->password && *o->password ? strdup(o->password) : NULL;
    if (!r->address || (o->username && *o->username && !r->username) ||
        (o->password && *o->password && !r->password))
        return err_set(e, ERR_NOMEM, "the board");
    if (r->username && !r->password)
        return err_set(e, ERR_CONFIG, "Redis user %s has no password", r->username);
    return parse_address(r, e);
}

static void disconnect(struct redis *r)
{
    if (r->context)
        redisFree(r->context);
    r->context = NULL;
}

void redis_close(struct redis *r)
{
    disconnect(r);
    free(r->address);
    free(r->host);
    free(r->username);
    if (r->password)
        OPENSSL_cleanse(r->password, strlen(r->password));
    free(r->password);
}

static int unreachable(struct redis *r, const char *why, struct err *e)
{
    return err_set(e, ERR_PEER, "Redis at %s: %s: is TRIPLINE_REDIS right?", r->address, why);
}

/* The code of an error reply, by its first word (Redis's documented prefixes). */
static int refused(struct redis *r, const redisReply *reply, struct err *e)
{
    static const struct {
        const char *prefix;
        int code;
        const char *advice;
    } known[] = {
        {"NOAUTH", ERR_DENIED, ": set user name and password"},
        {"WRONGPASS", ERR_DENIED, ": check user name and password"},
        {"ERR invalid password", ERR_DENIED, ": check the password"},
        {"ERR AUTH", ERR_DENIED, ": this server wants no password"},
        {"ERR Client sent AUTH", ERR_DENIED, ": this server wants no password"},
        {"NOPERM", ERR_DENIED, ": the user's ACL refuses it, ask the operator"},
        {"WRONGTYPE", ERR_CONFIG, ": something else uses this key"},
        {"LOADING", ERR_PEER, ""},
        {"BUSY", ERR_PEER, ""},
        {"MASTERDOWN", ERR_PEER, ""},
        {"READONLY", ERR_PEER, ": this is a replica"},
        {"OOM", ERR_PEER, ": the server's memory is full"},
        {"MISCONF", ERR_PEER, ": the server cannot write its disk"},
        {"TRYAGAIN", ERR_PEER, ""},
        {"UNKILLABLE", ERR_PEER, ""},
        {"max number of clients", ERR_PEER, ""},
        {"ERR max number of clients", ERR_PEER, ""},
    };
    size_t i;

    for (i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(reply->str, known[i].prefix, strlen(known[i].prefix)))
            return err_set(e, known[i].code, "Redis at %s: %s%s", r->address, reply->str,
                           known[i].advice);
    return err_set(e, ERR_INTERNAL, "Redis at %s: %s", r->address, reply->str);
}

static int log_in(struct redis *r, struct err *e)
{
    const char *args[3] = {"AUTH", r->username ? r->username : r->password, r->password};
    redisReply *reply;
    int rc = 0;

    if (!r->password)
        return 0;
    reply = redisCommandArgv(r->context, r->username ? 3 : 2, args, NULL);
    if (!reply)
        return unreachable(r, r->context->errstr, e);
    if (reply->type == REDIS_REPLY_ERROR)
        rc = refused(r, reply, e);
    freeReplyObject(reply);
    return rc;
}

static int connect_once(struct redis *r, struct err *e)
{
    struct timeval limit = {r->timeout_ms / 1000, (r->timeout_ms % 1000) * 1000};
    int rc;

    r->context = r->port ? redisConnectWithTimeout(r->host, r->port, limit)
                         : redisConnectUnixWithTimeout(r->host, limit);
    if (!r->context)
        return err_set(e, ERR_NOMEM, "a connection to Redis");
    if (r->context->err || redisSetTimeout(r->context, limit) != REDIS_OK)
        rc = unreachable(r, r->context->err ? r->context->errstr : "no timeout", e);
    else
        rc = log_in(r, e);
    if (rc < 0)
        disconnect(r);
    return rc;
}

static int send_once(struct redis *r, struct redis_args *a, redisReply **out, struct err *e)
{
    redisReply *reply = redisCommandArgv(r->context, a->count, a->at, a->len);
    int rc;

    if (!reply) {
        rc = unreachable(r, r->context->errstr, e);
        disconnect(r);
        return rc;
    }
    *out = reply;
    return 0;
}

/* One try: connect if need be, send, look at the answer. */
static int attempt(struct redis *r, struct redis_args *a, const struct redis_script *script,
                   redisReply **out, struct err *e)
{
    redisReply *reply = NULL;
    int rc;

    if (!r->context && (rc = connect_once(r, e)) < 0)
        return rc;
    if ((rc = send_once(r, a, &reply, e)) < 0)
        return rc;
    if (script && reply->type == REDIS_REPLY_ERROR && !strncmp(reply->str, "NOSCRIPT", 8)) {
        struct redis_args whole = *a;

        freeReplyObject(reply);
        whole.at[0] = "EVAL";
        whole.len[0] = 4;
        whole.at[1] = script->text;
        whole.len[1] = strlen(script->text);
        if ((rc = send_once(r, &whole, &reply, e)) < 0)
            return rc;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        rc = refused(r, reply, e);
        freeReplyObject(reply);
        if (rc == ERR_PEER)
            disconnect(r); /* another server may answer the next connection */
        return rc;
    }
    *out = reply;
    return 0;
}

static int hash_script(const struct redis_script *s, char hex[SHA1_HEX + 1], struct err *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    if (!EVP_Digest(s->text, strlen(s->text), digest, &n, EVP_sha1(), NULL) || n != SHA1_HEX / 2)
        return err_set(e, ERR_INTERNAL, "no SHA-1 in this OpenSSL");
    text_hex(digest, n, hex);
    return 0;
}

/*
 * hiredis writes to its socket without MSG_NOSIGNAL: a server that went away
 * would end the process. The signal is blocked for this thread and, if the
 * write raised it, taken back.
 */
struct pipe_guard {
    sigset_t before;
    bool pending;
};

static void guard_pipe(struct pipe_guard *g)
{
    sigset_t set;

    sigemptyset(&set);
    sigpending(&set);
    g->pending = sigismember(&set, SIGPIPE) == 1;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &g->before);
}

static void unguard_pipe(struct pipe_guard *g)
{
    const struct timespec now = {0, 0};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    if (!g->pending)
        sigtimedwait(&set, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &g->before, NULL);
}

int redis_call(struct redis *r, struct redis_args *a, const struct redis_script *script,
               redisReply **out, struct err *e)
{
    int64_t until = clock_mono_ms(r->clock) + r->deadline_ms;
    char hash[SHA1_HEX + 1];
    struct pipe_guard guard;
    int64_t left;
    int rc, n;

    *out = NULL;
    if (script) {
        if ((rc = hash_script(script, hash, e)) < 0)
            return rc;
        a->at[1] = hash;
        a->len[1] = SHA1_HEX;
    }
    pthread_mutex_lock(&r->lock);
    guard_pipe(&guard);
    for (n = 0;; n++) {
        rc = attempt(r, a, script, out, e);
        left = until - clock_mono_ms(r->clock);
        if (rc != ERR_PEER || left <= 0 ||
            (clock_stopping(r->clock) && n + 1 >= ATTEMPTS_WHILE_STOPPING))
            break;
        if (n > 0 || r->deadline_ms < 100) { /* a stale connection: again at once */
            int64_t wait = clock_backoff_ms(r->clock, n, 50, 1000);

            clock_sleep_ms(r->clock, wait < left ? wait : left);
        }
    }
    unguard_pipe(&guard);
    pthread_mutex_unlock(&r->lock);
    return rc;
}
