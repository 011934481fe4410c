/*
 * Users: jobs, the same again, bad ones, cancels at any time, forged messages on
 * `done`. And the training process, whose result depends on nothing but the
 * number of its steps, however often it was taken up again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/base/file.h"
#include "schemas/run.h"
#include "tests/sim/sim.h"
#include "tests/unit/trainer/forged.h"
#include "trainer/checkpoint.h"

enum {
    STREAM_USER = 3000,
    STREAM_CHILD = 3100,
    GAP_MS = 500000,
    FORGED_TIMES = 40,
    FORGED_GAP_MS = 20000,
    LATER_MS = 600000,
    MAX_ATTEMPTS = 100,
    STEP_MS = 20000,
    FEW = 3
};

/* --- messages --- */

static void send_message(struct world *w, const char *topic, const char *key, const char *value)
{
    const struct bus_producer_options o = {0};
    const struct bus_message m = {.topic = topic,
                                  .partition = -1,
                                  .key = key,
                                  .key_len = strlen(key),
                                  .value = value,
                                  .value_len = strlen(value)};
    struct bus_producer *p = NULL;
    struct err e = ERR_INIT;

    world_must(bus_producer_open(w->bus, &o, NULL, NULL, &p, &e), &e);
    world_must(bus_send(p, &m, NULL, &e), &e);
    world_must(bus_flush(p, 1000, &e), &e);
    bus_producer_free(p);
}

static void send_job(struct world *w, const struct user_run *r, const char *value)
{
    struct err e = ERR_INIT;
    char topic[KEY_MAX];

    world_must(topic_of(&w->keys, TOPIC_JOBS, r->owner, topic, &e), &e);
    world_trace(w, "job message for %s/%s: %s", r->owner, r->name, value);
    send_message(w, topic, r->name, value);
}

static void send_forged(struct world *w, const struct user_run *r)
{
    char topic[KEY_MAX], id[KEY_MAX];
    struct run_done done;
    struct err e = ERR_INIT;
    struct buf b;

    run_done_init(&done);
    done.owner = r->owner;
    done.run = r->name;
    done.state = JOB_FINISHED;
    done.attempt = 1;
    done.time_ms = 1;
    done.manifest_sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    buf_init(&b, 1 << 16);
    world_must(run_done_write(&done, RECORD_JSON, &b, &e), &e);
    topic_internal(&w->keys, TOPIC_DONE, topic);
    world_must(key_run_id(r->owner, r->name, id, &e), &e);
    send_message(w, topic, id, b.data);
    buf_release(&b);
}

/* --- one run after the other --- */

struct later {
    struct world *w;
    const struct user_run *run;
    int64_t ms;
    char text[400];
};

static void later_main(void *arg)
{
    struct later *l = arg;

    clock_sleep_ms(l->w->clock, l->ms);
    send_job(l->w, l->run, l->text);
    free(l);
}

static void send_later(struct world *w, const struct user_run *r, int64_t ms, const char *text)
{
    struct later *l = calloc(1, sizeof *l);
    struct err e = ERR_INIT;

    if (!l)
        abort();
    l->w = w;
    l->run = r;
    l->ms = ms;
    snprintf(l->text, sizeof l->text, "%s", text);
    world_must(clock_go(w->clock, "later", later_main, l, NULL, &e), &e);
}

static int64_t draw(const struct world *w, uint64_t i, uint64_t which, uint64_t n)
{
    return (int64_t)fate_below(w, STREAM_USER, i * 16 + which, n);
}

struct forger {
    struct world *w;
    const struct user_run *run;
};

/* Before the run's end, at it and behind it. */
static void forge_main(void *arg)
{
    struct forger *f = arg;
    struct world *w = f->w;
    uint64_t i = (uint64_t)(f->run - w->runs) * FORGED_TIMES, k;

    for (k = 0; k < FORGED_TIMES && !w->quiet; k++) {
        send_forged(w, f->run);
        clock_sleep_ms(w->clock, (int64_t)fate_below(w, STREAM_USER + 1, i + k, FORGED_GAP_MS));
    }
    free(f);
}

static void forge(struct world *w, const struct user_run *r)
{
    struct forger *f = calloc(1, sizeof *f);
    struct err e = ERR_INIT;

    if (!f)
        abort();
    *f = (struct forger){w, r};
    world_must(clock_go(w->clock, "forger", forge_main, f, NULL, &e), &e);
}

