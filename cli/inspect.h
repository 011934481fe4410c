/*
 * The views of `tripline inspect`, each of the JSON object that engine_inspect
 * gives. Names in it come from the model's file: they are shown cleaned and
 * escaped. The functions append; what does not fit the buffer is the caller's
 * to notice (buf_check).
 */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "platform/base/buf.h"
#include "platform/json/json.h"

void inspect_text(const json_t *model, struct buf *to); /* for a person */
void inspect_dot(const json_t *model, struct buf *to);  /* Graphviz */
int inspect_svg(const json_t *model, struct buf *to, struct err *e);

/* ---- shared by the views ---- */

/* A member as text or as a whole number; "" and 0 when it is something else. */
const char *inspect_string(const json_t *v, const char *name);
long long inspect_number(const json_t *v, const char *name);

/*
 * UTF-8 without what moves a cursor or may stand in no XML: control characters, U+FFFE and
 * U+FFFF become U+FFFD. At most `most` characters, the last one "..." when it was longer.
 */
void inspect_clean(const char *text, size_t most, struct buf *to);

/* The lines of a box, cleaned, a newline behind each; returns how many. */
int inspect_lines(const json_t *box, struct buf *to);

/* "1,774,464" */
void inspect_thousands(long long n, struct buf *to);

/* The box holds parameters, and none of them trains. */
bool inspect_is_frozen(const json_t *box);

#endif
