#include "cli/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tail.h"
#include "platform/base/arena.h"
#include "platform/base/text.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/json/base64.h"
#include "platform/json/json.h"
#include "schemas/document.h"

#define MEMORY_MAX ((size_t)1 << 30)
#define OFFSET_MAX 9007199254740991

enum { SEND_MS = 60000 };

struct line {
    size_t number; /* in the file, from 1 */
    int64_t partition, offset;
    struct document_message m;
    bool refused; /* there is a copy of it */
    bool replayed, superseded;
};

struct replay {
    struct client *c;
    const char *topic, *path;
    struct arena arena;   /* what the lines point at */
    struct arena scratch; /* of one check */
    struct line *lines;
    struct line **by_key; /* those that have a key */
    size_t count, cap, keyed;
    struct tail tail; /* the copies, then what is behind the lines */
};

/* --- writing --- */

static json_t *bytes_json(const void *bytes, size_t n)
{
    char *text = malloc(BASE64_LEN(n) + 1);
    json_t *v;

    if (!text)
        return NULL;
    base64_encode(bytes, n, text);
    v = json_string(text);
    free(text);
    return v;
}

static void put_bytes(json_t **to, const char *name, const void *bytes, size_t n)
{
    char longer[24];

    if (!bytes) {
        json_put(to, name, json_null());
    } else if (text_utf8_valid(bytes, n) == n && !memchr(bytes, 0, n)) {
        json_put(to, name, json_stringn(bytes, n));
    } else {
        snprintf(longer, sizeof longer, "%s_base64", name);
        json_put(to, longer, bytes_json(bytes, n));
    }
}

/* A header of ingest's becomes a member, a number where it is one. */
static bool put_origin(json_t **to, const struct bus_header *h)
{
    static const char *const names[][2] = {{HEADER_REJECT_CODE, "code"},
                                           {HEADER_REJECT_REASON, "reason"},
                                           {HEADER_REJECT_TOPIC, "topic"},
                                           {HEADER_REJECT_PARTITION, "partition"},
                                           {HEADER_REJECT_OFFSET, "offset"}};
    char text[24];
    int64_t number;
    size_t i;

    for (i = 0; i < sizeof names / sizeof names[0] && strcmp(h->name, names[i][0]) != 0; i++)
        ;
    if (i == sizeof names / sizeof names[0])
        return false;
    if (i < 3) {
        put_bytes(to, names[i][1], h->value, h->value_len);
        return true;
    }
    snprintf(text, sizeof text, "%.*s", (int)(h->value_len < 23 ? h->value_len : 23),
             h->value ? (const char *)h->value : "");
    if (text_i64(text, 0, OFFSET_MAX, &number) == 0)
        json_put(to, names[i][1], json_integer(number));
    return true;
}

int replay_put(const struct bus_message *m, struct buf *to, struct err *e)
{
    json_t *v = json_object(), *headers = json_array(), *one;
    size_t i;

    for (i = 0; i < m->header_count; i++) {
        if (put_origin(&v, &m->headers[i]))
            continue;
        one = json_object();
        json_put(&one, "name", json_string(m->headers[i].name));
        put_bytes(&one, "value", m->headers[i].value, m->headers[i].value_len);
        json_add(&headers, one);
    }
    put_bytes(&v, "key", m->key, m->key_len);
    put_bytes(&v, "value", m->value, m->value_len);
    json_put(&v, "headers", headers);
    return cli_json(to, v, e);
}

/* --- reading --- */

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "the file is larger than memory allows");
}

static int take_bytes(struct replay *r, const json_t *v, const char *name, const void **out,
                      size_t *n, struct err *e)
{
    char longer[24];
    const json_t *text;
    size_t bad;
    long len;
    char *to;

    *out = NULL;
    *n = 0;
    snprintf(longer, sizeof longer, "%s_base64", name);
    text = json_object_get(v, longer);
    if (!text && (!(text = json_object_get(v, name)) || json_is_null(text)))
        return 0;
    if (!json_is_string(text))
        return err_set(e, ERR_FORMAT, "%s: expected a string, got %s", name, json_type_text(text));
    if (!(to = arena_strndup(&r->arena, json_string_value(text), json_string_length(text))))
        return no_memory(e);
    *out = to;
    *n = json_string_length(text);
    if (text == json_object_get(v, longer)) {
        if ((len = base64_decode(to, *n, to, &bad)) < 0)
            return err_set(e, ERR_FORMAT, "%s: is not base64 from character %zu on", longer, bad);
        *n = (size_t)len;
    }
    return 0;
}

