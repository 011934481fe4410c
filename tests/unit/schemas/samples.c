#include "tests/unit/schemas/samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>

#include "platform/base/file.h"

const struct record *sample_type(const char *file)
{
    size_t i, n = strcspn(file, "-");

    for (i = 0; record_all[i]; i++)
        if (strlen(record_all[i]->name) == n && !memcmp(record_all[i]->name, file, n))
            return record_all[i];
    fail_msg("%s: no such type", file);
    return NULL;
}

int sample_each(const char *folder, const char *ending,
                void (*each)(const char *file, const struct buf *))
{
    struct err e = ERR_INIT;
    struct dirent **names;
    char path[600];
    struct buf b;
    int n = scandir(folder, &names, NULL, alphasort), i, seen = 0;

    assert_true(n > 0);
    for (i = 0; i < n; i++) {
        const char *dot = strrchr(names[i]->d_name, '.');

        if (dot && !strcmp(dot, ending)) {
            snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
            buf_init(&b, 1 << 20);
            assert_int_equal(file_read(path, &b, &e), 0);
            each(names[i]->d_name, &b);
            buf_release(&b);
            seen++;
        }
        free(names[i]);
    }
    free(names);
    return seen;
}

void sample_rewrite(const struct record *r, const struct buf *from, enum record_format format,
                    struct buf *to)
{
    struct err e = ERR_INIT;
    struct arena a;
    void *record = malloc(r->size);

    arena_init(&a, 1 << 24);
    if (record_read(r, &a, from->data, from->len, RECORD_SNIFF, record, &e) < 0 ||
        record_write(r, record, format, to, &e) < 0)
        fail_msg("%s: %s", r->name, e.text);
    arena_release(&a);
    free(record);
}
