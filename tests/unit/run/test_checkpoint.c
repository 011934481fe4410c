/* Checkpoints: written whole, read back bit by bit, and never believed when anything is off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "tests/unit/run/world.h"
#include "trainer/checkpoint.h"
#include "trainer/engine/engine_int.h"

struct fixture {
    struct world world;
    struct engine *engine;
    struct checkpoint *state, *found;
    char path[512];
};

static int setup(void **state)
{
    struct engine_options options = {.threads = 1, .train = true};
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = ERR_INIT;
    struct surgery s;

    world_open(&f->world, "bert-new");
    surgery_init(&s);
    snprintf(f->path, sizeof f->path, "%s/model.onnx", f->world.backbone);
    if (engine_open(&f->engine, f->path, &s, &options, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(file_mkdirs(f->world.work, &e), 0);
    f->state = calloc(1, sizeof *f->state);
    f->found = calloc(1, sizeof *f->found);
    memset(f->state->identity, 'a', SHA256_HEX - 1);
    snprintf(f->state->fingerprint, sizeof f->state->fingerprint, "engine-1/cpu");
    f->state->exact = true;
    f->state->step = 7;
    f->state->loss = 0.25;
    for (int i = 0; i < CHECKPOINT_NUMBERS; i++) {
        f->state->before[i] = i / 8.0;
        f->state->best[i] = i / 7.0;
    }
    f->state->best_value = 0.75;
    f->state->best_step = 1;
    f->state->stale = 2;
    f->state->early = true;
    f->state->collapsed = 4;
    f->state->idle = 5;
    f->state->point_count = 3;
    for (int i = 0; i < 3; i++)
        f->state->points[i] =
            (struct checkpoint_point){i + 1, 1.0 / (i + 1), 0.5, 0.25 + i, 0.75, 0.125, 3};
    f->state->eval_count = 2;
    for (int i = 0; i < 2; i++)
        f->state->evals[i] = (struct checkpoint_eval){3 * (i + 1), 0.5 + i / 4.0};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    engine_free(f->engine);
    free(f->state);
    free(f->found);
    world_close(&f->world);
    free(f);
    return 0;
}

static const char *path_of(struct fixture *f, int step)
{
    snprintf(f->path, sizeof f->path, "%s/" CHECKPOINT_NAME, f->world.work, (long long)step);
    return f->path;
}

static void put(struct fixture *f, int step, int keep)
{
    struct err e = ERR_INIT;

    f->state->step = step;
    if (checkpoint_write(f->world.work, f->state, f->engine, keep, &e) < 0)
        fail_msg("%s", e.text);
}

static int resume(struct fixture *f, bool exact_only, struct err *e)
{
    *e = (struct err)ERR_INIT;
    return checkpoint_resume(f->world.work, f->state->identity, f->state->fingerprint, exact_only,
                             f->found, f->engine, e);
}

static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    char before[SHA256_HEX], after[SHA256_HEX];
    struct err e;

    put(f, 7, 2);
    world_hash(f->world.work, "step-000000007.ckpt", before);
    assert_int_equal(resume(f, true, &e), 1);
    assert_memory_equal(f->found, f->state, sizeof *f->state);
    put(f, 7, 2); /* of what was read: the same bytes again */
    world_hash(f->world.work, "step-000000007.ckpt", after);
    assert_string_equal(before, after);
    assert_int_equal(world_entries(f->world.work), 1);
}

