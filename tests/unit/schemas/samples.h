/*
 * Folders of messages whose file names begin with their type, and what tests do
 * with all of them. Fails the test at the first surprise.
 */
#ifndef TESTS_UNIT_SCHEMAS_SAMPLES_H
#define TESTS_UNIT_SCHEMAS_SAMPLES_H

#include "platform/base/buf.h"
#include "schemas/record.h"

/* "job-full.json" is a job. */
const struct record *sample_type(const char *file);

/* `each` for all files of that ending (".json"), in the order of their names; how many. */
int sample_each(const char *folder, const char *ending,
                void (*each)(const char *file, const struct buf *));

/* Reads a record of any format and appends it to `to` as `format`. */
void sample_rewrite(const struct record *r, const struct buf *from, enum record_format format,
                    struct buf *to);

#endif
