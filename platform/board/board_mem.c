#include "platform/board/board.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/clock/clock.h"

/* A field of a hash, or a line of a log (its name is the number). */
struct field {
    struct field *next;
    char *name, *value;
    size_t value_len;
};

struct entry {
    struct entry *next;
    char *key;
    struct field *first, *last;
    uint64_t next_line;
    size_t count;
    int64_t ends_ms; /* 0: never */
};

struct item {
    struct item *next;
    char *name, *holder; /* holder NULL: queued */
    int priority;
    int64_t created_ms, lease_ends_ms;
};

struct group {
    struct group *next;
    char *ring, *name;
    uint64_t served; /* by the board's own count; 0 is never used */
    struct item *items;
};

struct mem {
    struct board base;
    struct clock *clock; /* borrowed */
    pthread_mutex_t lock;
    struct entry *entries;
    struct group *groups;
    uint64_t turns;
};

static struct mem *enter(struct board *b)
{
    struct mem *m = (struct mem *)b;

    pthread_mutex_lock(&m->lock);
    return m;
}

static int leave(struct mem *m, int rc)
{
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static void fields_free(struct field *f)
{
    struct field *next;

    for (; f; f = next) {
        next = f->next;
        free(f->name);
        free(f->value);
        free(f);
    }
}

static void entry_drop(struct entry **at)
{
    struct entry *t = *at;

    *at = t->next;
    fields_free(t->first);
    free(t->key);
    free(t);
}

static struct entry **entry_at(struct mem *m, const char *key)
{
    struct entry **at = &m->entries;
    int64_t now = clock_mono_ms(m->clock);

    while (*at) {
        if ((*at)->ends_ms && (*at)->ends_ms <= now)
            entry_drop(at);
        else if (!strcmp((*at)->key, key))
            break;
        else
            at = &(*at)->next;
    }
    return at;
}

static struct entry *entry_make(struct mem *m, const char *key, struct err *e)
{
    struct entry **at = entry_at(m, key);

    if (*at)
        return *at;
    *at = calloc(1, sizeof **at);
    if (*at && ((*at)->key = strdup(key)))
        return *at;
    if (*at)
        entry_drop(at);
    err_set(e, ERR_NOMEM, "%s", key);
    return NULL;
}

static void expire(struct mem *m, struct entry *t, int64_t ttl_ms)
{
    t->ends_ms = ttl_ms > 0 ? clock_mono_ms(m->clock) + ttl_ms : 0;
}

static struct field *field_find(struct entry *t, const char *name)
{
    struct field *f;

    for (f = t->first; f; f = f->next)
        if (!strcmp(f->name, name))
            return f;
    return NULL;
}

static char *copy(const char *bytes, size_t n)
{
    char *to = malloc(n + 1);

    if (!to)
        return NULL;
    if (n)
        memcpy(to, bytes, n);
    to[n] = '\0';
    return to;
}

static int field_add(struct entry *t, const char *name, const char *value, size_t n, struct err *e)
{
    struct field *f = calloc(1, sizeof *f);

    if (f) {
        f->name = strdup(name);
        f->value = copy(value, n);
        f->value_len = n;
    }
    if (!f || !f->name || !f->value) {
        fields_free(f);
        return err_set(e, ERR_NOMEM, "%s", t->key);
    }
    if (t->last)
        t->last->next = f;
    else
        t->first = f;
    t->last = f;
    t->count++;
    return 0;
}

static int field_set(struct entry *t, const struct board_field *want, struct err *e)
{
    struct field *f = field_find(t, want->name);
    size_t n = strlen(want->value);
    char *value;

    if (!f)
        return field_add(t, want->name, want->value, n, e);
    if (!(value = copy(want->value, n)))
        return err_set(e, ERR_NOMEM, "%s", t->key);
    free(f->value);
    f->value = value;
    f->value_len = n;
    return 0;
}

static int mem_set(struct board *b, const char *key, const struct board_field *f, size_t n,
                   int64_t ttl_ms, struct err *e)
{
    struct mem *m = enter(b);
    struct entry *t = n ? entry_make(m, key, e) : NULL;
    int rc = n && !t ? ERR_NOMEM : 0;
    size_t i;

    for (i = 0; rc == 0 && i < n; i++)
        rc = field_set(t, &f[i], e);
    if (t)
        expire(m, t, ttl_ms);
    return leave(m, rc);
}

static int mem_get(struct board *b, const char *key, const char *field, struct buf *out,
                   struct err *e)
{
    struct mem *m = enter(b);
    struct entry *t = *entry_at(m, key);
    struct field *f = t ? field_find(t, field) : NULL;

    if (!f)
        return leave(m, err_set(e, ERR_NOT_FOUND, "%s has no field %s", key, field));
    buf_add(out, f->value, f->value_len);
    return leave(m, buf_check(out, key, e));
}

/* A copy of the fields with a line number >= from (all of a hash: from 0), for use without the
 * lock: `each` may call the board. */
static int fields_copy(const struct entry *t, uint64_t from, struct entry *to, struct err *e)
{
    const struct field *f;
    int rc;

    memset(to, 0, sizeof *to);
    to->key = t->key;
    for (f = t->first; f; f = f->next)
        if ((from == 0 || strtoull(f->name, NULL, 10) >= from) &&
            (rc = field_add(to, f->name, f->value, f->value_len, e)) < 0)
            return rc;
    return 0;
}

static int mem_tail(struct board *b, const char *key, uint64_t from, board_each_fn each, void *arg,
                    struct err *e)
{
    struct mem *m = enter(b);
    struct entry *t = *entry_at(m, key);
    struct entry seen = {0};
    struct field *f;
    int rc = t ? fields_copy(t, from, &seen, e) : 0;
    int stopped = 0;

    leave(m, 0);
    for (f = seen.first; f && rc == 0 && !stopped; f = f->next)
        stopped = each(arg, f->name, f->value, f->value_len);
    fields_free(seen.first);
    return stopped < 0 ? stopped : rc;
}

static int mem_each(struct board *b, const char *key, board_each_fn each, void *arg, struct err *e)
{
    return mem_tail(b, key, 0, each, arg, e);
}

static int mem_remove(struct board *b, const char *key, struct err *e)
{
    struct mem *m = enter(b);
    struct entry **at = entry_at(m, key);

    (void)e;
    if (*at)
        entry_drop(at);
    return leave(m, 0);
}

static int mem_create(struct board *b, const char *key, const char *value, int64_t ttl_ms,
                      struct err *e)
{
    struct mem *m = enter(b);
    struct entry *t = *entry_at(m, key);
    int rc;

    if (t)
        return leave(m, err_set(e, ERR_EXISTS, "%s exists already", key));
    if (!(t = entry_make(m, key, e)))
        return leave(m, ERR_NOMEM);
    rc = field_add(t, "", value, strlen(value), e);
    expire(m, t, ttl_ms);
    return leave(m, rc);
}

static int mem_append(struct board *b, const char *key, const char *bytes, size_t n, size_t keep,
                      int64_t ttl_ms, struct err *e)
{
    struct mem *m = enter(b);
    struct entry *t = entry_make(m, key, e);
    char number[24];
    int rc;

    if (!t)
        return leave(m, ERR_NOMEM);
    snprintf(number, sizeof number, "%llu", (unsigned long long)t->next_line);
    if ((rc = field_add(t, number, bytes, n, e)) == 0)
        t->next_line++;
    while (t->count > (keep ? keep : 1)) {
        struct field *old = t->first;

        t->first = old->next;
        old->next = NULL;
        t->count--;
        fields_free(old);
    }
    expire(m, t, ttl_ms);
    return leave(m, rc);
}

static void item_drop(struct item **at)
{
    struct item *t = *at;

    *at = t->next;
    free(t->name);
    free(t->holder);
    free(t);
}

static void group_drop(struct group **at)
{
    struct group *g = *at;

    *at = g->next;
    while (g->items)
        item_drop(&g->items);
    free(g->ring);
    free(g->name);
    free(g);
}

static struct group **group_at(struct mem *m, const struct board_queue *q, const char *name)
{
    struct group **at = &m->groups;

    while (*at && (strcmp((*at)->name, name) || strcmp((*at)->ring, q->ring)))
        at = &(*at)->next;
    return at;
}

static struct item **item_at(struct group *g, const char *name)
{
    struct item **at = &g->items;

    while (*at && strcmp((*at)->name, name))
        at = &(*at)->next;
    return at;
}

static struct group *group_make(struct mem *m, const struct board_queue *q, const char *name)
{
    struct group **at = group_at(m, q, name);

    if (*at)
        return *at;
    *at = calloc(1, sizeof **at);
    if (!*at)
        return NULL;
    (*at)->ring = strdup(q->ring);
    (*at)->name = strdup(name);
    (*at)->served = ++m->turns;
    if ((*at)->ring && (*at)->name)
        return *at;
    group_drop(at);
    return NULL;
}

static int mem_push(struct board *b, const struct board_queue *q, const char *group,
                    const char *item, int priority, int64_t created_ms, struct err *e)
{
    struct mem *m = enter(b);
    struct group *g = group_make(m, q, group);
    struct item **at;

    if (!g)
        return leave(m, err_set(e, ERR_NOMEM, "a queue of %s", group));
    at = item_at(g, item);
    if (*at)
        return leave(m, 0);
    *at = calloc(1, sizeof **at);
    if (*at && !((*at)->name = strdup(item)))
        item_drop(at);
    if (!*at)
        return leave(m, err_set(e, ERR_NOMEM, "a queue of %s", group));
    (*at)->priority = priority;
    (*at)->created_ms = created_ms < 0 ? 0 : created_ms;
    return leave(m, 0);
}

static bool before(const struct item *a, const struct item *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->created_ms != b->created_ms)
        return a->created_ms < b->created_ms;
    return strcmp(a->name, b->name) < 0;
}

