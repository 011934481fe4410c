/*
 * A run's log as it grows: JSON lines of its attempts, numbered (attempt, n).
 * The first look reads all of S3's chunks; later ones ask Redis, which has a line
 * as soon as S3 has it, and S3 again now and then, or when Redis is silent. Each
 * line comes once.
 */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stdint.h>

#include "cli/client.h"
#include "platform/json/json.h"

/* `text` is the line as it is, NUL-terminated; `v` the same, parsed. */
typedef void (*lines_fn)(void *arg, const json_t *v, const char *text);

struct lines_mark {
    uint64_t attempt, next;
};

struct lines {
    struct client *client; /* borrowed */
    const char *run;
    lines_fn each;
    void *arg;
    struct lines_mark *marks; /* owned */
    size_t mark_count;
    uint64_t board_from;
    int silent; /* looks at Redis in a row that brought nothing */
    bool begun;
};

void lines_init(struct lines *l, struct client *c, const char *run, lines_fn each, void *arg);
void lines_release(struct lines *l);

/* One look. `whole`: at S3 in any case, as at the end of a run. */
int lines_look(struct lines *l, bool whole, struct err *e);

/* "12:00:03  #1  step      1/2 ..." for people, with a newline. */
void lines_text_of(const json_t *v, struct buf *to);

#endif
