/* A tokenizer.json from anywhere, then a text through it: the input's last line is the text. */
#include "tests/fuzz/schemas/fuzz.h"
#include "trainer/data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tokenizer *t = NULL;
    struct tokenizer_scratch *s;
    struct err e;
    int32_t ids[64];
    size_t cut = n;
    int count;

    while (cut > 0 && bytes[cut - 1] != '\n')
        cut--;
    if (tokenizer_parse(&t, "fuzz", bytes, cut, &e) < 0)
        return 0;
    s = tokenizer_scratch_new();
    if (s)
        tokenizer_encode(t, s, (const char *)bytes + cut, n - cut, ids, 64, &count, &e);
    tokenizer_scratch_free(s);
    tokenizer_free(t);
    return 0;
}
