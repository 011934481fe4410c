/*
 * Shared by artifact.c and artifact_folder.c: the names of an artifact's files.
 */
#ifndef TRAINER_ARTIFACT_INT_H
#define TRAINER_ARTIFACT_INT_H

#include <limits.h>

#include "trainer/artifact.h"

/* Every file that an artifact may have, but for manifest.json; sorted. */
enum { ARTIFACT_FILES = 13 };
extern const char *const artifact_files[ARTIFACT_FILES];

/* folder/name */
int artifact_path(char path[PATH_MAX], const char *folder, const char *name, struct err *e);

#endif
