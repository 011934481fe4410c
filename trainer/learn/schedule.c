#include "trainer/learn/schedule.h"

#include <math.h>
#include <string.h>

static const char *const schedules[SCHEDULE_KINDS] = {"constant", "linear", "cosine"};
static const char *const optims[] = {
    [OPTIM_ADAMW] = "adamw", [OPTIM_ADAM] = "adam", [OPTIM_SGD] = "sgd"};

double schedule_factor(enum schedule kind, int64_t step, int64_t warmup, int64_t total)
{
    const double pi = 3.14159265358979323846;
    double rest;

    if (step < warmup)
        return (double)step / (double)(warmup > 1 ? warmup : 1);
    rest = total - warmup > 1 ? (double)(total - warmup) : 1;
    if (kind == SCHEDULE_IS_LINEAR)
        return fmax(0, (double)(total - step) / rest);
    if (kind == SCHEDULE_IS_COSINE)
        return fmax(0, 0.5 * (1 + cos(pi * (double)(step - warmup) / rest)));
    return 1;
}

const char *schedule_name(enum schedule kind)
{
    return (unsigned)kind < SCHEDULE_KINDS ? schedules[kind] : "unknown";
}

static int find(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(text, names[i]))
            return i;
    return -1;
}

int schedule_parse(const char *text, enum schedule *kind)
{
    int i = find(text, schedules, SCHEDULE_KINDS);

    if (i < 0)
        return -1;
    *kind = (enum schedule)i;
    return 0;
}

const char *optim_name(enum optim_kind kind)
{
    return (unsigned)kind < sizeof optims / sizeof *optims ? optims[kind] : "unknown";
}

int optim_parse(const char *text, enum optim_kind *kind)
{
    int i = find(text, optims, (int)(sizeof optims / sizeof *optims));

    if (i < 0)
        return -1;
    *kind = (enum optim_kind)i;
    return 0;
}
