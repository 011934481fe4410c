/*
 * A disk that is full when it is told to: whatever our code asks of the C library that needs room
 * (files and folders created, bytes written, flushed, synchronised, renamed) fails with ENOSPC.
 * Removing always works. Put between by the linker's --wrap.
 */
#ifndef TESTS_TORTURE_DISK_H
#define TESTS_TORTURE_DISK_H

#include "tests/torture/memory.h"

/* As memory_arm and memory_disarm, for operations on the disk. */
void disk_arm(long fail, bool onwards);
struct memory_tally disk_disarm(void);

#endif
