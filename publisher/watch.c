/*
 * Partitions. `done` and `published` have the same count and the group's
 * assignor deals neighbours of each topic alike, so a member gets the same
 * numbers of both; a partition is worked on only while both are held.
 */
#include "publisher/publisher_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/failpoint.h"

enum {
    BATCH = 256,
    BASE_MS = 200,
    CAP_MS = 10000,
    QUIET_MS = 300 /* without a record of `published`: look whether there is one */
};

/* A callback can't return an error: the step that polled does. */
static void note_fatal(struct publisher *pub, const struct err *e)
{
    if (!pub->fatal)
        pub->fatal_err = *e;
    pub->fatal = pub->fatal ? pub->fatal : e->code;
}

static struct part *find(struct publisher *pub, int32_t partition)
{
    struct part *p;

    for (p = pub->parts; p && p->partition != partition; p = p->link)
        ;
    return p;
}

static struct part *get(struct publisher *pub, int32_t partition)
{
    struct part *p = find(pub, partition);

    if (p || !(p = calloc(1, sizeof *p)))
        return p;
    p->partition = partition;
    p->link = pub->parts;
    pub->parts = p;
    return p;
}

static void drop_held(struct publisher *pub, struct part *p)
{
    if (p->held)
        bus_message_free(pub->consumer, p->held);
    p->held = NULL;
}

static void give_up(struct publisher *pub, struct part *p)
{
    drop_held(pub, p);
    bus_producer_free(p->producer);
    p->producer = NULL;
    known_release(&p->known);
    known_release(&p->owners);
    parked_release(pub, p); /* their markers are in S3 */
    p->done_held = p->published_held = false;
    p->tries = 0;
    p->state = PART_GONE;
}

void part_free(struct publisher *pub, struct part *p)
{
    give_up(pub, p);
    free(p);
}

static void assigned(void *arg, const struct bus_partition *list, size_t n)
{
    struct publisher *pub = arg;
    struct err e = ERR_INIT;
    struct part *p;
    size_t i;

    pub->heard_ms = clock_mono_ms(pub->p.clock);
    for (i = 0; i < n; i++) {
        if (!(p = get(pub, list[i].partition))) {
            err_set(&e, ERR_NOMEM, "partition %d", (int)list[i].partition);
            note_fatal(pub, &e);
            return;
        }
        p->done_held |= !strcmp(list[i].topic, pub->done);
        p->published_held |= !strcmp(list[i].topic, pub->published);
        if (p->done_held && p->published_held && p->state == PART_GONE) {
            p->state = PART_FENCE;
            p->due_ms = 0;
        }
    }
}

static void revoked(void *arg, const struct bus_partition *list, size_t n, bool lost)
{
    struct publisher *pub = arg;
    struct part *p;
    size_t i;

    for (i = 0; i < n; i++)
        if ((p = find(pub, list[i].partition)))
            give_up(pub, p);
    log_event(LOG_INFO, "partitions.revoked", "count", LOG_U(n), "lost", lost ? "yes" : "no", NULL);
}

static int make_topics(struct publisher *pub, struct err *e)
{
    static const char *const compacted[] = {"cleanup.policy=compact", NULL};
    const struct bus_topic topics[2] = {
        {.name = pub->done, .partitions = (int)pub->o.partitions},
        {.name = pub->published, .partitions = (int)pub->o.partitions, .config = compacted},
    };
    int done, published, rc = bus_create_topics(pub->p.bus, topics, 2, e);

    if (rc == ERR_DENIED) /* the operator makes them; asking for them says more */
        log_error("topics.not_created", e, NULL);
    else if (rc < 0)
        return rc;
    if ((rc = bus_partitions(pub->p.bus, pub->done, &done, e)) < 0 ||
        (rc = bus_partitions(pub->p.bus, pub->published, &published, e)) < 0)
        return rc;
    if (done != published)
        return err_set(e, ERR_CONFIG,
                       "%s has %d partitions, %s has %d: they must be equal, and may never change",
                       pub->done, done, pub->published, published);
    return 0;
}

