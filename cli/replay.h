/*
 * Rejected documents in a file, to be repaired and sent back. One JSON object a
 * line: where the message came from (`topic`, `partition`, `offset`), why it was
 * refused (`code`, `reason`), and the message: `key`, `value`, `headers` (each
 * `name` and `value`). What is not UTF-8 has `_base64` behind its name; an absent
 * key or value is null. Only the message matters to a replay, and its position, which
 * must be a refused one's.
 *
 * A repaired message goes to the partition it came from, with the header
 * HEADER_REPLAY: its first offset. So what a partition holds behind that offset
 * says what was sent back already, or sent anew by its producer: both are left
 * out, and a second replay of a file sends nothing. That holds as long as Kafka
 * retains those messages, and for one replay at a time.
 */
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include <stdint.h>

#include "cli/client.h"

struct bus_header;
struct bus_message;

/* The last header of that name, or NULL: ingest's come last, and a replay's. */
const struct bus_header *replay_header(const struct bus_message *m, const char *name);

/* Appends the line of a message of the rejected topic. */
int replay_put(const struct bus_message *m, struct buf *to, struct err *e);

struct replay_result {
    int64_t lines, sent;
    int64_t replayed;   /* left out: sent back before */
    int64_t superseded; /* left out: a later message has the same key */
};

/* Checks the whole file as ingest will; then sends. `topic` is the dataset's. Errors of the file
 * begin with file:line, and nothing was sent. */
int replay_file(struct client *c, const char *topic, const char *path, struct replay_result *out,
                struct err *e);

#endif
