/* A .npy file from anywhere. */
#include "tests/fuzz/fuzz.h"
#include "trainer/data/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct npy a;
    struct err e;

    if (npy_parse(&a, "fuzz", bytes, n, &e) == 0)
        npy_release(&a);
    return 0;
}
