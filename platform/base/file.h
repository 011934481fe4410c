/*
 * Local files: read whole with a limit, write whole or not at all, folders.
 */
#ifndef PLATFORM_BASE_FILE_H
#define PLATFORM_BASE_FILE_H

#include "platform/base/buf.h"
#include "platform/base/err.h"

/* Reads a regular file into `b` (initialised by the caller; its max is the limit). ERR_NOT_FOUND,
 * ERR_LIMIT, ERR_IO. */
int file_read(const char *path, struct buf *b, struct err *e);

/* Writes `path` by a temporary file beside it, fsync and rename: it is never seen half-written. */
int file_write(const char *path, const void *bytes, size_t n, struct err *e);

/* The same, and nobody but its owner can read it at any time. */
int file_write_secret(const char *path, const void *bytes, size_t n, struct err *e);

/* As mkdir -p, mode 0777 less umask. */
int file_mkdirs(const char *path, struct err *e);

/* Removes a folder and all below it; links are removed, not followed. A missing one is fine. */
int file_remove_tree(const char *path, struct err *e);

#endif