int watch_open(struct publisher *pub, struct err *e)
{
    char group[KEY_MAX];
    const char *topics[2] = {pub->done, pub->published};
    struct bus_consumer_options o = {.group = group,
                                     .topics = topics,
                                     .topic_count = 2,
                                     .rebalance = {assigned, revoked, pub},
                                     .session_timeout_ms = (int)pub->o.session_ms,
                                     .metadata_refresh_ms = pub->o.metadata_refresh_ms};
    int rc = make_topics(pub, e);

    if (rc < 0)
        return rc;
    key_group(&pub->keys, KEY_PUBLISHER, group);
    return bus_consumer_open(pub->p.bus, &o, &pub->consumer, e);
}

void part_restart(struct publisher *pub, struct part *p, const struct err *why)
{
    struct err ignored = ERR_INIT;
    int64_t wait = clock_backoff_ms(pub->p.clock, p->tries++, BASE_MS, CAP_MS);

    log_error("partition.again", why, "partition", LOG_I(p->partition), "again_ms", LOG_I(wait),
              NULL);
    metric_add(pub->m.failures, 1, "partition.again", NULL);
    drop_held(pub, p);
    bus_producer_free(p->producer);
    p->producer = NULL;
    (void)bus_pause(pub->consumer, pub->done, p->partition, true, &ignored);
    p->state = PART_FENCE;
    p->due_ms = clock_mono_ms(pub->p.clock) + wait;
}

/* --- steps 1 and 2: nobody else can commit here; where to begin --- */

/*
 * An offset that reaches the group's coordinator behind the end of its transaction stays pending
 * there for ever (Kafka's transactions before KIP-890), and so does the question for what is
 * committed. The end of another transaction of this id, with the same group, clears it; not a
 * commit, which might commit it. What fails here is left to the next takeover.
 */
static void clear_pending(struct publisher *pub, struct part *p)
{
    struct err why = ERR_INIT;

    if (bus_begin(p->producer, &why) == 0 &&
        bus_send_offset(p->producer, pub->consumer, pub->done, p->partition, 0, &why) == 0 &&
        bus_abort_transaction(p->producer, &why) == 0)
        log_event(LOG_WARN, "offsets.cleared", "partition", LOG_I(p->partition), NULL);
    else
        log_error("offsets.pending", &why, "partition", LOG_I(p->partition), NULL);
}

static int committed(struct publisher *pub, struct part *p, struct err *e)
{
    int rc = bus_committed(pub->consumer, pub->done, p->partition, &p->next, e);

    if (rc == ERR_TIMEOUT && !DEFECT("publish.pending-kept"))
        clear_pending(pub, p);
    return rc;
}

static int take_over(struct publisher *pub, struct part *p, struct err *e)
{
    char name[64], id[KEY_MAX];
    const struct bus_producer_options o = {
        .transactional_id = id,
        .message_timeout_ms = pub->o.message_timeout_ms ? pub->o.message_timeout_ms : 30000,
        .linger_ms = 1};
    int64_t low, high, early = 0;
    bool kept;
    int rc;

    snprintf(name, sizeof name, "%d", (int)p->partition);
    if (DEFECT("publish.not-fenced"))
        clock_nonce(pub->p.clock, name);
    if (DEFECT("publish.reads-before-fence") &&
        (rc = bus_watermarks(pub->p.bus, pub->published, p->partition, &low, &early, e)) < 0)
        return rc;
    if ((rc = key_transaction(&pub->keys, name, id, e)) < 0 ||
        (rc = bus_producer_open(pub->p.bus, &o, NULL, NULL, &p->producer, e)) < 0 ||
        (!DEFECT("publish.not-fenced") && (rc = committed(pub, p, e)) < 0) ||
        (rc = bus_watermarks(pub->p.bus, pub->done, p->partition, &low, &high, e)) < 0)
        return rc;
    if (p->next < low || p->next > high) /* none yet; retention; a new topic: sweeps repeat */
        p->next = low;
    FAILPOINT("publish.fenced");
    kept = DEFECT("publish.known-kept") && p->known.count;
    if (!kept)
        known_release(&p->known);
    known_release(&p->owners);
    rc = bus_watermarks(pub->p.bus, pub->published, p->partition, &p->loaded, &p->load_end, e);
    if (DEFECT("publish.reads-before-fence"))
        p->load_end = early;
    if (kept || DEFECT("publish.published-unread"))
        p->load_end = p->loaded;
    if (rc == 0)
        rc = bus_seek(pub->consumer, pub->published, p->partition, p->loaded, e);
    if (rc == 0)
        rc = bus_pause(pub->consumer, pub->published, p->partition, false, e);
    p->heard_ms = clock_mono_ms(pub->p.clock);
    return rc;
}

