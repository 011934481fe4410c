/*
 * blob_mem's hooks: what a simulation needs to fail, delay or crash a caller at
 * any point. The hook runs outside of the store's lock, in the caller's task,
 * before and after the effect of every call; what it returns (< 0, having set
 * the error) becomes the call's result. Set it before others use the store.
 */
#ifndef PLATFORM_BLOB_BLOB_MEM_H
#define PLATFORM_BLOB_BLOB_MEM_H

#include "platform/blob/blob.h"

enum blob_mem_moment { BLOB_MEM_BEFORE, BLOB_MEM_AFTER };

typedef int (*blob_mem_hook_fn)(void *arg, const char *call, const char *key,
                                enum blob_mem_moment moment, struct err *e);

void blob_mem_hook(struct blob *b, blob_mem_hook_fn fn, void *arg);

#endif
