/*
 * Scripted children: each is a task of the clock that runs the test's body.
 * Waiting is sleeping in small steps, so it works on simulated time too.
 */
#include "platform/child/child.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/arena.h"
#include "platform/child/child_int.h"
#include "platform/clock/clock.h"

#define STEP_MS  2
#define SPEC_MAX ((size_t)1 << 20)

struct mem_port {
    struct child_port port;
    struct clock *clock; /* borrowed */
    child_mem_body body;
    void *arg;
};

struct mem_line {
    struct mem_line *next;
    size_t len;
    char bytes[];
};

struct mem_child {
    struct child child;
    struct mem_port *owner;
    struct task *task;
    struct arena arena; /* the copy of the spec */
    struct child_spec spec;
    pthread_mutex_t lock; /* all below */
    struct mem_line *first, **last;
    int signum; /* the strongest that arrived; 0: none */
    bool ended;
    struct child_end end;
    struct tail tail;
};

static const char *const *copy_strings(struct arena *a, const char *const *from)
{
    size_t n = 0, i;
    const char **to;

    while (from && from[n])
        n++;
    to = arena_array(a, n + 1, sizeof *to);
    for (i = 0; to && i < n; i++)
        if (!(to[i] = arena_strndup(a, from[i], strlen(from[i]))))
            return NULL;
    return to;
}

static int copy_spec(struct mem_child *c, const struct child_spec *s, struct err *e)
{
    c->spec = *s;
    c->spec.argv = copy_strings(&c->arena, s->argv);
    c->spec.env = copy_strings(&c->arena, s->env);
    c->spec.folder = arena_strndup(&c->arena, s->folder, strlen(s->folder));
    if (!c->spec.argv || !c->spec.env || !c->spec.folder)
        return err_set(e, ERR_NOMEM, "starting %s", s->argv[0]);
    return 0;
}

static void run_body(void *arg)
{
    struct mem_child *c = arg;
    int status = c->owner->body(c->owner->arg, &c->child, &c->spec);

    pthread_mutex_lock(&c->lock);
    if (c->signum == SIGKILL)
        child_end_set(&c->end, SIGKILL, 0);
    else if (status < 0)
        child_end_set(&c->end, -status, 0);
    else
        child_end_set(&c->end, 0, status & 0xff);
    c->ended = true;
    pthread_mutex_unlock(&c->lock);
}

static void mem_child_free(struct child *child)
{
    struct mem_child *c = (struct mem_child *)child;
    struct mem_line *line;

    if (!c)
        return;
    child_signal(child, SIGKILL);
    clock_join(c->owner->clock, c->task);
    while ((line = c->first)) {
        c->first = line->next;
        free(line);
    }
    arena_release(&c->arena);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static int mem_start(struct child_port *port, const struct child_spec *spec, struct child **out,
                     struct err *e)
{
    struct mem_child *c;
    int rc;

    if ((rc = child_spec_check(spec, e)) < 0)
        return rc;
    c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_NOMEM, "starting %s", spec->argv[0]);
    c->child.port = port;
    c->owner = (struct mem_port *)port;
    c->last = &c->first;
    pthread_mutex_init(&c->lock, NULL);
    arena_init(&c->arena, SPEC_MAX);
    if ((rc = copy_spec(c, spec, e)) < 0 ||
        (rc = clock_go(c->owner->clock, "child", run_body, c, &c->task, e)) < 0) {
        mem_child_free(&c->child);
        return rc;
    }
    *out = &c->child;
    return 0;
}

/* 1: the oldest line was moved to `line`; 0: none; ERR_NOT_FOUND: and none will come. */
static int pop(struct mem_child *c, struct buf *line, struct err *e)
{
    struct mem_line *l;
    bool ended;

    pthread_mutex_lock(&c->lock);
    l = c->first;
    ended = c->ended;
    if (l && !(c->first = l->next))
        c->last = &c->first;
    pthread_mutex_unlock(&c->lock);
    if (!l)
        return ended ? err_set(e, ERR_NOT_FOUND, "the child's output has ended") : 0;
    buf_reset(line);
    buf_add(line, l->bytes, l->len);
    free(l);
    return buf_check(line, "a line of the child's output", e) < 0 ? e->code : 1;
}

