#include "platform/blob/blob_mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "platform/blob/ends.h"

struct object {
    char *key, *bytes; /* owned */
    size_t size;
};

struct mem {
    struct blob blob;
    blob_mem_hook_fn hook;
    void *hook_arg;

    pthread_mutex_t lock;   /* all below */
    struct object *objects; /* sorted by key */
    size_t count, cap;
};

static int hook(struct mem *m, const char *call, const char *key, enum blob_mem_moment moment,
                struct err *e)
{
    return m->hook ? m->hook(m->hook_arg, call, key, moment, e) : 0;
}

/* A call is: check the key, the hook, the effect under the lock, the hook. */
static int enter(struct mem *m, const char *call, const char *key, struct err *e)
{
    int rc = blob_key_check(key, e);

    if (rc == 0)
        rc = hook(m, call, key, BLOB_MEM_BEFORE, e);
    if (rc == 0)
        pthread_mutex_lock(&m->lock);
    return rc;
}

static int leave(struct mem *m, const char *call, const char *key, int rc, struct err *e)
{
    int hooked;

    pthread_mutex_unlock(&m->lock);
    hooked = hook(m, call, key, BLOB_MEM_AFTER, e);
    return hooked < 0 ? hooked : rc;
}

/* The first object whose key is >= `key`. */
static size_t lower_bound(const struct mem *m, const char *key)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(m->objects[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct object *find(struct mem *m, const char *key)
{
    size_t i = lower_bound(m, key);

    return i < m->count && strcmp(m->objects[i].key, key) == 0 ? &m->objects[i] : NULL;
}

static int absent(const char *key, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "mem:///%s: not found", key);
}

static int no_memory(const char *key, struct err *e)
{
    return err_set(e, ERR_NOMEM, "mem:///%s: out of memory", key);
}

/* No key is a folder of another: stores on file systems refuse it, so the twin does. */
static int check_folders(struct mem *m, const char *key, struct err *e)
{
    char part[BLOB_KEY_MAX + 2];
    size_t i, n = strlen(key);

    memcpy(part, key, n + 1);
    for (i = 1; i < n; i++) {
        if (key[i] != '/')
            continue;
        part[i] = '\0';
        if (find(m, part))
            return err_set(e, ERR_USAGE, "mem:///%s: %s is an object, not a folder", key, part);
        part[i] = '/';
    }
    memcpy(part + n, "/", 2);
    i = lower_bound(m, part);
    if (i < m->count && strncmp(m->objects[i].key, part, n + 1) == 0)
        return err_set(e, ERR_USAGE, "mem:///%s: is a folder of %s", key, m->objects[i].key);
    return 0;
}

/* Copies `source`, inserts or replaces. */
static int store(struct mem *m, const char *key, const struct blob_source *source, struct err *e)
{
    size_t n = (size_t)source->size, i = lower_bound(m, key);
    struct object *o = find(m, key);
    char *bytes = NULL, *name;
    int rc = check_folders(m, key, e);

    if (rc == 0 && !(bytes = malloc(n + 1)))
        rc = no_memory(key, e);
    if (rc == 0)
        rc = source_read(source, 0, bytes, n, e);
    if (rc < 0)
        goto fail;
    if (o) {
        free(o->bytes);
        o->bytes = bytes;
        o->size = n;
        return 0;
    }
    rc = no_memory(key, e);
    if (m->count == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;

        o = realloc(m->objects, cap * sizeof *o);
        if (!o)
            goto fail;
        m->objects = o;
        m->cap = cap;
    }
    name = strdup(key);
    if (!name)
        goto fail;
    memmove(&m->objects[i + 1], &m->objects[i], (m->count - i) * sizeof *m->objects);
    m->objects[i] = (struct object){name, bytes, n};
    m->count++;
    return 0;
fail:
    free(bytes);
    return rc;
}

/* The object through a sink, under the lock. */
static int drain(struct mem *m, const char *key, struct blob_sink *sink, struct err *e)
{
    struct object *o = find(m, key);
    int rc;

    if (!o)
        return absent(key, e);
    rc = sink->begin(sink, o->size, e);
    return rc < 0 || o->size == 0 ? rc : sink->write(sink, o->bytes, o->size, e);
}

static int mem_get(struct blob *b, const char *key, struct buf *out, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct sink_buf sink;
    int rc = enter(m, "get", key, e);

    if (rc < 0)
        return rc;
    sink_buf_init(&sink, out, key);
    return leave(m, "get", key, drain(m, key, &sink.sink, e), e);
}

static int mem_get_file(struct blob *b, const char *key, const char *path, char sha256[SHA256_HEX],
                        struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct sink_file sink;
    int rc = enter(m, "get_file", key, e);

    if (rc < 0)
        return rc;
    sink_file_init(&sink, path);
    rc = drain(m, key, &sink.sink, e);
    if (rc == 0)
        rc = sink_file_end(&sink, sha256, e);
    sink_file_release(&sink);
    return leave(m, "get_file", key, rc, e);
}

static int mem_put(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct blob_source source;
    int rc = enter(m, "put", key, e);

    if (rc < 0)
        return rc;
    source_memory(&source, bytes, n);
    return leave(m, "put", key, store(m, key, &source, e), e);
}

static int mem_put_file(struct blob *b, const char *key, const char *path, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct blob_source source;
    int rc = source_file(&source, path, e);

    if (rc == 0)
        rc = enter(m, "put_file", key, e);
    if (rc == 0)
        rc = leave(m, "put_file", key, store(m, key, &source, e), e);
    source_release(&source);
    return rc;
}

static int mem_create(struct blob *b, const char *key, const void *bytes, size_t n, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct blob_source source;
    struct object *o;
    int rc = n > BLOB_CREATE_MAX
                 ? err_set(e, ERR_LIMIT, "%s: %zu bytes, at most %zu", key, n, BLOB_CREATE_MAX)
                 : enter(m, "create", key, e);

    if (rc < 0)
        return rc;
    source_memory(&source, bytes, n);
    o = find(m, key);
    if (!o)
        rc = store(m, key, &source, e);
    else if (o->size != n || memcmp(o->bytes, source.bytes, n) != 0)
        rc = err_set(e, ERR_EXISTS, "mem:///%s: exists already, with another content", key);
    return leave(m, "create", key, rc, e);
}

static int mem_head(struct blob *b, const char *key, uint64_t *size, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct object *o;
    int rc = enter(m, "head", key, e);

    if (rc < 0)
        return rc;
    o = find(m, key);
    if (o && size)
        *size = o->size;
    return leave(m, "head", key, o ? 0 : absent(key, e), e);
}

/* What a listing saw when it began; the callbacks run without the lock and may use the store. */
struct snapshot {
    struct object *objects; /* keys only */
    size_t count;
};

static int take_snapshot(struct mem *m, const char *prefix, const char *after, struct snapshot *s,
                         struct err *e)
{
    size_t n = strlen(prefix), i = lower_bound(m, prefix);

    s->count = 0;
    s->objects = calloc(m->count + 1, sizeof *s->objects);
    if (!s->objects)
        return no_memory(prefix, e);
    for (; i < m->count && strncmp(m->objects[i].key, prefix, n) == 0; i++) {
        struct object *o = &s->objects[s->count];

        if (after && strcmp(m->objects[i].key, after) <= 0)
            continue;
        o->key = strdup(m->objects[i].key);
        if (!o->key)
            return no_memory(prefix, e);
        o->size = m->objects[i].size;
        s->count++;
    }
    return 0;
}

static int mem_list(struct blob *b, const char *prefix, const char *after, blob_each_fn each,
                    void *arg, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct snapshot s = {NULL, 0};
    size_t i;
    int rc = blob_prefix_check(prefix, e);

    if (rc == 0 && after)
        rc = blob_prefix_check(after, e);
    if (rc == 0)
        rc = hook(m, "list", prefix, BLOB_MEM_BEFORE, e);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&m->lock);
    rc = leave(m, "list", prefix, take_snapshot(m, prefix, after, &s, e), e);
    for (i = 0; i < s.count && rc == 0; i++)
        rc = each(arg, s.objects[i].key, s.objects[i].size);
    for (i = 0; i < s.count; i++)
        free(s.objects[i].key);
    free(s.objects);
    return rc;
}

