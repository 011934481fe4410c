#include "tests/unit/trainer/world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/base/file.h"
#include "platform/base/log.h"
#include "platform/json/json.h"
#include "schemas/segment.h"
#include "tests/unit/trainer/faults.h"
#include "tests/unit/trainer/forged.h"
#include "trainer/checkpoint.h"

#define DATASET "news"

static void ok(int rc, const struct err *e)
{
    if (rc < 0)
        fail_msg("%s: %s", err_name(rc), e->text);
}

/* ---- the training process ---------------------------------------------------------------------
 */

static void put_local(const char *folder, const char *name, const char *text)
{
    struct err e = ERR_INIT;

    ok(forged_put(folder, name, text, &e), &e);
}

static void put_artifact(const struct world *w, const char *folder, uint64_t weights)
{
    char text[64], path[512];
    struct err e = ERR_INIT;

    snprintf(text, sizeof text, "weights %llx", (unsigned long long)weights);
    if (w->script == PLAY_LINK) {
        put_local(folder, "out/onnx/other", text);
        snprintf(path, sizeof path, "%s/out/onnx/model.onnx", folder);
        assert_int_equal(symlink("/etc/hostname", path), 0);
    } else {
        put_local(folder, "out/onnx/model.onnx", text);
    }
    ok(forged_manifest(folder, text, &e), &e);
}

static int newest_checkpoint(const struct world *w, const char *folder)
{
    char path[512], text[64];
    struct err e = ERR_INIT;
    struct buf b;
    int step;

    for (step = w->steps; step > 0; step--) {
        snprintf(path, sizeof path, "%s/checkpoints/" CHECKPOINT_NAME, folder, (long long)step);
        buf_init(&b, 1 << 10);
        if (file_read(path, &b, &e) == 0) {
            snprintf(text, sizeof text, "%llx", (unsigned long long)forged_weights(step));
            assert_string_equal(b.data, text);
            buf_release(&b);
            return step;
        }
        buf_release(&b);
    }
    return 0;
}

static void save(struct child *self, const char *folder, int step)
{
    char name[64], text[64], line[96];

    snprintf(name, sizeof name, "checkpoints/" CHECKPOINT_NAME, (long long)step);
    snprintf(text, sizeof text, "%llx", (unsigned long long)forged_weights(step));
    put_local(folder, name, text);
    snprintf(line, sizeof line, "{\"event\":\"checkpoint\",\"step\":%d}", step);
    child_mem_emit(self, line);
}

static void garbage(struct child *self)
{
    child_mem_emit(self, "no json");
    child_mem_emit(self, "{\"event\":7}");
    child_mem_emit(self, "{\"event\":\"step\",\"step\":-5,\"loss\":\"x\"}");
    child_mem_emit(self, "{\"event\":\"checkpoint\",\"step\":999999}");
    child_mem_emit(self, "{\"event\":\"checkpoint\",\"step\":-1}");
    child_mem_emit(self, "{\"event\":\"phase\",\"phase\":\"pushing\"}");
    child_mem_emit(self, "{\"event\":\"eval\",\"metrics\":[1,2]}");
    child_mem_emit(self, "\xff\xfe{");
}

static int play_child(void *arg, struct child *self, const struct child_spec *spec)
{
    struct world *w = arg;
    char line[160];
    int step, first = newest_checkpoint(w, spec->folder);

    w->children++;
    w->resumed += first > 0;
    if (w->script == PLAY_GARBAGE)
        garbage(self);
    if (w->script == PLAY_REFUSE) {
        child_mem_emit(self, "{\"event\":\"error\",\"code\":\"CONFIG\",\"text\":\"all documents "
                             "have one label\"}");
        return 78;
    }
    child_mem_emit(self, "{\"event\":\"phase\",\"phase\":\"training\"}");
    for (step = first + 1; step <= w->steps; step++) {
        clock_sleep_ms(w->clock, w->step_ms);
        if (child_mem_signalled(self, NULL)) {
            save(self, spec->folder, step - 1);
            return 75;
        }
        snprintf(line, sizeof line,
                 "{\"event\":\"step\",\"epoch\":1,\"epochs\":1,\"step\":%d,\"steps\":%d,\"loss\":"
                 "%g}",
                 step, w->steps, 1.0 / step);
        child_mem_emit(self, line);
        if (step % 3 == 0)
            save(self, spec->folder, step);
        if (step > 3 && (w->script == PLAY_CRASH || (w->script == PLAY_CRASH_ONCE && !first))) {
            child_mem_complain(self, "something broke");
            return -SIGSEGV;
        }
    }
    put_artifact(w, spec->folder, forged_weights(w->steps));
    if (w->script == PLAY_WORSE)
        child_mem_emit(self, "{\"event\":\"worse\",\"text\":\"IT GOT WORSE\"}");
    child_mem_emit(self, "{\"event\":\"done\",\"steps\":10}");
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void no_line(void *arg, const char *line, unsigned long len)
{
    if (getenv("TRAINER_TEST_LOG"))
        fwrite(line, 1, len, stderr);
}

static void delivered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                      const char *why)
{
}

