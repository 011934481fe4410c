/*
 * The walk: documents pushed, ingested, trained on, announced, pulled; and the
 * same while ingest, the worker, its child and the publisher are killed. What is in
 * S3 is what was accepted, there is one event a run, and the interrupted run's
 * weights are the undisturbed one's.
 */
#include "e2e.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "platform/json/json.h"
#include "schemas/run.h"
#include "tests/unit/ingest/chain_check.h"

enum { BULK = 30000, NEWS = 96, PARTITIONS = 4, LABELS = 4 };

static struct {
    pid_t ingest, trainer, publisher;
} services;

#define TRAINING                                                                                   \
    "--set", "batch_classes=4", "--set", "items_per_class=4", "--set", "max_length=16", "--set",   \
        "checkpoint_steps=100", "--set", "learning_rate=0.001"

/* ---- what is pushed ----------------------------------------------------------------------------
 */

/* Words that mostly begin with their class's letter; none comes twice. */
static void write_documents(const char *file, int from, int count, int step, int held)
{
    struct buf b;
    int i;

    buf_init(&b, 64 << 20);
    for (i = from; i < count; i++)
        if ((i % 6 == 5) == held || step == 0) {
            unsigned v = (unsigned)i * 2654435761u;

            buf_printf(&b, "%c%c %c%c%c%c%c,l%d\n", 'a' + i % LABELS, 'a' + (int)(v >> 8) % 26,
                       'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26, 'a' + i / 17576 % 26,
                       'a' + (int)(v >> 18) % 26, i % LABELS);
        }
    ok(file_write(path_of(file), b.data, b.len, &e));
    buf_release(&b);
}

static void write_backbone(void)
{
    struct buf b;

    buf_init(&b, 16 << 20);
    ok(file_mkdirs(path_of("tiny/onnx"), &e));
    ok(file_read("tests/golden/engine/bert-new.onnx", &b, &e));
    ok(file_write(path_of("tiny/onnx/model.onnx"), b.data, b.len, &e));
    buf_reset(&b);
    ok(file_read("tests/e2e/letters_tokenizer.json", &b, &e));
    ok(file_write(path_of("tiny/tokenizer.json"), b.data, b.len, &e));
    buf_release(&b);
}

static int set_up(void **state)
{
    world_open();
    write_documents("train.csv", 0, NEWS, 1, 0);
    write_documents("eval.csv", 0, NEWS, 1, 1);
    write_documents("bulk.csv", 0, BULK, 0, 0);
    write_backbone();
    return 0;
}

