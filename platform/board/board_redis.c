#include "platform/board/board_redis_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS_MAX = 1000, TAIL_MAX = 500 };

static const struct redis_script set_script = {
    "local ttl = table.remove(ARGV, 1)\n"
    "if #ARGV > 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end\n"
    "if tonumber(ttl) > 0 then redis.call('PEXPIRE', KEYS[1], ttl)\n"
    "else redis.call('PERSIST', KEYS[1]) end\n"
    "return 1",
    1};

/* A log is one hash: a line under its number, `first` and `next` beside them. */
static const struct redis_script append_script = {
    "local n = redis.call('HINCRBY', KEYS[1], 'next', 1) - 1\n"
    "redis.call('HSET', KEYS[1], string.format('%.0f', n), ARGV[1])\n"
    "local first = tonumber(redis.call('HGET', KEYS[1], 'first') or '0')\n"
    "local keep = tonumber(ARGV[2])\n"
    "if n - first >= keep then\n"
    "  while n - first >= keep do\n"
    "    redis.call('HDEL', KEYS[1], string.format('%.0f', first))\n"
    "    first = first + 1\n"
    "  end\n"
    "  redis.call('HSET', KEYS[1], 'first', string.format('%.0f', first))\n"
    "end\n"
    "if tonumber(ARGV[3]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
    "else redis.call('PERSIST', KEYS[1]) end\n"
    "return 1",
    1};

static int redis_set(struct board *b, const char *key, const struct board_field *f, size_t n,
                     int64_t ttl_ms, struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    size_t i;
    int rc;

    if (n > FIELDS_MAX)
        return err_set(e, ERR_LIMIT, "%s: %zu fields at once, %d are possible", key, n, FIELDS_MAX);
    if (!n)
        return 0;
    redis_begin_script(&a, &set_script);
    redis_text(&a, key);
    redis_number(&a, ttl_ms);
    for (i = 0; i < n; i++) {
        redis_text(&a, f[i].name);
        redis_text(&a, f[i].value);
    }
    if ((rc = redis_call((struct redis *)b, &a, &set_script, &reply, e)) == 0)
        freeReplyObject(reply);
    return rc;
}

static int redis_get(struct board *b, const char *key, const char *field, struct buf *out,
                     struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    int rc;

    redis_text(&a, "HGET");
    redis_text(&a, key);
    redis_text(&a, field);
    if ((rc = redis_call((struct redis *)b, &a, NULL, &reply, e)) < 0)
        return rc;
    if (reply->type == REDIS_REPLY_STRING) {
        buf_add(out, reply->str, (size_t)reply->len);
        rc = buf_check(out, key, e);
    } else {
        rc = err_set(e, ERR_NOT_FOUND, "%s has no field %s", key, field);
    }
    freeReplyObject(reply);
    return rc;
}

/* Name, value, name, value, ...: gives them to `each` until it wants no more. */
static int give(const redisReply *reply, board_each_fn each, void *arg)
{
    size_t i;
    int rc;

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < (size_t)reply->elements; i += 2) {
        const redisReply *name = reply->element[i], *value = reply->element[i + 1];

        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
            continue;
        if ((rc = each(arg, name->str, value->str, (size_t)value->len)))
            return rc < 0 ? rc : 0;
    }
    return 0;
}

static int redis_each(struct board *b, const char *key, board_each_fn each, void *arg,
                      struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    int rc;

    redis_text(&a, "HGETALL");
    redis_text(&a, key);
    if ((rc = redis_call((struct redis *)b, &a, NULL, &reply, e)) < 0)
        return rc;
    rc = give(reply, each, arg);
    freeReplyObject(reply);
    return rc;
}

static int redis_remove(struct board *b, const char *key, struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    int rc;

    redis_text(&a, "DEL");
    redis_text(&a, key);
    if ((rc = redis_call((struct redis *)b, &a, NULL, &reply, e)) == 0)
        freeReplyObject(reply);
    return rc;
}

static int redis_create(struct board *b, const char *key, const char *value, int64_t ttl_ms,
                        struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    int rc;

    redis_text(&a, "SET");
    redis_text(&a, key);
    redis_text(&a, value);
    redis_text(&a, "NX");
    if (ttl_ms > 0) {
        redis_text(&a, "PX");
        redis_number(&a, ttl_ms);
    }
    if ((rc = redis_call((struct redis *)b, &a, NULL, &reply, e)) < 0)
        return rc;
    if (reply->type == REDIS_REPLY_NIL)
        rc = err_set(e, ERR_EXISTS, "%s exists already", key);
    freeReplyObject(reply);
    return rc;
}

