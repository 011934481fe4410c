/*
 * Places where a test ends the process as a power cut would, and planted defects
 * that show that a test bites. Only the programs of tests/chaos are built with
 * TRIPLINE_FAILPOINTS; in every other build both macros are nothing.
 *
 *   TRIPLINE_FAILPOINT_FOLDER=dir   SIGKILL to the first that passes FAILPOINT("name") while
 *                                   there is a file dir/name; it is then called dir/PID
 *   TRIPLINE_DEFECT=name            DEFECT("name") is true
 *
 * What a kill leaves behind is what the other processes have to live with, so a name says what
 * was done last. Any thread. The names are listed in docs/development.md.
 */
#ifndef PLATFORM_BASE_FAILPOINT_H
#define PLATFORM_BASE_FAILPOINT_H

#include <stdbool.h>

#ifdef TRIPLINE_FAILPOINTS
#define FAILPOINT(name) failpoint_pass(name)
#define DEFECT(name)    failpoint_defect(name)
#else
#define FAILPOINT(name) ((void)0)
#define DEFECT(name)    false
#endif

void failpoint_pass(const char *name);
bool failpoint_defect(const char *name);

#endif
