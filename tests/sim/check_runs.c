/*
 * Runs: each that was asked for has exactly one end, and one that its user can
 * have caused; a FINISHED one has one complete result and one committed event,
 * all others have none; the model in force is the newest version.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/model.h"
#include "schemas/run.h"
#include "tests/sim/sim.h"

struct event {
    char id[KEY_MAX];
    int64_t attempt;
    char sha256[SHA256_HEX];
};
struct events {
    struct event *items;
    size_t count;
};

static int get(struct world *w, const char *key, struct buf *b)
{
    struct err e = ERR_INIT;
    int rc;

    buf_init(b, (size_t)64 << 20);
    rc = blob_get(w->blob, key, b, &e);
    if (rc != ERR_NOT_FOUND)
        world_must(rc, &e);
    return rc;
}

/* --- events --- */

static void note_event(struct world *w, struct events *list, struct arena *a,
                       const struct bus_message *m)
{
    struct model_ready_header headers[MODEL_READY_HEADERS];
    char values[MODEL_READY_HEADERS][256];
    struct model_ready event;
    struct err e = ERR_INIT;
    struct event *at;
    size_t i;

    for (i = 0; i < m->header_count && i < MODEL_READY_HEADERS; i++) {
        snprintf(values[i], sizeof values[i], "%.*s", (int)m->headers[i].value_len,
                 (const char *)m->headers[i].value);
        headers[i] = (struct model_ready_header){m->headers[i].name, values[i]};
    }
    if (model_ready_from(headers, i, m->value, m->value_len, a, &event, &e) < 0) {
        world_violation(w, "an event on %s is malformed: %s", m->topic, e.text);
        return;
    }
    list->items = realloc(list->items, (list->count + 1) * sizeof *list->items);
    if (!list->items)
        abort();
    at = &list->items[list->count++];
    snprintf(at->id, sizeof at->id, "%s", event.id);
    at->attempt = event.data->lineage->attempt;
    snprintf(at->sha256, sizeof at->sha256, "%s", event.data->artifact->manifest_sha256);
}

static void read_events(struct world *w, const char *owner, struct events *list)
{
    struct bus_message *m;
    struct err e = ERR_INIT;
    struct arena a;
    char topic[KEY_MAX];
    int count = 0, i;
    int64_t at;

    arena_init(&a, (size_t)64 << 20);
    world_must(topic_of(&w->keys, TOPIC_MODELS, owner, topic, &e), &e);
    if (bus_partitions(w->bus, topic, &count, &e) < 0)
        count = 0; /* this seed has no such owner */
    for (i = 0; i < count; i++)
        for (at = 0; bus_read_at(w->bus, topic, i, at, &m, &e) > 0;) {
            at = m->offset + 1;
            note_event(w, list, &a, m);
            bus_read_free(w->bus, m);
        }
    arena_release(&a);
}

/* --- one run --- */

static void check_file(struct world *w, const struct user_run *r, int64_t attempt,
                       const struct run_file_entry *file)
{
    char key[KEY_MAX], sha256[SHA256_HEX], text[64];
    struct err e = ERR_INIT;
    struct buf b;

    world_must(key_attempt_file(r->owner, r->name, (uint64_t)attempt, file->path, key, &e), &e);
    if (get(w, key, &b) == ERR_NOT_FOUND) {
        world_violation(w, "%s is listed in a result and absent", key);
    } else {
        sha256_of(b.data, b.len, sha256);
        trained_text(STEPS, text);
        if (strcmp(sha256, file->sha256))
            world_violation(w, "%s is not what its manifest says", key);
        if (!strcmp(file->path, "model/onnx/model.onnx") && strcmp(b.data, text))
            world_violation(w, "%s is not what an undisturbed training gives", key);
    }
    buf_release(&b);
}

static void check_result(struct world *w, const struct user_run *r, const struct run_end *end,
                         struct arena *a)
{
    char key[KEY_MAX], sha256[SHA256_HEX];
    struct run_manifest m;
    struct err e = ERR_INIT;
    struct buf b;
    size_t i;