static int take_headers(struct replay *r, const json_t *v, struct document_message *m,
                        struct err *e)
{
    const json_t *list = json_object_get(v, "headers"), *item;
    struct document_header *h;
    size_t i, n = json_array_size(list);
    const char *name;
    int rc;

    if (!(h = arena_array(&r->arena, n + 1, sizeof *h)))
        return no_memory(e);
    for (i = 0; i < n; i++) {
        item = json_array_get(list, i);
        if ((rc = json_string_at(item, "name", &name, e)) < 0 ||
            (rc = take_bytes(r, item, "value", &h[i].value, &h[i].value_len, e)) < 0)
            return err_wrap(e, "headers.%zu", i);
        if (!(h[i].name = arena_strndup(&r->arena, name, strlen(name))))
            return no_memory(e);
    }
    m->headers = h;
    m->header_count = n;
    return 0;
}

static int take_line(struct replay *r, const json_t *v, struct line *l, struct err *e)
{
    enum document_kind kind;
    struct document d;
    const char *topic;
    int rc;

    if ((rc = json_string_at(v, "topic", &topic, e)) < 0 ||
        (rc = json_int_at(v, "partition", 0, TAIL_PARTITIONS_MAX - 1, &l->partition, e)) < 0 ||
        (rc = json_int_at(v, "offset", 0, OFFSET_MAX, &l->offset, e)) < 0 ||
        (rc = take_bytes(r, v, "key", &l->m.key, &l->m.key_len, e)) < 0 ||
        (rc = take_bytes(r, v, "value", &l->m.value, &l->m.value_len, e)) < 0 ||
        (rc = take_headers(r, v, &l->m, e)) < 0)
        return rc;
    if (strcmp(topic, r->topic) != 0)
        return err_set(e, ERR_FORMAT, "topic: '%.100s' is another dataset's", topic);
    arena_reset(&r->scratch);
    return document_admit(&l->m, r->c->owner, &r->scratch, &kind, &d, e);
}

static int add_line(struct replay *r, const char *text, size_t n, size_t number, struct err *e)
{
    struct line *more;
    json_t *v;
    int rc;

    if (r->count == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        if (!(more = realloc(r->lines, r->cap * sizeof *more)))
            return no_memory(e);
        r->lines = more;
    }
    r->lines[r->count] = (struct line){.number = number};
    if ((rc = json_parse(text, n, NULL, &v, e)) < 0)
        return rc;
    rc = take_line(r, v, &r->lines[r->count], e);
    json_decref(v);
    r->count += rc == 0;
    return rc;
}

static int read_file(struct replay *r, struct err *e)
{
    FILE *f = fopen(r->path, "re");
    size_t cap = 0, number = 0;
    char *text = NULL;
    ssize_t n;
    int rc = 0;

    if (!f)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", r->path);
    while (rc == 0 && (n = getline(&text, &cap, f)) > 0) {
        number++;
        if (text[strspn(text, " \t\r\n")] && (rc = add_line(r, text, (size_t)n, number, e)) < 0)
            err_wrap(e, "%s:%zu", r->path, number);
    }
    if (rc == 0 && ferror(f))
        rc = err_errno(e, ERR_IO, "%s", r->path);
    free(text);
    fclose(f);
    return rc;
}

/* --- order --- */

