#include "tests/unit/data/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/base/sha256.h"
#include "tests/unit/data/lines.h"

/* Where the ids of this case go besides their hash; NULL: nowhere. */
static FILE *listener(const char *file, size_t number)
{
    const char *want = getenv("TRIPLINE_IDS"), *to = getenv("TRIPLINE_IDS_TO");
    char name[64];

    snprintf(name, sizeof name, "%s:%zu", file, number);
    return want && to && strcmp(want, name) == 0 ? fopen(to, "wb") : NULL;
}

static void encode(const struct tokenizer *t, const struct buf *line, int32_t *ids, int max,
                   struct tokenizer_scratch *s, int *count)
{
    struct err e = ERR_INIT;

    if (tokenizer_encode(t, s, line->data ? line->data : "", line->len, ids, max, count, &e) < 0)
        fail_msg("%s", e.text);
    assert_in_range(*count, 0, max);
}

int ids_differ(const struct tokenizer *t, const json_t *c, const char *file, size_t number)
{
    struct tokenizer_scratch *s = tokenizer_scratch_new();
    int32_t *ids = malloc((size_t)LINES_BYTES * sizeof *ids);
    int max = (int)json_integer_value(json_find(c, "max")), count;
    const json_t *stride = json_find(c, "step");
    unsigned i, step = stride ? (unsigned)json_integer_value(stride) : 1;
    FILE *to = listener(file, number);
    unsigned char raw[SHA256_SIZE];
    struct sha256 *h = sha256_new();
    long long total = 0;
    char hex[SHA256_HEX];
    struct buf line;
    int wrong;

    assert_true(s && ids && h && max <= LINES_BYTES);
    buf_init(&line, LINES_BYTES);
    for (i = 0; i < LINES_COUNT; i += step) {
        lines_make(&line, i);
        assert_false(line.failed);
        encode(t, &line, ids, max, s, &count);
        sha256_add(h, &count, 4);
        sha256_add(h, ids, (size_t)count * 4);
        total += count;
        if (to) {
            fwrite(&count, 4, 1, to);
            fwrite(ids, 4, (size_t)count, to);
        }
    }
    sha256_end(h, raw);
    sha256_hex(raw, hex);
    wrong = strcmp(hex, json_string_value(json_find(c, "sha256"))) != 0;
    if (wrong)
        print_message("case %zu, %s, max %d: %lld ids, expected %lld; "
                      "scripts/golden/tokenizer_diff.py %s %zu shows where\n",
                      number, json_string_value(json_find(c, "name")), max, total,
                      (long long)json_integer_value(json_find(c, "ids")), file, number);
    if (to)
        fclose(to);
    sha256_free(h);
    buf_release(&line);
    free(ids);
    tokenizer_scratch_free(s);
    return wrong;
}
