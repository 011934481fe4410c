#include "trainer/engine/onnx/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx.pb-c.h"
#include "trainer/engine/onnx/skeleton.h"

enum { OPSET_MIN = 9, OPSET_MAX = 21 };
#define FILE_MAX     ((size_t)1 << 31) /* protobuf's own limit */
#define SKELETON_MAX ((size_t)256 << 20)
#define ARENA_MAX    ((size_t)512 << 20)

static const char *keep(struct source *s, const char *text)
{
    return text ? arena_strndup(&s->arena, text, strlen(text)) : "";
}

/* Data that skeleton.c left in the file: "@field:offset:length". */
static int place_of(const char *text, unsigned *field, size_t *offset, size_t *len)
{
    char *end;

    if (!text || text[0] != '@')
        return -1;
    *field = (unsigned)strtoul(text + 1, &end, 10);
    if (*end != ':')
        return -1;
    *offset = strtoull(end + 1, &end, 10);
    if (*end != ':')
        return -1;
    *len = strtoull(end + 1, &end, 10);
    return 0;
}

/* Typed lists become little-endian elements of the dtype, as raw_data has them. */
static void *from_lists(struct source *s, const Onnx__TensorProto *t, size_t size, size_t *count)
{
    size_t n = t->n_float_data    ? t->n_float_data
               : t->n_int64_data  ? t->n_int64_data
               : t->n_int32_data  ? t->n_int32_data
               : t->n_double_data ? t->n_double_data
                                  : t->n_uint64_data;
    unsigned char *out = arena_array(&s->arena, n ? n : 1, size);

    *count = n;
    for (size_t i = 0; out && i < n; i++) {
        if (t->n_float_data)
            memcpy(out + i * size, &t->float_data[i], size < 4 ? size : 4);
        else if (t->n_int64_data)
            memcpy(out + i * size, &t->int64_data[i], size);
        else if (t->n_int32_data)
            memcpy(out + i * size, &t->int32_data[i], size < 4 ? size : 4);
        else if (t->n_double_data)
            memcpy(out + i * size, &t->double_data[i], size);
        else
            memcpy(out + i * size, &t->uint64_data[i], size);
    }
    return out;
}

static int tensor_data(struct source *s, struct source_tensor *out, const Onnx__TensorProto *t,
                       struct err *e)
{
    size_t size = dtype_size(out->dtype), have, offset, len;
    unsigned f;

    if (!size)
        return err_set(e, ERR_UNSUPPORTED, "tensor '%s' holds %s", out->name,
                       dtype_name(out->dtype));
    if (place_of(t->doc_string, &f, &offset, &len) == 0) {
        out->data = s->map + offset;
        have = len / size;
        if (f == 4 && out->dtype != DTYPE_FLOAT)
            return err_set(e, ERR_FORMAT, "tensor '%s': float data of %s", out->name,
                           dtype_name(out->dtype));
    } else if (t->has_raw_data) {
        out->data = arena_dup(&s->arena, t->raw_data.data, t->raw_data.len);
        have = t->raw_data.len / size;
    } else {
        out->data = from_lists(s, t, size, &have);
    }
    if (!out->data)
        return err_set(e, ERR_NOMEM, "tensor '%s'", out->name);
    if (have < out->count)
        return err_set(e, ERR_FORMAT, "tensor '%s' has %zu elements where its shape needs %zu",
                       out->name, have, out->count);
    return 0;
}

static int read_tensor(struct source *s, struct source_tensor *out, const Onnx__TensorProto *t,
                       struct err *e)
{
    int64_t n;

    out->name = keep(s, t->name);
    if (!out->name)
        return err_set(e, ERR_NOMEM, "reading the model");
    out->dtype = t->has_data_type ? t->data_type : 0;
    if (t->n_dims > TENSOR_RANK)
        return err_set(e, ERR_UNSUPPORTED, "tensor '%s' has %zu dimensions; at most %d", out->name,
                       t->n_dims, TENSOR_RANK);
    out->rank = (int)t->n_dims;
    for (int i = 0; i < out->rank; i++)
        out->dims[i] = t->dims[i];
    n = dims_count(out->dims, out->rank, (int64_t)FILE_MAX);
    if (n < 0)
        return err_set(e, ERR_FORMAT, "tensor '%s' has an impossible shape", out->name);
    out->count = (size_t)n;
    return tensor_data(s, out, t, e);
}

