/* The ONNX reader on damaged files: always one clear error, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "platform/base/file.h"
#include "trainer/engine/graph/build.h"
#include "trainer/engine/onnx/read.h"
#include "trainer/engine/onnx/wire.h"

#define MODEL "tests/golden/engine/bert-new.onnx"

static int read_model(struct buf *b)
{
    struct err e = ERR_INIT;

    buf_init(b, 1 << 20);
    return file_read(MODEL, b, &e);
}

/* Reads and, when that works, builds: what opening a model does with untrusted bytes. */
static int try_bytes(const void *bytes, size_t len, struct err *e)
{
    struct source *s = NULL;
    struct builder *b = NULL;
    struct program p;
    struct arena a;
    int rc = onnx_read_memory(&s, bytes, len, "sample", e);

    if (rc < 0)
        return rc;
    arena_init(&a, 64 << 20);
    program_init(&p, &a);
    rc = build_program(&b, s, &p, e);
    build_free(b);
    program_release(&p);
    arena_release(&a);
    onnx_free(s);
    return rc;
}

static void test_truncated(void **state)
{
    struct buf b;

    assert_int_equal(read_model(&b), 0);
    for (size_t len = 0; len < b.len; len += len < 3000 ? 1 : 97) {
        struct err e = ERR_INIT;
        char *copy = malloc(len + 1); /* exact size, so that a sanitizer sees an overrun */

        assert_non_null(copy);
        memcpy(copy, b.data, len);
        assert_true(try_bytes(copy, len, &e) < 0);
        assert_true(strlen(e.text) > 10);
        free(copy);
    }
    buf_release(&b);
}

static void test_flipped(void **state)
{
    unsigned seed = 12345;
    struct buf b;

    assert_int_equal(read_model(&b), 0);
    for (int i = 0; i < 1500; i++) {
        struct err e = ERR_INIT;
        char *copy = malloc(b.len);

        assert_non_null(copy);
        memcpy(copy, b.data, b.len);
        for (int k = 0; k < 1 + i % 8; k++) {
            seed = seed * 1103515245u + 12345u;
            copy[(seed >> 4) % b.len] = (char)(seed >> 24);
        }
        if (try_bytes(copy, b.len, &e) < 0)
            assert_true(strlen(e.text) > 0);
        free(copy);
    }
    buf_release(&b);
}

static void expect(const void *bytes, size_t len, int code, const char *part)
{
    struct err e = ERR_INIT;

    assert_int_equal(try_bytes(bytes, len, &e), code);
    if (!strstr(e.text, part))
        fail_msg("'%s' does not say '%s'", e.text, part);
}

static void put_opset(struct buf *b, int version)
{
    size_t mark = wire_begin(b, 8);

    wire_put_int(b, 2, (uint64_t)version);
    wire_end(b, mark);
}

static void test_messages(void **state)
{
    struct buf b;
    size_t graph, node, tensor;

    expect("", 0, ERR_FORMAT, "holds no graph");
    expect("hello, world", 12, ERR_FORMAT, "not an ONNX file");
    buf_init(&b, 1 << 16);
    put_opset(&b, 7);
    graph = wire_begin(&b, 7);
    node = wire_begin(&b, 1);
    wire_put_text(&b, 1, "nowhere");
    wire_put_text(&b, 2, "y");
    wire_put_text(&b, 4, "Relu");
    wire_end(&b, node);
    wire_end(&b, graph);
    expect(b.data, b.len, ERR_UNSUPPORTED, "opset 7");
    put_opset(&b, 14);
    expect(b.data, b.len, ERR_FORMAT, "reads 'nowhere'");
    graph = wire_begin(&b, 7);
    tensor = wire_begin(&b, 5);
    wire_put_text(&b, 8, "w");
    wire_put_int(&b, 14, 1);
    wire_put_bytes(&b, 13, "", 0);
    wire_end(&b, tensor);
    wire_end(&b, graph);
    expect(b.data, b.len, ERR_UNSUPPORTED, "external file");
    buf_release(&b);
}

static void test_files(void **state)
{
    struct err e = ERR_INIT;
    struct source *s;

    assert_int_equal(onnx_read(&s, "tests/no-such-file.onnx", &e), ERR_NOT_FOUND);
    assert_int_equal(onnx_read(&s, "tests", &e), ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
