/*
 * The model in force. The truth is the newest models/<model>/<n>.json: n grows
 * by one, and conditional create lets exactly one run have each. The compacted
 * topic current.<owner> is a copy that may lag or, for a moment, go backwards
 * (two publishers write in either order); so whoever wrote to it looks again
 * and writes what is newest, and readers ignore a lower n.
 */
#include "publisher/publisher_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLAIM_TRIES = 50,
    SKEW_MS = 3600 * 1000, /* of clocks: how much older than the run's end its version may look */
    RECORD_MAX = 1 << 16,
    BASE_MS = 1000,
    CAP_MS = 300000
};
#define GAIN_SLACK 1e-9 /* 0.30 - 0.25 reaches 0.05 */

/* --- versions in S3 --- */

struct newest {
    const char *owner, *model;
    uint64_t n;
};

static int each_version(void *arg, const char *key, uint64_t size)
{
    struct newest *seen = arg;
    char owner[KEY_NAME_MAX], model[KEY_NAME_MAX];
    uint64_t n;

    (void)size;
    if (key_model_parse(key, owner, model, &n) && !strcmp(owner, seen->owner) &&
        !strcmp(model, seen->model) && n > seen->n)
        seen->n = n;
    return 0;
}

static int newest(struct publisher *pub, const char *owner, const char *model, uint64_t *n,
                  struct err *e)
{
    struct newest seen = {owner, model, 0};
    char prefix[KEY_MAX];
    int rc = key_model_prefix(owner, model, prefix, e);

    if (rc == 0)
        rc = blob_list(pub->p.blob, prefix, NULL, each_version, &seen, e);
    *n = seen.n;
    return rc < 0 ? rc : 0;
}

static int read_version(struct publisher *pub, struct arena *a, const char *owner,
                        const char *model, uint64_t n, struct buf *b, struct model_current *out,
                        struct err *e)
{
    char key[KEY_MAX];
    int rc;

    if ((rc = key_model(owner, model, n, key, e)) < 0 || (rc = release_get(pub, key, b, e)) < 0)
        return rc;
    if ((rc = model_current_read(a, b->data, b->len, RECORD_SNIFF, out, e)) < 0)
        return err_wrap(e, "%s", key);
    if (strcmp(out->owner, owner) || strcmp(out->model, model) || out->n != (int64_t)n)
        return err_set(e, ERR_FORMAT, "%s speaks of version %lld of %s/%s", key, (long long)out->n,
                       out->owner, out->model);
    return 0;
}

/* --- which run comes into force --- */

static double metric_of(const struct record_number *list, size_t count, const char *name)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return list[i].value;
    return record_no_number();
}

void current_judge(struct release *r)
{
    const struct run_manifest *m = &r->manifest;
    const struct job_gate *want = r->job.gate;
    struct model_gate *g = &r->gate;

    model_gate_init(g);
    if (!want)
        return;
    g->metric = want->metric;
    if (!strcmp(want->metric, "auto") && m->judged_by)
        g->metric = m->judged_by;
    g->min_gain = want->min_gain;
    g->before = metric_of(m->before, m->before_count, g->metric);
    g->after = metric_of(m->after, m->after_count, g->metric);
    g->passed = g->after - g->before >= g->min_gain - GAIN_SLACK; /* false with a NaN */
    if (isnan(g->before) || isnan(g->after))
        g->reason = "the metric was not measured: no documents were held out";
    else if (!g->passed)
        g->reason = "the gain is below what the job asks for";
}

/* When the run in force ended; 0: unknown. */
static int ended_ms(struct publisher *pub, const char *owner, const char *run, int64_t *ms,
                    struct err *e)
{
    char key[KEY_MAX];
    struct run_end end;
    struct buf b;
    int rc;

    *ms = 0;
    buf_init(&b, OBJECT_BYTES_MAX);
    if ((rc = key_run(owner, run, RUN_END, key, e)) == 0 &&
        (rc = release_get(pub, key, &b, e)) == 0 &&
        (rc = run_end_read(&pub->arena, b.data, b.len, RECORD_SNIFF, &end, e)) == 0)
        *ms = end.time_ms;
    buf_release(&b);
    return rc < 0 && err_class(rc) != ERR_CLASS_REJECT ? rc : 0;
}

