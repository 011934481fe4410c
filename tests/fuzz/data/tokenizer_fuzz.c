/*
 * A tokenizer.json from anywhere, then texts through it: one of our own, and the input's last line.
 * Ids stay within what the file says of itself.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/data/tokenizer.h"

enum { IDS = 512 };

static void encode(const struct tokenizer *t, struct tokenizer_scratch *s, const void *text,
                   size_t len, int max)
{
    const struct tokenizer_info *info = tokenizer_info(t);
    int32_t ids[IDS];
    struct err e = ERR_INIT;
    int count, i, rc = tokenizer_encode(t, s, text, len, ids, max, &count, &e);

    if (rc < 0) {
        if (e.code != rc || !e.text[0])
            abort();
        return;
    }
    if (count < info->specials || count > max)
        abort();
    for (i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= info->vocabulary)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char own[] =
        "Hello he'll  l\u00f6\u0301\u0327 <m> \u4e2d\u6587\uac00 \U0001f468\u200d"
        "\U0001f469\u200d\U0001f467 \u0915\u094d\u0937 3.14\t\r\n\0 \xff\xe2\x82 \ufb01";
    static const int lengths[] = {0, 3, 64, IDS};
    struct tokenizer *t = NULL;
    struct tokenizer_scratch *s;
    struct err e = ERR_INIT;
    size_t cut = n, i;
    int rc;

    while (cut > 0 && bytes[cut - 1] != '\n')
        cut--;
    if ((rc = tokenizer_parse(&t, "fuzz", bytes, cut, &e)) < 0) {
        if (e.code != rc || !e.text[0])
            abort();
        return 0;
    }
    s = tokenizer_scratch_new();
    for (i = 0; s && i < sizeof lengths / sizeof *lengths; i++) {
        encode(t, s, own, sizeof own, lengths[i]);
        encode(t, s, bytes + cut, n - cut, lengths[i]);
    }
    tokenizer_scratch_free(s);
    tokenizer_free(t);
    return 0;
}