/* The stores, around a clock and processes that are there. */
static void open_stores(struct world *w)
{
    static const struct bus_topic topics[] = {{"tripline.jobs." OWNER, 1, NULL},
                                              {"tripline.docs." OWNER "." DATASET, 1, NULL},
                                              {"tripline.rejected." OWNER, 1, NULL},
                                              {"tripline.done", 1, NULL}};
    struct bus_producer_options o = {0};
    struct err e = ERR_INIT;

    ok(bus_mem(&w->bus, w->clock, &e), &e);
    ok(blob_mem(&w->blob, w->clock, &e), &e);
    ok(board_mem(&w->board, w->clock, &e), &e);
    ok(keys_init(&w->keys, NULL, &e), &e);
    ok(bus_create_topics(w->bus, topics, 4, &e), &e);
    ok(bus_producer_open(w->bus, &o, delivered, NULL, &w->producer, &e), &e);
    /* in memory where there is such a folder: every small file is synced */
    snprintf(w->folder, sizeof w->folder, "%s/trainer-test-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(w->folder));
    ok(blob_put(w->blob, "backbones/tiny/onnx/model.onnx", "a model", 7, &e), &e);
    ok(blob_put(w->blob, "backbones/tiny/tokenizer.json", "{}", 2, &e), &e);
}

static void begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    log_init("test", LOG_DEBUG);
    log_sink(no_line, NULL);
    w->steps = 10;
    w->step_ms = 500;
    w->segment_docs = 4;
    w->classes = 3;
    w->wait_ms = 60000;
}

void world_open(struct world *w, uint64_t seed)
{
    struct err e = ERR_INIT;

    begin(w);
    ok(clock_sim(&w->clock, seed, &e), &e);
    ok(child_mem(&w->child, w->clock, play_child, w, &e), &e);
    open_stores(w);
}

void world_open_real(struct world *w, const char *program)
{
    struct err e = ERR_INIT;

    begin(w);
    w->program = program;
    ok(clock_real(&w->clock, &e), &e);
    ok(child_exec(&w->child, w->clock, &e), &e);
    open_stores(w);
}

void world_close(struct world *w)
{
    struct err e = ERR_INIT;

    bus_producer_free(w->producer);
    child_port_free(w->child);
    board_free(w->board);
    blob_free(w->blob);
    bus_free(w->bus);
    clock_free(w->clock);
    ok(file_remove_tree(w->folder, &e), &e);
}

/* ---- input ------------------------------------------------------------------------------------
 */

static void send(struct world *w, const char *topic, const char *key, const char *value)
{
    struct bus_message m = {.topic = topic,
                            .partition = 0,
                            .key = key,
                            .key_len = key ? strlen(key) : 0,
                            .value = value,
                            .value_len = strlen(value)};
    struct err e = ERR_INIT;

    ok(bus_send(w->producer, &m, NULL, &e), &e);
    ok(bus_flush(w->producer, 1000, &e), &e);
}

void world_message(struct world *w, const char *key, const char *value)
{
    send(w, "tripline.jobs." OWNER, key, value);
}

void world_job(struct world *w, const char *run, const char *more)
{
    char text[512];

    snprintf(text, sizeof text,
             "{\"run\":\"%s\",\"dataset\":\"" DATASET
             "\",\"model\":\"search\",\"backbone\":\"tiny\"%s}",
             run, more);
    world_message(w, run, text);
}

void world_cancel(struct world *w, const char *run)
{
    char text[128];

    snprintf(text, sizeof text, "{\"kind\":\"cancel\",\"run\":\"%s\"}", run);
    world_message(w, run, text);
}

