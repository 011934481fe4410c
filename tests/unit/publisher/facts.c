#include "tests/unit/publisher/facts.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void put(struct facts *f, const char *key, const struct buf *b)
{
    ok(buf_check(b, key, &e));
    ok(blob_put(f->blob, key, b->data, b->len, &e));
}

static void put_job(struct facts *f, const struct fact *w)
{
    struct job_gate gate;
    struct job_publish publish;
    struct job job;
    char key[KEY_MAX];
    struct buf b;

    job_init(&job);
    job_gate_init(&gate);
    job_publish_init(&publish);
    job.run = w->run;
    job.dataset = "news";
    job.model = w->model;
    job.backbone = "tiny";
    if (w->metric)
        gate.metric = w->metric;
    gate.min_gain = w->gain;
    job.gate = w->gain > 0 ? &gate : NULL;
    publish.presign_seconds = w->presign_s;
    publish.binary = w->binary;
    job.publish = &publish;
    buf_init(&b, 1 << 20);
    ok(job_write(&job, RECORD_JSON, &b, &e));
    ok(key_run(w->owner, w->run, RUN_JOB, key, &e));
    put(f, key, &b);
    buf_release(&b);
}

static void fill_manifest(const struct fact *w, struct run_manifest *m,
                          const struct job_parameters *p)
{
    static const struct record_number before[] = {{"map_at_k", 0.6}, {"recall_at_k", 0.7}};
    static const struct record_number after[] = {{"map_at_k", 0.75}, {"recall_at_k", 0.7}};

    run_manifest_init(m);
    m->owner = w->owner;
    m->run = w->run;
    m->attempt = 1;
    m->model = w->model;
    m->dataset = "news";
    m->created_ms = w->time_ms;
    m->snapshot_sha256 = HASH;
    m->backbone = "tiny";
    m->backbone_sha256 = HASH;
    m->parameters = p;
    m->before = before;
    m->after = after;
    m->before_count = m->after_count = 2;
    m->judged_by = "map_at_k";
    m->fingerprint = "tests";
    m->exact = true;
    m->dimension = 384;
    m->max_length = 128;
    m->normalized = true;
    m->train_documents = 80;
    m->eval_documents = 20;
    m->labels = 7;
}

static void put_manifest(struct facts *f, const struct fact *w, char hash[SHA256_HEX])
{
    unsigned char digest[SHA256_SIZE];
    struct run_file_entry files[2];
    struct job_parameters p;
    struct run_manifest m;
    char key[KEY_MAX];
    struct buf b;

    job_parameters_init(&p);
    fill_manifest(w, &m, &p);
    run_file_entry_init(&files[0]);
    run_file_entry_init(&files[1]);
    files[0].path = w->file ? w->file : "model/onnx/model.onnx";
    files[1].path = "beside.txt";
    files[0].size = files[1].size = 5;
    files[0].sha256 = files[1].sha256 = HASH;
    m.files = files;
    m.file_count = 2;
    buf_init(&b, 1 << 20);
    ok(run_manifest_write(&m, RECORD_JSON, &b, &e));
    sha256(b.data, b.len, digest);
    sha256_hex(digest, hash);
    ok(key_attempt_file(w->owner, w->run, 1, ATTEMPT_MANIFEST, key, &e));
    put(f, key, &b);
    buf_release(&b);
}

static void put_end(struct facts *f, const struct fact *w, const char *hash)
{
    struct run_end end;
    char key[KEY_MAX];
    struct buf b;

    run_end_init(&end);
    end.owner = w->owner;
    end.run = w->run;
    end.state = w->state ? w->state : JOB_FINISHED;
    end.attempt = 1;
    end.manifest_sha256 = end.state != JOB_FINISHED ? NULL : w->other_manifest ? HASH : hash;
    end.nonce = "n";
    end.time_ms = w->time_ms;
    buf_init(&b, 1 << 20);
    ok(run_end_write(&end, RECORD_JSON, &b, &e));
    ok(key_run(w->owner, w->run, RUN_END, key, &e));
    put(f, key, &b);
    buf_release(&b);
}

void facts_run(struct facts *f, const struct fact *what)
{
    struct fact w = *what;
    char key[KEY_MAX], hash[SHA256_HEX];

    w.owner = w.owner ? w.owner : "acme";
    w.model = w.model ? w.model : "search";
    w.time_ms = w.time_ms ? w.time_ms : clock_wall_ms(f->clock);
    ok(key_open(w.owner, w.run, key, &e));
    ok(blob_put(f->blob, key, "", 0, &e));
    put_job(f, &w);
    put_manifest(f, &w, hash);
    put_end(f, &w, hash);
}