    world_must(
        key_attempt_file(r->owner, r->name, (uint64_t)end->attempt, ATTEMPT_MANIFEST, key, &e), &e);
    if (get(w, key, &b) == ERR_NOT_FOUND) {
        world_violation(w, "%s/%s is FINISHED without a manifest", r->owner, r->name);
        buf_release(&b);
        return;
    }
    sha256_of(b.data, b.len, sha256);
    if (strcmp(sha256, end->manifest_sha256))
        world_violation(w, "%s is not the manifest that end.json names", key);
    world_must(run_manifest_read(a, b.data, b.len, RECORD_SNIFF, &m, &e), &e);
    if (m.attempt != end->attempt || strcmp(m.run, r->name) || m.file_count != 2)
        world_violation(w, "%s speaks of another attempt", key);
    for (i = 0; i < m.file_count; i++)
        check_file(w, r, end->attempt, &m.files[i]);
    buf_release(&b);
}

static struct troubles troubles_of(const struct world *w, const struct user_run *r)
{
    struct err e = ERR_INIT;
    char key[KEY_MAX];

    world_must(key_run(r->owner, r->name, RUN_END, key, &e), &e);
    return node_troubles(w, r->begun, watch_created(w, key));
}

/* A training that dies while its worker gives up for another reason may go unseen. */
static void check_deaths(struct world *w, const struct user_run *r)
{
    struct troubles t = troubles_of(w, r);

    if (r->counted > r->max_attempts + t.used_up + t.drains)
        world_violation(w, "%s/%s: %d trainings died, %d attempts are allowed", r->owner, r->name,
                        r->counted, r->max_attempts);
}

/* What can be the matter although nothing of ours is wrong. A dataset whose topic is gone for a
 * while is none meanwhile. */
static bool excused(const struct world *w, const struct user_run *r, const char *reason)
{
    static const char *const known[] = {"waited ", "within its limit", "has no document"};
    size_t i;

    for (i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strstr(reason, known[i]))
            return true;
    if (strstr(reason, "killed by") || strstr(reason, "attempts were made"))
        return r->deaths + troubles_of(w, r).used_up >= r->max_attempts;
    return r->dataset->life_count > 1 && strstr(reason, "does not exist");
}

static void check_state(struct world *w, const struct user_run *r, const struct run_end *end)
{
    const char *reason = end->reason ? end->reason : "";

    if (r->bad && end->state != JOB_FAILED)
        world_violation(w, "%s/%s is %s although its job is bad", r->owner, r->name,
                        job_state_names[end->state]);
    if (end->state == JOB_CANCELLED && !r->cancelled)
        world_violation(w, "%s/%s is CANCELLED, which nobody asked for", r->owner, r->name);
    if (end->state == JOB_FAILED && !r->bad && !excused(w, r, reason))
        world_violation(w, "%s/%s is FAILED: %s", r->owner, r->name, reason);
}

/* The board may have forgotten it, or be behind; an end that it tells is the one that won. */
static void check_status(struct world *w, const struct user_run *r, const struct run_end *end)
{
    struct err e = ERR_INIT;
    char key[KEY_MAX];
    struct buf b;
    int state;

    buf_init(&b, 64);
    world_must(key_board(&w->keys, BOARD_STATUS, r->owner, r->name, key, &e), &e);
    if (board_get(w->board, key, "state", &b, &e) == 0)
        for (state = JOB_STARTED + 1; state < JOB_STATES; state++)
            if (state != end->state && !strcmp(b.data, job_state_names[state]))
                world_violation(w, "the status of %s/%s is %s, its end %s", r->owner, r->name,
                                b.data, job_state_names[end->state]);
    buf_release(&b);
}

static void check_events(struct world *w, const struct user_run *r, const struct run_end *end,
                         const struct events *events)
{
    size_t i, seen = 0;
    char id[KEY_MAX];
    struct err e = ERR_INIT;

    world_must(key_run_id(r->owner, r->name, id, &e), &e);
    for (i = 0; i < events->count; i++) {
        if (strcmp(events->items[i].id, id))
            continue;
        seen++;
        if (end && (events->items[i].attempt != end->attempt || !end->manifest_sha256 ||
                    strcmp(events->items[i].sha256, end->manifest_sha256)))
            world_violation(w, "the event of %s is of another result", id);
    }
    if (seen != (end && end->state == JOB_FINISHED))
        world_violation(w, "%s, %s, has %zu events", id,
                        end ? job_state_names[end->state] : "without an end", seen);
}

