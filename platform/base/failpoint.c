#include "platform/base/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void failpoint_pass(const char *name)
{
    static atomic_long passed;
    const char *armed = getenv("TRIPLINE_FAILPOINT");
    size_t n = strlen(name);

    if (!armed || strncmp(armed, name, n) != 0 || armed[n] != ':')
        return;
    if (atomic_fetch_add(&passed, 1) + 1 == strtol(armed + n + 1, NULL, 10))
        raise(SIGKILL);
}

bool failpoint_defect(const char *name)
{
    const char *planted = getenv("TRIPLINE_DEFECT");

    return planted && strcmp(planted, name) == 0;
}