static int fence(struct publisher *pub, struct part *p, struct err *e)
{
    int rc;

    bus_producer_free(p->producer);
    p->producer = NULL;
    if ((rc = take_over(pub, p, e)) == 0) {
        p->state = PART_LOAD;
        return 0;
    }
    if (err_class(rc) == ERR_CLASS_STOP)
        return rc;
    part_restart(pub, p, e);
    return 0;
}

/* --- step 3: `published` to its end --- */

static int load_record(struct publisher *pub, struct part *p, const struct bus_message *m,
                       struct err *e)
{
    char owner[KEY_NAME_MAX], run[KEY_NAME_MAX], id[KEY_MAX];
    int rc;

    if (m->offset >= p->loaded)
        p->loaded = m->offset + 1;
    p->heard_ms = clock_mono_ms(pub->p.clock);
    if (!m->key || !m->value || !key_run_id_parse(m->key, m->key_len, owner, run))
        return 0;
    if ((rc = key_run_id(owner, run, id, e)) < 0 || (rc = known_add(&p->known, id, e)) < 0)
        return rc;
    if (known_has(&p->owners, owner))
        return 0;
    current_later(pub, owner, ""); /* the topic of models in force is repaired from S3 */
    return known_add(&p->owners, owner, e);
}

/* The consumer delivers records and is silent about the markers behind the last one. */
static int load_look(struct publisher *pub, struct part *p, struct err *e)
{
    struct bus_message *m = NULL;
    int rc;

    if (p->loaded >= p->load_end || clock_mono_ms(pub->p.clock) - p->heard_ms < QUIET_MS)
        return 0;
    rc = bus_read_at(pub->p.bus, pub->published, p->partition, p->loaded, &m, e);
    if (rc < 0)
        return rc;
    if (rc == 0 || m->offset >= p->load_end)
        p->loaded = p->load_end;
    else
        rc = load_record(pub, p, m, e);
    if (m)
        bus_read_free(pub->p.bus, m);
    return rc < 0 ? rc : 0;
}

/* --- step 4 --- */

static int read_on(struct publisher *pub, struct part *p, struct err *e)
{
    int rc = bus_seek(pub->consumer, pub->done, p->partition, p->next, e);

    return rc < 0 ? rc : bus_pause(pub->consumer, pub->done, p->partition, false, e);
}

static int load(struct publisher *pub, struct part *p, struct err *e)
{
    int rc = load_look(pub, p, e);

    if (rc == 0 && p->loaded < p->load_end)
        return 0;
    if (rc == 0)
        rc = bus_pause(pub->consumer, pub->published, p->partition, true, e);
    if (rc == 0)
        rc = read_on(pub, p, e);
    if (rc == 0) {
        p->state = PART_READ;
        log_event(LOG_INFO, "partition.begun", "partition", LOG_I(p->partition), "offset",
                  LOG_I(p->next), "published", LOG_U(p->known.count), NULL);
        return 0;
    }
    if (err_class(rc) == ERR_CLASS_STOP)
        return rc;
    part_restart(pub, p, e);
    return 0;
}

