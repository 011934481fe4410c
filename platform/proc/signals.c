#include "platform/proc/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "platform/clock/clock.h"

static const int asked[] = {SIGTERM, SIGINT};

static struct {
    struct clock *_Atomic clock;
    atomic_int count;
    struct sigaction old[2], old_pipe;
} state;

static void on_signal(int signum)
{
    struct clock *clock = atomic_load(&state.clock);

    if (atomic_fetch_add(&state.count, 1) > 0 || !clock)
        _exit(128 + signum);
    clock_stop(clock);
}

int signals_install(struct clock *clock, struct err *e)
{
    struct sigaction act = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    size_t i;

    atomic_store(&state.count, 0);
    atomic_store(&state.clock, clock);
    sigemptyset(&act.sa_mask);
    act.sa_flags = SA_RESTART;
    for (i = 0; i < 2; i++)
        if (sigaction(asked[i], &act, &state.old[i]) < 0)
            return err_errno(e, ERR_INTERNAL, "the handler of signal %d", asked[i]);
    if (sigaction(SIGPIPE, &ignore, &state.old_pipe) < 0)
        return err_errno(e, ERR_INTERNAL, "ignoring SIGPIPE");
    return 0;
}

void signals_release(void)
{
    size_t i;

    for (i = 0; i < 2; i++)
        sigaction(asked[i], &state.old[i], NULL);
    sigaction(SIGPIPE, &state.old_pipe, NULL);
    atomic_store(&state.clock, NULL);
}
