/*
 * Models from models: bytes changed at random are no protobuf any more, so a node, an edge, an
 * attribute, a shape or a number is changed in the parsed model, and that is packed again. One time
 * in eight the bytes are left to libFuzzer.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "onnx.pb-c.h"
#include "tests/fuzz/fuzz.h"

static uint64_t state;

static size_t below(size_t n)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return n ? (size_t)(state >> 33) % n : 0;
}

static int64_t number(void)
{
    static const int64_t odd[] = {0, 1,  -1,    2,         -2,        3,         4,        5,
                                  8, 64, 65536, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};

    return odd[below(sizeof odd / sizeof *odd)];
}

static void set_text(char **slot, const char *text)
{
    char *copy = strdup(text ? text : "");

    if (!copy)
        return;
    if (*slot != protobuf_c_empty_string)
        free(*slot);
    *slot = copy;
}

/* The name of some tensor of the graph. */
static const char *some_name(const Onnx__GraphProto *g)
{
    const Onnx__NodeProto *n = g->node[below(g->n_node)];

    switch (below(4)) {
    case 0:
        return g->n_initializer ? g->initializer[below(g->n_initializer)]->name : "";
    case 1:
        return g->n_input ? g->input[below(g->n_input)]->name : "";
    default:
        return n->n_output ? n->output[0] : "";
    }
}

static void change_attribute(Onnx__AttributeProto *a)
{
    if (a->n_ints)
        a->ints[below(a->n_ints)] = number();
    else if (a->has_f)
        a->f = (float)number() / 3;
    else
        a->i = number();
    if (below(16) == 0)
        a->type = (Onnx__AttributeProto__AttributeType)below(8);
}

static void change_node(const Onnx__GraphProto *g)
{
    Onnx__NodeProto *n = g->node[below(g->n_node)], *other = g->node[below(g->n_node)], swap;

    switch (below(6)) {
    case 0:
        set_text(&n->op_type, other->op_type);
        break;
    case 1:
        if (n->n_attribute)
            change_attribute(n->attribute[below(n->n_attribute)]);
        break;
    case 2:
        swap = *n;
        *n = *other;
        *other = swap;
        break;
    case 3:
        if (n->n_input > 1) {
            char *first = n->input[0];

            n->input[0] = n->input[n->n_input - 1];
            n->input[n->n_input - 1] = first;
        }
        break;
    default:
        if (n->n_input)
            set_text(&n->input[below(n->n_input)], some_name(g));
        break;
    }
}

static void change_tensor(const Onnx__GraphProto *g)
{
    Onnx__TensorProto *t;
    int64_t value = number(), kept;
    size_t at;

    if (!g->n_initializer)
        return;
    t = g->initializer[below(g->n_initializer)];
    if (t->n_dims && below(2)) {
        kept = t->dims[0];
        at = below(t->n_dims);
        t->dims[0] = t->dims[at];
        t->dims[at] = below(2) ? kept : value;
    } else if (t->n_int64_data) {
        t->int64_data[below(t->n_int64_data)] = value;
    } else if (t->raw_data.len >= sizeof value) {
        at = below(t->raw_data.len / sizeof value);
        memcpy(t->raw_data.data + at * sizeof value, &value, sizeof value);
    }
    if (below(16) == 0)
        t->data_type = (int32_t)below(17);
}

static void change_ends(Onnx__ModelProto *m)
{
    Onnx__GraphProto *g = m->graph;

    switch (below(3)) {
    case 0:
        if (g->n_output)
            set_text(&g->output[0]->name, some_name(g));
        break;
    case 1:
        if (g->n_input)
            set_text(&g->input[below(g->n_input)]->name, some_name(g));
        break;
    default:
        if (m->n_opset_import)
            m->opset_import[0]->version = 7 + (int64_t)below(17);
        break;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    Onnx__ModelProto *m = NULL;
    size_t i, packed;

    state = seed;
    if (below(8))
        m = onnx__model_proto__unpack(NULL, size, data);
    if (!m || !m->graph || !m->graph->n_node) {
        if (m)
            onnx__model_proto__free_unpacked(m, NULL);
        return LLVMFuzzerMutate(data, size, max);
    }
    for (i = below(4) + 1; i > 0; i--) {
        size_t what = below(8);

        if (what < 4)
            change_node(m->graph);
        else if (what < 7)
            change_tensor(m->graph);
        else
            change_ends(m);
    }
    packed = onnx__model_proto__get_packed_size(m);
    size = packed <= max ? onnx__model_proto__pack(m, data) : LLVMFuzzerMutate(data, size, max);
    onnx__model_proto__free_unpacked(m, NULL);
    return size;
}