static void finish_segment(struct world *w, const struct segment_name *name,
                           struct segment_writer *writer)
{
    char key[KEY_MAX], sha256[SHA256_HEX];
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, SEGMENT_BYTES_MAX);
    ok(segment_writer_finish(writer, &b, sha256, &e), &e);
    ok(key_segment(name, key, &e), &e);
    ok(blob_create(w->blob, key, b.data, b.len, &e), &e);
    buf_release(&b);
    segment_writer_free(writer);
}

void world_close_chain(struct world *w, int end)
{
    struct segment_name name = {
        .owner = OWNER, .dataset = DATASET, .incarnation = w->incarnation, .first = end};
    struct segment_writer *writer = NULL;
    struct err e = ERR_INIT;

    ok(segment_writer_new(&writer, &name, "n", 1, &e), &e);
    ok(segment_writer_close(writer, &e), &e);
    finish_segment(w, &name, writer);
}

static void put_segment(struct world *w, int first, int next)
{
    struct segment_name name = {
        .owner = OWNER, .dataset = DATASET, .incarnation = w->incarnation, .first = first};
    struct segment_writer *writer = NULL;
    char id[32], value[DOCUMENT_LABEL_MAX + 128];
    struct err e = ERR_INIT;
    struct arena a;
    int i;

    ok(segment_writer_new(&writer, &name, "n", 1, &e), &e);
    arena_init(&a, 1 << 20);
    for (i = first; i < next; i++) {
        struct document_message m = {.key = id, .value = value};
        enum document_kind kind;
        struct document d;

        m.key_len = (size_t)snprintf(id, sizeof id, "d%d", i);
        m.value_len =
            (size_t)snprintf(value, sizeof value, "{\"text\":\"text %d\",\"label\":\"l%0*d\"}", i,
                             w->label_bytes, i % w->classes);
        arena_reset(&a);
        ok(document_admit(&m, OWNER, &a, &kind, &d, &e), &e);
        ok(segment_writer_add(writer, i, 1000 + i, &m, kind, &d, &e), &e);
    }
    finish_segment(w, &name, writer);
    arena_release(&a);
}

void world_documents(struct world *w, int docs, int ingested)
{
    int64_t low, high;
    struct err e = ERR_INIT;
    int at = 0;

    ok(bus_watermarks(w->bus, "tripline.docs." OWNER "." DATASET, 0, &low, &high, &e), &e);
    for (; high < docs; high++)
        send(w, "tripline.docs." OWNER "." DATASET, "k", "{}");
    while (at < ingested) {
        int next = at + w->segment_docs < ingested ? at + w->segment_docs : ingested;
        struct segment_name name = {
            .owner = OWNER, .dataset = DATASET, .incarnation = w->incarnation, .first = at};
        char key[KEY_MAX];

        ok(key_segment(&name, key, &e), &e);
        if (!world_has(w, key))
            put_segment(w, at, next);
        at = next;
    }
}

/* ---- trainers ---------------------------------------------------------------------------------
 */

static void run_node(void *arg)
{
    struct node *n = arg;

    n->rc = trainer_run(n->trainer, &n->e);
}

void node_start(struct node *n, struct world *w, const char *name, long crash_at)
{
    struct trainer_options o;
    struct trainer_ports p = {.clock = w->clock};
    struct err e = ERR_INIT;

    memset(n, 0, sizeof *n);
    n->w = w;
    n->crash_at = crash_at;
    snprintf(n->work, sizeof n->work, "%s/%s", w->folder, name);
    faults_install(n);
    p.blob = &n->blob;
    p.board = &n->board;
    p.bus = &n->bus;
    p.child = &n->child;
    trainer_options_init(&o);
    o.name = name;
    o.work = n->work;
    o.program = w->program ? w->program : "/bin/true";
    o.lease_ms = 3000;
    o.heartbeat_ms = 500;
    o.poll_ms = 200;
    o.sweep_ms = 10000;
    o.wait_ms = w->wait_ms;
    o.log_ms = 1000;
    if (w->checkpoints)
        o.checkpoints = w->checkpoints;
    ok(trainer_new(&n->trainer, &o, &p, &e), &e);
    ok(clock_go(w->clock, name, run_node, n, &n->task, &e), &e);
}

void node_stop(struct node *n)
{
    if (!n->trainer)
        return;
    trainer_stop(n->trainer);
    clock_join(n->w->clock, n->task);
    trainer_free(n->trainer);
    n->trainer = NULL;
}

