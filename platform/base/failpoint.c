#include "platform/base/failpoint.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A rename has one winner, so one process dies for one file, however many pass at once. */
void failpoint_pass(const char *name)
{
    const char *folder = getenv("TRIPLINE_FAILPOINT_FOLDER");
    char armed[400], taken[400];

    if (!folder)
        return;
    snprintf(armed, sizeof armed, "%s/%s", folder, name);
    snprintf(taken, sizeof taken, "%s/%ld", folder, (long)getpid());
    if (rename(armed, taken) == 0)
        raise(SIGKILL);
}

bool failpoint_defect(const char *name)
{
    const char *planted = getenv("TRIPLINE_DEFECT");

    return planted && strcmp(planted, name) == 0;
}
