/*
 * An allocator that fails when it is told to. It takes the place of the C library's for the
 * whole process: our code, the C library's own buffers and every shared library (jansson,
 * protobuf-c, msgpack, zstd, libcrypto, oneDNN) allocate through it. mmap counts as an
 * allocation too.
 *
 * Under a sanitizer, which needs the allocator for itself, only what the program's own objects
 * ask for is counted and fails (the linker's --wrap); leaks are then the sanitizer's to find.
 *
 * Not covered: OpenMP (libgomp, under oneDNN), which ends the process when it gets nothing, so what
 * it asks for it gets; threads' stacks and the C library's start, which call the kernel directly.
 */
#ifndef TESTS_TORTURE_MEMORY_H
#define TESTS_TORTURE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* From now on allocations are numbered 1, 2, 3, ... and number `fail` returns NULL, with `onwards`
 * every later one too. 0: all succeed. */
void memory_arm(long fail, bool onwards);

struct memory_tally {
    long tried;     /* allocations since memory_arm */
    long failed;    /* of them, made to fail */
    bool ours;      /* the first that failed was asked for by our code, not by a library */
    size_t address; /* of who asked, from the program's beginning: for addr2line */
};
/* All allocations succeed again. */
struct memory_tally memory_disarm(void);

/* Blocks that are allocated now, mappings included; 0 always under a sanitizer. */
long memory_live(void);

#endif