void world_run(struct world *w, int64_t ms)
{
    if (w->program)
        clock_sleep_ms(w->clock, ms);
    else
        clock_sim_run(w->clock, clock_mono_ms(w->clock) + ms);
}

/* ---- looking ----------------------------------------------------------------------------------
 */

bool world_has(struct world *w, const char *key)
{
    struct err e = ERR_INIT;

    return blob_head(w->blob, key, NULL, &e) == 0;
}

static int count(void *arg, const char *key, uint64_t size)
{
    ++*(int *)arg;
    return 0;
}

int world_count(struct world *w, const char *prefix)
{
    struct err e = ERR_INIT;
    int n = 0;

    ok(blob_list(w->blob, prefix, NULL, count, &n, &e), &e);
    return n;
}

int world_messages(struct world *w, const char *topic)
{
    int64_t low, high;
    struct err e = ERR_INIT;

    ok(bus_watermarks(w->bus, topic, 0, &low, &high, &e), &e);
    return (int)(high - low);
}

static void get(struct world *w, const char *key, struct buf *b)
{
    struct err e = ERR_INIT;

    buf_init(b, 1 << 24);
    ok(blob_get(w->blob, key, b, &e), &e);
}

struct run_end world_end(struct world *w, const char *run, struct arena *a)
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct run_end end;
    struct buf b;

    ok(key_run(OWNER, run, RUN_END, key, &e), &e);
    get(w, key, &b);
    ok(run_end_read(a, b.data, b.len, RECORD_SNIFF, &end, &e), &e);
    buf_release(&b);
    return end;
}

void world_snapshot(struct world *w, const char *run, struct arena *a, struct snapshot *out)
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct buf b;

    ok(key_run(OWNER, run, RUN_SNAPSHOT, key, &e), &e);
    get(w, key, &b);
    ok(snapshot_read(a, b.data, b.len, RECORD_SNIFF, out, &e), &e);
    buf_release(&b);
}

int world_state(struct world *w, const char *run)
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct arena a;
    int state;

    ok(key_run(OWNER, run, RUN_END, key, &e), &e);
    if (!world_has(w, key))
        return -1;
    arena_init(&a, 1 << 20);
    state = world_end(w, run, &a).state;
    arena_release(&a);
    return state;
}

int world_until_end(struct world *w, const char *run, int64_t ms)
{
    int64_t until = clock_mono_ms(w->clock) + ms;

    while (world_state(w, run) < 0 && clock_mono_ms(w->clock) < until)
        world_run(w, 500);
    return world_state(w, run);
}

void world_check_finished(struct world *w, const char *run)
{
    char key[KEY_MAX], sha256[SHA256_HEX], text[64];
    struct err e = ERR_INIT;
    struct run_manifest m;
    struct run_end end;
    struct arena a;
    struct buf b;

    arena_init(&a, 1 << 24);
    end = world_end(w, run, &a);
    assert_int_equal(end.state, JOB_FINISHED);
    ok(key_attempt_file(OWNER, run, (uint64_t)end.attempt, ATTEMPT_MANIFEST, key, &e), &e);
    get(w, key, &b);
    sha256_of(b.data, b.len, sha256);
    assert_string_equal(sha256, end.manifest_sha256);
    ok(run_manifest_read(&a, b.data, b.len, RECORD_SNIFF, &m, &e), &e);
    buf_release(&b);
    assert_string_equal(m.owner, OWNER);
    assert_string_equal(m.run, run);
    assert_string_equal(m.model, "search");
    assert_int_equal(m.attempt, end.attempt);
    assert_int_equal(m.file_count, 2);
    assert_string_equal(m.files[0].path, "model/onnx/model.onnx");
    ok(key_attempt_file(OWNER, run, (uint64_t)end.attempt, m.files[0].path, key, &e), &e);
    get(w, key, &b);
    snprintf(text, sizeof text, "weights %llx", (unsigned long long)forged_weights(w->steps));
    assert_string_equal(b.data, text);
    buf_release(&b);
    arena_release(&a);
}

char *world_board(struct world *w, const char *run, const char *field, char out[256])
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct buf b;

    buf_init(&b, 255);
    out[0] = '\0';
    ok(key_board(&w->keys, BOARD_STATUS, OWNER, run, key, &e), &e);
    if (board_get(w->board, key, field, &b, &e) == 0)
        memcpy(out, b.data, b.len + 1);
    buf_release(&b);
    return out;
}
