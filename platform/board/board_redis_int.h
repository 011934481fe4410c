/*
 * Inside the board on Redis: one connection under one mutex. board_redis_wire.c
 * connects, logs in, sends and reconnects; board_redis.c has hashes and logs,
 * board_redis_queue.c the queue.
 */
#ifndef PLATFORM_BOARD_BOARD_REDIS_INT_H
#define PLATFORM_BOARD_BOARD_REDIS_INT_H

#include <hiredis/hiredis.h>
#include <pthread.h>

#include "platform/board/board.h"

enum { REDIS_ARGS_MAX = 2048 };

struct redis {
    struct board base;
    struct clock *clock; /* borrowed */
    char *address, *host, *username, *password;
    int port; /* 0: host is a socket's path */
    int timeout_ms, deadline_ms;
    pthread_mutex_t lock;
    redisContext *context; /* NULL: not connected */
};

/* One command or script call, its arguments counted; at most REDIS_ARGS_MAX. */
struct redis_args {
    int count;
    const char *at[REDIS_ARGS_MAX];
    size_t len[REDIS_ARGS_MAX];
    char numbers[8][24];
    int number_count;
};

struct redis_script {
    const char *text;
    int keys; /* how many of the arguments are keys */
};

void redis_arg(struct redis_args *a, const char *bytes, size_t n);
void redis_text(struct redis_args *a, const char *text);
void redis_number(struct redis_args *a, int64_t v);
/* "EVALSHA", hash, number of keys: the keys and arguments follow. */
void redis_begin_script(struct redis_args *a, const struct redis_script *s);

/* Sends until an answer comes or the deadline passes. *out is never an error reply; the caller
 * frees it (freeReplyObject). With `script`: falls back to EVAL where it is not loaded. */
int redis_call(struct redis *r, struct redis_args *a, const struct redis_script *script,
               redisReply **out, struct err *e);

int redis_open(struct redis *r, const struct board_redis_options *o, struct err *e);
void redis_close(struct redis *r);

/* board_redis_queue.c */
int redis_push(struct board *, const struct board_queue *, const char *group, const char *item,
               int priority, int64_t created_ms, struct err *);
int redis_lease(struct board *, const struct board_queue *, const char *holder, int64_t ttl_ms,
                struct buf *group, struct buf *item, struct err *);
int redis_renew(struct board *, const struct board_queue *, const char *group, const char *item,
                const char *holder, int64_t ttl_ms, struct err *);
int redis_release(struct board *, const struct board_queue *, const char *group, const char *item,
                  const char *holder, bool done, struct err *);

/* board_redis_user.c */
int redis_reader(struct board *, const char *name, const char *password, const char *prefix,
                 struct err *);

#endif
