/*
 * The board: small live facts that several processes look at. Hashes, a fair
 * queue with leases, capped logs. It coordinates; it never decides: it may be
 * flushed at any moment and is rebuilt from objects.
 *
 *   board_redis   hiredis, one Lua script per atomic step, reconnects
 *   board_mem     memory (tests, simulation, fit --local)
 *
 * A handle may be shared by threads (calls are serialised). ERR_PEER: no
 * answer (retry); ERR_DENIED: authentication or ACL. Keys and names are given
 * whole by the caller. An answer that is lost is asked for again, so a call may
 * take effect twice (a second equal log line, a lease nobody knows of until it
 * expires). Times come from the handle's clock for leases that the
 * caller makes, and from the server for their expiry.
 */
#ifndef PLATFORM_BOARD_BOARD_H
#define PLATFORM_BOARD_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/base/buf.h"
#include "platform/base/err.h"

struct clock;
struct board;

struct board_field {
    const char *name;
    const char *value;
};

typedef int (*board_each_fn)(void *arg, const char *name, const char *value, size_t value_len);

/*
 * A fair queue: `ring` is the global sorted set of groups that have work (the
 * group served longest ago is first), `prefix` + group + suffix name each
 * group's own structures. Inside a group: higher priority first, then older.
 */
struct board_queue {
    const char *ring; /* "tripline:ring" */
    const char
        *prefix; /* "tripline:{"    group keys are prefix group suffix ":queue" / ":leases" */
    const char *suffix; /* "}" */
};

struct board_ops {
    int (*set)(struct board *, const char *key, const struct board_field *, size_t n,
               int64_t ttl_ms, struct err *);
    int (*get)(struct board *, const char *key, const char *field, struct buf *out, struct err *);
    int (*each)(struct board *, const char *key, board_each_fn, void *arg, struct err *);
    int (*remove)(struct board *, const char *key, struct err *);
    int (*create)(struct board *, const char *key, const char *value, int64_t ttl_ms, struct err *);
    int (*append)(struct board *, const char *key, const char *bytes, size_t n, size_t keep,
                  int64_t ttl_ms, struct err *);
    int (*tail)(struct board *, const char *key, uint64_t from, board_each_fn, void *arg,
                struct err *);
    int (*push)(struct board *, const struct board_queue *, const char *group, const char *item,
                int priority, int64_t created_ms, struct err *);
    int (*lease)(struct board *, const struct board_queue *, const char *holder, int64_t ttl_ms,
                 struct buf *group, struct buf *item, struct err *);
    int (*renew)(struct board *, const struct board_queue *, const char *group, const char *item,
                 const char *holder, int64_t ttl_ms, struct err *);
    int (*release)(struct board *, const struct board_queue *, const char *group, const char *item,
                   const char *holder, bool done, struct err *);
    int (*reader)(struct board *, const char *name, const char *password, const char *prefix,
                  struct err *); /* NULL: has no users */
    void (*free)(struct board *);
};

struct board {
    const struct board_ops *ops;
};

struct board_redis_options {
    const char *address;  /* "host:port" or "unix:/path" */
    const char *username; /* NULL: default user */
    const char *password; /* NULL: none */
    int timeout_ms;       /* of one command; 0: 5000 */
    int deadline_ms;      /* with reconnects; 0: 15000 */
};

int board_redis(struct board **out, const struct board_redis_options *, struct clock *,
                struct err *e);
int board_mem(struct board **out, struct clock *, struct err *e);
void board_mem_flush(struct board *b); /* what FLUSHALL does; for tests */

/* Sets fields of the hash at `key`; ttl_ms 0: keeps for ever. */
static inline int board_set(struct board *b, const char *key, const struct board_field *f, size_t n,
                            int64_t ttl_ms, struct err *e)
{
    return b->ops->set(b, key, f, n, ttl_ms, e);
}
/* One field, appended to `out`; ERR_NOT_FOUND. */
static inline int board_get(struct board *b, const char *key, const char *field, struct buf *out,
                            struct err *e)
{
    return b->ops->get(b, key, field, out, e);
}
/* Every field of the hash (none when absent); a non-zero return of `each` ends it. */
static inline int board_each(struct board *b, const char *key, board_each_fn each, void *arg,
                             struct err *e)
{
    return b->ops->each(b, key, each, arg, e);
}
static inline int board_remove(struct board *b, const char *key, struct err *e)
{
    return b->ops->remove(b, key, e);
}
/* A plain string if absent: 0 made, ERR_EXISTS. A hint (an epoch, a cache), never a lock that
 * matters. */
static inline int board_create(struct board *b, const char *key, const char *value, int64_t ttl_ms,
                               struct err *e)
{
    return b->ops->create(b, key, value, ttl_ms, e);
}
/* Appends one line to a capped log that keeps the last `keep`. Lines are numbered 0, 1, 2, ... from
 * the first append. */
static inline int board_append(struct board *b, const char *key, const char *bytes, size_t n,
                               size_t keep, int64_t ttl_ms, struct err *e)
{
    return b->ops->append(b, key, bytes, n, keep, ttl_ms, e);
}
/* Lines numbered >= from that are still kept: name is the number in decimal. */
static inline int board_tail(struct board *b, const char *key, uint64_t from, board_each_fn each,
                             void *arg, struct err *e)
{
    return b->ops->tail(b, key, from, each, arg, e);
}
/* Queues an item; one that is queued or leased already stays as it is. */
static inline int board_push(struct board *b, const struct board_queue *q, const char *group,
                             const char *item, int priority, int64_t created_ms, struct err *e)
{
    return b->ops->push(b, q, group, item, priority, created_ms, e);
}
/* The next item of the group served longest ago; expired leases are queued again first.
 * ERR_NOT_FOUND: no work. */
static inline int board_lease(struct board *b, const struct board_queue *q, const char *holder,
                              int64_t ttl_ms, struct buf *group, struct buf *item, struct err *e)
{
    return b->ops->lease(b, q, holder, ttl_ms, group, item, e);
}
/* ERR_FENCED: not ours any more. */
static inline int board_renew(struct board *b, const struct board_queue *q, const char *group,
                              const char *item, const char *holder, int64_t ttl_ms, struct err *e)
{
    return b->ops->renew(b, q, group, item, holder, ttl_ms, e);
}
/* Gives the lease back: done removes the item, else it is queued again. ERR_FENCED as above. */
static inline int board_release(struct board *b, const struct board_queue *q, const char *group,
                                const char *item, const char *holder, bool done, struct err *e)
{
    return b->ops->release(b, q, group, item, holder, done, e);
}
/* Makes a user who may read what is under keys that begin with `prefix`, and nothing else.
 * ERR_EXISTS: there is one of that name, who stays as it is; ERR_UNSUPPORTED: this board has no
 * users. */
static inline int board_reader(struct board *b, const char *name, const char *password,
                               const char *prefix, struct err *e)
{
    if (!b->ops->reader)
        return err_set(e, ERR_UNSUPPORTED, "this board has no users");
    return b->ops->reader(b, name, password, prefix, e);
}
static inline void board_free(struct board *b)
{
    if (b)
        b->ops->free(b);
}

#endif
