/*
 * What is exported: trained for two steps, written, and
 *
 *   read again, as a backbone and as a whole, it gives the same bytes;
 *   run literally (literal.h) on a padded batch, its own pooling and normalisation included, it
 *   gives the same vectors within 1e-5;
 *   beside the file it came from, it differs only in the head, the pooling and the initializers
 *   that trained: everything else is the same bytes in the same order.
 *
 * With TRIPLINE_EXPORTS=FOLDER the models stay there, NAME.onnx with its batch and vectors in
 * NAME.gold, for scripts/golden/exported.py.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/golden/engine/literal.h"
#include "tests/golden/engine/models.h"
#include "trainer/engine/onnx/read.h"
#include "trainer/engine/onnx/wire.h"

enum { GRAPH = 7, NODE = 1, NODE_OUTPUT = 2, INITIALIZER = 5, TENSOR_NAME = 8 };
enum { INPUT = 11, OUTPUT = 12, VALUE_INFO = 13, INFO_NAME = 1 };

/* ---- the same numbers ---- */

static void encode(struct engine *g, const struct fixture *f, float *out)
{
    struct err e = ERR_INIT;

    if (engine_encode(g, &f->batch, out, &e) < 0)
        fail_msg("%s", e.text);
}

static void encode_again(const struct model *m, const char *path, const struct fixture *f)
{
    struct engine *g = model_open(m, path, "cpu", NULL, 1);

    encode(g, f, f->d_out);
    engine_free(g);
}

/* As a backbone it is cut and pooled again; as a whole, everything is the file's own, and what it
 * gives is normalised once more. */
static void check_again(const struct fixture *f, const char *path)
{
    struct model again = *f->model;
    int n = f->batch.count * f->dim;

    again.cut = "sentence_embedding";
    if (!again.whole) {
        encode_again(&again, path, f);
        assert_memory_equal(f->out, f->d_out, (size_t)n * sizeof(float));
    }
    again.whole = true;
    encode_again(&again, path, f);
    for (int i = 0; i < n; i++)
        assert_true(fabsf(f->out[i] - f->d_out[i]) <= 1e-6f);
}

static double check_literal(const struct fixture *f, const char *path)
{
    struct source *s;
    struct err e = ERR_INIT;
    int64_t dims[TENSOR_RANK];
    double *x, far = 0;
    int rank;

    if (onnx_read(&s, path, &e) < 0)
        fail_msg("%s", e.text);
    x = literal_run(s, &f->batch, 1, "sentence_embedding", NULL, &rank, dims, &e);
    if (!x)
        fail_msg("%s: %s", f->model->name, e.text);
    assert_true(rank == 2 && dims[1] == f->dim);
    for (int i = 0; i < f->batch.count * f->dim; i++)
        far = fmax(far, fabs(x[i] - f->out[i]));
    if (!(far <= 1e-5))
        fail_msg("%s: the exported graph's vectors are off by %g", f->model->name, far);
    free(x);
    onnx_free(s);
    return far;
}

/* ---- the same file ---- */

struct part { /* a field of the graph */
    const unsigned char *start;
    size_t len;
    uint32_t number;
    char name[300]; /* of an initializer, a node's first output, a value; else empty */
};

struct parts {
    struct part *all;
    int count;
};

static void name_part(struct part *p, struct wire w, struct err *e)
{
    uint32_t number = p->number == NODE          ? NODE_OUTPUT
                      : p->number == INITIALIZER ? TENSOR_NAME
                                                 : INFO_NAME;
    struct wire_field f;

    while (wire_next(&w, &f, e) > 0)
        if (f.number == number && f.type == WIRE_BYTES && !p->name[0])
            snprintf(p->name, sizeof p->name, "%.*s", (int)f.len, (const char *)f.bytes);
}

/* Fields of the graph; fields of the model around it into `model`, which is one part. */
static struct parts split(const struct source *s, struct buf *model)
{
    struct wire w = {s->map, s->map + s->map_len, s->map}, g = w;
    struct parts parts = {0};
    struct wire_field f;
    struct err e = ERR_INIT;

    while (wire_next(&w, &f, &e) > 0)
        if (f.number == GRAPH)
            g = wire_inside(&w, &f);
        else
            buf_add(model, f.start, (size_t)(f.after - f.start));
    parts.all = calloc((size_t)(s->node_count + s->value_count) * 2 + 64, sizeof *parts.all);
    assert_non_null(parts.all);
    while (wire_next(&g, &f, &e) > 0) {
        struct part *p = &parts.all[parts.count++];

        p->start = f.start;
        p->len = (size_t)(f.after - f.start);
        p->number = f.number;
        if (f.type == WIRE_BYTES && f.number != 2)
            name_part(p, wire_inside(&g, &f), &e);
    }
    return parts;
}

/* The same field, by its bytes, behind *from; -1: it is not there. */
static int find_part(const struct parts *in, const struct part *p, int from)
{
    for (int i = from; i < in->count; i++)
        if (in->all[i].len == p->len && memcmp(in->all[i].start, p->start, p->len) == 0)
            return i;
    return -1;
}

