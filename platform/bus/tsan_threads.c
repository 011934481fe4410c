/*
 * Only in ThreadSanitizer builds. librdkafka starts its threads by C11's
 * thrd_create, which the sanitizer does not intercept: such a thread has no
 * state and ends in a segmentation fault at its first intercepted call. This
 * one, linked into the program, goes by pthread_create.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

struct start {
    thrd_start_t fn;
    void *arg;
};

static void *run(void *arg)
{
    struct start s = *(struct start *)arg;

    free(arg);
    return (void *)(intptr_t)s.fn(s.arg);
}

int thrd_create(thrd_t *t, thrd_start_t fn, void *arg)
{
    struct start *s = malloc(sizeof *s);

    if (!s)
        return thrd_nomem;
    *s = (struct start){fn, arg};
    if (pthread_create(t, NULL, run, s) == 0)
        return thrd_success;
    free(s);
    return thrd_error;
}

int thrd_join(thrd_t t, int *result)
{
    void *value;

    if (pthread_join(t, &value) != 0)
        return thrd_error;
    if (result)
        *result = (int)(intptr_t)value;
    return thrd_success;
}
