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

/* number, line, number, line, ... */
static const struct redis_script tail_script = {
    "local first = tonumber(redis.call('HGET', KEYS[1], 'first') or '0')\n"
    "local next = tonumber(redis.call('HGET', KEYS[1], 'next') or '0')\n"
    "local from = math.max(tonumber(ARGV[1]), first)\n"
    "local upto = math.min(next, from + tonumber(ARGV[2])) - 1\n"
    "local out = {}\n"
    "for n = from, upto do\n"
    "  local name = string.format('%.0f', n)\n"
    "  local line = redis.call('HGET', KEYS[1], name)\n"
    "  if line then out[#out + 1] = name; out[#out + 1] = line end\n"
    "end\n"
    "return out",
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
static int give(const redisReply *reply, board_each_fn each, void *arg, int *stopped)
{
    size_t i;

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < (size_t)reply->elements; i += 2) {
        const redisReply *name = reply->element[i], *value = reply->element[i + 1];

        if (name->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING)
            continue;
        if ((*stopped = each(arg, name->str, value->str, (size_t)value->len)))
            return *stopped < 0 ? *stopped : 0;
    }
    return 0;
}

static int redis_each(struct board *b, const char *key, board_each_fn each, void *arg,
                      struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    int rc, stopped = 0;

    redis_text(&a, "HGETALL");
    redis_text(&a, key);
    if ((rc = redis_call((struct redis *)b, &a, NULL, &reply, e)) < 0)
        return rc;
    rc = give(reply, each, arg, &stopped);
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

static int redis_tail(struct board *b, const char *key, uint64_t from, board_each_fn each,
                      void *arg, struct err *e)
{
    redisReply *reply;
    size_t got;
    int rc, stopped = 0;

    do { /* in portions: an answer is held in memory whole, on both sides */
        struct redis_args a = {0};

        redis_begin_script(&a, &tail_script);
        redis_text(&a, key);
        redis_number(&a, from > INT64_MAX ? INT64_MAX : (int64_t)from);
        redis_number(&a, TAIL_MAX);
        if ((rc = redis_call((struct redis *)b, &a, &tail_script, &reply, e)) < 0)
            return rc;
        got = reply->type == REDIS_REPLY_ARRAY ? (size_t)reply->elements / 2 : 0;
        rc = give(reply, each, arg, &stopped);
        if (got)
            from = strtoull(reply->element[2 * got - 2]->str, NULL, 10) + 1;
        freeReplyObject(reply);
    } while (rc == 0 && !stopped && got == TAIL_MAX);
    return rc;
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