static struct item *best(struct group *g, int64_t now)
{
    struct item *t, *found = NULL;

    for (t = g->items; t; t = t->next) {
        if (t->holder && t->lease_ends_ms <= now) {
            free(t->holder);
            t->holder = NULL;
        }
        if (!t->holder && (!found || before(t, found)))
            found = t;
    }
    return found;
}

/* The group served longest ago that has an item; empty groups go on the way. */
static struct group *next_group(struct mem *m, const struct board_queue *q, struct item **item)
{
    struct group **at = &m->groups, *found = NULL;
    int64_t now = clock_mono_ms(m->clock);
    struct item *t;

    while (*at) {
        if (!(*at)->items) {
            group_drop(at);
            continue;
        }
        if (!strcmp((*at)->ring, q->ring) && (t = best(*at, now)) &&
            (!found || (*at)->served < found->served)) {
            found = *at;
            *item = t;
        }
        at = &(*at)->next;
    }
    return found;
}

static int mem_lease(struct board *b, const struct board_queue *q, const char *holder,
                     int64_t ttl_ms, struct buf *group, struct buf *item, struct err *e)
{
    struct mem *m = enter(b);
    struct item *t = NULL;
    struct group *g = next_group(m, q, &t);
    int rc;

    if (!g)
        return leave(m, err_set(e, ERR_NOT_FOUND, "nothing is queued"));
    if (!(t->holder = strdup(holder)))
        return leave(m, err_set(e, ERR_NOMEM, "a lease"));
    t->lease_ends_ms = clock_mono_ms(m->clock) + ttl_ms;
    g->served = ++m->turns;
    buf_str(group, g->name);
    buf_str(item, t->name);
    rc = buf_check(group, "a group's name", e);
    return leave(m, rc < 0 ? rc : buf_check(item, "a queued item", e));
}

