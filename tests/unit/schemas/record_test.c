#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "schemas/document.h"
#include "schemas/status.h"

static struct arena a;
static struct err e;

static int setup(void **state)
{
    arena_init(&a, 1 << 26);
    return 0;
}

static int teardown(void **state)
{
    arena_release(&a);
    return 0;
}

static void refuses_to_set(struct job_parameters *p, const char *name, const char *text, int code,
                           const char *message)
{
    assert_int_equal(record_set(&job_parameters_record, &a, name, text, p, &e), code);
    assert_string_equal(e.text, message);
}

static void set_from_text(void **state)
{
    struct job_parameters p;

    job_parameters_init(&p);
    assert_int_equal(record_set(&job_parameters_record, &a, "epochs", "7", &p, &e), 0);
    assert_int_equal(record_set(&job_parameters_record, &a, "learning_rate", "2e-5", &p, &e), 0);
    assert_int_equal(record_set(&job_parameters_record, &a, "margin", "1", &p, &e), 0);
    assert_int_equal(record_set(&job_parameters_record, &a, "miner", "hard", &p, &e), 0);
    assert_int_equal(record_set(&job_parameters_record, &a, "normalize", "false", &p, &e), 0);
    assert_int_equal(record_set(&job_parameters_record, &a, "freeze", "layers:2", &p, &e), 0);
    assert_int_equal(p.epochs, 7);
    assert_true(p.learning_rate == 2e-5 && p.margin == 1);
    assert_int_equal(p.miner, MINER_HARD);
    assert_false(p.normalize);
    assert_string_equal(p.freeze, "layers:2");
    assert_int_equal(record_check(&job_parameters_record, &p, &e), 0);
    assert_int_equal(record_set(&job_parameters_record, &a, "freeze", "all", &p, &e), 0);
    assert_int_equal(record_check(&job_parameters_record, &p, &e), ERR_FORMAT);
    assert_string_equal(e.text,
                        "freeze: 'all' is none of none, embeddings, layers:N, head, name:PATTERN");
    refuses_to_set(&p, "epoch", "7", ERR_NOT_FOUND, "epoch: no such field of job_parameters");
    refuses_to_set(&p, "epochs", "many", ERR_FORMAT, "epochs: 'many' is not an integer");
    refuses_to_set(&p, "epochs", "1.5", ERR_FORMAT, "epochs: expected an integer, got a number");
    refuses_to_set(&p, "epochs", "0", ERR_FORMAT, "epochs: 0 is outside 1 to 10000");
    refuses_to_set(&p, "learning_rate", "nan", ERR_FORMAT, "learning_rate: 'nan' is not a number");
    refuses_to_set(&p, "schedule", "", ERR_FORMAT,
                   "schedule: '' is none of constant, linear, cosine");
}

/* A hash in Redis: every field as text, and back. */
static struct run_status copy;

static int put_back(void *arg, const char *name, const char *text)
{
    ++*(int *)arg;
    return record_set(&run_status_record, &a, name, text, &copy, &e);
}

static void through_a_hash(void **state)
{
    const struct record_number metrics[] = {{"map_at_k", 0.61}, {"mrr_at_k", 0.1}};
    struct run_status s;
    int fields = 0;

    run_status_init(&s);
    run_status_init(&copy);
    assert_true(isnan(s.loss));
    s.owner = "acme";
    s.run = "r1";
    s.state = JOB_STARTED;
    s.phase = PHASE_TRAINING;
    s.loss = 0.1;
    s.metrics = metrics;
    s.metric_count = 2;
    s.updated_ms = 1767225600000;
    s.message = "said \"so\"";
    assert_int_equal(record_each_text(&run_status_record, &s, put_back, &fields, &e), 0);
    assert_int_equal(fields, 13);
    assert_string_equal(copy.message, s.message);
    assert_int_equal(copy.phase, PHASE_TRAINING);
    assert_int_equal(copy.updated_ms, s.updated_ms);
    assert_true(copy.loss == 0.1);
    assert_int_equal(copy.metric_count, 2);
    assert_true(copy.metrics[1].value == 0.1);
    assert_int_equal(copy.created_ms, RECORD_NO_INT);
}

static void refuses_to_write(const struct document *d, const char *message)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    if (document_write(d, RECORD_MSGPACK, &b, &e) == 0)
        fail_msg("written, not refused: %s", message);
    assert_string_equal(e.text, message);
    assert_int_equal(b.len, 0);
    buf_release(&b);
}