/*
 * Looks backwards from version n for one of this run's own, which an earlier
 * try left. 1: r->n and r->previous are set; 0: there is none, and *last is
 * version n (its run NULL without any).
 */
static int find_own(struct publisher *pub, struct release *r, uint64_t n, struct buf *b,
                    struct model_current *last, struct err *e)
{
    struct model_current version;
    uint64_t at;
    int rc;

    last->run = NULL;
    for (at = n; at > 0; at--) {
        rc = read_version(pub, &pub->arena, r->name.owner, r->manifest.model, at, b, &version, e);
        if (rc == ERR_NOT_FOUND && at < n)
            break; /* somebody tidied old ones away */
        if (rc < 0)
            return rc == ERR_NOT_FOUND ? (e->code = ERR_PEER) : rc; /* it was listed just now */
        if (at == n)
            *last = version;
        if (r->n) {
            r->previous = version.run;
            break;
        }
        if (!strcmp(version.run, r->name.run))
            r->n = at;
        else if (version.time_ms < r->end.time_ms - SKEW_MS)
            break;
    }
    return r->n != 0;
}

static int create(struct publisher *pub, const struct release *r, uint64_t n, struct buf *b,
                  struct err *e)
{
    struct model_current c;
    char key[KEY_MAX], nonce[33];
    int rc = key_model(r->name.owner, r->manifest.model, n, key, e);

    if (rc < 0)
        return rc;
    clock_nonce(pub->p.clock, nonce);
    model_current_init(&c);
    c.owner = r->name.owner;
    c.model = r->manifest.model;
    c.n = (int64_t)n;
    c.run = r->name.run;
    c.attempt = r->end.attempt;
    c.manifest_sha256 = r->end.manifest_sha256;
    c.dimension = r->manifest.dimension;
    c.nonce = nonce;
    c.time_ms = clock_wall_ms(pub->p.clock);
    buf_reset(b);
    if ((rc = model_current_write(&c, RECORD_JSON, b, e)) < 0)
        return rc;
    return blob_create(pub->p.blob, key, b->data, b->len, e);
}

/* 1: decided; 0: another run took the version, look again. */
static int claim_once(struct publisher *pub, struct release *r, struct buf *b, struct err *e)
{
    struct model_current last;
    int64_t ended = 0;
    uint64_t n;
    int rc;

    if ((rc = newest(pub, r->name.owner, r->manifest.model, &n, e)) < 0 ||
        (rc = find_own(pub, r, n, b, &last, e)) != 0)
        return rc;
    r->previous = last.run;
    if (r->job.gate && !r->gate.passed) {
        r->why = "it did not pass its gate; the model before stays in force";
        return 1;
    }
    if (last.run && (rc = ended_ms(pub, r->name.owner, last.run, &ended, e)) < 0)
        return rc;
    if (ended > r->end.time_ms) {
        r->why = "the model of a run that ended later is in force";
        return 1;
    }
    rc = create(pub, r, n + 1, b, e);
    if (rc == 0)
        r->n = n + 1;
    return rc == ERR_EXISTS ? 0 : rc < 0 ? rc : 1;
}

int current_claim(struct publisher *pub, struct release *r, struct err *e)
{
    struct buf b;
    int rc = 0, i;

    buf_init(&b, RECORD_MAX);
    for (i = 0; i < CLAIM_TRIES && rc == 0; i++)
        rc = claim_once(pub, r, &b, e);
    buf_release(&b);
    if (rc == 0)
        return err_set(e, ERR_PEER, "versions of model %s/%s are taken again and again",
                       r->name.owner, r->manifest.model);
    return rc < 0 ? rc : 0;
}

/* --- the copy on the topic --- */

