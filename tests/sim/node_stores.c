/*
 * A process's objects and its board.
 */
#include <stdlib.h>
#include <string.h>

#include "platform/base/failpoint.h"
#include "tests/sim/sim.h"

enum { LATE_MS = 90000, STREAM_LATE = 900, FETCHED_MAX = 1 << 20, OWN = 8 };

#define ONCE  (1u << FAULT_LOST)
#define AGAIN (ONCE | 1u << FAULT_TWICE)
#define WRITE (AGAIN | 1u << FAULT_LATE)

#define ENTER(member, server, what, can)                                                           \
    struct node *n = (struct node *)(void *)((char *)b - offsetof(struct node, member));           \
    enum fault f;                                                                                  \
    int rc = node_enter(n, server, __func__ + 2, what, can, &f, e);                                \
    if (rc < 0)                                                                                    \
    return rc

/* --- objects: a request may reach the store long after its sender gave up --- */

enum late_kind { LATE_PUT, LATE_CREATE, LATE_REMOVE };
struct late {
    struct world *w;
    enum late_kind kind;
    int64_t ms;
    char *key;
    char *bytes;
    size_t size;
};

static void late_main(void *arg)
{
    struct late *l = arg;
    struct err e = ERR_INIT;

    clock_sleep_ms(l->w->clock, l->ms);
    world_trace(l->w, "late effect on %s", l->key);
    if (l->kind != LATE_CREATE)
        watch_write(l->w, l->key, l->kind == LATE_PUT ? l->bytes : NULL, l->size);
    if (l->kind == LATE_PUT)
        (void)blob_put(l->w->blob, l->key, l->bytes, l->size, &e);
    else if (l->kind == LATE_CREATE)
        (void)watch_create(l->w, l->key, l->bytes, l->size, &e);
    else
        (void)blob_remove(l->w->blob, l->key, &e);
    free(l->key);
    free(l->bytes);
    free(l);
}

static int late(struct node *n, enum late_kind kind, const char *key, const void *bytes,
                size_t size, struct err *e)
{
    struct late *l = calloc(1, sizeof *l);

    if (!l || !(l->key = strdup(key)) || !(l->bytes = malloc(size + 1)))
        abort();
    l->w = n->w;
    l->kind = kind;
    l->ms = (int64_t)fate_below(n->w, STREAM_LATE, n->w->fired.count, LATE_MS);
    l->size = size;
    if (size)
        memcpy(l->bytes, bytes, size);
    world_must(clock_go(n->w->clock, "late", late_main, l, NULL, e), e);
    return err_set(e, ERR_PEER, "planted late effect");
}

static int b_get(struct blob *b, const char *key, struct buf *out, struct err *e)
{
    ENTER(blob, SERVER_BLOB, key, ONCE);
    CALL(blob_get(n->w->blob, key, out, e));
}
/* A whole file in one go, for no crash falls into it: a fifth of the time goes into files. */
static int b_get_file(struct blob *b, const char *key, const char *path, char sha256[SHA256_HEX],
                      struct err *e)
{
    struct buf bytes;
    ENTER(blob, SERVER_BLOB, key, ONCE);
    buf_init(&bytes, FETCHED_MAX);
    if ((rc = blob_get(n->w->blob, key, &bytes, e)) == 0) {
        local_file(path, bytes.data, bytes.len);
        sha256_of(bytes.data, bytes.len, sha256);
    }
    buf_release(&bytes);
    return node_leave(n, f, rc, e);
}
static int b_put(struct blob *b, const char *key, const void *bytes, size_t size, struct err *e)
{
    ENTER(blob, SERVER_BLOB, key, WRITE);
    if (f == FAULT_LATE)
        return late(n, LATE_PUT, key, bytes, size, e);
    watch_write(n->w, key, bytes, size);
    CALL(blob_put(n->w->blob, key, bytes, size, e));
}
static int b_put_file(struct blob *b, const char *key, const char *path, struct err *e)
{
    ENTER(blob, SERVER_BLOB, key, AGAIN);
    CALL(blob_put_file(n->w->blob, key, path, e));
}
static int b_create(struct blob *b, const char *key, const void *bytes, size_t size, struct err *e)
{
    ENTER(blob, SERVER_BLOB, key, WRITE);
    if (f == FAULT_LATE)
        return late(n, LATE_CREATE, key, bytes, size, e);
    if (DEFECT("store.own-is-lost") && n->calls % OWN == 0 && /* the port asked again */
        watch_create(n->w, key, bytes, size, e) == 0)
        return err_set(e, ERR_EXISTS, "%s: exists already", key);
    CALL(watch_create(n->w, key, bytes, size, e));
}
static int b_head(struct blob *b, const char *key, uint64_t *size, struct err *e)
{
    ENTER(blob, SERVER_BLOB, key, ONCE);
    CALL(blob_head(n->w->blob, key, size, e));
}
static int b_list(struct blob *b, const char *prefix, const char *after, blob_each_fn each,
                  void *arg, struct err *e)
{
    ENTER(blob, SERVER_BLOB, prefix, 0);
    CALL(blob_list(n->w->blob, prefix, after, each, arg, e));
}
static int b_remove(struct blob *b, const char *key, struct err *e)
{
    ENTER(blob, SERVER_BLOB, key, WRITE);
    if (f == FAULT_LATE)
        return late(n, LATE_REMOVE, key, "", 0, e);
    watch_write(n->w, key, NULL, 0);
    CALL(blob_remove(n->w->blob, key, e));
}
static int b_url(struct blob *b, const char *key, struct buf *url, struct err *e)
{
    struct node *n = (struct node *)(void *)((char *)b - offsetof(struct node, blob));

    return blob_url(n->w->blob, key, url, e);
}