/* Parameters that were put aside are part of it, and come back though the others have moved. */
static void test_put_aside(void **state)
{
    struct fixture *f = *state;
    char kept[SHA256_HEX], is[SHA256_HEX];
    struct err e = ERR_INIT;

    assert_int_equal(engine_restore(f->engine, &e), ERR_INTERNAL);
    assert_int_equal(engine_keep(f->engine, &e), 0);
    assert_int_equal(engine_digest(f->engine, kept, &e), 0);
    put(f, 7, 2);
    f->engine->params.param[3] += 1;
    assert_int_equal(engine_restore(f->engine, &e), 0);
    assert_int_equal(engine_digest(f->engine, is, &e), 0);
    assert_string_equal(is, kept);
    f->engine->params.param[3] += 1;
    assert_int_equal(engine_keep(f->engine, &e), 0);
    assert_int_equal(engine_digest(f->engine, is, &e), 0);
    assert_string_not_equal(is, kept);
    assert_int_equal(resume(f, true, &e), 1);
    assert_int_equal(engine_digest(f->engine, is, &e), 0);
    assert_string_equal(is, kept);
}

static void test_nothing_there(void **state)
{
    struct fixture *f = *state;
    struct err e;

    assert_int_equal(resume(f, true, &e), 0);
    assert_int_equal(rmdir(f->world.work), 0);
    assert_int_equal(resume(f, true, &e), 0);
    assert_int_equal(checkpoint_write(f->world.work, f->state, f->engine, 2, &e), ERR_IO);
}

static void spoil(const char *path, const struct buf *whole, size_t len, size_t flip)
{
    FILE *f = fopen(path, "wb");

    if (flip < len)
        whole->data[flip] ^= 0x41;
    assert_int_equal(fwrite(whole->data, 1, len, f), len);
    if (flip < len)
        whole->data[flip] ^= 0x41;
    fclose(f);
}

/* Every byte of the head and of the end, samples of the rest; every kind of length. */
static void test_damage(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct buf whole;
    size_t i;

    put(f, 7, 2);
    buf_init(&whole, 1 << 24);
    assert_int_equal(file_read(path_of(f, 7), &whole, &e), 0);
    for (i = 0; i < whole.len; i += i < 500 || i > whole.len - 200 ? 1 : 1009) {
        spoil(f->path, &whole, whole.len, i);
        assert_true(checkpoint_verify(f->path, f->found, &e) < 0);
    }
    for (i = 0; i < whole.len; i += i < 500 || i > whole.len - 200 ? 7 : 10007) {
        spoil(f->path, &whole, i, whole.len);
        assert_int_equal(checkpoint_verify(f->path, f->found, &e), ERR_FORMAT);
        assert_int_equal(resume(f, true, &e), 0);
    }
    spoil(f->path, &whole, whole.len, whole.len);
    assert_int_equal(checkpoint_verify(f->path, f->found, &e), 0);
    assert_int_equal(resume(f, true, &e), 1);
    buf_release(&whole);
}

static void test_older_one(void **state)
{
    struct fixture *f = *state;
    struct err e;

    put(f, 7, 3);
    put(f, 8, 3);
    put(f, 9, 3);
    assert_int_equal(truncate(path_of(f, 9), 5000), 0);
    assert_int_equal(resume(f, true, &e), 1);
    assert_int_equal(f->found->step, 8);
    put(f, 8, 1); /* the damaged later one goes, though it is the newest */
    assert_int_equal(world_entries(f->world.work), 1);
    assert_int_equal(access(path_of(f, 8), F_OK), 0);
}

static void test_keeps(void **state)
{
    struct fixture *f = *state;
    struct err e;

    for (int step = 1; step <= 6; step++)
        put(f, step, 2);
    assert_int_equal(world_entries(f->world.work), 2);
    assert_int_equal(access(path_of(f, 5), F_OK), 0);
    assert_int_equal(resume(f, true, &e), 1);
    assert_int_equal(f->found->step, 6);
}

/* Another run's files in the folder neither count nor vanish, and are not resumed from. */
static void test_other_runs(void **state)
{
    struct fixture *f = *state;
    struct err e;

    put(f, 100, 2);
    put(f, 200, 2);
    memset(f->state->identity, 'b', SHA256_HEX - 1);
    assert_int_equal(resume(f, true, &e), 0);
    put(f, 1, 2);
    put(f, 2, 2);
    put(f, 3, 2);
    assert_int_equal(world_entries(f->world.work), 4);
    assert_int_equal(resume(f, true, &e), 1);
    assert_int_equal(f->found->step, 3);
    memset(f->state->identity, 'a', SHA256_HEX - 1);
    assert_int_equal(resume(f, true, &e), 1);
    assert_int_equal(f->found->step, 200);
}

