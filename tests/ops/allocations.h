/*
 * Counts what the objects and static libraries of a program allocate that is linked
 * with tripline_allocations. Any thread.
 */
#ifndef TESTS_OPS_ALLOCATIONS_H
#define TESTS_OPS_ALLOCATIONS_H

#include <stddef.h>

size_t allocations(void);     /* calls since the program's start */
size_t allocated_bytes(void); /* asked for by them */

#endif
