/* tidy ROOT: exit 0 and silence, or the findings and exit 1. */
#include "tests/tidy/tidy.h"

#include <ctype.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t root_len; /* of "ROOT/", for nftw's callback, which takes no argument */
static int total, files;

void found(struct source *s, int line, const char *format, ...)
{
    va_list args;

    printf("%s:%d: ", s->path, line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    s->found++;
}

bool starts_with(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

/* Blanks one comment that begins at s[i]; returns what comes after it. */
static size_t blank_comment(char *s, size_t i)
{
    bool line = s[i + 1] == '/';

    s[i] = s[i + 1] = ' ';
    for (i += 2; s[i]; i++) {
        if (line && s[i] == '\n')
            return i;
        if (!line && s[i] == '*' && s[i + 1] == '/') {
            s[i] = s[i + 1] = ' ';
            return i + 2;
        }
        if (s[i] != '\n')
            s[i] = ' ';
    }
    return i;
}

/* Makes the inside of a string or character into underscores; its quotes stay. */
static size_t blank_quoted(char *s, size_t i)
{
    char quote = s[i];

    for (i++; s[i] && s[i] != quote && s[i] != '\n'; i++) {
        if (s[i] == '\\' && s[i + 1] && s[i + 1] != '\n')
            s[i++] = '_';
        s[i] = '_';
    }
    return s[i] == quote ? i + 1 : i;
}

static size_t blank_directive(char *s, size_t i)
{
    for (; s[i] && s[i] != '\n'; i++) {
        if (s[i] == '\\' && s[i + 1] == '\n')
            s[i++] = ' ';
        else
            s[i] = ' ';
    }
    return i;
}

static void blank(char *s)
{
    bool fresh = true; /* only blanks since the line began */
    size_t i = 0;

    while (s[i]) {
        if (s[i] == '/' && (s[i + 1] == '*' || s[i + 1] == '/')) {
            i = blank_comment(s, i);
        } else if (s[i] == '"' || s[i] == '\'') {
            i = blank_quoted(s, i);
            fresh = false;
        } else {
            if (s[i] == '\n')
                fresh = true;
            else if (!isspace((unsigned char)s[i]))
                fresh = false;
            i++;
        }
    }
    for (i = 0, fresh = true; s[i]; i++) {
        if (s[i] == '#' && fresh)
            i = blank_directive(s, i);
        if (!s[i])
            break;
        fresh = s[i] == '\n' || (fresh && isspace((unsigned char)s[i]));
    }
}

static char *slurp(const char *path, size_t len)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, len + 1);

    if (!f || !text || fread(text, 1, len, f) != len) {
        fprintf(stderr, "tidy: cannot read %s\n", path);
        exit(2);
    }
    fclose(f);
    return text;
}

static bool is_c(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && (!strcmp(dot, ".c") || !strcmp(dot, ".h") || !strcmp(dot, ".cu") ||
                   !strcmp(dot, ".cuh"));
}

static void check_file(const char *path, size_t len)
{
    struct source s = {.path = path + root_len, .len = len};

    check_name(&s);
    if (is_c(path)) {
        s.raw = slurp(path, len);
        s.code = slurp(path, len);
        blank(s.code);
        check_lines(&s);
        check_functions(&s);
        check_includes(&s);
        check_calls(&s);
        free(s.raw);
        free(s.code);
        files++;
    }
    total += s.found;
}

static int visit(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    const char *name = path + ftw->base;

    if (flag == FTW_D && ftw->level == 1 && (name[0] == '.' || starts_with(name, "build")))
        return FTW_SKIP_SUBTREE;
    if (flag == FTW_D && !strcmp(name, "__pycache__"))
        return FTW_SKIP_SUBTREE;
    if (flag == FTW_F)
        check_file(path, (size_t)st->st_size);
    return FTW_CONTINUE;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: tidy ROOT\n");
        return 64;
    }
    root_len = strlen(argv[1]) + 1;
    if (nftw(argv[1], visit, 32, FTW_PHYS | FTW_ACTIONRETVAL) != 0) {
        fprintf(stderr, "tidy: cannot walk %s\n", argv[1]);
        return 2;
    }
    printf("tidy: %d C files, %d findings\n", files, total);
    return total ? 1 : 0;
}
