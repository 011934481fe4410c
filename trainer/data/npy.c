#include "trainer/data/npy.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/base/buf.h"
#include "platform/base/file.h"

#define MAGIC      "\x93NUMPY"
#define MAGIC_LEN  6
#define HEADER_MAX 65535

/* Magic, version, header padded with blanks so that the numbers begin at a multiple of 64. */
static size_t make_header(char header[128], size_t rows, size_t columns)
{
    int n;

    memcpy(header, MAGIC "\x01\x00", MAGIC_LEN + 2);
    n = 10 + snprintf(header + 10, 118,
                      "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows,
                      columns);
    memset(header + n, ' ', 128 - (size_t)n);
    header[127] = '\n';
    header[8] = 118;
    header[9] = 0;
    return 128;
}

static int write_file(FILE *f, const char *path, const float *data, size_t rows, size_t columns,
                      struct err *e)
{
    char header[128];
    size_t n = make_header(header, rows, columns), count = rows * columns;

    if (fwrite(header, 1, n, f) != n || (count && fwrite(data, sizeof *data, count, f) != count) ||
        fflush(f) != 0 || fsync(fileno(f)) < 0)
        return err_errno(e, ERR_IO, "%s: writing", path);
    return 0;
}

int npy_write_f32(const char *path, const float *data, size_t rows, size_t columns, struct err *e)
{
    char tmp[PATH_MAX];
    FILE *f;
    int rc;

    if (columns && rows > NPY_BYTES_MAX / sizeof *data / columns)
        return err_set(e, ERR_LIMIT, "%s: %zu x %zu numbers", path, rows, columns);
    if (snprintf(tmp, sizeof tmp, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof tmp)
        return err_set(e, ERR_IO, "%s: the path is too long", path);
    f = fopen(tmp, "wbe");
    if (!f)
        return err_errno(e, ERR_IO, "%s: creating", tmp);
    rc = write_file(f, path, data, rows, columns, e);
    if (fclose(f) != 0 && rc == 0)
        rc = err_errno(e, ERR_IO, "%s: closing", path);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = err_errno(e, ERR_IO, "%s: renaming", path);
    if (rc < 0)
        unlink(tmp);
    return rc;
}

/* The header is a Python dictionary of three known keys in any order. */
struct text {
    const char *at, *end;
};

static void blanks(struct text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t'))
        t->at++;
}

static bool take(struct text *t, const char *word)
{
    size_t n = strlen(word);

    blanks(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0)
        return false;
    t->at += n;
    return true;
}

/* 'text' or "text" into out. */
static bool quoted(struct text *t, char *out, size_t size)
{
    size_t n = 0;
    char quote;

    blanks(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"'))
        return false;
    quote = *t->at++;
    while (t->at < t->end && *t->at != quote && n + 1 < size)
        out[n++] = *t->at++;
    out[n] = '\0';
    return t->at < t->end && *t->at++ == quote;
}

static bool number(struct text *t, size_t *out)
{
    const char *from;

    blanks(t);
    *out = 0;
    for (from = t->at; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
        if (*out > NPY_BYTES_MAX)
            return false;
        *out = *out * 10 + (size_t)(*t->at - '0');
    }
    return t->at > from;
}

/* (5,) or (5, 6) or (5, 6,) */
static bool shape(struct text *t, struct npy *a)
{
    a->columns = 1;
    a->dimensions = 1;
    if (!take(t, "(") || !number(t, &a->rows) || !take(t, ","))
        return false;
    if (take(t, ")"))
        return true;
    a->dimensions = 2;
    if (!number(t, &a->columns))
        return false;
    take(t, ",");
    return take(t, ")");
}

static int descr(struct npy *a, const char *name, const char *type, struct err *e)
{
    if (strcmp(type, "<f4") == 0)
        a->type = NPY_FLOAT32;
    else if (strcmp(type, "<i4") == 0)
        a->type = NPY_INT32;
    else
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: numbers of type %s: save the array as float32 or int32", name, type);
    return 0;
}

static int parse_header(struct npy *a, const char *name, struct text t, struct err *e)
{
    char key[32], type[32];
    int seen = 0, bit, rc;

    if (!take(&t, "{"))
        goto bad;
    while (!take(&t, "}")) {
        if (!quoted(&t, key, sizeof key) || !take(&t, ":"))
            goto bad;
        bit = strcmp(key, "descr") == 0           ? 1
              : strcmp(key, "fortran_order") == 0 ? 2
              : strcmp(key, "shape") == 0         ? 4
                                                  : 0;
        if (!bit || (seen & bit))
            goto bad;
        seen |= bit;
        if (bit == 1) {
            if (!quoted(&t, type, sizeof type))
                goto bad;
            if ((rc = descr(a, name, type, e)) < 0)
                return rc;
        } else if (bit == 2 && take(&t, "True")) {
            return err_set(e, ERR_UNSUPPORTED, "%s: Fortran order: save a C-contiguous array",
                           name);
        } else if (bit == 2 ? !take(&t, "False") : !shape(&t, a)) {
            goto bad;
        }
        take(&t, ",");
    }
    blanks(&t);
    if (seen == 7 && t.at == t.end)
        return 0;
bad:
    return err_set(e, ERR_FORMAT, "%s: not the header of an array of one or two dimensions", name);
}

int npy_parse(struct npy *out, const char *name, const void *bytes, size_t n, struct err *e)
{
    const unsigned char *b = bytes;
    size_t prefix, header, count;
    struct npy a = {0};
    int rc;

    memset(out, 0, sizeof *out);
    if (n < 12 || memcmp(b, MAGIC, MAGIC_LEN) != 0)
        return err_set(e, ERR_FORMAT, "%s: not a .npy file", name);
    if (b[6] < 1 || b[6] > 3 || b[7] != 0)
        return err_set(e, ERR_UNSUPPORTED, "%s: .npy version %d.%d", name, b[6], b[7]);
    prefix = b[6] == 1 ? 10 : 12;
    header = b[8] | (size_t)b[9] << 8;
    if (b[6] > 1)
        header |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (header > HEADER_MAX || header > n - prefix)
        return err_set(e, ERR_FORMAT, "%s: a header of %zu bytes in a file of %zu", name, header,
                       n);
    rc = parse_header(
        &a, name, (struct text){(const char *)b + prefix, (const char *)b + prefix + header}, e);
    if (rc < 0)
        return rc;
    if (a.columns && a.rows > NPY_BYTES_MAX / 4 / a.columns)
        return err_set(e, ERR_LIMIT, "%s: %zu x %zu numbers", name, a.rows, a.columns);
    count = a.rows * a.columns;
    if (n - prefix - header != count * 4)
        return err_set(e, ERR_FORMAT, "%s: %zu bytes of numbers where %zu x %zu need %zu", name,
                       n - prefix - header, a.rows, a.columns, count * 4);
    a.data = malloc(count ? count * 4 : 1);
    if (!a.data)
        return err_set(e, ERR_NOMEM, "%s: %zu numbers", name, count);
    memcpy(a.data, b + prefix + header, count * 4);
    *out = a;
    return 0;
}

int npy_read(struct npy *out, const char *path, struct err *e)
{
    struct buf b;
    int rc;

    memset(out, 0, sizeof *out);
    buf_init(&b, NPY_BYTES_MAX);
    rc = file_read(path, &b, e);
    if (rc == 0)
        rc = npy_parse(out, path, b.data ? b.data : "", b.len, e);
    buf_release(&b);
    return rc;
}

void npy_release(struct npy *a)
{
    free(a->data);
    memset(a, 0, sizeof *a);
}