static int read_attr(struct source *s, struct source_attr *out, const Onnx__AttributeProto *a,
                     struct err *e)
{
    out->name = keep(s, a->name);
    out->kind = a->has_type ? (int)a->type : ATTR_OTHER;
    out->f = a->f;
    out->i = a->i;
    out->s = a->has_s ? arena_strndup(&s->arena, (const char *)a->s.data, a->s.len) : "";
    if (!out->name || !out->s)
        return err_set(e, ERR_NOMEM, "reading the model");
    if (out->kind == ATTR_TENSOR && !a->t)
        return err_set(e, ERR_FORMAT, "attribute '%.150s' holds no tensor", out->name);
    if (out->kind == ATTR_INTS) {
        out->count = (int)a->n_ints;
        out->ints = arena_dup(&s->arena, a->ints, a->n_ints * sizeof *a->ints);
    } else if (out->kind == ATTR_FLOATS) {
        out->count = (int)a->n_floats;
        out->floats = arena_dup(&s->arena, a->floats, a->n_floats * sizeof *a->floats);
    } else if (out->kind == ATTR_TENSOR) {
        out->tensor = arena_alloc(&s->arena, sizeof *out->tensor);
        if (out->tensor)
            return read_tensor(s, out->tensor, a->t, e);
    }
    if ((out->kind == ATTR_INTS && !out->ints) || (out->kind == ATTR_FLOATS && !out->floats) ||
        (out->kind == ATTR_TENSOR && !out->tensor))
        return err_set(e, ERR_NOMEM, "reading the model");
    return 0;
}

static int node_edges(struct source *s, int index, const Onnx__NodeProto *n, struct err *e)
{
    struct source_node *node = &s->nodes[index];

    for (int i = 0; i < node->in_count; i++) {
        const char *name = n->input[i];

        node->in[i] = *name ? source_find(s, name) : -1;
        if (*name && node->in[i] < 0)
            return err_set(e, ERR_FORMAT, "%s reads '%.150s', which nothing before it makes",
                           source_node_text(node), name);
        if (*name)
            s->values[node->in[i]].uses++;
    }
    for (int i = 0; i < node->out_count; i++) {
        const char *name = n->output[i];
        int v;

        node->out[i] = -1;
        if (!*name)
            continue;
        if (source_find(s, name) >= 0)
            return err_set(e, ERR_FORMAT, "%s makes '%.150s', which exists already",
                           source_node_text(node), name);
        if (!(name = keep(s, name)))
            return err_set(e, ERR_NOMEM, "reading the model");
        v = source_intern(s, name);
        if (v < 0)
            return err_set(e, ERR_LIMIT, "the model has too many tensors");
        s->values[v].node = index;
        s->values[v].output = i;
        node->out[i] = v;
    }
    return 0;
}

static int read_node(struct source *s, int index, const Onnx__NodeProto *n, struct err *e)
{
    struct source_node *node = &s->nodes[index];
    int rc;

    node->op = keep(s, n->op_type);
    node->name = keep(s, n->name);
    node->domain = keep(s, n->domain);
    node->in_count = (int)n->n_input;
    node->out_count = (int)n->n_output;
    node->attr_count = (int)n->n_attribute;
    node->in = arena_array(&s->arena, n->n_input + 1, sizeof *node->in);
    node->out = arena_array(&s->arena, n->n_output + 1, sizeof *node->out);
    node->attrs = arena_array(&s->arena, n->n_attribute + 1, sizeof *node->attrs);
    if (!node->op || !node->name || !node->domain || !node->in || !node->out || !node->attrs)
        return err_set(e, ERR_NOMEM, "reading the model");
    for (int i = 0; i < node->attr_count; i++) {
        rc = read_attr(s, &node->attrs[i], n->attribute[i], e);
        if (rc < 0)
            return err_wrap(e, "%s", source_node_text(node));
    }
    return node_edges(s, index, n, e);
}