/* One small step of waiting. false: the time is over, or a stop came meanwhile. */
static bool wait_bit(struct clock *clock, int64_t until_ms, bool was_stopping)
{
    if (clock_mono_ms(clock) >= until_ms || (!was_stopping && clock_stopping(clock)))
        return false;
    clock_sleep_ms(clock, STEP_MS);
    return true;
}

static int mem_read(struct child *child, int timeout_ms, struct buf *line, struct err *e)
{
    struct mem_child *c = (struct mem_child *)child;
    struct clock *clock = c->owner->clock;
    bool was_stopping = clock_stopping(clock);
    int64_t until = clock_mono_ms(clock) + (timeout_ms > 0 ? timeout_ms : 0);
    int rc;

    do
        if ((rc = pop(c, line, e)) != 0)
            return rc;
    while (wait_bit(clock, until, was_stopping));
    return 0;
}

static void mem_signal(struct child *child, int signum)
{
    struct mem_child *c = (struct mem_child *)child;

    pthread_mutex_lock(&c->lock);
    if (!c->ended && c->signum != SIGKILL)
        c->signum = signum;
    pthread_mutex_unlock(&c->lock);
}

static int mem_wait(struct child *child, int timeout_ms, struct child_end *end, struct err *e)
{
    struct mem_child *c = (struct mem_child *)child;
    struct clock *clock = c->owner->clock;
    bool was_stopping = clock_stopping(clock), ended;
    int64_t until = clock_mono_ms(clock) + (timeout_ms > 0 ? timeout_ms : 0);

    do {
        pthread_mutex_lock(&c->lock);
        ended = c->ended;
        if (ended)
            *end = c->end;
        pthread_mutex_unlock(&c->lock);
    } while (!ended && wait_bit(clock, until, was_stopping));
    return ended;
}

static void mem_errors(struct child *child, struct buf *tail)
{
    struct mem_child *c = (struct mem_child *)child;

    pthread_mutex_lock(&c->lock);
    tail_copy(&c->tail, tail);
    pthread_mutex_unlock(&c->lock);
}

static void mem_free(struct child_port *port)
{
    free(port);
}

static const struct child_port_ops mem_ops = {
    .start = mem_start,
    .read = mem_read,
    .signal = mem_signal,
    .wait = mem_wait,
    .errors = mem_errors,
    .child_free = mem_child_free,
    .free = mem_free,
};

int child_mem(struct child_port **out, struct clock *clock, child_mem_body body, void *arg,
              struct err *e)
{
    struct mem_port *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(e, ERR_NOMEM, "the port to scripted children");
    p->port.ops = &mem_ops;
    p->clock = clock;
    p->body = body;
    p->arg = arg;
    *out = &p->port;
    return 0;
}

void child_mem_emit(struct child *self, const char *line)
{
    struct mem_child *c = (struct mem_child *)self;
    size_t n = strlen(line);
    struct mem_line *l = malloc(sizeof *l + n);

    if (!l)
        abort(); /* a test's twin: nothing would learn of it otherwise */
    l->next = NULL;
    l->len = n;
    memcpy(l->bytes, line, n);
    pthread_mutex_lock(&c->lock);
    if (c->signum == SIGKILL) { /* the dead don't speak */
        free(l);
    } else {
        *c->last = l;
        c->last = &l->next;
    }
    pthread_mutex_unlock(&c->lock);
}

void child_mem_complain(struct child *self, const char *line)
{
    struct mem_child *c = (struct mem_child *)self;

    pthread_mutex_lock(&c->lock);
    tail_add(&c->tail, line, strlen(line));
    tail_add(&c->tail, "\n", 1);
    pthread_mutex_unlock(&c->lock);
}

bool child_mem_signalled(struct child *self, int *signum)
{
    struct mem_child *c = (struct mem_child *)self;
    int s;

    pthread_mutex_lock(&c->lock);
    s = c->signum;
    pthread_mutex_unlock(&c->lock);
    if (s && signum)
        *signum = s;
    return s != 0;
}
