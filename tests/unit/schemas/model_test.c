#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "schemas/model.h"

static struct arena a;
static struct err e;
static struct model_ready event;
static struct model_ready_header headers[MODEL_READY_HEADERS];
static size_t count;
static struct buf body;

static int setup(void **state)
{
    struct buf b;
    int rc;

    arena_init(&a, 1 << 24);
    buf_init(&b, 1 << 20);
    buf_init(&body, 1 << 20);
    rc = file_read("schemas/samples/good/model_ready-structured.json", &b, &e);
    if (rc == 0)
        rc = model_ready_read(&a, b.data, b.len, RECORD_JSON, &event, &e);
    buf_release(&b);
    return rc;
}

static int teardown(void **state)
{
    arena_release(&a);
    buf_release(&body);
    return 0;
}

static const char *header(const char *name)
{
    size_t i;

    for (i = 0; i < count; i++)
        if (!strcmp(headers[i].name, name))
            return headers[i].value;
    return NULL;
}

static void binary(void **state)
{
    struct model_ready back;

    assert_int_equal(model_ready_binary(&event, headers, &count, &body, &e), 0);
    assert_string_equal(header("ce_id"), "acme/r1");
    assert_string_equal(header("ce_specversion"), "1.0");
    assert_string_equal(header("content-type"), "application/json");
    assert_int_equal(strncmp(body.data, "{\"artifact\":{", 13), 0);
    assert_int_equal(model_ready_from(headers, count, body.data, body.len, &a, &back, &e), 0);
    assert_string_equal(back.subject, "r1");
    assert_string_equal(back.data->lineage->dataset, "news");
    assert_int_equal(back.data->artifact->file_count, 1);
    headers[1].value = "acme/r2";
    assert_int_equal(model_ready_from(headers, count, body.data, body.len, &a, &back, &e),
                     ERR_FORMAT);
    assert_string_equal(e.text, "id: 'acme/r2', the data say acme/r1");
}

static void structured(void **state)
{
    const struct model_ready_header type = {"content-type", MODEL_READY_STRUCTURED};
    struct model_ready back;

    buf_reset(&body);
    assert_int_equal(model_ready_write(&event, RECORD_JSON, &body, &e), 0);
    assert_int_equal(model_ready_from(&type, 1, body.data, body.len, &a, &back, &e), 0);
    assert_true(back.data->gate->passed);
}

static void incomplete(void **state)
{
    struct model_ready cut = event;
    struct model_data data = *event.data;

    data.lineage = NULL;
    cut.data = &data;
    assert_int_equal(model_ready_binary(&cut, headers, &count, &body, &e), ERR_FORMAT);
    assert_string_equal(e.text, "data.lineage: missing");
}

static void times(void **state)
{
    char text[32];

    model_time(1767225600007, text);
    assert_string_equal(text, "2026-01-01T00:00:00.007Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary),
        cmocka_unit_test(structured),
        cmocka_unit_test(incomplete),
        cmocka_unit_test(times),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