static void run_begin(struct world *w, uint64_t i)
{
    struct user_run *r = &w->runs[w->run_count++];
    const struct dataset *d = &w->datasets[draw(w, i, 0, (uint64_t)w->dataset_count)];
    char text[400];

    r->owner = d->owner;
    r->dataset = d;
    snprintf(r->name, sizeof r->name, "run-%llu", (unsigned long long)i);
    snprintf(r->model, sizeof r->model, "m-%d", (int)draw(w, i, 1, 2));
    r->begun = ++w->moment;
    r->poison = fate_event(w, STREAM_USER, i, FAULT_POISON, 8, "user");
    r->max_attempts =
        r->poison || draw(w, i, 7, 4) == 0 ? 1 + (int)draw(w, i, 8, FEW) : MAX_ATTEMPTS;
    r->bad = fate_event(w, STREAM_USER, i, FAULT_JOB_BAD, 12, "user");
    snprintf(text, sizeof text,
             "{\"run\":\"%s\",\"dataset\":\"%s\",\"model\":\"%s\",\"backbone\":\"%s\","
             "\"max_attempts\":%d,\"limits\":{\"time_seconds\":1200}}",
             r->name, d->name, r->model, r->bad ? "../.." : "tiny", r->max_attempts);
    send_job(w, r, text);
    if (fate_event(w, STREAM_USER, i, FAULT_JOB_TWICE, 4, "user"))
        send_later(w, r, draw(w, i, 2, LATER_MS), text);
    if (!r->bad && fate_event(w, STREAM_USER, i, FAULT_CANCEL, 4, "user")) {
        r->cancelled = true;
        snprintf(text, sizeof text, "{\"kind\":\"cancel\",\"run\":\"%s\"}", r->name);
        send_later(w, r, draw(w, i, 3, 2) ? draw(w, i, 4, LATER_MS) : draw(w, i, 4, 2000), text);
    }
    if (fate_event(w, STREAM_USER, i, FAULT_FORGED, 3, "user"))
        forge(w, r);
}

void users_main(void *world)
{
    struct world *w = world;
    uint64_t i;

    for (i = 0; world_now(w) < w->active_ms && w->run_count < RUNS_MAX; i++) {
        clock_sleep_ms(w->clock, draw(w, i, 5, draw(w, i, 6, 3) ? GAP_MS : 1000));
        run_begin(w, i);
    }
}

/* --- owners --- */

struct owner {
    struct world *w;
    const char *name;
    int64_t told_ms; /* from then on */
};

static void create_topic(struct world *w, const char *what, const char *owner, int partitions)
{
    char name[KEY_MAX];
    const struct bus_topic topic = {name, partitions, NULL};
    struct err e = ERR_INIT;

    snprintf(name, sizeof name, "tripline.%s.%s", what, owner);
    world_must(bus_create_topics(w->bus, &topic, 1, &e), &e);
}

static void owner_main(void *arg)
{
    struct owner *o = arg;

    clock_sleep_ms(o->w->clock, o->told_ms);
    create_topic(o->w, "models", o->name, 2);
    free(o);
}

static void owner_open(struct world *w, const char *name, uint64_t i)
{
    struct owner *o = calloc(1, sizeof *o);
    struct err e = ERR_INIT;

    if (!o)
        abort();
    *o = (struct owner){.w = w, .name = name};
    if (fate_event(w, STREAM_USER + 2, i, FAULT_NO_TOPIC, 4, name))
        o->told_ms = (int64_t)fate_below(w, STREAM_USER + 2, i, (uint64_t)w->active_ms);
    create_topic(w, "jobs", name, 2);
    create_topic(w, "current", name, 1);
    if (o->told_ms) {
        world_must(clock_go(w->clock, "owner", owner_main, o, NULL, &e), &e);
    } else {
        create_topic(w, "models", name, 2);
        free(o);
    }
}

void users_open(struct world *w)
{
    const struct bus_topic topics[2] = {{"tripline.done", 2, NULL},
                                        {"tripline.published", 2, NULL}};
    struct err e = ERR_INIT;
    int d;

    world_must(bus_create_topics(w->bus, topics, 2, &e), &e);
    for (d = 0; d < w->dataset_count && d < OWNERS; d++)
        owner_open(w, w->datasets[d].owner, (uint64_t)d);
    world_must(blob_put(w->blob, "backbones/tiny/onnx/model.onnx", "a model", 7, &e), &e);
    world_must(blob_put(w->blob, "backbones/tiny/tokenizer.json", "{}", 2, &e), &e);
}

/* --- the training process --- */

void trained_text(int steps, char to[64])
{
    snprintf(to, 64, "weights %llx", (unsigned long long)forged_weights(steps));
}