static int send_version(struct publisher *pub, const char *owner, const char *model,
                        const struct buf *b, struct err *e)
{
    const struct bus_producer_options o = {
        .message_timeout_ms = pub->o.message_timeout_ms ? pub->o.message_timeout_ms : 30000};
    char topic[KEY_MAX];
    struct bus_message m = {.topic = topic, .partition = -1, .key = model, .value = b->data};
    int rc = topic_of(&pub->keys, TOPIC_CURRENT, owner, topic, e), count;

    m.key_len = strlen(model);
    m.value_len = b->len;
    if (rc < 0 || (rc = bus_partitions(pub->p.bus, topic, &count, e)) < 0)
        return rc;
    if (!pub->sender && (rc = bus_producer_open(pub->p.bus, &o, NULL, NULL, &pub->sender, e)) < 0)
        return rc;
    if ((rc = bus_send(pub->sender, &m, NULL, e)) == 0)
        rc = bus_flush(pub->sender, -1, e);
    if (rc < 0) {
        bus_producer_free(pub->sender);
        pub->sender = NULL;
    }
    return rc;
}

int current_tell(struct publisher *pub, const char *owner, const char *model, struct err *e)
{
    struct model_current c;
    struct arena arena;
    uint64_t n = 0, sent = 0;
    struct buf b;
    int rc;

    arena_init(&arena, 1 << 20);
    buf_init(&b, RECORD_MAX);
    /* while we wrote n, n + 1 may have been written before it */
    while ((rc = newest(pub, owner, model, &n, e)) == 0 && n != sent) {
        if ((rc = read_version(pub, &arena, owner, model, n, &b, &c, e)) < 0 ||
            (rc = send_version(pub, owner, model, &b, e)) < 0)
            break;
        sent = n;
        arena_reset(&arena);
    }
    buf_release(&b);
    arena_release(&arena);
    return rc;
}

/* --- repairs --- */

void current_later(struct publisher *pub, const char *owner, const char *model)
{
    struct repair *item;

    for (item = pub->repairs; item; item = item->link)
        if (!strcmp(item->owner, owner) && !strcmp(item->model, model))
            return;
    if (!(item = calloc(1, sizeof *item)))
        return; /* the next assignment repairs it */
    memcpy(item->owner, owner, strlen(owner) + 1);
    memcpy(item->model, model, strlen(model) + 1);
    item->link = pub->repairs;
    pub->repairs = item;
}

static int each_model(void *arg, const char *key, uint64_t size)
{
    char owner[KEY_NAME_MAX], model[KEY_NAME_MAX];
    uint64_t n;

    (void)size;
    if (key_model_parse(key, owner, model, &n))
        current_later(arg, owner, model);
    return 0;
}

static int repair(struct publisher *pub, const struct repair *item, struct err *e)
{
    char prefix[KEY_MAX];
    int rc;

    if (item->model[0])
        return current_tell(pub, item->owner, item->model, e);
    if ((rc = key_models_prefix(item->owner, prefix, e)) < 0)
        return rc;
    return blob_list(pub->p.blob, prefix, NULL, each_model, pub, e);
}

static void drop(struct publisher *pub, struct repair *item)
{
    struct repair **at;

    for (at = &pub->repairs; *at && *at != item; at = &(*at)->link)
        ;
    if (*at)
        *at = item->link;
    free(item);
}

void current_tick(struct publisher *pub)
{
    struct err e = ERR_INIT;
    struct repair *item;
    int64_t now = clock_mono_ms(pub->p.clock), wait;

    for (item = pub->repairs; item && now < item->due_ms; item = item->link)
        ;
    if (!item)
        return;
    if (repair(pub, item, &e) == 0) {
        drop(pub, item);
        return;
    }
    wait = clock_backoff_ms(pub->p.clock, item->tries++, BASE_MS, CAP_MS);
    item->due_ms = clock_mono_ms(pub->p.clock) + wait;
    log_error("current.failed", &e, "owner", item->owner, "model", item->model, "again_ms",
              LOG_I(wait), NULL);
    metric_add(pub->m.failures, 1, "current.failed", NULL);
}

void current_release(struct publisher *pub)
{
    while (pub->repairs)
        drop(pub, pub->repairs);
}
