/*
 * "Did you mean ...?": the known word nearest to a mistyped one.
 */
#ifndef PLATFORM_CONF_NEAREST_H
#define PLATFORM_CONF_NEAREST_H

#include <stddef.h>

/* Edit distance where a swap of neighbours counts 1; words over 63 bytes count as far apart. */
size_t nearest_distance(const char *a, const char *b);

/* Is `distance` small enough, for a word as long as `typed`, that it may be meant? */
int nearest_enough(const char *typed, size_t distance);

#endif
