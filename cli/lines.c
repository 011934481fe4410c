#include "cli/lines.h"

#include <stdlib.h>
#include <string.h>

#include "cli/view.h"
#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "schemas/model.h"

#define CHUNK_MAX  ((size_t)16 << 20)
#define CHUNKS_MAX 100000
#define SILENT_MAX 10 /* then S3 is asked too */

void lines_init(struct lines *l, struct client *c, const char *run, lines_fn each, void *arg)
{
    *l = (struct lines){.client = c, .run = run, .each = each, .arg = arg};
}

void lines_release(struct lines *l)
{
    free(l->marks);
    memset(l, 0, sizeof *l);
}

/* NULL: out of memory. */
static uint64_t *next_of(struct lines *l, uint64_t attempt)
{
    struct lines_mark *more;
    size_t i;

    for (i = 0; i < l->mark_count; i++)
        if (l->marks[i].attempt == attempt)
            return &l->marks[i].next;
    if (!(more = realloc(l->marks, (l->mark_count + 1) * sizeof *more)))
        return NULL;
    l->marks = more;
    l->marks[l->mark_count] = (struct lines_mark){attempt, 0};
    return &l->marks[l->mark_count++].next;
}

/* 1: it was new. */
static int take(struct lines *l, const char *text, size_t n)
{
    static const struct json_limits limits = {1 << 20, 16, 65536, 4096};
    int64_t attempt, number;
    struct err e = ERR_INIT;
    json_t *v = NULL;
    uint64_t *next;
    int fresh = 0;

    if (json_parse(text, n, &limits, &v, &e) == 0 &&
        json_int_at(v, "attempt", 0, INT64_MAX, &attempt, &e) == 0 &&
        json_int_at(v, "n", 0, INT64_MAX, &number, &e) == 0 &&
        (next = next_of(l, (uint64_t)attempt)) && (uint64_t)number >= *next) {
        *next = (uint64_t)number + 1;
        l->each(l->arg, v, text);
        fresh = 1;
    }
    json_decref(v);
    return fresh;
}

static int each_board_line(void *arg, const char *name, const char *value, size_t len)
{
    struct lines *l = arg;
    char *line = strndup(value, len);

    l->board_from = strtoull(name, NULL, 10) + 1;
    if (line && take(l, line, strlen(line)))
        l->silent = 0;
    free(line);
    return 0;
}

static void look_at_board(struct lines *l)
{
    struct client *c = l->client;
    struct err e = ERR_INIT;
    char key[KEY_MAX];

    l->silent++;
    if (!c->ports.board || c->board_down ||
        key_board(&c->keys, BOARD_LOG, c->owner, l->run, key, &e) < 0)
        return;
    if (board_tail(c->ports.board, key, l->board_from, each_board_line, l, &e) < 0)
        client_board_failed(c, &e);
}

/* ---- S3 ----------------------------------------------------------------------------------------
 */

struct chunks {
    struct lines_mark *items; /* attempt, first line */
    size_t count, room;
    struct err *e;
};

static int each_key(void *arg, const char *key, uint64_t size)
{
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX], file[KEY_FILE_MAX];
    struct chunks *c = arg;
    uint64_t n, first;
    void *more;

    if (!key_attempt_file_parse(key, owner, run, &n, file) ||
        !attempt_series_parse(ATTEMPT_LOG, file, &first))
        return 0;
    if (c->count == CHUNKS_MAX)
        return err_set(c->e, ERR_LIMIT, "the run has more than %d pieces of log", CHUNKS_MAX);
    if (c->count == c->room) {
        c->room = c->room ? c->room * 2 : 64;
        if (!(more = realloc(c->items, c->room * sizeof *c->items)))
            return err_set(c->e, ERR_NOMEM, "the list of a log's pieces");
        c->items = more;
    }
    c->items[c->count++] = (struct lines_mark){n, first};
    return 0;
}

static int by_number(const void *x, const void *y)
{
    const struct lines_mark *a = x, *b = y;

    if (a->attempt != b->attempt)
        return a->attempt < b->attempt ? -1 : 1;
    return a->next < b->next ? -1 : a->next > b->next;
}