/* Does the cut tensor come from this value? */
static bool *below_cut(const struct engine *g)
{
    const struct source *s = g->source;
    bool *below = calloc((size_t)s->value_count, sizeof *below);

    assert_non_null(below);
    below[g->cut.source_value] = true;
    for (int i = s->node_count - 1; i >= 0; i--) {
        const struct source_node *n = &s->nodes[i];
        bool wanted = false;

        for (int k = 0; k < n->out_count; k++)
            wanted |= n->out[k] >= 0 && below[n->out[k]];
        for (int k = 0; wanted && k < n->in_count; k++)
            if (n->in[k] >= 0)
                below[n->in[k]] = true;
    }
    return below;
}

/* May this field of the input be missing from the output? Initializers that train come again by
 * name. */
static bool may_go(const struct engine *g, const bool *below, const struct part *p)
{
    const struct param *q = p->name[0] ? model_param(g, p->name) : NULL;
    int v = source_find(g->source, p->name);

    if (p->number == OUTPUT)
        return true;
    if (p->number == INITIALIZER || (p->number == NODE && q && q->identity >= 0))
        return v < 0 || !below[v] || (q && q->trainable);
    return (p->number == NODE || p->number == VALUE_INFO) && (v < 0 || !below[v]);
}

/* May this field of the output be new? */
static bool may_come(const struct engine *g, const bool *below, const struct part *p)
{
    int v = source_find(g->source, p->name);
    const struct param *q = model_param(g, p->name);

    if (p->number == INITIALIZER)
        return v < 0 || !below[v] || (q && q->trainable);
    return p->number == OUTPUT || (p->number == NODE && (v < 0 || !below[v]));
}

static void check_difference(const struct fixture *f, const char *path, int counts[3])
{
    const struct engine *g = f->engine;
    bool *below = below_cut(g);
    struct buf before, after;
    struct parts old, new;
    struct source *s;
    struct err e = ERR_INIT;
    int at = 0;

    if (onnx_read(&s, path, &e) < 0)
        fail_msg("%s", e.text);
    buf_init(&before, 1 << 20);
    buf_init(&after, 1 << 20);
    old = split(g->source, &before);
    new = split(s, &after);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    for (int i = 0; i < old.count; i++) {
        int found = find_part(&new, &old.all[i], at);

        if (found >= 0) { /* what was skipped on the way there is new */
            for (; at < found; at++)
                if (!may_come(g, below, &new.all[at]))
                    fail_msg("%s: '%s' is new in the exported file", f->model->name,
                             new.all[at].name);
            at = found + 1;
            counts[0]++;
        } else if (!may_go(g, below, &old.all[i])) {
            fail_msg("%s: '%s' of the input is not in the exported file", f->model->name,
                     old.all[i].name);
        } else {
            counts[1]++;
        }
    }
    for (; at < new.count; at++, counts[2]++)
        if (!may_come(g, below, &new.all[at]))
            fail_msg("%s: '%s' is new in the exported file", f->model->name, new.all[at].name);
    buf_release(&before);
    buf_release(&after);
    free(old.all);
    free(new.all);
    free(below);
    onnx_free(s);
}

/* ---- all of it ---- */

static void keep_vectors(const struct fixture *f, const char *folder)
{
    char path[4096];
    int tokens = f->offsets[f->batch.count];
    struct gold g = {.count = 4};
    struct gold_record *r = g.records;

    r[0] = *gold_find(&f->gold, "offsets");
    r[1] = *gold_find(&f->gold, "ids");
    r[2] = *gold_find(&f->gold, "types");
    r[3] = *gold_find(&f->gold, "embeddings");
    assert_int_equal(r[1].count, tokens);
    r[3].data = f->out;
    snprintf(path, sizeof path, "%s/%s.gold", folder, f->model->name);
    assert_int_equal(gold_write(&g, path), 0);
}

/* `keep`: the exported file stays. */
static void check_model(const struct model *m, const char *folder, bool keep)
{
    int counts[3] = {0}; /* fields kept, gone, new at the end */
    struct err e = ERR_INIT;
    struct fixture f;
    char path[4096];
    double far;

    if (!fixture_init(&f, m, "cpu", NULL, 2))
        return;
    snprintf(path, sizeof path, "%s/%s.onnx", folder, m->name);
    for (int k = 0; k < 2; k++) {
        fixture_loss(&f, true);
        fixture_step(&f);
    }
    encode(f.engine, &f, f.out);
    if (engine_export(f.engine, path, &e) < 0)
        fail_msg("%s", e.text);
    check_again(&f, path);
    far = check_literal(&f, path);
    check_difference(&f, path, counts);
    print_message(
        "%-15s %d frozen: literally within %.1e; fields kept %d, replaced or cut %d, new %d\n",
        m->name, m->frozen, far, counts[0], counts[1], counts[2]);
    if (keep)
        keep_vectors(&f, folder);
    else
        unlink(path);
    fixture_release(&f);
}

static void test_export(void **state)
{
    char folder[] = "/tmp/tripline-export-XXXXXX";
    const char *keep = getenv("TRIPLINE_EXPORTS");

    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < model_count; i++) {
        struct model half = models[i];

        half.frozen = 1;
        check_model(&half, folder, false);
        check_model(&models[i], keep ? keep : folder, keep != NULL);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_export)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
