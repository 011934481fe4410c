#include "tests/unit/trainer/faults.h"

#include <stddef.h>

#include "tests/unit/trainer/world.h"

#define NODE(p, member) ((struct node *)(void *)((char *)(p)-offsetof(struct node, member)))

static int dead(struct err *e)
{
    return err_set(e, ERR_PEER, "crashed");
}

/* Counts a call. False: the node is dead, or dies before the effect. */
static bool live(struct node *n)
{
    if (n->crashed)
        return false;
    n->calls++;
    if (n->crash_at && n->calls >= n->crash_at && n->calls % 2 == 0) {
        n->crashed = true;
        trainer_stop(n->trainer);
    }
    return !n->crashed;
}

static int after(struct node *n, int rc, struct err *e)
{
    if (n->crash_at && n->calls >= n->crash_at && !n->crashed) {
        n->crashed = true;
        trainer_stop(n->trainer);
    }
    return n->crashed ? dead(e) : rc;
}

#define CALL(n, call) (live(n) ? after(n, call, e) : dead(e))

/* ---- objects ----------------------------------------------------------------------------------
 */

#define B struct node *n = NODE(b, blob)

static int f_get(struct blob *b, const char *key, struct buf *out, struct err *e)
{
    B;
    return CALL(n, blob_get(n->w->blob, key, out, e));
}
static int f_get_file(struct blob *b, const char *key, const char *path, char sha256[SHA256_HEX],
                      struct err *e)
{
    B;
    return CALL(n, blob_get_file(n->w->blob, key, path, sha256, e));
}
static int f_put(struct blob *b, const char *key, const void *bytes, size_t size, struct err *e)
{
    B;
    return CALL(n, blob_put(n->w->blob, key, bytes, size, e));
}
static int f_put_file(struct blob *b, const char *key, const char *path, struct err *e)
{
    B;
    if (n->upload_ms)
        clock_sleep_ms(n->w->clock, n->upload_ms);
    return CALL(n, blob_put_file(n->w->blob, key, path, e));
}
static int f_create(struct blob *b, const char *key, const void *bytes, size_t size, struct err *e)
{
    B;
    return CALL(n, blob_create(n->w->blob, key, bytes, size, e));
}
static int f_head(struct blob *b, const char *key, uint64_t *size, struct err *e)
{
    B;
    return CALL(n, blob_head(n->w->blob, key, size, e));
}
static int f_list(struct blob *b, const char *prefix, const char *from, blob_each_fn each,
                  void *arg, struct err *e)
{
    B;
    return CALL(n, blob_list(n->w->blob, prefix, from, each, arg, e));
}
static int f_remove(struct blob *b, const char *key, struct err *e)
{
    B;
    return CALL(n, blob_remove(n->w->blob, key, e));
}

static const struct blob_ops blob_table = {.get = f_get,
                                           .get_file = f_get_file,
                                           .put = f_put,
                                           .put_file = f_put_file,
                                           .create = f_create,
                                           .head = f_head,
                                           .list = f_list,
                                           .remove = f_remove};

/* ---- the board --------------------------------------------------------------------------------
 */

#define R                                                                                          \
    struct node *n = NODE(b, board);                                                               \
    if (n->frozen)                                                                                 \
    return err_set(e, ERR_PEER, "no answer")

static int f_set(struct board *b, const char *key, const struct board_field *f, size_t count,
                 int64_t ttl_ms, struct err *e)
{
    R;
    return CALL(n, board_set(n->w->board, key, f, count, ttl_ms, e));
}
static int f_board_get(struct board *b, const char *key, const char *field, struct buf *out,
                       struct err *e)
{
    R;
    return CALL(n, board_get(n->w->board, key, field, out, e));
}
static int f_board_create(struct board *b, const char *key, const char *value, int64_t ttl_ms,
                          struct err *e)
{
    R;
    return CALL(n, board_create(n->w->board, key, value, ttl_ms, e));
}
static int f_append(struct board *b, const char *key, const char *bytes, size_t size, size_t keep,
                    int64_t ttl_ms, struct err *e)
{
    R;
    return CALL(n, board_append(n->w->board, key, bytes, size, keep, ttl_ms, e));
}
static int f_push(struct board *b, const struct board_queue *q, const char *group, const char *item,
                  int priority, int64_t created_ms, struct err *e)
{
    R;
    return CALL(n, board_push(n->w->board, q, group, item, priority, created_ms, e));
}
static int f_lease(struct board *b, const struct board_queue *q, const char *holder, int64_t ttl_ms,
                   struct buf *group, struct buf *item, struct err *e)
{
    R;
    return CALL(n, board_lease(n->w->board, q, holder, ttl_ms, group, item, e));
}
static int f_renew(struct board *b, const struct board_queue *q, const char *group,
                   const char *item, const char *holder, int64_t ttl_ms, struct err *e)
{
    R;
    return CALL(n, board_renew(n->w->board, q, group, item, holder, ttl_ms, e));
}
static int f_release(struct board *b, const struct board_queue *q, const char *group,
                     const char *item, const char *holder, bool done, struct err *e)
{
    R;
    return CALL(n, board_release(n->w->board, q, group, item, holder, done, e));
}