static int tear_down(void **state)
{
    pid_t *all[] = {&services.ingest, &services.trainer, &services.publisher};
    int i;

    for (i = 0; i < 3; i++)
        if (*all[i])
            service_kill(all[i]);
    world_close();
    return 0;
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

static void await_objects(const char *prefix, int at_least, const char *what)
{
    int64_t until = clock_mono_ms(world.clock) + PATIENCE_MS;

    while (count_objects(prefix) < at_least) {
        if (clock_mono_ms(world.clock) > until)
            fail_msg("%s did not come", what);
        clock_sleep_ms(world.clock, 20);
    }
}

static void await_none(const char *prefix, const char *what)
{
    int64_t until = clock_mono_ms(world.clock) + PATIENCE_MS;

    while (count_objects(prefix) > 0) {
        if (clock_mono_ms(world.clock) > until)
            fail_msg("%s is still there", what);
        clock_sleep_ms(world.clock, 50);
    }
}

static void await_checkpoint(const char *run, uint64_t attempt)
{
    char prefix[KEY_MAX];

    ok(key_attempt_prefix(world.owner, run, attempt, prefix, &e));
    strncat(prefix, "checkpoints/", sizeof prefix - strlen(prefix) - 1);
    await_objects(prefix, 1, "a checkpoint");
}

/* Until a chain of segments ends where its partition ends. */
static void await_ingested(const char *dataset, int partition)
{
    struct segment_name name = {.partition = partition};
    int64_t until = clock_mono_ms(world.clock) + PATIENCE_MS, low, high;
    struct chain_seen seen;
    char topic[KEY_MAX], key[KEY_MAX];

    snprintf(name.owner, sizeof name.owner, "%s", world.owner);
    snprintf(name.dataset, sizeof name.dataset, "%s", dataset);
    ok(topic_docs(&world.keys, world.owner, dataset, topic, &e));
    ok(bus_watermarks(world.bus, topic, partition, &low, &high, &e));
    ok(key_chain_prefix(&name, key, &e));
    for (seen.next = -1; seen.next < high;) {
        if (clock_mono_ms(world.clock) > until)
            fail_msg("%s [%d] is at %lld of %lld", dataset, partition, (long long)seen.next,
                     (long long)high);
        clock_sleep_ms(world.clock, 200);
        if (count_objects(key) > 0)
            chain_check(world.blob, NULL, topic, &name, 0, &seen);
    }
}

/* ---- checks ------------------------------------------------------------------------------------
 */

/* Documents in S3: the chains are whole, so each record is in one segment. `compare`: record by
 * record with the topic's. */
static size_t documents_in_store(const char *dataset, bool compare)
{
    struct segment_name name = {.first = 0};
    struct chain_seen seen;
    char topic[KEY_MAX];
    size_t documents = 0;
    int i;

    snprintf(name.owner, sizeof name.owner, "%s", world.owner);
    snprintf(name.dataset, sizeof name.dataset, "%s", dataset);
    ok(topic_docs(&world.keys, world.owner, dataset, topic, &e));
    for (i = 0; i < PARTITIONS; i++) {
        await_ingested(dataset, i);
        name.partition = i;
        chain_check(world.blob, compare ? world.bus : NULL, topic, &name, 0, &seen);
        assert_int_equal(seen.missing, 0);
        assert_int_equal(seen.rejected, 0);
        documents += seen.documents;
    }
    return documents;
}

static int events_of(const char *run)
{
    struct buf b;
    char needle[96], *at;
    int count = 0;

    buf_init(&b, 64 << 20);
    assert_int_equal(CLI(&b, "watch", "--all", "--no-wait", "--json"), 0);
    snprintf(needle, sizeof needle, "\"subject\":\"%s\"", run);
    for (at = b.len ? b.data : NULL; at && (at = strstr(at, needle)); at++)
        count++;
    buf_release(&b);
    return count;
}

static void assert_status(const char *run, const char *state, int attempt)
{
    json_t *v = NULL;
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(CLI(&b, "status", run, "--json"), 0);
    ok(json_parse(b.data, b.len, NULL, &v, &e));
    assert_string_equal(json_string_value(json_object_get(v, "state")), state);
    assert_int_equal(json_integer_value(json_object_get(v, "attempt")), attempt);
    json_decref(v);
    buf_release(&b);
}

/* ---- the walk ----------------------------------------------------------------------------------
 */

static void an_owner_is_made(void **state)
{
    assert_int_equal(CLI(NULL, "login", "--owner", world.owner), 66); /* there are no topics yet */
    assert_int_equal(CLI(NULL, "owner", "create", world.owner), 0);
    assert_int_equal(CLI(NULL, "owner", "create", world.owner), 0); /* again is fine */
    assert_int_equal(CLI(NULL, "login", "--owner", world.owner), 0);
    assert_int_equal(CLI(NULL, "backbone", "push", "tiny", path_of("tiny")), 0);
    services.ingest = service_start(INGEST, "ingest");
    services.trainer = service_start(TRAINER, "trainer");
    services.publisher = service_start(PUBLISHER, "publisher");
}

static void ingest_is_killed(void **state)
{
    const char *const push[] = {"push", "bulk", path_of("bulk.csv"), NULL};
    char prefix[KEY_MAX];
    pid_t pusher = cli_start(push);

    ok(key_segments_prefix(world.owner, "bulk", prefix, &e));
    await_objects(prefix, 2, "a segment");
    service_kill(&services.ingest);
    services.ingest = service_start(INGEST, "ingest");
    assert_int_equal(cli_end(pusher), 0);
    assert_int_equal(documents_in_store("bulk", false), BULK);
}

static void a_model_is_made_and_pulled(void **state)
{
    struct buf b;

    assert_int_equal(CLI(NULL, "push", "news", path_of("train.csv")), 0);
    assert_int_equal(CLI(NULL, "push", "news", path_of("eval.csv"), "--split", "eval"), 0);
    buf_init(&b, 1 << 20);
    assert_int_equal(CLI(&b, "fit", "--dataset", "news", "--backbone", "tiny", "--name", "calm",
                         "--epochs", "400", TRAINING, "--pull", path_of("calm"), "--json"),
                     0);
    assert_non_null(strstr(b.data, "\"state\":\"FINISHED\""));
    assert_non_null(strstr(b.data, "\"announced\":true"));
    assert_null(strstr(b.data, "\"golden\":0"));
    buf_release(&b);
    assert_status("calm", "FINISHED", 1);
    assert_int_equal(documents_in_store("news", true), NEWS);
    /* the same again is that run, announced before; another job may not have its name */
    buf_init(&b, 1 << 20);
    assert_int_equal(CLI(&b, "fit", "--dataset", "news", "--backbone", "tiny", "--name", "calm",
                         "--epochs", "400", TRAINING, "--follow", "--json"),
                     0);
    assert_non_null(strstr(b.data, "\"announced\":true"));
    buf_release(&b);
    assert_int_equal(CLI(NULL, "fit", "--dataset", "news", "--backbone", "tiny", "--name", "calm",
                         "--epochs", "399", TRAINING, "--follow"),
                     73);
}

static void a_model_gets_worse(void **state)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    assert_int_equal(CLI(&b, "fit", "--dataset", "news", "--backbone", "tiny", "--name", "worse",
                         "--epochs", "1", "--set", "learning_rate=10", "--set", "warmup=0",
                         "--follow", "--json"),
                     3);
    assert_non_null(strstr(b.data, "\"state\":\"FINISHED\""));
    assert_non_null(strstr(b.data, "map_at_k fell from"));
    b.len = 0;
    assert_int_equal(CLI(&b, "watch", "--run", "worse", "--json"), 0);
    assert_non_null(strstr(b.data, "\"judged_by\":\"map_at_k\""));
    assert_non_null(strstr(b.data, "\"worse\":true"));
    buf_release(&b);
}

