/*
 * Writes schemas/<type>.json and the generated part of docs/formats.md from the
 * tables: `tripline-schemas [--check] [FOLDER]`. With --check nothing is written
 * and a difference is an error. FOLDER is the project's root, default ".".
 */
#include <stdio.h>
#include <string.h>

#include "platform/base/file.h"
#include "schemas/record.h"

#define PAGE  "docs/formats.md"
#define BEGIN "<!-- begin: written by tripline-schemas -->\n"
#define END   "<!-- end -->\n"
#define MAX   ((size_t)4 << 20)

static int put(const char *path, const struct buf *text, bool check, struct err *e)
{
    struct buf old;
    int rc;

    if (!check)
        return file_write(path, text->data, text->len, e);
    buf_init(&old, MAX);
    if ((rc = file_read(path, &old, e)) == 0 &&
        (old.len != text->len || memcmp(old.data, text->data, old.len) != 0))
        rc = err_set(e, ERR_FORMAT, "%s differs from the tables: run tripline-schemas", path);
    buf_release(&old);
    return rc;
}

static int write_schemas(const char *folder, bool check, struct err *e)
{
    char path[4096];
    struct buf text;
    size_t i;
    int rc = 0;

    buf_init(&text, MAX);
    for (i = 0; record_all[i] && rc == 0; i++) {
        buf_reset(&text);
        snprintf(path, sizeof path, "%s/schemas/%s.json", folder, record_all[i]->name);
        if ((rc = record_schema(record_all[i], &text, e)) == 0)
            rc = put(path, &text, check, e);
    }
    buf_release(&text);
    return rc;
}

/* `out`: the page with what lies between its marks written anew. */
static int renew_page(const struct buf *page, struct buf *out, struct err *e)
{
    const char *begin = page->data ? strstr(page->data, BEGIN) : NULL;
    const char *end = begin ? strstr(begin, END) : NULL;
    size_t i;
    int rc = 0;

    if (!end)
        return err_set(e, ERR_FORMAT, PAGE ": its marks are missing");
    buf_add(out, page->data, (size_t)(begin - page->data) + strlen(BEGIN));
    for (i = 0; record_all[i] && rc == 0; i++) {
        buf_char(out, '\n');
        rc = record_page(record_all[i], out, e);
    }
    buf_char(out, '\n');
    buf_str(out, end);
    return rc < 0 ? rc : buf_check(out, PAGE, e);
}

static int write_page(const char *folder, bool check, struct err *e)
{
    char path[4096];
    struct buf old, text;
    int rc;

    buf_init(&old, MAX);
    buf_init(&text, MAX);
    snprintf(path, sizeof path, "%s/" PAGE, folder);
    if ((rc = file_read(path, &old, e)) == 0 && (rc = renew_page(&old, &text, e)) == 0)
        rc = put(path, &text, check, e);
    buf_release(&old);
    buf_release(&text);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    bool check = argc > 1 && !strcmp(argv[1], "--check");
    const char *folder = argc > 1 + check ? argv[1 + check] : ".";

    if (argc > 2 + check || folder[0] == '-') {
        fprintf(stderr, "usage: tripline-schemas [--check] [FOLDER]\n");
        return 64;
    }
    if (write_schemas(folder, check, &e) < 0 || write_page(folder, check, &e) < 0) {
        fprintf(stderr, "tripline-schemas: %s\n", e.text);
        return err_exit_status(e.code);
    }
    return 0;
}