static void check_run(struct world *w, const struct user_run *r, const struct events *events)
{
    struct run_end end;
    struct err e = ERR_INIT;
    struct arena a;
    char key[KEY_MAX];
    struct buf b;

    arena_init(&a, (size_t)64 << 20);
    world_must(key_run(r->owner, r->name, RUN_END, key, &e), &e);
    if (get(w, key, &b) == ERR_NOT_FOUND) {
        world_violation(w, "%s/%s was sent and has no end", r->owner, r->name);
        check_events(w, r, NULL, events);
    } else {
        world_must(run_end_read(&a, b.data, b.len, RECORD_SNIFF, &end, &e), &e);
        check_state(w, r, &end);
        check_deaths(w, r);
        check_status(w, r, &end);
        check_events(w, r, &end, events);
        if (end.state == JOB_FINISHED)
            check_result(w, r, &end, &a);
        world_must(key_open(r->owner, r->name, key, &e), &e);
        if (blob_head(w->blob, key, NULL, &e) == 0)
            world_violation(w, "%s is still there: the run has ended", key);
    }
    buf_release(&b);
    arena_release(&a);
}

/* --- models in force --- */

/* The n of the last record of current.<owner> for this model; 0: none. */
static int64_t told(struct world *w, const char *owner, const char *model)
{
    struct model_current c = {0};
    struct bus_message *m;
    struct err e = ERR_INIT;
    struct arena a;
    char topic[KEY_MAX];
    int64_t at = 0, n = 0;

    arena_init(&a, 1 << 24);
    world_must(topic_of(&w->keys, TOPIC_CURRENT, owner, topic, &e), &e);
    while (bus_read_at(w->bus, topic, 0, at, &m, &e) > 0) {
        at = m->offset + 1;
        if (m->key_len == strlen(model) && !memcmp(m->key, model, m->key_len)) {
            world_must(model_current_read(&a, m->value, m->value_len, RECORD_JSON, &c, &e), &e);
            n = c.n;
        }
        bus_read_free(w->bus, m);
    }
    arena_release(&a);
    return n;
}

static void check_model(struct world *w, const char *owner, const char *model)
{
    char key[KEY_MAX], runs[RUNS_MAX][KEY_NAME_MAX];
    struct model_current c;
    struct err e = ERR_INIT;
    struct arena a;
    struct buf b;
    uint64_t n, i;

    arena_init(&a, 1 << 24);
    for (n = 1; n <= RUNS_MAX; n++) {
        world_must(key_model(owner, model, n, key, &e), &e);
        if (get(w, key, &b) == ERR_NOT_FOUND)
            break;
        world_must(model_current_read(&a, b.data, b.len, RECORD_JSON, &c, &e), &e);
        snprintf(runs[n - 1], sizeof runs[n - 1], "%s", c.run);
        for (i = 0; i + 1 < n; i++)
            if (!strcmp(runs[i], runs[n - 1]))
                world_violation(w, "%s/%s: run %s is two versions", owner, model, c.run);
        buf_release(&b);
    }
    arena_release(&a);
    if (told(w, owner, model) != (int64_t)n - 1)
        world_violation(w, "%s/%s: version %lld is told, %lld is in force", owner, model,
                        (long long)told(w, owner, model), (long long)n - 1);
}

void check_runs(struct world *w)
{
    static const char *const owners[] = {"acme", "acme-two"};
    struct events events = {0};
    int i;

    for (i = 0; i < OWNERS; i++)
        read_events(w, owners[i], &events);
    for (i = 0; i < w->run_count; i++) {
        check_run(w, &w->runs[i], &events);
        check_model(w, w->runs[i].owner, w->runs[i].model);
    }
    free(events.items);
}