static void input_shape(struct source_input *in, const Onnx__TypeProto *type)
{
    const Onnx__TypeProto__Tensor *t;

    in->rank = -1;
    if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !type->tensor_type)
        return;
    t = type->tensor_type;
    in->dtype = t->has_elem_type ? t->elem_type : 0;
    if (!t->shape || t->shape->n_dim > TENSOR_RANK)
        return;
    in->rank = (int)t->shape->n_dim;
    for (int i = 0; i < in->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];

        in->dims[i] = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE
                          ? d->dim_value
                          : -1;
    }
}

static int read_inputs(struct source *s, const Onnx__GraphProto *g, struct err *e)
{
    for (size_t i = 0; i < g->n_input; i++) {
        const Onnx__ValueInfoProto *p = g->input[i];
        struct source_input *in = &s->inputs[s->input_count];
        const char *name = p->name ? p->name : "";

        if (source_find(s, name) >= 0)
            continue; /* old files list initializers as inputs too */
        in->name = keep(s, name);
        in->value = in->name ? source_intern(s, in->name) : -1;
        if (in->value < 0)
            return err_set(e, ERR_NOMEM, "reading the model");
        input_shape(in, p->type);
        s->values[in->value].input = s->input_count++;
    }
    return 0;
}

static int read_initializers(struct source *s, const Onnx__GraphProto *g, struct err *e)
{
    for (size_t i = 0; i < g->n_initializer; i++) {
        struct source_tensor *t = &s->initializers[i];
        int v, rc = read_tensor(s, t, g->initializer[i], e);

        if (rc < 0)
            return rc;
        if (source_find(s, t->name) >= 0)
            return err_set(e, ERR_FORMAT, "two initializers are named '%.150s'", t->name);
        v = source_intern(s, t->name);
        if (v < 0)
            return err_set(e, ERR_LIMIT, "the model has too many tensors");
        s->values[v].initializer = (int)i;
        s->initializer_count = (int)i + 1;
    }
    return 0;
}

static int read_outputs(struct source *s, const Onnx__GraphProto *g, struct err *e)
{
    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = g->output[i]->name ? g->output[i]->name : "";
        int v = source_find(s, name);

        if (v < 0)
            return err_set(e, ERR_FORMAT, "output '%.150s' is made by no node", name);
        s->outputs[s->output_count++] = v;
        s->values[v].uses++;
    }
    return 0;
}

/* Room for every name, so that adding one can't run out. */
static int reserve(struct source *s, const Onnx__GraphProto *g, struct err *e)
{
    size_t names = g->n_initializer + g->n_input + 1, size = 16;

    for (size_t i = 0; i < g->n_node; i++)
        names += g->node[i]->n_output;
    if (names > (size_t)1 << 24)
        return err_set(e, ERR_LIMIT, "the model has %zu tensors", names);
    while (size < 2 * names + 2)
        size *= 2;
    s->table_size = size;
    s->table = arena_array(&s->arena, size, sizeof *s->table);
    s->values = arena_array(&s->arena, names, sizeof *s->values);
    s->nodes = arena_array(&s->arena, g->n_node + 1, sizeof *s->nodes);
    s->initializers = arena_array(&s->arena, g->n_initializer + 1, sizeof *s->initializers);
    s->inputs = arena_array(&s->arena, g->n_input + 1, sizeof *s->inputs);
    s->outputs = arena_array(&s->arena, g->n_output + 1, sizeof *s->outputs);
    if (!s->table || !s->values || !s->nodes || !s->initializers || !s->inputs || !s->outputs)
        return err_set(e, ERR_NOMEM, "reading the model");
    memset(s->table, 0xff, size * sizeof *s->table);
    return 0;
}