void facts_send(struct facts *f, const char *topic, const char *key, const void *value, size_t n)
{
    const struct bus_message m = {.topic = topic,
                                  .partition = -1,
                                  .key = key,
                                  .key_len = key ? strlen(key) : 0,
                                  .value = value,
                                  .value_len = n};

    ok(bus_send(f->producer, &m, NULL, &e));
    ok(bus_flush(f->producer, 30000, &e));
}

void facts_done(struct facts *f, const char *owner, const char *run)
{
    struct run_done done;
    char topic[KEY_MAX], id[KEY_MAX];
    struct buf b;

    run_done_init(&done);
    done.owner = owner;
    done.run = run;
    done.state = JOB_FINISHED;
    done.attempt = 1;
    done.manifest_sha256 = HASH; /* never believed */
    done.time_ms = 1;
    buf_init(&b, 1 << 16);
    ok(run_done_write(&done, RECORD_JSON, &b, &e));
    topic_internal(&f->keys, TOPIC_DONE, topic);
    ok(key_run_id(owner, run, id, &e));
    facts_send(f, topic, id, b.data, b.len);
    buf_release(&b);
}

void facts_topics(struct facts *f, const char *owner)
{
    char models[KEY_MAX], current[KEY_MAX];
    const struct bus_topic topics[2] = {{.name = models, .partitions = 2},
                                        {.name = current, .partitions = 1}};

    ok(topic_of(&f->keys, TOPIC_MODELS, owner, models, &e));
    ok(topic_of(&f->keys, TOPIC_CURRENT, owner, current, &e));
    ok(bus_create_topics(f->bus, topics, 2, &e));
}

/* --- what a consumer sees --- */

static void look(const struct bus_message *m, const char *run, struct arena *a,
                 struct event_seen *seen)
{
    struct model_ready_header headers[16];
    struct model_ready event;
    char values[16][200];
    size_t i;

    assert_in_range(m->header_count, 1, 16);
    for (i = 0; i < m->header_count; i++) {
        snprintf(values[i], sizeof values[i], "%.*s", (int)m->headers[i].value_len,
                 (const char *)m->headers[i].value);
        headers[i] = (struct model_ready_header){m->headers[i].name, values[i]};
    }
    ok(model_ready_from(headers, m->header_count, m->value, m->value_len, a, &event, &e));
    assert_int_equal(m->key_len, strlen(event.data->model));
    if (run && strcmp(event.subject, run) != 0)
        return;
    seen->count++;
    seen->binary = m->header_count > 1;
    seen->event = event;
}

struct event_seen facts_events(struct facts *f, const char *owner, const char *run, struct arena *a)
{
    struct event_seen seen = {0};
    struct bus_message *m;
    char topic[KEY_MAX];
    int count, i, rc;
    int64_t at;

    ok(topic_of(&f->keys, TOPIC_MODELS, owner, topic, &e));
    ok(bus_partitions(f->bus, topic, &count, &e));
    for (i = 0; i < count; i++) {
        struct err e = ERR_INIT;

        for (at = 0; (rc = bus_read_at(f->bus, topic, i, at, &m, &e)) > 0;) {
            at = m->offset + 1;
            look(m, run, a, &seen);
            bus_read_free(f->bus, m);
        }
        if (rc < 0)
            fail_msg("%s", e.text);
    }
    return seen;
}

struct model_current facts_current(struct facts *f, const char *owner, const char *model,
                                   struct arena *a)
{
    struct model_current seen = {0};
    struct err why = ERR_INIT;
    struct bus_message *m;
    char topic[KEY_MAX];
    int64_t at = 0;

    ok(topic_of(&f->keys, TOPIC_CURRENT, owner, topic, &e));
    while (bus_read_at(f->bus, topic, 0, at, &m, &why) > 0) {
        at = m->offset + 1;
        if (m->key_len == strlen(model) && !memcmp(m->key, model, m->key_len))
            ok(model_current_read(a, m->value, m->value_len, RECORD_JSON, &seen, &e));
        bus_read_free(f->bus, m);
    }
    return seen;
}

bool facts_open(struct facts *f, const char *owner, const char *run)
{
    struct err why = ERR_INIT;
    char key[KEY_MAX];

    ok(key_open(owner, run, key, &e));
    return blob_head(f->blob, key, NULL, &why) == 0;
}
