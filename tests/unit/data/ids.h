/*
 * Ids of the lines of lines.h by one case of a golden file: {name, max, step, sha256, ids}. With
 * TRIPLINE_IDS=FILE:CASE (the name of a golden file, and a place in it) and TRIPLINE_IDS_TO=PATH
 * the ids of that case are written to PATH too: scripts/golden/tokenizer_diff.py reads them there.
 */
#ifndef TESTS_UNIT_DATA_IDS_H
#define TESTS_UNIT_DATA_IDS_H

#include "platform/json/json.h"
#include "trainer/data/tokenizer.h"

/* 1 and a message when the hash of all ids is another one than the case's; else 0. */
int ids_differ(const struct tokenizer *t, const json_t *c, const char *file, size_t number);

#endif
