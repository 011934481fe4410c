#include "trainer/engine/onnx/skeleton.h"

#include <stdio.h>
#include <string.h>

#include "trainer/engine/onnx/wire.h"

enum { INLINE_BYTES = 64 }; /* tensor data up to this size is copied */

enum message { MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, VALUE_INFO, TYPE, MESSAGES };

/* What to do with a field; fields without a rule are dropped. */
enum action { COPY, INTO, DATA, REFUSE };
struct rule {
    unsigned char message, field, action, into;
    const char *why;
};
static const struct rule rules[] = {
    {MODEL, 1, COPY, 0, NULL},     /* ir_version */
    {MODEL, 2, COPY, 0, NULL},     /* producer_name */
    {MODEL, 3, COPY, 0, NULL},     /* producer_version */
    {MODEL, 7, INTO, GRAPH, NULL}, /* graph */
    {MODEL, 8, COPY, 0, NULL},     /* opset_import */
    {MODEL, 25, REFUSE, 0, "model-local functions; export with functions inlined"},
    {GRAPH, 1, INTO, NODE, NULL},        /* node */
    {GRAPH, 2, COPY, 0, NULL},           /* name */
    {GRAPH, 5, INTO, TENSOR, NULL},      /* initializer */
    {GRAPH, 11, INTO, VALUE_INFO, NULL}, /* input */
    {GRAPH, 12, INTO, VALUE_INFO, NULL}, /* output */
    {GRAPH, 15, REFUSE, 0, "sparse initializers"},
    {NODE, 1, COPY, 0, NULL}, /* input */
    {NODE, 2, COPY, 0, NULL}, /* output */
    {NODE, 3, COPY, 0, NULL}, /* name */
    {NODE, 4, COPY, 0, NULL}, /* op_type */
    {NODE, 5, INTO, ATTRIBUTE, NULL},
    {NODE, 7, COPY, 0, NULL},           /* domain */
    {ATTRIBUTE, 1, COPY, 0, NULL},      /* name */
    {ATTRIBUTE, 2, COPY, 0, NULL},      /* f */
    {ATTRIBUTE, 3, COPY, 0, NULL},      /* i */
    {ATTRIBUTE, 4, COPY, 0, NULL},      /* s */
    {ATTRIBUTE, 5, INTO, TENSOR, NULL}, /* t */
    {ATTRIBUTE, 7, COPY, 0, NULL},      /* floats */
    {ATTRIBUTE, 8, COPY, 0, NULL},      /* ints */
    {ATTRIBUTE, 20, COPY, 0, NULL},     /* type */
    {TENSOR, 1, COPY, 0, NULL},         /* dims */
    {TENSOR, 2, COPY, 0, NULL},         /* data_type */
    {TENSOR, 3, REFUSE, 0, "tensors stored in segments"},
    {TENSOR, 4, DATA, 0, NULL},  /* float_data */
    {TENSOR, 5, COPY, 0, NULL},  /* int32_data */
    {TENSOR, 7, DATA, 0, NULL},  /* int64_data */
    {TENSOR, 8, COPY, 0, NULL},  /* name */
    {TENSOR, 9, DATA, 0, NULL},  /* raw_data */
    {TENSOR, 10, COPY, 0, NULL}, /* double_data */
    {TENSOR, 11, COPY, 0, NULL}, /* uint64_data */
    {TENSOR, 13, REFUSE, 0, "weights in an external file; save the model as one file"},
    {VALUE_INFO, 1, COPY, 0, NULL}, /* name */
    {VALUE_INFO, 2, INTO, TYPE, NULL},
    {TYPE, 1, COPY, 0, NULL}, /* tensor_type */
};

static const struct rule *rule_of(enum message m, uint32_t field)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].message == m && rules[i].field == field)
            return &rules[i];
    return NULL;
}

static int walk(struct buf *out, struct wire w, enum message m, struct err *e);

/* Bulky data: only where it lies. int64_data is a list of varints and can't be used in place. */
static void data_field(struct buf *out, const struct wire *w, const struct wire_field *f)
{
    char place[64];

    if (f->type != WIRE_BYTES || f->len <= INLINE_BYTES || f->number == 7) {
        buf_add(out, f->start, (size_t)(f->after - f->start));
        return;
    }
    snprintf(place, sizeof place, "@%u:%zu:%zu", (unsigned)f->number, (size_t)(f->bytes - w->base),
             f->len);
    wire_put_text(out, 12, place);
}

static int field(struct buf *out, const struct wire *w, const struct wire_field *f,
                 const struct rule *r, struct err *e)
{
    size_t mark;
    int rc;

    switch ((enum action)r->action) {
    case COPY:
        buf_add(out, f->start, (size_t)(f->after - f->start));
        return 0;
    case DATA:
        data_field(out, w, f);
        return 0;
    case REFUSE:
        return err_set(e, ERR_UNSUPPORTED, "the model uses %s (byte %zu)", r->why,
                       (size_t)(f->start - w->base));
    case INTO:
        break;
    }
    if (f->type != WIRE_BYTES)
        return err_set(e, ERR_FORMAT,
                       "not an ONNX file, or a damaged one: field %u at byte %zu "
                       "is not a message",
                       (unsigned)f->number, (size_t)(f->start - w->base));
    mark = wire_begin(out, f->number);
    rc = walk(out, wire_inside(w, f), (enum message)r->into, e);
    wire_end(out, mark);
    return rc;
}

static int walk(struct buf *out, struct wire w, enum message m, struct err *e)
{
    struct wire_field f;
    int rc;

    while ((rc = wire_next(&w, &f, e)) > 0) {
        const struct rule *r = rule_of(m, f.number);

        if (r && (rc = field(out, &w, &f, r, e)) < 0)
            return rc;
    }
    return rc;
}

int skeleton_make(struct buf *out, const unsigned char *map, size_t len, struct err *e)
{
    struct wire w = {map, map + len, map};
    int rc = walk(out, w, MODEL, e);

    return rc < 0 ? rc : buf_check(out, "the model's graph", e);
}
