/* What commands make of a run's objects: status from either store, log lines once each, pulls
 * that are whole or nothing. Stores in memory. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/lines.h"
#include "cli/pull.h"
#include "cli/view.h"
#include "platform/base/file.h"
#include "platform/blob/blob.h"
#include "platform/board/board.h"
#include "platform/clock/clock.h"

#define ok(call)                                                                                   \
    do {                                                                                           \
        struct err e = ERR_INIT;                                                                   \
        int ok_rc = (call);                                                                        \
        if (ok_rc < 0)                                                                             \
            fail_msg("%s: %s (%s)", #call, err_name(ok_rc), e.text);                               \
    } while (0)

#define SHA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct client c;
static struct arena arena;
static char folder[64], target[80];

static int set_up(void **state)
{
    memset(&c, 0, sizeof c);
    ok(clock_real(&c.ports.clock, &e));
    ok(blob_mem(&c.ports.blob, c.ports.clock, &e));
    ok(board_mem(&c.ports.board, c.ports.clock, &e));
    ok(keys_init(&c.keys, NULL, &e));
    snprintf(c.owner, sizeof c.owner, "acme");
    snprintf(folder, sizeof folder, "/tmp/tripline-pull-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(target, sizeof target, "%s/model", folder);
    arena_init(&arena, 16 << 20);
    return 0;
}

static int tear_down(void **state)
{
    arena_release(&arena);
    client_release(&c);
    ok(file_remove_tree(folder, &e));
    return 0;
}

static void put(const char *key, const char *text)
{
    ok(blob_put(c.ports.blob, key, text, strlen(text), &e));
}

static void put_job(const char *run)
{
    struct job_accepted accepted;
    char key[KEY_MAX];
    struct job job;
    struct buf b;

    job_init(&job);
    job_accepted_init(&accepted);
    accepted.request_sha256 = SHA;
    accepted.nonce = "n";
    accepted.time_ms = 1000;
    job.run = run;
    job.dataset = "news";
    job.model = "search";
    job.backbone = "tiny";
    job.accepted = &accepted;
    buf_init(&b, 1 << 20);
    ok(job_write(&job, RECORD_JSON, &b, &e));
    ok(key_run("acme", run, RUN_JOB, key, &e));
    put(key, b.data);
    buf_release(&b);
}

static void put_end(const char *run, enum job_state state, const char *manifest_sha256)
{
    struct run_end end;
    char key[KEY_MAX];
    struct buf b;

    run_end_init(&end);
    end.owner = "acme";
    end.run = run;
    end.state = (int)state;
    end.attempt = 1;
    end.manifest_sha256 = manifest_sha256;
    end.reason = state == JOB_FINISHED ? NULL : "no labels";
    end.nonce = "n";
    end.time_ms = 5000;
    buf_init(&b, 1 << 20);
    ok(run_end_write(&end, RECORD_JSON, &b, &e));
    ok(key_run("acme", run, RUN_END, key, &e));
    put(key, b.data);
    buf_release(&b);
}

/* ---- status ------------------------------------------------------------------------------------
 */

static void put_status(const char *run, const char *state, const char *step)
{
    const struct board_field f[] = {{"state", state}, {"phase", "training"}, {"attempt", "2"},
                                    {"step", step},   {"steps", "100"},      {"loss", "0.25"}};
    char key[KEY_MAX];

    ok(key_board(&c.keys, BOARD_STATUS, "acme", run, key, &e));
    ok(board_set(c.ports.board, key, f, 6, 0, &e));
}

static void status_comes_from_redis(void **state)
{
    struct view v;
    struct buf b;

    put_job("r");
    put_status("r", "STARTED", "10");
    ok(view_load(&c, "r", true, &arena, &v, &e));
    assert_true(v.live);
    assert_false(v.ended);
    assert_int_equal(v.status.state, JOB_STARTED);
    assert_int_equal(v.status.attempt, 2);
    buf_init(&b, 4096);
    view_line(&v, &b);
    assert_non_null(strstr(b.data, "STARTED training 10/100"));
    buf_reset(&b);
    v.status.message = "\033[2Jgone\n";
    view_line(&v, &b);
    assert_non_null(strstr(b.data, ": ?[2Jgone?"));
    buf_release(&b);
}

