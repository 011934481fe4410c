/* Any bytes as a model: read, build, cut, fuse, describe. An error or a program, never a crash. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "trainer/engine/graph/diff.h"
#include "trainer/engine/onnx/read.h"
#include "trainer/engine/surgery/surgery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build(const struct source *s, struct program *p)
{
    struct builder *b = NULL;
    struct surgery surgery;
    struct err e = ERR_INIT;
    struct tape tape = {0};
    struct cut cut;
    struct buf text;
    int v;

    surgery_init(&surgery);
    if (build_program(&b, s, p, &e) < 0 || surgery_cut(b, s, p, NULL, &cut, &e) < 0 ||
        (v = build_value(b, cut.source_value, &e)) < 0 || surgery_tail(p, &surgery, v, &e) < 0)
        goto done;
    program_fuse(p);
    program_blocks(p);
    buf_init(&text, 1 << 20);
    if (program_names(p, s, &e) == 0 && surgery_freeze(p, &surgery, &e) == 0 &&
        tape_init(&tape, p, true, &e) == 0)
        program_print(p, s, &text);
    buf_release(&text);
    tape_release(&tape);
done:
    build_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source *s = NULL;
    struct err e = ERR_INIT;
    struct program p;
    struct arena a;

    if (onnx_read_memory(&s, data, size, "fuzz", &e) < 0)
        return 0;
    arena_init(&a, 64 << 20);
    program_init(&p, &a);
    build(s, &p);
    program_release(&p);
    arena_release(&a);
    onnx_free(s);
    return 0;
}

#ifdef REPLAY
int main(int argc, char **argv)
{
    static uint8_t bytes[1 << 20];

    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        size_t n;

        if (!f) {
            perror(argv[i]);
            return 1;
        }
        n = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        LLVMFuzzerTestOneInput(bytes, n);
    }
    return 0;
}
#endif
