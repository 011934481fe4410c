#include <string.h>

#include "platform/base/log.h"
#include "platform/base/text.h"
#include "platform/blob/blob.h"
#include "platform/clock/clock.h"
#include "trainer/attempt.h"

#define CHUNK_BYTES ((size_t)256 << 10) /* a chunk goes at once when it holds so much */
#define LINE_BYTES  ((size_t)16 << 10)

void lines_add(struct attempt *a, json_t *event)
{
    struct lines *l = &a->lines;
    struct buf line;
    struct err e = ERR_INIT;

    buf_init(&line, LINE_BYTES);
    json_put(&event, "attempt", json_integer((json_int_t)a->n));
    json_put(&event, "n", json_integer((json_int_t)l->next));
    json_put(&event, "time_ms", json_integer(clock_wall_ms(a->t->p.clock)));
    if (event && json_write(event, JSON_CANONICAL, &line, &e) == 0 &&
        l->pending.len + line.len < l->pending.max) {
        if (!l->pending.len)
            l->since_ms = clock_mono_ms(a->t->p.clock);
        buf_add(&l->pending, line.data, line.len);
        buf_char(&l->pending, '\n');
        l->next++;
    }
    buf_release(&line);
    json_decref(event);
}

void lines_text(struct attempt *a, const char *event, const char *text)
{
    char cut[2048];
    size_t n = strlen(text);

    if (n >= sizeof cut)
        n = sizeof cut - 1;
    n = text_utf8_valid(text, n);
    memcpy(cut, text, n);
    cut[n] = '\0';
    lines_add(a, json_pack("{s:s, s:s}", "event", event, "text", cut));
}

/* Lines of steps and evaluations are metrics too. */
static bool is_metric(const char *line, size_t n)
{
    return memmem(line, n, "\"event\":\"step\"", 14) || memmem(line, n, "\"event\":\"eval\"", 14);
}

static int show_lines(struct attempt *a, struct err *e)
{
    struct board *b = a->t->p.board;
    const char *at = a->lines.pending.data, *end = at + a->lines.pending.len, *stop;
    char log[KEY_MAX], metrics[KEY_MAX];
    int rc;

    if ((rc = key_board(&a->t->keys, BOARD_LOG, a->ref.owner, a->ref.run, log, e)) < 0 ||
        (rc = key_board(&a->t->keys, BOARD_METRICS, a->ref.owner, a->ref.run, metrics, e)) < 0)
        return rc;
    for (; rc == 0 && at < end; at = stop + 1) {
        size_t n;

        stop = memchr(at, '\n', (size_t)(end - at));
        n = (size_t)(stop - at);
        rc = board_append(b, log, at, n, TRAINER_LINES_KEEP, TRAINER_KEEP_MS, e);
        if (rc == 0 && is_metric(at, n))
            rc = board_append(b, metrics, at, n, TRAINER_LINES_KEEP, TRAINER_KEEP_MS, e);
    }
    return rc;
}

static int put_lines(struct attempt *a, struct err *e)
{
    struct lines *l = &a->lines;
    char file[KEY_FILE_MAX], key[KEY_MAX];
    int rc;

    attempt_series_file(ATTEMPT_LOG, l->first, file);
    if ((rc = key_attempt_file(a->ref.owner, a->ref.run, a->n, file, key, e)) < 0)
        return rc;
    return blob_put(a->t->p.blob, key, l->pending.data, l->pending.len, e);
}

void lines_flush(struct attempt *a, bool now)
{
    struct lines *l = &a->lines;
    struct err e = ERR_INIT;

    if (!l->pending.len || (!now && l->pending.len < CHUNK_BYTES &&
                            clock_mono_ms(a->t->p.clock) < l->since_ms + a->t->o.log_ms))
        return;
    if (put_lines(a, &e) < 0) {
        log_error("run.log", &e, "owner", a->ref.owner, "run", a->ref.run, NULL);
        l->since_ms = clock_mono_ms(a->t->p.clock);
        return;
    }
    if (job_board_usable(a->t))
        job_board_fine(a->t, show_lines(a, &e), &e);
    l->first = l->next;
    buf_reset(&l->pending);
}