static void the_end_in_s3_wins(void **state)
{
    struct view v;

    put_job("r");
    put_status("r", "STARTED", "10");
    put_end("r", JOB_FAILED, NULL);
    ok(view_load(&c, "r", true, &arena, &v, &e));
    assert_true(v.ended);
    assert_int_equal(v.status.state, JOB_FAILED);
    assert_string_equal(v.status.message, "no labels");
    put_status("r", "FINISHED", "100"); /* whatever Redis claims */
    ok(view_load(&c, "r", false, &arena, &v, &e));
    assert_int_equal(v.status.state, JOB_FAILED);
}

static void status_without_redis(void **state)
{
    struct err why = ERR_INIT;
    char key[KEY_MAX];
    struct view v;

    assert_int_equal(view_load(&c, "r", true, &arena, &v, &why), ERR_NOT_FOUND);
    put_job("r");
    ok(view_load(&c, "r", true, &arena, &v, &e));
    assert_false(v.live);
    assert_int_equal(v.status.state, JOB_CREATED);
    assert_string_equal(v.status.model, "search");
    ok(key_attempt("acme", "r", 3, key, &e));
    put(key, "{}");
    ok(view_load(&c, "r", true, &arena, &v, &e));
    assert_int_equal(v.status.state, JOB_STARTED);
    assert_int_equal(v.status.attempt, 3);
}

/* ---- log lines ---------------------------------------------------------------------------------
 */

struct heard {
    char text[2000];
};

static void hear(void *arg, const json_t *v, const char *text)
{
    struct heard *h = arg;
    size_t n = strlen(h->text);

    snprintf(h->text + n, sizeof h->text - n, "%d.%d ",
             (int)json_integer_value(json_object_get(v, "attempt")),
             (int)json_integer_value(json_object_get(v, "n")));
}

static void put_chunk(uint64_t attempt, uint64_t first, int count)
{
    char file[KEY_FILE_MAX], key[KEY_MAX];
    struct buf b;
    int i;

    attempt_series_file(ATTEMPT_LOG, first, file);
    ok(key_attempt_file("acme", "r", attempt, file, key, &e));
    buf_init(&b, 1 << 20);
    for (i = 0; i < count; i++)
        buf_printf(&b, "{\"attempt\":%d,\"event\":\"x\",\"n\":%d,\"time_ms\":1}\n", (int)attempt,
                   (int)first + i);
    put(key, b.data);
    buf_release(&b);
}

static void show_line(int attempt, int n)
{
    char key[KEY_MAX], line[100];

    snprintf(line, sizeof line, "{\"attempt\":%d,\"event\":\"x\",\"n\":%d,\"time_ms\":1}", attempt,
             n);
    ok(key_board(&c.keys, BOARD_LOG, "acme", "r", key, &e));
    ok(board_append(c.ports.board, key, line, strlen(line), 100, 0, &e));
}

static void each_line_comes_once(void **state)
{
    struct heard h = {""};
    struct lines l;

    put_chunk(1, 0, 3);
    put_chunk(1, 3, 2);
    put_chunk(2, 0, 1);
    show_line(1, 3);
    show_line(1, 4);
    show_line(2, 0);
    lines_init(&l, &c, "r", hear, &h);
    ok(lines_look(&l, false, &e));
    assert_string_equal(h.text, "1.0 1.1 1.2 1.3 1.4 2.0 ");
    put_chunk(2, 1, 2);
    show_line(2, 1);
    ok(lines_look(&l, false, &e)); /* Redis */
    assert_string_equal(h.text, "1.0 1.1 1.2 1.3 1.4 2.0 2.1 ");
    ok(lines_look(&l, true, &e)); /* S3 has one more */
    assert_string_equal(h.text, "1.0 1.1 1.2 1.3 1.4 2.0 2.1 2.2 ");
    lines_release(&l);
}