static const struct blob_ops blob_table = {.get = b_get,
                                           .get_file = b_get_file,
                                           .put = b_put,
                                           .put_file = b_put_file,
                                           .create = b_create,
                                           .head = b_head,
                                           .list = b_list,
                                           .remove = b_remove,
                                           .url = b_url};

/* --- the board --- */

static int r_set(struct board *b, const char *key, const struct board_field *fields, size_t count,
                 int64_t ttl_ms, struct err *e)
{
    ENTER(board, SERVER_BOARD, key, AGAIN);
    CALL(board_set(n->w->board, key, fields, count, ttl_ms, e));
}
static int r_get(struct board *b, const char *key, const char *field, struct buf *out,
                 struct err *e)
{
    ENTER(board, SERVER_BOARD, key, ONCE);
    CALL(board_get(n->w->board, key, field, out, e));
}
static int r_each(struct board *b, const char *key, board_each_fn each, void *arg, struct err *e)
{
    ENTER(board, SERVER_BOARD, key, 0);
    CALL(board_each(n->w->board, key, each, arg, e));
}
static int r_remove(struct board *b, const char *key, struct err *e)
{
    ENTER(board, SERVER_BOARD, key, AGAIN);
    CALL(board_remove(n->w->board, key, e));
}
static int r_create(struct board *b, const char *key, const char *value, int64_t ttl_ms,
                    struct err *e)
{
    ENTER(board, SERVER_BOARD, key, AGAIN);
    CALL(board_create(n->w->board, key, value, ttl_ms, e));
}
static int r_append(struct board *b, const char *key, const char *bytes, size_t size, size_t keep,
                    int64_t ttl_ms, struct err *e)
{
    ENTER(board, SERVER_BOARD, key, AGAIN);
    CALL(board_append(n->w->board, key, bytes, size, keep, ttl_ms, e));
}
static int r_tail(struct board *b, const char *key, uint64_t from, board_each_fn each, void *arg,
                  struct err *e)
{
    ENTER(board, SERVER_BOARD, key, 0);
    CALL(board_tail(n->w->board, key, from, each, arg, e));
}
static int r_push(struct board *b, const struct board_queue *q, const char *group, const char *item,
                  int priority, int64_t created_ms, struct err *e)
{
    ENTER(board, SERVER_BOARD, item, AGAIN);
    CALL(board_push(n->w->board, q, group, item, priority, created_ms, e));
}
/* Asked twice: the first lease is one that nobody knows of until it expires. */
static int r_lease(struct board *b, const struct board_queue *q, const char *holder, int64_t ttl_ms,
                   struct buf *group, struct buf *item, struct err *e)
{
    ENTER(board, SERVER_BOARD, holder, AGAIN);
    if (f == FAULT_TWICE) {
        (void)board_lease(n->w->board, q, holder, ttl_ms, group, item, e);
        buf_reset(group);
        buf_reset(item);
    }
    rc = board_lease(n->w->board, q, holder, ttl_ms, group, item, e);
    return node_leave(n, f, rc, e);
}
static int r_renew(struct board *b, const struct board_queue *q, const char *group,
                   const char *item, const char *holder, int64_t ttl_ms, struct err *e)
{
    ENTER(board, SERVER_BOARD, item, AGAIN);
    CALL(board_renew(n->w->board, q, group, item, holder, ttl_ms, e));
}
static int r_release(struct board *b, const struct board_queue *q, const char *group,
                     const char *item, const char *holder, bool done, struct err *e)
{
    ENTER(board, SERVER_BOARD, item, AGAIN);
    CALL(board_release(n->w->board, q, group, item, holder, done, e));
}

static const struct board_ops board_table = {.set = r_set,
                                             .get = r_get,
                                             .each = r_each,
                                             .remove = r_remove,
                                             .create = r_create,
                                             .append = r_append,
                                             .tail = r_tail,
                                             .push = r_push,
                                             .lease = r_lease,
                                             .renew = r_renew,
                                             .release = r_release};

void node_stores_init(struct node *n)
{
    n->blob.ops = &blob_table;
    n->board.ops = &board_table;
}
