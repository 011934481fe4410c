/* What a fuzzer calls: libFuzzer in a build for it, replay.c in every other one. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of libFuzzer: a target that defines the second one makes its own inputs, and may ask the first.
 */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

/* `size` bytes as a file in memory: a descriptor for close(); `path` names it meanwhile. */
int fuzz_file(const uint8_t *data, size_t size, char path[64]);

#endif
