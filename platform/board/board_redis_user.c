#include "platform/board/board_redis_int.h"

#include <stdio.h>

static int is_there(struct redis *r, const char *name, struct err *e)
{
    struct redis_args a = {0};
    redisReply *reply;
    int rc;

    redis_text(&a, "ACL");
    redis_text(&a, "GETUSER");
    redis_text(&a, name);
    if ((rc = redis_call(r, &a, NULL, &reply, e)) < 0)
        return rc;
    if (reply->type != REDIS_REPLY_NIL)
        rc = err_set(e, ERR_EXISTS, "Redis has a user %s", name);
    freeReplyObject(reply);
    return rc;
}

static int command(struct redis *r, struct redis_args *a, struct err *e)
{
    redisReply *reply;
    int rc = redis_call(r, a, NULL, &reply, e);

    if (rc == 0)
        freeReplyObject(reply);
    return rc;
}

int redis_reader(struct board *b, const char *name, const char *password, const char *prefix,
                 struct err *e)
{
    /* what board_get, board_each and board_tail send; no scripts, which could run for ever */
    static const char *const rights[] = {"resetkeys", "resetchannels", "-@all", "+ping",
                                         "+hget",     "+hgetall",      "+hmget"};
    struct redis_args set = {0}, save = {0};
    struct err ignored = ERR_INIT;
    char secret[256], keys[600];
    size_t i;
    int rc;

    if (snprintf(secret, sizeof secret, ">%s", password) >= (int)sizeof secret ||
        snprintf(keys, sizeof keys, "~%s*", prefix) >= (int)sizeof keys)
        return err_set(e, ERR_LIMIT, "Redis user %s: password or prefix is too long", name);
    if ((rc = is_there((struct redis *)b, name, e)) < 0)
        return rc;
    redis_text(&set, "ACL");
    redis_text(&set, "SETUSER");
    redis_text(&set, name);
    redis_text(&set, "reset");
    redis_text(&set, "on");
    for (i = 0; i < sizeof rights / sizeof rights[0]; i++)
        redis_text(&set, rights[i]);
    redis_text(&set, secret);
    redis_text(&set, keys);
    if ((rc = command((struct redis *)b, &set, e)) < 0)
        return err_wrap(e, "user %s", name);
    redis_text(&save, "ACL");
    redis_text(&save, "SAVE"); /* refused where users aren't kept in a file: then they aren't */
    command((struct redis *)b, &save, &ignored);
    return 0;
}
