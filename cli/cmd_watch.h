/*
 * Model-ready events, decoded and as a line for people: what `watch` and
 * `fit --follow` show.
 */
#ifndef CLI_CMD_WATCH_H
#define CLI_CMD_WATCH_H

#include "cli/cli.h"
#include "platform/base/arena.h"
#include "schemas/model.h"

struct bus_message;

/* Either mode of CloudEvents. Lives in the arena. */
int watch_decode(const struct bus_message *m, struct arena *a, struct model_ready *out,
                 struct err *e);
void watch_text(const struct model_ready *r, struct buf *to);

#endif