static void a_flush_of_redis_loses_no_line(void **state)
{
    struct heard h = {""};
    struct lines l;
    int i;

    put_chunk(1, 0, 1);
    show_line(1, 0);
    lines_init(&l, &c, "r", hear, &h);
    ok(lines_look(&l, false, &e));
    board_mem_flush(c.ports.board);
    put_chunk(1, 1, 1);
    for (i = 0; i < 12; i++)
        ok(lines_look(&l, false, &e));
    assert_string_equal(h.text, "1.0 1.1 ");
    lines_release(&l);
}

static void broken_lines_are_passed_over(void **state)
{
    struct heard h = {""};
    char file[KEY_FILE_MAX], key[KEY_MAX];
    struct lines l;

    attempt_series_file(ATTEMPT_LOG, 0, file);
    ok(key_attempt_file("acme", "r", 1, file, key, &e));
    put(key, "nonsense\n{\"n\":0}\n[]\n{\"attempt\":1,\"n\":7}\n");
    lines_init(&l, &c, "r", hear, &h);
    ok(lines_look(&l, true, &e));
    assert_string_equal(h.text, "1.7 ");
    lines_release(&l);
}

/* ---- pulls -------------------------------------------------------------------------------------
 */

static void put_model(const char *path, const char *promised)
{
    struct run_file_entry files[2];
    struct job_parameters parameters;
    struct run_manifest m;
    char key[KEY_MAX], sha256[SHA256_HEX], own[SHA256_HEX];
    struct buf b;

    sha256_of("weights", 7, own);
    run_file_entry_init(&files[0]);
    run_file_entry_init(&files[1]);
    files[0].path = path;
    files[0].size = 7;
    files[0].sha256 = promised ? promised : own;
    files[1].path = "notes.txt"; /* of the attempt, not of the artifact */
    files[1].size = 1;
    files[1].sha256 = SHA;
    job_parameters_init(&parameters);
    run_manifest_init(&m);
    m.owner = "acme";
    m.run = "r";
    m.attempt = 1;
    m.model = "search";
    m.dataset = "news";
    m.created_ms = 1;
    m.nonce = "n";
    m.files = files;
    m.file_count = 2;
    m.backbone = "tiny";
    m.backbone_sha256 = SHA;
    m.snapshot_sha256 = SHA;
    m.parameters = &parameters;
    m.fingerprint = "f";
    m.dimension = 8;
    m.metric = "cosine";
    m.modality = "text";
    m.max_length = 16;
    m.steps = m.train_documents = m.labels = 2;
    m.eval_documents = 0;
    m.loss = m.seconds = 1;
    buf_init(&b, 1 << 20);
    ok(run_manifest_write(&m, RECORD_JSON, &b, &e));
    ok(key_attempt_file("acme", "r", 1, ATTEMPT_MANIFEST, key, &e));
    put(key, b.data);
    sha256_of(b.data, b.len, sha256);
    buf_release(&b);
    ok(key_attempt_file("acme", "r", 1, "model/onnx/model.onnx", key, &e));
    put(key, "weights");
    put_end("r", JOB_FINISHED, sha256);
}

static int try_pull(struct pull_result *out, bool force, struct err *e)
{
    struct pull_options o = {.run = "r", .folder = target, .force = force};

    return pull(&c, &o, out, e);
}

static void assert_nothing_left(void)
{
    char partial[120];

    snprintf(partial, sizeof partial, "%s.partial", target);
    assert_int_equal(access(target, F_OK), -1);
    assert_int_equal(access(partial, F_OK), -1);
}

static void a_model_is_pulled(void **state)
{
    struct pull_result r;
    char file[120];

    put_model("model/onnx/model.onnx", NULL);
    ok(try_pull(&r, false, &e));
    assert_int_equal(r.files, 1);
    assert_int_equal(r.bytes, 7);
    assert_false(r.already_there);
    snprintf(file, sizeof file, "%s/onnx/model.onnx", target);
    assert_int_equal(access(file, R_OK), 0);
    snprintf(file, sizeof file, "%s/.tripline-pull", target);
    assert_int_equal(access(file, F_OK), -1);
    ok(try_pull(&r, false, &e));
    assert_true(r.already_there);
}

