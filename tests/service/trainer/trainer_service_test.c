/* The real program among real servers, with its real training process on a tiny model: killed at
 * either end, drained, refused; what is resumed ends in the same bytes. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "platform/bus/bus.h"
#include "platform/clock/clock.h"
#include "platform/json/json.h"
#include "schemas/keys.h"
#include "schemas/run.h"
#include "schemas/segment.h"
#include "trainer/job.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

enum { DOCS = 96, PATIENCE_MS = 90000, CHECKPOINT_STEPS = 100 };

static struct {
    struct clock *clock;
    struct bus *bus;
    struct blob *blob;
    struct board *board;
    struct bus_producer *producer;
    struct keys keys;
    char prefix[40], owner[40], folder[64];
} t;

static const char *from_env(const char *name)
{
    const char *value = getenv(name);

    if (!value)
        fail_msg("%s is not set: run this by scripts/with-servers.sh", name);
    return value;
}

static void delivered(void *arg, void *token, int code, int32_t partition, int64_t offset,
                      const char *why)
{
}

static void open_ports(void)
{
    struct bus_kafka_options k = {.brokers = from_env("TRIPLINE_KAFKA")};
    struct blob_s3_options s = {.endpoint = from_env("TRIPLINE_S3_ENDPOINT"),
                                .region = from_env("TRIPLINE_S3_REGION"),
                                .bucket = from_env("TRIPLINE_S3_BUCKET"),
                                .access_key = from_env("AWS_ACCESS_KEY_ID"),
                                .secret_key = from_env("AWS_SECRET_ACCESS_KEY")};
    struct board_redis_options r = {.address = from_env("TRIPLINE_REDIS"),
                                    .username = from_env("TRIPLINE_REDIS_USERNAME"),
                                    .password = from_env("TRIPLINE_REDIS_PASSWORD")};
    struct bus_producer_options p = {0};

    ok(clock_real(&t.clock, &e));
    ok(bus_kafka(&t.bus, &k, t.clock, &e));
    ok(blob_s3(&t.blob, &s, t.clock, &e));
    ok(board_redis(&t.board, &r, t.clock, &e));
    ok(bus_producer_open(t.bus, &p, delivered, NULL, &t.producer, &e));
}

static void create_topics(void)
{
    char jobs[KEY_MAX], docs[KEY_MAX], flat[KEY_MAX], done[KEY_MAX];
    struct bus_topic topics[] = {
        {jobs, 1, NULL}, {docs, 1, NULL}, {flat, 1, NULL}, {done, 1, NULL}};

    ok(topic_of(&t.keys, TOPIC_JOBS, t.owner, jobs, &e));
    ok(topic_docs(&t.keys, t.owner, "news", docs, &e));
    ok(topic_docs(&t.keys, t.owner, "flat", flat, &e));
    topic_internal(&t.keys, TOPIC_DONE, done);
    ok(bus_create_topics(t.bus, topics, 4, &e));
}

/* Every letter is a token, so any word of letters is known. */
static void put_tokenizer(void)
{
    static const char *const special[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    char key[KEY_MAX];
    struct buf b;
    int i;

    buf_init(&b, 1 << 16);
    buf_str(&b, "{\"added_tokens\":[");
    for (i = 0; i < 5; i++)
        buf_printf(&b,
                   "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
                   "\"rstrip\":false,\"normalized\":false,\"special\":true}",
                   i ? "," : "", i, special[i]);
    buf_str(&b, "],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
                "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
                "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":"
                "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]\",\"type_id\""
                ":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":"
                "\"[SEP]\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"[CLS]\":{\"id\":"
                "\"[CLS]\",\"ids\":[2],\"tokens\":[\"[CLS]\"]},\"[SEP]\":{\"id\":\"[SEP]\",\"ids\":"
                "[3],\"tokens\":[\"[SEP]\"]}}},\"model\":{\"type\":\"WordPiece\",\"unk_token\":"
                "\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,"
                "\"vocab\":{");
    for (i = 0; i < 5; i++)
        buf_printf(&b, "\"%s\":%d,", special[i], i);
    for (i = 0; i < 26; i++)
        buf_printf(&b, "\"%c\":%d,\"##%c\":%d%s", 'a' + i, 5 + 2 * i, 'a' + i, 6 + 2 * i,
                   i < 25 ? "," : "}}}");
    ok(key_backbone_file(t.owner, "tiny", "tokenizer.json", key, &e));
    ok(blob_put(t.blob, key, b.data, b.len, &e));
    buf_release(&b);
    ok(key_backbone_file(t.owner, "tiny", "onnx/model.onnx", key, &e));
    ok(blob_put_file(t.blob, key, "tests/golden/engine/bert-new.onnx", &e));
}

/* A document of the class i % labels: its words begin with the class's letter, mostly. */
static void make_document(int i, int labels, char *text, size_t size)
{
    unsigned v = (unsigned)i * 2654435761u;

    snprintf(text, size, "{\"label\":\"l%d\",\"text\":\"%c%c %c%c %c%c\",\"split\":\"%s\"}",
             i % labels, 'a' + i % labels, 'a' + (int)(v >> 8) % 26, 'a' + (int)(v >> 13) % 26,
             'a' + i % labels, 'a' + (int)(v >> 18) % 26, 'a' + (int)(v >> 23) % 26,
             i % 6 == 5 ? "eval" : "train");
}

static void put_documents(const char *dataset, int labels)
{
    struct segment_name name = {.first = 0};
    struct segment_writer *w = NULL;
    struct arena a;
    struct buf b;
    char topic[KEY_MAX], key[KEY_MAX], id[32], text[160], sha256[SHA256_HEX];
    int i;

    snprintf(name.owner, sizeof name.owner, "%s", t.owner);
    snprintf(name.dataset, sizeof name.dataset, "%s", dataset);
    ok(topic_docs(&t.keys, t.owner, dataset, topic, &e));
    ok(segment_writer_new(&w, &name, "n", 1, &e));
    arena_init(&a, 16 << 20);
    for (i = 0; i < DOCS; i++) {
        struct document_message m = {.key = id, .value = text};
        struct bus_message out = {.topic = topic, .partition = 0, .key = id, .value = text};
        enum document_kind kind;
        struct document d;

        make_document(i, labels, text, sizeof text);
        out.key_len = m.key_len = (size_t)snprintf(id, sizeof id, "d%d", i);
        out.value_len = m.value_len = strlen(text);
        ok(bus_send(t.producer, &out, NULL, &e));
        ok(document_admit(&m, t.owner, &a, &kind, &d, &e));
        ok(segment_writer_add(w, i, 1000 + i, &m, kind, &d, &e));
    }
    ok(bus_flush(t.producer, 30000, &e));
    buf_init(&b, SEGMENT_BYTES_MAX);
    ok(segment_writer_finish(w, &b, sha256, &e));
    ok(key_segment(&name, key, &e));
    ok(blob_create(t.blob, key, b.data, b.len, &e));
    buf_release(&b);
    arena_release(&a);
    segment_writer_free(w);
}

static int set_up(void **state)
{
    char nonce[33];

    open_ports();
    clock_nonce(t.clock, nonce);
    snprintf(t.prefix, sizeof t.prefix, "tr-%.10s", nonce);
    snprintf(t.owner, sizeof t.owner, "o-%.10s", nonce);
    snprintf(t.folder, sizeof t.folder, "/tmp/trainer-service-XXXXXX");
    assert_non_null(mkdtemp(t.folder));
    ok(keys_init(&t.keys, t.prefix, &e));
    create_topics();
    put_tokenizer();
    put_documents("news", 4);
    put_documents("flat", 1);
    return 0;
}

static int tear_down(void **state)
{
    bus_producer_free(t.producer);
    board_free(t.board);
    blob_free(t.blob);
    bus_free(t.bus);
    clock_free(t.clock);
    ok(file_remove_tree(t.folder, &e));
    return 0;
}

/* ---- programs ---------------------------------------------------------------------------------
 */

/* With up to two arguments more; NULL: none. */
static pid_t launch_with(const char *name, const char *more, const char *last)
{
    char prefix[80], work[160], log[160];
    pid_t pid;

    snprintf(prefix, sizeof prefix, "tripline.prefix=%s", t.prefix);
    snprintf(work, sizeof work, "trainer.work=%s/%s", t.folder, name);
    snprintf(log, sizeof log, "%s/%s.log", t.folder, name);
    if ((pid = fork()) == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 2);
        execl(TRAINER, TRAINER, "--set", prefix, "--set", work, "--set", "trainer.lease=2s",
              "--set", "trainer.heartbeat=300ms", "--set", "trainer.poll=200ms", "--set",
              "trainer.sweep=3s", "--set", "trainer.log_delay=300ms", "--set", "trainer.threads=1",
              "--set", "http.address=127.0.0.1:0", more, last, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static pid_t launch(const char *name, const char *more)
{
    return launch_with(name, more, NULL);
}

static int end_of(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool log_says(const char *name, const char *text)
{
    struct err e = ERR_INIT;
    char path[160];
    struct buf b;
    bool says;

    snprintf(path, sizeof path, "%s/%s.log", t.folder, name);
    buf_init(&b, 1 << 24);
    says = file_read(path, &b, &e) == 0 && strstr(b.data, text);
    buf_release(&b);
    return says;
}

static void await_log(const char *name, const char *text)
{
    int64_t until = clock_mono_ms(t.clock) + PATIENCE_MS;

    while (!log_says(name, text)) {
        if (clock_mono_ms(t.clock) > until)
            fail_msg("%s never said '%s'", name, text);
        clock_sleep_ms(t.clock, 50);
    }
}

/* The process that `parent` started; 0: none now. */
static pid_t child_of(pid_t parent)
{
    char path[64], line[256];
    FILE *list;
    pid_t found = 0;

    snprintf(path, sizeof path, "ps -o pid= --ppid %d", (int)parent);
    if (!(list = popen(path, "r")))
        return 0;
    if (fgets(line, sizeof line, list))
        found = (pid_t)atoi(line);
    pclose(list);
    return found;
}

/* ---- runs -------------------------------------------------------------------------------------
 */

static void send_job(const char *run, const char *dataset, int epochs)
{
    char topic[KEY_MAX], text[512];
    struct bus_message m = {.topic = topic, .partition = -1, .key = run, .value = text};

    ok(topic_of(&t.keys, TOPIC_JOBS, t.owner, topic, &e));
    m.key_len = strlen(run);
    m.value_len = (size_t)snprintf(
        text, sizeof text,
        "{\"run\":\"%s\",\"dataset\":\"%s\",\"model\":\"search\",\"backbone\":\"tiny\","
        "\"parameters\":{\"epochs\":%d,\"batch_classes\":4,\"items_per_class\":4,\"max_length\":16,"
        "\"checkpoint_steps\":%d,\"learning_rate\":0.001}}",
        run, dataset, epochs, CHECKPOINT_STEPS);
    ok(bus_send(t.producer, &m, NULL, &e));
    ok(bus_flush(t.producer, 30000, &e));
}

static int get_end(const char *run, struct arena *a, struct run_end *end)
{
    char key[KEY_MAX];
    struct err e = ERR_INIT;
    struct buf b;
    int rc = key_run(t.owner, run, RUN_END, key, &e);

    assert_int_equal(rc, 0);
    buf_init(&b, 1 << 20);
    if ((rc = blob_get(t.blob, key, &b, &e)) == 0)
        rc = run_end_read(a, b.data, b.len, RECORD_SNIFF, end, &e);
    buf_release(&b);
    return rc;
}

static struct run_end await_end(const char *run, struct arena *a)
{
    int64_t until = clock_mono_ms(t.clock) + PATIENCE_MS;
    struct run_end end;

    while (get_end(run, a, &end) < 0) {
        if (clock_mono_ms(t.clock) > until)
            fail_msg("%s has no end", run);
        clock_sleep_ms(t.clock, 100);
    }
    return end;
}

static int stop_at_one(void *arg, const char *key, uint64_t size)
{
    ++*(int *)arg;
    return 0;
}

/* Until attempt n has a checkpoint in S3. */
static void await_checkpoint(const char *run, uint64_t n)
{
    int64_t until = clock_mono_ms(t.clock) + PATIENCE_MS;
    char prefix[KEY_MAX];
    int count = 0;

    ok(key_attempt_prefix(t.owner, run, n, prefix, &e));
    strncat(prefix, "checkpoints/", sizeof prefix - strlen(prefix) - 1);
    while (count == 0) {
        if (clock_mono_ms(t.clock) > until)
            fail_msg("attempt %d of %s has no checkpoint", (int)n, run);
        clock_sleep_ms(t.clock, 30);
        ok(blob_list(t.blob, prefix, NULL, stop_at_one, &count, &e));
    }
}

/* SHA-256 of the model's weights as the end's manifest has it. */
static void model_hash(const char *run, char sha256[SHA256_HEX], struct run_end *end)
{
    struct run_manifest m;
    char key[KEY_MAX], hex[SHA256_HEX];
    struct arena a;
    struct buf b;
    size_t i;

    arena_init(&a, 1 << 24);
    *end = await_end(run, &a);
    if (end->state != JOB_FINISHED)
        fail_msg("%s: %s", run, end->reason);
    ok(key_attempt_file(t.owner, run, (uint64_t)end->attempt, ATTEMPT_MANIFEST, key, &e));
    buf_init(&b, 1 << 24);
    ok(blob_get(t.blob, key, &b, &e));
    sha256_of(b.data, b.len, hex);
    assert_string_equal(hex, end->manifest_sha256);
    ok(run_manifest_read(&a, b.data, b.len, RECORD_SNIFF, &m, &e));
    assert_true(m.exact);
    assert_int_equal(m.before_count, 7);
    assert_int_equal(m.after_count, 7);
    assert_string_equal(m.run, run);
    sha256[0] = '\0';
    for (i = 0; i < m.file_count; i++) {
        ok(key_attempt_file(t.owner, run, (uint64_t)end->attempt, m.files[i].path, key, &e));
        buf_reset(&b);
        ok(blob_get(t.blob, key, &b, &e));
        sha256_of(b.data, b.len, hex);
        assert_string_equal(hex, m.files[i].sha256);
        if (strcmp(m.files[i].path, "model/onnx/model.onnx") == 0)
            memcpy(sha256, hex, sizeof hex);
    }
    assert_int_equal(strlen(sha256), SHA256_HEX - 1);
    buf_release(&b);
    arena_release(&a);
}

#define EPOCHS 700

static void killed_runs_end_in_the_same_bytes(void **state)
{
    char calm[SHA256_HEX], killed[SHA256_HEX];
    pid_t a = launch("a", NULL), b, child;
    struct run_end end;

    send_job("calm", "news", EPOCHS);
    model_hash("calm", calm, &end);
    assert_int_equal(end.attempt, 1);

    send_job("killed", "news", EPOCHS);
    await_checkpoint("killed", 1);
    kill(a, SIGKILL);
    assert_int_equal(end_of(a), -SIGKILL);
    b = launch("b", NULL);
    await_checkpoint("killed", 2);
    child = child_of(b);
    assert_true(child > 0);
    kill(child, SIGKILL);
    model_hash("killed", killed, &end);
    assert_int_equal(end.attempt, 3);
    assert_string_equal(killed, calm);

    kill(b, SIGTERM);
    assert_int_equal(end_of(b), 0);
}

static void drain_hands_over(void **state)
{
    char calm[SHA256_HEX], moved[SHA256_HEX], key[KEY_MAX];
    pid_t a = launch("c", NULL), b;
    struct run_end end;

    send_job("moved", "news", EPOCHS);
    await_checkpoint("moved", 1);
    kill(a, SIGTERM);
    assert_int_equal(end_of(a), 0);
    ok(key_attempt_file(t.owner, "moved", 1, ATTEMPT_RELEASED, key, &e));
    ok(blob_head(t.blob, key, NULL, &e));
    b = launch("d", NULL);
    model_hash("moved", moved, &end);
    assert_int_equal(end.attempt, 2);
    model_hash("calm", calm, &end);
    assert_string_equal(moved, calm);
    kill(b, SIGTERM);
    assert_int_equal(end_of(b), 0);
}

struct saved {
    int64_t steps[256], last;
    int count;
};

static void note_line(struct saved *s, const char *line, size_t n)
{
    const char *event;
    json_t *v;

    if (n == 0)
        return;
    ok(json_parse(line, n, NULL, &v, &e));
    event = json_string_value(json_object_get(v, "event"));
    if (event && strcmp(event, "checkpoint") == 0 && s->count < 256)
        s->steps[s->count++] = json_integer_value(json_object_get(v, "step"));
    if (event && strcmp(event, "done") == 0)
        s->last = json_integer_value(json_object_get(v, "steps"));
    json_decref(v);
}

static int read_log(void *arg, const char *key, uint64_t size)
{
    const char *at, *end;
    struct buf b;

    buf_init(&b, size + 1);
    ok(blob_get(t.blob, key, &b, &e));
    for (at = b.data; (end = strchr(at, '\n')); at = end + 1)
        note_line(arg, at, (size_t)(end - at));
    buf_release(&b);
    return 0;
}

/* Checkpoints of the first attempt in S3, as its log has them, that the job's steps do not explain.
 */
static int by_time(const char *run)
{
    struct saved s = {.last = 0};
    char prefix[KEY_MAX];
    int i, n = 0;

    ok(key_attempt_prefix(t.owner, run, 1, prefix, &e));
    strncat(prefix, "logs/", sizeof prefix - strlen(prefix) - 1);
    ok(blob_list(t.blob, prefix, NULL, read_log, &s, &e));
    assert_true(s.last > 0);
    for (i = 0; i < s.count; i++)
        n += s.steps[i] % CHECKPOINT_STEPS != 0 && s.steps[i] != s.last;
    return n;
}

/* The setting reaches the training process. */
static void checkpoints_by_time(void **state)
{
    static const struct {
        const char *run, *setting;
        bool more;
    } cases[] = {{"often", "trainer.checkpoint=1ms", true},
                 {"hourly", "trainer.checkpoint=1h", false},
                 {"never", "trainer.checkpoint=0s", false}};
    char sha256[SHA256_HEX];
    struct run_end end;
    size_t i;
    pid_t a;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        a = launch_with(cases[i].run, "--set", cases[i].setting);
        send_job(cases[i].run, "news", 120);
        model_hash(cases[i].run, sha256, &end);
        kill(a, SIGTERM);
        assert_int_equal(end_of(a), 0);
        assert_int_equal(end.attempt, 1);
        assert_int_equal(by_time(cases[i].run) > 0, cases[i].more);
    }
}

static void bad_data_fails_at_once(void **state)
{
    pid_t a = launch("e", NULL);
    struct run_end end;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    send_job("flat", "flat", 1);
    end = await_end("flat", &arena);
    assert_int_equal(end.state, JOB_FAILED);
    assert_int_equal(end.attempt, 1);
    assert_non_null(strstr(end.reason, "label"));
    arena_release(&arena);
    kill(a, SIGTERM);
    assert_int_equal(end_of(a), 0);
}

static void one_folder_one_process(void **state)
{
    pid_t a = launch("f", NULL), b;

    await_log("f", "\"sandbox.group\""); /* the folder is taken next */
    clock_sleep_ms(t.clock, 500);
    b = launch("f", NULL);
    assert_int_equal(end_of(b), 78);
    kill(a, SIGTERM);
    assert_int_equal(end_of(a), 0);
}

/* It says of each guard whether it holds here. */
static void check_names_the_guards(void **state)
{
    static const char *const guards[] = {"calls", "files", "network", "group"};
    char yes[64], no[64];
    size_t i;

    assert_int_equal(end_of(launch("g", "--check")), 0);
    for (i = 0; i < 4; i++) {
        snprintf(yes, sizeof yes, "sandbox: %s: yes\n", guards[i]);
        snprintf(no, sizeof no, "sandbox: %s: no: ", guards[i]);
        assert_true(log_says("g", yes) != log_says("g", no));
    }
    assert_true(log_says("g", "settings and servers are fine"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_runs_end_in_the_same_bytes),
        cmocka_unit_test(drain_hands_over),
        cmocka_unit_test(checkpoints_by_time),
        cmocka_unit_test(bad_data_fails_at_once),
        cmocka_unit_test(one_folder_one_process),
        cmocka_unit_test(check_names_the_guards),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
