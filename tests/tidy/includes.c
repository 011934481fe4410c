/*
 * Who may include whom. A room is the longest prefix of a path that is in the
 * table; its arrows are prefixes too. Tests may include everything.
 *
 * Two headers are contracts that lie lower than their rooms: backend.h (what a
 * backend is; it knows only op) is used by the planner in graph/ and by learn/,
 * whose losses and miners are backend ops; engine.h (what outsiders ask for; it
 * knows only op and backend.h) is used by surgery/ and onnx/ for its options.
 */
#include "tests/tidy/tidy.h"

#include <stdio.h>
#include <string.h>

#define ENGINE  "trainer/engine/engine.h"
#define BACKEND "trainer/engine/backend/backend.h"
#define GROUND  "platform/base/", "platform/json/", "platform/clock/"

static const struct {
    const char *room;
    const char *may[12];
} arrows[] = {
    {"platform/base/", {NULL}},
    {"platform/", {GROUND, NULL}},
    {"schemas/", {"platform/base/", "platform/json/", NULL}},
    {"trainer/engine/tensor/", {"platform/base/", NULL}},
    {"trainer/engine/op/", {"platform/base/", "trainer/engine/tensor/", NULL}},
    {"trainer/engine/graph/",
     {"platform/base/", "trainer/engine/tensor/", "trainer/engine/op/", BACKEND, NULL}},
    {"trainer/engine/onnx/",
     {"platform/base/", "trainer/engine/tensor/", "trainer/engine/op/", "trainer/engine/graph/",
      ENGINE, NULL}},
    {"trainer/engine/surgery/",
     {"platform/base/", "trainer/engine/tensor/", "trainer/engine/op/", "trainer/engine/graph/",
      "trainer/engine/onnx/", BACKEND, ENGINE, NULL}},
    {"trainer/engine/backend/",
     {"platform/base/", "trainer/engine/tensor/", "trainer/engine/op/", "trainer/engine/graph/",
      NULL}},
    {"trainer/engine/", {"platform/base/", "platform/json/", "trainer/engine/", NULL}},
    {"trainer/learn/", {"platform/base/", BACKEND, ENGINE, NULL}},
    {"trainer/data/", {"platform/", "schemas/", ENGINE, NULL}},
    {"trainer/", {"platform/", "schemas/", "trainer/data/", "trainer/learn/", ENGINE, NULL}},
    {"ingest/", {"platform/", "schemas/", NULL}},
    {"publisher/", {"platform/", "schemas/", NULL}},
    {"cli/", {"platform/", "schemas/", "trainer/", NULL}},
    {"tests/", {"", NULL}},
};

/* Libraries that only one room knows. */
static const struct {
    const char *header, *room;
} libraries[] = {
    {"librdkafka/", "platform/bus/"},    {"curl/", "platform/blob/"},
    {"libs3", "platform/blob/"},         {"hiredis/", "platform/board/"},
    {"microhttpd", "platform/proc/"},    {"oneapi/", "trainer/engine/backend/"},
    {"cuda", "trainer/engine/backend/"},
};

static size_t room_of(const char *path)
{
    size_t i, best = 0, len = 0, n = sizeof arrows / sizeof arrows[0];

    for (i = 0; i < n; i++)
        if (starts_with(path, arrows[i].room) && strlen(arrows[i].room) > len) {
            best = i;
            len = strlen(arrows[i].room);
        }
    return len ? best : n;
}

static bool allowed(const char *path, const char *header)
{
    size_t room = room_of(path), i;
    const char *inner;

    if (room == sizeof arrows / sizeof arrows[0])
        return false; /* a room that nobody drew */
    if (room_of(header) == room)
        return true;
    for (i = 0; arrows[room].may[i]; i++) {
        if (!starts_with(header, arrows[room].may[i]))
            continue;
        inner = strstr(header, "_int.h"); /* shared inside one folder, as its name says */
        if (!inner || inner[strlen("_int.h")] || starts_with(path, "tests/"))
            return true;
    }
    return false;
}

static bool same_folder(const char *a, const char *b)
{
    const char *x = strrchr(a, '/'), *y = strrchr(b, '/');

    return x && y && x - a == y - b && !strncmp(a, b, (size_t)(x - a));
}

static void check_own(struct source *s, int line, const char *header)
{
    size_t n = strlen(header);

    if (!strcmp(header, "onnx.pb-c.h") && starts_with(s->path, "trainer/engine/onnx/"))
        return; /* generated into the build folder */
    if (!strchr(header, '/') && starts_with(s->path, "tests/"))
        return; /* a test's helper beside it */
    if (!strchr(header, '/'))
        found(s, line, "\"%s\": includes are spelled from the root of the tree", header);
    else if (n > 6 && !strcmp(header + n - 6, "_int.h") && !same_folder(s->path, header) &&
             !starts_with(s->path, header) && !allowed(s->path, header))
        found(s, line, "\"%s\" is of its folder alone", header);
    else if (!allowed(s->path, header))
        found(s, line, "\"%s\": an arrow that is not drawn", header);
}

static void check_library(struct source *s, int line, const char *header)
{
    size_t i;

    if (starts_with(s->path, "tests/"))
        return;
    for (i = 0; i < sizeof libraries / sizeof libraries[0]; i++)
        if (starts_with(header, libraries[i].header) && !starts_with(s->path, libraries[i].room))
            found(s, line, "<%s> belongs to %s alone", header, libraries[i].room);
}

/* x.c includes x.h before anything else, where there is one. `first` tells whether this is it. */
static void check_first(struct source *s, int line, const char *header)
{
    char own[512];
    size_t n = strlen(s->path);

    if (n < 3 || n >= sizeof own || strcmp(s->path + n - 2, ".c"))
        return;
    snprintf(own, sizeof own, "%.*s.h", (int)(n - 2), s->path);
    if (!strcmp(own, header))
        found(s, line, "\"%s\": a file includes its own header first", header);
}

void check_includes(struct source *s)
{
    const char *p = s->raw;
    char header[256], quote;
    int line = 1, seen = 0;

    for (; *p; line++) {
        p += strspn(p, " ");
        if (sscanf(p, "#include %c%255[^\">\n]", &quote, header) == 2 ||
            sscanf(p, "# include %c%255[^\">\n]", &quote, header) == 2) {
            if (quote == '"')
                check_own(s, line, header);
            else if (quote == '<')
                check_library(s, line, header);
            if (seen++)
                check_first(s, line, header);
        }
        p += strcspn(p, "\n");
        if (*p)
            p++;
    }
}
