/* A CSV file from anywhere, read as each kind, with and without labels. */
#include "tests/fuzz/fuzz.h"
#include "trainer/data/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct csv_options options = {.label_optional = n & 1, .kind = (enum csv_kind)(n / 2 % 4)};
    struct csv_row row;
    struct csv *c;
    struct err e;

    if (csv_parse(&c, "fuzz", bytes, n, &options, &e) < 0)
        return 0;
    while (csv_next(c, &row, &e) > 0)
        ;
    csv_free(c);
    return 0;
}