static void test_fingerprint(void **state)
{
    struct fixture *f = *state;
    struct err e;

    put(f, 7, 2);
    snprintf(f->state->fingerprint, sizeof f->state->fingerprint, "engine-1/other");
    assert_int_equal(resume(f, true, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "engine-1/cpu"));
    assert_non_null(strstr(e.text, "engine-1/other"));
    assert_int_equal(resume(f, false, &e), 1);
    assert_false(f->found->exact);
    snprintf(f->state->fingerprint, sizeof f->state->fingerprint, "engine-1/cpu");
    assert_int_equal(resume(f, false, &e), 1);
    assert_true(f->found->exact);
}

static void test_names(void **state)
{
    static const char *const others[] = {"step-7.ckpt",
                                         "step-000000007.ckpt.tmp",
                                         "step--00000007.ckpt",
                                         "step-0000000007.ckpt",
                                         "xstep-000000007.ckpt",
                                         "step-.ckpt",
                                         "step-99999999999999999999.ckpt",
                                         "checkpoint.tmp"};
    struct fixture *f = *state;
    char path[512];
    struct err e;

    put(f, 7, 1);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", f->world.work, others[i]);
        assert_int_equal(file_write(path, "x", 1, &e), 0);
    }
    assert_int_equal(resume(f, true, &e), 1);
    put(f, 8, 1); /* its temporary file took the name of the last of them */
    assert_int_equal(world_entries(f->world.work), 1 + (int)(sizeof others / sizeof others[0]) - 1);
}

/* ---- as it was written once ---- */

/* Moments and parameters put aside that no other state has. */
static void colour(struct fixture *f, struct err *e)
{
    struct params *p = &f->engine->params;

    assert_int_equal(engine_keep(f->engine, e), 0);
    for (size_t i = 0; i < p->trained; i++) {
        p->param[i] += (float)(i % 5) / 8;
        p->m[i] = (float)(i % 7) / 16;
        p->v[i] = (float)(i % 11) / 32;
    }
    p->step = 7;
    for (int i = 0; i < p->table_count; i++)
        memset(p->tables[i].touched, 1, (size_t)p->tables[i].rows / 2);
}

/* A file of 0.1.0 is resumed from by every later version. It is never changed: another layout gets
 * another version, and this one is still read (TRIPLINE_WRITE_GOLDEN=1 writes what is missing). */
static void test_frozen(void **state)
{
    static const char golden[] = "tests/golden/checkpoints/0.1.0-bert-new.ckpt";
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    char want[SHA256_HEX], is[SHA256_HEX];
    struct buf whole;

    buf_init(&whole, 1 << 20);
    colour(f, &e);
    assert_int_equal(engine_digest(f->engine, want, &e), 0);
    put(f, 7, 2);
    if (access(golden, F_OK) < 0 && getenv("TRIPLINE_WRITE_GOLDEN")) {
        assert_int_equal(file_read(path_of(f, 7), &whole, &e), 0);
        assert_int_equal(file_write(golden, whole.data, whole.len, &e), 0);
        buf_release(&whole);
        buf_init(&whole, 1 << 20);
    }
    assert_int_equal(file_read(golden, &whole, &e), 0);
    assert_int_equal(file_write(path_of(f, 7), whole.data, whole.len, &e), 0);
    f->engine->params.param[3] += 1;
    if (resume(f, true, &e) != 1)
        fail_msg("%s", e.text);
    assert_memory_equal(f->found, f->state, sizeof *f->state);
    assert_int_equal(engine_digest(f->engine, is, &e), 0);
    assert_string_equal(is, want);
    buf_release(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keeps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fingerprint, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frozen, setup, teardown),
    };

    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