static void assert_same_weights(void)
{
    char calm[SHA256_HEX], killed[SHA256_HEX];

    ok(sha256_file(path_of("calm/onnx/model.onnx"), calm, NULL, &e));
    ok(sha256_file(path_of("killed/onnx/model.onnx"), killed, NULL, &e));
    assert_string_equal(calm, killed);
}

static void worker_child_and_publisher_are_killed(void **state)
{
    char key[KEY_MAX];
    pid_t child;

    assert_int_equal(CLI(NULL, "fit", "--dataset", "news", "--backbone", "tiny", "--name", "killed",
                         "--epochs", "400", TRAINING),
                     0);
    await_checkpoint("killed", 1);
    service_kill(&services.trainer);
    services.trainer = service_start(TRAINER, "trainer");
    await_checkpoint("killed", 2);
    child = child_of(services.trainer);
    assert_true(child > 0);
    kill(child, SIGKILL);
    ok(key_run(world.owner, "killed", RUN_END, key, &e));
    await_objects(key, 1, "the run's end");
    service_kill(&services.publisher);
    services.publisher = service_start(PUBLISHER, "publisher");
    assert_int_equal(CLI(NULL, "watch", "--run", "killed"), 0);
    assert_int_equal(CLI(NULL, "pull", "killed", path_of("killed")), 0);
    assert_status("killed", "FINISHED", 3);
    assert_same_weights();
}

static void a_run_is_cancelled(void **state)
{
    assert_int_equal(CLI(NULL, "fit", "--dataset", "news", "--backbone", "tiny", "--name",
                         "stopped", "--epochs", "10000", TRAINING),
                     0);
    await_checkpoint("stopped", 1);
    assert_int_equal(CLI(NULL, "cancel", "stopped", "--reason", "a test"), 0);
    assert_status("stopped", "CANCELLED", 1);
    assert_int_equal(CLI(NULL, "cancel", "calm"), 1); /* it had finished: that stays */
    assert_status("calm", "FINISHED", 1);
    assert_int_equal(CLI(NULL, "pull", "stopped", path_of("stopped")), 70);
    assert_int_equal(access(path_of("stopped"), F_OK), -1);
}

static void there_is_one_event_a_run(void **state)
{
    char prefix[KEY_MAX];

    ok(key_open_prefix(world.owner, prefix, &e));
    await_none(prefix, "an open run"); /* all is told: nothing is on its way any more */
    clock_sleep_ms(world.clock, 1000);
    assert_int_equal(events_of("calm"), 1);
    assert_int_equal(events_of("worse"), 1);
    assert_int_equal(events_of("killed"), 1);
    assert_int_equal(events_of("stopped"), 0);
    service_drain(&services.publisher);
    service_drain(&services.trainer);
    service_drain(&services.ingest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_is_made),
        cmocka_unit_test(ingest_is_killed),
        cmocka_unit_test(a_model_is_made_and_pulled),
        cmocka_unit_test(a_model_gets_worse),
        cmocka_unit_test(worker_child_and_publisher_are_killed),
        cmocka_unit_test(a_run_is_cancelled),
        cmocka_unit_test(there_is_one_event_a_run),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
