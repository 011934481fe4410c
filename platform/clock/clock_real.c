#include "platform/clock/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "platform/clock/clock_int.h"

struct clock_real {
    struct clock clock;
    _Atomic uint32_t stopping; /* also the futex word that sleepers wait on */
};

struct task {
    pthread_t thread;
    bool joinable;
    void (*fn)(void *);
    void *arg;
};

static int64_t read_ms(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t real_wall_ms(struct clock *c)
{
    return read_ms(CLOCK_REALTIME);
}

static int64_t real_mono_ms(struct clock *c)
{
    return read_ms(CLOCK_MONOTONIC);
}

static struct timespec in_ms(int64_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Waits until *word differs from 0 or the moment comes. A bit set's time is absolute and monotonic,
 * so an interruption by a signal just goes round again. */
static void wait_word(_Atomic uint32_t *word, const struct timespec *until)
{
    while (atomic_load(word) == 0) {
        long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, 0, until, NULL,
                          FUTEX_BITSET_MATCH_ANY);

        if (rc < 0 && errno != EINTR && errno != EAGAIN)
            return;
    }
}

static void real_sleep_ms(struct clock *c, int64_t ms)
{
    struct clock_real *r = (struct clock_real *)c;
    struct timespec until;

    if (ms <= 0)
        return;
    if (!atomic_load(&r->stopping)) {
        if (ms > INT_MAX)
            ms = INT_MAX; /* 24 days */
        until = in_ms(ms);
        wait_word(&r->stopping, &until);
        return;
    }
    until = in_ms(ms < CLOCK_DRAIN_SLEEP_MS ? ms : CLOCK_DRAIN_SLEEP_MS);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void real_random(struct clock *c, void *to, size_t n)
{
    unsigned char *p = to;

    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            abort(); /* Linux has it since 3.17; guessable nonces would break every lock */
        p += got;
        n -= (size_t)got;
    }
}

static void *run_task(void *arg)
{
    struct task *t = arg;
    bool joinable = t->joinable;

    t->fn(t->arg);
    if (!joinable)
        free(t);
    return NULL;
}

/* Signals are the main thread's: tasks start with all of them blocked. */
static int start_thread(struct task *t)
{
    sigset_t all, old;
    pthread_attr_t attr;
    int rc;

    pthread_attr_init(&attr);
    if (!t->joinable)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&t->thread, &attr, run_task, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

static int real_go(struct clock *c, const char *name, void (*fn)(void *), void *arg,
                   struct task **out, struct err *e)
{
    struct task *t = calloc(1, sizeof *t);
    int rc;

    if (!t)
        return err_set(e, ERR_NOMEM, "starting the task '%s'", name);
    t->fn = fn;
    t->arg = arg;
    t->joinable = out != NULL;
    if ((rc = start_thread(t)) != 0) {
        free(t);
        errno = rc;
        return err_errno(e, ERR_NOMEM, "starting the task '%s'", name);
    }
    if (out)
        *out = t;
    return 0;
}

static void real_join(struct clock *c, struct task *t)
{
    if (!t)
        return;
    pthread_join(t->thread, NULL);
    free(t);
}

static bool real_stopping(struct clock *c)
{
    return atomic_load(&((struct clock_real *)c)->stopping) != 0;
}

/* An atomic store and one system call, errno kept: safe in a signal handler. */
static void real_stop(struct clock *c)
{
    struct clock_real *r = (struct clock_real *)c;
    int saved = errno;

    atomic_store(&r->stopping, 1);
    syscall(SYS_futex, &r->stopping, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    errno = saved;
}

static void real_free(struct clock *c)
{
    free(c);
}

static const struct clock_ops real_ops = {
    .wall_ms = real_wall_ms,
    .mono_ms = real_mono_ms,
    .sleep_ms = real_sleep_ms,
    .random = real_random,
    .go = real_go,
    .join = real_join,
    .stopping = real_stopping,
    .stop = real_stop,
    .free = real_free,
};

int clock_real(struct clock **out, struct err *e)
{
    struct clock_real *r = calloc(1, sizeof *r);

    if (!r)
        return err_set(e, ERR_NOMEM, "the clock");
    r->clock.ops = &real_ops;
    *out = &r->clock;
    return 0;
}