/* Two pulls into one folder would remove each other's files; what one left that died is removed. */
static void one_pull_at_a_time(void **state)
{
    char partial[120], mark[160], old[160];
    struct err why = ERR_INIT;
    struct pull_result r;
    int fd;

    put_model("model/onnx/model.onnx", NULL);
    snprintf(partial, sizeof partial, "%s.partial", target);
    snprintf(mark, sizeof mark, "%s/.tripline-pull", partial);
    snprintf(old, sizeof old, "%s/model", partial);
    ok(file_mkdirs(old, &e));
    snprintf(old, sizeof old, "%s/model/old.txt", partial);
    ok(file_write(old, "x", 1, &e));
    fd = open(mark, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(try_pull(&r, false, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "another pull works there"));
    assert_int_equal(access(old, F_OK), 0);
    close(fd);
    ok(try_pull(&r, false, &e));
    assert_int_equal(access(partial, F_OK), -1);
    snprintf(old, sizeof old, "%s/old.txt", target);
    assert_int_equal(access(old, F_OK), -1);
}

static void another_folder_is_left_alone(void **state)
{
    struct pull_result r;
    struct err why = ERR_INIT;
    char file[120];

    put_model("model/onnx/model.onnx", NULL);
    ok(file_mkdirs(target, &e));
    snprintf(file, sizeof file, "%s/mine.txt", target);
    ok(file_write(file, "x", 1, &e));
    assert_int_equal(try_pull(&r, false, &why), ERR_EXISTS);
    assert_int_equal(access(file, F_OK), 0);
    ok(try_pull(&r, true, &e));
    assert_int_equal(access(file, F_OK), -1);
}

static void other_bytes_are_refused(void **state)
{
    struct pull_result r;
    struct err why = ERR_INIT;
    char key[KEY_MAX];

    put_model("model/onnx/model.onnx", SHA);
    assert_int_equal(try_pull(&r, false, &why), ERR_FORMAT);
    assert_nothing_left();
    put_model("model/onnx/model.onnx", NULL);
    ok(key_attempt_file("acme", "r", 1, "model/onnx/model.onnx", key, &e));
    put(key, "we1ghts");
    assert_int_equal(try_pull(&r, false, &why), ERR_FORMAT);
    assert_nothing_left();
    ok(key_attempt_file("acme", "r", 1, ATTEMPT_MANIFEST, key, &e));
    put(key, "{}");
    assert_int_equal(try_pull(&r, false, &why), ERR_FORMAT); /* not what end.json says */
    assert_nothing_left();
}

static void paths_stay_inside(void **state)
{
    static const char *const paths[] = {"model/../../x", "model//x", "model/a b", "model/./x"};
    struct pull_result r;
    struct err e = ERR_INIT;
    size_t i;

    for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        put_model(paths[i], NULL);
        assert_true(try_pull(&r, false, &e) < 0);
        assert_nothing_left();
    }
}

static void an_unfinished_run_has_no_model(void **state)
{
    struct pull_result r;
    struct err e = ERR_INIT;

    assert_int_equal(try_pull(&r, false, &e), ERR_NOT_FOUND);
    put_end("r", JOB_CANCELLED, NULL);
    assert_int_equal(try_pull(&r, false, &e), ERR_CHILD);
    assert_non_null(strstr(e.text, "CANCELLED"));
    assert_nothing_left();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(status_comes_from_redis),
        TEST(the_end_in_s3_wins),
        TEST(status_without_redis),
        TEST(each_line_comes_once),
        TEST(a_flush_of_redis_loses_no_line),
        TEST(broken_lines_are_passed_over),
        TEST(a_model_is_pulled),
        TEST(one_pull_at_a_time),
        TEST(another_folder_is_left_alone),
        TEST(other_bytes_are_refused),
        TEST(paths_stay_inside),
        TEST(an_unfinished_run_has_no_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
