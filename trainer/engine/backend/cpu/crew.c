#include "trainer/engine/backend/cpu/crew.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SPINS = 4000 }; /* pauses; some tens of microseconds, as long as a gap between two runs */

struct crew {
    int threads, started;
    pthread_t *ids; /* threads - 1 */
    void (*start)(void);
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    atomic_uint round; /* grows with every run; a worker waits for it to change */
    atomic_int next;   /* task to take */
    atomic_int busy;   /* workers that have not finished this round */
    atomic_bool end;
    int tasks;
    void (*fn)(void *arg, int task);
    void *arg;
};

static void take_tasks(struct crew *c)
{
    int task;

    while ((task = atomic_fetch_add(&c->next, 1)) < c->tasks)
        c->fn(c->arg, task);
}

/* Returns the new round once it differs from `seen`. */
static unsigned await_round(struct crew *c, unsigned seen)
{
    unsigned now;

    for (int i = 0; i < SPINS; i++) {
        if ((now = atomic_load(&c->round)) != seen)
            return now;
        _mm_pause();
    }
    pthread_mutex_lock(&c->lock);
    while ((now = atomic_load(&c->round)) == seen)
        pthread_cond_wait(&c->work, &c->lock);
    pthread_mutex_unlock(&c->lock);
    return now;
}

static void *worker(void *arg)
{
    struct crew *c = arg;
    unsigned seen = 0;

    if (c->start)
        c->start();
    for (;;) {
        seen = await_round(c, seen);
        if (atomic_load(&c->end))
            return NULL;
        take_tasks(c);
        if (atomic_fetch_sub(&c->busy, 1) == 1) {
            pthread_mutex_lock(&c->lock); /* the caller may be about to sleep */
            pthread_cond_signal(&c->done);
            pthread_mutex_unlock(&c->lock);
        }
    }
}

static void open_round(struct crew *c)
{
    pthread_mutex_lock(&c->lock);
    atomic_fetch_add(&c->round, 1);
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
}

int crew_new(struct crew **out, int threads, void (*start)(void), struct err *e)
{
    struct crew *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(e, ERR_NOMEM, "threads of the cpu backend");
    c->threads = threads;
    c->start = start;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->done, NULL);
    c->ids = calloc((size_t)threads, sizeof *c->ids);
    if (!c->ids) {
        crew_free(c);
        return err_set(e, ERR_NOMEM, "threads of the cpu backend");
    }
    for (; c->started < threads - 1; c->started++)
        if (pthread_create(&c->ids[c->started], NULL, worker, c)) {
            int rc =
                err_set(e, ERR_LIMIT, "cpu backend: cannot start thread %d of %d: lower threads",
                        c->started + 2, threads);
            crew_free(c);
            return rc;
        }
    *out = c;
    return 0;
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    atomic_store(&c->end, true);
    open_round(c);
    for (int i = 0; i < c->started; i++)
        pthread_join(c->ids[i], NULL);
    pthread_cond_destroy(&c->done);
    pthread_cond_destroy(&c->work);
    pthread_mutex_destroy(&c->lock);
    free(c->ids);
    free(c);
}

int crew_threads(const struct crew *c)
{
    return c->threads;
}

void crew_run(struct crew *c, int tasks, void (*fn)(void *arg, int task), void *arg)
{
    if (c->threads == 1 || tasks < 2) {
        for (int i = 0; i < tasks; i++)
            fn(arg, i);
        return;
    }
    c->fn = fn;
    c->arg = arg;
    c->tasks = tasks;
    atomic_store(&c->next, 0);
    atomic_store(&c->busy, c->started);
    open_round(c);
    take_tasks(c);
    for (int i = 0; i < SPINS && atomic_load(&c->busy); i++)
        _mm_pause();
    pthread_mutex_lock(&c->lock);
    while (atomic_load(&c->busy))
        pthread_cond_wait(&c->done, &c->lock);
    pthread_mutex_unlock(&c->lock);
}