static int mem_remove(struct blob *b, const char *key, struct err *e)
{
    struct mem *m = (struct mem *)b;
    struct object *o;
    int rc = enter(m, "remove", key, e);

    if (rc < 0)
        return rc;
    o = find(m, key);
    if (o) {
        free(o->key);
        free(o->bytes);
        m->count--;
        memmove(o, o + 1, (m->count - (size_t)(o - m->objects)) * sizeof *o);
    }
    return leave(m, "remove", key, 0, e);
}

static int mem_presign(struct blob *b, const char *key, int64_t seconds, struct buf *url,
                       struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED, "mem:///%s: memory has no URL that others can fetch", key);
}

static int mem_url(struct blob *b, const char *key, struct buf *url, struct err *e)
{
    int rc = blob_key_check(key, e);

    if (rc < 0)
        return rc;
    buf_printf(url, "mem:///%s", key);
    return buf_check(url, "an object's URL", e);
}

static void mem_free(struct blob *b)
{
    struct mem *m = (struct mem *)b;
    size_t i;

    for (i = 0; i < m->count; i++) {
        free(m->objects[i].key);
        free(m->objects[i].bytes);
    }
    free(m->objects);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct blob_ops ops = {
    .get = mem_get,
    .get_file = mem_get_file,
    .put = mem_put,
    .put_file = mem_put_file,
    .create = mem_create,
    .head = mem_head,
    .list = mem_list,
    .remove = mem_remove,
    .presign = mem_presign,
    .url = mem_url,
    .free = mem_free,
};

int blob_mem(struct blob **out, struct clock *clock, struct err *e)
{
    struct mem *m = calloc(1, sizeof *m);

    if (!m)
        return err_set(e, ERR_NOMEM, "no memory for a store");
    m->blob.ops = &ops;
    pthread_mutex_init(&m->lock, NULL);
    *out = &m->blob;
    return 0;
}

void blob_mem_hook(struct blob *b, blob_mem_hook_fn fn, void *arg)
{
    struct mem *m = (struct mem *)b;

    m->hook = fn;
    m->hook_arg = arg;
}
