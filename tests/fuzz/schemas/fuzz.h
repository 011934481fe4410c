/* What libFuzzer calls, and replay.c. */
#ifndef TESTS_FUZZ_SCHEMAS_FUZZ_H
#define TESTS_FUZZ_SCHEMAS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
