/*
 * What every store must do: the same cases over blob_mem, blob_dir (unit
 * tests), blob_s3 and blob_libs3 (service tests). Objects lie under `prefix`,
 * which is the run's own and is emptied at the end.
 */
#ifndef TESTS_SERVICE_BLOB_SUITE_H
#define TESTS_SERVICE_BLOB_SUITE_H

#include <stdbool.h>
#include <stddef.h>

#include "platform/blob/blob.h"
#include "platform/clock/clock.h"

struct suite {
    const char *name;
    struct blob *blob;
    struct clock *clock;
    size_t part_bytes; /* sizes around it are tried */
    bool has_urls;     /* a presigned URL can be fetched */
    char prefix[64];   /* ends in '/' */
    char scratch[64];  /* a folder for local files */
};

/* Makes prefix and scratch, runs all cases, cleans up; the number of failures. */
int suite_run(struct suite *s);

#endif
