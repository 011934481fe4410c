/*
 * Where a training step's time goes, kernel by kernel: `fit --profile`. Between
 * profile_begin and profile_end a copy of the backend's table is in its place,
 * whose operators read the clock and call the original's; at any other time, and
 * without a profile, nothing differs. Numbers are not touched: results stay the
 * same bytes.
 *
 * Time is processor time, over all threads, so that other programs' turns do not
 * count: the rows add up to what the process used for its steps. One caller; the
 * lanes of the step may run at once.
 */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include <jansson.h>

#include "platform/base/buf.h"
#include "trainer/engine/engine.h"

struct profile;

int profile_new(struct profile **out, struct err *e);
void profile_free(struct profile *); /* accepts NULL */

/* Around one step, or several (`steps`), of one backend. The first begin measures the peak of a
 * core, which takes some hundredths of a second. */
void profile_begin(struct profile *, struct backend *);
void profile_end(struct profile *, struct backend *, int steps);

struct profile_row {
    const char *kernel; /* an operator's name, or what runs over all parameters */
    const char *way;    /* "forward", "backward"; "" */
    int64_t calls;
    double seconds;
    double flops; /* multiplications and additions of products; 0: not counted */
    double bytes; /* of operands, each once */
};
enum { PROFILE_ROWS = 2 * OP_COUNT + 6 };

struct profile_total {
    int64_t steps;
    double wall, processor; /* seconds */
    double peak;            /* operations a second of one core; 0: the backend has no such figure */
};

/* Most time first; the last row, "everything else", is what no kernel took. Returns how many. */
int profile_rows(const struct profile *, struct profile_row rows[PROFILE_ROWS],
                 struct profile_total *total);

void profile_text(const struct profile *, struct buf *to); /* a table for people */
json_t *profile_json(const struct profile *);              /* NULL: no memory */

#endif