static const struct board_ops board_table = {.set = f_set,
                                             .get = f_board_get,
                                             .create = f_board_create,
                                             .append = f_append,
                                             .push = f_push,
                                             .lease = f_lease,
                                             .renew = f_renew,
                                             .release = f_release};

/* ---- messages ---------------------------------------------------------------------------------
 */

/* A consumer or producer of the world that is told to come back through the node. */
static int f_consumer(struct bus *b, const struct bus_consumer_options *o,
                      struct bus_consumer **out, struct err *e)
{
    struct node *n = NODE(b, bus);
    int rc;

    if (!live(n))
        return dead(e);
    if ((rc = bus_consumer_open(n->w->bus, o, out, e)) == 0)
        (*out)->bus = b;
    return rc;
}
static int f_producer(struct bus *b, const struct bus_producer_options *o, bus_delivered_fn fn,
                      void *arg, struct bus_producer **out, struct err *e)
{
    struct node *n = NODE(b, bus);
    int rc;

    if (!live(n))
        return dead(e);
    if ((rc = bus_producer_open(n->w->bus, o, fn, arg, out, e)) == 0)
        (*out)->bus = b;
    return rc;
}
/* Polls are many and change nothing: not counted. */
static int f_poll(struct bus_consumer *c, int timeout_ms, struct bus_message **m, struct err *e)
{
    struct node *n = NODE(c->bus, bus);

    return n->crashed ? dead(e) : n->w->bus->ops->poll(c, timeout_ms, m, e);
}
static int f_commit(struct bus_consumer *c, const char *topic, int32_t partition, int64_t offset,
                    struct err *e)
{
    struct node *n = NODE(c->bus, bus);

    return CALL(n, n->w->bus->ops->commit(c, topic, partition, offset, e));
}
static int f_send(struct bus_producer *p, const struct bus_message *m, void *token, struct err *e)
{
    struct node *n = NODE(p->bus, bus);

    return CALL(n, n->w->bus->ops->send(p, m, token, e));
}
static int f_flush(struct bus_producer *p, int timeout_ms, struct err *e)
{
    struct node *n = NODE(p->bus, bus);

    return CALL(n, n->w->bus->ops->flush(p, timeout_ms, e));
}
static int f_watermarks(struct bus *b, const char *topic, int32_t partition, int64_t *low,
                        int64_t *high, struct err *e)
{
    struct node *n = NODE(b, bus);

    return CALL(n, bus_watermarks(n->w->bus, topic, partition, low, high, e));
}
static int f_partitions(struct bus *b, const char *topic, int *count, struct err *e)
{
    struct node *n = NODE(b, bus);

    return CALL(n, bus_partitions(n->w->bus, topic, count, e));
}

/* ---- processes --------------------------------------------------------------------------------
 */

static int f_start(struct child_port *p, const struct child_spec *s, struct child **out,
                   struct err *e)
{
    struct node *n = NODE(p, child);

    return live(n) ? child_start(n->w->child, s, out, e) : dead(e);
}

static const struct child_port_ops child_table = {.start = f_start};

void faults_install(struct node *n)
{
    n->blob.ops = &blob_table;
    n->board.ops = &board_table;
    n->child.ops = &child_table;
    n->bus_table = *n->w->bus->ops;
    n->bus_table.consumer = f_consumer;
    n->bus_table.producer = f_producer;
    n->bus_table.poll = f_poll;
    n->bus_table.commit = f_commit;
    n->bus_table.send = f_send;
    n->bus_table.flush = f_flush;
    n->bus_table.watermarks = f_watermarks;
    n->bus_table.partitions = f_partitions;
    n->bus.ops = &n->bus_table;
}
