/* A job that is admitted must be writable as job.json and be admitted again with the same hash. */
#include <stdlib.h>
#include <string.h>

#include "schemas/job.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char hash[SHA256_HEX], again[SHA256_HEX];
    struct err e = ERR_INIT;
    struct arena a;
    struct buf b;
    struct job j;

    arena_init(&a, (size_t)256 << 20);
    buf_init(&b, RECORD_BYTES_MAX);
    if (job_admit(NULL, 0, data, size, &a, &j, hash, &e) == 0) {
        if (job_write(&j, RECORD_JSON, &b, &e) < 0 ||
            job_admit(j.run, strlen(j.run), b.data, b.len, &a, &j, again, &e) < 0 ||
            job_admit(j.run, strlen(j.run), data, size, &a, &j, again, &e) < 0 ||
            strcmp(hash, again) != 0)
            abort();
    } else if (!e.text[0]) {
        abort();
    }
    buf_release(&b);
    arena_release(&a);
    return 0;
}