static int read_chunk(struct lines *l, const struct lines_mark *at, struct err *e)
{
    char key[KEY_MAX], file[KEY_FILE_MAX], *line, *rest = NULL;
    struct client *c = l->client;
    struct buf b;
    int rc;

    attempt_series_file(ATTEMPT_LOG, at->next, file);
    if ((rc = key_attempt_file(c->owner, l->run, at->attempt, file, key, e)) < 0)
        return rc;
    buf_init(&b, CHUNK_MAX);
    if ((rc = blob_get(c->ports.blob, key, &b, e)) == 0)
        for (line = b.len ? strtok_r(b.data, "\n", &rest) : NULL; line;
             line = strtok_r(NULL, "\n", &rest))
            take(l, line, strlen(line));
    buf_release(&b);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* All lines of a chunk were seen when the next chunk begins at or below the mark. */
static bool seen(struct lines *l, const struct chunks *c, size_t i)
{
    const uint64_t *next = next_of(l, c->items[i].attempt);

    return next && i + 1 < c->count && c->items[i + 1].attempt == c->items[i].attempt &&
           c->items[i + 1].next <= *next;
}

static int look_at_store(struct lines *l, struct err *e)
{
    struct client *c = l->client;
    struct chunks chunks = {.e = e};
    char prefix[KEY_MAX];
    size_t i;
    int rc = key_attempts_prefix(c->owner, l->run, prefix, e);

    if (rc == 0)
        rc = blob_list(c->ports.blob, prefix, NULL, each_key, &chunks, e);
    if (rc == 0 && chunks.count)
        qsort(chunks.items, chunks.count, sizeof *chunks.items, by_number);
    for (i = 0; rc == 0 && i < chunks.count; i++)
        if (!seen(l, &chunks, i))
            rc = read_chunk(l, &chunks.items[i], e);
    free(chunks.items);
    l->silent = 0;
    return rc;
}

int lines_look(struct lines *l, bool whole, struct err *e)
{
    int rc;

    if (whole || !l->begun || l->silent >= SILENT_MAX || l->client->board_down ||
        !l->client->ports.board) {
        l->begun = true;
        if ((rc = look_at_store(l, e)) < 0)
            return rc;
    }
    look_at_board(l);
    return 0;
}

/* ---- for people --------------------------------------------------------------------------------
 */

static void put_text(const char *name, const char *text, struct buf *to)
{
    buf_printf(to, " %s=", name);
    view_text(text, to);
}

static void put_value(const char *name, const json_t *v, struct buf *to)
{
    if (json_is_string(v))
        put_text(name, json_string_value(v), to);
    else if (json_is_integer(v))
        buf_printf(to, " %s=%lld", name, (long long)json_integer_value(v));
    else if (json_is_real(v))
        buf_printf(to, " %s=%.4g", name, json_real_value(v));
    else if (json_is_boolean(v))
        buf_printf(to, " %s=%s", name, json_is_true(v) ? "true" : "false");
}

void lines_text_of(const json_t *line, struct buf *to)
{
    json_t *v = (json_t *)line, *value, *inner; /* iterating changes nothing */
    const char *name, *inner_name, *event = json_string_value(json_object_get(v, "event"));
    const char *text = json_string_value(json_object_get(v, "text"));
    char time[32];

    model_time(json_integer_value(json_object_get(v, "time_ms")), time);
    buf_printf(to, "%.8s  #%lld  %s", time + 11,
               (long long)json_integer_value(json_object_get(v, "attempt")), event ? event : "-");
    json_object_foreach(v, name, value)
    {
        if (strcmp(name, "event") == 0 || strcmp(name, "text") == 0 ||
            strcmp(name, "time_ms") == 0 || strcmp(name, "attempt") == 0 || strcmp(name, "n") == 0)
            continue;
        if (json_is_object(value))
            json_object_foreach(value, inner_name, inner) put_value(inner_name, inner, to);
        else
            put_value(name, value, to);
    }
    if (text && *text) {
        buf_str(to, ": ");
        view_text(text, to);
    }
    buf_char(to, '\n');
}