static int handle(struct publisher *pub, struct part *p, struct bus_message *m, struct err *e)
{
    bool kept = false;
    int rc = 0;

    if (p->state == PART_READ && !p->held && m->offset >= p->next)
        rc = announce_message(pub, p, m, &kept, e);
    if (!kept)
        bus_message_free(pub->consumer, m);
    return rc;
}

static int again(struct publisher *pub, struct part *p, struct err *e)
{
    struct bus_message *m = p->held;
    int rc;

    p->held = NULL;
    if ((rc = handle(pub, p, m, e)) < 0)
        return rc;
    if (p->state == PART_READ && !p->held && read_on(pub, p, e) < 0)
        part_restart(pub, p, e);
    return 0;
}

static int tick(struct publisher *pub, struct part *p, struct err *e)
{
    bool due = clock_mono_ms(pub->p.clock) >= p->due_ms;

    if (p->state == PART_FENCE && due)
        return fence(pub, p, e);
    if (p->state == PART_LOAD)
        return load(pub, p, e);
    if (p->state == PART_READ && p->held)
        return due ? again(pub, p, e) : 0;
    return p->state == PART_READ ? announce_parked(pub, p, e) : 0;
}

int watch_tick(struct publisher *pub, struct err *e)
{
    struct part *p;
    bool fenced;
    int rc;

    for (p = pub->parts; p; p = p->link) {
        fenced = p->state == PART_FENCE && clock_mono_ms(pub->p.clock) >= p->due_ms;
        if ((rc = tick(pub, p, e)) < 0)
            return rc;
        if (fenced) /* it may wait long for an open transaction: poll between two of them */
            return 0;
    }
    return 0;
}

/* --- messages --- */

static int trouble(struct publisher *pub, struct err *e)
{
    const struct bus_partition at = pub->consumer->failed;
    struct part *p = at.topic ? find(pub, at.partition) : NULL;
    int64_t wait;

    if (p && p->state != PART_GONE) {
        part_restart(pub, p, e);
        return 0;
    }
    if (err_class(e->code) == ERR_CLASS_STOP)
        return e->code;
    wait = clock_backoff_ms(pub->p.clock, pub->consumer_tries++, BASE_MS, CAP_MS);
    log_error("consumer.failed", e, "again_ms", LOG_I(wait), NULL);
    metric_add(pub->m.failures, 1, "consumer.failed", NULL);
    pub->heard_ms = clock_mono_ms(pub->p.clock);
    clock_sleep_ms(pub->p.clock, wait);
    return 0;
}

static int route(struct publisher *pub, struct bus_message *m, struct err *e)
{
    struct part *p = find(pub, m->partition);
    int rc = 0;

    pub->consumer_tries = 0;
    if (p && !strcmp(m->topic, pub->done))
        return handle(pub, p, m, e);
    if (p && p->state == PART_LOAD)
        rc = load_record(pub, p, m, e);
    bus_message_free(pub->consumer, m);
    return rc;
}

int watch_poll(struct publisher *pub, int wait_ms, struct err *e)
{
    int64_t until = clock_mono_ms(pub->p.clock) + 1000;
    struct bus_message *m;
    int rc, i;

    for (i = 0; i < BATCH && (!i || clock_mono_ms(pub->p.clock) < until); i++) {
        rc = bus_poll(pub->consumer, i ? 0 : wait_ms, &m, e);
        if (pub->fatal) {
            if (rc > 0)
                bus_message_free(pub->consumer, m);
            *e = pub->fatal_err;
            return pub->fatal;
        }
        if (rc == 0)
            break;
        if ((rc = rc < 0 ? trouble(pub, e) : route(pub, m, e)) < 0)
            return rc;
        if (clock_stopping(pub->p.clock))
            break;
    }
    return 0;
}
