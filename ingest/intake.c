#include "ingest/ingest_int.h"

#include <string.h>

enum {
    BATCH = 512,
    LOOK_EVERY = 16,
    CONSUMER_BASE_MS = 200,
    CONSUMER_CAP_MS = 5000,
    CHEAP_BYTES = 16 << 20
};

/* A callback can't return an error: the step that polled does. */
static void note_fatal(struct ingest *in, int rc, const struct err *e)
{
    if (rc == 0 || in->fatal)
        return;
    in->fatal = rc;
    in->fatal_err = *e;
}

static void assigned(void *arg, const struct bus_partition *list, size_t n)
{
    struct ingest *in = arg;
    struct err e = ERR_INIT;
    struct part *p;
    size_t i;
    int rc;

    for (i = 0; i < n; i++) {
        rc = part_get(in, list[i].topic, list[i].partition, &p, &e);
        if (rc == ERR_FORMAT) { /* looks like ours: without a position it delivers nothing */
            log_error("topic.ignored", &e, "topic", list[i].topic, NULL);
            continue;
        }
        if (rc < 0) {
            note_fatal(in, rc, &e);
            return;
        }
        part_drop(in, p);
        p->paused = false;
        p->tries = 0;
        p->state = PART_FIND;
        p->due_ms = 0;
    }
    in->tick_ms = 0;
    measure_ready(in);
}

/* What is there and can be written at once is; the rest is read again by its next owner. */
static void give_up(struct ingest *in, struct part *p, bool lost)
{
    struct err e = ERR_INIT;

    if (!lost && p->state == PART_READ && p->open && p->bytes <= CHEAP_BYTES &&
        clock_mono_ms(in->p.clock) >= in->store_ms)
        note_fatal(in, commit_cut(in, p, false, &e), &e);
    part_drop(in, p);
    p->state = PART_GONE;
    p->behind = false;
}

static void revoked(void *arg, const struct bus_partition *list, size_t n, bool lost)
{
    struct ingest *in = arg;
    struct part *p;
    size_t i;

    for (i = 0; i < n; i++) {
        p = part_find(in, list[i].topic, list[i].partition);
        if (!p || p->state == PART_GONE)
            continue;
        give_up(in, p, lost);
    }
    log_event(LOG_INFO, "partitions.revoked", "count", LOG_U(n), "lost", lost ? "yes" : "no", NULL);
    measure_ready(in);
}

int intake_open(struct ingest *in, struct err *e)
{
    char group[KEY_MAX], pattern[KEY_MAX];
    const char *topics[1] = {pattern};
    struct bus_consumer_options o = {
        .group = group,
        .topics = topics,
        .topic_count = 1,
        .rebalance = {assigned, revoked, in},
        .session_timeout_ms = (int)in->o.session_timeout_ms,
        .metadata_refresh_ms = in->o.metadata_refresh_ms,
    };

    in->calm_ms = clock_mono_ms(in->p.clock);
    key_group(&in->keys, KEY_INGEST, group);
    topic_docs_pattern(&in->keys, pattern);
    return bus_consumer_open(in->p.bus, &o, &in->consumer, e);
}

/* A position that the partition does not have: retention overtook us, or it is a new topic. What
 * was read before is written first, since Kafka may not have it any more. */
static int misplaced(struct ingest *in, struct err *e)
{
    const struct bus_partition at = in->consumer->failed;
    struct part *p = part_find(in, at.topic, at.partition);
    int rc;

    if (!p || p->state != PART_READ)
        return 0;
    log_error("partition.misplaced", e, "owner", p->owner, "dataset", p->dataset, "partition",
              LOG_I(p->partition), NULL);
    if ((rc = commit_cut(in, p, false, e)) < 0)
        return rc;
    if (p->state == PART_READ)
        part_later(in, p, PART_FIND, 0);
    return 0;
}

static int trouble(struct ingest *in, struct err *e)
{
    int64_t wait;

    if (in->consumer->failed.topic)
        return misplaced(in, e);
    if (err_class(e->code) == ERR_CLASS_STOP)
        return e->code;
    wait = clock_backoff_ms(in->p.clock, in->consumer_tries++, CONSUMER_BASE_MS, CONSUMER_CAP_MS);
    log_error("consumer.failed", e, "again_ms", LOG_I(wait), NULL);
    metric_add(in->m.errors, 1, "consumer.failed", NULL);
    clock_sleep_ms(in->p.clock, wait);
    in->calm_ms = clock_mono_ms(in->p.clock);
    measure_ready(in);
    return 0;
}

static int route(struct ingest *in, struct bus_message *m, struct err *e)
{
    struct part *p = part_find(in, m->topic, m->partition);
    bool kept = false;
    int rc = 0;

    in->consumer_tries = 0;
    if (p) {
        p->heard_ms = in->now_ms;
        rc = admit(in, p, m, &kept, e);
    }
    if (!kept)
        bus_message_free(in->consumer, m);
    return rc;
}

int intake_poll(struct ingest *in, int wait_ms, struct err *e)
{
    struct bus_message *m;
    int rc, i;

    for (i = 0; i < BATCH; i++) {
        if (i % LOOK_EVERY == 0)
            in->now_ms = clock_mono_ms(in->p.clock);
        if (i && in->now_ms >= in->tick_ms)
            break;
        rc = bus_poll(in->consumer, i ? 0 : wait_ms, &m, e);
        if (in->fatal) {
            if (rc > 0)
                bus_message_free(in->consumer, m);
            *e = in->fatal_err;
            return in->fatal;
        }
        if (rc == 0)
            break;
        if ((rc = rc < 0 ? trouble(in, e) : route(in, m, e)) < 0)
            return rc;
    }
    return 0;
}
