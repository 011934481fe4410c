/* What is checked in lines, functions, calls and names. */
#include "tests/tidy/tidy.h"

#include <ctype.h>
#include <string.h>

#define FUNCTION_LINES 70

static bool word_at(const char *text, size_t i, const char *word)
{
    size_t n = strlen(word);

    return !strncmp(text + i, word, n) && !isalnum((unsigned char)text[i + n]) &&
           text[i + n] != '_' &&
           (i == 0 || (!isalnum((unsigned char)text[i - 1]) && text[i - 1] != '_'));
}

void check_lines(struct source *s)
{
    static const char *const open_ends[] = {"TODO", "FIXME", "XXX", "HACK"};
    int line = 1;
    size_t i, k;

    for (i = 0; i < s->len; i++) {
        if (s->raw[i] == '\t')
            found(s, line, "a tab");
        if (s->raw[i] == '\r')
            found(s, line, "a carriage return");
        for (k = 0; k < sizeof open_ends / sizeof open_ends[0]; k++)
            if (s->code[i] == ' ' && s->raw[i] != ' ' && word_at(s->raw, i, open_ends[k]))
                found(s, line, "an open end in a comment: %s", open_ends[k]);
        if (s->raw[i] == '\n') {
            if (i > 0 && s->raw[i - 1] == ' ')
                found(s, line, "a blank at the line's end");
            line++;
        }
    }
    if (s->len && s->raw[s->len - 1] != '\n')
        found(s, line, "no newline at the file's end");
}

/* A function is a brace at depth 0 behind a closing parenthesis. It counts from the first line of
 * its head to its last brace. The block of extern "C" has no depth. */
void check_functions(struct source *s)
{
    int line = 1, depth = 0, head = 0, body = 0;
    char before = ';'; /* the last character that was not blank */
    size_t i;

    for (i = 0; i < s->len; i++) {
        char c = s->code[i];

        if (c == '\n')
            line++;
        if (isspace((unsigned char)c))
            continue;
        if (depth == 0 &&
            (before == ';' || before == '}' || before == '{' || before == '"' || head == 0))
            head = line;
        if (c == '{' && before != '"') {
            if (depth++ == 0)
                body = before == ')' ? head : 0;
        } else if (c == '}' && depth > 0 && --depth == 0 && body) {
            if (line - body + 1 > FUNCTION_LINES)
                found(s, body, "a function of %d lines; %d at most", line - body + 1,
                      FUNCTION_LINES);
            body = 0;
        }
        before = c;
    }
}

/* Rooms where time, chance and threads come from the clock port and from nowhere else. */
static bool is_service(const char *path)
{
    if (starts_with(path, "ingest/") || starts_with(path, "publisher/") ||
        starts_with(path, "trainer/data/") || starts_with(path, "trainer/learn/"))
        return true;
    return starts_with(path, "trainer/") && !strchr(path + strlen("trainer/"), '/');
}

static bool is_product(const char *path)
{
    return !starts_with(path, "tests/");
}

static bool anywhere(const char *path)
{
    return true;
}

static bool is_engine(const char *path)
{
    return starts_with(path, "trainer/engine/");
}

static const struct {
    const char *name;
    bool (*where)(const char *path);
    const char *instead;
} banned[] = {
    {"strcpy", anywhere, "snprintf or struct buf"},
    {"strcat", anywhere, "struct buf"},
    {"sprintf", anywhere, "snprintf"},
    {"vsprintf", anywhere, "vsnprintf"},
    {"gets", anywhere, "fgets"},
    {"strtok", anywhere, "strcspn"},
    {"alloca", anywhere, "struct arena"},
    {"tmpnam", anywhere, "mkstemp"},
    {"mktemp", anywhere, "mkstemp"},
    {"rand", anywhere, "the clock's or a seeded generator"},
    {"srand", anywhere, "the clock's or a seeded generator"},
    {"random", anywhere, "the clock's or a seeded generator"},
    {"drand48", anywhere, "the clock's or a seeded generator"},
    {"atoi", is_product, "text_i64"},
    {"atol", is_product, "text_i64"},
    {"atof", is_product, "text_f64"},
    {"system", is_product, "the child port"},
    {"popen", is_product, "the child port"},
    {"time", is_service, "clock_wall_ms"},
    {"gettimeofday", is_service, "clock_wall_ms"},
    {"clock_gettime", is_service, "clock_mono_ms"},
    {"sleep", is_service, "clock_sleep_ms"},
    {"usleep", is_service, "clock_sleep_ms"},
    {"nanosleep", is_service, "clock_sleep_ms"},
    {"getrandom", is_service, "clock_random"},
    {"getentropy", is_service, "clock_random"},
    {"pthread_create", is_service, "clock_go"},
    {"thrd_create", is_service, "clock_go"},
    {"fork", is_service, "the child port"},
    {"time", is_engine, "nothing: the engine's results depend on no time"},
    {"clock_gettime", is_engine, "nothing: the engine's results depend on no time"},
    {"getrandom", is_engine, "the counter-based generator"},
};

void check_calls(struct source *s)
{
    int line = 1;
    size_t i, k, n, after;

    for (i = 0; i < s->len; i++) {
        if (s->code[i] == '\n')
            line++;
        if (!isalpha((unsigned char)s->code[i]) ||
            (i > 0 && (isalnum((unsigned char)s->code[i - 1]) || strchr("_.>", s->code[i - 1]))))
            continue;
        n = strspn(s->code + i, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        after = i + n + strspn(s->code + i + n, " \n");
        for (k = 0; s->code[after] == '(' && k < sizeof banned / sizeof banned[0]; k++)
            if (strlen(banned[k].name) == n && !strncmp(s->code + i, banned[k].name, n) &&
                banned[k].where(s->path))
                found(s, line, "a call of %s; use %s", banned[k].name, banned[k].instead);
        i += n - 1;
    }
}

void check_name(struct source *s)
{
    static const char *const capital[] = {"README.md",       "LICENSE",    "NOTICE",
                                          "CMakeLists.txt",  "Dockerfile", "CMakePresets.json",
                                          "CONTRIBUTING.md", "SECURITY.md"};
    const char *slash = strrchr(s->path, '/'), *name = slash ? slash + 1 : s->path;
    size_t i, len = strlen(name);

    for (i = 0; i < sizeof capital / sizeof capital[0]; i++)
        if (!strcmp(name, capital[i]))
            return;
    if (len > strlen(".Dockerfile") && !strcmp(name + len - strlen(".Dockerfile"), ".Dockerfile"))
        return;
    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-")])
        found(s, 1, "a file name of other characters than a-z 0-9 _ . -");
}