static int by_place(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int compare_keys(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return c ? c : (a_len > b_len) - (a_len < b_len);
}

static int by_key(const void *a, const void *b)
{
    const struct line *const *x = a, *const *y = b;

    return compare_keys((*x)->m.key, (*x)->m.key_len, (*y)->m.key, (*y)->m.key_len);
}

static int sort_lines(struct replay *r, struct err *e)
{
    size_t i;

    qsort(r->lines, r->count, sizeof *r->lines, by_place);
    for (i = 1; i < r->count; i++)
        if (by_place(&r->lines[i - 1], &r->lines[i]) == 0)
            return err_set(e, ERR_FORMAT, "%s:%zu: partition %lld, offset %lld is there twice",
                           r->path, r->lines[i].number, (long long)r->lines[i].partition,
                           (long long)r->lines[i].offset);
    if (!(r->by_key = calloc(r->count + 1, sizeof *r->by_key)))
        return no_memory(e);
    for (i = 0; i < r->count; i++)
        if (r->lines[i].m.key && r->lines[i].m.key_len)
            r->by_key[r->keyed++] = &r->lines[i];
    qsort(r->by_key, r->keyed, sizeof *r->by_key, by_key);
    return 0;
}

/* --- the positions --- */

const struct bus_header *replay_header(const struct bus_message *m, const char *name)
{
    size_t i;

    for (i = m->header_count; i-- > 0;)
        if (strcmp(m->headers[i].name, name) == 0)
            return &m->headers[i];
    return NULL;
}

static bool number_of(const struct bus_header *h, int64_t *out)
{
    char text[24];

    if (!h || !h->value)
        return false;
    snprintf(text, sizeof text, "%.*s", (int)(h->value_len < 23 ? h->value_len : 23),
             (const char *)h->value);
    return text_i64(text, 0, OFFSET_MAX, out) == 0;
}

static struct line *line_at(struct replay *r, int64_t partition, int64_t offset)
{
    const struct line probe = {.partition = partition, .offset = offset};

    if (r->count == 0)
        return NULL;
    return bsearch(&probe, r->lines, r->count, sizeof *r->lines, by_place);
}

static int mark_refused(void *arg, const struct bus_message *m, struct err *e)
{
    const struct bus_header *topic = replay_header(m, HEADER_REJECT_TOPIC);
    struct replay *r = arg;
    int64_t partition, offset;
    struct line *l;

    (void)e;
    if (topic && topic->value_len == strlen(r->topic) &&
        memcmp(topic->value, r->topic, topic->value_len) == 0 &&
        number_of(replay_header(m, HEADER_REJECT_PARTITION), &partition) &&
        number_of(replay_header(m, HEADER_REJECT_OFFSET), &offset) &&
        (l = line_at(r, partition, offset)))
        l->refused = true;
    return 0;
}

/* Each line has the position of a refused message, by its copy. Where Kafka dropped old copies that
 * can't be told any more. */
static int check_refused(struct replay *r, struct err *e)
{
    char topic[KEY_MAX];
    bool dropped = false;
    size_t i;
    int rc, p;

    if ((rc = topic_of(&r->c->keys, TOPIC_REJECTED, r->c->owner, topic, e)) < 0 ||
        (rc = tail_open(&r->tail, r->c, topic, e)) < 0)
        return rc;
    for (p = 0; p < r->tail.partitions; p++) {
        if ((rc = tail_want(&r->tail, p, 0, e)) < 0)
            return rc;
        dropped |= r->tail.next[p] > 0;
    }
    if ((rc = tail_read(&r->tail, mark_refused, r, e)) < 0)
        return err_wrap(e, "nothing was sent");
    for (i = 0; i < r->count && !dropped; i++)
        if (!r->lines[i].refused)
            return err_set(e, ERR_FORMAT,
                           "%s:%zu: offset: no copy of a refused message at partition %lld, offset "
                           "%lld is there: leave both as --out wrote them",
                           r->path, r->lines[i].number, (long long)r->lines[i].partition,
                           (long long)r->lines[i].offset);
    return 0;
}

/* --- what is behind them --- */

static void mark_replayed(struct replay *r, const struct bus_message *m, int64_t offset)
{
    struct line *l = line_at(r, m->partition, offset);

    if (l)
        l->replayed = true;
}

static void mark_superseded(struct replay *r, const struct bus_message *m)
{
    size_t low = 0, high = r->keyed, mid;
    struct line *l;

    while (low < high) { /* the first line whose key is not below */
        mid = low + (high - low) / 2;
        l = r->by_key[mid];
        if (compare_keys(l->m.key, l->m.key_len, m->key, m->key_len) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < r->keyed; low++) {
        l = r->by_key[low];
        if (compare_keys(l->m.key, l->m.key_len, m->key, m->key_len) != 0)
            return;
        if (l->partition == m->partition && l->offset < m->offset)
            l->superseded = true;
    }
}

static int look(void *arg, const struct bus_message *m, struct err *e)
{
    const struct bus_header *h = replay_header(m, HEADER_REPLAY);
    struct replay *r = arg;
    int64_t offset;

    (void)e;
    if (number_of(h, &offset))
        mark_replayed(r, m, offset);
    else if (m->key && m->key_len)
        mark_superseded(r, m);
    return 0;
}

static int look_behind(struct replay *r, struct err *e)
{
    size_t i;
    int rc;

    if ((rc = tail_open(&r->tail, r->c, r->topic, e)) < 0)
        return rc;
    for (i = 0; i < r->count; i++) {
        const struct line *l = &r->lines[i];

        if (l->partition >= r->tail.partitions)
            return err_set(e, ERR_FORMAT, "%s:%zu: partition: %s has no partition %lld", r->path,
                           l->number, r->topic, (long long)l->partition);
        if (!l->refused && l->offset >= r->tail.end[l->partition])
            return err_set(e, ERR_FORMAT,
                           "%s:%zu: offset: partition %lld of %s ends before %lld: leave it as "
                           "--out wrote it",
                           r->path, l->number, (long long)l->partition, r->topic,
                           (long long)l->offset);
        if (i > 0 && l->partition == r->lines[i - 1].partition)
            continue; /* the first line of each partition says where to begin */
        if ((rc = tail_want(&r->tail, (int32_t)l->partition, l->offset + 1, e)) < 0)
            return rc;
    }
    if ((rc = tail_read(&r->tail, look, r, e)) < 0)
        err_wrap(e, "nothing was sent");
    return rc;
}

/* --- sending --- */

static int send_line(struct replay *r, struct bus_producer *p, const struct line *l, struct err *e)
{
    size_t n = l->m.header_count, i;
    struct bus_header *h;
    char offset[24];
    struct bus_message m = {.topic = r->topic,
                            .partition = (int32_t)l->partition,
                            .key = l->m.key,
                            .key_len = l->m.key_len,
                            .value = l->m.value,
                            .value_len = l->m.value_len,
                            .header_count = n + 1};
    int rc;

    if (!(h = calloc(n + 1, sizeof *h)))
        return no_memory(e);
    for (i = 0; i < n; i++)
        h[i] = (struct bus_header){l->m.headers[i].name, l->m.headers[i].value,
                                   l->m.headers[i].value_len};
    snprintf(offset, sizeof offset, "%lld", (long long)l->offset);
    h[n] = (struct bus_header){HEADER_REPLAY, offset, strlen(offset)};
    m.headers = h;
    rc = bus_send(p, &m, NULL, e);
    free(h);
    return rc;
}

static int send_lines(struct replay *r, struct replay_result *out, struct err *e)
{
    const struct bus_producer_options o = {.message_timeout_ms = SEND_MS};
    struct bus_producer *p = NULL;
    size_t i;
    int rc;

    out->lines = (int64_t)r->count;
    for (i = 0; i < r->count; i++) {
        out->replayed += r->lines[i].replayed;
        out->superseded += !r->lines[i].replayed && r->lines[i].superseded;
    }
    if ((rc = bus_producer_open(r->c->ports.bus, &o, NULL, NULL, &p, e)) < 0)
        return rc;
    for (i = 0; i < r->count && rc == 0; i++) {
        if (r->lines[i].replayed || r->lines[i].superseded)
            continue;
        rc = send_line(r, p, &r->lines[i], e);
        out->sent += rc == 0;
    }
    if (rc == 0)
        rc = bus_flush(p, SEND_MS, e);
    bus_producer_free(p);
    return rc;
}

int replay_file(struct client *c, const char *topic, const char *path, struct replay_result *out,
                struct err *e)
{
    struct replay *r = calloc(1, sizeof *r);
    int rc;

    *out = (struct replay_result){0};
    if (!r)
        return no_memory(e);
    r->c = c;
    r->topic = topic;
    r->path = path;
    arena_init(&r->arena, MEMORY_MAX);
    arena_init(&r->scratch, MEMORY_MAX);
    if ((rc = read_file(r, e)) == 0 && (rc = sort_lines(r, e)) == 0 &&
        (rc = check_refused(r, e)) == 0 && (rc = look_behind(r, e)) == 0)
        rc = send_lines(r, out, e);
    arena_release(&r->arena);
    arena_release(&r->scratch);
    free(r->by_key);
    free(r->lines);
    free(r);
    return rc;
}