static int redis_append(struct board *b, const char *key, const char *bytes, size_t n, size_t keep,
                        int64_t ttl_ms, struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    int rc;

    redis_begin_script(&a, &append_script);
    redis_text(&a, key);
    redis_arg(&a, bytes, n);
    redis_number(&a, keep ? (int64_t)keep : 1);
    redis_number(&a, ttl_ms);
    if ((rc = redis_call((struct redis *)b, &a, &append_script, &reply, e)) == 0)
        freeReplyObject(reply);
    return rc;
}

/* The values of n fields, an array with NIL where there is none. The caller frees it. */
static int fields(struct redis *r, const char *key, const char *const *names, size_t n,
                  redisReply **out, struct err *e)
{
    struct redis_args a = {0};
    size_t i;
    int rc;

    redis_text(&a, "HMGET");
    redis_text(&a, key);
    for (i = 0; i < n; i++)
        redis_text(&a, names[i]);
    if ((rc = redis_call(r, &a, NULL, out, e)) < 0)
        return rc;
    if ((*out)->type == REDIS_REPLY_ARRAY && (*out)->elements == n)
        return 0;
    freeReplyObject(*out);
    return err_set(e, ERR_FORMAT, "%s: HMGET gave something else", key);
}

static uint64_t number_of(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING ? strtoull(r->str, NULL, 10) : 0;
}

static int ends(struct redis *r, const char *key, uint64_t *first, uint64_t *next, struct err *e)
{
    static const char *const names[] = {"first", "next"};
    redisReply *reply;
    int rc = fields(r, key, names, 2, &reply, e);

    if (rc < 0)
        return rc;
    *first = number_of(reply->element[0]);
    *next = number_of(reply->element[1]);
    freeReplyObject(reply);
    return 0;
}

/* Lines [from, from + n); one that was dropped meanwhile is passed over. 1: none was there, or
 * `each` wants no more. */
static int lines(struct redis *r, const char *key, uint64_t from, size_t n, board_each_fn each,
                 void *arg, struct err *e)
{
    char text[TAIL_MAX][24];
    const char *names[TAIL_MAX];
    redisReply *reply;
    size_t i;
    int rc, none = 1;

    for (i = 0; i < n; i++) {
        snprintf(text[i], sizeof text[i], "%llu", (unsigned long long)(from + i));
        names[i] = text[i];
    }
    if ((rc = fields(r, key, names, n, &reply, e)) < 0)
        return rc;
    for (i = 0; i < n && rc == 0; i++)
        if (reply->element[i]->type == REDIS_REPLY_STRING) {
            none = 0;
            rc = each(arg, names[i], reply->element[i]->str, reply->element[i]->len);
        }
    freeReplyObject(reply);
    return rc ? rc : none;
}

/* By plain reads, since a user who may send scripts may send one without an end. In portions: an
 * answer is held in memory whole, on both sides. */
static int redis_tail(struct board *b, const char *key, uint64_t from, board_each_fn each,
                      void *arg, struct err *e)
{
    struct redis *r = (struct redis *)b;
    uint64_t first, next;
    size_t n;
    int rc = ends(r, key, &first, &next, e);

    if (from < first)
        from = first;
    for (; rc == 0 && from < next; from += n) {
        n = next - from < TAIL_MAX ? (size_t)(next - from) : TAIL_MAX;
        rc = lines(r, key, from, n, each, arg, e);
    }
    return rc < 0 ? rc : 0;
}

static void redis_free(struct board *b)
{
    struct redis *r = (struct redis *)b;

    redis_close(r);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static const struct board_ops redis_ops = {
    .set = redis_set,
    .get = redis_get,
    .each = redis_each,
    .remove = redis_remove,
    .create = redis_create,
    .append = redis_append,
    .tail = redis_tail,
    .push = redis_push,
    .lease = redis_lease,
    .renew = redis_renew,
    .release = redis_release,
    .reader = redis_reader,
    .free = redis_free,
};

int board_redis(struct board **out, const struct board_redis_options *o, struct clock *clock,
                struct err *e)
{
    struct redis *r = calloc(1, sizeof *r);
    int rc;

    if (!r)
        return err_set(e, ERR_NOMEM, "the board");
    r->base.ops = &redis_ops;
    r->clock = clock;
    pthread_mutex_init(&r->lock, NULL);
    if ((rc = redis_open(r, o, e)) < 0) {
        redis_free(&r->base);
        return rc;
    }
    *out = &r->base;
    return 0;
}
