#include "platform/board/board_redis_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * One group has four keys:
 *   :queue    sorted set, all scores 0: order key + item (so by bytes)
 *   :items    hash, item -> order key, as long as it is queued or leased
 *   :leases   sorted set, item by the time its lease ends (the server's, ms)
 *   :holders  hash, item -> who leased it
 * The ring is a sorted set of groups by the time (microseconds) that each was
 * served; it belongs to no group, so it is touched by commands of its own,
 * after the group: a group with work is in the ring at the latest when `push`
 * returns, and `lease` looks again after it took an empty group out.
 */
enum { ORDER_LEN = 30, GROUPS_AT_ONCE = 100, KEY_MAX = 600 };

#define NOW                                                                                        \
    "local t = redis.call('TIME')\n"                                                               \
    "local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)\n"

static const struct redis_script push_script = {
    "if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 1 then\n"
    "  redis.call('ZADD', KEYS[1], 0, ARGV[2] .. ARGV[1])\n"
    "end\n"
    "return 1",
    4};

/* The item, or how many leases are alive (0: the group is empty). */
static const struct redis_script lease_script = {
    NOW "local late = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 1000)\n"
        "for _, item in ipairs(late) do\n"
        "  local order = redis.call('HGET', KEYS[2], item)\n"
        "  redis.call('ZREM', KEYS[3], item)\n"
        "  redis.call('HDEL', KEYS[4], item)\n"
        "  if order then redis.call('ZADD', KEYS[1], 0, order .. item) end\n"
        "end\n"
        "local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]\n"
        "if not first then return redis.call('ZCARD', KEYS[3]) end\n"
        "local item = string.sub(first, tonumber(ARGV[3]) + 1)\n"
        "redis.call('ZREM', KEYS[1], first)\n"
        "redis.call('ZADD', KEYS[3], now + tonumber(ARGV[2]), item)\n"
        "redis.call('HSET', KEYS[4], item, ARGV[1])\n"
        "return {item}",
    4};

static const struct redis_script renew_script = {
    "if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end\n" NOW
    "redis.call('ZADD', KEYS[3], now + tonumber(ARGV[3]), ARGV[1])\n"
    "return 1",
    4};

static const struct redis_script release_script = {
    "if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end\n"
    "local order = redis.call('HGET', KEYS[2], ARGV[1])\n"
    "redis.call('ZREM', KEYS[3], ARGV[1])\n"
    "redis.call('HDEL', KEYS[4], ARGV[1])\n"
    "if ARGV[3] == '1' then redis.call('HDEL', KEYS[2], ARGV[1])\n"
    "elseif order then redis.call('ZADD', KEYS[1], 0, order .. ARGV[1]) end\n"
    "return 1",
    4};

static const struct redis_script size_script = {
    "return redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[3])", 4};

/* Puts the group into the ring (ARGV[2] 'NX': if absent; 'XX': it was served now). */
static const struct redis_script ring_script = {
    "local t = redis.call('TIME')\n"
    "local now = tonumber(t[1]) * 1000000 + tonumber(t[2])\n"
    "redis.call('ZADD', KEYS[1], ARGV[2], string.format('%.0f', now), ARGV[1])\n"
    "return 1",
    1};

struct keys {
    char text[4][KEY_MAX];
};

static int make_keys(struct keys *k, const struct board_queue *q, const char *group, struct err *e)
{
    static const char *const ends[4] = {":queue", ":items", ":leases", ":holders"};
    int i, n;

    for (i = 0; i < 4; i++) {
        n = snprintf(k->text[i], KEY_MAX, "%s%s%s%s", q->prefix, group, q->suffix, ends[i]);
        if (n < 0 || n >= KEY_MAX)
            return err_set(e, ERR_LIMIT, "group name of %zu bytes", strlen(group));
    }
    return 0;
}

static void begin(struct redis_args *a, const struct redis_script *s, const struct keys *k)
{
    int i;

    redis_begin_script(a, s);
    for (i = 0; i < 4; i++)
        redis_text(a, k->text[i]);
}

/* A script whose answer is a number. */
static int ask(struct redis *r, struct redis_args *a, const struct redis_script *s,
               long long *answer, struct err *e)
{
    redisReply *reply;
    int rc = redis_call(r, a, s, &reply, e);

    if (rc < 0)
        return rc;
    *answer = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    freeReplyObject(reply);
    return 0;
}

static int touch_ring(struct redis *r, const struct board_queue *q, const char *group,
                      const char *how, struct err *e)
{
    struct redis_args a = {0};
    long long answer;

    redis_begin_script(&a, &ring_script);
    redis_text(&a, q->ring);
    redis_text(&a, group);
    redis_text(&a, how);
    return ask(r, &a, &ring_script, &answer, e);
}

int redis_push(struct board *b, const struct board_queue *q, const char *group, const char *item,
               int priority, int64_t created_ms, struct err *e)
{
    struct redis *r = (struct redis *)b;
    struct redis_args a = {0};
    char order[ORDER_LEN + 1];
    struct keys k;
    long long answer;
    int rc;

    if ((rc = make_keys(&k, q, group, e)) < 0)
        return rc;
    if (created_ms < 0)
        created_ms = 0;
    /* Higher priority, then older, sorts first: 10 + 20 digits. */
    snprintf(order, sizeof order, "%010u%020llu", (unsigned)INT32_MAX - (unsigned)priority,
             (unsigned long long)created_ms);
    begin(&a, &push_script, &k);
    redis_text(&a, item);
    redis_text(&a, order);
    if ((rc = ask(r, &a, &push_script, &answer, e)) < 0)
        return rc;
    return touch_ring(r, q, group, "NX", e);
}

/* An empty group leaves the ring, unless something was pushed meanwhile. */
static int drop_empty(struct redis *r, const struct board_queue *q, const char *group,
                      const struct keys *k, struct err *e)
{
    struct redis_args a = {0}, again = {0};
    redisReply *reply;
    long long size;
    int rc;

    redis_text(&a, "ZREM");
    redis_text(&a, q->ring);
    redis_text(&a, group);
    if ((rc = redis_call(r, &a, NULL, &reply, e)) < 0)
        return rc;
    freeReplyObject(reply);
    begin(&again, &size_script, k);
    if ((rc = ask(r, &again, &size_script, &size, e)) < 0)
        return rc;
    return size ? touch_ring(r, q, group, "NX", e) : 0;
}

/* 1: leased; 0: this group has nothing now. */
static int lease_of(struct redis *r, const struct board_queue *q, const char *group,
                    const char *holder, int64_t ttl_ms, struct buf *item, struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    struct keys k;
    int rc;

    if ((rc = make_keys(&k, q, group, e)) < 0)
        return rc;
    begin(&a, &lease_script, &k);
    redis_text(&a, holder);
    redis_number(&a, ttl_ms);
    redis_number(&a, ORDER_LEN);
    if ((rc = redis_call(r, &a, &lease_script, &reply, e)) < 0)
        return rc;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
        buf_add(item, reply->element[0]->str, (size_t)reply->element[0]->len);
        rc = buf_check(item, "a queued item", e);
        rc = rc < 0 ? rc : 1;
    } else if (reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
        rc = drop_empty(r, q, group, &k, e);
    }
    freeReplyObject(reply);
    return rc;
}