static void put_local(const char *folder, const char *name, const char *text)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    local_file(path, text, strlen(text));
}

static void put_artifact(const char *folder)
{
    char text[64];
    struct err e = ERR_INIT;

    trained_text(STEPS, text);
    put_local(folder, "out/onnx/model.onnx", text);
    world_must(forged_manifest(folder, text, &e), &e);
}

/* The newest checkpoint that the parent fetched; a wrong one breaks a promise. */
static int resume(struct world *w, const char *folder)
{
    char path[512], text[64];
    struct err e = ERR_INIT;
    struct buf b;
    int step, rc;

    for (step = STEPS; step > 0; step--) {
        snprintf(path, sizeof path, "%s/checkpoints/" CHECKPOINT_NAME, folder, (long long)step);
        buf_init(&b, 1 << 10);
        rc = file_read(path, &b, &e);
        trained_text(step, text);
        if (rc == 0 && strcmp(b.data, text) != 0)
            world_violation(w, "a checkpoint is not what was written: %s", b.data);
        buf_release(&b);
        if (rc == 0)
            break;
    }
    return step;
}

static void save(struct child *self, const char *folder, int step)
{
    char name[64], text[64], line[96];

    snprintf(name, sizeof name, "checkpoints/" CHECKPOINT_NAME, (long long)step);
    trained_text(step, text);
    put_local(folder, name, text);
    snprintf(line, sizeof line, "{\"event\":\"checkpoint\",\"step\":%d}", step);
    child_mem_emit(self, line);
}

/* Whose training a folder is of: .../<owner>.<run>.<attempt> */
static struct user_run *run_of(struct world *w, const char *folder, uint64_t *attempt)
{
    const char *at = strrchr(folder, '/'), *run = strchr(at, '.') + 1, *dot = strrchr(at, '.');
    int i;

    *attempt = strtoull(dot + 1, NULL, 10);
    for (i = 0; i < w->run_count; i++)
        if (strlen(w->runs[i].name) == (size_t)(dot - run) &&
            !memcmp(w->runs[i].name, run, (size_t)(dot - run)))
            return &w->runs[i];
    abort();
}

/* That of an attempt which another one has fenced is counted or not, as it comes. */
static int die(struct world *w, const char *folder)
{
    uint64_t attempt;
    struct user_run *r = run_of(w, folder, &attempt);
    struct err e = ERR_INIT;
    char key[KEY_MAX];

    world_must(key_attempt(r->owner, r->name, attempt + 1, key, &e), &e);
    r->deaths++;
    r->counted += blob_head(w->blob, key, NULL, &e) == ERR_NOT_FOUND;
    return -SIGSEGV;
}

/* At which step; 0: none. */
static int dies_at(struct world *w, const char *folder, uint64_t child, int step)
{
    uint64_t attempt;
    int at = 1 + (int)fate_below(w, STREAM_CHILD, child, STEPS);

    if (run_of(w, folder, &attempt)->poison)
        return step + 1;
    return fate_event(w, STREAM_CHILD, child, FAULT_CHILD_DIES, 8, "child") ? at : 0;
}

int train(void *node, struct child *self, const struct child_spec *spec)
{
    struct node *n = node;
    struct world *w = n->w;
    uint64_t child = w->children++;
    int hangs = fate_event(w, STREAM_CHILD, child, FAULT_CHILD_HANGS, 40, "child") ? 5 : 0;
    int step = resume(w, spec->folder), signum, dies = dies_at(w, spec->folder, child, step);
    char line[160];

    child_mem_emit(self, "{\"event\":\"phase\",\"phase\":\"training\"}");
    while (step < STEPS) {
        clock_sleep_ms(&n->clock, (int64_t)fate_below(w, STREAM_CHILD, 100000 + child, STEP_MS));
        if (n->dead) /* it dies with its parent */
            return -SIGKILL;
        if (child_mem_signalled(self, &signum)) {
            if (signum == SIGTERM && step > 0)
                save(self, spec->folder, step);
            return 75;
        }
        if (hangs && step >= hangs)
            continue;
        if (++step == dies)
            return die(w, spec->folder);
        snprintf(line, sizeof line, "{\"event\":\"step\",\"epoch\":1,\"step\":%d,\"loss\":1}",
                 step);
        child_mem_emit(self, line);
        if (step % 3 == 0)
            save(self, spec->folder, step);
    }
    put_artifact(spec->folder);
    child_mem_emit(self, "{\"event\":\"done\",\"steps\":10}");
    return 0;
}