/* Where the item is, if `holder` has it; else NULL and ERR_FENCED. */
static struct item **leased(struct mem *m, const struct board_queue *q, const char *group,
                            const char *item, const char *holder, struct err *e)
{
    struct group *g = *group_at(m, q, group);
    struct item **at = g ? item_at(g, item) : NULL;

    if (at && *at && (*at)->holder && !strcmp((*at)->holder, holder))
        return at;
    err_set(e, ERR_FENCED, "the lease of %s is not ours any more", item);
    return NULL;
}

static int mem_renew(struct board *b, const struct board_queue *q, const char *group,
                     const char *item, const char *holder, int64_t ttl_ms, struct err *e)
{
    struct mem *m = enter(b);
    struct item **at = leased(m, q, group, item, holder, e);

    if (!at)
        return leave(m, ERR_FENCED);
    (*at)->lease_ends_ms = clock_mono_ms(m->clock) + ttl_ms;
    return leave(m, 0);
}

static int mem_release(struct board *b, const struct board_queue *q, const char *group,
                       const char *item, const char *holder, bool done, struct err *e)
{
    struct mem *m = enter(b);
    struct item **at = leased(m, q, group, item, holder, e);

    if (!at)
        return leave(m, ERR_FENCED);
    if (done) {
        item_drop(at);
    } else {
        free((*at)->holder);
        (*at)->holder = NULL;
    }
    return leave(m, 0);
}

void board_mem_flush(struct board *b)
{
    struct mem *m = enter(b);

    while (m->entries)
        entry_drop(&m->entries);
    while (m->groups)
        group_drop(&m->groups);
    leave(m, 0);
}

static void mem_free(struct board *b)
{
    struct mem *m = (struct mem *)b;

    board_mem_flush(b);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct board_ops mem_ops = {
    .set = mem_set,
    .get = mem_get,
    .each = mem_each,
    .remove = mem_remove,
    .create = mem_create,
    .append = mem_append,
    .tail = mem_tail,
    .push = mem_push,
    .lease = mem_lease,
    .renew = mem_renew,
    .release = mem_release,
    .free = mem_free,
};

int board_mem(struct board **out, struct clock *clock, struct err *e)
{
    struct mem *m = calloc(1, sizeof *m);

    if (!m)
        return err_set(e, ERR_NOMEM, "the board in memory");
    m->base.ops = &mem_ops;
    m->clock = clock;
    pthread_mutex_init(&m->lock, NULL);
    *out = &m->base;
    return 0;
}