static int read_opset(struct source *s, const Onnx__ModelProto *m, struct err *e)
{
    int64_t version = 0;

    for (size_t i = 0; i < m->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *o = m->opset_import[i];

        if (!o->domain || !*o->domain || strcmp(o->domain, "ai.onnx") == 0)
            version = o->version;
    }
    if (version < OPSET_MIN || version > OPSET_MAX)
        return err_set(e, ERR_UNSUPPORTED, "the model uses opset %lld; %d to %d are supported",
                       (long long)version, OPSET_MIN, OPSET_MAX);
    s->opset = (int)version;
    s->ir_version = m->ir_version;
    s->producer = keep(s, m->producer_name);
    return s->producer ? 0 : err_set(e, ERR_NOMEM, "reading the model");
}

static int build(struct source *s, const Onnx__ModelProto *m, struct err *e)
{
    const Onnx__GraphProto *g = m->graph;
    int rc;

    if (!g || g->n_node == 0)
        return err_set(e, ERR_FORMAT, "not an ONNX file: it holds no graph");
    if ((rc = read_opset(s, m, e)) < 0 || (rc = reserve(s, g, e)) < 0 ||
        (rc = read_initializers(s, g, e)) < 0 || (rc = read_inputs(s, g, e)) < 0)
        return rc;
    for (size_t i = 0; i < g->n_node; i++) {
        if ((rc = read_node(s, (int)i, g->node[i], e)) < 0)
            return rc;
        s->node_count = (int)i + 1;
    }
    return read_outputs(s, g, e);
}

/* A source whose `map` is set; takes the map over when `mapped`, also on failure. */
static int read_map(struct source **out, const void *map, size_t len, bool mapped, const char *path,
                    struct err *e)
{
    struct source *s = calloc(1, sizeof *s);
    Onnx__ModelProto *m = NULL;
    struct buf skeleton;
    int rc;

    buf_init(&skeleton, SKELETON_MAX);
    if (!s) {
        if (mapped)
            munmap((void *)(uintptr_t)map, len);
        return err_set(e, ERR_NOMEM, "%s", path);
    }
    arena_init(&s->arena, ARENA_MAX);
    s->map = map;
    s->map_len = mapped ? len : 0;
    if ((rc = skeleton_make(&skeleton, map, len, e)) < 0)
        goto done;
    errno = 0; /* protobuf-c says no more than that it failed */
    m = onnx__model_proto__unpack(NULL, skeleton.len, (const uint8_t *)skeleton.data);
    if (!m) {
        rc = errno == ENOMEM ? err_set(e, ERR_NOMEM, "reading the model")
                             : err_set(e, ERR_FORMAT, "not an ONNX file, or a damaged one");
        goto done;
    }
    s->path = keep(s, path);
    rc = s->path ? build(s, m, e) : err_set(e, ERR_NOMEM, "reading the model");
done:
    if (m)
        onnx__model_proto__free_unpacked(m, NULL);
    buf_release(&skeleton);
    if (rc < 0) {
        onnx_free(s);
        return err_wrap(e, "%s", path);
    }
    *out = s;
    return 0;
}

int onnx_read_memory(struct source **out, const void *bytes, size_t len, const char *name,
                     struct err *e)
{
    return read_map(out, bytes, len, false, name, e);
}

int onnx_read(struct source **out, const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *map;

    if (fd < 0)
        return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0) {
        close(fd);
        return err_set(e, ERR_FORMAT, "%s: not a file with content", path);
    }
    if ((size_t)st.st_size > FILE_MAX) {
        close(fd);
        return err_set(e, ERR_LIMIT, "%s: larger than 2 GiB", path);
    }
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return err_errno(e, ERR_IO, "%s: mapping", path);
    return read_map(out, map, (size_t)st.st_size, true, path, e);
}

void onnx_rest(const struct source *s)
{
    if (s->map_len)
        madvise((void *)(uintptr_t)s->map, s->map_len, MADV_DONTNEED); /* advice: may fail */
}

void onnx_free(struct source *s)
{
    if (!s)
        return;
    if (s->map_len)
        munmap((void *)(uintptr_t)s->map, s->map_len);
    arena_release(&s->arena);
    free(s);
}