static int ring_list(struct redis *r, const struct board_queue *q, int64_t from, redisReply **out,
                     struct err *e)
{
    struct redis_args a = {0};
    int rc;

    redis_text(&a, "ZRANGE");
    redis_text(&a, q->ring);
    redis_number(&a, from);
    redis_number(&a, from + GROUPS_AT_ONCE - 1);
    if ((rc = redis_call(r, &a, NULL, out, e)) < 0)
        return rc;
    if ((*out)->type == REDIS_REPLY_ARRAY)
        return 0;
    freeReplyObject(*out);
    return err_set(e, ERR_INTERNAL, "Redis at %s: %s is no sorted set", r->address, q->ring);
}

int redis_lease(struct board *b, const struct board_queue *q, const char *holder, int64_t ttl_ms,
                struct buf *group, struct buf *item, struct err *e)
{
    struct redis *r = (struct redis *)b;
    redisReply *list;
    int64_t from = 0;
    size_t i, n;
    int rc;

    do { /* groups taken out meanwhile shift the portions: the next call sees those again */
        if ((rc = ring_list(r, q, from, &list, e)) < 0)
            return rc;
        n = (size_t)list->elements;
        for (i = 0, rc = 0; i < n && rc == 0; i++)
            rc = lease_of(r, q, list->element[i]->str, holder, ttl_ms, item, e);
        if (rc == 1) {
            buf_add(group, list->element[i - 1]->str, (size_t)list->element[i - 1]->len);
            rc = buf_check(group, "a group's name", e);
            if (rc == 0)
                rc = touch_ring(r, q, list->element[i - 1]->str, "XX", e);
            freeReplyObject(list);
            return rc;
        }
        freeReplyObject(list);
        from += GROUPS_AT_ONCE;
    } while (rc == 0 && n == GROUPS_AT_ONCE);
    return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "nothing is queued");
}

static int fenced(const char *item, struct err *e)
{
    return err_set(e, ERR_FENCED, "the lease of %s is not ours any more", item);
}

int redis_renew(struct board *b, const struct board_queue *q, const char *group, const char *item,
                const char *holder, int64_t ttl_ms, struct err *e)
{
    struct redis *r = (struct redis *)b;
    struct redis_args a = {0};
    struct keys k;
    long long ours;
    int rc;

    if ((rc = make_keys(&k, q, group, e)) < 0)
        return rc;
    begin(&a, &renew_script, &k);
    redis_text(&a, item);
    redis_text(&a, holder);
    redis_number(&a, ttl_ms);
    if ((rc = ask(r, &a, &renew_script, &ours, e)) < 0)
        return rc;
    return ours ? 0 : fenced(item, e);
}

int redis_release(struct board *b, const struct board_queue *q, const char *group, const char *item,
                  const char *holder, bool done, struct err *e)
{
    struct redis *r = (struct redis *)b;
    struct redis_args a = {0};
    struct keys k;
    long long ours;
    int rc;

    if ((rc = make_keys(&k, q, group, e)) < 0)
        return rc;
    begin(&a, &release_script, &k);
    redis_text(&a, item);
    redis_text(&a, holder);
    redis_text(&a, done ? "1" : "0");
    if ((rc = ask(r, &a, &release_script, &ours, e)) < 0)
        return rc;
    if (!ours)
        return fenced(item, e);
    return done ? 0 : touch_ring(r, q, group, "NX", e);
}