static void writes_no_bad_records(void **state)
{
    struct document d;

    document_init(&d);
    refuses_to_write(&d, "content: missing: one of text, image, tensor, points, uri, parts");
    d.text = "x";
    refuses_to_write(&d, "label: missing");
    d.label.text = "";
    refuses_to_write(&d, "label: is empty");
    d.label.text = "caf\xe9";
    refuses_to_write(&d, "label: is not UTF-8");
    d.label.text = "a";
    d.split = 7;
    refuses_to_write(&d, "split: 7 is no value of it");
    d.split = SPLIT_EVAL;
    d.score = HUGE_VAL;
    refuses_to_write(&d, "score: not a finite number");
}

/* Random documents: struct -> either format -> struct -> the other one, always the same record. */
static uint32_t seed = 1;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static const char *random_text(size_t max)
{
    static const char *const pieces[] = {
        "a", "\"", "\\", "\n", "\x01", "\xc3\xa9", "\xf0\x9f\x98\x80", " ", "{", "]"};
    char text[256];
    size_t n = 1 + chance((uint32_t)max), len = 0, i;

    for (i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s", pieces[chance(10)]);
    return arena_strndup(&a, text, len);
}

static void random_content(struct document *d)
{
    static const double points[12] = {0.1, -2, 3e10, 4, 5, 6, 7, 8, 9, 1e-9, 11, 12};
    static const int64_t shape[2] = {2, 3};
    static const char data[24] = "\0\1\2\xff";
    static struct document_tensor tensor;
    static struct document_part parts[2];

    switch (chance(5)) {
    case 0:
        d->text = random_text(40);
        break;
    case 1:
        d->image = (struct record_bytes){"\xff\xd8\xff\0\1\2", 4 + chance(3)};
        break;
    case 2:
        tensor = (struct document_tensor){
            .shape = shape, .shape_count = 2, .type = TENSOR_FLOAT32, .data = {data, 24}};
        d->tensor = &tensor;
        break;
    case 3:
        d->points = (struct record_rows){points, chance(2) ? 4 : 2, 0};
        d->points.cols = d->points.rows == 4 ? 3 : 6;
        break;
    default:
        parts[0] = (struct document_part){.modality = "text", .text = random_text(9)};
        parts[1] = (struct document_part){.modality = random_text(3), .text = random_text(9)};
        d->parts = parts;
        d->part_count = 2;
        d->score = chance(100) / 7.0;
    }
}

static void check_trip(const struct document *d, enum record_format first,
                       enum record_format second)
{
    struct buf one, two, three;
    struct document back;

    buf_init(&one, 1 << 16);
    buf_init(&two, 1 << 16);
    buf_init(&three, 1 << 16);
    if (document_write(d, first, &one, &e) < 0 ||
        document_read(&a, one.data, one.len, RECORD_SNIFF, &back, &e) < 0 ||
        document_write(&back, second, &two, &e) < 0 ||
        document_read(&a, two.data, two.len, RECORD_SNIFF, &back, &e) < 0 ||
        document_write(&back, first, &three, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(one.len, three.len);
    assert_memory_equal(one.data, three.data, one.len);
    buf_release(&one);
    buf_release(&two);
    buf_release(&three);
}

static void random_documents(void **state)
{
    struct document d;
    int i;

    for (i = 0; i < 2000; i++) {
        document_init(&d);
        d.id = random_text(20);
        if (chance(2))
            d.label.text = random_text(20);
        else
            d.label.number = ((int64_t)chance(1 << 20) << chance(40)) * (chance(2) ? 1 : -1);
        d.split = (int)chance(2);
        random_content(&d);
        check_trip(&d, RECORD_JSON, RECORD_MSGPACK);
        check_trip(&d, RECORD_MSGPACK, RECORD_JSON);
        arena_reset(&a);
    }
}

/* Changed bytes are refused or read; never more. */
static void damage(void **state)
{
    static const char text[] =
        "{\"id\":\"1\",\"label\":-5,\"points\":[[1,2.5,3]],\"meta\":{\"a\":[true]}}";
    struct document d;
    struct buf b;
    char *copy_of;
    int i;

    buf_init(&b, 4096);
    assert_int_equal(document_read(&a, text, sizeof text - 1, RECORD_JSON, &d, &e), 0);
    assert_int_equal(document_write(&d, RECORD_MSGPACK, &b, &e), 0);
    copy_of = malloc(b.len);
    for (i = 0; i < 20000; i++) {
        memcpy(copy_of, b.data, b.len);
        copy_of[chance((uint32_t)b.len)] = (char)chance(256);
        copy_of[chance((uint32_t)b.len)] = (char)chance(256);
        if (document_read(&a, copy_of, b.len, RECORD_MSGPACK, &d, &e) < 0)
            assert_true(e.text[0] != 0 && e.code != ERR_NOMEM);
        arena_reset(&a);
    }
    free(copy_of);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_from_text),
        cmocka_unit_test(through_a_hash),
        cmocka_unit_test(writes_no_bad_records),
        cmocka_unit_test(random_documents),
        cmocka_unit_test(damage),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
